"""The choice between the engine and models that come and go."""

import numpy as np
import pytest

from foreshade.envs.errors import ForecastError, InputError
from foreshade.envs.forecast.classical.rotation import Rotation, RotationConfig
from foreshade.envs.forecast.experts import LearnedExpert, RotatedExpert, SeasonalExpert
from foreshade.envs.forecast.forecaster import LEVELS, EngineConfig, NativeForecaster
from foreshade.envs.forecast.history import History
from foreshade.envs.forecast.mixture import HorizonMixture, MixtureConfig, miss_of_atom
from foreshade.envs.forecast.score import pinball
from foreshade.envs.forecast.selection import Selection, SelectionConfig

HORIZONS = (1, 4)
LEVEL = np.array(LEVELS)


class Spread:
    """A model that says ``centre`` of its context with normal quantiles of a given spread."""

    def __init__(self, centre, spread=1.0):
        self.centre, self.spread = centre, spread
        self.asked = 0

    def predict(self, context, horizons, *, start_tick=0, regressors=None):
        self.asked += 1
        quantiles = np.array([-1.96, -1.28, -0.67, 0, 0.67, 1.28, 1.96], np.float32) * self.spread
        middle = np.stack([self.centre(context, h, start_tick) for h in horizons], axis=1)
        return np.maximum(middle[:, :, None] + quantiles, 0).astype(np.float32)


def make(experts, n_series=4, horizons=HORIZONS, **config):
    engine = NativeForecaster(n_series, EngineConfig(horizons=horizons))
    return Selection(engine, experts, SelectionConfig(**config))


def schedule(n_series, n_ticks, seed=0):
    """Levels that jump at random, but by a plan: who knows it can forecast, who looks back cannot."""
    rng = np.random.default_rng(seed)
    plan = rng.uniform(20, 80, n_ticks + 8).astype(np.float32)
    return plan, np.maximum(plan[:n_ticks] + rng.normal(0, 1, (n_series, n_ticks)), 0).astype(np.float32)


def prophet_of(plan):
    return Spread(lambda context, h, start: np.full(len(context), plan[start + context.shape[1] - 1 + h]))


def losses(selection, values, origins):
    total = {"selection": 0.0, "engine": 0.0}
    engine = NativeForecaster(len(values), EngineConfig(horizons=tuple(selection.horizons)))
    for t in range(values.shape[1] - max(selection.horizons)):
        selection.observe(values[:, t])
        engine.observe(values[:, t])
        if t in origins:
            for place, h in enumerate(selection.horizons):
                total["selection"] += pinball(selection.predict()[:, place], values[:, t + h]).mean()
                total["engine"] += pinball(engine.predict()[:, place], values[:, t + h]).mean()
    return total


def test_weights_go_to_the_model_that_knows_and_the_forecast_becomes_its_own():
    plan, values = schedule(4, 200)
    selection = make([LearnedExpert("knows", prophet_of(plan))])
    assert selection.names == ("engine", "knows")
    total = losses(selection, values, range(150, 190))
    assert total["selection"] < 0.2 * total["engine"]
    assert selection.weights(1)[:, 1].mean() > 0.9


def test_a_model_that_is_far_off_costs_a_few_per_cent_of_noise():
    rng = np.random.default_rng(1)
    values = rng.gamma(5, 4, (8, 300)).astype(np.float32)
    wrong = Spread(lambda context, h, _: np.full(len(context), 90.0), spread=0.1)
    selection = make([LearnedExpert("wrong", wrong)], n_series=8)
    total = losses(selection, values, range(100, 290))
    assert total["selection"] < 1.07 * total["engine"]
    assert selection.weights(1)[:, 1, 1:6].mean() < 0.05


def test_a_sleeping_model_does_not_vote_and_its_record_stays():
    plan, values = schedule(4, 200)
    model = prophet_of(plan)
    selection = make([LearnedExpert("knows", model, asleep=[(120, 200)])])
    selection.observe(values[:, :100])
    awake = selection.weights(1)[0, 1]
    assert (awake > 0.7).all()
    selection.observe(values[:, 100:150])
    assert (selection.weights(1)[:, 1] == 0).all()
    np.testing.assert_allclose(selection.weights(1).sum(axis=1), 1, rtol=1e-6)
    engine = NativeForecaster(4, EngineConfig(horizons=HORIZONS))
    engine.observe(values[:, :150])
    # alone again, the engine's median is the answer's: only widths were learnt by others
    np.testing.assert_allclose(selection.predict()[:, 0, 3], engine.predict()[:, 0, 3], rtol=1e-6)


