"""The controller's tick on a simulated cluster: modes, pause, journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreshade.agents.controller import Controller
from foreshade.agents.journal import TickRecord
from foreshade.agents.plan import ActionState, Mode, PlanState
from tests.control_worlds import controller, durable, journal


def first_plan(one: Controller) -> TickRecord:
    """The first tick in which there is something to do; the time before it passes."""
    for _ in range(20):
        record = one.tick()
        if record.plans:
            return record
        one.world.advance()
    raise AssertionError("nothing to do in 20 ticks")


def test_observing_writes_plans_down_and_touches_nothing(tmp_path: Path) -> None:
    world, kept = durable(tmp_path), journal(tmp_path)
    hosts = world.observe().vms.host.copy()
    record = first_plan(controller(world, kept))
    plan = kept.plan(record.plans[0])
    assert plan.state is PlanState.SKIPPED
    assert (world.observe().vms.host == hosts).all()


def test_auto_consolidates_and_the_journal_replays_to_the_same_states(tmp_path: Path) -> None:
    world, kept = durable(tmp_path), journal(tmp_path)
    kept.say("mode", "auto", "test")
    one = controller(world, kept)
    for _ in range(40):
        one.tick()
        world.advance()
    one.tick()
    states = [action.state for plan in kept.plans(limit=100) for action in plan.actions]
    assert ActionState.SUCCEEDED in states
    plans, actions = kept.replayed()
    assert plans == {plan.id: plan.state for plan in kept.plans(limit=100)}
    assert actions == {a.order.key: a.state for plan in kept.plans(limit=100) for a in plan.actions}
    assert (world.observe().hosts.state == 0).sum() > 0  # some host went dark


def test_advice_waits_and_is_carried_out_once_it_is_approved(tmp_path: Path) -> None:
    world, kept = durable(tmp_path), journal(tmp_path)
    kept.say("mode", "advise", "test")
    one = controller(world, kept)
    record = first_plan(one)
    plan = kept.plan(record.plans[0])
    assert plan.state is PlanState.RECOMMENDED
    kept.step_plan(plan.to(PlanState.APPROVED, by="me"), plan.state, 0.0)
    assert one.serve() == 1
    assert kept.plan(plan.id).state in (PlanState.ONGOING, PlanState.SUCCEEDED)
    assert kept.plan(plan.id).approved_by == "me"


def test_advice_that_nobody_took_ends_though_nothing_newer_is_advised(tmp_path: Path) -> None:
    world, kept = durable(tmp_path), journal(tmp_path)
    kept.say("mode", "advise", "test")
    one = controller(world, kept, advice_s=600.0)
    plan_id = first_plan(one).plans[0]
    kept.say("mode", "auto", "test")
    states = []
    for _ in range(3):
        world.advance()
        one.tick()
        states.append(kept.plan(plan_id).state)
    assert states == [PlanState.RECOMMENDED, PlanState.SUPERSEDED, PlanState.SUPERSEDED]
    assert kept.plan(plan_id).reason == "nobody approved it within 600 s"


def test_pause_begins_nothing_and_still_learns(tmp_path: Path) -> None:
    world, kept = durable(tmp_path), journal(tmp_path)
    kept.say("mode", "auto", "test")
    kept.say("pause", {"paused": True, "reason": "incident"}, "me")
    one = controller(world, kept)
    for _ in range(12):
        record = one.tick()
        world.advance()
    assert record.idle == "paused by me: incident"
    assert record.choices
    assert not record.plans
    assert any(tick.choices and tick.choices[0].actions for tick in kept.ticks())
    assert not kept.plans()


@pytest.mark.parametrize("mode", Mode)
def test_a_level_only_lowers_the_mode(tmp_path: Path, mode: Mode) -> None:
    world, kept = durable(tmp_path), journal(tmp_path)
    kept.say("mode", mode.value, "test")
    record = first_plan(controller(world, kept, levels={"migrate": "observe", "power": "observe"}))
    plans = [kept.plan(plan_id) for plan_id in record.plans]
    moves = [p for p in plans if any(a.order.kind.name == "MIGRATE" for a in p.actions)]
    assert moves
    assert all(plan.state is PlanState.SKIPPED for plan in moves)
