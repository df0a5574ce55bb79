"""Workloads where they fare better: VMs of a class go to the hypervisor that has been measured to steal less from it.

What each hypervisor takes from each class of workload is learned while the run goes on (``envs/profiler.py``). A
move is offered where the intervals say so: the least that the one steals against the most that the other does. Of
hosts of the better hypervisor the one with most CPU to spare by usage takes it, if its promises leave room.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from foreshade._core import ClusterState
from foreshade.agents.bars import Bars
from foreshade.agents.managers.manager import ManagerKnobs, Offer
from foreshade.envs import catalogue
from foreshade.envs.model.action import ActionKind, migrate
from foreshade.envs.model.state import HostState, VmKind, VmState
from foreshade.envs.profile_watch import ProfileWatch
from foreshade.envs.profiler import Profiler
from foreshade.envs.site import Site


class ProfileMatchKnobs(ManagerKnobs):
    """When a class of workload is moved to another hypervisor."""

    least_samples: Annotated[int, Field(ge=1)] = 200  # of a class on both sides: an hour of some twenty VMs
    least_gain: Annotated[float, Field(ge=0, le=1)] = (
        0.02  # of stolen time; below it a move is not worth its trouble
    )
    horizon_h: Annotated[float, Field(gt=0)] = 6.0  # over which what is not stolen counts
    cooldown_h: Annotated[float, Field(ge=0)] = 12.0  # since the VM's last move
    moves: Annotated[int, Field(ge=1)] = 2  # offered in a tick at most
    most_cpu: Annotated[float, Field(gt=0, le=1)] = 0.7  # share of a target's CPU in use after the move


class ProfileMatch:
    """Offers moves to hypervisors that suit a class better."""

    name = "profile_match"

    def __init__(self, knobs: ProfileMatchKnobs) -> None:
        self.knobs = knobs
        self.profiler = Profiler({})
        self._watch: ProfileWatch | None = None
        self._site: Site | None = None

    def reset(self, site: Site) -> None:
        """Believe what the catalogue declares."""
        known = catalogue.hypervisors()
        self.profiler = Profiler({name: known[name] for name in set(site.hypervisors) if name in known})
        self._site = site
        self._watch = ProfileWatch(self.profiler, site)

    def offers(self, state: ClusterState, _bars: Bars, /) -> Sequence[Offer]:
        """Moves of the VMs that would gain most."""
        site, watch = self._site, self._watch
        if site is None or watch is None:
            raise RuntimeError("profile_match: offers: expected reset first")
        if len(set(site.hypervisors)) < 2 or ActionKind.MIGRATE not in site.capabilities:
            return []
        watch.look(state)
        better = self._better(site)
        vms = state.vms
        found: list[Offer] = []
        for vm in np.flatnonzero(np.asarray(vms.state) == int(VmState.RUNNING)):
            host = int(vms.host[vm])
            kind = watch.class_of(int(vms.app[vm]))
            there = better.get((site.hypervisors[host], kind))
            if there is None or int(vms.kind[vm]) != int(VmKind.PRODUCTION):
                continue
            if float(vms.since_move_s[vm]) < self.knobs.cooldown_h * 3600.0:
                continue
            found += self._move(state, site, int(vm), host, kind, *there)
        found.sort(key=lambda offer: offer.cost - offer.performance)
        return found[: self.knobs.moves]

    def taken(self, offer: Offer) -> None:
        """The next states show what came of it."""

    def _better(self, site: Site) -> dict[tuple[str, str], tuple[str, float]]:
        """By hypervisor and class: where it fares better, and by what share of wanted time at least."""
        names = sorted(set(site.hypervisors))
        found: dict[tuple[str, str], tuple[str, float]] = {}
        for kind in {"", *site.app_kinds}:
            steals = {name: self.profiler.estimate(name, kind, "steal") for name in names}
            known = {name: e for name, e in steals.items() if e.n >= self.knobs.least_samples}
            for name, here in known.items():
                gains = {other: here.low - e.high for other, e in known.items() if other != name}
                if gains and max(gains.values()) > self.knobs.least_gain:
                    best = max(gains, key=lambda other: gains[other])
                    found[name, kind] = best, gains[best]
        return found

    def _move(
        self, state: ClusterState, site: Site, vm: int, source: int, kind: str, hypervisor: str, gain: float
    ) -> list[Offer]:
        hosts, vms, knobs = state.hosts, state.vms, self.knobs
        demand, allocation = vms.demand[vm], vms.allocation[vm]
        on = np.asarray(hosts.state) == int(HostState.ON)
        on &= np.array([name == hypervisor for name in site.hypervisors])
        room = hosts.overcommit * hosts.capacity - hosts.allocated - allocation - site.vm_overhead
        after = (hosts.usage[:, 0] + demand[0]) / np.maximum(hosts.capacity[:, 0], 1.0)
        fits = on & (room >= 0.0).all(axis=1) & (after <= knobs.most_cpu)
        if not fits.any():
            return []
        host = int(np.flatnonzero(fits)[np.argmin(after[fits])])
        prices = site.economy
        spared = gain * float(demand[0]) * prices.unmet_usd_h[0] * float(vms.credit[vm]) * knobs.horizon_h
        dark_s = self.profiler.estimate(site.hypervisors[source], kind, "migration_downtime").value / 1000.0
        return [
            Offer(
                "migrate",
                (migrate(vm, host),),
                f"{kind or 'this load'} loses {gain:.1%} less of its time on {hypervisor}",
                vm=vm,
                host=host,
                source=source,
                performance=spared,
                cost=prices.migration_usd,
                latency=prices.downtime_usd_h * dark_s / 3600.0,
                claim=f"vm {vm}",
            )
        ]
