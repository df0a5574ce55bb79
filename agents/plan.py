"""Plans and their actions as operators know them: one enumeration of states for each, and every legal step.

    plan    RECOMMENDED ──► APPROVED ──► ONGOING ──► SUCCEEDED | FAILED | CANCELLED
                 │              │
                 └──────────────┴──► CANCELLED | SUPERSEDED | SKIPPED

    action  PENDING ──► ONGOING ──► SUCCEEDED | FAILED | COMPENSATED | ABANDONED
                │
                └──► REFUSED | CANCELLED | SUPERSEDED | SKIPPED | ABANDONED

A recommended plan waits for someone; an approved one waits for the executor. A plan is superseded when the world
moved or a newer plan takes its place, and skipped when it was never meant to run (mode, level, pause). An action is
journalled as ONGOING before anything is touched; what a crash leaves there is finished, compensated or abandoned.
A step that is not in the tables raises, and as values are frozen, changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from foreshade.envs.errors import PlanError
from foreshade.envs.order import Order


class PlanState(StrEnum):
    """What became of a plan."""

    RECOMMENDED = "recommended"  # waits for approval
    APPROVED = "approved"  # by a person, or by the mode; not begun
    ONGOING = "ongoing"  # its actions are being carried out
    SUCCEEDED = "succeeded"  # every action that was begun succeeded
    FAILED = "failed"  # at least one action failed, was compensated or abandoned
    CANCELLED = "cancelled"  # by a person
    SUPERSEDED = "superseded"  # the world moved, or a newer plan took its place
    SKIPPED = "skipped"  # not meant to run: observing, paused, nothing allowed


class ActionState(StrEnum):
    """What became of an action."""

    PENDING = "pending"  # not begun
    REFUSED = "refused"  # by the guard; the reason says by which rule
    ONGOING = "ongoing"  # its intent is journalled; the world may have been touched
    SUCCEEDED = "succeeded"  # the world shows it
    FAILED = "failed"  # the world shows that nothing of it happened
    COMPENSATED = "compensated"  # it failed half way, and what stood before was brought back
    ABANDONED = "abandoned"  # given up: stale after a crash, or neither finished nor compensated
    CANCELLED = "cancelled"  # by a person, before it was begun
    SUPERSEDED = "superseded"  # the world moved before it was begun
    SKIPPED = "skipped"  # its plan was not meant to run


_P, _A = PlanState, ActionState
_State = TypeVar("_State", PlanState, ActionState)

PLAN_STEPS: Mapping[PlanState, frozenset[PlanState]] = {
    _P.RECOMMENDED: frozenset({_P.APPROVED, _P.CANCELLED, _P.SUPERSEDED, _P.SKIPPED}),
    _P.APPROVED: frozenset({_P.ONGOING, _P.CANCELLED, _P.SUPERSEDED, _P.SKIPPED}),
    _P.ONGOING: frozenset({_P.SUCCEEDED, _P.FAILED, _P.CANCELLED}),
    **{end: frozenset() for end in (_P.SUCCEEDED, _P.FAILED, _P.CANCELLED, _P.SUPERSEDED, _P.SKIPPED)},
}
ACTION_STEPS: Mapping[ActionState, frozenset[ActionState]] = {
    _A.PENDING: frozenset({_A.REFUSED, _A.ONGOING, _A.CANCELLED, _A.SUPERSEDED, _A.SKIPPED, _A.ABANDONED}),
    _A.ONGOING: frozenset({_A.SUCCEEDED, _A.FAILED, _A.COMPENSATED, _A.ABANDONED}),
    **{end: frozenset() for end in ActionState if end not in (_A.PENDING, _A.ONGOING)},
}


class Mode(StrEnum):
    """How far the controller goes by itself; also the level of one kind of action, which only lowers it."""

    OBSERVE = "observe"  # plans are journalled and skipped
    ADVISE = "advise"  # plans wait for approval
    AUTO = "auto"  # plans are carried out


@dataclass(frozen=True, slots=True)
class PlannedAction:
    """One order of a plan, and how far it is."""

    order: Order
    state: ActionState = ActionState.PENDING
    reason: str = ""  # of the state; of the action itself: ``order.reason``
    begun_s: float = 0.0  # Unix time of the intent; 0 = not begun
    ended_s: float = 0.0
    attempts: int = 0  # calls made, as far as they were counted before it was left under way

    def to(self, state: ActionState, reason: str = "") -> PlannedAction:
        """The action one step on.

        Raises:
            PlanError: there is no such step.

        """
        if state not in ACTION_STEPS[self.state]:
            raise PlanError(_illegal(f"action {self.order.key}", self.state, state, ACTION_STEPS))
        return replace(self, state=state, reason=reason)

    @property
    def open(self) -> bool:
        """Whether something is still to come of it."""
        return bool(ACTION_STEPS[self.state])


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """The ordered actions of one tick, as they are journalled."""

    id: str
    tick: int
    created_s: float  # Unix time
    mode: Mode  # that it was made under
    by: str  # who decided: ham or rules
    actions: tuple[PlannedAction, ...]
    state: PlanState = PlanState.RECOMMENDED
    reason: str = ""  # of the state
    approved_by: str = ""
    gain_usd: float = 0.0  # expected over the horizon, transitions paid

    def to(self, state: PlanState, reason: str = "", by: str = "") -> PlanRecord:
        """The plan one step on; ``by`` is who approved.

        Raises:
            PlanError: there is no such step.

        """
        if state not in PLAN_STEPS[self.state]:
            raise PlanError(_illegal(f"plan {self.id}", self.state, state, PLAN_STEPS))
        approved_by = by if state is PlanState.APPROVED else self.approved_by
        return replace(self, state=state, reason=reason, approved_by=approved_by)

    def with_action(self, action: PlannedAction) -> PlanRecord:
        """The plan with one of its actions as it now is."""
        key = action.order.key
        return replace(self, actions=tuple(action if a.order.key == key else a for a in self.actions))

    def action(self, key: str) -> PlannedAction:
        """One of its actions.

        Raises:
            PlanError: it has none of that key.

        """
        for action in self.actions:
            if action.order.key == key:
                return action
        raise PlanError(f"plan {self.id}: expected an action {key}, found none")

    @property
    def open(self) -> bool:
        """Whether something is still to come of it."""
        return bool(PLAN_STEPS[self.state])

    @property
    def outcome(self) -> PlanState:
        """What it has come to, once none of its actions is open."""
        bad = {ActionState.FAILED, ActionState.COMPENSATED, ActionState.ABANDONED}
        if any(action.state in bad for action in self.actions):
            return PlanState.FAILED
        if any(action.state is ActionState.CANCELLED for action in self.actions):
            return PlanState.CANCELLED
        return PlanState.SUCCEEDED


def _illegal(what: str, now: _State, wanted: _State, steps: Mapping[_State, frozenset[_State]]) -> str:
    leads = " or ".join(state for state, following in steps.items() if wanted in following)
    return f"{what} is {now}: expected {leads or 'no step'} before {wanted}"
