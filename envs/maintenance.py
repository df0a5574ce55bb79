"""When hosts and racks are in the hands of people, and when nothing may move: values, and a weekly short form.

.. code-block:: text

    sat 02:00-04:00 Europe/Berlin rack 1
    mon-fri 01:00-01:30 host 4
    fri 18:00-mon 06:00 Europe/Berlin freeze

A day or a range of them, times of that zone (UTC where none is said), and what it is about: ``rack N``, ``host N`` or
``freeze``. Local times are those of the wall clock: a window keeps its hours when summer time begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from foreshade.envs.errors import ScenarioError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY, _CLOCK = rf"(?:{'|'.join(DAYS)})", r"(?:[01]?\d|2[0-4]):[0-5]\d"
_WEEKLY = re.compile(
    rf"(?P<day>{_DAY})(?:-(?P<last>{_DAY}))? (?P<begin>{_CLOCK})-(?:(?P<end_day>{_DAY}) )?(?P<end>{_CLOCK})"
    r"(?: (?P<zone>[a-z_][a-z_0-9]*(?:/[a-z_+\-0-9]+)*))? (?P<what>rack|host|freeze)(?: r?h?(?P<number>\d+))?",
    re.IGNORECASE,  # but for the zone, whose name is looked up as it is written
)
_FORM = "e.g. 'sat 02:00-04:00 Europe/Berlin rack 1'"


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """One time, of hosts or racks in maintenance or of a freeze."""

    start: datetime  # aware
    end: datetime
    host: int | None = None
    rack: int | None = None
    said: str = ""  # where it is from, for people

    @property
    def freeze(self) -> bool:
        """Whether it is about no host and no rack: then nothing moves anywhere."""
        return self.host is None and self.rack is None

    @property
    def what(self) -> str:
        """``host 4``, ``rack 1`` or ``freeze``."""
        if self.freeze:
            return "freeze"
        return f"host {self.host}" if self.host is not None else f"rack {self.rack}"


@dataclass(frozen=True, slots=True)
class Weekly:
    """The weekly short form, read."""

    days: tuple[int, ...]  # on which it begins, Monday = 0
    begin: time
    length_days: int  # from the day it begins to that on which it ends
    end: time
    zone: ZoneInfo
    host: int | None
    rack: int | None
    said: str

    def between(self, start: datetime, end: datetime) -> Iterator[Window]:
        """Its windows that touch the time from ``start`` to ``end``, in order."""
        day = (start.astimezone(self.zone) - timedelta(days=self.length_days + 1)).date()
        last = (end.astimezone(self.zone) + timedelta(days=1)).date()
        while day <= last:
            if day.weekday() in self.days:
                begins = _at(day, self.begin, self.zone)
                ends = _at(day + timedelta(days=self.length_days), self.end, self.zone)
                if ends > start and begins < end:
                    yield Window(begins, ends, self.host, self.rack, self.said)
            day += timedelta(days=1)


def weekly(text: str) -> Weekly:
    """Read the weekly short form; ScenarioError says what was expected."""
    found = _WEEKLY.fullmatch(" ".join(text.split()))
    if found is None:
        raise ScenarioError(f"maintenance: expected a weekly window, {_FORM}, found {text!r}")
    what, number = found["what"].lower(), found["number"]
    if (what == "freeze") != (number is None):
        raise ScenarioError(f"maintenance {text!r}: expected freeze, or host or rack with its number")
    try:
        named = found["zone"] or "UTC"
        zone = ZoneInfo("UTC" if named.lower() == "utc" else named)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ScenarioError(f"maintenance {text!r}: expected a time zone, found {found['zone']!r}") from error
    first = DAYS.index(found["day"].lower())
    last = DAYS.index(found["last"].lower()) if found["last"] else first
    days = tuple((first + k) % 7 for k in range((last - first) % 7 + 1))
    begin, length_begin = _clock(found["begin"])
    end, length = _clock(found["end"])
    if length_begin:
        raise ScenarioError(
            f"maintenance {text!r}: expected a beginning before 24:00, found {found['begin']}"
        )
    if found["end_day"]:
        if len(days) > 1:
            raise ScenarioError(f"maintenance {text!r}: expected one day where the end has a day of its own")
        length += (DAYS.index(found["end_day"].lower()) - first) % 7
        if length == 0 and end <= begin:
            length = 7
    elif length == 0 and end <= begin:
        length = 1
    if (begin == end and length in (0, 7)) or (begin == end and length == 1 and len(days) == 7):
        raise ScenarioError(f"maintenance {text!r}: expected a window that ends, found one without end")
    target = int(number) if number is not None else None
    return Weekly(
        days,
        begin,
        length,
        end,
        zone,
        target if what == "host" else None,
        target if what == "rack" else None,
        text,
    )


def schedule(windows: Sequence[Window]) -> tuple[Window, ...]:
    """The windows in order.

    Raises ScenarioError on one that does not end after it begins, and on two of one host, rack or freeze that
    overlap.
    """
    last: dict[str, Window] = {}
    for window in sorted(windows, key=lambda w: (w.start, w.end, w.what)):
        name = window.said or window.what
        if window.end <= window.start:
            raise ScenarioError(
                f"maintenance {name}: expected an end after {window.start.isoformat()}, "
                f"found {window.end.isoformat()}"
            )
        before = last.get(window.what)
        if before is not None and before.end > window.start:
            raise ScenarioError(
                f"maintenance of {window.what}: expected windows that do not overlap, found "
                f"{before.said or before.what} until {before.end.isoformat()} and {name} "
                f"from {window.start.isoformat()}"
            )
        last[window.what] = window
    return tuple(sorted(windows, key=lambda w: (w.start, w.end, w.what)))


def expand(rules: Sequence[str], start: datetime, end: datetime) -> tuple[Window, ...]:
    """The windows of weekly short forms between two times, checked."""
    return schedule([window for text in rules for window in weekly(text).between(start, end)])


def _clock(text: str) -> tuple[time, int]:
    """A time of day, and 1 for 24:00, which is the next day's beginning."""
    hours, minutes = (int(part) for part in text.split(":"))
    if hours == 24:
        if minutes:
            raise ScenarioError(f"maintenance: expected a time up to 24:00, found {text}")
        return time(0), 1
    return time(hours, minutes), 0


def _at(day: date, clock: time, zone: ZoneInfo) -> datetime:
    """A wall-clock time as an instant; one that is skipped when summer time begins is as long after midnight."""
    return datetime.combine(day, clock, zone).astimezone(UTC)
