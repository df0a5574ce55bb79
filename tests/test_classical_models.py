"""The libraries themselves, on series of which the answer is known."""

import sys

import numpy as np
import pytest

from foreshade.envs.errors import InputError, MissingExtraError
from foreshade.envs.forecast.classical.prophet_model import prophet_model
from foreshade.envs.forecast.classical.stats_models import seasons, stats_model

N = 288 * 4
T = np.arange(N + 288)
RNG = np.random.default_rng(0)
DAILY = (50 + 20 * np.sin(2 * np.pi * T / 288) + RNG.normal(0, 2, T.size)).astype(np.float32)


def stats(name):
    pytest.importorskip("statsforecast", reason=f"THE EXTRA classical IS MISSING: {name} is not checked")
    return stats_model(name)


def prophet():
    pytest.importorskip("prophet", reason="THE EXTRA classical IS MISSING: prophet is not checked")
    return prophet_model()


@pytest.mark.parametrize("make", [lambda: stats("mstl"), prophet], ids=["mstl", "prophet"])
def test_a_daily_season_is_continued(make):
    model = make()
    answer = model.predict(DAILY[None, :N], (72, 144, 216))
    assert model.report.failed == model.report.too_short == 0
    truth = 50 + 20 * np.sin(2 * np.pi * (N - 1 + np.array([72, 144, 216])) / 288)
    assert np.abs(answer[0, :, 3] - truth).max() < 5
    assert (np.diff(answer[0], axis=1) > 0).all()


@pytest.mark.parametrize("name", ["arima", "ets"])
def test_the_spread_is_that_of_the_noise(name):
    noise = (100 + np.random.default_rng(1).normal(0, 5, (1, 500))).astype(np.float32)
    model = stats(name)
    answer = model.predict(noise, (1,))[0, 0]
    assert model.report.failed == 0
    assert answer[3] == pytest.approx(100, abs=4)
    assert answer[5] - answer[1] == pytest.approx(2 * 1.2816 * 5, rel=0.25)


def test_arima_uses_a_regressor_that_is_known_ahead():
    rng = np.random.default_rng(2)
    campaign = (rng.random((301, 1)) < 0.5).astype(np.float32)
    series = (20 + 30 * campaign[:, 0] + rng.normal(0, 1, 301)).astype(np.float32)
    model = stats("arima")
    answer = model.predict(series[None, :300], (1,), regressors=campaign)
    assert model.report.failed == 0
    assert answer[0, 0, 3] == pytest.approx(series[300], abs=4)


def test_prophet_uses_a_regressor_and_leaves_the_global_generator_alone():
    campaign = (T // 36 % 5 == 0).astype(np.float32)[:, None]
    series = (20 + 30 * campaign[:, 0] + RNG.normal(0, 1, T.size)).astype(np.float32)
    model = prophet()
    before = np.random.get_state()[1].copy()  # noqa: NPY002  the state that must not move
    answer = model.predict(series[None, :N], (1, 40, 80), regressors=campaign)
    assert model.report.failed == 0
    truth = 20 + 30 * campaign[N - 1 + np.array([1, 40, 80]), 0]
    assert np.abs(answer[0, :, 3] - truth).max() < 6
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_a_season_needs_two_periods():
    assert seasons(288 * 2) == [288]
    assert seasons(2016 * 2) == [288, 2016]
    assert seasons(8064 * 2 // 6, 6) == [48, 336, 1344]


def test_an_unknown_model_and_a_missing_library_are_named(monkeypatch):
    with pytest.raises(InputError, match="expected arima, ets, mstl or prophet, got 'theta'"):
        stats_model("theta")
    monkeypatch.setitem(sys.modules, "statsforecast.models", None)
    with pytest.raises(MissingExtraError, match=r"foreshade\[classical\]"):
        stats_model("ets").predict(DAILY[None, :300], (1,))
