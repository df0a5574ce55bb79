"""The measures and reference models on numbers small enough to work by hand, and no model looks ahead."""

import math
import os

import numpy as np
import pytest

from foreshade.envs.errors import ForecastError
from foreshade.envs.forecast.score import (
    LEVEL,
    MODELS,
    Case,
    Protocol,
    measure,
    naive,
    pinball,
    protocol_of,
    score,
    seasonal_naive,
    transform,
    window,
)


def test_pinball_loss_weighs_the_sides_by_the_level():
    quantiles = np.full((2, 7), 10, np.float32)
    loss = pinball(quantiles, np.array([14, 8], np.float32))
    np.testing.assert_allclose(loss[0], 4 * LEVEL)
    np.testing.assert_allclose(loss[1], 2 * (1 - LEVEL))


def test_transform_of_a_value_between_two_quantiles_lies_between_their_levels():
    quantiles = np.tile(np.arange(7, dtype=np.float32), (500, 1))
    u = transform(quantiles, np.full(500, 2.5, np.float32), np.random.default_rng(0))
    assert u.min() >= 0.25
    assert u.max() <= 0.5
    above = transform(quantiles, np.full(500, 9, np.float32), np.random.default_rng(0))
    assert above.min() >= 0.975


def test_transform_of_a_constant_series_is_uniform():
    u = transform(np.zeros((4000, 7), np.float32), np.zeros(4000, np.float32), np.random.default_rng(0))
    assert abs((np.abs(u - 0.5) < 0.4).mean() - 0.8) < 0.03


def test_transform_of_an_atom_fills_the_levels_it_holds():
    quantiles = np.tile(np.array([0, 0, 0, 0, 1, 2, 3], np.float32), (4000, 1))
    u = transform(quantiles, np.zeros(4000, np.float32), np.random.default_rng(0))
    assert u.min() < 0.01
    assert 0.61 < u.max() <= 0.625  # half way from .5 to .75


def test_naive_is_the_last_value_and_its_own_errors():
    values = np.array([[0, 1, 3, 6, 10, 15]], np.float32)
    forecast = naive(values, [4], [1])
    np.testing.assert_allclose(forecast[0, 0, 0], 10 + np.quantile([1, 2, 3, 4], LEVEL), rtol=1e-6)


def test_seasonal_naive_is_the_day_before():
    day = np.arange(288, dtype=np.float32)
    values = np.tile(day, 3)[None]
    np.testing.assert_allclose(seasonal_naive(values, [700], [12])[0, 0, 0], (700 + 12) % 288)


def test_a_window_holds_the_last_steps():
    values = np.arange(50, dtype=np.float32)[None]
    np.testing.assert_allclose(
        window(12)(values, [40], [1, 3])[0, 0, 1], np.quantile(np.arange(29, 41), LEVEL)
    )


def test_protocols_are_those_of_a_day_and_of_a_month():
    assert protocol_of(288).origins == tuple(range(199, 276))
    month = protocol_of(8640)
    assert (len(month.origins), month.origins[0], month.origins[1] - month.origins[0]) == (63, 6047, 37)
    assert month.origins[-1] + 288 < 8640
    with pytest.raises(ForecastError, match="at least 212"):
        protocol_of(100)


def test_measures_of_one_forecast_by_hand():
    values = np.array([[0, 2, 0, 4]], np.float32)
    case = Case("cpu", values, Protocol((2,), (1,)))
    row = measure("m", case, np.full((1, 1, 1, 7), 3, np.float32), 1e-6, 0)[0]
    assert row["mae"] == 1
    assert row["mase"] == 0.5  # steps of 2 before
    assert row["pinball"] == pytest.approx(0.5)
    assert row["wql"] == pytest.approx(2 * 0.5 / 4)
    assert row["us_per_series"] == pytest.approx(1.0)


def test_where_nothing_was_measured_there_is_no_measure_and_where_all_is_zero_no_loss():
    values = np.array([[1, 1, 1, np.nan], [0, 0, 0, np.nan]], np.float32)
    unseen, seen = measure("m", Case("cpu", values, Protocol((1,), (2, 1))), np.zeros((2, 1, 2, 7)), 0.0, 0)
    measures = ("mae", "mase", "pinball", "wql", "cov80", "cov95")
    assert all(math.isnan(unseen[name]) for name in measures)
    assert seen["mae"] == 0.5
    assert math.isnan(seen["mase"])  # neither series ever moved
    zero = measure("m", Case("cpu", values[1:], Protocol((1,), (1,))), np.zeros((1, 1, 1, 7)), 0.0, 0)[0]
    assert zero["wql"] == 0


def test_a_table_without_sizes_is_scored_by_those_that_a_simulator_would_give(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 2000, (230, 2)).round(3)
    rows = [f"{300 * t},vm{v},{values[t, v]}" for t in range(230) for v in range(2)]
    (tmp_path / "own.csv").write_text("\n".join(["time,vm,cpu_mhz", *rows, ""]))
    sized = [f"{row},1" for row in rows]
    (tmp_path / "sized.csv").write_text("\n".join(["time,vm,cpu_mhz,vcpus", *sized, ""]))
    own, given = (score(f"table:{tmp_path / name}.csv", ["naive"]) for name in ("own", "sized"))
    assert [row["mae"] for row in own] == [row["mae"] for row in given]
    assert all(0 < row["mae"] < 100 for row in own)


def test_a_trace_without_a_measured_value_and_a_score_without_models_are_refused(tmp_path):
    (tmp_path / "blank.csv").write_text("time,vm,cpu_mhz\n" + "".join(f"{300 * t},a,\n" for t in range(230)))
    with pytest.raises(ForecastError, match="blank: expected a resource that was measured, found none"):
        score(f"table:{tmp_path / 'blank.csv'}", ["naive"])
    with pytest.raises(ForecastError, match="blank has no cpu that was measured; it has none"):
        score(f"table:{tmp_path / 'blank.csv'}", ["naive"], "cpu")
    with pytest.raises(ForecastError, match="expected a model, found none; known are engine"):
        score("planetlab", [])


@pytest.mark.parametrize("name", sorted(MODELS))
def test_no_model_looks_ahead(name):
    rng = np.random.default_rng(1)
    values = rng.gamma(2, 5, (6, 330)).astype(np.float32)
    values[rng.random(values.shape) < 0.02] = np.nan
    changed = values.copy()
    changed[:, 301:] = 77.0
    one, two = (MODELS[name](v, [250, 300], [1, 3, 12]) for v in (values, changed))
    assert np.array_equal(one, two)


def test_unknown_models_are_refused():
    with pytest.raises(ForecastError, match="unknown model 'crystal'"):
        score("planetlab", ["crystal"])


@pytest.mark.realdata
@pytest.mark.skipif(not os.environ.get("FORESHADE_DATA"), reason="FORESHADE_DATA is not set")
def test_the_engine_beats_naive_by_the_declared_ratios_on_a_planetlab_day():
    rows = score("planetlab?day=20110306", ["engine", "naive"], "cpu")
    loss = {(row["model"], row["horizon"]): float(row["pinball"]) for row in rows}
    for horizon, ratio in ((1, 0.73), (3, 0.725), (12, 0.75)):
        assert loss["engine", horizon] < ratio * loss["naive", horizon]
