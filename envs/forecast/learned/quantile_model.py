"""The small port that every trained or classical forecasting model implements, and its promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import InputError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Source = str | Mapping[str, Any]  #: what a model was trained on, in words or as JSON values

QUANTILES = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
#: Steps ahead that are asked for unless configured: 5 min, 15 min, 1 h, 1 day at 300 s.
DEFAULT_HORIZONS = (1, 3, 12, 288)
TICKS_PER_DAY = 288


class QuantileModel(Protocol):
    """Quantiles of many series at several horizons.

    Series are rows, ticks are columns, NaN is a sample that is missing. ``start_tick`` says where the first
    column stands: ticks since a Monday at midnight, one number or one per series.
    """

    def fit(self, history: F32, *, start_tick: int | I64 = 0, regressors: F32 | None = None) -> None:
        """Learn from ``history`` (n_series, n_ticks).

        ``regressors`` (n_ticks, n_regressors) are known ahead of time, such as a calendar. Fitting again
        forgets what was learned before. Raises ``InputError`` where there is too little to learn from.
        """
        ...

    def predict(
        self,
        context: F32,
        horizons: Sequence[int] = DEFAULT_HORIZONS,
        *,
        start_tick: int | I64 = 0,
        regressors: F32 | None = None,
    ) -> F32:
        """Forecast what follows ``context`` (n_series, n_ticks).

        ``regressors`` (n_ticks + max(horizons), n_regressors) reach past the context. The answer is
        ``(n_series, len(horizons), 7) float32``: finite, never falling along ``QUANTILES``, and not negative
        where the series never was. A series without one sample gets zeros: whoever knows better (a class, a
        template) must say so. Raises ``InputError`` for a horizon that it was not trained for.
        """
        ...


def settle(quantiles: npt.NDArray[np.floating], context: F32) -> F32:
    """Make raw quantiles keep the promises of ``QuantileModel.predict``.

    Crossed quantiles are sorted, which never increases the pinball loss (Chernozhukov, Fernández-Val &
    Galichon, Econometrica 78(3), 2010).
    """
    answer = np.sort(np.nan_to_num(quantiles, nan=0.0, posinf=0.0, neginf=0.0), axis=-1)
    positive = ~(context < 0).any(axis=1)
    answer[positive] = np.maximum(answer[positive], 0)
    answer[~np.isfinite(context).any(axis=1)] = 0
    return np.asarray(answer, np.float32)


def check_context(context: F32, horizons: Sequence[int], trained: Sequence[int] | None, model: str) -> None:
    """Reject what cannot be forecast.

    Raises:
        InputError: the context is not (n_series, n_ticks) with a tick, or a horizon is below 1 or untrained.

    """
    if context.ndim != 2 or context.shape[1] == 0:
        raise InputError(f"{model}: context: expected (n_series, n_ticks) with a tick, got {context.shape}")
    for horizon in horizons:
        if horizon < 1 or (trained is not None and horizon not in trained):
            known = "1 or more" if trained is None else ", ".join(str(h) for h in trained)
            raise InputError(f"{model}: horizon: expected {known}, got {horizon}")


def mean_pinball(quantiles: F32, truth: F32) -> float:
    """Mean pinball loss over series and ``QUANTILES`` (Koenker & Bassett 1978); NaN is skipped.

    ``quantiles`` is (n, 7) and ``truth`` (n,), both in the unit of the answer.
    """
    error = truth[:, None].astype(np.float64) - quantiles
    level = np.array(QUANTILES)
    return float(np.nanmean(np.maximum(level * error, (level - 1) * error)))
