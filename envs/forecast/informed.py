"""A forecaster that is told what people know: a wrapper around any other.

**Scheduled events.** While an event runs, the forecaster behind is shown demand divided by the event's
factor, so that neither its levels nor its days remember what will not return; what it says of an instant in
an event is multiplied, level by level, with the quantiles of the factor. Quantiles of both are multiplied in
order, as if both erred the same way: never narrower than either. An event that fails to have its effect
corrects itself while it runs, as it was divided out before.

**Day types.** Where the target falls on a day of another type than the origin's (the evening before a
holiday, a Friday for the day ahead), the samples of former days of the target's type around its time of day
are one more expert in a ``Selection`` with the forecaster behind. It has no voice elsewhere, and so its
record is that of such targets alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import ForecastError
from foreshade.envs.forecast.event import ScheduledEvent
from foreshade.envs.forecast.forecaster import LEVELS, Forecaster
from foreshade.envs.forecast.history import History
from foreshade.envs.forecast.knowledge import DayTypes, Knowledge
from foreshade.envs.forecast.learned.lag_features import quantiles_of_rows
from foreshade.envs.forecast.selection import Selection

F32 = npt.NDArray[np.float32]


class Informed:
    """See the module; a ``Forecaster``.

    Args:
        forecaster: a new one; it must not be used on its own from here on.
        knowledge: events and day types.
        names: of the series, as events name them.
        start_epoch_s: Unix time of the first sample.
        step_s: length of a tick.

    Raises:
        ForecastError: names and series differ in number, or an event names a series that is not there.

    """

    def __init__(
        self,
        forecaster: Forecaster,
        knowledge: Knowledge,
        names: Sequence[str],
        start_epoch_s: float,
        step_s: float = 300.0,
    ) -> None:
        if len(names) != len(forecaster) or step_s <= 0:
            raise ForecastError(
                f"informed: expected {len(forecaster)} names and a step above 0, got {len(names)} and "
                f"{step_s}"
            )
        unknown = {name for event in knowledge.events for name in event.series} - set(names)
        if unknown:
            raise ForecastError(
                f"informed: an event names series that are not there: {', '.join(sorted(unknown))}"
            )
        self._names = list(names)
        self._knowledge = knowledge
        self._start_s, self._step_s = float(start_epoch_s), float(step_s)
        self._clock = 0
        self._inner = forecaster
        if knowledge.days is not None:
            self._inner = Selection(forecaster, [DayProfile(knowledge.days, start_epoch_s, step_s)])

    def __len__(self) -> int:
        """Number of series."""
        return len(self._names)

    @property
    def horizons(self) -> Sequence[int]:
        """Steps ahead, ascending."""
        return self._inner.horizons

    @property
    def rejected(self) -> Mapping[str, int]:
        """Samples that were not used; those of a series that an event silences are ``missing``."""
        return self._inner.rejected

    def observe(self, samples: F32) -> None:
        """See ``Forecaster``."""
        block = np.asarray(samples, np.float32)
        block = block[:, None] if block.ndim == 1 else block
        if block.ndim != 2 or len(block) != len(self):
            raise ForecastError(f"informed: expected samples of {len(self)} series, got shape {block.shape}")
        calm = block.copy()
        for column in range(block.shape[1]):
            for event in self._running(self._clock + column):
                who = self._who(event)
                calm[who, column] = calm[who, column] / np.float32(event.divisor)
        self._inner.observe(calm)
        self._clock += block.shape[1]

    def predict(self) -> F32:
        """``(n_series, n_horizons, 7) float32``."""
        out = self._inner.predict().copy()
        for place, horizon in enumerate(self.horizons):
            for event in self._running(self._clock - 1 + horizon):
                who = self._who(event)
                out[who, place] = out[who, place] * event.factors
        return out

    def add(self, count: int) -> None:
        """Let so many series begin, after the others; only events for all series reach them."""
        self._inner.add(count)
        self._names += [""] * count

    def remove(self, who: Sequence[int]) -> None:
        """Forget these series; the others keep their order."""
        self._inner.remove(who)
        gone = set(who)
        self._names = [name for i, name in enumerate(self._names) if i not in gone]

    def save(self) -> bytes:
        """Everything learnt; what is known from outside and the names are not part of it."""
        return self._clock.to_bytes(8, "little") + self._inner.save()

    def restore(self, state: bytes) -> None:
        """Continue from ``save``.

        Raises:
            ForecastError: the state is of another configuration.

        """
        self._inner.restore(state[8:])
        self._clock = int.from_bytes(state[:8], "little")

    def _running(self, tick: int) -> list[ScheduledEvent]:
        now_s = self._start_s + tick * self._step_s
        return [event for event in self._knowledge.events if event.start_s <= now_s < event.end_s]

    def _who(self, event: ScheduledEvent) -> npt.NDArray[np.int64]:
        if not event.series:
            return np.arange(len(self))
        return np.array([i for i, name in enumerate(self._names) if name in event.series], np.int64)


class DayProfile:
    """An ``Expert``: the samples of former days of the target's type, within half an hour of its time."""

    name = "day_type"
    _DAYS = 15  # two weekends, whatever the weekday
    _FEWEST = 8  # samples below which nothing is said: two days of a type, with gaps

    def __init__(self, days: DayTypes, start_epoch_s: float, step_s: float = 300.0) -> None:
        self._days, self._start_s, self._step_s = days, float(start_epoch_s), float(step_s)
        self._per_day = round(86_400 / step_s)
        self._around = [round(minute * 60 / step_s) for minute in (-30, -15, 0, 15, 30)]

    @property
    def looks_back(self) -> int:
        """A little over two weeks."""
        return self._DAYS * self._per_day

    def quantiles(self, history: History, horizons: Sequence[int]) -> F32:
        """See ``Expert``."""
        out = np.full((len(history), len(horizons), len(LEVELS)), np.nan, np.float32)
        now = history.clock - 1
        for place, horizon in enumerate(horizons):
            wanted = self._type(now + horizon)
            if wanted == self._type(now):
                continue
            former = [
                now + horizon - day * self._per_day
                for day in range(1, self._DAYS + 1)
                if self._type(now + horizon - day * self._per_day) == wanted
            ]
            ticks = [tick + around for tick in former for around in self._around]
            ticks = [tick for tick in ticks if history.first_tick <= tick <= now]
            if len(ticks) < self._FEWEST:
                continue
            values = history.at(np.array(ticks))
            said = np.stack(quantiles_of_rows(values, LEVELS), axis=1)
            said[np.isfinite(values).sum(axis=1) < self._FEWEST] = np.nan
            out[:, place] = said
        return out

    def _type(self, tick: int) -> int:
        return self._days.of(self._start_s + tick * self._step_s)

    def add(self, count: int) -> None:
        """Nothing is kept."""

    def remove(self, who: Sequence[int]) -> None:
        """Nothing is kept."""

    def save(self) -> bytes:
        """Nothing."""
        return b""

    def restore(self, state: bytes) -> None:
        """Nothing to continue from."""
