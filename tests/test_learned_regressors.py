"""Outside knowledge on the workload's clock."""

from datetime import UTC, datetime

import numpy as np
import pytest

from foreshade.envs.errors import InputError
from foreshade.envs.forecast.learned.regressors import (
    RegressorClock,
    Regressors,
    calendar,
    events,
    join,
    series_from_csv,
)

CHRISTMAS_EVE = int(datetime(2026, 12, 24, tzinfo=UTC).timestamp())
HOURLY = RegressorClock(CHRISTMAS_EVE, 3600, 24 * 5)


def test_christmas_has_an_eve_and_a_morrow():
    pytest.importorskip("holidays", reason="THE EXTRA forecast IS MISSING: calendars are not checked")
    table = calendar(HOURLY, "US")
    day = table.values[::24]  # 24 (Thursday), 25, 26 (Saturday), 27, 28 (Monday)
    assert dict(zip(table.names, day.T.tolist(), strict=True)) == {
        "holiday": [0, 1, 0, 0, 0],
        "eve": [1, 0, 0, 0, 0],
        "morrow": [0, 0, 1, 0, 0],
        "weekend": [0, 0, 1, 1, 0],
        "working": [1, 0, 0, 0, 1],
    }
    shifted = calendar(RegressorClock(CHRISTMAS_EVE, 3600, 48, utc_offset_s=3600), "US")
    assert shifted.values[:, 0].tolist() == [0] * 23 + [1] * 24 + [0]


def test_an_unknown_country_is_named():
    pytest.importorskip("holidays", reason="THE EXTRA forecast IS MISSING: calendars are not checked")
    with pytest.raises(InputError, match="got 'XX'"):
        calendar(HOURLY, "XX")


def test_a_measured_series_is_only_known_after_the_longest_horizon(tmp_path):
    path = tmp_path / "users.csv"
    rows = [f"2026-12-24T{h:02d}:00:00,{h}" for h in range(24)]
    path.write_text("time,users\n" + "\n".join(rows))
    clock = RegressorClock(CHRISTMAS_EVE, 3600, 24)
    plan = series_from_csv(path, clock, 0).values[:, 0]
    measured = series_from_csv(path, clock, 3).values[:, 0]
    assert plan.mean() == pytest.approx(0, abs=1e-6)
    assert plan.std() == pytest.approx(1, abs=1e-6)
    assert (np.diff(plan) > 0).all()
    assert measured[:3].tolist() == [0, 0, 0]
    assert np.argsort(measured[3:]).tolist() == list(range(21))
    path.write_text(
        "time,users\n" + "\n".join([*rows[:20], *(r.rsplit(",", 1)[0] + ",999" for r in rows[20:])])
    )
    again = series_from_csv(path, clock, 3).values[:, 0]
    changed = np.argsort(again[3:])[-1]
    assert changed >= 20  # what is measured at 20 h is not seen before 23 h


def test_events_add_up_while_they_run(tmp_path):
    path = tmp_path / "events.csv"
    path.write_text(
        "time,end,kind,size\n"
        "2026-12-24T02:00:00Z,2026-12-24T04:00:00Z,sale,2\n"
        "2026-12-24T03:00:00+00:00,2026-12-24T05:00:00Z,sale,1\n"
        "2026-12-24T00:00:00Z,2026-12-24T01:00:00Z,backup,1\n"
    )
    table = events(path, RegressorClock(CHRISTMAS_EVE, 3600, 6))
    assert table.names == ("event_backup", "event_sale")
    assert table.values.T.tolist() == [[1, 0, 0, 0, 0, 0], [0, 0, 2, 3, 1, 0]]


@pytest.mark.parametrize(("text", "message"), [
    ("time,users\n2026-12-24,1\nsoon,2\n", "line 3: time: expected ISO 8601 or Unix seconds, got 'soon'"),
    ("time,users\n5,1\n5,2\n", "line 3: time: expected after the line before"),
    ("time,users\n5,1\n6,many\n", "line 3: users: expected a number, got 'many'"),
    ("users\n1\n", "expected a column 'time'"),
])  # fmt: skip
def test_a_csv_that_cannot_be_used_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        series_from_csv(path, HOURLY, 0)


def test_an_event_that_ends_before_it_starts_is_refused(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("time,end\n10,5\n")
    with pytest.raises(InputError, match="line 2: end: expected after the start"):
        events(path, HOURLY)


def test_joined_columns_need_one_clock_and_distinct_names():
    one = Regressors(("a",), np.zeros((4, 1), np.float32))
    assert join([one, Regressors(("b",), np.ones((4, 1), np.float32))]).values.tolist() == [[0, 1]] * 4
    with pytest.raises(InputError, match="expected parts of one length"):
        join([one, Regressors(("b",), np.zeros((3, 1), np.float32))])
    with pytest.raises(InputError, match="expected distinct names"):
        join([one, one])
