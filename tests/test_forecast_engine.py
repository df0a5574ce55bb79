"""The online engine: what it answers and never does; neither threads nor saving change a bit."""

import numpy as np
import pytest

from foreshade.envs.errors import ForecastError
from foreshade.envs.forecast.forecaster import LEVELS, EngineConfig, NativeForecaster


def load(n: int, steps: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    level = np.cumsum(rng.normal(0, 1, (n, steps)), axis=1)
    values = np.abs(20 + level + 10 * (rng.random((n, steps)) < 0.05) + rng.normal(0, 1, (n, steps)))
    values[: n // 4] = np.round(values[: n // 4])
    values[0, steps // 2 :] = 0
    values[rng.random((n, steps)) < 0.03] = np.nan
    return values.astype(np.float32)


def valid(forecast: np.ndarray) -> bool:
    return bool(
        np.isfinite(forecast).all() and (forecast >= 0).all() and (np.diff(forecast, axis=-1) >= 0).all()
    )


def test_quantiles_are_finite_ascending_and_not_negative_at_every_step():
    forecaster = NativeForecaster(12)
    for column in load(12, 700).T:
        forecaster.observe(column)
        assert valid(forecaster.predict())


def test_window_experts_are_the_order_statistics_of_the_last_samples():
    values = load(5, 900)
    values[np.isnan(values)] = 7.0
    forecaster = NativeForecaster(5)
    forecaster.observe(values)
    experts = forecaster.experts(12)
    for k, length in enumerate((12, 36)):
        expected = np.quantile(values[:, -length:].astype(np.float64), LEVELS, axis=1).T
        np.testing.assert_allclose(experts[:, k], expected, rtol=2e-6)


def test_the_long_window_is_all_of_the_first_day_and_then_one_sample_in_seven():
    values = load(5, 1200)
    values[np.isnan(values)] = 7.0
    forecaster = NativeForecaster(5)
    forecaster.observe(values[:, :200])
    expected = np.quantile(values[:, :200].astype(np.float64), LEVELS, axis=1).T
    np.testing.assert_allclose(forecaster.experts(1)[:, 2], expected, rtol=2e-6)
    forecaster.observe(values[:, 200:])
    for i, series in enumerate(values):
        # the clock starts at 1 and series take turns
        later = [v for t, v in enumerate(series) if t >= 288 and (t + 1 + i) % 7 == 0]
        held = np.concatenate([series[len(later) : 288], later]).astype(np.float64)
        np.testing.assert_allclose(forecaster.experts(1)[i, 2], np.quantile(held, LEVELS), rtol=2e-6)


def test_windows_skip_what_is_missing():
    values = load(4, 500, seed=3)
    forecaster = NativeForecaster(4)
    forecaster.observe(values)
    for row, series in zip(forecaster.experts(1)[:, 1], values, strict=True):
        last = series[-36:]
        expected = np.quantile(last[np.isfinite(last)].astype(np.float64), LEVELS)
        np.testing.assert_allclose(row, expected, rtol=2e-6)


def test_a_level_expert_is_exponential_smoothing_plus_its_own_errors():
    # a constant series has no errors: the level is the constant whatever the rate
    forecaster = NativeForecaster(1)
    forecaster.observe(np.full((1, 100), 5.0, np.float32))
    np.testing.assert_allclose(forecaster.experts(1), 5.0, rtol=1e-6)


def test_the_rank_expert_tells_two_regimes_apart():
    # an hour at 10, an hour at 50, in turn: the last value tells the next, the long window does not
    values = np.where((np.arange(2000) // 12) % 2, 50.0, 10.0).astype(np.float32)[None]
    values += np.random.default_rng(0).normal(0, 0.5, values.shape).astype(np.float32)
    forecaster = NativeForecaster(1)
    forecaster.observe(values[:, :1990])  # in the middle of an hour
    experts = forecaster.experts(1)
    now = values[0, 1989]
    assert abs(experts[0, 7, 3] - now) < 3
    assert experts[0, 2, 5] - experts[0, 2, 1] > 35


def test_a_constant_series_is_forecast_to_stay():
    forecaster = NativeForecaster(2)
    forecaster.observe(np.full((2, 400), 42.0, np.float32))
    np.testing.assert_allclose(forecaster.predict(), 42.0, rtol=2e-3)


def test_a_series_without_samples_is_forecast_from_where_the_others_stand():
    values = load(5, 300)
    values[4] = np.nan
    forecaster = NativeForecaster(5)
    forecaster.observe(values)
    forecast = forecaster.predict()
    assert valid(forecast)
    assert (forecast[4] == forecast[4, :1]).all()
    assert forecast[4, 0, 6] > forecast[4, 0, 0]
    alone = NativeForecaster(1)
    alone.observe(np.full(1, np.nan, np.float32))
    assert (alone.predict() == 0).all()


def test_bad_samples_are_counted_and_taken_as_missing():
    forecaster, clean = NativeForecaster(3), NativeForecaster(3)
    values = load(3, 200, seed=5)
    values[np.isnan(values)] = 1.0
    bad, gaps = values.copy(), values.copy()
    bad[0, 50], bad[1, 60], bad[2, 70] = -3.0, np.inf, np.nan
    gaps[0, 50] = gaps[1, 60] = gaps[2, 70] = np.nan
    forecaster.observe(bad)
    clean.observe(gaps)
    assert forecaster.rejected == {"missing": 1, "negative": 1, "unbounded": 1}
    assert np.array_equal(forecaster.predict(), clean.predict())


def test_a_gap_makes_the_short_horizon_as_wide_as_the_longer_one():
    forecaster = NativeForecaster(1, EngineConfig(horizons=(1, 3, 12)))
    walk = 1000 + np.cumsum(np.random.default_rng(1).normal(0, 1, 1500))
    forecaster.observe(walk.astype(np.float32)[None])
    before = forecaster.predict()[0]
    forecaster.observe(np.full((1, 11), np.nan, np.float32))
    after = forecaster.predict()[0]
    assert after[0, 6] - after[0, 0] > 2 * (before[0, 6] - before[0, 0])
    assert valid(after)


def test_a_stride_that_shares_no_divisor_with_the_hour_sees_every_minute_of_it():
    for stride in EngineConfig().learning_strides:
        assert {(stride * k) % 12 for k in range(12)} == set(range(12))


def test_an_expert_from_outside_that_knows_the_future_is_believed():
    values = np.random.default_rng(8).gamma(2, 5, (4, 400)).astype(np.float32)
    config = EngineConfig(horizons=(1,), extra_rows=2)
    with_oracle, without = NativeForecaster(4, config), NativeForecaster(4, EngineConfig(horizons=(1,)))
    loss = {"with": 0.0, "without": 0.0}
    for t in range(399):
        with_oracle.observe(values[:, t])
        without.observe(values[:, t])
        with_oracle.offer(1, np.repeat(values[:, t + 1, None, None], 7, axis=2))
        if t >= 300:
            loss["with"] += np.abs(with_oracle.predict()[:, 0, 3] - values[:, t + 1]).mean()
            loss["without"] += np.abs(without.predict()[:, 0, 3] - values[:, t + 1]).mean()
    assert loss["with"] < 0.05 * loss["without"]
    assert np.isnan(with_oracle.experts(1)[:, 8, 0]).all()  # the row that nobody offered


def test_rows_from_outside_that_are_silent_change_nothing():
    values = load(6, 330)
    one, two = NativeForecaster(6), NativeForecaster(6, EngineConfig(extra_rows=1))
    for column in values.T:
        one.observe(column)
        two.observe(column)
        two.offer(0, np.full((6, 4, 7), np.nan, np.float32))
    assert np.array_equal(one.predict(), two.predict())


def test_what_is_offered_must_have_the_shape_of_a_forecast():
    forecaster = NativeForecaster(3, EngineConfig(extra_rows=1))
    with pytest.raises(ForecastError, match=r"shape \(3, 4, 7\), got \(3, 4\)"):
        forecaster.offer(0, np.zeros((3, 4), np.float32))
    with pytest.raises(ForecastError, match="extra row below 1, got 1"):
        forecaster.offer(1, np.zeros((3, 4, 7), np.float32))


def test_asking_changes_nothing():
    one, two = NativeForecaster(6), NativeForecaster(6)
    for column in load(6, 400).T:
        one.observe(column)
        two.observe(column)
        two.predict()
    assert np.array_equal(one.predict(), two.predict())


def test_samples_in_one_block_are_samples_one_by_one():
    values = load(6, 333)
    one, two = NativeForecaster(6), NativeForecaster(6)
    one.observe(values)
    for column in values.T:
        two.observe(column)
    assert one.save() == two.save()


def test_threads_do_not_change_a_bit():
    values = load(700, 120)
    forecasts = []
    for threads in (1, 2, 3):
        forecaster = NativeForecaster(700, EngineConfig(threads=threads))
        forecaster.observe(values)
        forecasts.append(forecaster.predict())
    assert np.array_equal(forecasts[0], forecasts[1])
    assert np.array_equal(forecasts[0], forecasts[2])


def test_a_restored_forecaster_continues_bit_for_bit():
    values = load(8, 800)
    whole, first = NativeForecaster(8), NativeForecaster(8)
    whole.observe(values)
    first.observe(values[:, :500])
    second = NativeForecaster(0)
    second.restore(first.save())
    second.observe(values[:, 500:])
    assert np.array_equal(whole.predict(), second.predict())


def test_a_state_of_another_configuration_is_refused():
    state = NativeForecaster(2).save()
    with pytest.raises(ForecastError, match="another configuration"):
        NativeForecaster(2, EngineConfig(horizons=(1, 2))).restore(state)
    with pytest.raises(ForecastError, match="another configuration"):
        NativeForecaster(2).restore(state[:-1])


def test_a_series_that_leaves_takes_nothing_of_the_others_with_it():
    values = load(6, 400)
    forecaster = NativeForecaster(6)
    forecaster.observe(values)
    before = forecaster.predict()
    forecaster.remove([1, 4])
    assert np.array_equal(forecaster.predict(), before[[0, 2, 3, 5]])
    with pytest.raises(ForecastError, match="below 4"):
        forecaster.remove([4])


def test_a_series_that_begins_today_borrows_the_shape_of_the_others():
    rng = np.random.default_rng(2)
    forecaster = NativeForecaster(50)
    forecaster.observe(rng.gamma(2, 5, (50, 400)).astype(np.float32))
    forecaster.add(1)
    forecaster.observe(rng.gamma(2, 5, (51, 12)).astype(np.float32))
    forecast = forecaster.predict()
    assert valid(forecast)
    old = (forecast[:50, 0, 5] - forecast[:50, 0, 1]).mean()
    assert 0.3 * old < forecast[50, 0, 5] - forecast[50, 0, 1] < 3 * old


@pytest.mark.parametrize("law", ["gamma", "zeros"])
def test_coverage_holds_on_a_stationary_load(law):
    rng = np.random.default_rng(7)
    values = rng.gamma(2, 5, (60, 1400))
    if law == "zeros":
        values *= rng.random(values.shape) < 0.5
    values = values.astype(np.float32)
    forecaster = NativeForecaster(60)
    forecaster.observe(values[:, :1000])
    inside = []
    for t in range(1000, 1399):
        forecast = forecaster.predict()[:, 0]
        inside.append(values[:, t] <= forecast[:, 6])
        forecaster.observe(values[:, t])
    assert 0.955 < np.mean(inside) < 0.99


def test_what_is_next_to_nothing_is_answered_as_nothing():
    # bursts fade from the experts and their mean never reaches 0, where the load rests
    rng = np.random.default_rng(3)
    values = (rng.gamma(2, 5, (8, 400)) * (rng.random((8, 400)) < 0.2)).astype(np.float32)
    forecaster = NativeForecaster(8)
    step = np.zeros(8)
    for t, column in enumerate(values.T):
        distance = np.abs(column - values[:, max(t - 1, 0)])
        step += max(1 / (t + 1), 1 / 288) * (distance - step)
        forecaster.observe(column)
        forecast = forecaster.predict()
        assert not ((forecast > 0) & (forecast < 0.0049 * step[:, None, None])).any()


def test_another_shape_is_refused():
    with pytest.raises(ForecastError, match="3 series"):
        NativeForecaster(3).observe(np.zeros(4, np.float32))
    with pytest.raises(ForecastError, match="ascending"):
        NativeForecaster(3, EngineConfig(horizons=(3, 1)))
