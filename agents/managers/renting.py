"""Cloud hosts are rented when our own will not do, the cheapest that is large enough, and given back when they do.

Asked each tick: does the upper edge of the demand over the time that a hire takes to arrive, or the memory that is
allocated, exceed what our own hosts and those already hired or on their way carry? Then the cheapest hosts that close
the gap are ordered: by their price an hour, a spot host's with what its reclaims are expected to cost on top, per
unit of what is short. Hired hosts are filled from the fullest of ours. One goes back once the rest carries the
upper edge over ``return_ticks``, in the last ticks of the hour that is paid already. Reserved hosts are paid
anyway, so they come first and go back only as far as they are empty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from foreshade._core import ClusterState
from foreshade.agents.bars import LEAVING, Bars
from foreshade.agents.managers.demand_ahead import wanted_by
from foreshade.agents.managers.manager import ManagerKnobs, Offer
from foreshade.agents.managers.relocation import Relocation
from foreshade.agents.managers.worth import move_usd, outage_usd
from foreshade.envs.model.action import Action, ActionKind, rent
from foreshade.envs.model.state import HostState, VmState
from foreshade.envs.site import Site

_HOUR_S = 3600.0
_SURE = 0.9  # confidence of a hazard beyond which its host does not count as there


class RentingKnobs(ManagerKnobs):
    """When hosts are hired and given back."""

    target: Annotated[float, Field(gt=0, le=1)] = 0.9  # use of CPU up to which our own hosts do
    z: Annotated[float, Field(ge=0)] = 2.0  # standard deviations of the upper edge
    rise: Annotated[float, Field(ge=0)] = 0.1  # on top of the demand of now where nothing forecasts
    hold_ticks: Annotated[int, Field(ge=1)] = 2  # that the gap lasts before anything is hired
    return_ticks: Annotated[int, Field(ge=1)] = 12  # for which the rest must do before one goes back
    worth: Annotated[float, Field(gt=0)] = 1.0  # times the hire that the demand served with it must be worth
    restart_h: Annotated[float, Field(gt=0)] = 0.1  # that a VM is out whose spot host was reclaimed


class Renting:
    """How long there has been a gap, and which hosts are on their way back."""

    name = "renting"

    def __init__(self, knobs: RentingKnobs | None = None) -> None:
        self.knobs = knobs or RentingKnobs()

    def reset(self, site: Site) -> None:
        """A run begins."""
        self._site = site
        self._short_for = 0
        self._returning: set[int] = set()

    def bars(self, state: ClusterState) -> Bars:
        """Hosts that go back take nothing."""
        hosts = state.hosts
        self._returning = {
            h for h in self._returning if hosts.state[h] == HostState.ON and not self._needed_again(state, h)
        }
        bars = Bars.none(state)
        bars.hosts[list(self._returning)] = LEAVING
        return bars

    def offers(self, state: ClusterState, bars: Bars) -> Sequence[Offer]:
        """Hosts to hire, moves to those that are there, hosts to give back."""
        site = self._site
        if ActionKind.RENT not in site.capabilities or not site.rented.any():
            return ()
        hire = self._hire(state)
        if hire:
            return hire
        return [*self._fill(state, bars), *self._give_back(state, bars)]

    def taken(self, offer: Offer) -> None:
        """A host whose return was begun is emptied until it is gone."""
        if offer.claim.startswith("return "):
            self._returning.add(int(offer.claim.rsplit(" ", 1)[1]))

    def _carried(self, state: ClusterState, but: int = -1) -> tuple[float, float]:
        """CPU and memory that our own hosts, switched on, and hired ones carry; none that is sure to go."""
        hosts = state.hosts
        there = ~np.isin(hosts.state, (HostState.FAILED, HostState.MAINTENANCE, HostState.UNRENTED))
        there &= ~((hosts.hazard_confidence > _SURE) & (hosts.hazard_per_h > 1.0))  # noticed by its provider
        if but >= 0:
            there[but] = False
        limit = hosts.capacity * hosts.overcommit
        return self.knobs.target * float(hosts.capacity[there, 0].sum()), float(limit[there, 1].sum())

    def _wanted(self, state: ClusterState, ticks: int) -> tuple[float, float]:
        vms = state.vms
        cpu = wanted_by(state, ticks, self.knobs.z, rise=self.knobs.rise)
        there = (vms.state != VmState.ABSENT) & (vms.state != VmState.STOPPING)
        overhead = float(self._site.vm_overhead[:, 1].max())
        return cpu, float(vms.allocation[there, 1].sum()) + overhead * float(there.sum())

    def _hire(self, state: ClusterState) -> Sequence[Offer]:
        hosts, site, knobs = state.hosts, self._site, self.knobs
        free = site.rented & (hosts.state == HostState.UNRENTED)
        provision_s = float(hosts.boot_s[site.rented].max(initial=0.0))
        wanted = self._wanted(state, math.ceil(provision_s / site.tick_s) + 1)
        carried = self._carried(state)
        short_cpu, short_memory = max(wanted[0] - carried[0], 0.0), max(wanted[1] - carried[1], 0.0)
        self._short_for = self._short_for + 1 if short_cpu > 0.0 or short_memory > 0.0 else 0
        if self._short_for < knobs.hold_ticks or not free.any():
            return ()
        limit = hosts.capacity * hosts.overcommit
        prices = self._price_usd_h(state)
        actions: list[Action] = []
        chosen: list[int] = []
        cpu, memory = short_cpu, short_memory
        why = f"{short_cpu / 1000:.1f} GHz and {short_memory / 1024:.1f} GiB more will be wanted than our hosts carry"
        left = np.flatnonzero(free).tolist()
        while left and (cpu > 0.0 or memory > 0.0):
            # The cheapest for what it closes of the gap; one that closes it alone before several.
            def rate(h: int, cpu: float = cpu, memory: float = memory) -> tuple[float, float, int]:
                closes = []
                if cpu > 0.0:
                    closes.append(min(1.0, knobs.target * float(hosts.capacity[h, 0]) / cpu))
                if memory > 0.0:
                    closes.append(min(1.0, float(limit[h, 1]) / memory))
                return float(prices[h]) / max(min(closes), 1e-9), float(prices[h]), h

            best = min(left, key=rate)
            left.remove(best)
            chosen.append(best)
            actions.append(rent(best, True, why))
            cpu -= knobs.target * float(hosts.capacity[best, 0])
            memory -= float(limit[best, 1])
        economy = site.economy
        credit = float(state.vms.credit[state.vms.host >= 0].mean()) if (state.vms.host >= 0).any() else 1.0
        gain = (short_cpu * economy.unmet_usd_h[0] + short_memory * economy.unmet_usd_h[1]) * credit
        hire = float(prices[chosen].sum())
        if gain < knobs.worth * hire:
            return ()
        # Each hour at a time: what is hired may go back when its hour is over.
        return (
            Offer(
                "rent",
                tuple(actions),
                f"{why}: worth {gain:.2f} USD/h, hire {hire:.2f} USD/h",
                host=chosen[0],
                performance=gain,
                utilisation=-hire,
                ready_h=provision_s / _HOUR_S,
            ),
        )

    def _price_usd_h(self, state: ClusterState) -> npt.NDArray[np.float64]:
        """Hire of each host; of spot ones with what the loss of their VMs is expected to cost."""
        prices = state.hosts.price_usd_h.astype(np.float64)
        rates = self._site.reclaims_per_h
        if rates is None or not rates.any():
            return prices
        placed = np.flatnonzero(state.vms.host >= 0)
        if len(placed) == 0:
            return prices
        mean = float(
            np.mean([outage_usd(self._site, state, v, self.knobs.restart_h) for v in placed.tolist()])
        )
        per_host = len(placed) / max(int((state.hosts.n_vms > 0).sum()), 1)
        return prices + rates * mean * per_host

    def _fill(self, state: ClusterState, bars: Bars) -> Sequence[Offer]:
        """Moves from the fullest of our hosts to hired ones that have room."""
        hosts, site, knobs = state.hosts, self._site, self.knobs
        hired = site.rented & (hosts.state == HostState.ON)
        hired[list(self._returning)] = False
        if not hired.any():
            return ()
        use = hosts.usage[:, 0] / np.maximum(
            hosts.capacity[:, 0] * np.maximum(1.0 - hosts.contention, 0.05), 1.0
        )
        full = np.flatnonzero(~site.rented & (hosts.state == HostState.ON) & (use > knobs.target)).tolist()
        room = Relocation(site, state, hired, cpu_share=knobs.target, bars=bars)
        offers = []
        for host in sorted(full, key=lambda h: (-float(use[h]), h)):
            over = (float(use[host]) - knobs.target) * float(hosts.capacity[host, 0])
            why = f"host {host} is used to {use[host]:.0%}; hired hosts have room"
            actions: list[Action] = []
            moved = cost = dark = 0.0
            for vm in sorted(room.residents(host), key=lambda v: (-float(state.vms.demand[v, 0]), v)):
                if moved >= over:
                    break
                moves = room.move(vm, why)
                if not moves:
                    continue
                actions.extend(moves)
                moved += float(state.vms.demand[vm, 0])
                usd, down = move_usd(site, state, vm)
                cost, dark = cost + usd, dark + down
            if actions:
                gain = min(over, moved) * site.economy.unmet_usd_h[0]
                offers.append(
                    Offer(
                        "migrate",
                        tuple(actions),
                        why,
                        vm=actions[0].vm,
                        host=actions[0].host,
                        source=host,
                        performance=gain,
                        cost=cost,
                        latency=dark,
                    )
                )
        return offers

    def _needed_again(self, state: ClusterState, host: int) -> bool:
        wanted, carried = self._wanted(state, 2), self._carried(state, host)
        return wanted[0] > carried[0] or wanted[1] > carried[1]

    def _give_back(self, state: ClusterState, bars: Bars) -> Sequence[Offer]:
        """A hired host whose hour ends and that the rest can do without: its VMs leave, then it goes."""
        hosts, site, knobs = state.hosts, self._site, self.knobs
        hired = np.flatnonzero(site.rented & (hosts.state == HostState.ON))
        prices = hosts.price_usd_h
        wanted = self._wanted(state, knobs.return_ticks)
        offers: list[Offer] = []
        for host in sorted(hired.tolist(), key=lambda h: (-float(prices[h]), h)):
            empty = hosts.n_vms[host] == 0 and hosts.arriving[host] == 0
            carried = self._carried(state, host)
            if wanted[0] > carried[0] or wanted[1] > carried[1]:
                continue
            # The hour is paid: what is left of it is had for nothing, but for the ticks that leaving takes.
            left_s = _HOUR_S - float(hosts.since_s[host]) % _HOUR_S
            due = left_s <= (1.0 if empty else 3.0) * site.tick_s
            hire = float(prices[host])
            if hire > 0.0 and not due and host not in self._returning:
                continue
            if empty:
                if hire == 0.0:
                    continue  # reserved: it costs nothing more to keep
                why = f"our hosts carry all for {knobs.return_ticks * site.tick_s / _HOUR_S:.1f} h; its hour ends"
                offers.append(Offer("give_back", (rent(host, False, why),), why, host=host, utilisation=hire))
                continue
            if hire == 0.0:
                continue
            takes = np.ones(len(hosts.state), bool)
            takes[list(self._returning | {host})] = False
            why = f"hired host {host} goes back: our hosts carry all, and its hour ends in {left_s / 60:.0f} min"
            room = Relocation(site, state, takes, cpu_share=knobs.target, bars=bars)
            leaving = room.empty([host], why)
            if not leaving:
                continue
            moves = [move_usd(site, state, a.vm) for a in leaving]
            offers.append(
                Offer(
                    "drain",
                    leaving,
                    why,
                    vm=leaving[0].vm,
                    host=leaving[0].host,
                    source=host,
                    utilisation=hire,
                    cost=sum(usd for usd, _ in moves),
                    latency=sum(dark for _, dark in moves),
                    claim=f"return {host}",
                )
            )
        return offers
