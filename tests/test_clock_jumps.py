"""The machine's clock is set, forward or back: windows follow it, leases and rests do not. Nobody sleeps here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from foreshade.adapters.libvirt_world.wall_clock import WallClock
from foreshade.adapters.store.lease import Lease
from foreshade.adapters.store.store import Store
from foreshade.agents.controller import Controller
from foreshade.agents.guard import Guard, GuardKnobs, Window
from foreshade.agents.plan import ActionState, Mode, PlannedAction, PlanState
from foreshade.envs.errors import FenceError
from foreshade.envs.model.action import ActionKind
from foreshade.envs.order import Order
from tests import control_worlds

HOUR, YEAR = 3_600.0, 365 * 86_400.0
JUMPS = pytest.mark.parametrize("jump_s", [HOUR, -HOUR, YEAR, -YEAR])


class Machine:
    """Its clock and a steady one, which time moves both and people only the first."""

    def __init__(self) -> None:
        self.machine, self.steady = 1.9e9, 50.0

    def clock(self) -> WallClock:
        return WallClock(lambda: self.machine, lambda: self.steady)

    def pass_s(self, seconds: float) -> None:
        self.machine += seconds
        self.steady += seconds

    def lease(self, store: Store, holder: str) -> Lease:
        return Lease(
            store,
            "c",
            length_s=10.0,
            holder=f"{holder}:elsewhere",
            wall_s=lambda: self.machine,
            steady_s=lambda: self.steady,
        )


@pytest.fixture
def machine() -> Machine:
    return Machine()


@JUMPS
def test_a_lease_that_is_renewed_is_kept(tmp_path: Path, machine: Machine, jump_s: float) -> None:
    store = Store(tmp_path / "c.db", power_safe=False)
    leader, standby = machine.lease(store, "a"), machine.lease(store, "b")
    assert leader.acquire()
    for step in range(30):
        machine.pass_s(1.0)
        if step == 10:
            machine.machine += jump_s
        assert not standby.acquire()
        leader.fence()
        if step % 3 == 0:
            leader.renew()


@JUMPS
def test_a_lease_that_is_not_renewed_ends_when_it_would_have(
    tmp_path: Path, machine: Machine, jump_s: float
) -> None:
    store = Store(tmp_path / "c.db", power_safe=False)
    leader, standby = machine.lease(store, "a"), machine.lease(store, "b")
    assert leader.acquire()
    assert not standby.acquire()
    machine.machine += jump_s
    machine.pass_s(9.5)
    assert not standby.acquire()
    leader.fence()
    machine.pass_s(1.0)
    with pytest.raises(FenceError, match="expired"):
        leader.fence()
    assert standby.acquire()


def test_a_lease_from_before_a_clock_was_set_back_is_waited_for_one_length(
    tmp_path: Path, machine: Machine
) -> None:
    store = Store(tmp_path / "c.db", power_safe=False)
    assert machine.lease(store, "a").acquire()
    machine.machine -= YEAR
    late = machine.lease(store, "b")
    assert not late.acquire()
    machine.pass_s(9.0)
    assert not late.acquire()
    machine.pass_s(2.0)
    assert late.acquire()


def move(vm: int) -> Order:
    return Order(f"m{vm}", ActionKind.MIGRATE, vm=f"vm{vm}", host="host0003", source=f"host000{vm % 4}")


def controlled(folder: Path, machine: Machine) -> Controller:
    """A controller of the small cluster, with the clock of a live one."""
    world = control_worlds.durable(folder)
    world.advance()
    world.clock = machine.clock()  # type: ignore[assignment]
    return control_worlds.controller(world, control_worlds.journal(folder))


@JUMPS
def test_windows_follow_the_clock_and_rests_do_not(tmp_path: Path, machine: Machine, jump_s: float) -> None:
    one = controlled(tmp_path, machine)
    then_s = machine.machine + jump_s
    guard = Guard(GuardKnobs(windows=(Window(start_s=then_s - 60.0, end_s=then_s + 60.0),)))
    before = one.look()
    assert guard.halted(before) == ""
    machine.machine += jump_s
    after = one.look()
    assert guard.halted(after).startswith("frozen until")
    moved = [PlannedAction(move(0), ActionState.SUCCEEDED, begun_s=before.now_s)]
    rests = Guard(GuardKnobs(vm_cooldown_s=600.0))
    for passed_s, rule in ((0.0, "cooldown"), (599.0, "cooldown"), (2.0, "")):
        machine.pass_s(passed_s)
        assert [v.rule for v in rests.review([move(0)], one.look(), Mode.AUTO, moved)] == [rule]


def test_what_was_written_before_a_clock_was_set_back_holds_nothing_up_for_longer_than_it_is_meant_to(
    tmp_path: Path, machine: Machine
) -> None:
    seen = controlled(tmp_path, machine).look()
    guard = Guard(GuardKnobs(vm_cooldown_s=600.0))

    def rule(*begun_s: float) -> str:
        moved = [PlannedAction(move(0), ActionState.SUCCEEDED, begun_s=seen.now_s + at) for at in begun_s]
        return guard.review([move(0)], seen, Mode.AUTO, moved)[0].rule

    assert rule(YEAR) == ""  # by a controller whose clock was a year ahead
    assert rule(-100.0, YEAR) == "cooldown"  # it does not hide what is true
    assert rule(100.0) == "cooldown"
    assert rule(-700.0) == ""


@pytest.mark.parametrize(("ahead_s", "state"), [(YEAR, PlanState.SUPERSEDED), (60.0, PlanState.RECOMMENDED)])
def test_advice_from_before_a_clock_was_set_back_ends(
    tmp_path: Path, ahead_s: float, state: PlanState
) -> None:
    world, kept = control_worlds.durable(tmp_path), control_worlds.journal(tmp_path)
    kept.say("mode", "advise", "test")
    one = control_worlds.controller(world, kept)
    while not (plans := kept.open_plans()):
        one.tick()
        world.advance()
    now_s = world.clock.now_s()
    kept.add(replace(plans[0], id="ahead", created_s=now_s + ahead_s, actions=()))
    one.tick()
    assert kept.plan("ahead").state is state


@pytest.mark.parametrize(("by_s", "way"), [(HOUR, "forward"), (-HOUR, "back")])
def test_a_clock_that_was_set_is_said_and_one_that_is_corrected_is_not(
    machine: Machine, by_s: float, way: str
) -> None:
    clock = machine.clock()
    machine.pass_s(1_000.0)
    machine.machine += 2.0
    assert clock.trouble == ""
    machine.machine += by_s - 2.0
    assert f"set {way} by 3600 s" in clock.trouble
    assert "\n" not in clock.trouble
    assert clock.now_s() == pytest.approx(1.9e9 + 1_000.0)
    assert clock.calendar_s() == pytest.approx(1.9e9 + 1_000.0 + by_s)
