"""The laws that demand is put together from; each is a function of arrays and of a generator handed in.

Time runs along the first axis. Lengths are in seconds, so that a law means the same on every tick.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

DAY_S = 86_400.0
#: An event that begins before the first tick may still last: events are drawn from this much earlier.
WARM_UP_S = DAY_S


def ornstein_uhlenbeck(innovations: F32, time_constant_s: F32, tick_s: float) -> F32:
    """Turn white noise into noise with memory, in place: unit variance, autocorrelation exp(-t / constant).

    ``innovations`` (n_ticks, …) standard normal; ``time_constant_s`` (…). The exact discretisation
    (Gillespie, Phys. Rev. E 54, 1996). A sum of several with different constants has the slowly decaying
    autocorrelation of measured load (Granger, J. Econometrics 14, 1980).
    """
    decay = np.exp(-tick_s / time_constant_s).astype(np.float32)
    gain = np.sqrt(1.0 - decay * decay, dtype=np.float32)
    for tick in range(1, innovations.shape[0]):
        innovations[tick] *= gain
        innovations[tick] += decay * innovations[tick - 1]
    return innovations


def heavy_tailed(rng: np.random.Generator, n: int) -> F32:
    """White noise of unit variance with the tails of Student's t with 4 degrees of freedom, cut at 6.

    Uncut, the exponential of it would have no mean.
    """
    normal = rng.standard_normal(n, dtype=np.float32)
    chi2 = rng.standard_gamma(2.0, n, dtype=np.float32)
    out: F32 = np.clip(normal / np.sqrt(np.maximum(chi2, 1e-6)), -6.0, 6.0, dtype=np.float32)
    return out


def daily_cycle(epoch_s: F64, peak_hour: F32, amplitude: F32) -> F32:
    """Load over the day relative to its mean, (n_ticks, n): a first and a weaker second harmonic.

    The second gives the flat top of office hours and the longer valley; two harmonics hold most of the
    periodic part of interactive load (Feitelson, *Workload Modeling*, 2015, §9.4.1). Never below 0.05.
    """
    angle = 2.0 * math.pi * (epoch_s[:, None] / DAY_S - peak_hour[None, :] / 24.0)
    curve = np.cos(angle) + 0.25 * np.cos(2.0 * angle)
    out: F32 = np.maximum(1.0 + amplitude[None, :] * curve, 0.05).astype(np.float32)
    return out


def weekend(epoch_s: F64) -> F32:
    """1 on Saturday and Sunday (UTC), 0 on business days, (n_ticks,), sliding over four hours at midnight."""
    days = epoch_s / DAY_S + 3.0  # 1 January 1970 was a Thursday: Monday is 0
    ramp = 2.0 / 24.0
    day_of_week = np.mod(days, 7.0)
    corners = [0.0, ramp, 5.0 - ramp, 5.0 + ramp, 7.0 - ramp, 7.0]
    values = [0.5, 0.0, 0.0, 1.0, 1.0, 0.5]
    return np.interp(day_of_week, corners, values).astype(np.float32)


def add_pulse(out: F32, tick_s: float, start_s: float, length_s: float, height: float) -> None:
    """Add a rectangle to one series (n_ticks,); an edge inside a tick counts by the share of it covered."""
    first, last = start_s / tick_s, (start_s + length_s) / tick_s
    lo, hi = max(math.floor(first), 0), min(math.ceil(last), len(out))
    if lo >= hi:
        return
    out[lo:hi] += height
    if first > lo:
        out[lo] -= height * (first - lo)
    if last < hi:
        out[hi - 1] -= height * (hi - last)


def add_crowd(out: F32, tick_s: float, start_s: float, rise_s: float, decay_s: float, height: float) -> None:
    """Add a flash crowd to one series (n_ticks,): a linear rise to ``height``, then an exponential decay.

    Shape after Bodík et al., SoCC 2010, and Jung, Krishnamurthy & Rabinovich, WWW 2002.
    """
    lo = max(math.floor(start_s / tick_s), 0)
    hi = min(math.ceil((start_s + rise_s + 6.0 * decay_s) / tick_s), len(out))
    if lo >= hi:
        return
    age_s = (np.arange(lo, hi) + 0.5) * tick_s - start_s
    shape = np.where(age_s < rise_s, age_s / rise_s, np.exp(-np.maximum(age_s - rise_s, 0.0) / decay_s))
    out[lo:hi] += (height * np.maximum(shape, 0.0)).astype(np.float32)


def poisson_times(rng: np.random.Generator, per_day: float, n_ticks: int, tick_s: float) -> F64:
    """Times of a Poisson process in s after tick 0, a day of the past included, ascending."""
    span_s = n_ticks * tick_s + WARM_UP_S
    count = int(rng.poisson(per_day * span_s / DAY_S))
    return np.sort(rng.uniform(-WARM_UP_S, span_s - WARM_UP_S, count))


def add_bursts(out: F32, rng: np.random.Generator, per_day: float, tick_s: float, smallest: float) -> None:
    """Add Poisson bursts to one series: Pareto heights (index 1.3, at most 1), lognormal lengths.

    Heavy-tailed sizes: Crovella & Bestavros, IEEE/ACM ToN 5(6), 1997. Median length 5 min, sigma 1.2.
    """
    for start_s in poisson_times(rng, per_day, len(out), tick_s):
        height = min(smallest * (1.0 + rng.pareto(1.3)), 1.0)
        add_pulse(out, tick_s, float(start_s), float(rng.lognormal(math.log(300.0), 1.2)), height)


def level_shifts(rng: np.random.Generator, per_day: float, n_ticks: int, tick_s: float) -> F32:
    """A factor that steps now and then, (n_ticks,): a release, a new customer; lognormal, sigma 0.3."""
    out = np.ones(n_ticks, dtype=np.float32)
    for start_s in poisson_times(rng, per_day, n_ticks, tick_s):
        out[max(math.ceil(start_s / tick_s), 0) :] *= np.float32(rng.lognormal(0.0, 0.3))
    return out


def sticky(load: F32, hold_s: float, tick_s: float) -> F32:
    """The load as memory remembers it, (n_ticks, n): up at once, down with the time constant ``hold_s``.

    Guests keep caches and heaps long after the requests that filled them.
    """
    decay = np.float32(math.exp(-tick_s / hold_s))
    out = load.copy()
    for tick in range(1, out.shape[0]):
        np.maximum(out[tick], decay * out[tick - 1], out=out[tick])
    return out


def saturate(load: F32, limit: float) -> F32:
    """Leave what fits (up to 1) as it is and bend the rest smoothly under ``limit`` (> 1), in place.

    Clients that are not served give up, so what is wanted does not grow without bound.
    """
    over = np.maximum(load - 1.0, 0.0)
    np.minimum(load, 1.0, out=load)
    load += (limit - 1.0) * (1.0 - np.exp(-over / (limit - 1.0)))
    return load
