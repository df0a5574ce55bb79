"""Hand-made worlds of a few equal hosts, in which the right moves can be told by looking."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.workloads.workload import Workload, WorkloadApps, WorkloadVms

#: Usable CPU of an ML30 under KVM, MHz.
HOST_MHZ = 8 * 3200 * 0.98


def tiny_world(
    n_hosts: int,
    cpu_mhz: Sequence[Sequence[float]],
    memory_mib: float | Sequence[float] = 8192.0,
    arrival: Sequence[int] | None = None,
    actions: Sequence[str] = ("migrate", "power"),
    scheduler: str = "worst-fit",
) -> SimulatedWorld:
    """A world of ML30s whose VM v wants ``cpu_mhz[v][tick]`` of 8,000 MHz and half of its memory.

    ``memory_mib``: of each VM, or of all.
    """
    demand = np.zeros((len(cpu_mhz[0]), len(cpu_mhz), 4), dtype=np.float32)
    demand[:, :, 0] = np.array(cpu_mhz, dtype=np.float32).T
    n_ticks, n = demand.shape[:2]
    memory = np.broadcast_to(np.asarray(memory_mib, dtype=np.float32), n)
    demand[:, :, 1] = memory / 2
    scenario = Scenario.model_validate(
        {
            "name": "tiny",
            "start": "2024-01-01T00:00:00Z",
            "ticks": n_ticks,
            "needs": "planetlab",
            "scheduler": scheduler,
            "overcommit": {"cpu": 8, "memory": 1},
            "fleet": ({"zone": "a", "hosts": ({"server": "hpe-ml30-gen11", "count": n_hosts},)},),
            "actions": tuple(actions),
        }
    )
    flavour = np.tile(np.array([8000.0, 0.0, 100.0, 1000.0, 0.0], dtype=np.float32), (n, 1))
    flavour[:, 1] = memory
    workload = Workload(
        name="tiny",
        source="made by hand",
        start_epoch_s=0,
        tick_s=300,
        demand=demand,
        gpu=np.zeros((n_ticks, 0), dtype=np.float32),
        gpu_series=np.zeros(0, dtype=np.int32),
        vms=WorkloadVms(
            name=tuple(f"vm{v}" for v in range(n)),
            app=np.arange(n, dtype=np.int32),
            flavour=flavour,
            arrival_tick=np.array(arrival or [0] * n, dtype=np.int32),
            departure_tick=np.full(n, n_ticks, dtype=np.int32),
            credit=np.ones(n, dtype=np.float32),
        ),
        apps=WorkloadApps(
            name=tuple(f"app{v}" for v in range(n)),
            series=np.arange(n, dtype=np.int32),
            members=np.ones(n, dtype=np.int32),
            memory_floor=np.full(n, 0.5, dtype=np.float32),
            offloadable=np.zeros(n, dtype=np.float32),
        ),
    )
    return SimulatedWorld(scenario, workload)
