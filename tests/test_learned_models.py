"""Boosted quantiles and the quantile LSTM: one contract, run on both."""

import json
import sys

import numpy as np
import pytest

from foreshade.envs.errors import InputError, MissingExtraError
from foreshade.envs.forecast.learned.boosted import BoostedConfig, BoostedQuantiles
from foreshade.envs.forecast.learned.lstm import QuantileLstm
from foreshade.envs.forecast.learned.lstm_training import LstmConfig
from foreshade.envs.forecast.learned.quantile_model import QUANTILES, mean_pinball

HORIZONS = (1, 6)
MAKERS = {
    "boosted": (
        "lightgbm",
        lambda: BoostedQuantiles(BoostedConfig(horizons=HORIZONS, n_rows=3000, n_rounds=40)),
        BoostedQuantiles,
    ),
    "lstm": (
        "torch",
        lambda: QuantileLstm(
            LstmConfig(horizons=HORIZONS, n_steps=12, n_hidden=12, n_rows=3000, n_epochs=8, batch=64)
        ),
        QuantileLstm,
    ),
}


def loads(n_series, seed, n_ticks=400):
    """Noise around a level that jumps every six ticks: six steps ahead is another level."""
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.gamma(3, 10, (n_series, n_ticks // 6 + 1)), 6, axis=1)[:, :n_ticks]
    return (level * rng.lognormal(0, 0.1, level.shape)).astype(np.float32)


@pytest.fixture(scope="module", params=MAKERS)
def trained(request):
    library, make, kind = MAKERS[request.param]
    pytest.importorskip(library, reason=f"AN EXTRA IS MISSING ({library}): {request.param} is not trained")
    model = make()
    model.fit(loads(60, seed=0))
    return model, make, kind


def test_forecasts_have_their_shape_and_order(trained):
    model, _, _ = trained
    answer = model.predict(loads(9, 1)[:, :300], (6, 1))
    assert answer.shape == (9, 2, 7)
    assert answer.dtype == np.float32
    assert np.isfinite(answer).all()
    assert (answer >= 0).all()
    assert (np.diff(answer, axis=2) >= 0).all()
    np.testing.assert_array_equal(answer[:, ::-1], model.predict(loads(9, 1)[:, :300], (1, 6)))


def test_forecasts_beat_the_last_value_with_its_own_errors_and_cover_what_they_promise(trained):
    model, _, _ = trained
    new = loads(150, seed=2)
    own, naive, inside = [], [], []
    for origin in range(200, 380, 7):
        answer = model.predict(new[:, : origin + 1], (6,))[:, 0]
        truth = new[:, origin + 6]
        errors = new[:, 6 : origin + 1] - new[:, : origin - 5]
        last = new[:, origin, None] + np.quantile(errors, QUANTILES, axis=1).T
        own.append(mean_pinball(answer, truth))
        naive.append(mean_pinball(np.maximum(last, 0).astype(np.float32), truth))
        inside.append(((truth >= answer[:, 1]) & (truth <= answer[:, 5])).mean())
    assert np.mean(own) < 0.9 * np.mean(naive)
    assert 0.7 < np.mean(inside) < 0.9


def test_a_forecast_scales_with_its_series(trained):
    model, _, _ = trained
    context = loads(5, 3)[:, :300]
    small, large = model.predict(context, HORIZONS), model.predict(context * 8, HORIZONS)
    # only the logarithm of the scale is seen beside what is scaled
    assert (large[:, :, 3] / small[:, :, 3]).mean() == pytest.approx(8, rel=0.35)


def test_gaps_and_new_series_get_a_defined_answer(trained):
    model, _, _ = trained
    context = loads(4, 4)[:, :300]
    context[0, -20:] = np.nan
    context[1, :-1] = np.nan
    context[2] = np.nan
    context[3] = 7
    answer = model.predict(context, HORIZONS)
    assert np.isfinite(answer).all()
    assert (answer[2] == 0).all()
    assert answer[3, 0, 3] == pytest.approx(7, rel=0.5)


def test_a_frozen_model_says_the_same_without_its_training_library(trained, tmp_path, monkeypatch):
    model, _, kind = trained
    context = loads(6, 5)[:, :300]
    expected = model.predict(context, HORIZONS)
    folder = model.save(tmp_path / "model", "made-up loads")
    assert json.loads((folder / "manifest.json").read_text())["description"]["data"] == "made-up loads"
    for library in ("torch", "lightgbm"):
        monkeypatch.setitem(sys.modules, library, None)
    np.testing.assert_allclose(kind.load(folder).predict(context, HORIZONS), expected, rtol=1e-5, atol=1e-5)


def test_training_twice_gives_the_same_forecasts(trained):
    model, make, _ = trained
    again = make()
    again.fit(loads(60, seed=0))
    context = loads(6, 6)[:, :300]
    np.testing.assert_array_equal(again.predict(context, HORIZONS), model.predict(context, HORIZONS))


def test_a_regressor_that_is_known_ahead_is_used(trained):
    _, make, _ = trained
    rng = np.random.default_rng(7)
    campaign = (rng.random((400, 1)) < 0.3).astype(np.float32)
    history = (10 + 40 * campaign.T + rng.normal(0, 1, (60, 400))).astype(np.float32)
    model = make()
    model.fit(history, regressors=campaign)
    origins = range(250, 390)
    ahead = np.array([model.predict(history[:3, :o], (1,), regressors=campaign)[:, 0, 3] for o in origins])
    on = campaign[250:390, 0] > 0
    assert ahead[on].mean() > ahead[~on].mean() + 20
    with pytest.raises(InputError, match="regressors: expected 1 columns as in training"):
        model.predict(history[:3, :250], (1,))


def test_what_cannot_be_forecast_is_refused(trained):
    model, make, _ = trained
    with pytest.raises(InputError, match="horizon: expected 1, 6, got 2"):
        model.predict(loads(2, 0), (2,))
    with pytest.raises(InputError, match="expected \\(n_series, n_ticks\\) with a tick"):
        model.predict(np.zeros(4, np.float32), (1,))
    with pytest.raises(InputError, match="expected a trained model"):
        make().predict(loads(2, 0), (1,))
    with pytest.raises(InputError, match="history: expected at least"):
        make().fit(np.ones((3, 20), np.float32))


def test_a_changed_file_is_refused(trained, tmp_path):
    model, _, kind = trained
    folder = model.save(tmp_path / "model", "made-up loads")
    victim = min(p for p in folder.iterdir() if p.suffix in {".txt", ".npy"})
    victim.write_bytes(victim.read_bytes()[:-1])
    with pytest.raises(InputError, match=f"{victim.name}: expected SHA-256"):
        kind.load(folder)


@pytest.mark.parametrize(("name", "extra"), [("boosted", "forecast"), ("lstm", "train")])
def test_training_without_the_library_names_the_extra(name, extra, monkeypatch):
    library, make, _ = MAKERS[name]
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"foreshade\[{extra}\]"):
        make().fit(loads(3, 0))
