"""The live controller: the environment's loop with a guard and a journal between decision and effect.

Nothing here opens a socket, sleeps or reads a clock: world, journal and executor are ports. Killed anywhere, it is
started again and its first tick mends what the crash left, by what the world shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from foreshade.agents.breaker import Breaker, BreakerKnobs
from foreshade.agents.decisions import HAM, PERSON
from foreshade.agents.drain import drain
from foreshade.agents.guard import Guard, Seen, Verdict, Window
from foreshade.agents.journal import Controls, Journal, TickRecord
from foreshade.agents.plan import ActionState, Mode, PlanRecord, PlanState
from foreshade.agents.planner import Draft, Explain, Planner
from foreshade.agents.proposal import Estimator, Proposal, propose
from foreshade.agents.reasons import with_reasons
from foreshade.agents.rules.rules import Decider
from foreshade.agents.validation import Booked, stale
from foreshade.envs.errors import ActionError, WorldError
from foreshade.envs.inventory import ControlledWorld
from foreshade.envs.model.action import Action
from foreshade.envs.order import Order
from foreshade.envs.site import Site

_COOLDOWN_S = 86_400.0  # how far back moves are looked at


class Executor(Protocol):
    """Carries plans out, journalling intent before and outcome after each call."""

    def settle(self, look: Callable[[], Seen]) -> Mapping[str, int]:
        """Finish, compensate or abandon what is under way or was left by a crash; what came of it, by state."""
        ...

    def carry_out(self, plan: PlanRecord, look: Callable[[], Seen]) -> PlanRecord:
        """Begin an approved plan; returns it as it is once nothing more can be begun now."""
        ...

    def strikes(self) -> Mapping[str, int]:
        """Actions that failed since the last call, by who decided on them."""
        ...


@dataclass(slots=True)
class Minds:
    """Who may decide: the rules, and HAM beside them where there is a policy."""

    rules: Decider
    ham: Decider | None = None
    estimators: Sequence[Estimator] = ()
    site: Site | None = None  # that they were reset for
    generation: int = -1  # of the inventory, likewise


@dataclass(frozen=True, slots=True)
class View:
    """What the last tick saw and thought, for whoever asks; never changed once it is made."""

    seen: Seen
    site: Site
    record: TickRecord
    proposals: tuple[Proposal, ...] = ()
    verdicts: tuple[Verdict, ...] = ()


@dataclass(slots=True)
class _Tick:
    """What one tick gathers on its way."""

    tick: int
    now_s: float
    controls: Controls
    id: str = ""  # of its plan
    seconds: dict[str, float] = field(default_factory=dict)
    settled: Mapping[str, int] = field(default_factory=dict)
    proposals: tuple[Proposal, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    plans: list[str] = field(default_factory=list)
    why: str = ""


class Controller:
    """One tick at a time: synced? → mend → observe → estimate → propose → decide → check → journal → carry out."""

    def __init__(
        self,
        world: ControlledWorld,
        journal: Journal,
        executor: Executor,
        minds: Minds,
        guard: Guard,
        *,
        breaker: BreakerKnobs | None = None,
        windows: Callable[[], Sequence[Window]] = tuple,
        stopwatch: Callable[[], float] = lambda: 0.0,
        explain: Explain | None = None,
    ) -> None:
        """Put the parts together; nothing is touched.

        Args:
            world: to look at and act on.
            journal: where plans and ticks are written.
            executor: who carries plans out.
            minds: who decides.
            guard: what may be begun.
            breaker: when HAM loses the say.
            windows: maintenance and freeze windows as they are known now.
            stopwatch: seconds, for the durations of the stages.
            explain: how a decision is written down; None = it is not.

        """
        self.world, self.journal, self.executor, self.minds, self.guard = (
            world,
            journal,
            executor,
            minds,
            guard,
        )
        self._breaker = Breaker(breaker or BreakerKnobs())
        self._windows, self._stopwatch, self._record = windows, stopwatch, explain is not None
        self._planner = Planner(journal, lambda: self.guard.knobs.advice_s, explain)
        self.view: View | None = None  # of the last tick that decided
        self.cost_usd: Mapping[str, float] = {}  # of the last interval, by term

    def tick(self) -> TickRecord:
        """One tick.

        Raises:
            JournalError: the store cannot be written; nothing was touched since it could.
            FenceError: another controller has the lease; nothing was touched since it was lost.

        """
        controls = self.journal.controls()
        tick = _Tick(-1, self.world.clock.now_s(), controls)
        if not self.world.synced:
            return self._idle(tick, "inventory and first samples are not there yet")
        try:
            with self._timed(tick, "mend"):
                tick.settled = self.executor.settle(self.look)
                self._planner.drop_leftovers(self.world.clock.now_s())
                self.serve()
            with self._timed(tick, "observe"):
                seen = self.look()
            with self._timed(tick, "estimate"):
                for estimate in self.minds.estimators:
                    estimate(seen.state)
        except WorldError as error:
            return self._idle(tick, str(error))
        tick.tick = seen.state.tick
        with self._timed(tick, "decide"):
            proposal = self._decide(seen, tick)
        if controls.paused:
            why = f": {controls.paused_reason}" if controls.paused_reason else ""
            return self._idle(tick, f"paused by {controls.paused_by}{why}", seen)
        with self._timed(tick, "check"):
            tick.id = self.journal.new_id()
            tick.verdicts = self._review(self._orders(proposal, seen, tick.id), seen, controls)
        with self._timed(tick, "journal"):
            plans = self._planner.write(Draft(tick.id, controls.mode, proposal, tick.verdicts), seen)
            tick.plans = [plan.id for plan in plans]
        with self._timed(tick, "execute"):
            for plan in plans:
                if plan.state is PlanState.APPROVED:
                    self.executor.carry_out(plan, self.look)
        return self._finish(tick, seen, by=proposal.by)

    def serve(self) -> int:
        """Carry out what people approved since the last tick; returns how many plans were begun."""
        if self.journal.controls().paused or not self.world.synced:
            return 0
        approved = [plan for plan in self.journal.open_plans() if plan.state is PlanState.APPROVED]
        for plan in approved:
            self._begin(plan)
        return len(approved)

    def look(self) -> Seen:
        """The world as it is now, with the names of what is in it."""
        state = self.world.observe().copy()
        inventory = self.world.inventory()
        draining = self.journal.controls().draining
        clock = self.world.clock
        return Seen(state, inventory, clock.now_s(), draining, tuple(self._windows()), clock.calendar_s())

    def _begin(self, plan: PlanRecord) -> None:
        """An approved plan is checked again: it was made on an older state."""
        seen = self.look()
        orders = [action.order for action in plan.actions if action.state is ActionState.PENDING]
        recent = self.journal.recent(seen.now_s - _COOLDOWN_S)
        refused = [v.reason for v in self.guard.review(orders, seen, Mode.AUTO, recent) if v.refused]
        booked: Booked = {}
        against = next(iter(refused), "") or next(
            (why for o in orders if (why := stale(o, seen, booked))), ""
        )
        if against:
            self._planner.supersede(plan, f"the world moved: {against}", seen.now_s)
        else:
            self.executor.carry_out(plan, self.look)

    def _decide(self, seen: Seen, tick: _Tick) -> Proposal:
        """Both decide on the same state and learn from it; whose plan it is comes out here."""
        minds = self.minds
        if minds.generation != seen.inventory.generation:
            site = self.world.site()
            for mind in filter(None, (minds.rules, minds.ham)):
                mind.reset(site)
            minds.site = site
            minds.generation = seen.inventory.generation
        record = self._record
        if minds.ham is None:
            rules = propose(minds.rules, seen.state, record=record)
            tick.proposals = (rules,)
            return rules
        # What the rules decided for HAM in doubt, and what a person asked for, is not HAM's to answer for.
        if failed := self.executor.strikes().get(HAM, 0):
            self._breaker = self._breaker.strike(tick.tick, f"{failed} of its actions failed", failed)
        ham = propose(minds.ham, seen.state, record=record and not self._breaker.why(tick.tick))
        if ham.error:
            self._breaker = self._breaker.strike(tick.tick, ham.error)
        tick.why = self._breaker.why(tick.tick) or ham.error
        # Only the plan that counts is written down with its candidates: they are most of what a tick journals.
        rules = propose(minds.rules, seen.state, record=record and bool(tick.why), instead=tick.why)
        tick.proposals = (ham, rules)
        return rules if tick.why else ham

    def _orders(self, proposal: Proposal, seen: Seen, plan_id: str) -> list[Order]:
        """The actions in durable names; what names something that is gone is left out."""
        moves = [replace(action, by=PERSON) for action in drain(seen)]
        drained = {action.vm for action in moves}
        actions = [*moves, *(a for a in proposal.actions if a.vm < 0 or a.vm not in drained)]
        orders = []
        for number, action in enumerate(actions):
            try:
                orders.append(replace(self.world.order(action, f"{plan_id}-{number}"), by=action.by))
            except ActionError:
                continue
        return with_reasons(orders, seen)

    def _review(self, orders: Sequence[Order], seen: Seen, controls: Controls) -> tuple[Verdict, ...]:
        recent = self.journal.recent(seen.now_s - _COOLDOWN_S)
        busy: dict[str, str] = {}
        for plan in self.journal.open_plans():
            if plan.state is PlanState.ONGOING:
                for action in plan.actions:
                    if action.open:
                        busy.update(dict.fromkeys(_names(action.order), plan.id))
        return self.guard.review(orders, seen, controls.mode, recent, busy)

    def _idle(self, tick: _Tick, why: str, seen: Seen | None = None) -> TickRecord:
        """A tick in which nothing is begun."""
        return self._finish(tick, seen, idle=why)

    def _finish(self, tick: _Tick, seen: Seen | None, *, by: str = "", idle: str = "") -> TickRecord:
        record = TickRecord(
            tick=tick.tick,
            time_s=tick.now_s,
            mode=tick.controls.mode,
            paused=tick.controls.paused,
            idle=idle,
            by=by,
            why=tick.why,
            choices=tuple(proposal.choice() for proposal in tick.proposals),
            agreement=_agreement(tick.proposals),
            plans=tuple(tick.plans),
            refused=dict(Counter(v.rule for v in tick.verdicts if v.refused)),
            settled=dict(tick.settled),
            troubles=tuple(self.world.troubles()),
            cost_usd=dict(self.cost_usd),
            seconds=dict(tick.seconds),
        )
        if seen is not None and self.minds.site is not None:
            self.view = View(seen, self.minds.site, record, tick.proposals, tick.verdicts)
        self.journal.tick(record)
        return record

    @contextmanager
    def _timed(self, tick: _Tick, stage: str) -> Iterator[None]:
        begun = self._stopwatch()
        try:
            yield
        finally:
            tick.seconds[stage] = self._stopwatch() - begun


def _names(order: Order) -> set[str]:
    hosts = {order.host} if order.kind.name in ("POWER", "RENT") else set()
    return ({order.vm, order.primary} | hosts) - {""}


def _agreement(proposals: Sequence[Proposal]) -> float:
    if len(proposals) < 2:
        return 1.0
    ham, rules = ({_essence(action) for action in proposal.actions} for proposal in proposals)
    either = ham | rules
    return len(ham & rules) / len(either) if either else 1.0


def _essence(action: Action) -> tuple[object, ...]:
    return action.kind, action.vm, action.host, action.app, action.rack, action.value, action.allocation
