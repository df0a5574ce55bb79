"""Announced events as priors of an application's forecasts: in tables, and where forecasts are made of what is seen.

While an event runs the engine is shown the load divided by the event's factor, and what it says of a tick in an event
is multiplied, level by level, with the quantiles of the factor, as ``foreshade.envs.forecast.informed`` does for one
forecaster. It is the load that an event multiplies: CPU, disk and network. Memory is left alone, it follows the load
in a way of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import InputError
from foreshade.envs.forecast.event import ScheduledEvent

F32 = npt.NDArray[np.float32]
_LOAD = np.array([0, 2, 3])  # CPU, disk, network
_95 = 2 * 1.959964  # standard deviations between the outermost levels


@dataclass(frozen=True, slots=True)
class _Bound:
    """An event in ticks and rows."""

    first: int
    end: int  # exclusive
    rows: npt.NDArray[np.int64]
    event: ScheduledEvent


class Announced:
    """Events bound to the rows of a forecast and to its clock.

    Args:
        events: that were announced.
        names: of the applications, as events name them.
        series: (n_apps,) the row of each application; rows that several share are left to the engine.
        start_epoch_s: Unix time at which tick 0 begins.
        tick_s: length of a tick.

    Raises:
        InputError: an event names an application that is not there.

    """

    def __init__(
        self,
        events: Sequence[ScheduledEvent],
        names: Sequence[str],
        series: npt.NDArray[np.int32],
        start_epoch_s: float,
        tick_s: float,
    ) -> None:
        row = {name: int(series[app]) for app, name in enumerate(names)}
        alone = {r for r, n in zip(*np.unique(series, return_counts=True), strict=True) if n == 1}
        self._bound: list[_Bound] = []
        for event in events:
            unknown = sorted(set(event.series) - row.keys())
            if unknown:
                raise InputError(
                    f"events: expected applications of the workload, found {', '.join(unknown[:3])}; "
                    f"there are {', '.join(list(names)[:3])}, …"
                )
            rows = sorted({row[name] for name in event.series or names} & alone)
            first, end = ((at - start_epoch_s) / tick_s for at in (event.start_s, event.end_s))
            self._bound.append(
                _Bound(int(np.floor(first)), int(np.ceil(end)), np.array(rows, np.int64), event)
            )

    def __bool__(self) -> bool:
        """Whether there is any event."""
        return bool(self._bound)

    def calm(self, load: F32, tick: int) -> F32:
        """(n_rows, 4) the load of a tick without what events do to it; NaN where one silences it."""
        out = load
        for one in self._bound:
            if one.first <= tick < one.end:
                out = out.copy() if out is load else out
                out[np.ix_(one.rows, _LOAD)] /= np.float32(one.event.divisor)
        return out

    def show(self, moments: F32, quantiles: F32 | None, tick: int, horizons: Sequence[int]) -> None:
        """Put the events into forecasts that know the ticks before ``tick``, in place.

        Args:
            moments: (n_horizons, n_rows, 4, 2) mean and standard deviation.
            quantiles: (n_rows, 4, n_horizons, 7), or none.
            tick: the first that has not been seen.
            horizons: ticks; one of h is about tick + h - 1.

        """
        for place, horizon in enumerate(horizons):
            target = tick + horizon - 1
            for one in self._bound:
                if not one.first <= target < one.end:
                    continue
                event = one.event
                spread = np.float32((event.high - event.low) / _95)
                at = np.ix_(one.rows, _LOAD)
                mean, deviation = moments[place][..., 0][at], moments[place][..., 1][at]
                moments[place][..., 1][at] = np.hypot(deviation * np.float32(event.factor), mean * spread)
                moments[place][..., 0][at] = mean * np.float32(event.factor)
                if quantiles is not None:
                    rows = quantiles[:, :, place]
                    rows[at] = rows[at] * event.factors
