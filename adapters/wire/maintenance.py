"""Times in which hosts are in the hands of people, or nothing moves."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from foreshade.adapters.wire.value import Value


class OccurrenceView(Value):
    """One time."""

    calendar: str
    start: datetime
    end: datetime
    targets: tuple[str, ...]  # hosts and racks by name; none = the whole cluster
    freeze: bool  # True = nothing is begun; False = nothing arrives there, leaving is welcome
    reason: str


class CalendarView(Value):
    """A calendar that is kept."""

    name: str
    kind: Literal["ical", "weekly"]
    added: datetime
    added_by: str
    text: str
    unknown: tuple[
        str, ...
    ]  # of its targets within a year: no host or rack has that name now, such as a slip of the pen
