"""The audit in the store: rows are added with the number that the chain gives them, and never changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.exc import IntegrityError

from foreshade.adapters.audit.chain import Act, Entry
from foreshade.adapters.store.store import Store
from foreshade.adapters.store.surface_tables import audit


class StoreAudit:
    """The ``AuditStore`` of a database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def last(self) -> Entry | None:
        """The newest entry."""
        with self._store.reading() as connection:
            row = connection.execute(select(audit).order_by(audit.c.seq.desc()).limit(1)).first()
        return None if row is None else _entry(row)

    def add(self, entry: Entry) -> bool:
        """Add it; False = another writer has its number."""
        act = entry.act
        values = {
            "seq": entry.seq,
            "time_s": act.time.timestamp(),
            "actor": act.actor,
            "role": act.role,
            "action": act.action,
            "target": act.target,
            "outcome": act.outcome,
            "request": act.request,
            "detail": dict(act.detail or {}),
            "previous": entry.previous,
            "hash": entry.hash,
        }
        try:
            with self._store.writing() as connection:
                connection.execute(audit.insert().values(values))
        except IntegrityError:
            return False
        return True

    def read(self, after: int, limit: int) -> Sequence[Entry]:
        """Entries above ``after``."""
        with self._store.reading() as connection:
            rows = connection.execute(
                select(audit).where(audit.c.seq > after).order_by(audit.c.seq).limit(limit)
            ).all()
        return [_entry(row) for row in rows]


def _entry(row: Row[Any]) -> Entry:
    act = Act(
        datetime.fromtimestamp(row.time_s, UTC),
        row.actor,
        row.role,
        row.action,
        row.target,
        row.outcome,
        row.request,
        row.detail or None,
    )
    return Entry(row.seq, act, row.previous, row.hash)
