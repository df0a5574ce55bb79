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
    def clustered(
        cls, values: Sequence[float], groups: Sequence[int], strata: Sequence[int] | None = None
    ) -> Estimate:
        """The interval of the mean of values that are independent between groups, and not within one.

        Liang & Zeger (Biometrika 73(1), 1986): the variance of the mean is that of the groups' sums of residuals,
        here with Student's quantile and the correction for their number; NaN below two groups. With strata, where
        how many values there are of each was chosen, residuals are of the stratum's mean (Cochran, *Sampling
        Techniques*, 3rd ed., 5.3); where one has a single group, which cannot tell how it varies, there are none.
        """
        said, of = np.asarray(values, np.float64), np.unique(np.asarray(groups), return_inverse=True)[1]
        n_groups = int(of.max(initial=-1)) + 1
        if n_groups < 2:
            return cls(float(said.mean()) if len(said) else math.nan, math.nan, len(said))
        parts = np.zeros(len(said), np.int64) if strata is None else np.asarray(strata)
        each = [parts == part for part in np.unique(parts)]
        if min(len(np.unique(of[part])) for part in each) < 2:
            each = [np.ones(len(said), bool)]
        square = 0.0
        for part in each:
            sums = np.bincount(np.unique(of[part], return_inverse=True)[1], said[part] - said[part].mean())
            square += len(sums) / (len(sums) - 1) * float(sums @ sums)
        quantile = t_quantile(0.5 + CONFIDENCE / 2, n_groups - len(each))
        return cls(float(said.mean()), quantile * math.sqrt(square) / len(said), len(said))

    @classmethod
    def trimmed(cls, values: Sequence[float], share: float) -> Estimate:
        """The mean without this share of the values at either end: what few far ones cannot move.

        Tukey & McLaughlin (Sankhya A 25(3), 1963): the interval is Student's, of the variance of the values with
        those at the ends drawn in to the last that are kept. NaN below two values.
        """
        said = np.sort(np.asarray(values, np.float64))
        n, cut = len(said), int(share * len(said))
        if n < 2:
            return cls.of(said.tolist())
        kept = said[cut : n - cut]
        drawn_in = np.clip(said, kept[0], kept[-1])
        error = float(drawn_in.std(ddof=1)) / ((1.0 - 2.0 * cut / n) * math.sqrt(n))
        return cls(float(kept.mean()), t_quantile(0.5 + CONFIDENCE / 2, len(kept) - 1) * error, n)

    @property
    def resolved(self) -> bool:
        """Whether the interval leaves zero out; never without an interval."""
        return abs(self.mean) > self.half_width


def paired(ours: Sequence[float], reference: Sequence[float]) -> Estimate:
    """The difference, ours minus the reference, of values that share their seeds: the paired t interval.

    Workloads of different seeds differ more than agents do; the difference on one seed does not see that.
    """
    return Estimate.of([a - b for a, b in zip(ours, reference, strict=True)])
