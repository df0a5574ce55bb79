"""Models that are fitted beside the tick: what a worker is asked, and experts that say what it found last.

A fit takes from a tenth of a second to minutes, and a tick has no time for it. So an expert hands a worker the
samples as they are, goes on saying what it knows, and takes the answer in whenever it comes:

    tick ── task of the next expert ──► worker fits ──► tick, some ticks later: read further along its path
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from foreshade.envs.forecast.classical.rotation import Rotation
from foreshade.envs.forecast.experts import Expert, KeepsNothing, KeepsPaths, LearnedExpert, mean_of_day
from foreshade.envs.forecast.forecaster import LEVELS
from foreshade.envs.forecast.history import History
from foreshade.envs.forecast.learned.lag_features import LONGEST_CONTEXT
from foreshade.envs.forecast.learned.quantile_model import F32, TICKS_PER_DAY, QuantileModel


@dataclass(frozen=True, slots=True)
class FitTask:
    """What a worker is asked to fit."""

    model: str  # by name: a classical one is fitted to each series, a learned one is trained on all
    tick: int  # of the newest sample
    series: tuple[int, ...]  # rows that ``past`` has
    past: F32  # (len(series), n_ticks), NaN = missing
    start_tick: int  # ticks since a Monday at midnight at the first column
    n_steps: int = 0  # of the path of each series; 0 = a model is trained
    horizons: tuple[int, ...] = ()  # that it is trained for
    number: int = 0  # tells tasks apart


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a worker found."""

    number: int  # of the task
    paths: F32 | None = None  # (n_series, n_steps, 7) quantiles from the tick after the task's on
    model: QuantileModel | None = None
    cpu_s: float = 0.0
    error: str = ""  # why there is neither, in one line


class Worker(Protocol):
    """Fits one task at a time, beside whoever asks. No call waits or raises."""

    def begin(self, task: FitTask) -> bool:
        """Begin it; False where another is under way or it may not begin now."""
        ...

    def take(self) -> Fitted | None:
        """What came of the task that was begun, once; None while it is under way."""
        ...


class Refit(Expert, Protocol):
    """An expert whose knowledge comes from a worker."""

    def task(self) -> FitTask | None:
        """What is to be fitted next; None = nothing now."""
        ...

    def settle(self, task: FitTask, found: Fitted) -> None:
        """Take in what came of it."""
        ...


class RefitPaths(KeepsPaths):
    """A classical model in rotation: each turn as many series as the budget holds; the others keep their path."""

    def __init__(self, model: str, rotation: Rotation, *, start_tick: int, least_ticks: int = 24) -> None:
        """``start_tick`` is that of the first sample; a series with fewer than ``least_ticks`` samples waits."""
        super().__init__(model, rotation)
        self._start_tick, self._least = start_tick, least_ticks
        self._history: History | None = None

    def quantiles(self, history: History, horizons: Sequence[int]) -> F32:
        """See ``Expert``: what was fitted last, read as of now."""
        self._history = history
        return self._rotation.read(history.clock - 1, horizons)

    def task(self) -> FitTask | None:
        """The series whose turn it is."""
        history = self._history
        if history is None or history.clock == 0:
            return None
        tick, past = history.clock - 1, history.rows(slice(None))
        enough = np.isfinite(past).sum(axis=1) >= self._least
        due = self._rotation.due(tick, mean_of_day(history).astype(np.float64), enough)
        if not due:
            return None
        start = self._start_tick + history.first_tick
        return FitTask(self._name, tick, tuple(due), past[due], start, n_steps=self._rotation.n_steps)

    def settle(self, task: FitTask, found: Fitted) -> None:
        """Keep the paths, as of the tick whose samples they were fitted to."""
        if found.paths is None:
            return
        for series, path in zip(task.series, found.paths, strict=True):
            self._rotation.keep(task.tick, series, path, found.cpu_s / len(task.series))


class RefitModel(KeepsNothing):
    """A learned model that is trained anew on what was seen of late; silent until it was trained once."""

    looks_back = LONGEST_CONTEXT

    def __init__(
        self,
        model: str,
        horizons: Sequence[int],
        *,
        start_tick: int,
        every_ticks: int = TICKS_PER_DAY,
        least_ticks: int = 2 * TICKS_PER_DAY,
    ) -> None:
        """``start_tick`` is that of the first sample; it is trained first once there are ``least_ticks`` of them."""
        self._name, self._horizons = model, tuple(horizons)
        self._start_tick, self._every, self._least = start_tick, every_ticks, least_ticks
        self._history: History | None = None
        self._asked_at: int | None = None
        self._known: tuple[LearnedExpert, tuple[int, ...]] | None = None

    @property
    def name(self) -> str:
        """The model's."""
        return self._name

    def quantiles(self, history: History, horizons: Sequence[int]) -> F32:
        """See ``Expert``: by the newest model, at the horizons that it was trained for."""
        self._history = history
        out = np.full((len(history), len(horizons), len(LEVELS)), np.nan, np.float32)
        if self._known is not None:
            expert, trained = self._known
            places = [place for place, horizon in enumerate(horizons) if horizon in trained]
            if places:
                out[:, places] = expert.quantiles(history, [horizons[place] for place in places])
        return out

    def task(self) -> FitTask | None:
        """Training on all series, where there is enough and it is time again."""
        history = self._history
        if history is None or history.clock < self._least:
            return None
        tick = history.clock - 1
        if self._asked_at is not None and tick - self._asked_at < self._every:
            return None
        past = history.rows(slice(None))
        known = np.flatnonzero(np.isfinite(past).any(axis=1))
        # An origin wants as much past as it looks ahead; beyond that there is nothing to learn a horizon from.
        horizons = tuple(horizon for horizon in self._horizons if 2 * horizon <= past.shape[1])
        if not known.size or not horizons:
            return None
        self._asked_at = tick
        start = self._start_tick + history.first_tick
        return FitTask(self._name, tick, tuple(known.tolist()), past[known], start, horizons=horizons)

    def settle(self, task: FitTask, found: Fitted) -> None:
        """The newer model speaks from now on; where there is none, the older one goes on."""
        if found.model is not None:
            self._known = LearnedExpert(self._name, found.model, start_tick=self._start_tick), task.horizons


class Refits:
    """Experts that take turns at one worker."""

    def __init__(self, worker: Worker, say: Callable[[str], None]) -> None:
        """``say`` hears a line where a fit came to nothing."""
        self._worker, self._say = worker, say
        self._waiting: list[Refit] = []
        self._asked: tuple[Refit, FitTask] | None = None
        self._number = 0
        self.fits = 0  # that ended well

    def join(self, experts: Sequence[Refit]) -> None:
        """These take turns from now on, and no others: what is under way for another is dropped when it comes."""
        self._waiting = list(experts)

    def turn(self) -> None:
        """Once a tick: take in what was found, and give the worker the next task."""
        found = self._worker.take()
        if found is not None and self._asked is not None and found.number == self._asked[1].number:
            expert, task = self._asked
            self._asked = None
            if found.error:
                self._say(f"{task.model}, {len(task.series)} series: {found.error}")
            elif expert in self._waiting:
                self.fits += 1
                expert.settle(task, found)
        if self._asked is not None:
            return
        for expert in list(self._waiting):
            self._waiting.append(self._waiting.pop(0))
            wanted = expert.task()
            if wanted is None:
                continue
            self._number += 1
            task = replace(wanted, number=self._number)
            if self._worker.begin(task):
                self._asked = expert, task
            return
