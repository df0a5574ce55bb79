"""What a controller writes down, and the port of the store that keeps it.

Everything is written before it is true in the world (intent) or after it is seen there (outcome); replaying the
events in order gives the state of every plan and action.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from foreshade.agents.plan import Mode, PlannedAction, PlanRecord, PlanState


@dataclass(frozen=True, slots=True)
class Controls:
    """What people have told the controller; it holds until they tell it otherwise, restarts included."""

    mode: Mode = Mode.OBSERVE
    paused: bool = False  # nothing is begun and nothing new is planned; what is under way is seen to its end
    paused_by: str = ""
    paused_reason: str = ""
    draining: frozenset[str] = frozenset()  # hosts that are to be emptied and stay empty


@dataclass(frozen=True, slots=True)
class Choice:
    """What one decision maker would do in a tick."""

    by: str  # ham or rules
    actions: Mapping[str, int]  # by kind
    gain_usd: float  # expected over the horizon, transitions paid
    transition_usd: float
    doubts: Mapping[str, int] = field(default_factory=dict)  # decisions left to the rules, by why
    error: str = ""  # why it could not decide


@dataclass(frozen=True, slots=True)
class TickRecord:
    """One tick: what was seen, what each decision maker would have done, and what came of it."""

    tick: int
    time_s: float  # Unix time
    mode: Mode
    paused: bool = False
    idle: str = ""  # why nothing was decided; "" = it was
    by: str = ""  # whose plan it is
    why: str = ""  # why not HAM's, where the rules decided
    choices: tuple[Choice, ...] = ()
    agreement: float = 1.0  # orders that both made over orders that either made
    plans: tuple[str, ...] = ()
    refused: Mapping[str, int] = field(default_factory=dict)  # by rule of the guard
    settled: Mapping[str, int] = field(
        default_factory=dict
    )  # what was under way or left by a crash, by outcome
    troubles: tuple[str, ...] = ()
    cost_usd: Mapping[str, float] = field(default_factory=dict)  # of the interval before, by term
    seconds: Mapping[str, float] = field(default_factory=dict)  # duration by stage


class Journal(Protocol):
    """Keeps plans, actions and what happened to them. Every call is one transaction, on disk when it returns.

    Each raises JournalError where the store cannot be written or read, changing nothing.
    """

    def new_id(self) -> str:
        """A name for a plan that no plan has or had."""
        ...

    def add(self, plan: PlanRecord, explanation: Sequence[Mapping[str, Any]] = ()) -> None:
        """A new plan with all its actions, and how it was decided."""
        ...

    def step_plan(self, plan: PlanRecord, before: PlanState, at_s: float) -> None:
        """The plan is now in ``plan.state``.

        Raises:
            PlanError: it was not in ``before``: someone else was faster.

        """
        ...

    def step_action(self, plan_id: str, action: PlannedAction, at_s: float) -> None:
        """The action is now in ``action.state``; before it was in a state that leads there.

        Raises:
            PlanError: it was not.

        """
        ...

    def open_plans(self) -> Sequence[PlanRecord]:
        """Plans to which something is still to happen, the oldest first."""
        ...

    def plan(self, plan_id: str) -> PlanRecord:
        """One plan.

        Raises:
            PlanError: there is none of that id.

        """
        ...

    def given_up(self, since_s: float, reason: str) -> Sequence[tuple[str, PlannedAction]]:
        """Abandoned actions with their plans, ended since, for that reason, of which no late call is noted yet."""
        ...

    def note(self, kind: str, plan_id: str, action_key: str, reason: str) -> None:
        """An event that is no step of a plan."""
        ...

    def tick(self, record: TickRecord) -> None:
        """What a tick was."""
        ...

    def controls(self) -> Controls:
        """What people have told the controller."""
        ...

    def recent(self, since_s: float) -> Sequence[PlannedAction]:
        """Actions that were begun since, the oldest first."""
        ...
