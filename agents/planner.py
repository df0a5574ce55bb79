"""From verdicts to journalled plans: what runs by itself, what waits for a person, what is only written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foreshade.agents.explanation import Explained
from foreshade.agents.guard import Seen, Verdict
from foreshade.agents.journal import Journal
from foreshade.agents.plan import ActionState, Mode, PlannedAction, PlanRecord, PlanState
from foreshade.agents.proposal import Proposal
from foreshade.agents.validation import Booked, stale
from foreshade.envs.elapsed import elapsed_s
from foreshade.envs.errors import PlanError

Explain = Callable[[Explained, Seen], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Draft:
    """What a tick came to, before it is journalled."""

    id: str  # that no plan has
    mode: Mode  # of the controller
    proposal: Proposal
    verdicts: Sequence[Verdict]


class Planner:
    """Writes plans, and ends those that were not begun."""

    def __init__(
        self, journal: Journal, advice_s: Callable[[], float], explain: Explain | None = None
    ) -> None:
        """Put the parts together.

        Args:
            journal: where plans are written.
            advice_s: how long advice stands that still could be carried out, as it is configured now.
            explain: how a decision is written down; None = it is not.

        """
        self._journal, self._advice_s, self._explain = journal, advice_s, explain

    def write(self, draft: Draft, seen: Seen) -> list[PlanRecord]:
        """Journal the plans of a tick, one for each level that its orders have; the approved ones may be begun."""
        plans = []
        for level in (Mode.AUTO, Mode.ADVISE, Mode.OBSERVE):
            own = level is draft.mode  # the plan of the mode also holds what the guard refused
            mine = [v for v in draft.verdicts if (own and v.refused) or (not v.refused and v.level is level)]
            if not mine:
                continue
            standing = self._standing_advice(seen) if level is Mode.ADVISE else None
            plans.append(standing or self._write(draft, level, mine, seen))
        self._drop_old_advice(seen)
        return plans

    def _drop_old_advice(self, seen: Seen) -> None:
        """End advice that nobody took in time and that no newer plan has replaced: nothing more was to be advised."""
        for plan in self._journal.open_plans():
            old = elapsed_s(plan.created_s, seen.now_s) >= self._advice_s()
            if plan.state is PlanState.RECOMMENDED and plan.mode is Mode.ADVISE and old:
                self.supersede(plan, f"nobody approved it within {self._advice_s():g} s", seen.now_s)

    def drop_leftovers(self, now_s: float) -> None:
        """End what an earlier tick would have begun by itself, had it not been killed: the world moved on."""
        for plan in self._journal.open_plans():
            by_itself = plan.mode is Mode.AUTO and plan.approved_by in ("", "auto")
            if by_itself and plan.state in (PlanState.RECOMMENDED, PlanState.APPROVED):
                self.supersede(plan, "the controller stopped before it was begun", now_s)

    def supersede(self, plan: PlanRecord, reason: str, now_s: float) -> PlanRecord:
        """The world moved, or a newer plan takes its place."""
        return self._close(plan, PlanState.SUPERSEDED, ActionState.SUPERSEDED, reason, now_s)

    def _write(self, draft: Draft, level: Mode, verdicts: Sequence[Verdict], seen: Seen) -> PlanRecord:
        plan = PlanRecord(
            id=draft.id if level is draft.mode else f"{draft.id}-{level.value}",
            tick=seen.state.tick,
            created_s=seen.now_s,
            mode=level,
            by=draft.proposal.by,
            actions=tuple(_planned(verdict) for verdict in verdicts),
            gain_usd=draft.proposal.gain_usd,
        )
        may_run = any(action.open for action in plan.actions)
        if level is Mode.ADVISE and may_run:
            for older in self._journal.open_plans():
                if older.state is PlanState.RECOMMENDED:
                    self.supersede(older, f"plan {plan.id} takes its place", seen.now_s)
        decisions = draft.proposal.decisions if self._explain is not None else ()
        self._journal.add(
            plan, [self._explain(d, seen) for d in decisions] if self._explain is not None else ()
        )
        if not may_run:
            return self._skip(plan, "the guard refused every action", seen.now_s)
        if level is Mode.OBSERVE:
            return self._skip(plan, "observing: nothing is carried out", seen.now_s)
        if level is Mode.AUTO:
            approved = plan.to(PlanState.APPROVED, "mode auto", by="auto")
            self._journal.step_plan(approved, plan.state, seen.now_s)
            return approved
        return plan

    def _standing_advice(self, seen: Seen) -> PlanRecord | None:
        """Advice that waits for approval, is not old, and still could be carried out whole."""
        for plan in self._journal.open_plans():
            if plan.state is not PlanState.RECOMMENDED or plan.mode is not Mode.ADVISE:
                continue
            booked: Booked = {}
            orders = [action.order for action in plan.actions if action.open]
            fresh = elapsed_s(plan.created_s, seen.now_s) < self._advice_s()
            if fresh and orders and not any(stale(order, seen, booked) for order in orders):
                return plan
        return None

    def _skip(self, plan: PlanRecord, reason: str, now_s: float) -> PlanRecord:
        return self._close(plan, PlanState.SKIPPED, ActionState.SKIPPED, reason, now_s)

    def _close(
        self, plan: PlanRecord, end: PlanState, of_actions: ActionState, reason: str, now_s: float
    ) -> PlanRecord:
        """End a plan that was not begun, with all its open actions."""
        try:
            for action in plan.actions:
                if action.open:
                    ended = action.to(of_actions, reason)
                    self._journal.step_action(plan.id, ended, now_s)
                    plan = plan.with_action(ended)
            closed = plan.to(end, reason)
            self._journal.step_plan(closed, plan.state, now_s)
        except PlanError:  # a person was faster: it is theirs
            return self._journal.plan(plan.id)
        return closed


def _planned(verdict: Verdict) -> PlannedAction:
    action = PlannedAction(verdict.order)
    return action.to(ActionState.REFUSED, f"{verdict.rule}: {verdict.reason}") if verdict.refused else action
