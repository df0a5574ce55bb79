"""A model that is fitted to each series anew: what all of them share, and what they may fail at.

``LocalModel`` is a ``QuantileModel`` whose ``fit`` has nothing to learn across series; a library fits one
series and gives quantiles of its path. What it throws, leaves undefined or lets explode is mended here, and
counted.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from foreshade.envs.errors import InputError, MissingExtraError
from foreshade.envs.forecast.classical.bounds import as_rows, bounded, day_quantiles, without_gaps
from foreshade.envs.forecast.learned.quantile_model import (
    DEFAULT_HORIZONS,
    F32,
    F64,
    I64,
    QUANTILES,
    check_context,
    settle,
)


@dataclass(frozen=True, slots=True)
class LocalReport:
    """What happened in one call of ``predict``."""

    n_series: int
    failed: int  # the library threw or gave no finite answer: quantiles of the last day instead
    too_short: int  # too few samples to fit: quantiles of the last day instead
    cut: int  # some quantile left the bounds and was cut
    cpu_s: float


class SeriesLibrary(Protocol):
    """Fits one series and forecasts its next steps."""

    @property
    def name(self) -> str:
        """The model's name."""
        ...

    @property
    def shortest(self) -> int:
        """Samples that it needs."""
        ...

    @property
    def longest(self) -> int:
        """Samples that it is given at most; more cost time and add little."""
        ...

    def quantiles(self, samples: F64, n_steps: int, regressors: F64 | None, start_tick: int) -> F64:
        """(n_steps, 7) quantiles of what follows ``samples`` (n_ticks,), which have no gaps.

        ``regressors`` (n_ticks + n_steps, n_regressors) cover both. Whatever it raises is a failure of this
        series alone, except ``MissingExtraError``.
        """
        ...


class LocalModel:
    """A ``QuantileModel`` around a library."""

    def __init__(self, library: SeriesLibrary, cpu_clock: Callable[[], float] = time.process_time) -> None:
        self._library = library
        self._cpu_clock = cpu_clock
        self._report = LocalReport(0, 0, 0, 0, 0.0)

    @property
    def name(self) -> str:
        """The library's model."""
        return self._library.name

    @property
    def report(self) -> LocalReport:
        """Of the last call of ``predict``."""
        return self._report

    def fit(self, history: F32, *, start_tick: int | I64 = 0, regressors: F32 | None = None) -> None:
        """Check the shape; there is nothing to learn before the series at hand is seen."""
        del start_tick, regressors
        if history.ndim != 2:
            raise InputError(f"{self.name}: history: expected (n_series, n_ticks), got {history.shape}")

    def predict(
        self,
        context: F32,
        horizons: Sequence[int] = DEFAULT_HORIZONS,
        *,
        start_tick: int | I64 = 0,
        regressors: F32 | None = None,
    ) -> F32:
        """See ``QuantileModel``; every series costs a fit.

        Raises:
            InputError: a context or horizon that cannot be.
            MissingExtraError: the library is not installed.

        """
        check_context(context, horizons, None, self.name)
        began = self._cpu_clock()
        n_ticks, n_steps = context.shape[1], max(horizons)
        start = np.broadcast_to(np.asarray(start_tick), (len(context),))
        cut = max(n_ticks - self._library.longest, 0)
        ahead = None if regressors is None else as_rows(regressors[cut : n_ticks + n_steps])
        steps = [h - 1 for h in horizons]
        raw = np.zeros((len(context), len(horizons), len(QUANTILES)))
        counts = {"failed": 0, "too_short": 0, "cut": 0}
        for row, series in enumerate(as_rows(context)):
            known = np.isfinite(series[cut:])
            if not np.isfinite(series).any():
                continue  # nothing was ever seen: ``settle`` gives the defined answer
            if int(known.sum()) < self._library.shortest:
                counts["too_short"] += 1
                raw[row] = day_quantiles(series, len(horizons))
                continue
            path = self._path(without_gaps(series[cut:]), n_steps, ahead, int(start[row]) + cut)
            if path is None:
                counts["failed"] += 1
                raw[row] = day_quantiles(series, len(horizons))
                continue
            raw[row], was_cut = bounded(path[steps], series)
            counts["cut"] += was_cut
        self._report = LocalReport(len(context), **counts, cpu_s=self._cpu_clock() - began)
        return settle(raw, context)

    def _path(self, samples: F64, n_steps: int, regressors: F64 | None, start_tick: int) -> F64 | None:
        if samples.min() == samples.max():  # constant: the libraries differ in how they fail at it
            return np.full((n_steps, len(QUANTILES)), samples[-1])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # convergence and deprecations inside the libraries
                path = self._library.quantiles(samples, n_steps, regressors, start_tick)
        except MissingExtraError:
            raise
        except Exception:
            return None
        return path if path.shape == (n_steps, len(QUANTILES)) and bool(np.isfinite(path).all()) else None
