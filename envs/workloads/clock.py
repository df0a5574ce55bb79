"""From time stamps to the slots of one regular clock, and from one clock to another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foreshade.envs.workloads.trace import FloatArray

I64 = npt.NDArray[np.int64]

#: Loggers wobble by a second or so; a boundary of the clock keeps this distance from where samples cluster.
WOBBLE_S = 10


def clock_phase(time_s: I64, step_s: int) -> int:
    """Where, within a step, a clock's slots should begin so that wobbling samples do not fall on a boundary.

    The samples of all VMs are folded onto one step; the slots begin in the middle of the emptiest window of
    ``2 * WOBBLE_S``. A sample then keeps its slot although it comes a second early or late.
    """
    count = np.bincount(time_s % step_s, minlength=step_s).astype(np.float64)
    reach = min(WOBBLE_S, (step_s - 1) // 2)
    rolled = np.concatenate([count[step_s - reach :], count, count[:reach]])
    window = np.convolve(rolled, np.ones(2 * reach + 1), mode="valid")
    emptiest = np.flatnonzero(window == window.min())
    # of equally empty places the one furthest from the largest cluster, for the widest margin
    distance = np.abs((emptiest - int(count.argmax()) + step_s // 2) % step_s - step_s // 2)
    return int(emptiest[int(distance.argmax())])


def floor_slot(time_s: I64, phase_s: int, step_s: int) -> I64:
    """Number of the slot that a time falls in, counted from the epoch."""
    return (time_s - phase_s) // step_s


def resampled_length(n: int, step_s: int, tick_s: int) -> int:
    """Ticks of ``tick_s`` that ``resample`` makes of ``n`` samples of ``step_s``.

    To a coarser clock a tick needs a sample that begins in it: the rest of the last sample is not a tick.
    """
    return -(-n * step_s // tick_s) if tick_s < step_s else (n - 1) * step_s // tick_s + 1


def resample(values: FloatArray, step_s: int, tick_s: int) -> FloatArray:
    """Bring ``(n, m)`` values from a clock of ``step_s`` to one of ``tick_s``, both starting together.

    To a coarser clock: the mean of the samples that begin within each tick, gaps (NaN) left out. To a finer
    one: each tick takes the sample that covers its start.
    """
    if step_s == tick_s:
        return values
    n = values.shape[0]
    if tick_s < step_s:
        n_out = resampled_length(n, step_s, tick_s)
        return np.ascontiguousarray(values[np.arange(n_out) * tick_s // step_s])
    bucket = np.arange(n) * step_s // tick_s
    starts = np.flatnonzero(np.diff(bucket, prepend=-1))
    seen = ~np.isnan(values)
    total = np.add.reduceat(np.where(seen, values, 0.0), starts, axis=0, dtype=np.float64)
    count = np.add.reduceat(seen, starts, axis=0, dtype=np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total / count).astype(np.float32)
