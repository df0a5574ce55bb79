"""ARIMA, exponential smoothing and multiple seasonality, by statsforecast (Nixtla, Apache-2.0)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from foreshade.envs.errors import InputError
from foreshade.envs.extras import require
from foreshade.envs.forecast.classical.local_model import LocalModel
from foreshade.envs.forecast.learned.quantile_model import F64, TICKS_PER_DAY

#: Central intervals that hold the quantiles .025 .1 .25 and .75 .9 .975.
_LEVELS = (95, 80, 50)
#: MSTL is fitted to every sixth sample: with weekly seasons its cost grows with the square of the rate.
_MSTL_EVERY = 6
_WEEK = 7 * TICKS_PER_DAY
_MONTH = 28 * TICKS_PER_DAY  # four whole weeks: a calendar month is no fixed number of ticks


@dataclass(frozen=True, slots=True)
class StatsLibrary:
    """One model of statsforecast, as a ``SeriesLibrary``."""

    name: str
    shortest: int
    longest: int
    build: Callable[[ModuleType, int], Any]  # the module and how many samples there are
    takes_regressors: bool = False
    every: int = 1  # ticks per sample of the fit

    def quantiles(self, samples: F64, n_steps: int, regressors: F64 | None, start_tick: int) -> F64:
        """See ``SeriesLibrary``; regressors go to the models that take them."""
        del start_tick  # seasons are found by period, not by the clock
        samples = samples[(len(samples) - 1) % self.every :: self.every]
        module = require("statsforecast.models", "classical", self.name)
        outside = {}
        if self.takes_regressors and regressors is not None:
            varying = regressors[:, np.ptp(regressors[: len(samples)], axis=0) > 0]  # a constant is collinear
            if varying.shape[1]:
                outside = {"X": varying[: len(samples)], "X_future": varying[len(samples) :]}
        found = self.build(module, len(samples)).forecast(
            y=samples, h=-(-n_steps // self.every), level=sorted(_LEVELS), **outside
        )
        columns = [
            *(found[f"lo-{level}"] for level in _LEVELS),
            found["mean"],
            *(found[f"hi-{level}"] for level in reversed(_LEVELS)),
        ]
        path = np.stack([np.asarray(column, np.float64) for column in columns], axis=1)
        # Steps between two samples of the fit lie on a line; before its first, the line starts at the newest
        # sample with the first one's spread.
        now = samples[-1] + path[:1] - path[:1, 3:4]
        given = self.every * np.arange(len(path) + 1)
        asked = np.arange(1, n_steps + 1)
        return np.stack([np.interp(asked, given, c) for c in np.concatenate([now, path]).T], axis=1)


def seasons(n_samples: int, every: int = 1) -> list[int]:
    """Daily, weekly and four-weekly periods, in samples, of which there are at least two."""
    periods = [period // every for period in (TICKS_PER_DAY, _WEEK, _MONTH)]
    return [period for period in periods if n_samples >= 2 * period]


def _arima(module: ModuleType, n_samples: int) -> Any:
    del n_samples  # a season of 288 is out of ARIMA's reach: MSTL is for that
    return module.AutoARIMA(season_length=1, max_p=3, max_q=2, max_order=4, approximation=True)


def _ets(module: ModuleType, n_samples: int) -> Any:
    del n_samples
    return module.AutoETS(season_length=1, model="ZZN", damped=True)


def _mstl(module: ModuleType, n_samples: int) -> Any:
    return module.MSTL(
        season_length=seasons(n_samples, _MSTL_EVERY),
        trend_forecaster=module.AutoETS(season_length=1, model="ZZN", damped=True),
    )


LIBRARIES = {
    "arima": StatsLibrary("arima", 24, TICKS_PER_DAY, _arima, takes_regressors=True),
    "ets": StatsLibrary("ets", 24, 2 * TICKS_PER_DAY, _ets),
    "mstl": StatsLibrary("mstl", 2 * TICKS_PER_DAY + 6, 2 * _MONTH, _mstl, every=_MSTL_EVERY),
}


def stats_model(name: str) -> LocalModel:
    """``arima`` (order by AICc, no season), ``ets`` (damped, no season) or ``mstl`` (Bandara et al. 2021).

    Raises:
        InputError: another name.

    """
    if name not in LIBRARIES:
        raise InputError(f"classical model: expected {', '.join(LIBRARIES)} or prophet, got {name!r}")
    return LocalModel(LIBRARIES[name])
