"""The native mixture and conformal width beside a plain-Python reading of ``docs/forecasting.md``."""

import numpy as np
import pytest

from foreshade.envs.forecast.forecaster import EngineConfig, NativeForecaster
from tests.reference.forecast import LEVELS, Mixture


def loads() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    walk = np.abs(50 + np.cumsum(rng.normal(0, 1, 220)))
    bursts = np.where(rng.random(220) < 0.3, rng.gamma(2, 20, 220), 0.0)  # ties at 0 in every row
    shift = np.where(np.arange(220) < 120, 10.0, 9000.0) + rng.normal(0, 1, 220)
    return {"walk": walk, "bursts": bursts, "shift": shift}


@pytest.mark.parametrize("name", ["walk", "bursts", "shift"])
def test_forecasts_are_those_of_the_reference_at_every_step(name):
    values = loads()[name].astype(np.float32)
    # no prior of shapes: the rows of an origin are then those that `experts` shows after its step
    forecaster = NativeForecaster(1, EngineConfig(horizons=(1,), prior_count=0.0))
    reference = Mixture(
        8,
        rate=6.0,
        memory=2016.0,
        pool_memory=50.0,
        pool_weight=0.3,
        smoothing=0.1,
        conformal=0.04,
        pool_conformal=0.02,
    )
    origin = None
    step = level = 0.0
    for t, value in enumerate(float(v) for v in values):
        forecaster.observe(np.array([value], np.float32))
        rows = forecaster.experts(1)[0].astype(np.float64)
        # what all series share is counted at the end of a step, after its origins are made
        pool, pool_width = reference.pool.copy(), reference.pool_width.copy()
        if origin is not None:
            reference.learn(*origin, value)
        first = 1.0 / (t + 1)
        last = value if t == 0 else float(values[t - 1])
        step += max(first, 1 / 288) * (abs(value - last) - step)
        level = value if t == 0 else level + max(first, 0.2) * (value - level)
        mixture = reference.blend(rows, pool)
        scale = step + 1e-3 * abs(level) + 1e-9
        if t >= 3:  # before, there is no scale to learn in
            origin = (rows, mixture, reference.answer(mixture, pool_width, step), scale)
        expected = reference.answer(reference.blend(rows, reference.pool), reference.pool_width, step)
        spread = rows.max() - rows.min() + 1e-3
        np.testing.assert_allclose(
            forecaster.predict()[0, 0], expected, atol=2e-3 * spread, rtol=1e-4, err_msg=f"step {t}"
        )
    assert reference.learnt == 216
    assert len(LEVELS) == 7
