"""What every VM is expected to want next: mean and variance over its last samples, priors where it has none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foreshade._core import ClusterState
from foreshade.agents.agent import F32
from foreshade.envs.model.state import VmState

BoolArray = npt.NDArray[np.bool_]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WindowKnobs:
    """How demand is estimated; shares are of the VM's allocation, in the order CPU, memory, disk, network, GPU."""

    ticks: int = 12  # length of the window: long enough for a variance, short enough to follow a day's curve
    last: float = 0.0  # weight of the newest sample in the mean, beside the window's
    prior_ticks: float = 2.0  # samples that the prior counts for
    # What VMs want of their allocation before anything is known: CPU from the traces of docs/packers.md.
    prior_mean: tuple[float, float, float, float, float] = (0.12, 0.5, 0.05, 0.05, 0.5)
    prior_sigma: tuple[float, float, float, float, float] = (0.15, 0.1, 0.05, 0.05, 0.2)
    floor_sigma: tuple[float, float, float, float, float] = (0.02, 0.01, 0.01, 0.01, 0.0)


class DemandWindow:
    """Sliding sums over the last ``ticks`` samples of each VM; O(n_vms) a tick whatever the window."""

    def __init__(self, knobs: WindowKnobs, n_vms: int, tick_s: float) -> None:
        self.knobs = knobs
        self._tick_s = tick_s
        self._samples = np.zeros((knobs.ticks, n_vms, 5), dtype=np.float32)
        self._there = np.zeros((knobs.ticks, n_vms), dtype=bool)
        self._sum: F64 = np.zeros((n_vms, 5))
        self._square: F64 = np.zeros((n_vms, 5))
        self._count = np.zeros(n_vms, dtype=np.int32)
        self._last: F32 = np.zeros((n_vms, 5), dtype=np.float32)
        self._app = np.full(n_vms, -1, dtype=np.int32)
        self._seen_ratio: F64 = np.array(knobs.prior_mean)
        self._slot = 0
        self.mean: F32 = np.zeros((n_vms, 5), dtype=np.float32)
        self.variance: F32 = np.zeros((n_vms, 5), dtype=np.float32)

    def update(self, state: ClusterState) -> None:
        """Take in what is seen now and refresh ``mean`` and ``variance``.

        A sample counts when it is younger than a tick and the VM serves; what a booting VM wants says nothing of
        its load. A slot that another VM has taken starts afresh.
        """
        vms = state.vms
        allocation, demand = vms.allocation, vms.demand
        status = vms.state
        self._forget((vms.app != self._app) | (status == VmState.ABSENT))
        self._app[:] = vms.app
        serving = (status == VmState.RUNNING) | (status == VmState.MIGRATING)
        fresh = serving & (vms.age_s < self._tick_s)
        sample = np.where(fresh[:, None], np.minimum(demand, allocation), np.float32(0.0))
        self._take(sample, fresh)
        if bool(fresh.any()):
            held = allocation[fresh].sum(axis=0, dtype=np.float64)
            wanted = sample.sum(axis=0, dtype=np.float64)
            ratio = np.divide(wanted, held, out=self._seen_ratio.copy(), where=held > 0.0)
            self._seen_ratio += 0.1 * (ratio - self._seen_ratio)
        self._estimate(allocation)

    def _forget(self, gone: BoolArray) -> None:
        rows = np.flatnonzero(gone & (self._count > 0))
        if len(rows) == 0:
            return
        self._there[:, rows] = False
        self._sum[rows] = 0.0
        self._square[rows] = 0.0
        self._count[rows] = 0

    def _take(self, sample: F32, fresh: BoolArray) -> None:
        """Put a row in the place of the oldest one."""
        old, was = self._samples[self._slot], self._there[self._slot]
        leaving = np.where(was[:, None], old, np.float32(0.0)).astype(np.float64)
        entering = sample.astype(np.float64)
        self._sum += entering - leaving
        self._square += entering * entering - leaving * leaving
        self._count += fresh.astype(np.int32) - was.astype(np.int32)
        self._samples[self._slot] = sample
        self._there[self._slot] = fresh
        np.copyto(self._last, sample, where=fresh[:, None])
        self._slot = (self._slot + 1) % self.knobs.ticks

    def _estimate(self, allocation: F32) -> None:
        knobs = self.knobs
        count = self._count[:, None].astype(np.float64)
        weight = count / (count + knobs.prior_ticks)
        safe = np.maximum(count, 1.0)
        mean = self._sum / safe
        spread = np.maximum(self._square / safe - mean * mean, 0.0)
        # A sample's variance is short of the true one by (n - 1)/n; the prior counts for what is missing.
        spread *= safe / np.maximum(count - 1.0, 1.0)
        mean += knobs.last * (self._last - mean) * (count > 0)
        prior_mean = allocation * self._seen_ratio
        prior_sigma = allocation * np.array(knobs.prior_sigma)
        floor = allocation * np.array(knobs.floor_sigma)
        self.mean[:] = weight * mean + (1.0 - weight) * prior_mean
        self.variance[:] = np.maximum(weight * spread + (1.0 - weight) * prior_sigma**2, floor**2)
