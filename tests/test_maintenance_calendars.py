"""Calendars of maintenance: what they come to, what the guard is told, and calendars that are bombs."""

from datetime import UTC, datetime, timedelta

import pytest

pytest.importorskip(
    "recurring_ical_events", reason="recurring_ical_events IS MISSING: calendars are not tested"
)

from foreshade.adapters.store.maintenance import MaintenanceBook, to_ical
from foreshade.adapters.store.store import Store
from foreshade.envs.errors import InputError
from foreshade.envs.inventory import HostFacts, Inventory
from tests.api_surface import served

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)


def ical(*lines):
    head = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//EN"]
    return "\r\n".join([*head, *lines, "END:VCALENDAR", ""]).encode()


def event(
    start="DTSTART;TZID=Europe/Berlin:20260321T020000", end="DTEND;TZID=Europe/Berlin:20260321T040000", *more
):
    return ["BEGIN:VEVENT", "UID:1@test", "DTSTAMP:20260101T000000Z", start, end, *more, "END:VEVENT"]


@pytest.fixture
def book(tmp_path):
    store = Store(tmp_path / "control.db", power_safe=False)
    yield MaintenanceBook(store, lambda: NOW)
    store.close()


def test_a_weekly_rule_keeps_its_wall_clock_hours_through_summer_time(book):
    book.put(
        "patches",
        "ical",
        ical(*event(*[event()[3], event()[4]], "RRULE:FREQ=WEEKLY", "LOCATION:host1, rack2")),
        "kim",
    )
    found = book.between(NOW, NOW + timedelta(days=15))
    assert [one.start.astimezone(UTC).hour for one in found] == [1, 1, 0], "Berlin is at +1, +1, then +2"
    assert {(one.targets, one.freeze) for one in found} == {(("host1", "rack2"), False)}


def test_the_weekly_form_says_the_same_in_a_line(book):
    book.put(
        "patches",
        "weekly",
        b"# patches\nsat 02:00-04:00 Europe/Berlin on host1, rack2\nfri 22:00-23:00\n",
        "kim",
    )
    found = book.between(NOW, NOW + timedelta(days=2))
    assert [(one.start.astimezone(UTC).hour, one.targets, one.freeze) for one in found] == [
        (22, (), True),
        (1, ("host1", "rack2"), False),
    ]


def test_the_guard_is_told_hosts_and_the_hosts_of_racks(book):
    inventory = Inventory(tuple(HostFacts(f"host{i}", rack=f"rack{i // 2}") for i in range(6)), ())
    book.put("patches", "weekly", b"sat 02:00-04:00 UTC on host1, rack2", "kim")
    (window,) = book.guard_windows(NOW.timestamp(), 86400.0, inventory)
    assert window.hosts == {"host1", "host4", "host5"}
    assert (window.end_s - window.start_s, window.freeze) == (7200.0, False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"# ours\nwhenever", r"line 2, 'whenever': expected days, times and a zone, as in 'sat 02:00"),
        (b"sat 02:00-04:00 Mars/Base on host1", r"line 1, .*Mars/Base on host1': expected a time zone"),
    ],
)
def test_a_line_that_is_no_window_is_named_as_it_was_written(book, text, says):
    with pytest.raises(InputError, match=says) as raised:
        book.put("patches", "weekly", text, "kim")
    assert "freeze" not in str(raised.value)


def test_what_goes_out_comes_in_again_alike(book):
    book.put("patches", "weekly", b"sat 02:00-04:00 UTC on host1\nmon 01:00-02:00", "kim")
    found = book.between(NOW, NOW + timedelta(days=7))
    book.remove("patches")
    book.put("again", "ical", to_ical(found, "c", NOW), "kim")
    again = book.between(NOW, NOW + timedelta(days=7))
    assert [(o.start, o.end, o.targets, o.freeze) for o in again] == [
        (o.start, o.end, o.targets, o.freeze) for o in found
    ]


