"""Outside knowledge as a prior: events shift and widen, day types choose which days count."""

import numpy as np
import pytest

from foreshade.envs.errors import ForecastError, InputError
from foreshade.envs.forecast.event import ScheduledEvent
from foreshade.envs.forecast.forecaster import EngineConfig, NativeForecaster
from foreshade.envs.forecast.history import History
from foreshade.envs.forecast.informed import DayProfile, Informed
from foreshade.envs.forecast.knowledge import DayTypes, Knowledge, day_types, scheduled_events
from foreshade.envs.forecast.score import pinball

MONDAY_S = 1_704_067_200  # 2024-01-01, a Monday and New Year's Day
STEP_S = 300


def engine(n_series, horizons=(1, 12)):
    return NativeForecaster(n_series, EngineConfig(horizons=horizons))


def event(first, past, factor, low=None, high=None, series=()):
    return ScheduledEvent(
        MONDAY_S + first * STEP_S, MONDAY_S + past * STEP_S, factor, low or factor, high or factor, series
    )


def test_without_knowledge_nothing_changes():
    values = np.random.default_rng(0).gamma(3, 10, (3, 60)).astype(np.float32)
    plain, informed = engine(3), Informed(engine(3), Knowledge(), "abc", MONDAY_S)
    plain.observe(values)
    informed.observe(values)
    np.testing.assert_array_equal(informed.predict(), plain.predict())


def test_an_event_shifts_and_widens_the_named_series_in_its_window_alone():
    values = np.random.default_rng(0).gamma(3, 10, (2, 60)).astype(np.float32)
    plain = engine(2)
    # the newest sample is tick 59: an hour ahead is 71, five minutes ahead is 60
    informed = Informed(engine(2), Knowledge([event(70, 80, 2, 1.5, 3, ("b",))]), "ab", MONDAY_S)
    for forecaster in (plain, informed):
        forecaster.observe(values)
    before, after = plain.predict(), informed.predict()
    np.testing.assert_array_equal(after[0], before[0])
    np.testing.assert_array_equal(after[1, 0], before[1, 0])
    ratio = after[1, 1] / before[1, 1]
    np.testing.assert_allclose(ratio[[0, 3, 6]], [1.5, 2, 3], rtol=1e-6)
    assert (np.diff(ratio) > 0).all()


def test_demand_while_an_event_runs_does_not_teach_levels_that_will_not_return():
    values = np.full((1, 100), 10, np.float32)
    values[:, 80:100] = 30
    informed = Informed(engine(1), Knowledge([event(80, 100, 3)]), ["a"], MONDAY_S)
    plain = engine(1)
    for t in range(100):
        for forecaster in (plain, informed):
            forecaster.observe(values[:, t])
        if t == 90:
            assert informed.predict()[0, 0, 3] == pytest.approx(30, rel=0.05)
    # past its end
    assert informed.predict()[0, 0, 3] == pytest.approx(10, rel=0.05)
    assert plain.predict()[0, 0, 3] > 25


def test_an_event_that_silences_a_series_is_a_gap_to_the_engine_and_zero_to_who_asks():
    informed = Informed(engine(1), Knowledge([event(40, 60, 0, 0, 0.0)]), ["a"], MONDAY_S)
    informed.observe(np.full((1, 40), 10, np.float32))
    assert informed.predict()[0, 0].max() == 0
    informed.observe(np.zeros((1, 20), np.float32))
    assert informed.rejected["missing"] == 20
    assert informed.predict()[0, 0, 3] == pytest.approx(10, rel=0.05)


def two_kinds_of_days(n_series, n_days, free):
    rng = np.random.default_rng(1)
    day = 60 + 30 * np.sin(2 * np.pi * np.arange(288) / 288)
    level = np.concatenate([day * (0.2 if d in free else 1.0) for d in range(n_days)])
    return np.maximum(level + rng.normal(0, 3, (n_series, n_days * 288)), 0).astype(np.float32)