def test_a_sleeping_model_is_not_asked_about_targets_that_it_was_trained_on():
    model = Spread(lambda context, h, _: context[:, -1])
    expert = LearnedExpert("m", model, asleep=[(50, 60)])
    history = History(2, 100)
    history.push(np.ones((2, 47), np.float32))  # the newest is tick 46: four ahead is 50
    assert np.isnan(expert.quantiles(history, (1, 4))).all()
    assert np.isfinite(expert.quantiles(history, (1,))).all()


def test_samples_one_by_one_or_in_a_block_are_the_same():
    plan, values = schedule(4, 150)
    one, two = (make([LearnedExpert("knows", prophet_of(plan)), SeasonalExpert()]) for _ in range(2))
    one.observe(values)
    for t in range(values.shape[1]):
        two.observe(values[:, t])
    np.testing.assert_array_equal(one.predict(), two.predict())


def test_a_saved_selection_continues_bit_for_bit_and_others_are_refused():
    plan, values = schedule(4, 180)

    def new():
        rotation = Rotation(
            4, config=RotationConfig(budget_cpu_s=2, n_steps=8), cpu_clock=iter(range(9**9)).__next__
        )
        return make(
            [LearnedExpert("knows", prophet_of(plan)), RotatedExpert("turns", rotation, prophet_of(plan))]
        )

    one, two = new(), new()
    one.observe(values[:, :120])
    two.restore(one.save())
    for selection in (one, two):
        selection.observe(values[:, 120:])
    np.testing.assert_array_equal(one.predict(), two.predict())
    with pytest.raises(ForecastError, match="of other experts"):
        make([]).restore(one.save())
    with pytest.raises(ForecastError, match="expected the bytes of save"):
        make([]).restore(b"nothing")


def test_series_come_and_go_and_the_others_notice_nothing():
    plan, values = schedule(5, 160)
    every = make([LearnedExpert("knows", prophet_of(plan)), SeasonalExpert()], n_series=5)
    every.observe(values[:, :100])
    every.add(2)
    every.observe(np.concatenate([values[:, 100:120], np.full((2, 20), np.nan, np.float32)]))
    every.remove([0, 6])
    assert len(every) == 5
    answer = every.predict()
    assert answer.shape == (5, 2, 7)
    assert np.isfinite(answer).all()
    assert (np.diff(answer, axis=2) >= 0).all()
    with pytest.raises(ForecastError):
        every.remove([5])
    assert len(every) == 5


def test_gaps_and_unusable_samples_are_the_engines_to_answer():
    selection = make([SeasonalExpert()], n_series=3)
    selection.observe(np.array([[5, 6, 7], [5, -1, np.nan], [np.nan] * 3], np.float32))
    assert selection.rejected == {"missing": 4, "negative": 1, "unbounded": 0}
    engine = NativeForecaster(3, EngineConfig(horizons=HORIZONS))
    engine.observe(np.array([[5, 6, 7], [5, -1, np.nan], [np.nan] * 3], np.float32))
    np.testing.assert_array_equal(selection.predict()[1:], engine.predict()[1:])


def test_a_warm_past_teaches_the_engine_and_asks_no_model():
    plan, values = schedule(4, 150)
    model = prophet_of(plan)
    selection = make([LearnedExpert("knows", model)])
    selection.warm(values[:, :140])
    assert model.asked == 0
    selection.observe(values[:, 140:])
    assert model.asked > 0
    assert np.isfinite(selection.predict()).all()


def test_what_is_no_selection_is_refused():
    with pytest.raises(ForecastError, match="distinct experts"):
        make([SeasonalExpert(), SeasonalExpert()])
    with pytest.raises(ForecastError, match="strides: expected 2"):
        make([], strides=(1,))
    with pytest.raises(ForecastError, match="samples of 4 series"):
        make([]).observe(np.zeros(3, np.float32))
    with pytest.raises(ForecastError, match="incumbent"):
        MixtureConfig(incumbent=1.0)


