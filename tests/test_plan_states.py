"""States of plans and actions: every step that is not in the tables raises and changes nothing."""

from __future__ import annotations

import itertools

import pytest

from foreshade.agents.plan import (
    ACTION_STEPS,
    PLAN_STEPS,
    ActionState,
    Mode,
    PlannedAction,
    PlanRecord,
    PlanState,
)
from foreshade.envs.errors import PlanError
from foreshade.envs.model.action import ActionKind
from foreshade.envs.order import Order

ORDER = Order("k", ActionKind.MIGRATE, vm="a", host="h1", source="h0")


def plan(state: PlanState, *actions: ActionState) -> PlanRecord:
    planned = tuple(PlannedAction(Order(str(i), ActionKind.SHIFT), s) for i, s in enumerate(actions))
    return PlanRecord("p1", 0, 0.0, Mode.AUTO, "rules", planned, state)


@pytest.mark.parametrize(("now", "then"), list(itertools.product(PlanState, PlanState)))
def test_a_plan_takes_the_steps_of_the_table_and_no_other(now: PlanState, then: PlanState) -> None:
    one = plan(now)
    if then in PLAN_STEPS[now]:
        assert one.to(then, "why").state is then
    else:
        with pytest.raises(PlanError, match=f"plan p1 is {now}: expected"):
            one.to(then)
        assert one.state is now


@pytest.mark.parametrize(("now", "then"), list(itertools.product(ActionState, ActionState)))
def test_an_action_takes_the_steps_of_the_table_and_no_other(now: ActionState, then: ActionState) -> None:
    one = PlannedAction(ORDER, now)
    if then in ACTION_STEPS[now]:
        assert one.to(then, "why").state is then
    else:
        with pytest.raises(PlanError, match=f"action k is {now}: expected"):
            one.to(then)


def test_every_state_can_be_reached_from_the_first() -> None:
    for steps, first in ((PLAN_STEPS, PlanState.RECOMMENDED), (ACTION_STEPS, ActionState.PENDING)):
        reached, new = {first}, {first}
        while new:
            new = {then for now in new for then in steps[now]} - reached  # type: ignore[index]
            reached |= new
        assert reached == set(steps)


@pytest.mark.parametrize(
    ("states", "outcome"),
    [
        ((ActionState.SUCCEEDED, ActionState.REFUSED), PlanState.SUCCEEDED),
        ((ActionState.SUCCEEDED, ActionState.COMPENSATED), PlanState.FAILED),
        ((ActionState.SUCCEEDED, ActionState.ABANDONED, ActionState.CANCELLED), PlanState.FAILED),
        ((ActionState.SUCCEEDED, ActionState.CANCELLED), PlanState.CANCELLED),
    ],
)
def test_a_plan_comes_to_what_its_actions_did(states: tuple[ActionState, ...], outcome: PlanState) -> None:
    assert plan(PlanState.ONGOING, *states).outcome is outcome


def test_who_approved_is_kept() -> None:
    begun = plan(PlanState.RECOMMENDED).to(PlanState.APPROVED, by="ann").to(PlanState.ONGOING)
    assert begun.approved_by == "ann"