def test_a_holiday_in_midweek_is_forecast_a_day_ahead_from_former_free_days():
    free = {d for d in range(25) if d % 7 >= 5} | {23}  # a Wednesday
    values = two_kinds_of_days(6, 25, free)
    days = DayTypes(MONDAY_S // 86_400, np.array([int(d in free) for d in range(25)]))
    plain = engine(6, (1, 288))
    informed = Informed(engine(6, (1, 288)), Knowledge(days=days), "abcdef", MONDAY_S)
    known, blind = 0.0, 0.0
    for t in range(23 * 288):
        for forecaster in (plain, informed):
            forecaster.observe(values[:, t])
        if t >= 22 * 288 and t % 24 == 0:
            truth = values[:, t + 288]
            known += pinball(informed.predict()[:, 1], truth).mean()
            blind += pinball(plain.predict()[:, 1], truth).mean()
    assert known < 0.5 * blind


def test_the_day_profile_speaks_only_where_the_type_changes():
    days = DayTypes(MONDAY_S // 86_400, np.zeros(40, np.int64))
    values = two_kinds_of_days(2, 16, {5, 6, 12, 13})
    history = History(2, 15 * 288)
    history.push(values[:, : 12 * 288 - 10])  # Friday evening
    assert np.isnan(DayProfile(days, MONDAY_S).quantiles(history, (1, 288))).all()
    weekend = DayTypes(0, np.zeros(0, np.int64))
    said = DayProfile(weekend, MONDAY_S).quantiles(history, (1, 288))
    assert np.isnan(said[:, 0]).all()
    assert np.isfinite(said[:, 1]).all()
    assert said[:, 1, 3].max() < 30  # of the Saturday before, not of the Friday


def test_a_saved_forecaster_continues_bit_for_bit():
    values = np.random.default_rng(0).gamma(3, 10, (2, 80)).astype(np.float32)
    knowledge = Knowledge([event(30, 50, 2)], DayTypes(0, np.zeros(0, np.int64)))
    one, two = (Informed(engine(2), knowledge, "ab", MONDAY_S) for _ in range(2))
    one.observe(values[:, :40])
    two.restore(one.save())
    for forecaster in (one, two):
        forecaster.observe(values[:, 40:])
    np.testing.assert_array_equal(one.predict(), two.predict())


def test_series_come_and_go():
    informed = Informed(engine(2), Knowledge([event(0, 999, 2, series=("b",))]), "ab", MONDAY_S)
    informed.observe(np.full((2, 30), 10, np.float32))
    informed.add(1)
    informed.remove([0])
    informed.observe(np.full((2, 5), 10, np.float32))
    assert informed.predict()[0, 0, 3] == pytest.approx(10, rel=0.05)
    assert len(informed) == 2


def test_what_cannot_be_known_is_refused(tmp_path):
    with pytest.raises(ForecastError, match="series that are not there: c"):
        Informed(engine(2), Knowledge([event(0, 1, 1, series=("c",))]), "ab", MONDAY_S)
    with pytest.raises(ForecastError, match="expected 2 names"):
        Informed(engine(2), Knowledge(), "a", MONDAY_S)
    with pytest.raises(InputError, match="low <= factor <= high"):
        event(0, 1, 2, 3, 4)
    path = tmp_path / "events.csv"
    path.write_text("time,end,factor\n2024-01-01T10:00,2024-01-01T09:00,2\n")
    with pytest.raises(InputError, match="line 2: event: expected an end after its start"):
        scheduled_events(path)
    path.write_text("time,factor\n0,2\n")
    with pytest.raises(InputError, match="missing column 'end'"):
        scheduled_events(path)
    path.write_text("time,end,factor,serie\n0,300,2,web-1\n")  # which would be about every application
    with pytest.raises(
        InputError, match="unknown column 'serie'; known are time, end, factor, low, high, series"
    ):
        scheduled_events(path)


def test_events_are_read_with_their_series_and_intervals(tmp_path):
    path = tmp_path / "events.csv"
    path.write_text(
        "time,end,factor,low,high,series\n"
        "2024-01-01T00:00,2024-01-01T01:00+00:00,2,1.5,3,web-1; web-2\n"
        "2024-01-02T00:00,2024-01-02T01:00,0.5,0.5,0.5,\n"
    )
    first, second = scheduled_events(path)
    assert first == ScheduledEvent(MONDAY_S, MONDAY_S + 3600, 2, 1.5, 3, ("web-1", "web-2"))
    assert second.series == ()


def test_day_types_of_a_country_are_working_days_and_free_ones():
    pytest.importorskip("holidays", reason="THE EXTRA forecast IS MISSING: no calendar")
    days = day_types("DE", "BY", MONDAY_S, MONDAY_S + 8 * 86_400, utc_offset_s=3600)
    noon = [MONDAY_S + d * 86_400 + 43_200 for d in range(8)]
    # New Year, three working days and Friday, Epiphany on the Saturday, Sunday, Monday
    assert [days.of(t) for t in noon] == [1, 0, 0, 0, 0, 1, 1, 0]
    assert days.of(MONDAY_S - 1800) == 1  # already the first of January, by local time
