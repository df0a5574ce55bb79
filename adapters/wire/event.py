"""What is told as it happens: the stream and webhooks carry the same."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from foreshade.adapters.wire.value import Value

EventKind = Literal[
    "tick",  # a tick has ended: a summary of what it saw, decided and did
    "plan",  # a plan, or one of its actions, is in another state
    "mode",  # mode, pause or leader
    "anomaly",  # a host or VM became strange, or normal again
    "maintenance",  # a window was planned, changed or removed
    "policy",  # rules or a policy were activated
    "trouble",  # something is wrong, or right again
]
KINDS: tuple[EventKind, ...] = ("tick", "plan", "mode", "anomaly", "maintenance", "policy", "trouble")


class Event(Value):
    """One thing that happened."""

    id: str  # grows with time; `Last-Event-ID` of a stream that goes on
    time: datetime
    kind: EventKind
    data: Mapping[str, Any]
