"""A mean over seeds and how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from foreshade.envs.student import t_quantile

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
