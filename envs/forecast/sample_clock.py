"""From samples with time stamps of many clocks to the one grid that a forecaster is fed.

Interval ``i`` holds what was measured from ``start + i * step`` up to, not including, the next. It is open
until ``lag_s`` after its end, so that what comes late or out of order within that time still counts; then it
is closed, handed out once, and never changed. A series without a sample in it is NaN there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import ForecastError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
_REASONS = ("duplicate", "late", "early", "negative", "not_finite")


class SampleClock:
    """Collects samples until their interval closes. It reads no clock: ``close`` is told what time it is.

    Args:
        n_series: series that are measured.
        start_epoch_s: Unix time at which the first interval begins.
        step_s: length of an interval.
        lag_s: how long after its end an interval still takes samples.
        ahead: further intervals that samples may belong to already, as some hosts' clocks run fast.

    """

    def __init__(
        self, n_series: int, start_epoch_s: float, step_s: float = 300.0, lag_s: float = 30.0, ahead: int = 1
    ) -> None:
        if n_series < 0 or step_s <= 0 or lag_s < 0 or ahead < 0:
            raise ForecastError(
                "sample clock: expected n_series, lag_s and ahead of at least 0 and step_s above 0, got "
                f"{n_series}, {lag_s}, {ahead} and {step_s}"
            )
        self._start_s, self._step_s, self._lag_s = float(start_epoch_s), float(step_s), float(lag_s)
        # an interval may still wait for late samples while the next ones fill
        self._n_open = 1 + ahead + int(np.ceil(lag_s / step_s))
        self._first_open = 0
        self._value = np.full((n_series, self._n_open), np.nan, np.float32)
        self._stamp = np.full((n_series, self._n_open), -np.inf)
        self._counts = dict.fromkeys(_REASONS, 0)

    def __len__(self) -> int:
        """Number of series."""
        return len(self._value)

    @property
    def counts(self) -> Mapping[str, int]:
        """Samples that were not used, by reason.

        ``duplicate``: another of the same interval is newer; ``late``: its interval is closed; ``early``: its
        interval is too far ahead; ``negative`` and ``not_finite``: taken as missing.
        """
        return self._counts

    @property
    def next_tick(self) -> int:
        """The interval that is closed next; those before it are settled."""
        return self._first_open

    def add(
        self, series: Sequence[int] | I64, time_s: Sequence[float] | F64, values: Sequence[float] | F32
    ) -> None:
        """Take ``k`` samples in any order.

        Of several samples of one series in one interval the one with the newest time stamp stays, and of
        equal time stamps the one that came last.

        Raises:
            ForecastError: lengths differ, or a series does not exist; nothing is taken.

        """
        who = np.asarray(series, np.int64)
        stamp = np.asarray(time_s, np.float64)
        value = np.asarray(values, np.float64)
        if not (who.ndim == 1 and who.shape == stamp.shape == value.shape):
            raise ForecastError(
                f"sample clock: expected as many series, times and values, got {who.shape}, {stamp.shape} "
                f"and {value.shape}"
            )
        if who.size and not 0 <= who.min() <= who.max() < len(self):
            raise ForecastError(
                f"sample clock: expected series below {len(self)}, got {who.min()} to {who.max()}"
            )
        good = np.isfinite(value) & np.isfinite(stamp)
        self._counts["not_finite"] += int((~good).sum())
        below = good & (value < 0)
        self._counts["negative"] += int(below.sum())
        good &= ~below
        tick = np.floor((np.where(good, stamp, 0) - self._start_s) / self._step_s)
        late = good & (tick < self._first_open)
        early = good & (tick >= self._first_open + self._n_open)
        self._counts["late"] += int(late.sum())
        self._counts["early"] += int(early.sum())
        rows = np.flatnonzero(good & ~late & ~early)
        # ascending in time, in order of arrival where times are equal: the last of each interval stays
        rows = rows[np.argsort(stamp[rows], kind="stable")]
        place = who[rows] * self._n_open + tick[rows].astype(np.int64) % self._n_open
        last = np.zeros(rows.size, bool)
        last[rows.size - 1 - np.unique(place[::-1], return_index=True)[1]] = True
        self._counts["duplicate"] += int(rows.size - last.sum())
        rows, place = rows[last], place[last]
        held = self._stamp.reshape(-1)[place]
        self._counts["duplicate"] += int(np.isfinite(held).sum())
        newer = stamp[rows] >= held
        self._value.reshape(-1)[place[newer]] = value[rows[newer]]
        self._stamp.reshape(-1)[place[newer]] = stamp[rows[newer]]

    def close(self, now_s: float) -> F32:
        """``(n_series, k)``: every interval that ended ``lag_s`` ago or earlier and is not handed out yet.

        After a long pause ``k`` is large and most of it NaN.
        """
        past = int(np.floor((now_s - self._lag_s - self._start_s) / self._step_s))
        n_closed = max(past - self._first_open, 0)
        out = np.full((len(self), n_closed), np.nan, np.float32)
        held = min(n_closed, self._n_open)
        slots = (self._first_open + np.arange(held)) % self._n_open
        out[:, :held] = self._value[:, slots]
        self._value[:, slots] = np.nan
        self._stamp[:, slots] = -np.inf
        self._first_open += n_closed
        return out

    def add_series(self, count: int) -> None:
        """Let so many series begin, after the others."""
        self._value = np.concatenate([self._value, np.full((count, self._n_open), np.nan, np.float32)])
        self._stamp = np.concatenate([self._stamp, np.full((count, self._n_open), -np.inf)])

    def remove_series(self, who: Sequence[int]) -> None:
        """Forget these series; the others keep their order.

        Raises:
            ForecastError: one does not exist; nothing is removed.

        """
        if any(not 0 <= i < len(self) for i in who):
            raise ForecastError(f"sample clock: expected series below {len(self)} to remove, got {list(who)}")
        self._value = np.delete(self._value, list(who), axis=0)
        self._stamp = np.delete(self._stamp, list(who), axis=0)
