"""From a score to a probability: centred isotonic regression.

Pool-adjacent-violators (Ayer et al., Ann. Math. Stat. 26(4), 1955) on weighted 0/1 outcomes, then straight
lines between the blocks' weighted centres (Oron & Flournoy, Stat. Biopharm. Res. 9(3), 2017): as faithful
as isotonic regression, but drives within a block keep their order, which the steps would lose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import InputError

F64 = npt.NDArray[np.float64]

#: A block pools at least this many failures' worth of trials on average at the ends; see ``fit_isotonic``.
_MIN_EVENTS = 5.0


@dataclass(frozen=True, slots=True)
class Isotonic:
    """A rising, piecewise linear map from score to probability, flat outside its ends."""

    score: F64  # (n_knots,) rising
    probability: F64  # (n_knots,) not falling, in [0, 1]

    def __post_init__(self) -> None:
        if self.score.shape != self.probability.shape or self.score.size == 0:
            raise InputError(
                f"calibration: expected as many scores as probabilities, got {self.score.shape} "
                f"and {self.probability.shape}"
            )
        if bool((np.diff(self.score) <= 0).any()) or bool((np.diff(self.probability) < 0).any()):
            raise InputError("calibration: expected rising scores with probabilities that never fall")

    def __call__(self, score: F64) -> F64:
        """Probability of each score."""
        return np.interp(score, self.score, self.probability)


def fit_isotonic(score: F64, happened: npt.NDArray[np.bool_], weight: F64) -> Isotonic:
    """Fit on scores that the model gave to drives it was not trained on.

    The lowest and the highest ``_MIN_EVENTS`` failures' worth of trials are pooled before, so that no drive
    is called immortal, or doomed, on the strength of a handful.

    Raises:
        InputError: nothing failed, or nothing survived.

    """
    if happened.all() or not happened.any():
        raise InputError(f"calibration: expected both outcomes, got {int(happened.sum())} of {happened.size}")
    order = np.argsort(score, kind="stable")
    x, y, w = score[order], happened[order].astype(np.float64), weight[order]
    edge = min(_MIN_EVENTS, y.sum() / 4)
    low = int(np.searchsorted(np.cumsum(y), edge)) + 1
    high = len(y) - int(np.searchsorted(np.cumsum(y[::-1]), edge)) - 1
    group = np.clip(np.arange(len(y)), low - 1, max(high, low))
    # Equal scores are one trial: their order must not matter.
    tied = np.concatenate([[False], (x[1:] == x[:-1]) | (group[1:] == group[:-1])])
    block = np.cumsum(~tied) - 1
    mass = np.bincount(block, w).astype(np.float64)
    mean = np.bincount(block, w * y) / mass
    centre = np.bincount(block, w * x) / mass
    return Isotonic(*_pool(centre, mean, mass))


def _pool(centre: F64, mean: F64, mass: F64) -> tuple[F64, F64]:
    xs: list[float] = []
    ys: list[float] = []
    ws: list[float] = []
    for trial in zip(centre.tolist(), mean.tolist(), mass.tolist(), strict=True):
        x, y, w = trial
        while ys and ys[-1] >= y:
            before = ws.pop()
            x = (xs.pop() * before + x * w) / (before + w)
            y = (ys.pop() * before + y * w) / (before + w)
            w += before
        xs.append(x)
        ys.append(y)
        ws.append(w)
    return np.array(xs), np.array(ys)
