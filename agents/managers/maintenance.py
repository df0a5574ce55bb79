"""Hosts are emptied before their maintenance, in the quiet hour before it; in a freeze nothing moves.

A window that is known beforehand is drained at the quietest time between ``lead_h`` before it and the last time that
leaves ``slack_min`` and a migration for every VM. Quiet is what the cluster will want: its forecast where there is
one for that time, else what it wanted at that time of day so far. Where the VMs find no room, hosts that are off
are woken; a VM that can go nowhere stays, and its owner is told so by the reason of the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from foreshade._core import ClusterState
from foreshade.agents.bars import LEAVING, Bars
from foreshade.agents.managers.demand_ahead import wanted_now
from foreshade.agents.managers.manager import ManagerKnobs, Offer
from foreshade.agents.managers.relocation import Relocation
from foreshade.agents.managers.worth import move_usd, outage_usd
from foreshade.envs.model.action import Action, PowerTarget, power, power_rack
from foreshade.envs.model.state import HostState
from foreshade.envs.site import Site, SiteWindow

_BIN_S = 1800.0  # of the day, over which demand is remembered
_BINS = 48


class MaintenanceKnobs(ManagerKnobs):
    """How far ahead hosts are emptied."""

    lead_h: Annotated[float, Field(gt=0)] = (
        6.0  # before the window at the earliest: room that is given up meanwhile
    )
    slack_min: Annotated[float, Field(ge=0)] = 20.0  # before the window at the latest, beside the migrations
    minutes_per_vm: Annotated[float, Field(gt=0)] = 0.5  # that a migration is reckoned to take, two at a time
    restart_h: Annotated[float, Field(gt=0)] = (
        0.1  # that a VM is out which is still there when the window begins
    )


class MaintenanceDrains:
    """What the site's windows ask for; remembers what the cluster wanted by time of day."""

    name = "maintenance"

    def __init__(self, knobs: MaintenanceKnobs | None = None) -> None:
        self.knobs = knobs or MaintenanceKnobs()

    def reset(self, site: Site) -> None:
        """A run begins."""
        self._site = site
        self._wanted = np.full(_BINS, np.nan)
        self._begins_s: dict[SiteWindow, float] = {}  # when each drain begins, once that was chosen

    def bars(self, state: ClusterState) -> Bars:
        """In a freeze nothing moves; hosts that are being emptied take nothing."""
        self._remember(state)
        bars = Bars.none(state)
        now = state.time_s
        if any(w.freeze and w.start_s <= now < w.end_s for w in self._site.windows):
            bars.fixed[:] = 1
        for window in self._draining(state):
            bars.hosts[list(window.hosts)] = LEAVING
        return bars

    def offers(self, state: ClusterState, bars: Bars) -> Sequence[Offer]:
        """One offer a host that is to come empty: its VMs leave; where they cannot, a host is woken."""
        windows = list(self._draining(state))
        if not windows:
            return ()
        site, hosts = self._site, state.hosts
        takes = np.ones(len(hosts.state), bool)
        for window in windows:
            takes[list(window.hosts)] = False
        room = Relocation(site, state, takes, cpu_share=1.0, bars=bars)
        offers: list[Offer] = []
        stuck: dict[int, int] = {}
        for window in windows:
            left_h = max(window.start_s - state.time_s, 0.0) / 3600.0
            for host in window.hosts:
                if hosts.state[host] != HostState.ON:
                    continue
                why = f"host {host} is in maintenance in {left_h:.1f} h ({window.said})"
                actions: list[Action] = []
                gain = cost = dark = 0.0
                for vm in room.residents(host):
                    moves = room.move(vm, why)
                    if not moves:
                        stuck[host] = stuck.get(host, 0) + int(room.movable(vm))
                        continue
                    actions.extend(moves)
                    usd, down = move_usd(site, state, vm)
                    gain += outage_usd(site, state, vm, self.knobs.restart_h)
                    cost, dark = cost + usd, dark + down
                if actions:
                    offers.append(
                        Offer(
                            "drain",
                            tuple(actions),
                            why,
                            vm=actions[0].vm,
                            host=actions[0].host,
                            source=host,
                            performance=gain + cost + dark,  # people come for certain: leaving is not weighed
                            cost=cost,
                            latency=dark,
                        )
                    )
        return [*offers, *self._wake(state, takes, stuck)]

    def taken(self, offer: Offer) -> None:
        """Nothing to remember: a host that is empty shows no VMs."""

    def _wake(self, state: ClusterState, takes: np.ndarray, stuck: dict[int, int]) -> Iterator[Offer]:
        hosts = state.hosts
        coming = np.isin(hosts.state, (HostState.BOOTING, HostState.WAKING))
        down = takes & np.isin(hosts.state, (HostState.OFF, HostState.ASLEEP)) & ~self._site.rented
        if not any(stuck.values()) or coming.any() or not down.any():
            return
        host = int(np.where(down, hosts.capacity[:, 1], -1.0).argmax())
        why = f"room for {sum(stuck.values())} VMs that leave hosts before maintenance"
        actions = (power_rack(int(hosts.rack[host]), PowerTarget.ON, why), power(host, PowerTarget.ON, why))
        worth = sum(
            outage_usd(self._site, state, vm, self.knobs.restart_h)
            for source, n in stuck.items()
            if n
            for vm in np.flatnonzero(state.vms.host == source).tolist()
        )
        yield Offer(
            "power_on", actions, why, host=host, performance=worth, ready_h=float(hosts.boot_s[host]) / 3600.0
        )

    def _draining(self, state: ClusterState) -> Iterator[SiteWindow]:
        """Windows whose hosts are to come empty now."""
        for window in self._site.windows:
            if window.freeze or state.time_s >= window.end_s:
                continue
            if state.time_s >= window.start_s - self.knobs.lead_h * 3600.0 and state.time_s >= self._begin(
                state, window
            ):
                yield window

    def _begin(self, state: ClusterState, window: SiteWindow) -> float:
        """When its drain begins: the quietest time between the lead and the last safe one, no freeze in it."""
        if window in self._begins_s:
            return self._begins_s[window]
        n_vms = int(np.isin(state.vms.host, window.hosts).sum())
        needs_s = self.knobs.slack_min * 60.0 + n_vms * self.knobs.minutes_per_vm * 60.0
        last = window.start_s - needs_s
        freezes = [
            w
            for w in self._site.windows
            if w.freeze and w.end_s > state.time_s and w.start_s < window.start_s
        ]
        for freeze in reversed(freezes):
            if freeze.start_s < last + needs_s and freeze.end_s > last:
                last = freeze.start_s - needs_s
        first = max(window.start_s - self.knobs.lead_h * 3600.0, state.time_s)
        if last <= first:
            self._begins_s[window] = first
            return first
        steps = max(1, math.floor((last - first) / self._site.tick_s))
        times = first + np.arange(steps + 1) * self._site.tick_s
        free = np.array([not any(f.start_s <= t < f.end_s for f in freezes) for t in times])
        wanted = np.where(free, [self._wanted_at(state, t) for t in times], np.inf)
        # Of equal ones the latest: what is known of the time to come grows.
        best = (
            float(times[len(times) - 1 - int(np.argmin(wanted[::-1]))]) if np.isfinite(wanted).any() else last
        )
        self._begins_s[window] = best
        return best

    def _wanted_at(self, state: ClusterState, time_s: float) -> float:
        """CPU that the cluster will want then: forecast, or what it wanted at that time of day."""
        forecasts = state.forecasts
        if forecasts.moments.size:
            ahead_s = forecasts.horizons * self._site.tick_s
            if time_s - state.time_s <= ahead_s[min(2, len(ahead_s) - 1)]:
                totals = forecasts.moments[:, :, 0, 0].sum(axis=1)
                return float(np.interp(time_s - state.time_s, ahead_s, totals))
        then = self._wanted[int(time_s % 86_400.0 // _BIN_S)]
        return float(then) if np.isfinite(then) else wanted_now(state)

    def _remember(self, state: ClusterState) -> None:
        k = int(state.time_s % 86_400.0 // _BIN_S)
        now = wanted_now(state)
        self._wanted[k] = now if not np.isfinite(self._wanted[k]) else 0.7 * self._wanted[k] + 0.3 * now
