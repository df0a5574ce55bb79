"""A mean over seeds and how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np

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

    @classmethod
    def clustered(cls, values: Sequence[float], groups: Sequence[int]) -> Estimate:
        """The interval of the mean of values that are independent between groups, and not within one.

        Liang & Zeger (Biometrika 73(1), 1986): the variance of the mean is that of the groups' sums of residuals,
        here with Student's quantile and the correction for their number; NaN below two groups.
        """
        said, of = np.asarray(values, np.float64), np.unique(np.asarray(groups), return_inverse=True)[1]
        n_groups = int(of.max(initial=-1)) + 1
        if n_groups < 2:
            return cls(float(said.mean()) if len(said) else math.nan, math.nan, len(said))
        sums = np.bincount(of, said - said.mean())
        error = math.sqrt(n_groups / (n_groups - 1) * float(sums @ sums)) / len(said)
        return cls(float(said.mean()), t_quantile(0.5 + CONFIDENCE / 2, n_groups - 1) * error, len(said))

    @property
    def resolved(self) -> bool:
        """Whether the interval leaves zero out; never without an interval."""
        return abs(self.mean) > self.half_width


def paired(ours: Sequence[float], reference: Sequence[float]) -> Estimate:
    """The difference, ours minus the reference, of values that share their seeds: the paired t interval.

    Workloads of different seeds differ more than agents do; the difference on one seed does not see that.
    """
    return Estimate.of([a - b for a, b in zip(ours, reference, strict=True)])
