"""What global models are shown, and the promises of every forecast."""

import numpy as np
import pytest

from foreshade.envs.errors import InputError
from foreshade.envs.forecast.learned.lag_features import centre_of, lag_features, names, scale_of
from foreshade.envs.forecast.learned.lstm_net import shown
from foreshade.envs.forecast.learned.quantile_model import QUANTILES, mean_pinball, settle
from foreshade.envs.forecast.learned.training_rows import draw_origins


def column(table, name):
    return table[:, names(0).index(name)]


def test_features_of_a_ramp_are_distances_from_its_newest_sample_in_units_of_its_spread():
    context = np.arange(1, 577, dtype=np.float32)[None]
    scale = scale_of(context)[0]
    day = np.arange(289, 577)
    assert scale == pytest.approx(np.abs(day - day.mean()).mean() + 0.01 * day.mean(), rel=1e-6)
    assert centre_of(context).tolist() == [576]
    moved = lag_features(context, 1, 0, None) * scale
    table = moved + 576
    assert column(moved, "level")[0] == pytest.approx(576)
    assert column(table, "lag_0")[0] == pytest.approx(576)
    assert column(table, "lag_11")[0] == pytest.approx(565)
    assert column(table, "window_6_mean")[0] == pytest.approx(573.5)
    assert column(table, "window_12_q0.5")[0] == pytest.approx(570.5)
    assert column(table, "min_day")[0] == pytest.approx(289)
    assert column(table, "same_tick_yesterday")[0] == pytest.approx(577 - 288)
    assert column(moved, "window_36_step")[0] == pytest.approx(1, rel=1e-4)
    assert column(lag_features(context, 288, 0, None), "same_tick_yesterday")[0] == 0


def test_quantiles_of_a_window_are_those_of_the_samples_that_are_there():
    rng = np.random.default_rng(0)
    context = rng.gamma(2, 10, (5, 300)).astype(np.float32)
    context[rng.random(context.shape) < 0.4] = np.nan
    table = lag_features(context, 1, 0, None)
    scaled = (context[:, -72:] - centre_of(context)[:, None]) / scale_of(context)[:, None]
    expected = np.nanquantile(scaled, 0.9, axis=1)
    np.testing.assert_allclose(column(table, "window_72_q0.9"), expected, rtol=1e-4, atol=1e-5)


def test_the_clock_is_the_targets():
    context = np.ones((2, 10), np.float32)
    table = lag_features(context, 3, np.array([0, 288 * 6 + 280]), None)
    assert column(table, "day_of_week").tolist() == [0, 0]  # Sunday 23:20 and 13 ticks more is Monday
    assert column(table, "tick_sin")[1] == pytest.approx(np.sin(2 * np.pi * 4 / 288), abs=1e-6)


def test_a_series_of_a_few_samples_or_none_is_described_without_a_warning():
    context = np.full((2, 3), np.nan, np.float32)
    context[0, 2] = 5
    table = lag_features(context, 1, 0, None)
    assert column(table, "lag_0")[0] == 0
    assert column(table, "level")[0] == pytest.approx(100, rel=1e-3)  # the scale is a hundredth
    assert np.isnan(column(table, "lag_0")[1])
    steps, summary, anchor, *_ = shown(context, 8, (1,), 0, None)
    assert np.isfinite(steps).all()
    assert np.isfinite(summary).all()
    assert np.isfinite(anchor).all()
    assert steps[0, :, 1].tolist() == [0] * 7 + [1]


def test_forecasts_are_sorted_finite_and_not_negative_where_the_series_is_not():
    context = np.array([[1, 2], [-1, 2], [np.nan, np.nan]], np.float32)
    raw = np.tile([3.0, -2, 1, np.nan, 5, 6, 7], (3, 1, 1))
    settled = settle(raw, context)
    assert (np.diff(settled, axis=2) >= 0).all()
    assert settled[0].min() == 0
    assert settled[1].min() == -2
    assert (settled[2] == 0).all()


def test_pinball_of_a_hand_worked_case():
    quantiles = np.full((1, 7), 10, np.float32)
    assert mean_pinball(quantiles, np.array([12], np.float32)) == pytest.approx(2 * np.mean(QUANTILES))
    assert mean_pinball(quantiles, np.array([8], np.float32)) == pytest.approx(
        2 * np.mean(1 - np.array(QUANTILES))
    )


def test_origins_leave_room_for_their_target_and_have_one():
    history = np.ones((50, 100), np.float32)
    history[:25, 60:] = np.nan
    origins = draw_origins(history, 12, 500, 48, 0, "test")
    assert origins.column.min() >= 47
    assert (origins.column + 12 < 100).all()
    assert np.isfinite(history[origins.series, origins.column + 12]).all()
    rows = np.concatenate([rows for _, rows in origins.by_column()])
    assert sorted(rows.tolist()) == list(range(origins.series.size))
    with pytest.raises(InputError, match="expected at least 148 ticks for horizon 100, got 100"):
        draw_origins(history, 100, 500, 48, 0, "test")
