"""The mixture and its conformal width at one horizon, read from ``docs/forecasting.md`` in plain Python.

One series, every origin learnt from. The experts' rows are handed in; what follows is worked out here.
"""

from __future__ import annotations

import math

import numpy as np

LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
MEDIAN = 3


def eight_bits(x: float) -> float:
    """A float with a mantissa of eight bits, as differences from the mixture are stored."""
    bits = np.float32(x).view(np.uint32) + np.uint32(0x8000)
    return float((bits & np.uint32(0xFFFF0000)).view(np.float32))


def miss(quantile: float, value: float, level: float) -> float:
    """Slope of the pinball loss in the quantile; 0 on a tie."""
    return 0.0 if value == quantile else (1.0 - level if value < quantile else -level)


def miss_of_atom(row: list[float], value: float) -> list[float]:
    """As ``miss``; tied levels share the mass that reaches half way to the levels that are not tied."""
    tied = [k for k, q in enumerate(row) if q == value]
    out = [miss(q, value, level) for q, level in zip(row, LEVELS, strict=True)]
    if tied:
        first, last = tied[0], tied[-1]
        low = 0.0 if first == 0 else (LEVELS[first - 1] + LEVELS[first]) / 2
        high = 1.0 if last == 6 else (LEVELS[last] + LEVELS[last + 1]) / 2
        for k in tied:
            out[k] = (LEVELS[k] - low) / (high - low) - LEVELS[k]
    return out


class Mixture:
    """What is learnt from outcomes one step ahead: regrets, the norm of the loss and the widths."""

    def __init__(
        self,
        n_rows: int,
        *,
        rate: float,
        memory: float,
        pool_memory: float,
        pool_weight: float,
        smoothing: float,
        conformal: float,
        pool_conformal: float,
    ) -> None:
        self.rate, self.keep, self.smoothing = rate, math.exp(-1.0 / memory), smoothing
        self.pool_keep, self.pool_weight = 1.0 - 1.0 / pool_memory, pool_weight
        self.conformal, self.pool_conformal = conformal, pool_conformal
        self.own = np.zeros((2, n_rows, 7))  # regret, square
        self.pool = np.zeros((2, n_rows, 7))
        self.width, self.pool_width = np.zeros(7), np.zeros(7)
        self.norm, self.learnt = 0.0, 0

    def blend(self, rows: np.ndarray, pool: np.ndarray) -> list[float]:
        """``(n_rows, 7)`` to the mixture."""
        regret, square = self.own + self.pool_weight * pool
        out = []
        for level in range(7):
            score = -self.rate * regret[:, level] / np.sqrt(square[:, level] + 1e-3)
            weight = np.exp(score - score.max())
            out.append(float((weight * rows[:, level]).sum() / weight.sum()))
        return sorted(out)

    def answer(self, mixture: list[float], pool_width: np.ndarray, step: float) -> list[float]:
        """The mixture after the conformal correction; ``step`` is the series' mean step."""
        out = []
        for level in range(7):
            width = min(max(self.width[level] + pool_width[level], -1.5), 2.5)
            side = (level > MEDIAN) - (level < MEDIAN)
            lift = 0.01 * side * max(width, 0.0) * step
            wide = mixture[MEDIAN] + math.exp(width) * (mixture[level] - mixture[MEDIAN]) + lift
            out.append(wide if wide > 0.005 * step else 0.0)
        for level in range(MEDIAN, 6):
            out[level + 1] = max(out[level + 1], out[level])
        for level in range(MEDIAN, 0, -1):
            out[level - 1] = min(out[level - 1], out[level])
        return out

    def learn(
        self, rows: np.ndarray, mixture: list[float], answer: list[float], scale: float, value: float
    ) -> None:
        """Take the outcome of an origin; ``scale`` is the size of an error at the origin."""
        self.learnt += 1
        norm = max(self.norm, 0.02 * scale)
        gain = np.zeros((2, *rows.shape))
        for e, row in enumerate(rows):
            for level in range(7):
                slope = miss(mixture[level], value, LEVELS[level]) / norm
                x = min(max(slope * eight_bits(row[level] - mixture[level]), -30.0), 30.0)
                gain[:, e, level] = x, x * x
        gain = (1 - self.smoothing) * gain + self.smoothing * gain.mean(axis=2, keepdims=True)
        self.own = self.keep * self.own + gain
        self.pool = self.pool_keep * self.pool + gain
        loss = sum(
            max(level * (value - q), (level - 1) * (value - q))
            for q, level in zip(mixture, LEVELS, strict=True)
        )
        self.norm += max(0.0005, 1.0 / self.learnt) * (loss / 7 - self.norm)
        for level, missed in enumerate(miss_of_atom(answer, value)):
            if level == MEDIAN:
                continue
            wider = missed if level < MEDIAN else -missed
            # stride 1, horizon 1: the rate is halved for the delay
            self.width[level] = min(max(self.width[level] + self.conformal / 2 * wider, -1.5), 2.5)
            self.pool_width[level] += self.pool_conformal * wider
        self.pool_width = np.clip(self.pool_width, -1.5, 2.5)
