"""Micro-VM helpers ahead of demand: for the part of an application's work that can be handed off.

The proposer offers micro-VMs where VMs are seen at their limit. This component offers them before: where the upper
forecast of an application with work to hand off exceeds what its VMs can serve, as large as what will be missing and
for as long as it will be. They boot in seconds, take traffic by their size from the start, and expire; a need that
lasts is helped anew. They claim the same need as a spawned VM and a shadow: what is worth most is taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from foreshade._core import ClusterState
from foreshade.agents.bars import Bars
from foreshade.agents.managers.manager import Offer
from foreshade.agents.managers.need import Need, TriggerKnobs, needs, worth
from foreshade.agents.managers.outlook import Outlook, View
from foreshade.agents.managers.room import Room
from foreshade.envs import catalogue
from foreshade.envs.model.action import ActionKind, five, microvm
from foreshade.envs.model.state import Resource, VmKind, VmState
from foreshade.envs.site import Site


class MicroVmsKnobs(TriggerKnobs):
    """Of the micro-VM helpers."""

    target: Annotated[float, Field(gt=0, le=1)] = 0.8  # share of a helper's CPU that it is meant to use
    least_mhz: Annotated[float, Field(gt=0)] = 500.0  # of a helper
    most_mhz: Annotated[float, Field(gt=0)] = 10_000.0
    memory_margin: Annotated[float, Field(ge=1)] = 1.3  # over its part of the application's memory
    least_mib: Annotated[float, Field(gt=0)] = 256.0
    most: Annotated[int, Field(ge=1)] = 4  # helpers of one application
    lead_ticks: Annotated[int, Field(ge=0)] = 2  # before the demand comes
    tail_ticks: Annotated[int, Field(ge=0)] = 1  # that a helper outlives the need


class MicroVms:
    """See the module; a ``Manager``."""

    name = "microvms"

    def __init__(self, knobs: MicroVmsKnobs | None = None) -> None:
        self.knobs = knobs or MicroVmsKnobs()

    def reset(self, site: Site) -> None:
        """Forget everything; a run on ``site`` begins."""
        self._site = site
        self.outlook, self._room = Outlook(site), Room(site)
        names = site.hypervisors[:1]
        self._boot_s = catalogue.hypervisor(names[0] if names else "kvm").boot_s.microvm

    def offers(self, state: ClusterState, _bars: Bars, /) -> Sequence[Offer]:
        """A helper for each application that will be short and can hand off work."""
        if self._site.offloadable is None or ActionKind.MICROVM not in self._site.capabilities:
            return ()
        view = self.outlook.look(state)
        self._room.look(state)
        offers = []
        for need in needs(view, self.knobs):
            if self.knobs.trigger == "forecast" and (not need.foreseen or need.first > self.knobs.lead_ticks):
                continue  # what is not foreseen is the proposer's
            offer = self._helper(state, view, need)
            if offer is not None:
                offers.append(offer)
        return offers

    def taken(self, offer: Offer) -> None:
        """It is seen in the state."""

    def _helper(self, state: ClusterState, view: View, need: Need) -> Offer | None:
        vms, app = state.vms, need.app
        share = float(self._site.offloadable[app]) if self._site.offloadable is not None else 0.0
        members = (vms.app == app) & (vms.kind == VmKind.PRODUCTION) & (vms.state == VmState.RUNNING)
        helpers = (vms.app == app) & (vms.kind == VmKind.MICRO) & (vms.state != VmState.ABSENT)
        if share <= 0.0 or not members.any() or int(helpers.sum()) >= self.knobs.most:
            return None
        there = float(vms.allocation[helpers, Resource.CPU].sum())
        missing = need.wanted / self.knobs.threshold - need.capacity
        # Beyond the share that can be handed off a helper would stand idle: w / (w + others) = share.
        most = share / max(1.0 - share, 1e-6) * float(vms.allocation[members, Resource.CPU].sum()) - there
        cpu = min(max(missing / self.knobs.target, self.knobs.least_mhz), self.knobs.most_mhz, most)
        if cpu < self.knobs.least_mhz:
            return None
        memory = max(float(view.memory[app, -1]), float(vms.usage[members, Resource.MEMORY].sum()))
        part = cpu / max(need.capacity + cpu, 1.0)
        flavour = vms.flavour[members][0]
        size = part * memory * self.knobs.memory_margin
        size += 0.5 * memory / float(members.sum()) * cpu / float(flavour[0])
        io = [float(vms.allocation[members, r].max()) * min(1.0, cpu / float(flavour[0])) for r in (2, 3)]
        allocation = five([cpu, max(size, self.knobs.least_mib), *io, 0.0])
        place = self._room.find(allocation, avoid=vms.host[members].tolist())
        if place is None:
            return None
        self._room.take(place.host, allocation)
        lasts = self._lasts(need)
        hold = max(lasts, 1)
        usd, late = worth(self._site, need, cpu, 0, hold, float(view.credit[app]))
        life_s = (lasts + self.knobs.tail_ticks) * self._site.tick_s
        return Offer(
            "microvm",
            (microvm(app, place.host, allocation, life_s),),
            f"{need} in {need.first * self._site.tick_s / 60:.0f} min: a micro-VM for {life_s / 60:.0f} min",
            vm=int(np.flatnonzero(members)[0]),
            host=place.host,
            performance=usd,
            utilisation=-place.usd_h * life_s / 3600.0,
            latency=-late,
            ready_h=self._boot_s / 3600.0,
            claim=f"capacity of app {app}",
        )

    def _lasts(self, need: Need) -> int:
        """Ticks from now until the demand of the hour fits again at the level."""
        over = np.flatnonzero(need.path[:, 5] > self.knobs.threshold * need.capacity)
        return math.ceil(float(over[-1]) + 1.0) if len(over) else self.knobs.hold_ticks
