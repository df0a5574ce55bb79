"""What ``Selection`` chooses from beside the engine: a seasonal naive, frozen models, models in rotation."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from foreshade.envs.errors import ForecastError
from foreshade.envs.forecast.classical.rotation import Rotation
from foreshade.envs.forecast.forecaster import LEVELS
from foreshade.envs.forecast.history import History
from foreshade.envs.forecast.learned.lag_features import LONGEST_CONTEXT, quantiles_of_rows
from foreshade.envs.forecast.learned.per_class import PerClass
from foreshade.envs.forecast.learned.quantile_model import F32, TICKS_PER_DAY, QuantileModel

_ROWS_AT_ONCE = 4096  # series whose past is copied out of the ring at a time


class Expert(Protocol):
    """Forecasts that may be absent. Whatever it keeps between ticks it adds, removes, saves and restores."""

    @property
    def name(self) -> str:
        """What it is called in reports."""
        ...

    @property
    def looks_back(self) -> int:
        """Samples of the past that it asks for."""
        ...

    def quantiles(self, history: History, horizons: Sequence[int]) -> F32:
        """``(n_series, len(horizons), 7)`` after the newest sample; rows of NaN where it does not vote."""
        ...

    def add(self, count: int) -> None:
        """Let so many series begin, after the others."""
        ...

    def remove(self, who: Sequence[int]) -> None:
        """Forget these series."""
        ...

    def save(self) -> bytes:
        """What it keeps."""
        ...

    def restore(self, state: bytes) -> None:
        """Continue from ``save``."""
        ...


class KeepsNothing:
    """Of an expert with nothing to keep between ticks."""

    def add(self, count: int) -> None:
        """Nothing is kept by series."""

    def remove(self, who: Sequence[int]) -> None:
        """Nothing is kept by series."""

    def save(self) -> bytes:
        """Nothing."""
        return b""

    def restore(self, state: bytes) -> None:
        """Nothing to continue from."""


class KeepsPaths:
    """Of an expert whose series take turns in a rotation, which keeps the path that each was last given."""

    looks_back = LONGEST_CONTEXT

    def __init__(self, name: str, rotation: Rotation) -> None:
        self._name, self._rotation = name, rotation

    @property
    def name(self) -> str:
        """As given."""
        return self._name

    def add(self, count: int) -> None:
        """Let so many series begin."""
        self._rotation.add(count)

    def remove(self, who: Sequence[int]) -> None:
        """Forget these series."""
        self._rotation.remove(who)

    def save(self) -> bytes:
        """The paths and the order of turns."""
        return self._rotation.save()

    def restore(self, state: bytes) -> None:
        """Continue from ``save``."""
        self._rotation.restore(state)


class SeasonalExpert(KeepsNothing):
    """The value of a day before, with the quantiles of what such a forecast missed in the last week.

    Of the week every seventh sample is looked at: as many as a day has, and they meet every time of day.
    """

    name = "seasonal"
    looks_back = 8 * TICKS_PER_DAY
    _EVERY = 7
    _FEWEST = 24  # errors below which nothing is said

    def quantiles(self, history: History, horizons: Sequence[int]) -> F32:
        """See ``Expert``."""
        out = np.full((len(history), len(horizons), len(LEVELS)), np.nan, np.float32)
        for first in range(0, len(history), _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            past = history.rows(rows)[:, ::-1]  # the newest first
            if past.shape[1] <= TICKS_PER_DAY:
                continue
            now = past[:, : past.shape[1] - TICKS_PER_DAY : self._EVERY]
            before = past[:, TICKS_PER_DAY :: self._EVERY]
            errors = now - before[:, : now.shape[1]]
            spread = np.stack(quantiles_of_rows(errors, LEVELS), axis=1)
            spread[np.isfinite(errors).sum(axis=1) < self._FEWEST] = np.nan
            for place, horizon in enumerate(horizons):
                if horizon <= TICKS_PER_DAY:
                    point = past[:, TICKS_PER_DAY - horizon, None]
                    out[rows, place] = np.maximum(point + spread, 0)
        return out


class LearnedExpert:
    """A frozen ``QuantileModel``, or one per class of series.

    Args:
        name: what it is called.
        model: trained for every horizon that it is asked for.
        start_tick: ticks since a Monday at midnight at the first sample of all series.
        regressors: (n_ticks, n_regressors) from the first sample on, as far ahead as is ever asked; None =
        none. asleep: ticks from, to (exclusive) in which it does not vote: the past that it was trained on,
        where
            its errors would flatter it.
        classes: of each series, for a ``PerClass``; series that are added later have none.

    Raises:
        ForecastError: classes without models per class, or models per class without.

    """

    looks_back = LONGEST_CONTEXT

    def __init__(
        self,
        name: str,
        model: QuantileModel | PerClass[Any],
        *,
        start_tick: int = 0,
        regressors: F32 | None = None,
        asleep: Sequence[tuple[int, int]] = (),
        classes: Sequence[str] | None = None,
    ) -> None:
        if isinstance(model, PerClass) != (classes is not None):
            raise ForecastError(
                f"{name}: expected classes of the series with models per class, and only then"
            )
        self._name = name
        self._model = model
        self._start_tick = start_tick
        self._regressors = regressors
        self._asleep = tuple(asleep)
        self._classes = list(classes or ())

    @property
    def name(self) -> str:
        """As given."""
        return self._name

    def quantiles(self, history: History, horizons: Sequence[int]) -> F32:
        """See ``Expert``.

        Raises:
            ForecastError: the regressors end before the last horizon.

        """
        out = np.full((len(history), len(horizons), len(LEVELS)), np.nan, np.float32)
        now = history.clock - 1
        if any(begin - max(horizons) <= now < end for begin, end in self._asleep):
            return out
        for first in range(0, len(history), _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            out[rows] = self._say(history.rows(rows), horizons, history.first_tick, rows)
        return out

    def after(self, samples: F32, horizons: Sequence[int]) -> F32:
        """As ``quantiles``, after ``(n_series, n_ticks)`` samples from the first one on, asleep or not."""
        first_tick = max(samples.shape[1] - self.looks_back, 0)
        return self._say(samples[:, first_tick:], horizons, first_tick, slice(None))

    def _say(self, past: F32, horizons: Sequence[int], first_tick: int, rows: slice) -> F32:
        start = self._start_tick + first_tick
        ahead = self._ahead(first_tick, first_tick + past.shape[1] + max(horizons))
        if isinstance(self._model, PerClass):
            answer = self._model.predict(
                past, self._classes[rows], tuple(horizons), start_tick=start, regressors=ahead
            )
        else:
            answer = self._model.predict(past, tuple(horizons), start_tick=start, regressors=ahead)
        answer[~np.isfinite(past).any(axis=1)] = np.nan
        return answer

    def _ahead(self, first_tick: int, past_tick: int) -> F32 | None:
        if self._regressors is None:
            return None
        if len(self._regressors) < past_tick:
            raise ForecastError(
                f"{self._name}: regressors: expected {past_tick} ticks from the first sample on, "
                f"got {len(self._regressors)}"
            )
        return self._regressors[first_tick:past_tick]

    def add(self, count: int) -> None:
        """Let so many series without a class begin."""
        if isinstance(self._model, PerClass):
            self._classes += [""] * count

    def remove(self, who: Sequence[int]) -> None:
        """Forget the classes of these series."""
        gone = set(who)
        self._classes = [name for i, name in enumerate(self._classes) if i not in gone]

    def save(self) -> bytes:
        """The classes."""
        return json.dumps(self._classes).encode()

    def restore(self, state: bytes) -> None:
        """Continue from ``save``."""
        self._classes = [str(name) for name in json.loads(state)]


class RotatedExpert(KeepsPaths):
    """A model that is fitted to a few series a tick; the others hear what it said of them last, or nothing.

    Args:
        name: what it is called.
        rotation: whose turn it is.
        model: fitted to one series anew, such as a ``LocalModel``.
        value: what each series matters, ``(n_series,)``; its mean demand of the last day unless given.
        start_tick: ticks since a Monday at midnight at the first sample.

    """

    def __init__(
        self,
        name: str,
        rotation: Rotation,
        model: QuantileModel,
        *,
        value: Callable[[History], F32] | None = None,
        start_tick: int = 0,
    ) -> None:
        super().__init__(name, rotation)
        self._model = model
        self._value = value or mean_of_day
        self._start_tick = start_tick
        self._turned_at = -1

    def quantiles(self, history: History, horizons: Sequence[int]) -> F32:
        """See ``Expert``; the first question of a tick spends the rotation's budget."""
        tick = history.clock - 1
        if tick != self._turned_at:
            self._turned_at = tick
            start = self._start_tick + history.first_tick
            steps = range(1, self._rotation.n_steps + 1)

            def path_of(series: int) -> F32:
                past = history.rows(slice(series, series + 1))
                path: F32 = self._model.predict(past, steps, start_tick=start)[0]
                return path

            self._rotation.turn(tick, self._value(history).astype(np.float64), path_of)
        return self._rotation.read(tick, horizons)

    def restore(self, state: bytes) -> None:
        """Continue from ``save``."""
        super().restore(state)
        self._turned_at = -1


def mean_of_day(history: History) -> F32:
    """``(n_series,)`` mean of the last day's samples, 0 where there is none."""
    out = np.zeros(len(history), np.float32)
    for first in range(0, len(history), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        day = history.rows(rows)[:, -TICKS_PER_DAY:]
        known = np.isfinite(day)
        out[rows] = np.where(known, day, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return out
