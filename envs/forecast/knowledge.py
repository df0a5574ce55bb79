"""What people know and series do not show: scheduled events, and which days are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import InputError
from foreshade.envs.forecast.event import ScheduledEvent
from foreshade.envs.forecast.learned.regressors import (
    RegressorClock,
    calendar,
    number_column,
    read_csv,
    seconds_column,
)

I64 = npt.NDArray[np.int64]
_COLUMNS = ("time", "end", "factor", "low", "high", "series")


def scheduled_events(path: str | Path) -> tuple[ScheduledEvent, ...]:
    """Read a csv: ``time`` and ``end`` (ISO 8601, UTC unless it says otherwise, or Unix seconds), ``factor``.

    Optional columns: ``low`` and ``high`` (the factor where absent) and ``series`` (names with ``;`` between
    them; empty = all).

    Raises:
        InputError: a column or cell that cannot be used; the line is named.

    """
    frame, start = read_csv(path, rising=False)
    for name in ("end", "factor"):
        if name not in frame.columns:
            raise InputError(f"{path}: missing column {name!r}")
    for name in frame.columns:
        if name not in _COLUMNS:
            raise InputError(f"{path}: unknown column {name!r}; known are {', '.join(_COLUMNS)}")
    end, factor = seconds_column(frame["end"], path), number_column(frame, "factor", path)
    low = number_column(frame, "low", path) if "low" in frame.columns else factor
    high = number_column(frame, "high", path) if "high" in frame.columns else factor
    texts = frame["series"].to_list() if "series" in frame.columns else [None] * frame.height
    found = []
    for row, text in enumerate(texts):
        names = tuple(name.strip() for name in str(text or "").split(";") if name.strip())
        try:
            found.append(
                ScheduledEvent(
                    float(start[row]),
                    float(end[row]),
                    float(factor[row]),
                    float(low[row]),
                    float(high[row]),
                    names,
                )
            )
        except InputError as error:
            raise InputError(f"{path}: line {row + 2}: {error}") from error
    return tuple(found)


@dataclass(frozen=True, slots=True)
class DayTypes:
    """A type for every local day: days of one type are alike. Days outside are of type ``day of week``."""

    first_day: int  # days since 1970-01-01
    types: I64  # (n_days,)
    utc_offset_s: int = 0

    def of(self, epoch_s: float) -> int:
        """Type of the local day of an instant; by the weekday alone outside the calendar."""
        day = int((epoch_s + self.utc_offset_s) // 86_400)
        place = day - self.first_day
        if 0 <= place < len(self.types):
            return int(self.types[place])
        return int((day + 3) % 7 >= 5)  # day 0 was a Thursday


def day_types(
    country: str, subdivision: str | None, start_s: float, end_s: float, utc_offset_s: int = 0
) -> DayTypes:
    """Working days are type 0, all others type 1: weekends and holidays.

    Raises:
        InputError: a country that the package holidays does not know, or an end before the start.
        MissingExtraError: that package is not installed.

    """
    if not end_s > start_s:
        raise InputError(f"day types: expected an end after the start, got {start_s} to {end_s}")
    first = int((start_s + utc_offset_s) // 86_400)
    n_days = int((end_s + utc_offset_s) // 86_400) - first + 1
    clock = RegressorClock(first * 86_400 - utc_offset_s, 86_400, n_days, utc_offset_s)
    found = calendar(clock, country, subdivision)
    working = found.values[:, found.names.index("working")]
    return DayTypes(first, (working == 0).astype(np.int64), utc_offset_s)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """All that is known from outside."""

    events: Sequence[ScheduledEvent] = ()
    days: DayTypes | None = None
