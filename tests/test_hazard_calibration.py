"""Calibration and the figures by which a hazard model is judged, on hand-worked cases."""

import numpy as np
import pytest

from foreshade.envs.errors import InputError
from foreshade.envs.hazard.calibration import Isotonic, fit_isotonic
from foreshade.envs.hazard.scores import area_under_roc, average_precision, decile_table


def test_auc_counts_ordered_pairs_and_half_of_the_ties():
    happened = np.array([True, False, True, False])
    assert area_under_roc(happened, np.array([0.9, 0.1, 0.4, 0.4])) == pytest.approx(3.5 / 4)


def test_average_precision_of_a_hand_worked_ranking():
    happened = np.array([True, False, True, False, False])
    assert average_precision(happened, np.array([5.0, 4, 3, 2, 1])) == pytest.approx((1 / 1 + 2 / 3) / 2)


def test_average_precision_of_a_constant_score_is_the_base_rate():
    happened = np.array([True, False, False, False])
    assert average_precision(happened, np.ones(4)) == pytest.approx(0.25)
    assert average_precision(happened[::-1], np.ones(4)) == pytest.approx(0.25)


def test_scores_of_one_outcome_are_refused():
    with pytest.raises(InputError, match="expected both outcomes, got 0 of 3"):
        area_under_roc(np.zeros(3, bool), np.arange(3.0))


def test_deciles_are_by_prediction():
    probability = np.arange(100) / 100
    table = decile_table(probability > 0.95, probability)
    assert [row["failures"] for row in table] == [0] * 9 + [4]
    assert table[-1]["predicted"] == pytest.approx(0.945)
    assert table[-1]["observed"] == pytest.approx(0.4)


def test_isotonic_recovers_a_known_curve():
    rng = np.random.default_rng(0)
    score = rng.normal(size=60_000)
    true = 1 / (1 + np.exp(-2 * score + 2))
    curve = fit_isotonic(score, rng.random(60_000) < true, np.ones(60_000))
    middle = np.abs(score) < 1.5
    assert np.abs(curve(score)[middle] - true[middle]).max() < 0.05


def test_weights_undo_the_thinning_of_survivors():
    rng = np.random.default_rng(1)
    score = rng.normal(size=100_000)
    happened = rng.random(100_000) < 0.02 * np.exp(score - 0.5)
    kept = happened | (rng.random(100_000) < 0.1)
    curve = fit_isotonic(score[kept], happened[kept], np.where(happened[kept], 1.0, 10.0))
    assert curve(score).mean() == pytest.approx(happened.mean(), rel=0.1)


def test_a_calibration_never_falls_and_never_says_never():
    rng = np.random.default_rng(2)
    score = rng.normal(size=5000)
    curve = fit_isotonic(score, rng.random(5000) < 0.05, np.ones(5000))
    values = curve(np.linspace(-9, 9, 999))
    assert (np.diff(values) >= 0).all()
    assert 0 < values[0] <= values[-1] < 1


def test_a_falling_calibration_is_refused():
    with pytest.raises(InputError, match="never fall"):
        Isotonic(np.array([0.0, 1.0]), np.array([0.5, 0.4]))
    with pytest.raises(InputError, match="expected both outcomes"):
        fit_isotonic(np.arange(4.0), np.zeros(4, bool), np.ones(4))
