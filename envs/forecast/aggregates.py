"""Sums forecast in their own right: what each host, rack, zone and the site will want.

The sum of the VMs' quantiles is not the quantile of their sum, and a sum shows rhythms that its members hide.
So every sum is a series of its own. A host's, a rack's or a zone's is the demand of those that stand there
*now*: when the membership changes, its past is rebuilt from the members' own history and the engine learns it
anew. The site's past is what it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foreshade._core import ClusterState, moments_of
from foreshade.envs.forecast.forecaster import LEVELS, EngineConfig, NativeForecaster
from foreshade.envs.model.state import VmState

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
RESOURCES = slice(0, 4)  # cpu MHz, memory MiB, disk MiB/s, network Mbit/s
DAY = 288  # ticks of history: a rebuilt sum knows one day


@dataclass(frozen=True, slots=True)
class SumForecast:
    """The sums of one kind, e.g. all hosts, as known at the end of the last tick."""

    horizons: tuple[int, ...]  # ticks
    quantiles: F32  # (n_groups, 4, n_horizons, 7) at LEVELS, cpu MHz, memory MiB, disk MiB/s, network Mbit/s
    moments: F32  # (n_groups, 4, n_horizons, 2) mean and standard deviation


@dataclass(slots=True)
class _Sum:
    members: bytes  # which VMs: (n_vms,) int32 application of those inside, else -1
    forecaster: NativeForecaster  # four series, one for each resource


class AggregateForecaster:
    """Keeps a day of each VM's demand and a forecaster for every sum; fed once a tick.

    A rebuilt sum costs ``history_ticks`` updates of four series, so this is for reports and for placement at
    the pace of ticks, not for training.
    """

    def __init__(self, tick_s: float = 300.0, history_ticks: int = DAY) -> None:
        """Nothing is known yet; ``history_ticks`` is what a rebuilt sum is made of."""
        self.config = EngineConfig.of_tick(tick_s)
        self._history_ticks = history_ticks
        self._history = np.zeros((0, 0, 4), np.float32)  # (ticks, n_vms, 4), NaN = not seen
        self._app = np.zeros(0, np.int32)  # (n_vms,) whose history a slot holds
        self._sums: dict[tuple[str, int], _Sum] = {}
        self._members: dict[str, I32] = {}  # kind -> (n_vms,) group of each VM, -1 = none
        self._n_groups: dict[str, int] = {}

    @property
    def kinds(self) -> Sequence[str]:
        """What is summed: ``host``, ``rack``, ``zone`` and ``site``."""
        return ("host", "rack", "zone", "site")

    def update(self, state: ClusterState) -> None:
        """Take the demand of the tick that the state shows; call once a tick, before agents act on it."""
        self._remember(state)
        host = state.vms.host
        placed = host >= 0
        at = np.maximum(host, 0)
        self._members = {
            "host": host.copy(),
            "rack": np.where(placed, state.hosts.rack[at], -1).astype(np.int32),
            "zone": np.where(placed, state.hosts.zone[at], -1).astype(np.int32),
            "site": np.where(placed, 0, -1).astype(np.int32),
        }
        self._n_groups = {
            "host": len(state.hosts.state),
            "rack": int(state.hosts.rack.max()) + 1,
            "zone": int(state.hosts.zone.max()) + 1,
            "site": 1,
        }
        for kind, group in self._members.items():
            for number in range(self._n_groups[kind]):
                self._step(kind, number, group == number)

    def forecast(self, kind: str) -> SumForecast:
        """The sums of a kind, numbered as in the state.

        Raises:
            KeyError: another kind, or nothing was taken yet.

        """
        n = self._n_groups[kind]
        rows = np.stack([self._sums[kind, number].forecaster.predict() for number in range(n)])
        moments = moments_of(rows.reshape(-1, len(LEVELS))).reshape(*rows.shape[:-1], 2)
        return SumForecast(self.config.horizons, rows, moments)

    def _remember(self, state: ClusterState) -> None:
        """Append the tick to each VM's history; a slot that another VM took over begins anew."""
        demand = np.array(state.vms.demand[:, RESOURCES], np.float32)
        absent = state.vms.state == int(VmState.ABSENT)
        demand[absent | ~np.isfinite(state.vms.age_s)] = np.nan
        if self._history.shape[1] != len(demand):
            self._history = np.zeros((0, len(demand), 4), np.float32)
            self._app = state.vms.app.copy()
            self._sums.clear()
        self._history[:, absent | (self._app != state.vms.app)] = np.nan
        self._app = state.vms.app.copy()
        self._history = np.concatenate([self._history, demand[None]])[-self._history_ticks :]

    def _step(self, kind: str, number: int, inside: npt.NDArray[np.bool_]) -> None:
        members = np.where(inside, self._app, -1).tobytes()
        known = self._sums.get((kind, number))
        if known is not None and (kind == "site" or known.members == members):
            known.forecaster.observe(np.nansum(self._history[-1, inside], axis=0))
            return
        fresh = NativeForecaster(4, self.config)
        fresh.observe(self._past(inside))
        self._sums[kind, number] = _Sum(members, fresh)

    def _past(self, inside: npt.NDArray[np.bool_]) -> F32:
        """The sum over these VMs at each tick kept, (4, ticks); where a VM was not seen stands its mean."""
        own = self._history[:, inside]
        seen = ~np.isnan(own)
        count = seen.sum(axis=0)
        mean = np.where(seen, own, 0.0).sum(axis=0) / np.maximum(count, 1)
        filled: F32 = np.where(seen, own, mean[None]).sum(axis=1).T.astype(np.float32)
        return np.ascontiguousarray(filled)


def expected_before(values: npt.NDArray[np.float64], tick_s: float, ahead_s: float = 3600.0) -> F32:
    """What was expected of a sum at each tick so long before, ``(n_ticks,)``; NaN before there was an origin.

    For reports: ``values`` is a sum that was recorded, and each expectation knows only what lay before it.
    """
    steps = max(1, round(ahead_s / tick_s))
    forecaster = NativeForecaster(1, EngineConfig(horizons=(steps,)))
    expected = np.full(len(values), np.nan, np.float32)
    for tick, value in enumerate(values[: max(0, len(values) - steps)]):
        forecaster.observe(np.array([value], np.float32))
        expected[tick + steps] = moments_of(forecaster.predict()[0])[0, 0]
    return expected
