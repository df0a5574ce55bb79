"""Prophet (Taylor & Letham, The American Statistician 72(1), 2018; MIT) as a ``QuantileModel``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from foreshade.envs.extras import require
from foreshade.envs.forecast.classical.local_model import LocalModel
from foreshade.envs.forecast.learned.quantile_model import F64, QUANTILES, TICKS_PER_DAY

_MONDAY_EPOCH_S = 345_600  # 1970-01-05, a Monday


@dataclass(frozen=True, slots=True)
class ProphetLibrary:
    """A piecewise linear trend with daily and, from two weeks on, weekly seasons, as a ``SeriesLibrary``."""

    name: str = "prophet"
    shortest: int = 2 * TICKS_PER_DAY
    longest: int = 28 * TICKS_PER_DAY
    every: int = 3  # ticks per sample of the fit: four times as many samples cost four times as much
    n_draws: int = 200
    seed: int = 0

    def quantiles(self, samples: F64, n_steps: int, regressors: F64 | None, start_tick: int) -> F64:
        """See ``SeriesLibrary``; quantiles are those of ``n_draws`` drawn paths."""
        prophet = require("prophet", "classical", self.name)
        pandas = require("pandas", "classical", self.name)
        clock = _MONDAY_EPOCH_S + 300 * (start_tick + np.arange(len(samples) + n_steps))
        frame = pandas.DataFrame({"ds": pandas.to_datetime(clock, unit="s")})
        model = prophet.Prophet(
            daily_seasonality=True,
            weekly_seasonality=len(samples) >= 14 * TICKS_PER_DAY,
            yearly_seasonality=False,
            uncertainty_samples=self.n_draws,
        )
        for column in range(0 if regressors is None else regressors.shape[1]):
            frame[f"r{column}"] = regressors[:, column]  # type: ignore[index]
            model.add_regressor(f"r{column}")
        past = frame.iloc[: len(samples)].assign(y=samples)
        with _silent("prophet", "cmdstanpy"):
            model.fit(past.iloc[(len(samples) - 1) % self.every :: self.every], seed=self.seed)
        state = np.random.get_state()  # noqa: NPY002  Prophet draws from NumPy's global generator
        try:
            np.random.seed(self.seed)  # noqa: NPY002
            drawn = model.predictive_samples(frame.iloc[len(samples) :])["yhat"]
        finally:
            np.random.set_state(state)  # noqa: NPY002
        return np.quantile(np.asarray(drawn, np.float64), QUANTILES, axis=1).T


@contextmanager
def _silent(*names: str) -> Iterator[None]:
    """Without these loggers, which announce every fit on the screen."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.disabled for logger in loggers]
    try:
        for logger in loggers:
            logger.disabled = True
        yield
    finally:
        for logger, was in zip(loggers, before, strict=True):
            logger.disabled = was


def prophet_model() -> LocalModel:
    """Prophet, fitted to each series anew; about a second each."""
    return LocalModel(ProphetLibrary())
