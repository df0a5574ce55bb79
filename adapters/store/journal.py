"""Plans, actions, ticks and what people said, in the store: the ``Journal`` port.

Each state is kept twice on purpose: in the row of the plan or action, and as an event. ``replayed`` makes the first
of the second; the tests hold them equal after every crash.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Connection, Row, func, select, update
from sqlalchemy.exc import IntegrityError

from foreshade.adapters.store.schema import actions, controls, events, plans, ticks
from foreshade.adapters.store.store import Store, insert_rows
from foreshade.agents.journal import Choice, Controls, TickRecord
from foreshade.agents.plan import (
    ACTION_STEPS,
    PLAN_STEPS,
    ActionState,
    Mode,
    PlannedAction,
    PlanRecord,
    PlanState,
)
from foreshade.envs.errors import JournalError, PlanError
from foreshade.envs.model.action import ActionKind, five
from foreshade.envs.order import Order

_ORDER = tuple(field.name for field in fields(Order))
_OPEN = [state.value for state, following in PLAN_STEPS.items() if following]


class StoreJournal:
    """The journal of one cluster."""

    def __init__(
        self,
        store: Store,
        *,
        wall_s: Callable[[], float],
        fence: Callable[[Connection], None] = lambda _connection: None,
    ) -> None:
        """Nothing is written yet.

        Args:
            store: where it lies.
            wall_s: clock of what people say, who live by another than a simulated world.
            fence: raises FenceError in the transaction of whoever has lost the lease, so that what a controller
                writes of plans, actions and ticks is either under its lease or not at all.

        """
        self._store, self._wall_s, self._fence = store, wall_s, fence

    def new_id(self) -> str:
        """A name for a plan that no plan has or had."""
        with self._store.writing() as connection:
            return f"p{self._store.next('plan', connection)}"

    def add(self, plan: PlanRecord, explanation: Sequence[Mapping[str, Any]] = ()) -> None:
        """A new plan with all its actions, and how it was decided."""
        packed = zlib.compress(json.dumps(list(explanation)).encode(), 6) if explanation else None
        with self._leading() as connection:
            row = {
                "id": plan.id,
                "number": self._store.next("plan row", connection),
                "tick": plan.tick,
                "created_s": plan.created_s,
                "mode": plan.mode,
                "by": plan.by,
                "state": plan.state,
                "reason": plan.reason,
                "approved_by": plan.approved_by,
                "gain_usd": plan.gain_usd,
                "explanation": packed,
            }
            try:
                connection.execute(plans.insert().values(row))
            except IntegrityError as error:
                raise JournalError(f"plan {plan.id}: expected a new one, found it in the store") from error
            if plan.actions:
                insert_rows(connection, actions, [_row(plan.id, k, a) for k, a in enumerate(plan.actions)])
            entries = [
                _event(plan.created_s, "plan", plan.id, after=plan.state, by=plan.by, reason=plan.reason)
            ]
            entries += [
                _event(
                    plan.created_s,
                    "action",
                    plan.id,
                    key=action.order.key,
                    after=action.state,
                    reason=action.reason or action.order.reason,
                    data=order_to_json(action.order),
                )
                for action in plan.actions
            ]
            insert_rows(connection, events, entries)

    @contextmanager
    def _leading(self) -> Iterator[Connection]:
        """A transaction under the lease."""
        with self._store.writing() as connection:
            self._fence(connection)
            yield connection

    def note(self, kind: str, plan_id: str, action_key: str, reason: str) -> None:
        """Add an event that is no step of a plan."""
        with self._store.writing() as connection:
            connection.execute(
                events.insert(), _event(self._wall_s(), kind, plan_id, key=action_key, reason=reason)
            )

    def given_up(self, since_s: float, reason: str) -> list[tuple[str, PlannedAction]]:
        """Abandoned actions with their plans, ended since, for that reason, of which no late call is noted yet."""
        noted = select(events.c.action_key).where(events.c.kind == "late")
        query = select(actions).where(
            actions.c.state == ActionState.ABANDONED,
            actions.c.reason == reason,
            actions.c.ended_s > since_s,
            actions.c.key.not_in(noted),
        )
        with self._store.reading() as connection:
            return [(row.plan_id, _action(row)) for row in connection.execute(query)]

    def step_plan(self, plan: PlanRecord, before: PlanState, at_s: float) -> None:
        """The plan is now in ``plan.state``; PlanError where it was not in ``before``."""
        values = {"state": plan.state, "reason": plan.reason, "approved_by": plan.approved_by}
        with self._leading() as connection:
            done = connection.execute(
                update(plans).where(plans.c.id == plan.id, plans.c.state == before).values(values)
            )
            if done.rowcount != 1:
                raise PlanError(_raced(connection, plan, before))
            by = plan.approved_by if plan.state is PlanState.APPROVED else ""
            connection.execute(
                events.insert(),
                _event(at_s, "plan", plan.id, before=before, after=plan.state, by=by, reason=plan.reason),
            )

    def step_action(self, plan_id: str, action: PlannedAction, at_s: float) -> None:
        """The action is now in ``action.state``; PlanError where its state does not lead there."""
        values = {
            "state": action.state,
            "reason": action.reason,
            "begun_s": action.begun_s,
            "ended_s": action.ended_s,
            "attempts": action.attempts,
        }
        leads = [state for state, following in ACTION_STEPS.items() if action.state in following]
        key = action.order.key
        with self._leading() as connection:
            before = connection.execute(
                select(actions.c.state).where(actions.c.key == key)
            ).scalar_one_or_none()
            if before is None or ActionState(before) not in leads:
                raise PlanError(
                    f"action {key} is {before or 'in no plan'}: expected "
                    f"{' or '.join(leads)} before {action.state}"
                )
            connection.execute(update(actions).where(actions.c.key == key).values(values))
            connection.execute(
                events.insert(),
                _event(
                    at_s, "action", plan_id, key=key, before=before, after=action.state, reason=action.reason
                ),
            )

    def open_plans(self) -> Sequence[PlanRecord]:
        """Plans to which something is still to happen, the oldest first."""
        with self._store.reading() as connection:
            return _plans(connection, plans.c.state.in_(_OPEN))

    def plan(self, plan_id: str) -> PlanRecord:
        """One plan; PlanError where there is none."""
        with self._store.reading() as connection:
            found = _plans(connection, plans.c.id == plan_id)
        if not found:
            raise PlanError(f"plan {plan_id}: expected a plan of the journal, found none")
        return found[0]

    def open_counts(self) -> dict[str, int]:
        """How many plans there are by state, of those to which something is still to happen."""
        query = select(plans.c.state, func.count()).where(plans.c.state.in_(_OPEN)).group_by(plans.c.state)
        with self._store.reading() as connection:
            return {str(state): int(count) for state, count in connection.execute(query)}

    def refused(self, plan_ids: Sequence[str]) -> dict[str, int]:
        """How many actions the guard refused, of plans that have such."""
        of = actions.c.plan_id.in_(list(plan_ids)) & (actions.c.state == ActionState.REFUSED)
        query = select(actions.c.plan_id, func.count()).where(of).group_by(actions.c.plan_id)
        with self._store.reading() as connection:
            return {str(plan_id): int(count) for plan_id, count in connection.execute(query)}

    def plans(
        self,
        limit: int = 50,
        states: Sequence[PlanState] = (),
        before: str | None = None,
        *,
        refused: bool = True,
    ) -> list[PlanRecord]:
        """The newest plans first; ``before`` is the id of the last one of the page before.

        Without ``refused`` the actions that the guard refused are left out: there can be thousands in a plan.

        Raises:
            PlanError: there is no plan of that id.

        """
        with self._store.reading() as connection:
            where = plans.c.state.in_(states) if states else plans.c.number > 0
            if before is not None:
                number = connection.execute(
                    select(plans.c.number).where(plans.c.id == before)
                ).scalar_one_or_none()
                if number is None:
                    raise PlanError(f"plan {before}: expected a plan of the journal, found none")
                where = where & (plans.c.number < number)
            return _plans(connection, where, newest=limit, refused=refused)

    def count_plans(self, states: Sequence[PlanState] = ()) -> int:
        """How many plans are in some states, or in all."""
        with self._store.reading() as connection:
            query = select(func.count()).select_from(plans)
            said = connection.execute(query.where(plans.c.state.in_(states)) if states else query)
            return int(said.scalar_one())

    def explanation(self, plan_id: str) -> list[dict[str, Any]]:
        """How a plan was decided, decision by decision; empty where that was not kept."""
        with self._store.reading() as connection:
            packed = connection.execute(
                select(plans.c.explanation).where(plans.c.id == plan_id)
            ).scalar_one_or_none()
        said: list[dict[str, Any]] = json.loads(zlib.decompress(packed)) if packed else []
        return said

    def tick(self, record: TickRecord) -> None:
        """What a tick was."""
        data = asdict(record)
        row = {key: data.pop(key) for key in ("tick", "time_s", "mode", "by", "idle", "agreement")}
        with self._leading() as connection:
            connection.execute(ticks.insert().values(**row, data=data))

    def ticks(self, limit: int = 100) -> list[TickRecord]:
        """The newest ticks, the oldest of them first."""
        with self._store.reading() as connection:
            rows = connection.execute(select(ticks).order_by(ticks.c.id.desc()).limit(limit)).all()
        return [_tick(row) for row in reversed(rows)]

    def controls(self) -> Controls:
        """What people have told the controller."""
        with self._store.reading() as connection:
            said = {row.name: row for row in connection.execute(select(controls))}
        pause = said["pause"].value if "pause" in said else {}
        return Controls(
            Mode(said["mode"].value) if "mode" in said else Mode.OBSERVE,
            bool(pause.get("paused", False)),
            said["pause"].by if pause.get("paused") else "",
            str(pause.get("reason", "")),
            frozenset(said["drain"].value) if "drain" in said else frozenset(),
        )

    def configured_mode(self) -> Mode | None:
        """The mode that a configuration file last asked for; None = none did."""
        with self._store.reading() as connection:
            said = connection.execute(
                select(controls.c.value).where(controls.c.name == "configured mode")
            ).scalar_one_or_none()
        return Mode(said) if said is not None else None

    def say(self, name: str, value: Any, by: str, reason: str = "") -> None:
        """Keep what a person said: mode or pause."""
        with self._store.writing() as connection:
            self._say(connection, name, value, by, reason)

    def say_drain(self, host: str, by: str, *, undo: bool) -> None:
        """Keep that a host is to be emptied, or no more; what others say of other hosts at the same time stays."""
        with self._store.writing() as connection:
            # The lock comes before the look: on PostgreSQL two who only looked first would both write what they saw.
            touched = update(controls).where(controls.c.name == "drain").values(by=by)
            connection.execute(touched)
            said = connection.execute(
                select(controls.c.value).where(controls.c.name == "drain")
            ).scalar_one_or_none()
            draining = frozenset(said or ())
            after = draining - {host} if undo else draining | {host}
            self._say(connection, "drain", sorted(after), by, "", host=host, undo=undo)

    def _say(self, connection: Connection, name: str, value: Any, by: str, reason: str, **more: Any) -> None:
        now_s = self._wall_s()
        values = {"value": value, "at_s": now_s, "by": by}
        done = connection.execute(update(controls).where(controls.c.name == name).values(values))
        if done.rowcount == 0:
            connection.execute(controls.insert().values(name=name, **values))
        connection.execute(
            events.insert(),
            _event(now_s, "control", by=by, after=name, reason=reason, data={"value": value, **more}),
        )

    def recent(self, since_s: float) -> Sequence[PlannedAction]:
        """Actions that were begun since, the oldest first."""
        with self._store.reading() as connection:
            rows = connection.execute(
                select(actions).where(actions.c.begun_s >= max(since_s, 1e-9)).order_by(actions.c.begun_s)
            ).all()
        return [_action(row) for row in rows]

    def events(self, after: int = 0, limit: int = 500, plan_id: str | None = None) -> list[dict[str, Any]]:
        """Events past one, in order."""
        query = select(events).where(events.c.id > after).order_by(events.c.id).limit(limit)
        if plan_id is not None:
            query = query.where(events.c.plan_id == plan_id)
        with self._store.reading() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - its public name

    def steps(self, after: int, until: int, limit: int = 500) -> list[dict[str, Any]]:
        """Events past one and up to another, without the first of each action: its plan's says that it is there."""
        began = (events.c.kind == "action") & (events.c.before == "")
        query = select(events).where(events.c.id > after, events.c.id <= until, ~began)
        with self._store.reading() as connection:
            rows = connection.execute(query.order_by(events.c.id).limit(limit))
            return [dict(row._mapping) for row in rows]  # noqa: SLF001 - its public name

    def last_event(self) -> int:
        """Number of the newest event; 0 = there is none."""
        with self._store.reading() as connection:
            return int(connection.execute(select(func.max(events.c.id))).scalar_one() or 0)

    def replayed(self) -> tuple[dict[str, PlanState], dict[str, ActionState]]:
        """The states that the events come to; each step is checked against the tables of legal steps.

        Raises:
            PlanError: an event does not follow from the ones before.

        """
        plan_states: dict[str, PlanState] = {}
        action_states: dict[str, ActionState] = {}
        for event in self.events(limit=-1):
            after = event["after"]
            if event["kind"] == "plan":
                _follow(plan_states, event["plan_id"], event["before"], PlanState(after), PLAN_STEPS)
            elif event["kind"] == "action":
                _follow(action_states, event["action_key"], event["before"], ActionState(after), ACTION_STEPS)
        return plan_states, action_states


