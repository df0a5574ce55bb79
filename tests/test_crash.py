"""The controller killed with SIGKILL at every journal write and every call, of every kind of action.

A child of this process carries out a plan of one action on a cluster in a folder, and kills itself at the n-th point.
The parent then opens the folder as a fresh controller would, and lets it mend and tick. Whatever n was: no VM lost,
none doubled, nothing half done, and the journal says what the world shows.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from foreshade.adapters.executor import ExecutorKnobs, PlanExecutor
from foreshade.adapters.simulated_durable.world import DurableSimulatedWorld
from foreshade.adapters.store.journal import StoreJournal
from foreshade.agents.guard import Seen
from foreshade.agents.plan import ActionState, Mode, PlannedAction, PlanRecord, PlanState
from foreshade.envs.model.action import (
    Action,
    PowerTarget,
    despawn,
    five,
    microvm,
    migrate,
    power,
    rent,
    reshape,
    shadow,
    shift,
    spawn,
)
from foreshade.envs.model.state import VmState
from foreshade.envs.order import Order, Standing
from tests.control_worlds import VMS, controller, durable, journal

SMALL = five([500.0, 500.0, 0.0, 0.0, 0.0])
ACTIONS: dict[str, Action] = {
    "spawn": spawn(0, 2, SMALL),
    "despawn": despawn(VMS),  # the VM that the stage has made
    "reshape": reshape(0, five([5_000.0, 4_000.0, 0.0, 0.0, 0.0])),
    "migrate": migrate(0, 3),
    "microvm": microvm(0, 2, SMALL, 86_400.0),
    "shadow": shadow(0, 3, 0.1),
    "shift": shift(VMS, 0.25),
    "power": power(0, PowerTarget.OFF),
    "rent": rent(4),
}
#: Steps that fail when they are called, so that what was begun has to be taken back.
FAILING = {"spawn": "start", "despawn": "stop", "reshape": "memory", "migrate": "move", "shadow": "start"}
SETTLED = {
    ActionState.SUCCEEDED: Standing.DONE,
    ActionState.FAILED: Standing.UNTOUCHED,
    ActionState.COMPENSATED: Standing.UNTOUCHED,
    ActionState.ABANDONED: Standing.UNTOUCHED,
    ActionState.SUPERSEDED: Standing.UNTOUCHED,
}


@dataclass
class Points:
    """Counts the points at which the process may die, and dies at one of them."""

    die_at: int = 0  # 0 = never
    passed: int = 0

    def __call__(self) -> None:
        """One point more."""
        self.passed += 1
        if self.passed == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)


class DyingJournal(StoreJournal):
    """Dies right before a write: for what is on disk, that is right after whatever came before it."""

    points: Points

    def step_plan(self, plan: PlanRecord, before: PlanState, at_s: float) -> None:
        self.points()
        super().step_plan(plan, before, at_s)

    def step_action(self, plan_id: str, action: PlannedAction, at_s: float) -> None:
        self.points()
        super().step_action(plan_id, action, at_s)


def staged(folder: Path) -> None:
    """A cluster whose host 0 is empty, and that has one VM more."""
    world = durable(folder)
    world.advance()
    leaving = [vm for vm, host in enumerate(world.observe().vms.host[:VMS].tolist()) if host == 0]
    for host, vm in enumerate(leaving, start=1):
        world.carry_out(world.order(migrate(vm, host), f"stage-{vm}"), 1.0)
    world.carry_out(world.order(spawn(0, 1, SMALL), "more"), 1.0)
    world.advance()
    world.advance()
    assert world.observe().hosts.n_vms[0] == 0
    world.close()


def carry_out(folder: Path, kind: str, points: Points, *, failing: bool) -> None:
    """What the child does: a plan of one action, to its end, one tick after the other."""

    def before(_order: Order, step: str) -> str:
        points()
        return "no" if failing and step == FAILING[kind] else ""

    world = durable(folder, before)
    kept = DyingJournal(journal(folder)._store, wall_s=lambda: 0.0)
    kept.points = points
    action = ACTIONS[kind]
    if action.vm == VMS:
        action = Action(action.kind, world.inventory().vm_slot["app0.more"], value=action.value)
    order = world.order(action, "k")
    plan = PlanRecord(kept.new_id(), world.tick, 0.0, Mode.AUTO, "test", (PlannedAction(order),))
    kept.add(plan)
    kept.step_plan(plan.to(PlanState.APPROVED, by="test"), plan.state, 0.0)
    executor = PlanExecutor(world, kept, ExecutorKnobs(), sleep=lambda _s: None)
    executor.carry_out(kept.plan(plan.id), look(world))
    for _ in range(3):
        world.advance()
        points()
        executor.settle(look(world))
    world.close()


def look(world: DurableSimulatedWorld) -> Callable[[], Seen]:
    return lambda: Seen(world.observe().copy(), world.inventory(), world.clock.now_s())


def killed(run: Callable[[], None]) -> bool:
    """Run in a child; whether it was killed, and not simply done."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside the threads of a test runner
        child = os.fork()
    if child == 0:
        try:
            run()
        except BaseException:  # nothing of the child may reach the test runner
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


