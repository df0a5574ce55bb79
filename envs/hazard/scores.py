"""How good a list of probabilities is, against what happened."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import InputError

F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def area_under_roc(happened: Bools, score: F64) -> float:
    """Chance that one that failed scores above one that did not; ties count half (Mann & Whitney 1947)."""
    _both(happened)
    _, inverse, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2.0  # mean rank of each distinct score, from 1
    n_failed = int(happened.sum())
    n_alive = happened.size - n_failed
    return float((rank[inverse][happened].sum() - n_failed * (n_failed + 1) / 2) / (n_failed * n_alive))


def average_precision(happened: Bools, score: F64) -> float:
    """Sum over thresholds of precision times the gain in recall; equal scores share one threshold."""
    _both(happened)
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(happened[order])
    last = np.append(np.flatnonzero(np.diff(score[order])), happened.size - 1)  # end of each run of ties
    gained = np.diff(hits[last], prepend=0)
    return float((hits[last] / (last + 1) * gained).sum() / happened.sum())


def decile_table(happened: Bools, probability: F64) -> list[dict[str, float]]:
    """Predicted and observed mean of each tenth, by rising prediction; the last one is the top decile."""
    order = np.argsort(probability, kind="stable")
    return [
        {
            "predicted": float(probability[rows].mean()),
            "observed": float(happened[rows].mean()),
            "failures": int(happened[rows].sum()),
            "n": len(rows),
        }
        for rows in np.array_split(order, 10)
    ]


def _both(happened: Bools) -> None:
    if happened.all() or not happened.any():
        raise InputError(f"score: expected both outcomes, got {int(happened.sum())} of {happened.size}")
