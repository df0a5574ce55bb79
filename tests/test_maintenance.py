"""Maintenance: the weekly form and calendars are read as people mean them, and bad ones are refused in one line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from foreshade.adapters.calendar_file import read_calendar
from foreshade.envs.errors import InputError, ScenarioError
from foreshade.envs.maintenance import Window, expand, schedule
from tests.tiny_world import scenario

MONDAY = datetime(2024, 3, 25, tzinfo=UTC)  # summer time begins in Europe on the Sunday of this week


def hours(windows: tuple[Window, ...]) -> list[tuple[float, float, str]]:
    """Start and end in hours since Monday, UTC, and what it is about."""
    return [
        ((w.start - MONDAY).total_seconds() / 3600, (w.end - MONDAY).total_seconds() / 3600, w.what)
        for w in windows
    ]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("sat 02:00-04:00 rack r1", [(122.0, 124.0, "rack 1")]),
        ("Sat 02:00-04:00 UTC rack 1", [(122.0, 124.0, "rack 1")]),
        ("sat 02:00-04:00 utc rack 1", [(122.0, 124.0, "rack 1")]),
        ("sat 02:00-04:00 CET rack 1", [(121.0, 123.0, "rack 1")]),
        ("SAT 02:00-04:00 Etc/GMT+3 Host 1", [(125.0, 127.0, "host 1")]),
        ("sat 02:00-04:00 Europe/Berlin rack 1", [(121.0, 123.0, "rack 1")]),
        # The night in which 02:00 to 03:00 is left out: 01:30 to 04:30 by the clock are two hours.
        ("sun 01:30-04:30 Europe/Berlin host 4", [(144.5, 146.5, "host 4")]),
        ("mon-tue 23:00-01:00 host 0", [(23.0, 25.0, "host 0"), (47.0, 49.0, "host 0")]),
        ("fri 18:00-mon 06:00 freeze", [(114.0, 174.0, "freeze")]),
        ("wed 22:00-24:00 host 2", [(70.0, 72.0, "host 2")]),
    ],
)
def test_weekly_form(said: str, found: list[tuple[float, float, str]]) -> None:
    windows = expand([said], MONDAY, MONDAY + timedelta(days=7))
    assert [h for h in hours(windows) if h[0] >= 0] == found


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("satday 02:00-04:00 rack 1", "expected a weekly window, e.g."),
        ("sat 02:00-04:00 Europe/Berln rack 1", "expected a time zone, found 'Europe/Berln'"),
        ("sat 02:00-04:00 rack", "expected freeze, or host or rack with its number"),
        ("sat 02:00-04:00 freeze 3", "expected freeze, or host or rack with its number"),
        ("mon-sun 00:00-24:00 host 1", "expected a window that ends, found one without end"),
        ("sat 02:00-sat 02:00 host 1", "expected a window that ends, found one without end"),
        ("mon-fri 02:00-sat 02:00 host 1", "expected one day where the end has a day of its own"),
    ],
)
def test_bad_weekly_form_is_refused(said: str, why: str) -> None:
    with pytest.raises(ScenarioError, match="maintenance") as error:
        expand([said], MONDAY, MONDAY + timedelta(days=7))
    assert why in str(error.value)


def test_windows_of_one_host_that_overlap_are_refused() -> None:
    with pytest.raises(
        ScenarioError, match="maintenance of host 1: expected windows that do not overlap, found a "
    ):
        schedule(
            [
                Window(MONDAY, MONDAY + timedelta(hours=2), 1, said="a"),
                Window(MONDAY + timedelta(hours=1), MONDAY + timedelta(hours=3), 1, said="b"),
            ]
        )
    both = {"maintenance": ({"host": 0, "start_h": 1, "hours": 2}, {"weekly": "mon 02:00-03:00 host 0"})}
    with pytest.raises(ValueError, match="expected windows that do not overlap"):
        scenario(2, **both)


CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//EN
BEGIN:VEVENT
UID:1
SUMMARY:Firmware
LOCATION:rack 1
DTSTART;TZID=Europe/Berlin:20240302T020000
DTEND;TZID=Europe/Berlin:20240302T040000
RRULE:FREQ=WEEKLY;BYDAY=SA
EXDATE;TZID=Europe/Berlin:20240323T020000
END:VEVENT
BEGIN:VEVENT
UID:2
SUMMARY:Year-end freeze
CATEGORIES:FREEZE
DTSTART;VALUE=DATE:20240328
DTEND;VALUE=DATE:20240330
END:VEVENT
END:VCALENDAR
"""


def test_calendar_with_rules_and_zones(tmp_path: Path) -> None:
    path = tmp_path / "m.ics"
    path.write_text(CALENDAR.replace("\n", "\r\n"))
    windows = read_calendar(path, MONDAY - timedelta(days=7), MONDAY + timedelta(days=14))
    assert hours(windows) == [
        (72.0, 120.0, "freeze"),  # a day without a zone is one of UTC
        (121.0, 123.0, "rack 1"),
        (288.0, 290.0, "rack 1"),  # an hour earlier in UTC: summer time; that of the 23rd is left out
    ]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (
            "LOCATION:rack 1",
            "LOCATION:room 1",
            "Firmware: expected LOCATION host N or rack N, or CATEGORIES FREEZE",
        ),
        ("DTEND;TZID=Europe/Berlin:20240302T040000\r\n", "", "Firmware: expected an end after its start"),
        ("20240302T040000", "20240302T010000", "Firmware: expected an end after its start"),
        ("20240302T040000", "20240310T040000", "expected windows that do not overlap"),
        ("BEGIN:VCALENDAR", "BEGIN:NOTHING", "expected an iCalendar file"),
    ],
)
def test_bad_calendar_is_refused(tmp_path: Path, old: str, new: str, why: str) -> None:
    path = tmp_path / "m.ics"
    text = CALENDAR.replace("\n", "\r\n")
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as error:
        read_calendar(path, MONDAY - timedelta(days=21), MONDAY + timedelta(days=7))
    assert str(error.value).startswith(str(path))
    assert why in str(error.value)
    assert "\n" not in str(error.value)
