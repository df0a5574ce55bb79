"""A world of a few equal hosts and VMs of constant or scripted demand, written out by hand in each test."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from foreshade.agents.agent import Agent
from foreshade.envs.model.action import Action, ActionKind, Plan, PowerTarget, place, power
from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import site_of
from foreshade.envs.workloads.workload import Workload, WorkloadApps, WorkloadVms

#: One host: 9,800 MHz and 64,225 MiB usable (KVM's 98 %), 22.6 W idle, 98.2 W full.
MACHINE = {"server": "hpe-ml30-gen11", "cores": 10, "mhz": 1000, "memory_mib": 65536}
N_TICKS = 60


def scenario(hosts: int, **changes: Any) -> Scenario:
    """Equal hosts in one rack, no failures, memory not overcommitted."""
    said = {
        "name": "tiny",
        "start": datetime(2024, 1, 1, tzinfo=UTC),
        "workload": "by hand",
        "overcommit": {"cpu": 4, "memory": 1},
        "fleet": ({"zone": "a", "hosts": ({**MACHINE, "count": hosts},)},),
    }
    return Scenario.model_validate({**said, **changes})


def workload(
    cpu: Sequence[float | Sequence[float]],
    *,
    memory: Sequence[float] | float = 1_000.0,
    allocation: Sequence[float] | float = 8_000.0,
    arrival: Sequence[int] | None = None,
    departure: Sequence[int] | None = None,
) -> Workload:
    """VMs that want ``cpu`` MHz (one value, or one per tick) and ``memory`` MiB in use.

    Each may use 9,800 MHz and ``allocation`` MiB; arrival and departure are ticks.
    """
    n = len(cpu)
    demand = np.zeros((N_TICKS, n, 4), dtype=np.float32)
    for vm, wants in enumerate(cpu):
        series = np.atleast_1d(np.asarray(wants, dtype=np.float32))
        demand[:, vm, 0] = series[np.minimum(np.arange(N_TICKS), len(series) - 1)]
    demand[:, :, 1] = memory
    flavour = np.zeros((n, 5), dtype=np.float32)
    flavour[:, 0], flavour[:, 1] = 9_800.0, allocation
    ones, number = np.ones(n, dtype=np.int32), np.arange(n, dtype=np.int32)
    return Workload(
        name="tiny",
        source="tiny",
        start_epoch_s=0,
        tick_s=300,
        demand=demand,
        gpu=np.zeros((N_TICKS, 0), dtype=np.float32),
        gpu_series=np.zeros(0, dtype=np.int32),
        vms=WorkloadVms(
            name=tuple(f"vm{i}" for i in range(n)),
            app=number,
            flavour=flavour,
            arrival_tick=0 * ones if arrival is None else np.array(arrival, dtype=np.int32),
            departure_tick=N_TICKS * ones if departure is None else np.array(departure, dtype=np.int32),
            credit=np.ones(n, dtype=np.float32),
        ),
        apps=WorkloadApps(
            name=tuple(f"app{i}" for i in range(n)),
            series=number,
            members=ones,
            memory_floor=0.5 * np.ones(n, dtype=np.float32),
            offloadable=np.zeros(n, dtype=np.float32),
        ),
    )


class Stage:
    """A world in which the test says where VMs stand, and the agent is asked tick by tick."""

    def __init__(
        self,
        agent: Agent,
        hosts: int,
        load: Workload,
        on: Sequence[int],
        off: Sequence[int] = (),
        **changes: Any,
    ) -> None:
        """VM i starts on host ``on[i]`` (-1 = later), hosts of ``off`` are switched off; one tick passes."""
        self.world = SimulatedWorld(scenario(hosts, **changes), load)
        self.agent = agent
        agent.reset(site_of(self.world, 0))
        state = self.world.observe()
        starts = [place(vm, host) for vm, host in enumerate(on) if host >= 0]
        stops = [power(host, PowerTarget.OFF) for host in off]
        assert all(o.accepted for o in self.world.execute(Plan(state.tick, [*starts, *stops])))
        self.world.advance()

    def ask(self) -> list[tuple[str, int, int]]:
        """What the agent does now: (kind, vm, host) in order; every action must be taken by the world."""
        state = self.world.observe()
        actions = list(self.agent.act(state))
        outcomes = self.world.execute(Plan(state.tick, actions))
        assert [o.error for o in outcomes if not o.accepted] == []
        self.world.advance()
        return [_short(action) for action in actions]

    def wait(self, ticks: int) -> list[tuple[str, int, int]]:
        """Everything the agent does in the next ticks."""
        return [action for _ in range(ticks) for action in self.ask()]


def _short(action: Action) -> tuple[str, int, int]:
    if action.kind == ActionKind.POWER:
        return PowerTarget(int(action.value)).name.lower(), -1, action.host
    kind = "place" if action.kind == ActionKind.SPAWN else action.kind.name.lower()
    return kind, action.vm, action.host
