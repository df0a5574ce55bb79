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
    apps: Sequence[int] | None = None,
    racks: Sequence[int] | None = None,
) -> SimulatedWorld:
    """A world of ML30s whose VM v wants ``cpu_mhz[v][tick]`` of 8,000 MHz and half of its memory.

    Args:
        n_hosts: in one rack, unless ``racks`` says how many stand in each.
        memory_mib: of each VM, or of all.
        apps: the application of each VM, else each has its own; members share what the first of them wants.

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
            "fleet": tuple(
                {"zone": "a", "hosts": ({"server": "hpe-ml30-gen11", "count": count},)}
                for count in racks or [n_hosts]
            ),
            "actions": tuple(actions),
        }
    )
    of = np.arange(n, dtype=np.int32) if apps is None else np.array(apps, dtype=np.int32)
    known, first = np.unique(of, return_index=True)
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
            app=of,
            flavour=flavour,
            arrival_tick=np.array(arrival or [0] * n, dtype=np.int32),
            departure_tick=np.full(n, n_ticks, dtype=np.int32),
            credit=np.ones(n, dtype=np.float32),
        ),
        apps=WorkloadApps(
            name=tuple(f"app{a}" for a in known),
            series=first.astype(np.int32),
            members=np.bincount(of)[known].astype(np.int32),
            memory_floor=np.full(len(known), 0.5, dtype=np.float32),
            offloadable=np.zeros(len(known), dtype=np.float32),
        ),
    )
    return SimulatedWorld(scenario, workload)
