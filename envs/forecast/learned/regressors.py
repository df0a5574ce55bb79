"""Outside knowledge as regressor columns: calendars, business-cycle series, scheduled events.

Everything is laid on the workload's clock and reaches past its end, because what a model may use at a
target instant must be known before. A calendar and a schedule are; a measured series such as user activity
is not, so it is shifted by as many ticks as the longest horizon and enters as what was known by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from foreshade.envs.errors import InputError
from foreshade.envs.extras import require
from foreshade.envs.forecast.learned.quantile_model import F32, F64

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class RegressorClock:
    """The instants that regressors are wanted for."""

    start_epoch_s: int  # Unix time of the first tick
    tick_s: int
    n_ticks: int  # of history and of what is to be forecast after it
    utc_offset_s: int = 0  # of the users' local time: their working day, not Greenwich's

    def __post_init__(self) -> None:
        if self.tick_s <= 0 or self.n_ticks <= 0:
            raise InputError(
                f"regressor clock: expected tick_s and n_ticks above 0, got {self.tick_s} and {self.n_ticks}"
            )

    @property
    def epoch_s(self) -> F64:
        """(n_ticks,) Unix time of each tick."""
        return self.start_epoch_s + self.tick_s * np.arange(self.n_ticks, dtype=np.float64)

    @property
    def local_day(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """(n_ticks,) days since 1970-01-01 in local time."""
        return ((self.epoch_s + self.utc_offset_s) // _DAY_S).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Regressors:
    """Named columns on one clock."""

    names: tuple[str, ...]
    values: F32  # (n_ticks, n_regressors)

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.names):
            raise InputError(f"regressors: expected {len(self.names)} columns, got shape {self.values.shape}")
        if len(set(self.names)) < len(self.names):
            raise InputError(f"regressors: expected distinct names, got {', '.join(self.names)}")
        if not bool(np.isfinite(self.values).all()):
            raise InputError("regressors: expected finite values")


def join(parts: Sequence[Regressors]) -> Regressors:
    """All columns side by side.

    Raises:
        InputError: nothing to join, different clocks, or the same name twice.

    """
    if not parts or len({len(part.values) for part in parts}) > 1:
        raise InputError(f"regressors: expected parts of one length, got {[len(p.values) for p in parts]}")
    names = tuple(name for part in parts for name in part.names)
    return Regressors(names, np.concatenate([part.values for part in parts], axis=1))


def calendar(clock: RegressorClock, country: str, subdivision: str | None = None) -> Regressors:
    """``holiday``, ``eve``, ``morrow`` (the day after one), ``weekend``, ``working`` (none of these), 0 or 1.

    Args:
        clock: instants; days are local.
        country: ISO 3166-1 code that the package holidays knows, such as ``DE``.
        subdivision: ISO 3166-2 part, such as ``BY``.

    Raises:
        InputError: the country or subdivision is unknown.
        MissingExtraError: the package holidays is not installed.

    """
    holidays = require("holidays", "forecast", "a calendar of holidays")
    day = clock.local_day
    days = range(int(day[0]) - 1, int(day[-1]) + 2)
    years = {_date(d).year for d in (days[0], days[-1])}
    try:
        found = holidays.country_holidays(
            country, subdiv=subdivision, years=range(min(years), max(years) + 1)
        )
    except NotImplementedError as error:
        place = country if subdivision is None else f"{country}-{subdivision}"
        raise InputError(f"calendar: expected a country that holidays knows, got {place!r}") from error
    free = {d: float(_date(d) in found) for d in days}
    table = np.array([(free[d], free[d + 1], free[d - 1]) for d in day.tolist()], np.float32)
    weekend = (day + 3) % 7 >= 5  # day 0 was a Thursday
    working = (~weekend) & (table[:, 0] == 0)
    values = np.column_stack([table, weekend, working]).astype(np.float32)
    return Regressors(("holiday", "eve", "morrow", "weekend", "working"), values)


def series_from_csv(path: str | Path, clock: RegressorClock, known_after_ticks: int) -> Regressors:
    """Business-cycle or user-activity series: a column ``time`` and one column per series.

    ``time`` is ISO 8601 (UTC unless it says otherwise) or Unix seconds. Each series is scaled to mean 0 and
    deviation 1 over the clock. A sample holds until the next one; before the first, its series is 0.

    Args:
        path: the csv.
        clock: instants.
        known_after_ticks: 0 for a plan that is known ahead; for a measured series the longest horizon, so
            that the value at a target instant is one that was measured by the origin.

    Raises:
        InputError: no such file, no time column, a cell that is no number, or times that do not rise.

    """
    frame, seconds = read_csv(path)
    names = [name for name in frame.columns if name != "time"]
    if not names or known_after_ticks < 0:
        raise InputError(f"{path}: expected columns beside time and a delay of at least 0 ticks")
    table = np.stack([number_column(frame, name, path) for name in names], axis=1)
    return Regressors(tuple(names), held_columns(seconds, table, clock, known_after_ticks))


def held_columns(time_s: F64, values: F64, clock: RegressorClock, known_after_ticks: int) -> F32:
    """``(n_ticks, n_columns)`` measured columns on the clock, each of mean 0 and deviation 1 over it.

    ``time_s`` (n,) ascends; ``values`` (n, n_columns), NaN = not measured. A sample holds until the next one
    and is known ``known_after_ticks`` later; before the first one a column is 0.
    """
    columns = []
    for column in values.T:
        there = np.isfinite(column)
        time, known = time_s[there], column[there]
        at = np.searchsorted(time, clock.epoch_s - known_after_ticks * clock.tick_s, side="right") - 1
        held = np.full(clock.n_ticks, np.nan)
        held[at >= 0] = known[at[at >= 0]]
        seen = held[np.isfinite(held)]
        spread = float(seen.std()) if seen.size else 0.0
        centred = held - (float(seen.mean()) if seen.size else 0.0)
        columns.append(np.nan_to_num(centred / spread if spread > 0 else centred * 0))
    return np.stack(columns, axis=1).astype(np.float32)


def events(path: str | Path, clock: RegressorClock) -> Regressors:
    """Scheduled events: a csv with ``time`` (start), ``end``, and optionally ``kind`` and ``size``.

    One column per kind: the sum of the sizes (1 if absent) of the events that are running.

    Raises:
        InputError: as ``series_from_csv``; or an event ends before it starts.

    """
    frame, start = read_csv(path, rising=False)
    if "end" not in frame.columns:
        raise InputError(f"{path}: missing column 'end'")
    end = seconds_column(frame["end"], path)
    late = np.flatnonzero(end <= start)
    if late.size:
        raise InputError(f"{path}: line {int(late[0]) + 2}: end: expected after the start")
    size = number_column(frame, "size", path) if "size" in frame.columns else np.ones(len(start))
    kind = frame["kind"].cast(pl.String).to_list() if "kind" in frame.columns else ["event"] * len(start)
    kinds = sorted(set(kind))
    now = clock.epoch_s
    values = np.zeros((clock.n_ticks, len(kinds)), np.float32)
    for row, name in enumerate(kind):
        values[(now >= start[row]) & (now < end[row]), kinds.index(name)] += np.float32(size[row])
    return Regressors(tuple(f"event_{name}" for name in kinds), values)


def _date(day: int) -> date:
    return date(1970, 1, 1) + timedelta(days=day)


def read_csv(path: str | Path, *, rising: bool = True) -> tuple[pl.DataFrame, F64]:
    """A csv with a column ``time``, and those times in Unix seconds.

    Raises:
        InputError: no such file, no such column, no row, or times that do not rise.

    """
    try:
        frame = pl.read_csv(Path(path))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path}: expected a csv with a header ({error})") from error
    if "time" not in frame.columns or frame.height == 0:
        raise InputError(f"{path}: expected a column 'time' and a row, got {', '.join(frame.columns)}")
    seconds = seconds_column(frame["time"], path)
    back = np.flatnonzero(np.diff(seconds) <= 0)
    if rising and back.size:
        raise InputError(f"{path}: line {int(back[0]) + 3}: time: expected after the line before")
    return frame, seconds


def seconds_column(column: pl.Series, path: str | Path) -> F64:
    """Unix seconds of a column of ISO 8601 texts or numbers.

    Raises:
        InputError: a cell is neither; the line is named.

    """
    if column.dtype.is_numeric():
        return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    seconds = np.empty(len(column))
    for row, text in enumerate(column.cast(pl.String).to_list()):
        try:
            moment = datetime.fromisoformat(text or "")
        except ValueError as error:
            raise InputError(
                f"{path}: line {row + 2}: {column.name}: expected ISO 8601 or Unix seconds, got {text!r}"
            ) from error
        seconds[row] = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return seconds


def number_column(frame: pl.DataFrame, name: str, path: str | Path) -> F64:
    """A column of finite numbers.

    Raises:
        InputError: a cell is no number; the line is named.

    """
    column = frame[name].cast(pl.Float64, strict=False)
    bad = np.flatnonzero(~np.isfinite(column.fill_null(np.nan).to_numpy()))
    if bad.size:
        raise InputError(
            f"{path}: line {int(bad[0]) + 2}: {name}: expected a number, got {frame[name][int(bad[0])]!r}"
        )
    return column.to_numpy()
