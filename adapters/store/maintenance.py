"""Calendars of maintenance and freezes, kept with the cluster: iCalendar, or the plain weekly form.

An event of a calendar says in LOCATION what it is about: names of hosts and racks, separated by commas, or nothing
for the whole cluster. That means a freeze; hosts and racks mean maintenance, unless CATEGORIES has FREEZE. Time
zones, RRULE, RDATE and EXDATE are the library's; what could be endless is read within a horizon and counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import islice
from math import prod
from typing import Any, Literal

from sqlalchemy import delete, select

from foreshade.adapters.calendar_zone import check_zones
from foreshade.adapters.store.store import Store
from foreshade.adapters.store.surface_tables import calendars
from foreshade.agents.guard import Window
from foreshade.envs.errors import InputError, PlanError, ScenarioError
from foreshade.envs.extras import require
from foreshade.envs.inventory import Inventory
from foreshade.envs.maintenance import weekly

CalendarKind = Literal["ical", "weekly"]
MOST_BYTES = 256 << 10
MOST_EVENTS = 500
MOST_OCCURRENCES = 1000  # of one calendar within a horizon
_FAST = re.compile(rb"FREQ=(SECONDLY|MINUTELY|HOURLY)", re.IGNORECASE)
#: Of all rules of a calendar, from their begin: 20,000 take a third of a second of CPU to work out.
MOST_STEPS = 50_000
_WEEKLY_FORM = "days, times and a zone, as in 'sat 02:00-04:00 Europe/Berlin on host0003, rack1'"
_PERIOD_DAYS = {"DAILY": 1, "WEEKLY": 7, "MONTHLY": 28, "YEARLY": 365}
_TIMES = ("BYHOUR", "BYMINUTE", "BYSECOND", "BYMONTHDAY", "BYYEARDAY")
_HORIZON = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One time in which hosts are in the hands of people, or nothing moves."""

    calendar: str
    start: datetime  # aware
    end: datetime
    targets: tuple[str, ...]  # hosts and racks by name; none = the whole cluster
    freeze: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Calendar:
    """A calendar as it was given."""

    name: str
    kind: CalendarKind
    text: str
    added: datetime
    added_by: str

    def between(self, start: datetime, end: datetime) -> list[Occurrence]:
        """Its occurrences that touch a time, in order.

        Raises:
            InputError: it cannot be read, or has more than can be meant.

        """
        day = timedelta(days=1)
        first = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        days = _of_days(self, first, first + day * (1 + (end - first) // day))
        return [one for one in days if one.end > start and one.start < end]


@lru_cache(maxsize=64)
def _of_days(calendar: Calendar, start: datetime, end: datetime) -> tuple[Occurrence, ...]:
    """Occurrences within whole days: the guard asks at every tick, and rules are worked out from when they began."""
    read = _ical if calendar.kind == "ical" else _weekly
    found = list(islice(read(calendar, start, end), MOST_OCCURRENCES + 1))
    if len(found) > MOST_OCCURRENCES:
        raise InputError(
            f"calendar {calendar.name}: expected at most {MOST_OCCURRENCES} occurrences until {end:%Y-%m-%d}, "
            "found more"
        )
    return tuple(sorted(found, key=lambda one: one.start))


class MaintenanceBook:
    """Calendars of a cluster, and what they come to."""

    def __init__(self, store: Store, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store, self._now = store, now

    def calendars(self) -> list[Calendar]:
        """Every calendar, by name."""
        with self._store.reading() as connection:
            rows = connection.execute(select(calendars).order_by(calendars.c.name)).all()
        return [
            Calendar(r.name, r.kind, r.text, datetime.fromtimestamp(r.added_s, UTC), r.added_by) for r in rows
        ]

    def put(self, name: str, kind: CalendarKind, data: bytes, by: str) -> Calendar:
        """Read it, and keep it instead of the one of that name.

        Raises:
            InputError: it cannot be read; the one before stays.

        """
        if len(data) > MOST_BYTES:
            raise InputError(f"calendar {name}: expected at most {MOST_BYTES} bytes, found {len(data)}")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"calendar {name}: expected UTF-8 text, found {error.reason}") from error
        if "\0" in text:
            raise InputError(f"calendar {name}: expected text, found a zero byte")
        if kind == "ical" and _FAST.search(data.replace(b"\r\n ", b"").replace(b"\n ", b"")):
            raise InputError(
                f"calendar {name}: expected rules of days or longer, found FREQ of hours or less"
            )
        now = self._now()
        made = Calendar(name, kind, text, now, by)
        made.between(now - timedelta(days=1), now + _HORIZON)
        with self._store.writing() as connection:
            connection.execute(delete(calendars).where(calendars.c.name == name))
            connection.execute(
                calendars.insert().values(
                    name=name, kind=kind, text=text, added_s=now.timestamp(), added_by=by
                )
            )
        return made

    def remove(self, name: str) -> None:
        """Forget one.

        Raises:
            PlanError: there is none of that name.

        """
        with self._store.writing() as connection:
            done = connection.execute(delete(calendars).where(calendars.c.name == name))
        if not done.rowcount:
            raise PlanError(f"calendar {name}: expected the name of one, there is none")

    def between(self, start: datetime, end: datetime) -> list[Occurrence]:
        """Occurrences of all calendars, in order; one that cannot be read any more is left out by its reader."""
        found = [one for calendar in self.calendars() for one in calendar.between(start, end)]
        return sorted(found, key=lambda one: (one.start, one.calendar))

    def guard_windows(self, now_s: float, ahead_s: float, inventory: Inventory) -> list[Window]:
        """What the guard has to know at a time of the world's clock; racks as their hosts."""
        now = datetime.fromtimestamp(now_s, UTC)
        return [
            guard_window(one, inventory)
            for one in self.between(now - timedelta(hours=1), now + timedelta(seconds=ahead_s))
            if one.end > now
        ]


def guard_window(one: Occurrence, inventory: Inventory) -> Window:
    """An occurrence as the guard reads it."""
    hosts = {
        host.name
        for host in inventory.hosts
        if host.name in one.targets or (host.rack and host.rack in one.targets)
    }
    return Window(
        start_s=one.start.timestamp(),
        end_s=one.end.timestamp(),
        hosts=frozenset(hosts or one.targets),
        freeze=one.freeze,
        reason=one.reason or one.calendar,
    )


def to_ical(occurrences: Sequence[Occurrence], cluster: str, now: datetime) -> bytes:
    """Occurrences as a calendar that others can subscribe to."""
    icalendar = require("icalendar", "calendar", "calendars")
    out = icalendar.Calendar()
    out.add("prodid", "-//foreshade//maintenance//EN")
    out.add("version", "2.0")
    out.add("x-wr-calname", f"{cluster} maintenance")
    for number, one in enumerate(occurrences):
        event = icalendar.Event()
        event.add("uid", f"{one.calendar}-{int(one.start.timestamp())}-{number}@foreshade")
        event.add("dtstamp", now)
        event.add("dtstart", one.start.astimezone(UTC))
        event.add("dtend", one.end.astimezone(UTC))
        event.add("summary", one.reason or one.calendar)
        event.add("location", ", ".join(one.targets))
        event.add("categories", ["FREEZE" if one.freeze else "MAINTENANCE"])
        out.add_component(event)
    return bytes(out.to_ical())


def _ical(calendar: Calendar, start: datetime, end: datetime) -> Iterator[Occurrence]:
    icalendar = require("icalendar", "calendar", "calendars")
    recurring = require("recurring_ical_events", "calendar", "calendars")
    try:
        read = icalendar.Calendar.from_ical(calendar.text)
        events = [part for part in read.walk() if part.name == "VEVENT"]
        if not events or len(events) > MOST_EVENTS:
            raise InputError(
                f"calendar {calendar.name}: expected 1 to {MOST_EVENTS} events, found {len(events)}"
            )
        for event in events:
            check_zones(event, f"calendar {calendar.name}")
            if "dtend" in event and _aware(event.decoded("dtend")) <= _aware(event.decoded("dtstart")):
                said = event.decoded("dtend").isoformat()
                raise InputError(f"calendar {calendar.name}: expected an end after its begin, found {said}")
        steps = sum(_steps(event, end) for event in events)
        if steps > MOST_STEPS:
            raise InputError(
                f"calendar {calendar.name}: expected rules that come to at most {MOST_STEPS} occurrences from their "
                f"begin until {end:%Y-%m-%d}, found about {steps}"
            )
        for event in recurring.of(read, skip_bad_series=False).between(start, end):
            begins = _aware(event.decoded("dtstart"))
            ends = _aware(event.decoded("dtend")) if "dtend" in event else begins
            location = str(event.get("location", "") or "")
            targets = tuple(name.strip() for name in location.split(",") if name.strip())
            freeze = not targets or "FREEZE" in _categories(event)
            reason = str(event.get("summary", "") or "")[:200]
            yield Occurrence(calendar.name, begins, ends, targets, freeze, reason)
    except InputError:
        raise
    except (
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise InputError(f"calendar {calendar.name}: expected an iCalendar, found {error}") from error


def _steps(event: Any, end: datetime) -> int:
    """About how often an event has recurred by then, which is what working it out costs."""
    said = event.get("rrule")
    steps = 1
    for rule in said if isinstance(said, list) else [said] if said is not None else []:
        frequency = str(rule.get("FREQ", ["DAILY"])[0]).upper()
        days = _PERIOD_DAYS.get(frequency, 1) * max(1, int(rule.get("INTERVAL", [1])[0]))
        each = prod(len(rule.get(key, [0])) for key in _TIMES)
        if "BYDAY" in rule:
            each *= len(rule["BYDAY"]) * {"MONTHLY": 5, "YEARLY": 53}.get(frequency, 1)
        since = max(timedelta(), end - _aware(event.decoded("dtstart")))
        steps += (1 + since // timedelta(days=days)) * each
    return steps


def _categories(event: Any) -> set[str]:
    said = event.get("categories")
    lists = said if isinstance(said, list) else [said] if said is not None else []
    return {str(word).upper() for one in lists for word in getattr(one, "cats", [])}


def _weekly(calendar: Calendar, start: datetime, end: datetime) -> Iterator[Occurrence]:
    lines = [(n, line.strip()) for n, line in enumerate(calendar.text.splitlines(), start=1)]
    lines = [(n, line) for n, line in lines if line and not line.startswith("#")]
    if not lines or len(lines) > MOST_EVENTS:
        raise InputError(f"calendar {calendar.name}: expected 1 to {MOST_EVENTS} lines, found {len(lines)}")
    for number, line in lines:
        when, _, targets = line.partition(" on ")
        about = [name.strip() for name in targets.split(",") if name.strip()]
        said = f"{when.strip().removesuffix('UTC').strip()} freeze"  # whom it is about stands behind it
        try:
            windows = list(weekly(said).between(start, end))
        except ScenarioError as error:
            reason = str(error).partition(f"{said!r}: ")[2] or f"expected {_WEEKLY_FORM}"
            raise InputError(f"calendar {calendar.name}: line {number}, {line[:100]!r}: {reason}") from error
        for window in windows:
            yield Occurrence(calendar.name, window.start, window.end, tuple(about), not about, line)


def _aware(value: date) -> datetime:
    if not isinstance(value, datetime):
        value = datetime.combine(value, time(), UTC)
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
