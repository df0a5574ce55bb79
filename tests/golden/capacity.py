"""Spawning, de-spawning and warm pools: a web application of two VMs whose demand is foreseen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from foreshade._core import ClusterState, ForecastTable
from foreshade.agents.managers.despawning import Despawning
from foreshade.agents.managers.manager import Manager
from foreshade.agents.managers.spawning import Spawning, SpawningKnobs
from foreshade.agents.managers.warm_pool import WarmPool, WarmPoolKnobs
from foreshade.agents.rules.rules import Rules
from foreshade.envs.candidates import PLACEMENT
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.workloads.workload import Workload
from tests.golden import golden
from tests.golden._stage import App, foreseen, play, workload
from tests.tiny_world import scenario

CALM = PLACEMENT.model_copy(update={"plans": ()})  # nobody but the component does anything
GHZ = 1_000.0


def wants(state: ClusterState) -> str:
    """What the first application uses and what its VMs may use."""
    there = (state.vms.app == 0) & (state.vms.state == 3)
    return (
        f"app 0 uses {state.vms.usage[there, 0].sum():.0f} of {state.vms.allocation[there, 0].sum():.0f} MHz"
    )


def surge(before: float, high: float, at: int, until: int) -> list[float]:
    """Demand that is high for some ticks."""
    return [before] * at + [high] * (until - at) + [before]


def world(
    load: Workload,
    hosts: int = 3,
    forecast: Callable[[Workload], ForecastTable] = foreseen,
) -> SimulatedWorld:
    """Hosts of 9,800 MHz, CPU not overcommitted; guests grow no further than they were booted with."""
    return SimulatedWorld(
        scenario(hosts, overcommit={"cpu": 1, "memory": 1}, guest_cpu=1), load, forecast=forecast(load)
    )


def rules(managers: Sequence[Manager], *, plan: bool = False) -> Rules:
    """The components, beside the plan of `expected-cost` or beside nothing."""
    return Rules(PLACEMENT if plan else CALM, managers)


@golden("spawning")
def spawning() -> Iterator[str]:
    """Demand rises at tick 50 beyond what two VMs can serve, and the forecast says so an hour before.
    One VM boots in time (45 s, 10 s of software), no sooner; its traffic follows its size. It stays: ending it is
    another component's.
    """
    load = workload([App(surge(2 * GHZ, 6 * GHZ, 50, 62), vms=2)], 70)
    yield from play(world(load), rules([Spawning()]), 70, wants)


@golden("spawning_reacts")
def spawning_reacts() -> Iterator[str]:
    """The same demand with `trigger: usage`: the VM comes once the others are full."""
    load = workload([App(surge(2 * GHZ, 6 * GHZ, 50, 62), vms=2)], 70)
    yield from play(world(load), rules([Spawning(SpawningKnobs(trigger="usage"))]), 70, wants)


@golden("spawning_wakes_a_host")
def spawning_wakes_a_host() -> Iterator[str]:
    """The plan has switched off the hosts that nobody needs: one is woken, as early as host and VM take to boot."""
    load = workload([App(surge(2 * GHZ, 8 * GHZ, 50, 62), vms=3)], 70)
    yield from play(world(load), rules([Spawning(), Despawning()], plan=True), 70, wants)


@golden("despawning")
def despawning() -> Iterator[str]:
    """The VM that was spawned for a surge is drained and ended, after it was idle and the forecast agreed for half an
    hour; what the owner started stays.
    """
    load = workload([App(surge(2 * GHZ, 6 * GHZ, 45, 52), vms=2)], 80)
    yield from play(world(load), rules([Spawning(), Despawning()]), 80, wants)


@golden("spawning_and_despawning_do_not_flap")
def flapping() -> Iterator[str]:
    """Demand swings every ten minutes around what two VMs can serve: one VM comes and stays."""
    swing = [2 * GHZ] * 40 + [4.9 * GHZ, 4.9 * GHZ, 3 * GHZ, 3 * GHZ] * 15
    load = workload([App(swing, vms=2)], 90)
    yield from play(world(load), rules([Spawning(), Despawning()]), 90, wants)


@golden("warm_pool")
def warm_pool() -> Iterator[str]:
    """The forecast of an application that matters is unsure: what spawning acts on fits, a higher quantile does not.
    A spare boots and pauses; when the surge comes unforeseen it is resumed at once, and another stands by until
    nobody wanted it for an hour. The first stays a member: the upper forecast does not fit without it.
    """
    load = workload([App(surge(2.3 * GHZ, 4.6 * GHZ, 50, 56), vms=2, credit=100.0)], 90)

    def unsure(played: Workload) -> ForecastTable:
        return foreseen(played, 0.6, known=lambda _, then: not 50 <= then < 56)

    yield from play(
        world(load, forecast=unsure),
        rules([WarmPool(WarmPoolKnobs(wakes_s=260)), Spawning(), Despawning()]),
        90,
        wants,
    )
