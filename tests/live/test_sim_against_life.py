"""The simulator against real guests: boot, migration and downtime, with the profile learned from every other run.

Runs are interleaved, so that what else the machine does is in both halves. What is compared is the ratio of medians.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from foreshade.adapters.libvirt_world.world import LibvirtWorld
from foreshade.envs import catalogue
from foreshade.envs.catalogue import Hypervisor
from foreshade.envs.model.action import Action, Boot, Plan, despawn, microvm, migrate, place, spawn
from foreshade.envs.model.state import VmState
from foreshade.envs.order import Order, Standing
from foreshade.envs.profiler import Profiler
from foreshade.envs.simulated import SimulatedWorld
from tests import tiny_world
from tests.live.testbed import Testbed, settled

SIZE = (1000.0, 160.0, 0.0, 0.0, 0.0)
SMALL = (500.0, 96.0, 0.0, 0.0, 0.0)
RUNS = 20
NAME = "kvm-tcg"
STEP_S = 0.1


@dataclass(frozen=True)
class Run:
    """What one run showed, in seconds and MiB."""

    cold: float
    restored: float
    microvm: float
    migration: float
    downtime: float
    used_mib: float


def one_run(world: LibvirtWorld, number: int) -> Run:
    """A guest booted, one cloned and moved, a micro-VM; all gone again."""
    made: list[str] = []

    def do(action: Action, key: str) -> tuple[Order, float]:
        world.observe()
        order = world.order(action, f"life-{number}-{key}")
        begun = time.monotonic()
        assert settled(world, order).standing is Standing.DONE
        took = time.monotonic() - begun
        if action.app >= 0:
            made.append(order.vm)
        return order, took

    _, cold = do(spawn(0, 0, SIZE, Boot.COLD), "cold")
    clone, restored = do(spawn(0, 1, SIZE, Boot.RESTORED), "restored")
    _, micro = do(microvm(0, 0, SMALL, 3600.0), "micro")
    time.sleep(2.5)  # the guest's memory statistics come every second
    state = world.observe()
    slot = world.inventory().vm_slot[clone.vm]
    used = float(state.vms.usage[slot, 1])
    order, moved = do(migrate(slot, 2), "move")
    downtime = world.migration.completed[order.key].downtime_ms / 1000.0
    for name in made:
        world.observe()
        do(despawn(world.inventory().vm_slot[name]), f"gone-{name}")
    return Run(cold, restored, micro, moved, downtime, used)


def learned(runs: list[Run]) -> Hypervisor:
    """The profile of these runs: the profiler's, with the pause of a switch-over that its own figures leave."""
    declared = catalogue.hypervisor(NAME)
    profiler = Profiler({NAME: declared})
    setup = declared.migration.setup_s
    for run in runs:
        profiler.saw(NAME, "web", "boot_cold", run.cold)
        profiler.saw(NAME, "web", "boot_restored", run.restored)
        profiler.saw(NAME, "web", "boot_microvm", run.microvm)
        copying = max(0.05, run.migration - run.downtime - setup)
        profiler.saw(NAME, "web", "migration_rate", run.used_mib * 2**20 * 8.0 / 1e6 / copying)
    found = profiler.measured(NAME)
    # An idle guest has little left to copy in the last round: its downtime is what resuming takes.
    pause = float(np.median([run.downtime for run in runs]))
    return found.model_copy(update={"migration": found.migration.model_copy(update={"resume_s": pause})})


def simulated(profile: Hypervisor, used_mib: float) -> dict[str, float]:
    """The same in the simulator: seconds by what was done."""
    group = {**tiny_world.MACHINE, "count": 3, "hypervisor": NAME, "figures": profile}
    scenario = tiny_world.scenario(3, fleet=({"zone": "a", "hosts": (group,)},), tick_s=STEP_S)
    load = tiny_world.workload([50.0], memory=used_mib, allocation=160.0)
    ticks = 1_500
    load = replace(
        load,
        tick_s=STEP_S,
        demand=np.repeat(load.demand[:1], ticks, axis=0),
        gpu=np.zeros((ticks, 0), np.float32),
        vms=replace(
            load.vms, departure_tick=np.full(1, ticks, np.int32), flavour=np.array([SIZE], np.float32)
        ),
    )

    def until(action: Action, over: Callable[[SimulatedWorld, int], bool]) -> tuple[float, SimulatedWorld]:
        world = SimulatedWorld(scenario, load)
        assert world.execute(Plan(0, [place(0, 0)]))[0].accepted
        while world.observe().vms.state[0] != VmState.RUNNING:
            world.advance()
        world.advance()
        (outcome,) = world.execute(Plan(world.observe().tick, [action]))
        assert outcome.accepted, outcome.error
        took = 0.0
        while not over(world, outcome.vm):
            world.advance()
            took += STEP_S
        return took, world

    def runs(world: SimulatedWorld, vm: int) -> bool:
        return bool(world.observe().vms.state[vm] == VmState.RUNNING)

    def moved(world: SimulatedWorld, _vm: int) -> bool:
        return int(world.observe().vms.host[0]) == 1

    allocation = (1000.0, 160.0, 0.0, 0.0, 0.0)
    migration, world = until(migrate(0, 1), moved)
    return {
        "cold": until(spawn(0, 1, allocation, Boot.COLD), runs)[0],
        "restored": until(spawn(0, 1, allocation, Boot.RESTORED), runs)[0],
        "microvm": until(microvm(0, 1, allocation, 3600.0), runs)[0],
        "migration": migration,
        "downtime": world.metrics().migration_downtime_s,
    }


@pytest.mark.skipif(not os.environ.get("FORESHADE_LIVE_ALL"), reason="ten minutes: FORESHADE_LIVE_ALL=1")
def test_simulator_predicts_what_the_testbed_shows(
    clean: Testbed, measured: Callable[[str, object], None]
) -> None:
    world = clean.world()
    world.observe()
    runs = []
    for number in range(int(os.environ.get("FORESHADE_LIVE_RUNS", RUNS))):
        runs.append(one_run(world, number))
        measured(f"sim against life: run {number}", runs[-1])
    world.close()
    ratios = {}
    for way, taught, judged in (
        ("", runs[0::2], runs[1::2]),
        ("the other way round, ", runs[1::2], runs[0::2]),
    ):
        used = float(np.median([run.used_mib for run in taught]))
        for what, predicted in simulated(learned(taught), used).items():
            life = float(np.median([getattr(run, what) for run in judged]))
            ratios[f"{way}{what}"] = ratio = predicted / life
            said = f"{predicted:.2f} s against {life:.2f} s, ratio {ratio:.2f}"
            measured(f"sim against life: {way}{what}", said)
    measured("sim against life: runs, used MiB", (len(runs), round(used)))
    assert all(1 / 1.3 <= ratio <= 1.3 for ratio in ratios.values()), ratios
