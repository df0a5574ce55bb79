"""Answers that are kept by idempotency key: the port, and one that ends with the process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

#: How long an answer is kept.
KEPT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Kept:
    """A request that was seen, and its answer once it has one."""

    fingerprint: str  # of method, path and body
    begun: datetime
    status: int = 0  # 0 = still at work
    media_type: str = ""
    body: bytes = b""


class KeptAnswers(Protocol):
    """Where answers lie; shared by the controllers of a cluster. Each call is atomic."""

    def begin(self, key: str, fingerprint: str, now: datetime) -> Kept | None:
        """Claim a key; None = it is now ours, otherwise what is there. What is older than ``KEPT`` is forgotten."""
        ...

    def finish(self, key: str, status: int, media_type: str, body: bytes) -> None:
        """Keep the answer."""
        ...

    def drop(self, key: str) -> None:
        """Give the key up, so that it can be tried again."""
        ...


class MemoryAnswers:
    """Answers of one process."""

    def __init__(self, most: int = 10_000) -> None:
        self._kept: dict[str, Kept] = {}
        self._most = most

    def begin(self, key: str, fingerprint: str, now: datetime) -> Kept | None:
        """Claim a key."""
        found = self._kept.get(key)
        if found is not None and now - found.begun < KEPT:
            return found
        while len(self._kept) >= self._most:
            self._kept.pop(next(iter(self._kept)))
        self._kept[key] = Kept(fingerprint, now)
        return None

    def finish(self, key: str, status: int, media_type: str, body: bytes) -> None:
        """Keep the answer."""
        begun = self._kept[key]
        self._kept[key] = Kept(begun.fingerprint, begun.begun, status, media_type, body)

    def drop(self, key: str) -> None:
        """Give the key up."""
        self._kept.pop(key, None)