def mended(folder: Path) -> tuple[DurableSimulatedWorld, StoreJournal]:
    """A fresh controller on what was left: it settles and ticks until nothing is open."""
    world, kept = durable(folder), journal(folder)
    one = controller(world, kept)
    for _ in range(3):
        one.tick()
        one.serve()
        world.advance()
    one.tick()
    return world, kept


def check(world: DurableSimulatedWorld, kept: StoreJournal) -> None:
    """No VM lost, none doubled, nothing half done, and the journal is true."""
    vms = world.observe().vms
    names = [facts.name for facts in world.inventory().vms if facts.name]
    assert len(set(names)) == len(names)
    assert {f"vm{v}" for v in range(VMS)} <= set(names)
    assert (vms.host[:VMS] >= 0).all()
    assert (vms.destination < 0).all()
    assert set(vms.state[vms.state != VmState.ABSENT].tolist()) <= {VmState.RUNNING, VmState.PAUSED}
    assert not world._memory.defined
    assert not world._memory.incoming
    plans, actions = kept.replayed()
    found = kept.plans(limit=1_000)
    assert plans == {plan.id: plan.state for plan in found}
    assert actions == {a.order.key: a.state for plan in found for a in plan.actions}
    for plan in found:
        assert not plan.open
        assert all(action.reason for action in plan.actions if action.state is not ActionState.SUCCEEDED)


def check_each(world: DurableSimulatedWorld, kept: StoreJournal) -> None:
    """What the journal says of each action is what the world shows of it; nothing happened since."""
    for plan in kept.plans():
        for action in plan.actions if plan.mode is Mode.AUTO else ():
            assert world.standing(action.order) is SETTLED[action.state], (action.state, action.reason)


def check_sum(world: DurableSimulatedWorld, kept: StoreJournal) -> None:
    """What the journal says that succeeded, in order, comes to where VMs stand and which hosts are on."""
    done = [a for a in kept.recent(0.0) if a.state is ActionState.SUCCEEDED]
    last = {}
    for action in sorted(done, key=lambda action: action.ended_s):
        if action.order.kind.name in ("MIGRATE", "POWER"):
            last[action.order.vm or action.order.host] = action.order
    assert last
    assert all(world.standing(order) is Standing.DONE for order in last.values())


@pytest.mark.parametrize("seed", range(3))
def test_a_controller_that_is_killed_again_and_again_keeps_its_cluster_whole(
    tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)

    def work(points: Points) -> None:
        world = durable(tmp_path, lambda _order, _step: points() or "")
        kept = DyingJournal(journal(tmp_path)._store, wall_s=lambda: 0.0)
        kept.points = points
        one = controller(world, kept, vm_cooldown_s=0.0)
        for _ in range(8):
            one.tick()
            world.advance()

    journal(tmp_path).say("mode", "auto", "test")
    deaths = 0
    for _ in range(8):
        points = Points(dice.randrange(1, 24))
        deaths += killed(lambda: work(points))  # noqa: B023 - run at once
    journal(tmp_path).say("mode", "observe", "test")
    world, kept = mended(tmp_path)
    check(world, kept)
    check_sum(world, kept)
    assert deaths > 2


@pytest.mark.parametrize(
    ("kind", "failing"),
    [
        *((kind, False) for kind in ACTIONS),
        *((kind, True) for kind in FAILING),
    ],  # of several steps one can fail
)
def test_killed_anywhere_the_cluster_is_whole_and_the_journal_true(
    tmp_path: Path, kind: str, failing: bool
) -> None:
    die_at, ends = 0, set[Any]()
    staged(tmp_path / "staged")
    while True:
        die_at += 1
        folder = tmp_path / str(die_at)
        shutil.copytree(tmp_path / "staged", folder)
        died = killed(lambda: carry_out(folder, kind, Points(die_at), failing=failing))  # noqa: B023 - run at once
        world, kept = mended(folder)
        check(world, kept)
        check_each(world, kept)
        ends.update(
            action.state for plan in kept.plans() for action in plan.actions if plan.mode is Mode.AUTO
        )
        world.close()
        kept._store.close()
        if not died:
            break
    assert die_at > 6  # approval, start, intent, call, outcome, end, ticks
    assert ActionState.SUCCEEDED in ends
    assert ends & {ActionState.ABANDONED, ActionState.COMPENSATED}
