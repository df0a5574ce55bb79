"""The hash chain of the audit: each entry's hash covers its content and the hash before it.

An entry that is changed, removed from the middle, inserted or moved breaks the chain from there on. A cut at the end
leaves a shorter chain that is whole: it is found by comparing with a head noted elsewhere (``/metrics``, the log and
``foreshade audit verify`` all show it).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

#: Hash before the first entry.
GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class Act:
    """What is to be recorded."""

    time: datetime
    actor: str  # name of the token, subject of the OIDC token, or ``controller``
    role: str
    action: str  # ``plan.approve``, ``mode.set``, ``token.create``, …
    target: str = ""  # what it was done to
    outcome: str = "ok"  # ``ok``, ``denied`` or ``failed``
    request: str = ""  # id of the request
    detail: Mapping[str, Any] | None = None  # JSON; no secrets


@dataclass(frozen=True, slots=True)
class Entry:
    """An act at its place in the chain."""

    seq: int  # from 1, without gaps
    act: Act
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a verification."""

    entries: int  # that were read and are whole
    head: str  # hash of the last whole one
    error: str = ""  # where the chain breaks, and how; "" = nowhere


def hash_of(seq: int, act: Act, previous: str) -> str:
    """SHA-256, in hex, of the entry's canonical JSON (sorted keys, no blanks, UTC to the microsecond)."""
    said = {
        "seq": seq,
        "time": act.time.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": act.actor,
        "role": act.role,
        "action": act.action,
        "target": act.target,
        "outcome": act.outcome,
        "request": act.request,
        "detail": act.detail or {},
        "previous": previous,
    }
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def link(act: Act, last: Entry | None) -> Entry:
    """The entry that follows ``last``."""
    seq, previous = (1, GENESIS) if last is None else (last.seq + 1, last.hash)
    return Entry(seq, act, previous, hash_of(seq, act, previous))


def verify(entries: Iterable[Entry], head: str = "") -> Verdict:
    """Read a chain from its first entry; ``head`` is a hash that it must contain ("" = not asked)."""
    count, previous, seen = 0, GENESIS, not head
    for entry in entries:
        if entry.seq != count + 1:
            return Verdict(count, previous, f"entry {count + 1}: expected it next, found entry {entry.seq}")
        if entry.previous != previous:
            return Verdict(
                count,
                previous,
                f"entry {entry.seq}: expected to follow {previous[:12]}…, found {entry.previous[:12]}…",
            )
        if entry.hash != hash_of(entry.seq, entry.act, previous):
            return Verdict(count, previous, f"entry {entry.seq}: its content does not give its hash")
        count, previous = entry.seq, entry.hash
        seen = seen or previous == head
    if not seen:
        return Verdict(
            count, previous, f"expected the hash {head[:12]}… in the chain, found its end at entry {count}"
        )
    return Verdict(count, previous)