def test_the_seasonal_expert_is_the_day_before_with_its_own_misses():
    day = np.arange(288, dtype=np.float32)
    history = History(1, 8 * 288)
    history.push(np.tile(day, 3)[None] + np.repeat([0, 10, 20], 288).astype(np.float32))
    answer = SeasonalExpert().quantiles(history, (1, 288))
    # the last day's value at that time, plus the 10 by which a day was above the one before
    np.testing.assert_allclose(answer[0, 0], 20 + 0 + 10)
    np.testing.assert_allclose(answer[0, 1], 20 + 287 + 10)


def test_a_rotated_model_speaks_of_the_series_it_was_fitted_to():
    rotation = Rotation(
        3, config=RotationConfig(budget_cpu_s=1, n_steps=6), cpu_clock=iter(range(9**9)).__next__
    )
    expert = RotatedExpert("last", rotation, Spread(lambda context, h, _: context[:, -1] + h))
    history = History(3, 100)
    history.push(np.array([[1, 5, 9]], np.float32).T)
    first = expert.quantiles(history, (1, 3))
    assert np.isfinite(first[:, 0, 0]).tolist() == [False, False, True]  # what matters most comes first
    np.testing.assert_allclose(first[2, :, 3], [10, 12])
    history.push(np.array([[1, 5, 9]], np.float32).T)
    again = expert.quantiles(history, (1, 3))
    np.testing.assert_allclose(again[2, :, 3], [11, 13])  # read further along, a tick later


def test_a_mixture_of_two_is_weighed_by_hand():
    mixture = HorizonMixture(1, 2, 1, 1, MixtureConfig(incumbent=0.75, smoothing=0.0, pool_weight=0.0))
    experts = np.stack([np.full((1, 7), 10), np.full((1, 7), 20)], axis=1).astype(np.float32)
    np.testing.assert_allclose(mixture.mix(experts), 12.5)  # the prior alone
    blend = mixture.mix(experts)
    mixture.learn(experts, blend, blend, np.array([20], np.float32), np.array([50], np.float32))
    # below the truth the slope is -level; the first loss is its own norm, the mean of level * 7.5
    norm = 7.5 * LEVEL.mean()
    regret = np.stack([-LEVEL * (10 - 12.5), -LEVEL * 7.5]) / norm
    score = np.log([[0.75], [0.25]]) - regret / np.sqrt(regret**2 + 1e-3)
    share = np.exp(score) / np.exp(score).sum(axis=0)
    np.testing.assert_allclose(mixture.weights(np.ones((1, 2), bool))[0], share, rtol=1e-5)


def test_widths_reach_the_coverage_that_is_promised():
    rng = np.random.default_rng(3)
    values = np.maximum(50 + rng.normal(0, 8, (40, 700)), 0).astype(np.float32)
    narrow = Spread(lambda context, h, _: np.full(len(context), 50.0), spread=2.0)
    selection = make([LearnedExpert("narrow", narrow)], n_series=40, horizons=(1,))
    inside = []
    for t in range(699):
        selection.observe(values[:, t])
        if t > 300:
            answer = selection.predict()[:, 0]
            inside.append((values[:, t + 1] >= answer[:, 1]) & (values[:, t + 1] <= answer[:, 5]))
    assert abs(np.mean(inside) - 0.8) < 0.03


def test_a_tie_counts_as_its_share_of_the_mass():
    quantiles = np.array([[0, 0, 0, 0, 1, 2, 3]], np.float32)
    missed = miss_of_atom(quantiles, np.zeros((1, 1), np.float32))[0]
    np.testing.assert_allclose(missed[:4], LEVEL[:4] / 0.625 - LEVEL[:4], rtol=1e-6)
    np.testing.assert_allclose(missed[4:], 1 - LEVEL[4:], rtol=1e-6)


def test_models_per_class_need_classes():
    with pytest.raises(ForecastError, match="classes of the series"):
        LearnedExpert("m", Spread(lambda c, h, _: c[:, -1]), classes=["a"])


def test_rotation_keeps_what_it_saved():
    rotation = Rotation(2, config=RotationConfig(n_steps=3))
    with pytest.raises(InputError, match="paths of 4 steps"):
        Rotation(2, config=RotationConfig(n_steps=4)).restore(rotation.save())
