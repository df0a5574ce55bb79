"""Carries plans out: the intent journalled before any call, the outcome after it, and the rest mended.

    PENDING ── fresh check ── intent journalled ──► ONGOING ── call ──► what the world shows ── outcome journalled

Success is what the world shows afterwards, never what a call returned. What is under way when a tick ends, and what a
crash left, is the same thing and is settled by the same code in the next tick: done → succeeded, untouched →
abandoned, half done → carried on within its deadline, else compensated.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from foreshade.adapters.late_calls import NOTHING_SHOWN, LateCalls
from foreshade.agents.guard import Seen
from foreshade.agents.journal import Journal
from foreshade.agents.plan import ActionState, PlannedAction, PlanRecord, PlanState
from foreshade.agents.validation import Booked, dependencies, stale
from foreshade.envs.elapsed import elapsed_s
from foreshade.envs.errors import PlanError, WorldError
from foreshade.envs.extras import require
from foreshade.envs.inventory import ControlledWorld
from foreshade.envs.knobs import Knobs
from foreshade.envs.order import Order, Result, Standing

require("tenacity", "control", "the executor")

from tenacity import Retrying, retry_if_result, stop_after_attempt, wait_exponential  # noqa: E402

log = logging.getLogger(__name__)

_SHOWN = {  # what an action is once the world shows it
    Standing.DONE: ActionState.SUCCEEDED,
    Standing.UNTOUCHED: ActionState.FAILED,
}


class ExecutorKnobs(Knobs):
    """Patience and concurrency."""

    #: Longest wait for one call; then it is seen to in the next tick.
    call_timeout_s: Annotated[float, Field(gt=0)] = 120.0
    #: From the intent until an action that is neither done nor under way is compensated.
    deadline_s: Annotated[float, Field(gt=0)] = 1800.0
    #: How long an action that another controller began and this one gave up is watched for: a controller that was
    #: frozen may let its call through when it wakes.
    watch_s: Annotated[float, Field(ge=0)] = 86400.0
    #: Calls made for one action where the world says that trying again may help.
    attempts: Annotated[int, Field(ge=1)] = 3
    #: Pause before the second call; doubles with each.
    backoff_s: Annotated[float, Field(ge=0)] = 1.0
    most_backoff_s: Annotated[float, Field(ge=0)] = 30.0
    #: Actions carried out at once on the cluster, and on one host: QEMU copies one VM at full line rate.
    at_once: Annotated[int, Field(ge=1)] = 8
    at_once_per_host: Annotated[int, Field(ge=1)] = 2


class PlanExecutor:
    """The ``Executor`` of the controller. One plan at a time; its independent actions run side by side."""

    def __init__(
        self,
        world: ControlledWorld,
        journal: Journal,
        knobs: ExecutorKnobs,
        *,
        sleep: Callable[[float], None],
        fence: Callable[[], None] = lambda: None,
    ) -> None:
        """Put the parts together.

        Args:
            world: that is acted on.
            journal: of intents and outcomes.
            knobs: patience and concurrency.
            sleep: how a pause before another call is waited for.
            fence: raises FenceError once another controller has the lease; asked before every call.

        """
        self._world, self._journal, self._knobs = world, journal, knobs
        self._sleep, self._fence = sleep, fence
        self._mine: set[str] = set()  # plans that this process began: their pending actions are still wanted
        self._under_way: dict[str, Order] = {}  # orders that were begun and have not ended, by key
        self._strikes: Counter[str] = Counter()  # by who decided
        self._late = LateCalls(
            world,
            journal,
            now_s=self._now_s,
            fence=fence,
            watch_s=knobs.watch_s,
            call_timeout_s=knobs.call_timeout_s,
        )

    def strikes(self) -> Mapping[str, int]:
        """Actions that failed since the last call, by who decided on them."""
        strikes, self._strikes = self._strikes, Counter()
        return strikes

    def settle(self, look: Callable[[], Seen]) -> Mapping[str, int]:
        """See to every action that is under way, then go on with the plans that this process began."""
        self._late.recall()
        outcomes: Counter[str] = Counter(self._late.check())
        for found in self._journal.open_plans():
            if found.state is not PlanState.ONGOING:
                continue
            plan = found
            for action in plan.actions:
                if action.state is ActionState.ONGOING:
                    self._under_way[action.order.key] = action.order
                    settled = self._settle_action(plan, action, outcomes)
                    plan = plan.with_action(settled)
                elif action.state is ActionState.PENDING and plan.id not in self._mine:
                    reason = "the controller stopped before it was begun"
                    plan = plan.with_action(self._end(plan, action, ActionState.ABANDONED, reason))
                    outcomes[ActionState.ABANDONED] += 1
            self._go_on(plan, look)
        return outcomes

    def carry_out(self, plan: PlanRecord, look: Callable[[], Seen]) -> PlanRecord:
        """Begin an approved plan; returns it as it is once nothing more can be begun now."""
        begun = plan.to(PlanState.ONGOING)
        self._journal.step_plan(begun, plan.state, self._now_s())
        self._mine.add(plan.id)
        return self._go_on(begun, look)

    def _go_on(self, plan: PlanRecord, look: Callable[[], Seen]) -> PlanRecord:
        """Begin what may be begun, wave by wave, until nothing more can be; end the plan where all is done."""
        needed = dependencies([action.order for action in plan.actions])
        while True:
            plan = self._drop_orphans(plan, needed)
            if self._journal.controls().paused:  # also where it was paused between two waves
                break
            wave = self._wave(plan, needed)
            if not wave:
                break
            plan = self._run(plan, wave, look())
        if not any(action.open for action in plan.actions):
            ended = plan.to(plan.outcome, _summary(plan))
            self._journal.step_plan(ended, plan.state, self._now_s())
            self._mine.discard(plan.id)
            return ended
        return plan

    def _drop_orphans(self, plan: PlanRecord, needed: Sequence[Sequence[int]]) -> PlanRecord:
        """What needs an action that came to nothing is not begun."""
        for number, action in enumerate(plan.actions):
            if action.state is not ActionState.PENDING:
                continue
            for i in needed[number]:
                first = plan.actions[i]
                if not first.open and first.state not in (ActionState.SUCCEEDED, ActionState.REFUSED):
                    reason = f"needs action {first.order.key}, which was {first.state}"
                    plan = plan.with_action(self._end(plan, action, ActionState.SUPERSEDED, reason))
                    break
        return plan

    def _wave(self, plan: PlanRecord, needed: Sequence[Sequence[int]]) -> list[PlannedAction]:
        """Pending actions that may run side by side now."""
        wave: list[PlannedAction] = []
        load: Counter[str] = Counter()
        for order in self._under_way.values():  # of whatever plan
            load.update(_hosts(order))
        for number, action in enumerate(plan.actions):
            if (
                action.state is not ActionState.PENDING
                or len(wave) + len(self._under_way) >= self._knobs.at_once
            ):
                continue
            if any(plan.actions[i].open for i in needed[number]):
                continue
            hosts = _hosts(action.order)
            if any(load[host] >= self._knobs.at_once_per_host for host in hosts):
                continue
            load.update(hosts)
            wave.append(action)
        return wave

    def _run(self, plan: PlanRecord, wave: Sequence[PlannedAction], seen: Seen) -> PlanRecord:
        """Check, journal the intents, call, journal the outcomes."""
        begun: list[PlannedAction] = []
        booked: Booked = {}
        for action in wave:
            if why := stale(action.order, seen, booked):
                plan = plan.with_action(self._end(plan, action, ActionState.SUPERSEDED, why))
                continue
            intent = replace(action.to(ActionState.ONGOING), begun_s=self._now_s(), attempts=1)
            try:
                self._journal.step_action(plan.id, intent, intent.begun_s)
            except PlanError:  # a person cancelled it in between
                plan = plan.with_action(self._journal.plan(plan.id).action(action.order.key))
                continue
            plan = plan.with_action(intent)
            self._under_way[intent.order.key] = intent.order
            begun.append(intent)
        if not begun:
            return plan
        with ThreadPoolExecutor(max_workers=len(begun), thread_name_prefix="action") as pool:
            results = list(pool.map(self._call, (action.order for action in begun)))
        for action, (result, attempts) in zip(begun, results, strict=True):
            plan = plan.with_action(self._outcome(plan, replace(action, attempts=attempts), result))
        return plan

    def _call(self, order: Order) -> tuple[Result, int]:
        """Carry an order out, again where the world says that this may help."""
        retrying = Retrying(
            stop=stop_after_attempt(self._knobs.attempts),
            wait=wait_exponential(self._knobs.backoff_s, self._knobs.most_backoff_s),
            retry=retry_if_result(lambda result: result.again),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
            sleep=self._sleep,
        )
        attempts = 0

        def once() -> Result:
            nonlocal attempts
            self._fence()
            attempts += 1
            _say("calling", order)
            return self._world.carry_out(order, self._knobs.call_timeout_s)

        result: Result = retrying(once)
        return result, attempts

    def _outcome(self, plan: PlanRecord, action: PlannedAction, result: Result) -> PlannedAction:
        """Journal what a call came to; what is under way is left to the next tick."""
        if result.standing is Standing.UNDER_WAY:
            return action
        if result.standing is Standing.HALF_DONE:
            return self._compensate(plan, action, result.error or "it stopped half way")
        return self._end(plan, action, _SHOWN[result.standing], result.error)

    def _settle_action(
        self, plan: PlanRecord, action: PlannedAction, outcomes: Counter[str]
    ) -> PlannedAction:
        """What the world shows of an action that was begun."""
        try:
            standing = self._world.standing(action.order)
        except WorldError as error:  # nothing is known: neither success nor failure
            outcomes["unknown"] += 1
            log.warning("action %s: %s", action.order.key, error)
            return action
        mine = plan.id in self._mine
        late = elapsed_s(action.begun_s, self._now_s()) > self._knobs.deadline_s
        if standing is Standing.UNDER_WAY and not late:
            outcomes["under way"] += 1
            return action
        if standing is Standing.DONE:
            ended = self._end(
                plan, action, ActionState.SUCCEEDED, "" if mine else "found done after a restart"
            )
        elif standing is Standing.UNTOUCHED:
            state = ActionState.FAILED if mine else ActionState.ABANDONED
            ended = self._end(plan, action, state, NOTHING_SHOWN)
            if not mine:
                self._late.watch(plan.id, action, standing)
        elif standing is Standing.HALF_DONE and not late:
            result, attempts = self._call(action.order)  # an order carried out twice changes the world once
            carried_on = replace(action, attempts=action.attempts + attempts)
            reason = f"carried on where it had stopped; {result.error}".removesuffix("; ")
            ended = self._outcome(plan, carried_on, replace(result, error=reason))
        else:
            ended = self._compensate(plan, action, f"not done after {self._knobs.deadline_s:g} s")
        outcomes[ended.state if not ended.open else "under way"] += 1
        return ended

    def _compensate(self, plan: PlanRecord, action: PlannedAction, why: str) -> PlannedAction:
        self._fence()
        _say("compensating", action.order)
        result = self._world.compensate(action.order, self._knobs.call_timeout_s)
        if result.standing is Standing.UNTOUCHED:
            return self._end(plan, action, ActionState.COMPENSATED, why)
        if result.standing is Standing.DONE:
            return self._end(plan, action, ActionState.SUCCEEDED, f"{why}; it ended while it was taken back")
        reason = f"{why}; taking it back: {result.error or result.standing}: it needs a person"
        return self._end(plan, action, ActionState.ABANDONED, reason)

    def _end(self, plan: PlanRecord, action: PlannedAction, state: ActionState, reason: str) -> PlannedAction:
        ended = replace(action.to(state, reason), ended_s=self._now_s())
        self._under_way.pop(action.order.key, None)
        try:
            self._journal.step_action(plan.id, ended, ended.ended_s)
        except PlanError:  # a person was faster with an action that was not begun
            return self._journal.plan(plan.id).action(action.order.key)
        self._strikes[action.order.by or plan.by] += state in (ActionState.FAILED, ActionState.COMPENSATED)
        _say(str(state), action.order, reason)
        return ended

    def _now_s(self) -> float:
        return self._world.clock.now_s()


def _hosts(order: Order) -> set[str]:
    return {order.host, order.source} - {""}


def _say(what: str, order: Order, outcome: str = "") -> None:
    """Nothing moves silently: each action with source, target and reason."""
    log.info(
        "%s %s %s",
        what,
        order.kind.name.lower(),
        order.vm or order.host or order.rack or order.app,
        extra={
            "action": order.key,
            "kind": order.kind.name.lower(),
            "vm": order.vm,
            "source": order.source,
            "target": order.host or order.rack or order.app,
            "reason": order.reason,
            "outcome": outcome,
        },
    )


def _summary(plan: PlanRecord) -> str:
    counts = Counter(action.state for action in plan.actions)
    return ", ".join(f"{count} {state}" for state, count in counts.items())
