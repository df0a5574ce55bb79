"""The audit as it is written and read, whatever store lies under it."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from foreshade.adapters.audit.chain import Act, Entry, Verdict, link, verify
from foreshade.envs.errors import ForeshadeError, WorldError

LOG = logging.getLogger("foreshade.audit")
_BLOCK = 1000
_ATTEMPTS = 20


class AuditStore(Protocol):
    """Rows that are added and read, never changed. Raises ``WorldError`` where the store does not answer."""

    def last(self) -> Entry | None:
        """The newest entry; None = there is none."""
        ...

    def add(self, entry: Entry) -> bool:
        """Add it; False = another writer has taken its number meanwhile, and nothing was added."""
        ...

    def read(self, after: int, limit: int) -> Sequence[Entry]:
        """Entries with a number above ``after``, ascending."""
        ...


class MemoryAudit:
    """Entries of one process."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def last(self) -> Entry | None:
        """The newest entry."""
        return self.entries[-1] if self.entries else None

    def add(self, entry: Entry) -> bool:
        """Add it."""
        if entry.seq != len(self.entries) + 1:
            return False
        self.entries.append(entry)
        return True

    def read(self, after: int, limit: int) -> Sequence[Entry]:
        """Entries above ``after``."""
        return self.entries[after : after + limit]


class AuditLog:
    """Adds to the chain, from several threads and beside other controllers on the same store."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._later: queue.Queue[Act | None] = queue.Queue(1000)
        self._missed = 0  # denied attempts that came faster than they could be written
        self._writer: threading.Thread | None = None
        self.head, self.seq = "", 0  # hash and number of the newest entry that was added here

    def append(self, act: Act) -> Entry:
        """Record an act; when this returns it is kept.

        Raises:
            WorldError: the store does not answer, or other writers were always faster.

        """
        with self._lock:
            for _ in range(_ATTEMPTS):
                entry = link(act, self._store.last())
                if self._store.add(entry):
                    self.head, self.seq = entry.hash, entry.seq
                    return entry
        raise WorldError(f"audit: expected to add entry {entry.seq}, other writers took {_ATTEMPTS} in turn")

    def append_denied(self, act: Act) -> None:
        """Record an attempt that was refused, later and at once for the caller: a flood of them delays nobody."""
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name="audit", daemon=True)
            self._writer.start()
        try:
            self._later.put_nowait(act)
        except queue.Full:
            self._missed += 1

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits, and end."""
        if self._writer is not None:
            self._later.put(None)
            self._writer.join(timeout_s)
            self._writer = None

    def _write(self) -> None:
        while (act := self._later.get()) is not None:
            missed, self._missed = self._missed, 0
            if missed:
                act = replace(act, detail={**(act.detail or {}), "not recorded before": missed})
            try:
                self.append(act)
            except ForeshadeError as error:
                LOG.warning("audit: a refused attempt was not recorded: %s", error)

    def page(self, after: int, limit: int) -> Sequence[Entry]:
        """Entries above ``after``, ascending."""
        return self._store.read(after, limit)

    def last(self) -> Entry | None:
        """The newest entry."""
        return self._store.last()

    def verify(self, head: str = "") -> Verdict:
        """Read the whole chain; ``head`` is a hash noted elsewhere that must be in it."""
        return verify(self._all(), head)

    def _all(self) -> Iterator[Entry]:
        after = 0
        while block := self._store.read(after, _BLOCK):
            yield from block
            after = block[-1].seq
