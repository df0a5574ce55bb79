"""Which of several forecasts to believe: one horizon of many series, level by level, in NumPy.

The rule is the native engine's (``cpp/core/forecast/mixture.hpp``), with experts that may be absent: weights
are exponential in the discounted regret of each expert, with the gradient of the pinball loss at the
mixture, so that the best blend is found and not the best single expert (Wintenberger 2017; Berrisch and Ziel
2023), each regret in units of the expert's own deviation. A record shared by all series is the prior of each.
An expert that says nothing at an origin is asleep there: the others share the weight, and its record neither
grows nor fades (Freund et al. 1997).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import ForecastError
from foreshade.envs.forecast.forecaster import LEVELS

F32 = npt.NDArray[np.float32]
_LEVEL = np.array(LEVELS, np.float32)
_MEDIAN = LEVELS.index(0.5)
_BOUND = 5.0  # usual losses that an expert may gain or lose at once: a rare far outcome must not settle a day
_LIFT = 0.01  # share of the series' scale per unit of log width: a mixture without spread cannot be stretched
_NARROWEST, _WIDEST = -1.5, 2.5  # log of the factor
_SURE = 1e-3  # added to every square, so that the first steps of a record do not decide


@dataclass(frozen=True, slots=True)
class MixtureConfig:
    """How fast weights and widths move: the engine's values, but for the weights.

    A few experts, one of which has chosen among sixteen already, want a slower rate and a head start for that
    one; chosen on PlanetLab 20110306 and 20110309, all 200 series and eight at a time.
    """

    learning_rate: float = 1.0  # of the weights, in units of each expert's own deviation
    memory_steps: float = 2016.0  # a record fades over a week of 300 s
    pool_memory: float = 50.0  # learning steps that the record of all series covers
    pool_weight: float = 0.3  # of that record as a prior of each series
    smoothing: float = 0.1  # share of the record that all levels of an expert have in common
    incumbent: float = 0.8  # weight of the first expert before anything is known; the others share the rest
    conformal_rate: float = 0.04  # log width per miss, per series
    pool_conformal_rate: float = 0.02  # the same, of all series together

    def __post_init__(self) -> None:
        if not 0 < self.incumbent < 1:
            raise ForecastError(f"mixture: incumbent: expected between 0 and 1, got {self.incumbent}")
        if min(self.learning_rate, self.memory_steps, self.pool_memory) <= 0:
            raise ForecastError("mixture: expected learning_rate, memory_steps and pool_memory above 0")


class HorizonMixture:
    """Weights and widths of one horizon; an origin is learnt from once in ``stride`` steps."""

    #: Arrays with a row per series.
    OWN = ("regret", "square", "norm", "learnt", "width")
    #: Arrays shared by all series.
    SHARED = ("pool_regret", "pool_square", "pool_width")

    def __init__(
        self, n_series: int, n_experts: int, horizon: int, stride: int, config: MixtureConfig
    ) -> None:
        self._config = config
        self._keep = np.float32(np.exp(-stride / config.memory_steps))
        # the outcome is known `horizon` late: a correction that moved faster would swing
        self._late = stride / (stride + horizon)
        levels = len(LEVELS)
        self.regret = np.zeros((n_series, n_experts, levels), np.float32)
        self.square = np.zeros_like(self.regret)
        self.norm = np.zeros(n_series, np.float32)
        self.learnt = np.zeros(n_series, np.int64)
        self.width = np.zeros((n_series, levels), np.float32)
        self.pool_regret = np.zeros((n_experts, levels), np.float32)
        self.pool_square = np.zeros((n_experts, levels), np.float32)
        self.pool_width = np.zeros(levels, np.float32)
        others = (1 - config.incumbent) / max(n_experts - 1, 1)
        prior = np.full((n_experts, 1), others if n_experts > 1 else 1.0)
        prior[0] = config.incumbent
        self._log_prior = np.log(prior).astype(np.float32)

    def weights(self, awake: npt.NDArray[np.bool_]) -> F32:
        """``(n_series, n_experts, 7)`` shares; they sum to 1 over those ``awake`` (n_series, n_experts)."""
        config = self._config
        regret = self.regret + config.pool_weight * self.pool_regret
        square = self.square + config.pool_weight * self.pool_square
        apart, shared = 1 - config.smoothing, config.smoothing / len(LEVELS)
        spread = apart * square + shared * square.sum(axis=2, keepdims=True) + _SURE
        record = apart * regret + shared * regret.sum(axis=2, keepdims=True)
        score = self._log_prior - config.learning_rate * record / np.sqrt(spread)
        score = np.where(awake[:, :, None], score, -np.inf)
        share = np.exp(score - score.max(axis=1, keepdims=True))
        return np.asarray(share / share.sum(axis=1, keepdims=True), np.float32)

    def mix(self, experts: F32) -> F32:
        """``(n_series, n_experts, 7)``, NaN = asleep, to ``(n_series, 7)``; the first is never asleep."""
        awake = np.isfinite(experts[:, :, 0])
        blend = (self.weights(awake) * np.where(awake[:, :, None], experts, 0)).sum(axis=1)
        # levels are weighed apart and may cross (Chernozhukov et al. 2010)
        return np.sort(blend, axis=1)

    def corrected(self, mixture: F32, scale: F32) -> F32:
        """The mixture with its distances from the median stretched to cover what they promise."""
        width = np.clip(self.width + self.pool_width, _NARROWEST, _WIDEST)
        lift = np.maximum(width, 0) * _LIFT * scale[:, None] * np.sign(_LEVEL - _LEVEL[_MEDIAN])
        median = mixture[:, _MEDIAN : _MEDIAN + 1]
        out = np.maximum(median + np.exp(width) * (mixture - median) + lift, 0)
        out[:, _MEDIAN:] = np.maximum.accumulate(out[:, _MEDIAN:], axis=1)
        out[:, : _MEDIAN + 1] = np.minimum.accumulate(out[:, _MEDIAN::-1], axis=1)[:, ::-1]
        return np.asarray(out, np.float32)

    def learn(self, experts: F32, mixture: F32, answer: F32, truth: F32, scale: F32) -> None:
        """Score what was said against what came.

        Args:
            experts: (n_series, n_experts, 7) as they were given to ``mix``.
            mixture: (n_series, 7) what it answered.
            answer: (n_series, 7) the same, corrected.
            truth: (n_series,) what came; NaN = nothing to learn.
            scale: (n_series,) the series' spread at the origin.

        """
        rows = np.flatnonzero(np.isfinite(truth))
        if rows.size == 0:
            return
        experts, mixture, truth = experts[rows], mixture[rows], truth[rows, None]
        self.learnt[rows] += 1
        rate = np.maximum(0.0005, 1 / self.learnt[rows])
        over = truth - mixture
        loss = np.maximum(_LEVEL * over, (_LEVEL - 1) * over).mean(axis=1)
        # before it divides: a first outcome in units of nothing would outvote a week
        self.norm[rows] += (rate * (loss - self.norm[rows])).astype(np.float32)
        norm = np.maximum(self.norm[rows], 0.02 * scale[rows])
        norm = np.where(norm > 0, norm, 1)  # nothing ever moved
        slope = _miss(mixture, truth) / norm[:, None]
        gain = np.clip(slope[:, None] * (experts - mixture[:, None]), -_BOUND, _BOUND)
        awake = np.isfinite(gain[:, :, :1])
        gain = np.where(awake, gain, 0)
        keep = np.where(awake, self._keep, np.float32(1))
        self.regret[rows] = keep * self.regret[rows] + gain
        self.square[rows] = keep * self.square[rows] + gain * gain
        self._share(gain, awake)
        self._widen(rows, answer[rows], truth)

    def _share(self, gain: F32, awake: npt.NDArray[np.bool_]) -> None:
        voters = awake.sum(axis=0)  # (n_experts, 1)
        keep = np.where(voters > 0, 1 - 1 / self._config.pool_memory, 1.0)
        each = 1 / np.maximum(voters, 1)
        self.pool_regret = (keep * self.pool_regret + each * gain.sum(axis=0)).astype(np.float32)
        self.pool_square = (keep * self.pool_square + each * (gain * gain).sum(axis=0)).astype(np.float32)

    def _widen(self, rows: npt.NDArray[np.int64], answer: F32, truth: F32) -> None:
        """Adaptive conformal inference (Gibbs and Candès 2021), as quantile tracking of the log width."""
        above = np.sign(_LEVEL - _LEVEL[_MEDIAN])
        wider = -above * miss_of_atom(answer, truth)
        moved = self.width[rows] + self._config.conformal_rate * self._late * wider
        self.width[rows] = np.clip(moved, _NARROWEST, _WIDEST)
        pooled = self.pool_width + self._config.pool_conformal_rate * wider.mean(axis=0)
        self.pool_width = np.clip(pooled, _NARROWEST, _WIDEST).astype(np.float32)

    def add(self, count: int) -> None:
        """So many series without a record."""
        for name in self.OWN:
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros((count, *array.shape[1:]), array.dtype)]))

    def remove(self, who: Sequence[int]) -> None:
        """Forget these series."""
        for name in self.OWN:
            setattr(self, name, np.delete(getattr(self, name), list(who), axis=0))

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Everything, for ``restore``."""
        return {name: getattr(self, name) for name in (*self.OWN, *self.SHARED)}

    def restore(self, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
        """Continue from ``arrays``."""
        for name in (*self.OWN, *self.SHARED):
            setattr(self, name, arrays[name].copy())


def _miss(quantiles: F32, truth: F32) -> F32:
    """1 - level where the value lay below the quantile, -level above, 0 on it: a tie tells nothing."""
    missed = np.where(truth < quantiles, 1 - _LEVEL, np.where(truth > quantiles, -_LEVEL, 0))
    return np.asarray(missed, np.float32)


def miss_of_atom(quantiles: F32, truth: F32) -> F32:
    """As a miss, but a tie counts as the share of its probability that lies below the level.

    That is the randomised probability-integral transform in expectation; the mass at the tie reaches half way
    to the levels that are not tied. ``quantiles`` (n, 7), ``truth`` (n, 1).
    """
    missed = _miss(quantiles, truth)
    tied = quantiles == truth
    half_way = np.concatenate(([0.0], (_LEVEL[1:] + _LEVEL[:-1]) / 2, [1.0]))
    first = (quantiles < truth).sum(axis=1)
    low = half_way[first]
    high = half_way[np.minimum(first + tied.sum(axis=1), len(LEVELS))]
    mass = np.where(high > low, high - low, 1)
    share = (_LEVEL - low[:, None]) / mass[:, None] - _LEVEL
    return np.asarray(np.where(tied, share, missed), np.float32)
