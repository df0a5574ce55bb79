"""A mean over seeds and how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with the half-width of its 95 % confidence interval, which is NaN below two values."""

    mean: float
    half_width: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """Student's interval of the mean of independent values; the mean of none is NaN."""
        n = len(values)
        if n < 2:
            return cls(float(values[0]) if values else math.nan, math.nan, n)
        mean = fmean(values)
        if not math.isfinite(mean):
            return cls(math.nan, math.nan, n)
        return cls(mean, t_quantile(0.5 + CONFIDENCE / 2, n - 1) * stdev(values) / math.sqrt(n), n)

    @property
    def resolved(self) -> bool:
        """Whether the interval leaves zero out; never without an interval."""
        return abs(self.mean) > self.half_width


def paired(ours: Sequence[float], reference: Sequence[float]) -> Estimate:
    """The difference, ours minus the reference, of values that share their seeds: the paired t interval.

    Workloads of different seeds differ more than agents do; the difference on one seed does not see that.
    """
    return Estimate.of([a - b for a, b in zip(ours, reference, strict=True)])


@cache
def t_quantile(probability: float, degrees: int) -> float:
    """The quantile of Student's t distribution for a whole number of degrees of freedom, by bisection."""
    if not 0.5 <= probability < 1.0 or degrees < 1:
        raise ValueError(
            f"t quantile: expected 0.5 <= p < 1 and df >= 1, got p = {probability}, df = {degrees}"
        )
    low, high = 0.0, 1.0
    while t_cdf(high, degrees) < probability:
        high *= 2.0
    while high - low > 1e-12 * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if t_cdf(middle, degrees) < probability else (low, middle)
    return 0.5 * (low + high)


def t_cdf(t: float, degrees: int) -> float:
    """P(T <= t): the finite sums for whole degrees, Abramowitz & Stegun (1964), 26.7.3 and 26.7.4."""
    theta = math.atan(t / math.sqrt(degrees))
    cos2 = math.cos(theta) ** 2
    even = degrees % 2 == 0
    term = total = 1.0
    for k in range(2 if even else 3, degrees, 2):
        term *= cos2 * (k - 1) / k
        total += term
    if even:
        return 0.5 + 0.5 * math.sin(theta) * total
    inside = theta + (math.sin(theta) * math.cos(theta) * total if degrees > 1 else 0.0)
    return 0.5 + inside / math.pi