BOMBS = {
    "each second": (event(*event()[3:5], "RRULE:FREQ=SECONDLY"), "FREQ of hours or less"),
    "folded": (event(*event()[3:5], "RRULE:FREQ=SECO\r\n NDLY"), "FREQ of hours or less"),
    "by minute": (
        event(
            *event()[3:5],
            "RRULE:FREQ=DAILY;BYHOUR=" + ",".join(map(str, range(24))) + ";BYMINUTE=0,10,20,30,40,50",
        ),
        "at most 50000 occurrences from their begin",
    ),
    "five times a day": (
        event(*event()[3:5], "RRULE:FREQ=DAILY;BYHOUR=0,3,6,9,12"),
        "at most 1000 occurrences until",
    ),
    "many rules from the dawn of time": (
        event("DTSTART:19700101T020000Z", "DTEND:19700101T030000Z", "RRULE:FREQ=DAILY") * 3,
        "at most 50000 occurrences from their begin",
    ),
    "too many events": (event() * 501, "1 to 500 events, found 501"),
    "no event": ([], "1 to 500 events, found 0"),
    "ends before it begins": (event("DTSTART:20260321T040000Z", "DTEND:20260321T020000Z"), "end after"),
    "a zone that is none": (
        event("DTSTART;TZID=Mars/Olympus:20260321T020000", "DTEND;TZID=Mars/Olympus:20260321T030000"),
        "DTSTART: expected a time zone that is known, found 'Mars/Olympus'",
    ),
    "no calendar": (["BEGIN:VEVENT"], "expected an iCalendar"),
    "a date that is none": (event("DTSTART:20261399T000000Z"), "expected an iCalendar"),
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_calendar_that_cannot_be_meant_is_refused_and_the_one_before_stays(book, what):
    lines, why = BOMBS[what]
    book.put("mine", "weekly", b"sat 02:00-04:00", "kim")
    with pytest.raises(InputError, match=why):
        book.put("mine", "ical", ical(*lines), "eve")
    assert [calendar.added_by for calendar in book.calendars()] == ["kim"]


def test_a_daily_rule_from_the_dawn_of_time_is_read_within_the_horizon(book):
    book.put(
        "old",
        "ical",
        ical(*event("DTSTART:19700101T020000Z", "DTEND:19700101T030000Z", "RRULE:FREQ=DAILY")),
        "kim",
    )
    assert len(book.between(NOW, NOW + timedelta(days=10))) == 10


def test_over_http_a_freeze_keeps_the_controller_from_beginning_anything(tmp_path):
    with served(tmp_path) as one:
        headers = {"Content-Type": "text/plain"}
        path = "/v1/maintenance/calendars/holidays"
        assert one.ask("PUT", path, content=b"\0", headers=headers).status_code == 422
        assert one.ask("PUT", path, content=b"x", headers={"Content-Type": "text/html"}).status_code == 415
        bomb = ical(*event(*event()[3:5], "RRULE:FREQ=SECONDLY"))
        refused = one.ask("PUT", path, content=bomb, headers={"Content-Type": "text/calendar"})
        assert (refused.status_code, "FREQ" in refused.json()["detail"]) == (422, True)
        kept = one.ask("PUT", path, content=b"mon-sun 00:00-23:59 UTC", headers=headers)
        assert kept.status_code == 200, kept.text
        windows = one.get("/v1/maintenance?days=3")["items"]
        assert windows[0]["freeze"]
        out = one.ask("GET", "/v1/maintenance/calendar.ics?days=3")
        assert out.headers["content-type"].startswith("text/calendar")
        assert out.text.count("BEGIN:VEVENT") == len(windows)
        assert {s["kind"] for s in one.get("/v1/timeline")["items"]} == {"freeze"}
        assert one.ask("DELETE", path).status_code == 204
        assert one.ask("DELETE", path).status_code == 404
        assert one.get("/v1/maintenance")["total"] == 0