def order_to_json(order: Order) -> dict[str, Any]:
    """An order as JSON can hold it."""
    said = {name: getattr(order, name) for name in _ORDER}  # asdict copies every value: ten times the time
    return {**said, "kind": order.kind.name.lower()}


def order_from_json(said: Mapping[str, Any]) -> Order:
    """The order of ``order_to_json``."""
    values = dict(said)
    values["kind"] = ActionKind[str(said["kind"]).upper()]
    for key in ("allocation", "allocation_before"):
        values[key] = None if said.get(key) is None else five(said[key])
    return Order(**values)


def _follow(states: dict[str, Any], key: str, before: str, after: Any, steps: Mapping[Any, Any]) -> None:
    now = states.get(key)
    if (now or "") != before or (now is not None and after not in steps[now]):
        raise PlanError(f"{key}: expected an event that follows {now}, found {before or 'none'} to {after}")
    states[key] = after


def _row(plan_id: str, position: int, action: PlannedAction) -> dict[str, Any]:
    order = action.order
    return {
        "key": order.key,
        "plan_id": plan_id,
        "position": position,
        "kind": order.kind.name.lower(),
        "vm": order.vm,
        "source": order.source,
        "host": order.host,
        "state": action.state,
        "reason": action.reason,
        "begun_s": action.begun_s,
        "ended_s": action.ended_s,
        "attempts": action.attempts,
        "order": order_to_json(order),
    }


