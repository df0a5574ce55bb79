"""What each application will want in the hour to come, and what serves it.

Forecasts say it for a few horizons. What was said before of the ticks between is remembered: of each tick of the
hour the lower half of the newest forecast stands here, and of the upper half the largest that was said of that tick.
What is known an hour ahead, that at this time of day demand rises, a forecast of five minutes that looks at the last
values does not know, and the other way round.

Beside it stands what recurs: what was wanted within a tick of the same time on most of the last days is expected
again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from foreshade._core import ClusterState
from foreshade.envs.model.state import Resource, VmKind, VmState
from foreshade.envs.site import Site

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: Levels of the forecasts in the state, and how much of the probability each stands for.
LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
_EDGES = np.array([0.0, *((a + b) / 2.0 for a, b in pairwise(LEVELS)), 1.0])
MASS: F32 = np.diff(_EDGES).astype(np.float32)


@dataclass(frozen=True, slots=True)
class View:
    """The applications at one tick; arrays are by application."""

    ahead: F32  # (n_apps, n_ahead, 7) CPU MHz wanted in each tick to come, at LEVELS, ascending
    memory: F32  # (n_apps, 7) MiB, the largest of the horizons up to an hour
    foreseen: Bools  # (n_apps,) whether there is a forecast
    now: F32  # (n_apps,) CPU MHz that was seen to be wanted in the last tick; a cap hides what is beyond it
    capacity: F32  # (n_apps,) CPU MHz that those who serve may use
    saturates: F32  # (n_apps,) CPU MHz of all at which the first of them is full, as traffic is shared out
    booting: F32  # (n_apps,) CPU MHz of members that boot
    shadowed: F32  # (n_apps,) CPU MHz more that its shadows could serve
    seen_ticks: I64  # (n_apps,) for which it has been seen to serve
    fresh: Bools  # (n_apps,) every member that serves was seen in the last tick
    credit: F32  # (n_apps,) of what is unmet

    @property
    def coming(self) -> F32:
        """(n_apps,) CPU MHz that those who serve have, with what is on its way and what shadows could serve."""
        return self.saturates + self.booting + self.shadowed

    def level(self, quantile: float, apps: int | slice = slice(None)) -> F32:
        """(n_apps, n_ahead) CPU MHz at a level, on straight lines between those there are; (n_ahead,) of one."""
        place = np.interp(quantile, LEVELS, np.arange(len(LEVELS)))
        low = int(place)
        high = min(low + 1, len(LEVELS) - 1)
        part = np.float32(place - low)
        ahead = self.ahead[apps]
        out: F32 = (1.0 - part) * ahead[..., low] + part * ahead[..., high]
        return out


#: Days that are remembered, days that must be, and the ticks around the same time that count.
_DAYS, _LEAST_DAYS, _AROUND = 5, 3, 1
#: Use of all that members may use from which more was wanted, and how much is believed: a cap hides it.
_FULL, _BEYOND = 0.98, 1.25
_UPPER = 4  # first level of the upper half
_HOUR_S = 3600.0


class Outlook:
    """The applications of a site, looked at once a tick."""

    def __init__(self, site: Site) -> None:
        """Of the hour to come."""
        self.n_ahead = max(1, round(_HOUR_S / site.tick_s))
        self.tick_s = site.tick_s
        self._n_apps = 0 if site.offloadable is None else len(site.offloadable)
        self._said: F32 | None = None  # (n_rows, n_ahead, 7); NaN = nothing was said of that tick
        self._tick = -1
        self._view: View | None = None  # of the tick `_looked`
        self._looked = -1
        self._seen = np.zeros(self._n_apps, np.int64)
        self._carried = np.zeros(0, np.int64)  # (n_vms,) birth of those that served a tick ago, -1 = none
        self._per_day = max(1, round(86_400.0 / site.tick_s))
        self._days = np.zeros((_DAYS, 0, self._per_day), np.float32)  # what was wanted; NaN = not seen

    def look(self, state: ClusterState) -> View:
        """The view of this tick; who asks again in it gets the same."""
        if self._view is None or state.tick != self._looked:
            self._view, self._looked = self._look(state), state.tick
        return self._view

    def _look(self, state: ClusterState) -> View:
        vms = state.vms
        there = vms.state != VmState.ABSENT
        n_apps = max(self._n_apps, int(vms.app[there].max(initial=-1)) + 1)
        app = np.where(there, vms.app, 0)
        serving = (vms.state == VmState.RUNNING) | (vms.state == VmState.MIGRATING)
        carries = serving & (vms.weight > 0.0)
        cpu = np.where(carries, vms.allocation[:, Resource.CPU], 0.0)
        weight = _sum(app, np.where(carries, vms.weight, 0.0), n_apps)
        share = np.where(carries, vms.weight / np.maximum(weight[app], 1e-9), 0.0)
        full = np.where(share > 0.0, cpu / np.maximum(share, 1e-9), np.inf)
        saturates = np.full(n_apps, np.inf, np.float32)
        np.minimum.at(saturates, app[carries], full[carries].astype(np.float32))
        saturates[~np.isfinite(saturates)] = 0.0
        # A member that has just come up has the weight of any other; it is given its own by its size this tick.
        begins = carries & ((self._carried != vms.birth) if len(self._carried) == len(carries) else False)
        capacity = _sum(app, cpu, n_apps)
        saturates = np.where(_sum(app, begins.astype(np.float32), n_apps) > 0.0, capacity, saturates)
        self._carried = np.where(carries, vms.birth.astype(np.int64), -1)
        seen = vms.age_s < self.tick_s
        stale = _sum(app, (carries & ~seen).astype(np.float32), n_apps)
        boots = (vms.state == VmState.BOOTING) & (vms.kind == VmKind.PRODUCTION)
        clones = (vms.kind == VmKind.SHADOW) & there & (vms.state != VmState.STOPPING) & (vms.primary >= 0)
        most = vms.allocation[np.maximum(vms.primary, 0), Resource.CPU]
        spare = np.maximum(most - np.where(vms.weight > 0.0, vms.allocation[:, Resource.CPU], 0.0), 0.0)
        credit = np.zeros(n_apps, np.float32)
        np.maximum.at(credit, app[there], vms.credit[there])
        if len(self._seen) < n_apps:
            self._seen = np.pad(self._seen, (0, n_apps - len(self._seen)))
        self._seen = np.where(saturates > 0.0, self._seen + 1, 0)
        rows = self._rows(state, app, there, n_apps)
        now = _sum(app, np.where(carries, vms.demand[:, Resource.CPU], 0.0), n_apps)
        widen = np.ones(n_apps, np.float32)
        np.maximum.at(widen, app[carries], vms.widen[carries])
        ahead, memory, foreseen = self._ahead(state, rows, n_apps, widen)
        ahead[~foreseen] = now[~foreseen, None, None]
        hidden = (capacity > 0.0) & (now >= _FULL * capacity)
        recurs = self._recurring(state.tick, np.where(hidden, _BEYOND * now, now), n_apps)
        ahead[:, :, _UPPER:] = np.maximum(ahead[:, :, _UPPER:], recurs[:, :, None])
        return View(
            ahead,
            memory,
            foreseen,
            now,
            capacity,
            saturates,
            _sum(app, np.where(boots, vms.allocation[:, Resource.CPU], 0.0), n_apps),
            _sum(app, np.where(clones, spare, 0.0), n_apps),
            self._seen.copy(),
            stale == 0.0,
            credit,
        )

    def _rows(self, state: ClusterState, app: npt.NDArray[np.int32], there: Bools, n_apps: int) -> I64:
        """(n_apps,) the row of each application's forecast, -1 = none."""
        rows = np.full(n_apps, -1, np.int64)
        rows[app[there]] = state.forecasts.series[there]
        return rows

    def _ahead(self, state: ClusterState, rows: I64, n_apps: int, widen: F32) -> tuple[F32, F32, Bools]:
        """What is said of the hour now; a surge that is under way widens it upwards."""
        said = state.forecasts.quantiles
        nothing = np.zeros((n_apps, self.n_ahead, len(LEVELS)), np.float32)
        if said.size == 0:
            return nothing, nothing[:, 0], np.zeros(n_apps, np.bool_)
        horizons = [int(h) for h in state.forecasts.horizons]
        held = self._move_on(state.tick, said.shape[0])
        near = [k for k, h in enumerate(horizons) if h <= self.n_ahead]
        for k in near:
            place = held[:, horizons[k] - 1]
            largest = np.fmax(place[:, _UPPER:], said[:, Resource.CPU, k, _UPPER:])
            place[:] = said[:, Resource.CPU, k]
            place[:, _UPPER:] = largest
        filled = _filled(held)
        known = rows >= 0
        ahead = np.where(known[:, None, None], filled[rows], nothing)
        middle = ahead[:, :, 3:4]
        ahead[:, :, 4:] = middle + widen[:, None, None] * (ahead[:, :, 4:] - middle)
        memory = said[:, Resource.MEMORY, near].max(axis=1)
        return ahead, np.where(known[:, None], memory[rows], 0.0), known

    def _recurring(self, tick: int, now: F32, n_apps: int) -> F32:
        """(n_apps, n_ahead) what most of the last days wanted about the time of each tick to come; 0 = unknown."""
        if self._days.shape[1] < n_apps:
            more = n_apps - self._days.shape[1]
            self._days = np.pad(self._days, ((0, 0), (0, more), (0, 0)), constant_values=np.nan)
        if tick > 0:  # what is seen now was wanted in the tick that has ended
            self._days[(tick - 1) // self._per_day % _DAYS, :n_apps, (tick - 1) % self._per_day] = now
        ticks = tick + np.arange(self.n_ahead)
        if tick < _LEAST_DAYS * self._per_day:
            return np.zeros((n_apps, self.n_ahead), np.float32)
        found = np.full((_DAYS, n_apps, self.n_ahead), np.nan, np.float32)
        for back in range(1, _DAYS + 1):
            for shift in range(-_AROUND, _AROUND + 1):
                at = ticks + shift - back * self._per_day
                there = at >= 0
                then = at[there]
                value = self._days[then // self._per_day % _DAYS, :n_apps, then % self._per_day].T
                found[back - 1][:, there] = np.fmax(found[back - 1][:, there], value)
        known = np.isfinite(found).sum(axis=0)
        ordered = np.sort(np.where(np.isfinite(found), found, -1.0), axis=0)[::-1]
        middle = np.take_along_axis(ordered, np.maximum(known // 2, 0)[None].clip(max=_DAYS - 1), axis=0)[0]
        out: F32 = np.where(known >= _LEAST_DAYS, np.maximum(middle, 0.0), 0.0).astype(np.float32)
        return out

    def _move_on(self, tick: int, n_rows: int) -> F32:
        passed = tick - self._tick
        if self._said is None or len(self._said) != n_rows or passed < 0 or passed >= self.n_ahead:
            self._said = np.full((n_rows, self.n_ahead, len(LEVELS)), np.nan, np.float32)
        elif passed:
            self._said[:, :-passed] = self._said[:, passed:].copy()
            self._said[:, -passed:] = np.nan
        self._tick = tick
        return self._said


@runtime_checkable
class Foreseeing(Protocol):
    """A component that looks ahead; those of one decider share their outlook."""

    outlook: Outlook


def share(managers: Iterable[object]) -> None:
    """Let all that look ahead do so once: they would see the same."""
    looking = [manager for manager in managers if isinstance(manager, Foreseeing)]
    for manager in looking:
        manager.outlook = looking[0].outlook


def _filled(said: F32) -> F32:
    """Ticks of which nothing was said have what was said of the nearest one after them."""
    out = said.copy()
    for t in range(out.shape[1] - 2, -1, -1):
        empty = np.isnan(out[:, t, 0])
        out[empty, t] = out[empty, t + 1]
    return out


def _sum(app: npt.NDArray[np.int32], amount: npt.NDArray[np.float32], n_apps: int) -> F32:
    return np.bincount(app, weights=amount, minlength=n_apps).astype(np.float32)
