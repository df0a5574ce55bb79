"""The spawning controller: one more VM of an application before its demand no longer fits.

It acts when the upper forecast of an application exceeds what its VMs can serve, as early as a new one takes to
serve by the boot times that were seen, and the host's where one must be woken. ``select_template`` says which VM,
how large and how it boots; a paused spare that stands ready is resumed instead.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from foreshade._core import ClusterState
from foreshade.agents.bars import Bars
from foreshade.agents.managers.manager import Offer
from foreshade.agents.managers.members import BootTimes, Members
from foreshade.agents.managers.need import Need, TriggerKnobs, needs, worth
from foreshade.agents.managers.outlook import Outlook, View
from foreshade.agents.managers.room import Place, Room
from foreshade.agents.managers.sizing import Sizing
from foreshade.envs import catalogue
from foreshade.envs.model.action import Action, ActionKind, Allocation, Boot, five, shift, spawn
from foreshade.envs.model.state import Resource, VmKind, VmState
from foreshade.envs.site import Site
from foreshade.envs.templates.template import Template


class SpawningKnobs(TriggerKnobs):
    """Of the spawning controller."""

    most: Annotated[int, Field(ge=1)] = 4  # VMs that are spawned of an application in a tick
    margin_ticks: Annotated[int, Field(ge=0)] = (
        1  # earlier than the boot time asks for: one tick to decide in
    )
    wake: bool = True  # whether a host may be woken for a VM
    unknown: bool = (
        False  # whether applications whose type has no template are given VMs too: one-off jobs are such
    )


class Spawning:
    """See the module; a ``Manager``."""

    name = "spawning"

    def __init__(
        self, knobs: SpawningKnobs | None = None, library: Mapping[str, Template] | None = None
    ) -> None:
        self.knobs = knobs or SpawningKnobs()
        self._library = library

    def reset(self, site: Site) -> None:
        """Forget everything; a run on ``site`` begins."""
        self._site = site
        self.outlook, self._room, self._members = Outlook(site), Room(site), Members()
        self._sizing = Sizing(site, self._library)
        boots = catalogue.hypervisor(self._sizing.hypervisor).boot_s
        self.boots = BootTimes(
            {Boot.COLD: boots.cold, Boot.RESTORED: boots.restored, Boot.SPARE: boots.spare}
        )
        self._asked: list[tuple[int, Boot, float]] = []  # application, path, when: of what was taken
        self._now_s = 0.0

    def offers(self, state: ClusterState, _bars: Bars, /) -> Sequence[Offer]:
        """A VM more for each application that is about to be short, and traffic by size for those that came up."""
        if ActionKind.SPAWN not in self._site.capabilities:
            return ()
        view = self.outlook.look(state)
        self._room.look(state)
        self._members.look(state)
        self._learn(state)
        found = list(self._balance(state))
        for need in needs(view, self.knobs):
            offer = self._resumed(state, view, need) or self._spawned(state, view, need)
            if offer is not None:
                found.append(offer)
        return found

    def taken(self, offer: Offer) -> None:
        """Its VMs are looked for in the ticks to come."""
        for action in offer.actions:
            if offer.kind == "spawn":
                self._asked.append((action.app, Boot(int(action.value)), self._now_s))

    def _spawned(self, state: ClusterState, view: View, need: Need) -> Offer | None:
        """New VMs where there is room, or the host that is woken for them."""
        app = need.app
        stands = _hosts(state, app)
        if not stands or (self._sizing.template(app) is None and not self.knobs.unknown):
            return None
        selection = self._sizing.select(state, view, need, self._room)
        if selection is None:
            return None
        places: list[Place] = []
        for _ in range(min(selection.vms, self.knobs.most)):
            place = self._room.find(selection.allocation, avoid=stands, wake=self.knobs.wake and not places)
            if place is None or (place.wake and self._room.coming(selection.allocation)):
                break  # a host comes up that will hold it
            places.append(place)
            if place.wake:
                break
            self._room.take(place.host, selection.allocation)
            stands.append(place.host)
        if not places:
            return None
        boot_s = self.boots.of(selection.boot) + self._sizing.software_s(selection) + places[0].ready_s
        ready = math.ceil(boot_s / self._site.tick_s)
        if need.foreseen and need.first > ready + self.knobs.margin_ticks:
            return None  # there is time yet
        wake = places[0].wake
        if wake and self._wasted(view, need, places[0], selection.allocation, ready):
            return None  # it would not be taken, and others may need the host
        if wake:
            self._room.take(places[0].host, selection.allocation)
            what: tuple[Action, ...] = wake
            reason = f"{need}: host {places[0].host} is woken for a VM"
        else:
            what = tuple(spawn(app, p.host, selection.allocation, selection.boot) for p in places)
            reason = f"{need} in {need.first * self._site.tick_s / 60:.0f} min: {selection.template.name}"
        kind = "power_on" if wake else "spawn"
        return self._offer(view, need, kind, what, reason, selection.allocation, places, boot_s)

    def _resumed(self, state: ClusterState, view: View, need: Need) -> Offer | None:
        """A spare of the application that stands paused is resumed: it is the fastest, and holds its room already."""
        vms = state.vms
        paused = (vms.app == need.app) & (vms.state == VmState.PAUSED) & (vms.kind == VmKind.PRODUCTION)
        for vm in np.flatnonzero(paused).tolist():
            boot_s = self.boots.of(Boot.SPARE)
            if need.foreseen and need.first > math.ceil(boot_s / self._site.tick_s) + self.knobs.margin_ticks:
                return None
            allocation = five(vms.allocation[vm].tolist())
            what = (spawn(need.app, int(vms.host[vm]), allocation, Boot.SPARE),)
            reason = f"{need} in {need.first * self._site.tick_s / 60:.0f} min: spare vm {vm} is resumed"
            return self._offer(
                view, need, "spawn", what, reason, allocation, [Place(int(vms.host[vm]), 0.0)], boot_s
            )
        return None

    def _offer(
        self,
        view: View,
        need: Need,
        kind: str,
        what: tuple[Action, ...],
        reason: str,
        allocation: Allocation,
        places: Sequence[Place],
        boot_s: float,
    ) -> Offer:
        hold = self.knobs.hold_ticks
        ready = min(math.ceil(boot_s / self._site.tick_s), hold - 1)
        added = allocation[Resource.CPU] * len(places)
        usd, late = worth(self._site, need, added, ready, hold, float(view.credit[need.app]))
        return Offer(
            kind,
            what,
            reason,
            host=places[0].host,
            performance=usd,
            utilisation=-sum(p.usd_h for p in places) * hold * self._site.tick_s / 3600.0,
            cost=sum(p.wake_usd for p in places),
            latency=-late,
            ready_h=boot_s / 3600.0,
            claim=f"capacity of app {need.app}",
        )

    def _wasted(self, view: View, need: Need, place: Place, allocation: Allocation, ready: int) -> bool:
        """Whether a host that is woken costs more than the VM on it is worth."""
        hold = self.knobs.hold_ticks
        usd, late = worth(
            self._site,
            need,
            allocation[Resource.CPU],
            min(ready, hold - 1),
            hold,
            float(view.credit[need.app]),
        )
        return usd + late <= place.wake_usd + place.usd_h * hold * self._site.tick_s / 3600.0

    def _balance(self, state: ClusterState) -> Iterator[Offer]:
        """Members share traffic by what they may use: a new one begins with weight 1 whatever its size."""
        vms = state.vms
        for vm in np.flatnonzero(self._members.elastic & (vms.state == VmState.RUNNING)).tolist():
            owners = (vms.app == vms.app[vm]) & (vms.kind == VmKind.PRODUCTION) & ~self._members.elastic
            owners &= (vms.state == VmState.RUNNING) & (vms.weight > 0.0)
            if not owners.any() or vms.weight[vm] <= 0.0:
                continue
            each = float((vms.weight[owners] / vms.allocation[owners, Resource.CPU]).mean())
            weight = each * float(vms.allocation[vm, Resource.CPU])
            if abs(weight - float(vms.weight[vm])) > 0.02 * weight:
                reason = f"vm {vm} takes traffic by its size"
                yield Offer(
                    "shift", (shift(vm, weight),), reason, vm=vm, host=int(vms.host[vm]), performance=1e-3
                )

    def _learn(self, state: ClusterState) -> None:
        """Boot times of what came up since."""
        self._now_s = state.time_s
        for vm in self._members.new:
            ask = next((a for a in self._asked if a[0] == int(state.vms.app[vm])), None)
            if ask is not None:
                self.boots.began(vm, int(state.vms.birth[vm]), ask[1], ask[2])
                self._asked.remove(ask)
        self._asked = [ask for ask in self._asked if state.time_s - ask[2] <= 2.0 * self._site.tick_s]
        self.boots.look(state)


def _hosts(state: ClusterState, app: int) -> list[int]:
    """Where the members of an application stand, the most crowded first."""
    vms = state.vms
    serving = (vms.app == app) & (vms.kind == VmKind.PRODUCTION) & (vms.host >= 0)
    return [host for host, _ in Counter(vms.host[serving].tolist()).most_common()]
