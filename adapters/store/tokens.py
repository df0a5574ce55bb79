"""Tokens in the store, so that the controllers of a cluster take the same ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, select, update

from foreshade.adapters.auth.role import Role, Scope
from foreshade.adapters.auth.token import TokenRecord
from foreshade.adapters.store.store import Store
from foreshade.adapters.store.surface_tables import tokens


class StoreTokens:
    """The ``TokenStore`` of a database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, record: TokenRecord) -> None:
        """Keep one more."""
        values = {
            "id": record.id,
            "name": record.name,
            "digest": record.digest,
            "role": record.role.word,
            "scopes": None if record.scopes is None else sorted(record.scopes),
            "created_s": record.created.timestamp(),
            "expires_s": record.expires.timestamp(),
        }
        with self._store.writing() as connection:
            connection.execute(tokens.insert().values(values))

    def get(self, token_id: str) -> TokenRecord | None:
        """The record of an id."""
        with self._store.reading() as connection:
            row = connection.execute(select(tokens).where(tokens.c.id == token_id)).first()
        return None if row is None else _record(row)

    def all(self) -> list[TokenRecord]:
        """Every record, the oldest first."""
        with self._store.reading() as connection:
            rows = connection.execute(select(tokens).order_by(tokens.c.created_s, tokens.c.id)).all()
        return [_record(row) for row in rows]

    def revoke(self, token_id: str, when: datetime) -> bool:
        """End it now."""
        with self._store.writing() as connection:
            done = connection.execute(
                update(tokens)
                .where(tokens.c.id == token_id, tokens.c.revoked_s.is_(None))
                .values(revoked_s=when.timestamp())
            )
        return bool(done.rowcount)


def _record(row: Row[Any]) -> TokenRecord:
    scopes = None if row.scopes is None else frozenset(Scope(scope) for scope in row.scopes)
    revoked = None if row.revoked_s is None else _when(row.revoked_s)
    return TokenRecord(
        row.id,
        row.name,
        row.digest,
        Role.of(row.role),
        scopes,
        _when(row.created_s),
        _when(row.expires_s),
        revoked,
    )


def _when(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
