"""Bounds for forecasts of models whose intervals may explode, and what takes their place where they fail.

**The rule.** Let ``lo`` and ``hi`` be the smallest and largest sample of the last week of the context and
``r`` their difference. Every quantile is held inside ``[lo - r / 2, hi + r / 2]``, and at or above 0 where
the context never was negative. A trend may so leave what was seen by half its range within a day, and an
exponential-smoothing model whose variance grows without limit (the explosive classes of Hyndman et al.,
"Forecasting with Exponential Smoothing", chapter 15) is cut. A constant series has ``r = 0``: its forecast
is that constant.
"""

from __future__ import annotations

import numpy as np

from foreshade.envs.forecast.learned.quantile_model import F32, F64, QUANTILES, TICKS_PER_DAY

_WINDOW = 7 * TICKS_PER_DAY
_SLACK = 0.5


def bounded(quantiles: F64, context: F64) -> tuple[F64, bool]:
    """Hold (n_horizons, 7) quantiles of one series inside the rule; says whether anything was cut.

    ``context`` (n_ticks,) needs at least one sample.
    """
    low, high = limits(context)
    held = np.clip(quantiles, low, high)
    return held, bool((held != quantiles).any())


def limits(context: F64) -> tuple[float, float]:
    """Lowest and highest value that the rule allows after ``context``."""
    recent = context[-_WINDOW:]
    known = recent[np.isfinite(recent)]
    if known.size == 0:
        known = context[np.isfinite(context)]
    low, high = float(known.min()), float(known.max())
    slack = _SLACK * (high - low)
    bottom = low - slack
    if not bool((context < 0).any()):
        bottom = max(bottom, 0.0)
    return bottom, high + slack


def day_quantiles(context: F64, n_horizons: int) -> F64:
    """(n_horizons, 7) quantiles of the last day with a sample: what is forecast where a model fails."""
    recent = context[-TICKS_PER_DAY:]
    known = recent[np.isfinite(recent)]
    if known.size == 0:
        known = context[np.isfinite(context)]
    return np.tile(np.quantile(known, QUANTILES), (n_horizons, 1))


def without_gaps(context: F64) -> F64:
    """Straight lines across gaps, the nearest sample at the ends: the libraries take no gaps."""
    known = np.flatnonzero(np.isfinite(context))
    return np.interp(np.arange(len(context)), known, context[known])


def as_rows(context: F32) -> F64:
    """Double precision, as the libraries want it."""
    return np.asarray(context, np.float64)
