"""Warm pools: spares that stand paused, for demand that the spawning controller does not act on yet.

A spare boots, pauses, and holds its room; resumed it serves at once. For each application there are as many as a
higher quantile of the hour to come wants beyond what its VMs can serve. They go when that quantile has fitted for a
declared time. What a spare is worth is the time that it saves: a cold boot's, and the waking of a host where a new VM
would need one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from foreshade._core import ClusterState
from foreshade.agents.bars import Bars
from foreshade.agents.managers.manager import Offer
from foreshade.agents.managers.need import Need, TriggerKnobs, needs, worth
from foreshade.agents.managers.outlook import Outlook, View
from foreshade.agents.managers.room import Room
from foreshade.agents.managers.sizing import Sizing
from foreshade.envs import catalogue
from foreshade.envs.model.action import ActionKind, Boot, despawn, five, spawn
from foreshade.envs.model.state import Resource, VmKind, VmState
from foreshade.envs.site import Site


class WarmPoolKnobs(TriggerKnobs):
    """Of the warm pools."""

    level: Annotated[float, Field(ge=0.5, lt=1)] = (
        0.975  # of the forecast that VMs and spares together must serve
    )
    most: Annotated[int, Field(ge=1)] = 2  # spares of one application
    idle_ticks: Annotated[int, Field(ge=1)] = 12  # for which a spare was not wanted, before it goes
    wakes_s: Annotated[float, Field(ge=0)] = (
        0.0  # of a host's boot that a spare also saves; 0 = there is room then
    )


class WarmPool:
    """See the module; a ``Manager``."""

    name = "warm_pool"

    def __init__(self, knobs: WarmPoolKnobs | None = None) -> None:
        self.knobs = knobs or WarmPoolKnobs()

    def reset(self, site: Site) -> None:
        """Forget everything; a run on ``site`` begins."""
        self._site = site
        self.outlook, self._room, self._sizing = Outlook(site), Room(site), Sizing(site)
        boots = catalogue.hypervisor(self._sizing.hypervisor).boot_s
        self._saved_s = boots.cold - boots.spare + self.knobs.wakes_s
        self._unwanted: dict[
            tuple[int, int], int
        ] = {}  # VM and birth of a spare: ticks in which nobody wanted it
        self._coming: dict[int, int] = {}  # application: tick in which a spare of it was ordered

    def offers(self, state: ClusterState, _bars: Bars, /) -> Sequence[Offer]:
        """A spare for each application that may want more than is foreseen; the end of those that nobody wants."""
        if not {ActionKind.SPAWN, ActionKind.DESPAWN} <= self._site.capabilities:
            return ()
        self._tick = state.tick
        view = self.outlook.look(state)
        self._room.look(state)
        spares = self._spares(state)
        capacity = view.coming.copy()
        for app, vms in spares.items():
            capacity[app] += float(state.vms.allocation[vms, Resource.CPU].sum())
        short = {need.app: need for need in needs(view, self.knobs, capacity)}
        found = []
        for need in short.values():
            if len(spares.get(need.app, ())) < self.knobs.most:
                offer = self._more(state, view, need)
                if offer is not None:
                    found.append(offer)
        found.extend(self._ends(state, view, spares))
        return found

    def taken(self, offer: Offer) -> None:
        """A spare boots: until it pauses it cannot be told from a member."""
        if offer.kind == "spawn":
            self._coming[offer.actions[0].app] = self._tick

    def _spares(self, state: ClusterState) -> dict[int, list[int]]:
        """The paused VMs of each application."""
        found: dict[int, list[int]] = {}
        paused = (state.vms.state == VmState.PAUSED) & (state.vms.kind == VmKind.PRODUCTION)
        for vm in np.flatnonzero(paused).tolist():
            found.setdefault(int(state.vms.app[vm]), []).append(vm)
        return found

    def _more(self, state: ClusterState, view: View, need: Need) -> Offer | None:
        if state.tick - self._coming.get(need.app, -10) <= 1:
            return None
        template = self._sizing.template(need.app)
        if template is None or "spare" not in template.boot:
            return None
        selection = self._sizing.select(state, view, need, self._room)
        place = None if selection is None else self._room.find(selection.allocation)
        if selection is None or place is None:
            return None
        self._room.take(place.host, selection.allocation)
        hold = self.knobs.hold_ticks
        usd, late = worth(
            self._site, need, selection.allocation[Resource.CPU], 0, hold, float(view.credit[need.app])
        )
        # Of all that it would serve in the hold, what would be missed while a new VM boots.
        saves = min(1.0, self._saved_s / self._site.tick_s)
        part = saves / max(math.ceil(hold / 2), 1)
        return Offer(
            "spawn",
            (spawn(need.app, place.host, selection.allocation, Boot.COLD, paused=True),),
            f"{need} at the {self.knobs.level:.1%} level: a spare stands by",
            host=place.host,
            performance=usd * part,
            utilisation=-place.usd_h * hold * self._site.tick_s / 3600.0,
            latency=-late * part,
            ready_h=self._saved_s / 3600.0,
            claim=f"spares of app {need.app}",
        )

    def _ends(self, state: ClusterState, view: View, spares: dict[int, list[int]]) -> Iterator[Offer]:
        """The spares that nobody wanted for long, one of an application a tick."""
        counted: dict[tuple[int, int], int] = {}
        for app, vms in spares.items():
            there = float(state.vms.allocation[vms, Resource.CPU].sum())
            upper = float(view.level(self.knobs.level, app).max())
            ended = False
            for vm in vms:
                key = (vm, int(state.vms.birth[vm]))
                left = float(view.coming[app]) + there - float(state.vms.allocation[vm, Resource.CPU])
                wanted = not view.fresh[app] or upper > self.knobs.threshold * left
                counted[key] = 0 if wanted else self._unwanted.get(key, 0) + 1
                if counted[key] < self.knobs.idle_ticks or ended:
                    continue
                ended = True
                host = int(state.vms.host[vm])
                held_h = self.knobs.hold_ticks * self._site.tick_s / 3600.0
                saved = self._room.usd_h(host, five(state.vms.allocation[vm].tolist())) * held_h
                reason = f"nobody wanted spare vm {vm} for {counted[key]} ticks: it goes"
                yield Offer("despawn", (despawn(vm),), reason, vm=vm, host=host, utilisation=1e-3 + saved)
        self._unwanted = counted
