"""Maintenance and freezes from an iCalendar file (RFC 5545): recurrences, exceptions and time zones as it has them.

An event's LOCATION says ``host N`` or ``rack N``; one of the category FREEZE is about everything. Events that are
cancelled do not count. Needs the extra ``calendar`` (icalendar, recurring-ical-events).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from foreshade.adapters.calendar_zone import check_zones
from foreshade.envs.errors import InputError, ScenarioError
from foreshade.envs.extras import require
from foreshade.envs.maintenance import Window, schedule

_TARGET = re.compile(r"\s*(?P<what>host|rack)\s*(?P<number>\d+)\s*", re.IGNORECASE)


def read_calendar(path: str | Path, start: datetime, end: datetime) -> tuple[Window, ...]:
    """The windows of a file between two times, in order.

    Raises:
        InputError: the file cannot be read, an event says not what it is about or does not end after its start, or
            two windows of one host, rack or freeze overlap.
        MissingExtraError: the extra ``calendar`` is not installed.

    """
    icalendar = require("icalendar", "calendar", "iCalendar files")
    recurring = require("recurring_ical_events", "calendar", "iCalendar files")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected an iCalendar file, {error}") from error
    try:
        calendar = icalendar.Calendar.from_ical(text)
    except (ValueError, KeyError, IndexError) as error:
        raise InputError(f"{path}: expected an iCalendar file, found {_one_line(error)}") from error
    if calendar.name != "VCALENDAR":
        raise InputError(f"{path}: expected an iCalendar file, found {calendar.name}")
    windows: list[Window] = []
    try:
        for event in calendar.walk("VEVENT"):
            _check(path, event)
        for event in recurring.of(calendar).between(start, end):
            windows.extend(_windows(path, event))
        return schedule(windows)
    except ScenarioError as error:
        raise InputError(f"{path}: {error}") from error
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise InputError(f"{path}: expected events with times and rules, found {_one_line(error)}") from error


def _check(path: str | Path, event: Any) -> None:
    """What would be lost or guessed once recurrences are taken apart."""
    name = str(event.get("SUMMARY", "an event without a summary"))
    check_zones(event, f"{path}: {name}")
    if "DTSTART" not in event:
        raise InputError(f"{path}: {name}: expected a start, found none")
    if "DTEND" not in event and "DURATION" not in event and isinstance(event.decoded("DTSTART"), datetime):
        raise InputError(f"{path}: {name}: expected an end after its start, found none: it would never end")
    if "DTEND" in event and _instant(event.decoded("DTEND")) <= _instant(event.decoded("DTSTART")):
        found = event.decoded("DTEND").isoformat()
        raise InputError(f"{path}: {name}: expected an end after its start, found {found}")
    _target(path, name, event)


def _windows(path: str | Path, event: Any) -> Iterator[Window]:
    if str(event.get("STATUS", "")).upper() == "CANCELLED":
        return
    name = str(event.get("SUMMARY", ""))
    host, rack = _target(path, name, event)
    yield Window(_instant(event.start), _instant(event.end), host, rack, name)


def _target(path: str | Path, name: str, event: Any) -> tuple[int | None, int | None]:
    """The host or the rack that an event is about; neither for a freeze."""
    categories = event.get("CATEGORIES")
    listed = categories if isinstance(categories, list) else [categories] if categories is not None else []
    said = {str(c).upper() for category in listed for c in getattr(category, "cats", [category])}
    if "FREEZE" in said:
        return None, None
    found = _TARGET.fullmatch(str(event.get("LOCATION", "")))
    if found is None:
        raise InputError(
            f"{path}: {name}: expected LOCATION host N or rack N, or CATEGORIES FREEZE, "
            f"found {str(event.get('LOCATION', ''))!r}"
        )
    number = int(found["number"])
    return (number, None) if found["what"].lower() == "host" else (None, number)


def _instant(when: date) -> datetime:
    """A time without a zone, and a day, are UTC."""
    if not isinstance(when, datetime):
        when = datetime.combine(when, time(), UTC)
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
