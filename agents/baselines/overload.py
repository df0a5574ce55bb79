"""When a host counts as overloaded: five published rules over the recent utilisation of its VMs.

Source of all: Beloglazov & Buyya, "Optimal online deterministic algorithms and adaptive heuristics for energy
and performance efficient dynamic consolidation of virtual machines in Cloud data centers", CCPE 24(13), 2012.
A rule maps utilisation (oldest first) to a *level*, now or as predicted, and the *limit* it may not pass.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from foreshade._core import ClusterState
from foreshade.agents.baselines.planned import F64, Mask, Planned
from foreshade.envs.model.state import VmState

#: Resources whose history is kept: CPU and memory, the first two columns.
WATCHED = 2

#: Threshold while a rule has too few samples: the authors' experiments fall back to it.
UNTIL_KNOWN = 0.7


class Detector(Protocol):
    """One rule."""

    @property
    def least_samples(self) -> int:
        """Ticks of history below which ``UNTIL_KNOWN`` is used instead."""
        ...

    @property
    def window(self) -> int:
        """Ticks of history that it looks at."""
        ...

    @property
    def parameter(self) -> float:
        """The number in the agent's label."""
        ...

    def assess(self, history: F64) -> tuple[F64, F64]:
        """Level and limit, shape (...), fraction of capacity, of a history of shape (window, ...)."""
        ...


class StaticThreshold:
    """THR: overloaded above a fixed share of capacity."""

    least_samples = 1
    window = 1

    def __init__(self, threshold: float) -> None:
        self.parameter = threshold

    def assess(self, history: F64) -> tuple[F64, F64]:
        """The last sample against the threshold."""
        return history[-1], np.full(history.shape[1:], self.parameter)


class InterquartileRange:
    """IQR: the limit is 1 - s * (Q3 - Q1), lower where load varies more."""

    least_samples = 12  # an hour: fewer have no quartiles to speak of
    window = 30  # samples; the authors' simulator keeps as many

    def __init__(self, safety: float) -> None:
        self.parameter = safety

    def assess(self, history: F64) -> tuple[F64, F64]:
        """The last sample against 1 - s * IQR; quartiles interpolate linearly."""
        ordered = np.sort(history, axis=0)
        spread = _quantile(ordered, 0.75) - _quantile(ordered, 0.25)
        return history[-1], np.maximum(0.0, 1.0 - self.parameter * spread)


class MedianAbsoluteDeviation:
    """MAD: the limit is 1 - s * median |x - median x|."""

    least_samples = 12
    window = 30

    def __init__(self, safety: float) -> None:
        self.parameter = safety

    def assess(self, history: F64) -> tuple[F64, F64]:
        """The last sample against 1 - s * MAD."""
        middle = _quantile(np.sort(history, axis=0), 0.5)
        deviation = _quantile(np.sort(np.abs(history - middle), axis=0), 0.5)
        return history[-1], np.maximum(0.0, 1.0 - self.parameter * deviation)


class LocalRegression:
    """LR and LRR: overloaded if s times the loess line (Cleveland) one tick ahead passes 1.

    The line is weighted by the tricube of the distance to the newest sample; LRR weighs each sample again
    by the bisquare of its residual and fits once more. The published figures come from a simulator that fits
    an unweighted line in both (docs/baselines.md); here both are as the paper writes them.
    """

    least_samples = 10
    window = 10  # samples, as in the authors' experiments

    def __init__(self, safety: float, *, robust: bool = False) -> None:
        self.parameter = safety
        self.robust = robust
        self._x = np.arange(self.window, dtype=np.float64)
        distance = (self._x[-1] - self._x) / (self._x[-1] - self._x[0])
        self._tricube = (1.0 - distance**3) ** 3

    def assess(self, history: F64) -> tuple[F64, F64]:
        """The prediction against 1 / s."""
        shape = history.shape[1:]
        y = history.reshape(len(history), -1)
        weights = np.broadcast_to(self._tricube[:, None], y.shape)
        slope, intercept = self._line(y, weights)
        if self.robust:
            residual = np.abs(y - (intercept + slope * self._x[:, None]))
            scale = 6.0 * _quantile(np.sort(residual, axis=0), 0.5)
            ratio = np.divide(residual, scale, out=np.zeros_like(residual), where=scale > 0.0)
            bisquare = np.where(ratio < 1.0, (1.0 - np.minimum(ratio, 1.0) ** 2) ** 2, 0.0)
            slope, intercept = self._line(y, weights * bisquare)
        level = intercept + slope * (self._x[-1] + 1.0)
        return level.reshape(shape), np.full(shape, 1.0 / self.parameter)

    def _line(self, y: F64, weights: F64) -> tuple[F64, F64]:
        """Weighted least squares, one line per column."""
        x = self._x[:, None]
        total = weights.sum(axis=0)
        total = np.where(total > 0.0, total, 1.0)
        mean_x = (weights * x).sum(axis=0) / total
        mean_y = (weights * y).sum(axis=0) / total
        spread = (weights * (x - mean_x) ** 2).sum(axis=0)
        together = (weights * (x - mean_x) * (y - mean_y)).sum(axis=0)
        slope = np.divide(together, spread, out=np.zeros_like(spread), where=spread > 1e-12)
        return slope, mean_y - slope * mean_x


def _quantile(ordered: F64, q: float) -> F64:
    """Of sorted rows, with linear interpolation (type 7 of Hyndman & Fan 1996)."""
    position = q * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    low: F64 = ordered[below]
    high: F64 = ordered[above]
    return low + (position - below) * (high - low)


class DemandHistory:
    """The last demands of every VM, so that a host's history is that of the VMs on it now.

    A VM takes its history along when it moves: a host's own record would show each migration as a change
    of load. Before a VM's first sample its history is its present estimate, so that arrivals are no trend.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._values: F64 = np.zeros((window, 0, WATCHED))  # MHz and MiB, oldest first
        self._seen: Mask = np.zeros(0, dtype=bool)
        self.samples = 0

    def record(self, plan: Planned, state: ClusterState) -> None:
        """Take in one tick."""
        now = plan.vm_load[:, :WATCHED]
        if len(self._seen) != len(now):
            self._values = np.zeros((self._window, len(now), WATCHED))
            self._seen = np.zeros(len(now), dtype=bool)
        self._values[:-1] = self._values[1:]
        self._values[-1] = now
        self._values[:, ~self._seen] = now[~self._seen]
        serving = (state.vms.state == VmState.RUNNING) | (state.vms.state == VmState.MIGRATING)
        self._seen = serving & np.isfinite(state.vms.age_s)
        self.samples += bool(self._seen.any())

    def of_vms(self, vms: np.typing.NDArray[np.int64]) -> F64:
        """(window, n, 2) MHz and MiB of the VMs given."""
        return self._values[:, vms]

    def of_hosts(self, plan: Planned) -> F64:
        """(window, n_hosts, 2) fraction of capacity: VMs that will stand on each host, and overhead."""
        standing = np.flatnonzero(plan.place >= 0)
        order = standing[np.argsort(plan.place[standing], kind="stable")]
        occupied = np.flatnonzero(plan.count)
        sums = np.zeros((self._window, plan.n_hosts, WATCHED))
        if len(order):
            starts = np.concatenate(([0], np.cumsum(plan.count[occupied])[:-1]))
            sums[:, occupied] = np.add.reduceat(self._values[:, order], starts, axis=1)
        overhead = plan.count[:, None] * plan.site.vm_overhead[:, :WATCHED]
        return (sums + overhead) / plan.capacity[:, :WATCHED]