def _event(time_s: float, kind: str, plan_id: str = "", **said: Any) -> dict[str, Any]:
    return {
        "time_s": time_s,
        "kind": kind,
        "plan_id": plan_id,
        "action_key": said.get("key", ""),
        "before": said.get("before", ""),
        "after": said.get("after", ""),
        "by": said.get("by", ""),
        "reason": said.get("reason", ""),
        "data": said.get("data"),
    }


def _plans(
    connection: Connection, where: Any, newest: int | None = None, *, refused: bool = True
) -> list[PlanRecord]:
    order = plans.c.number.desc() if newest is not None else plans.c.number
    columns = [column for column in plans.c if column.name != "explanation"]
    rows = connection.execute(select(*columns).where(where).order_by(order).limit(newest)).all()
    mine: dict[str, list[PlannedAction]] = {row.id: [] for row in rows}
    if rows:
        query = (
            select(actions)
            .where(actions.c.plan_id.in_(list(mine)))
            .order_by(actions.c.plan_id, actions.c.position)
        )
        if not refused:
            query = query.where(actions.c.state != ActionState.REFUSED)
        for row in connection.execute(query):
            mine[row.plan_id].append(_action(row))
    return [
        PlanRecord(
            row.id,
            row.tick,
            row.created_s,
            Mode(row.mode),
            row.by,
            tuple(mine[row.id]),
            PlanState(row.state),
            row.reason,
            row.approved_by,
            row.gain_usd,
        )
        for row in rows
    ]


def _action(row: Row[Any]) -> PlannedAction:
    return PlannedAction(
        order_from_json(row.order), ActionState(row.state), row.reason, row.begun_s, row.ended_s, row.attempts
    )


def _tick(row: Row[Any]) -> TickRecord:
    data: dict[str, Any] = dict(row.data)
    choices = tuple(Choice(**choice) for choice in data.pop("choices"))
    data.update({key: tuple(data[key]) for key in ("plans", "troubles")})
    return TickRecord(
        row.tick,
        row.time_s,
        Mode(row.mode),
        by=row.by,
        idle=row.idle,
        agreement=row.agreement,
        choices=choices,
        **data,
    )


def _raced(connection: Connection, plan: PlanRecord, before: PlanState) -> str:
    now = connection.execute(select(plans.c.state).where(plans.c.id == plan.id)).scalar_one_or_none()
    return f"plan {plan.id} is {now or 'not in the journal'}: expected {before} before {plan.state}"
