"""Forecasts of what a world shows, for worlds that do not forecast by themselves: a live one.

One series for each application. What its members were seen to want over the share of its load that they carry is the
application's demand; the forecast of that goes back to each member by the share that it carries now. So a guest that
comes, goes or takes over another's traffic is no change of demand: an action's own effect is not learned as demand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from foreshade import _core
from foreshade.envs.forecast.forecaster import LEVELS, EngineConfig, Forecaster
from foreshade.envs.model.state import VmKind, VmState

F32 = npt.NDArray[np.float32]
_DENSE = 4  # resources that are forecast: CPU, memory, disk, network
_LEAST_ROWS = 64


@runtime_checkable
class Warmed(Protocol):
    """A forecaster that can be shown a long past at once, such as ``Selection``."""

    def warm(self, samples: F32) -> None:
        """Take ``(n_series, k)`` samples in order."""
        ...


class ObservedForecast:
    """Learns from a state once a tick, and writes the forecasts into it.

    Applications are told apart by their numbers, so one may be added and none may change its own.
    """

    def __init__(
        self,
        config: EngineConfig,
        stale_s: float = 900.0,
        others: Mapping[int, Callable[[int], Forecaster]] | None = None,
    ) -> None:
        """Know nothing.

        Args:
            config: horizons, and how the engine learns.
            stale_s: samples older than that say nothing.
            others: makes for some resources, by number, a forecaster of so many applications that speaks in the
                engine's place; its horizons are the same.

        """
        self._config, self._stale_s = config, stale_s
        self._makers = dict(others or {})
        self._tick = -1
        self.loads: F32 = np.zeros((0, _DENSE), np.float32)  # (n_apps, 4) of the newest tick; NaN = not seen
        self._make_room(_LEAST_ROWS)

    def __call__(self, state: _core.ClusterState) -> None:
        """Take the tick in, unless it was taken in before, and show what is expected."""
        n_apps = int(state.vms.app.max(initial=-1)) + 1
        if n_apps == 0:
            return
        if n_apps > self._rows:
            self._make_room(2 * n_apps)
        share, memory_share, fresh = carried(state, self._stale_s)
        if state.tick != self._tick:
            self._tick = state.tick
            self._learn(state, share, memory_share, fresh)
        self._show(state, share, memory_share)

    def warm(self, loads: F32) -> None:
        """Learn from the past, (n_apps, 4, n_ticks), before the first tick: what was seen before a restart.

        What was said of the past is not asked of the forecasters that speak in the engine's place: asking at every
        tick of a week would take minutes.
        """
        if len(loads) > self._rows:
            self._make_room(2 * len(loads))
        owner = np.full(self._rows, -1, np.int32)
        owner[: len(loads)] = np.arange(len(loads))
        self._forecaster.own(owner)
        past = np.full((self._rows, _DENSE, loads.shape[2]), np.nan, np.float32)
        past[: len(loads)] = loads
        for tick in range(past.shape[2]):
            self._forecaster.observe(np.ascontiguousarray(past[:, :, tick]))
        for resource, forecaster in self._others.items():
            if isinstance(forecaster, Warmed):
                forecaster.warm(np.ascontiguousarray(past[:, resource]))

    def _make_room(self, rows: int) -> None:
        """Room for so many applications; what the engine knew of the others is lost: hence room for many at once."""
        self._rows = rows
        self._others = {resource: make(rows) for resource, make in self._makers.items()}
        self._forecaster = _core.DemandForecaster(self._config.native, self._rows)
        self._moments = np.zeros((len(self._config.horizons), self._rows, _DENSE, 2), np.float32)
        self._quantiles = np.zeros((self._rows, _DENSE, len(self._config.horizons), len(LEVELS)), np.float32)

    def _learn(
        self, state: _core.ClusterState, share: F32, memory_share: F32, fresh: npt.NDArray[np.bool_]
    ) -> None:
        app, demand = state.vms.app, state.vms.demand
        wanted = np.zeros((self._rows, _DENSE), np.float64)
        seen = np.zeros((self._rows, _DENSE), np.float64)
        for resource in range(_DENSE):
            of = memory_share if resource == 1 else share
            counts = fresh & (of > 0.0)
            np.add.at(wanted[:, resource], app[counts], demand[counts, resource])
            np.add.at(seen[:, resource], app[counts], of[counts])
        with np.errstate(invalid="ignore", divide="ignore"):
            load = np.where(seen > 0.0, wanted / seen, np.nan).astype(np.float32)
        owner = np.full(self._rows, -1, np.int32)
        there = np.unique(app[(app >= 0) & (state.vms.state != VmState.ABSENT)])
        owner[there] = there
        self._forecaster.own(owner)
        self._observe(load)
        self.loads = load[: int(app.max(initial=-1)) + 1]

    def _observe(self, load: F32) -> None:
        """Take one sample of every row in, (n_rows, 4)."""
        self._forecaster.observe(load)
        for resource, forecaster in self._others.items():
            forecaster.observe(np.ascontiguousarray(load[:, resource]))

    def _show(self, state: _core.ClusterState, share: F32, memory_share: F32) -> None:
        self._forecaster.predict(self._moments, self._quantiles)
        for resource, forecaster in self._others.items():
            said = forecaster.predict()
            self._quantiles[:, resource] = said
            moments = _core.moments_of(said.reshape(-1, len(LEVELS)))
            self._moments[:, :, resource] = moments.reshape(*said.shape[:2], 2).transpose(1, 0, 2)
        series = np.where(state.vms.state != VmState.ABSENT, state.vms.app, -1).astype(np.int32)
        state.show_forecasts(
            self._moments,
            self._quantiles,
            np.array(self._config.horizons, np.int32),
            np.array(LEVELS, np.float32),
            series,
            share,
            memory_share,
        )


def carried(state: _core.ClusterState, stale_s: float) -> tuple[F32, F32, npt.NDArray[np.bool_]]:
    """Each VM's share of its application's load, its size beside a whole member, and whether its sample counts.

    Both shares are (n_vms,) float32 in [0, 1]; a clone's size is its memory over its primary's, a helper's over the
    largest member's.
    """
    vms = state.vms
    app, kind = vms.app, vms.kind
    serves = (vms.state == VmState.RUNNING) | (vms.state == VmState.MIGRATING)
    expected = (
        serves
        | (vms.state == VmState.BOOTING)
        | (vms.state == VmState.PENDING)
        | (vms.state == VmState.FAILED)
    )
    ours = app >= 0
    share = np.zeros(len(app), np.float64)
    size = np.zeros(len(app), np.float64)
    n_apps = int(app.max(initial=-1)) + 1
    total = np.zeros(n_apps)
    np.add.at(total, app[ours & serves], vms.weight[ours & serves])
    whole = np.zeros(n_apps)
    np.maximum.at(whole, app[ours], np.where(kind == VmKind.PRODUCTION, vms.allocation[:, 1], 0.0)[ours])
    mine = ours & serves
    with np.errstate(invalid="ignore", divide="ignore"):
        share[mine] = np.nan_to_num(vms.weight[mine] / total[app[mine]])
        coming = ours & expected & ~serves
        share[coming] = np.nan_to_num(vms.weight[coming] / (total[app[coming]] + vms.weight[coming]))
        size[ours] = np.nan_to_num(vms.allocation[ours, 1] / whole[app[ours]])
    size[ours & (kind == VmKind.PRODUCTION)] = 1.0
    fresh = ours & serves & (vms.age_s < stale_s)
    return np.clip(share, 0, 1).astype(np.float32), np.clip(size, 0, 1).astype(np.float32), fresh
