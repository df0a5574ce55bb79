"""Answers by idempotency key in the store, so that a request that is sent again to the other controller is known."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from foreshade.adapters.answers import KEPT, Kept
from foreshade.adapters.store.store import Store
from foreshade.adapters.store.surface_tables import answers


class StoreAnswers:
    """The ``KeptAnswers`` of a database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, key: str, fingerprint: str, now: datetime) -> Kept | None:
        """Claim a key; None = it is now ours."""
        now_s = now.timestamp()
        values = {
            "key": key,
            "fingerprint": fingerprint,
            "begun_s": now_s,
            "status": 0,
            "media_type": "",
            "body": b"",
        }
        try:
            with self._store.writing() as connection:
                connection.execute(delete(answers).where(answers.c.begun_s <= now_s - KEPT.total_seconds()))
                connection.execute(answers.insert().values(values))
        except IntegrityError:
            with self._store.reading() as connection:
                row = connection.execute(select(answers).where(answers.c.key == key)).first()
            if row is not None:
                begun = datetime.fromtimestamp(row.begun_s, UTC)
                return Kept(row.fingerprint, begun, row.status, row.media_type, row.body)
            return Kept(fingerprint, now)  # given up between the two: the client is told to try again
        return None

    def finish(self, key: str, status: int, media_type: str, body: bytes) -> None:
        """Keep the answer."""
        with self._store.writing() as connection:
            connection.execute(
                update(answers)
                .where(answers.c.key == key)
                .values(status=status, media_type=media_type, body=body)
            )

    def drop(self, key: str) -> None:
        """Give the key up."""
        with self._store.writing() as connection:
            connection.execute(delete(answers).where(answers.c.key == key))
