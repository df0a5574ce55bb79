"""The shadow manager: clones that stand warm beside their primaries, and take traffic before it does not fit.

A *predictive* shadow is created when the upper forecast of an application exceeds what its VMs can serve, warms on
replayed load until its KPIs agree with its primary's, takes traffic in steps before the demand comes, gives it back
when there is room again and ends. A *standing* one is there as long as its primary, and takes over when that fails.
All of it goes through the one state machine, ``foreshade.agents.shadow.machine``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import Field

from foreshade._core import ClusterState
from foreshade.agents.bars import CLOSED, Bars, Mask
from foreshade.agents.managers.manager import Offer
from foreshade.agents.managers.need import Need, Share, TriggerKnobs, needs, spare, worth
from foreshade.agents.managers.outlook import Outlook, View
from foreshade.agents.managers.room import HAZARDOUS, Room
from foreshade.agents.managers.shadow_tracks import Track, report
from foreshade.agents.shadow.kpi import TOLERANCE
from foreshade.agents.shadow.machine import Event, Kind, Shadow, State, actions, create
from foreshade.envs.model.action import Action, ActionKind, Allocation, despawn, five
from foreshade.envs.model.state import Resource, VmKind, VmState
from foreshade.envs.site import Site

_STAYS = (State.WARMING, State.READY, State.SERVING)
_NEEDED = {ActionKind.SHADOW, ActionKind.SHIFT, ActionKind.RESHAPE, ActionKind.DESPAWN}


class ShadowsKnobs(TriggerKnobs):
    """Of the shadow manager."""

    #: Of the primary's allocation while it takes no traffic.
    share: Annotated[float, Field(ge=0.05, le=0.10)] = 0.10
    #: Of the primary's load that it replays meanwhile.
    fidelity: Annotated[float, Field(ge=0, le=1)] = 0.05
    steps: tuple[float, ...] = (0.10, 0.25, 0.50)  # of the traffic of both
    #: Before the demand comes: to boot, to warm and for the steps; and when traffic begins to be shifted.
    create_ticks: Annotated[int, Field(ge=1)] = 6
    raise_ticks: Annotated[int, Field(ge=0)] = 5
    #: Of what is left without it: what the forecast, and use, may want when traffic returns.
    return_threshold: Share = 0.8
    return_react: Share = 0.7
    return_ticks: Annotated[int, Field(ge=1)] = 3  # for which that must have been so
    keep_ticks: Annotated[int, Field(ge=0)] = 3  # that a predictive shadow is kept without traffic
    #: For which it is then suspended, ready to be resumed, before it ends; 0 = it ends at once: it boots in seconds.
    suspend_ticks: Annotated[int, Field(ge=0)] = 0
    patience_ticks: Annotated[int, Field(ge=1)] = 6  # to warm; then it is given up
    tolerance: Annotated[float, Field(gt=0)] = TOLERANCE  # of the KPIs
    most: Annotated[int, Field(ge=1)] = 4  # shadows of one application
    wake: bool = True  # whether a host may be woken for one
    load_ticks: Annotated[int, Field(ge=1)] = 3  # of contention on its host, after which an idle one moves
    standing_credit: Annotated[float, Field(gt=0)] | None = None  # VMs of so much have a standing shadow
    standing_usd_h: Annotated[float, Field(ge=0)] = 0.01  # what an hour with a standing shadow is worth


@dataclass(frozen=True, slots=True)
class Order:
    """What it means for the shadow of an offer that the offer is taken."""

    track: Track | None  # None = one that is created
    event: Event = Event.RAISE
    times: int = 1
    kind: Kind = Kind.PREDICTIVE  # of one that is created


class Shadows:
    """See the module; a ``Manager``."""

    name = "shadows"

    def __init__(self, knobs: ShadowsKnobs | None = None) -> None:
        self.knobs = knobs or ShadowsKnobs()
        marks = {"threshold": self.knobs.return_threshold, "react": self.knobs.return_react}
        self._marks = self.knobs.model_copy(update=marks)  # for the way back

    def reset(self, site: Site) -> None:
        """Forget everything; a run on ``site`` begins."""
        self._site = site
        self.outlook, self._room = Outlook(site), Room(site)
        self.tracks: list[Track] = []
        self._orders: dict[int, Order] = {}  # of this tick's offers, by their identity
        self._birth: list[int] = []  # (n_vms,)
        self._tick = -1
        self._short: frozenset[int] = frozenset()  # applications that were about to be short a tick ago

    def heed(self, state: ClusterState, leaving: Mask) -> Bars:
        """A predictive shadow stays where it has the room that it may have to grow to, and nothing else takes that.

        Without that a packer takes a small idle clone for a VM that fits anywhere, and its host for one to be filled.
        Where others empty a host, its shadows leave too; and no host is closed on which GPUs are free while a VM
        waits for one, which serves nobody until it has it.
        """
        bars = Bars.none(state)
        if not self._site.capabilities >= _NEEDED:
            return bars
        self._report(state)
        vms = state.vms
        awaited = _have_gpus_awaited(state)
        for track in self.tracks:
            shadow = track.shadow
            if shadow.kind is not Kind.PREDICTIVE or shadow.state not in _STAYS or not track.there(state):
                continue
            host = int(vms.host[shadow.vm])
            if leaving[host] or state.hosts.hazard_per_h[host] > HAZARDOUS:
                continue
            limit = state.hosts.capacity[host] * state.hosts.overcommit[host]
            more = vms.allocation[shadow.primary] - vms.allocation[shadow.vm]
            if (np.maximum(more, 0.0) <= np.maximum(limit - state.hosts.allocated[host], 0.0)).all():
                bars.fixed[shadow.vm] = 1
                grows = shadow.step < len(shadow.steps) and int(vms.app[shadow.vm]) in self._short
                if grows and not awaited[host]:
                    bars.hosts[host] = CLOSED
        return bars

    def offers(self, state: ClusterState, _bars: Bars, /) -> Sequence[Offer]:
        """What each shadow should do next, and the shadows that are wanted."""
        if not self._site.capabilities >= _NEEDED:
            return ()
        self._report(state)
        self._orders.clear()
        self._birth = state.vms.birth.tolist()
        view = self.outlook.look(state)
        self._room.look(state)
        offers: list[Offer] = []
        short = {need.app: need for need in needs(view, self.knobs, view.saturates + view.booting)}
        self._short = frozenset(short)
        for track in self.tracks:
            offer = self._next(state, view, track, short)
            if offer is not None:
                offers.append(offer)
        for need in needs(view, self.knobs):
            offer = self._created(state, need)
            if offer is not None:
                offers.append(offer)
        offers.extend(self._standing(state))
        return offers

    def _report(self, state: ClusterState) -> None:
        """Once a tick, what the state shows of every shadow."""
        if state.tick != self._tick:
            self._tick = state.tick
            self.tracks = report(state, self.tracks, self._site.tick_s, self.knobs.tolerance)

    def taken(self, offer: Offer) -> None:
        """The event of the offer has been decided."""
        order = self._orders.get(id(offer))
        if order is None:
            return  # a host that is woken, or a clone whose primary is gone
        track = order.track
        if track is None:
            action = offer.actions[-1]
            clone = self._clone(order.kind, action.vm, action.host)
            self.tracks.append(Track(clone, self._birth[action.vm], since=self._tick))
            return
        for _ in range(order.times):
            track.shadow = track.shadow.on(order.event)
        track.since, track.roomy = self._tick, 0

    def _next(self, state: ClusterState, view: View, track: Track, short: dict[int, Need]) -> Offer | None:
        """What a shadow should do next, if anything."""
        shadow, vms = track.shadow, state.vms
        if shadow.state is State.ENDING:
            stands = shadow.vm >= 0 and vms.state[shadow.vm] == VmState.RUNNING
            return self._released(state, track, "its primary is gone") if stands else None
        if shadow.state is State.WARMING and self._tick - track.since >= self.knobs.patience_ticks:
            return self._released(state, track, "its KPIs are not its primary's")
        if shadow.state is State.SUSPENDED:
            return self._wakes(state, track, short.get(int(vms.app[shadow.vm])))
        if shadow.vm < 0 or vms.state[shadow.vm] != VmState.RUNNING or vms.destination[shadow.vm] >= 0:
            return None
        if shadow.state not in (State.READY, State.SERVING):
            return None
        app = int(vms.app[shadow.vm])
        need = short.get(app)
        down = vms.state[shadow.primary] in (VmState.FAILED, VmState.PENDING)
        if track.strange >= 2 and shadow.state is State.SERVING and not down:
            return self._lowered(state, track, Event.RETURN, "its KPIs are not its primary's")
        if down or (need is not None and need.first <= self.knobs.raise_ticks):
            raised = self._raised(state, track, need, down=down)
            return raised or (
                self._moved(state, track, "its host has no room for more traffic") if need else None
            )
        part = shadow.traffic / max(1.0 - shadow.traffic, 1e-9)
        ours = part * float(vms.allocation[shadow.primary, Resource.CPU]) if shadow.step else 0.0
        track.roomy = track.roomy + 1 if spare(view, app, ours, self._marks) else 0
        if shadow.state is State.SERVING:
            if track.roomy >= self.knobs.return_ticks:
                event = Event.LOWER if shadow.step > 1 else Event.RETURN
                return self._lowered(state, track, event, f"app {app} has room without it")
            return None
        idle = self._tick - track.since >= self.knobs.keep_ticks and track.roomy > self.knobs.keep_ticks
        if shadow.kind is Kind.PREDICTIVE and idle and need is None:
            why = f"app {app} has room without it"
            ends = self._suspended if self.knobs.suspend_ticks else self._released
            return ends(state, track, why)
        if track.crowded >= self.knobs.load_ticks:
            return self._moved(state, track, "its host is under lasting load")
        return None

    def _raised(self, state: ClusterState, track: Track, need: Need | None, *, down: bool) -> Offer | None:
        """Steps of traffic to the clone: one a tick, as many as it takes where the demand is there already."""
        shadow, vms = track.shadow, state.vms
        left = len(shadow.steps) - shadow.step
        times = left if down or (need is not None and need.first == 0) else min(1, left)
        full = five(vms.allocation[shadow.primary].tolist())
        now = five(vms.allocation[shadow.vm].tolist())
        what: Sequence[Action] = ()
        while times > 0:
            before = shadow
            for _ in range(times - 1):
                before = before.on(Event.RAISE)
            after = before.on(Event.RAISE)
            together = self._weight(state, track) / max(1.0 - after.traffic, 1e-9)
            what = self._real(state, actions(before, Event.RAISE, full, weight=together))
            then = what[0].allocation or now
            if self._room.grows(shadow.host, now, then):
                break
            times -= 1
        else:
            return None
        self._room.change(shadow.host, now, then)
        credit = float(vms.credit[shadow.primary])
        hold_h = self.knobs.hold_ticks * self._site.tick_s / 3600.0
        usd, late = 0.0, 0.0
        if need is not None:
            more = float(full[0]) * (after.traffic / max(1.0 - after.traffic, 1e-9)) - (
                float(now[0]) if shadow.step else 0.0
            )
            usd, late = worth(self._site, need, more, 0, self.knobs.hold_ticks, credit)
        if down:
            usd += self._site.economy.downtime_usd_h * credit * hold_h
        why = f"vm {shadow.primary} is down" if down else str(need)
        more_usd = self._room.usd_h(shadow.host, then) - self._room.usd_h(shadow.host, now)
        return self._said(
            Offer(
                "shift",
                tuple(what),
                f"{why}: shadow vm {shadow.vm} of vm {shadow.primary} takes {after.traffic:.0%} of their traffic",
                vm=shadow.vm,
                host=shadow.host,
                source=int(vms.host[shadow.primary]),
                performance=usd,
                utilisation=-more_usd * hold_h,
                latency=-late,
            ),
            Order(track, Event.RAISE, times),
        )

    def _lowered(self, state: ClusterState, track: Track, event: Event, why: str) -> Offer:
        """Traffic goes back to the primary."""
        shadow, vms = track.shadow, state.vms
        after = shadow.on(event)
        full = five(vms.allocation[shadow.primary].tolist())
        together = self._weight(state, track) / max(1.0 - after.traffic, 1e-9)
        now = five(vms.allocation[shadow.vm].tolist())
        asked = self._real(state, actions(shadow, event, full, weight=together))
        what = [self._no_less(state, action, now) for action in asked]
        then = next((a.allocation for a in what if a.allocation is not None), now)
        hold_h = self.knobs.hold_ticks * self._site.tick_s / 3600.0
        saved = (self._room.usd_h(shadow.host, now) - self._room.usd_h(shadow.host, then)) * hold_h
        to = f"{after.traffic:.0%}" if after.traffic else "none"
        return self._said(
            Offer(
                "shift",
                tuple(what),
                f"{why}: shadow vm {shadow.vm} of vm {shadow.primary} keeps {to} of their traffic",
                vm=shadow.vm,
                host=shadow.host,
                source=int(vms.host[shadow.primary]),
                utilisation=1e-3 + max(saved, 0.0),
            ),
            Order(track, event),
        )

    def _suspended(self, state: ClusterState, track: Track, why: str) -> Offer:
        """It keeps its memory, and wants nothing."""
        shadow = track.shadow
        full = five(state.vms.allocation[shadow.primary].tolist())
        said = f"{why}: shadow vm {shadow.vm} of vm {shadow.primary} is suspended"
        what = tuple(actions(shadow, Event.SUSPEND, full))
        offer = Offer("shift", what, said, vm=shadow.vm, host=shadow.host, utilisation=1e-3)
        return self._said(offer, Order(track, Event.SUSPEND))

    def _wakes(self, state: ClusterState, track: Track, need: Need | None) -> Offer | None:
        """A suspended one is resumed when it would be created, and ends when it was not wanted for long."""
        shadow = track.shadow
        if need is None or (need.foreseen and need.first > self.knobs.create_ticks):
            if self._tick - track.since < self.knobs.suspend_ticks:
                return None
            return self._released(state, track, f"app {int(state.vms.app[shadow.vm])} did not want it again")
        full = five(state.vms.allocation[shadow.primary].tolist())
        credit = float(state.vms.credit[shadow.primary])
        usd, late = worth(self._site, need, full[0], 1, self.knobs.hold_ticks, credit)
        offer = Offer(
            "shift",
            tuple(actions(shadow, Event.RESUME, full)),
            f"{need}: shadow vm {shadow.vm} of vm {shadow.primary} is resumed",
            vm=shadow.vm,
            host=shadow.host,
            performance=usd + 1e-3,
            latency=-late,
        )
        return self._said(offer, Order(track, Event.RESUME))

    def _released(self, state: ClusterState, track: Track, why: str) -> Offer:
        """It ends."""
        shadow = track.shadow
        ends = shadow.state is State.ENDING  # already: it has no primary any more
        full = five(state.vms.allocation[shadow.primary].tolist())
        what = (despawn(shadow.vm),) if ends else actions(shadow, Event.RELEASE, full)
        now = five(state.vms.allocation[shadow.vm].tolist())
        hold_h = self.knobs.hold_ticks * self._site.tick_s / 3600.0
        saved = self._room.usd_h(shadow.host, now) * hold_h
        offer = Offer(
            "release",
            tuple(what),
            f"{why}: shadow vm {shadow.vm} of vm {shadow.primary} ends",
            vm=shadow.vm,
            host=shadow.host,
            utilisation=1e-3 + saved,
        )
        return offer if ends else self._said(offer, Order(track, Event.RELEASE))

    def _moved(self, state: ClusterState, track: Track, why: str) -> Offer | None:
        """To a host that has room for it at its largest."""
        shadow, vms = track.shadow, state.vms
        if Event.MOVE not in shadow.allowed:
            return None
        full = five(vms.allocation[shadow.primary].tolist())
        apart = {shadow.host, int(vms.host[shadow.primary]), int(vms.destination[shadow.primary])} - {-1}
        place = self._room.find(full, apart)
        if place is None:
            return None
        offer = Offer(
            "migrate",
            tuple(actions(shadow, Event.MOVE, full, to_host=place.host)),
            f"{why}: shadow vm {shadow.vm} of vm {shadow.primary} moves to host {place.host}",
            vm=shadow.vm,
            host=place.host,
            source=shadow.host,
            performance=2.0 * self._site.economy.migration_usd + 1e-3,
            cost=self._site.economy.migration_usd,
        )
        return self._said(offer, Order(track, Event.MOVE))

    def _created(self, state: ClusterState, need: Need) -> Offer | None:
        """A predictive shadow of one more member, or the host that is woken for it."""
        vms = state.vms
        if sum(int(vms.app[t.shadow.primary]) == need.app for t in self.tracks) >= self.knobs.most:
            return None
        shadowed = {t.shadow.primary for t in self.tracks} | set(vms.primary[vms.primary >= 0].tolist())
        members = (vms.app == need.app) & (vms.kind == VmKind.PRODUCTION) & (vms.state == VmState.RUNNING)
        free = [vm for vm in np.flatnonzero(members & (vms.destination < 0)).tolist() if vm not in shadowed]
        if not free:
            return None
        primary = max(free, key=lambda vm: (float(vms.allocation[vm, Resource.CPU]), -vm))
        full = five(vms.allocation[primary].tolist())
        place = self._room.find(full, [int(vms.host[primary])], wake=self.knobs.wake)
        if place is None or (place.wake and self._room.coming(full)):
            return None
        boots = math.ceil(place.ready_s / self._site.tick_s)
        if need.foreseen and need.first > self.knobs.create_ticks + boots:
            return None
        hold_h = self.knobs.hold_ticks * self._site.tick_s / 3600.0
        ready = 1 + boots
        usd, late = worth(self._site, need, full[0], ready, self.knobs.hold_ticks, float(vms.credit[primary]))
        if place.wake and usd + late <= place.usd_h * hold_h + place.wake_usd:
            return None  # it will not be taken, and others may need the host
        self._room.take(place.host, full)
        when = f"{need} in {need.first * self._site.tick_s / 60:.0f} min"
        clone = self._clone(Kind.PREDICTIVE, primary, place.host)
        what: tuple[Action, ...] = place.wake or (create(clone),)
        how = f"host {place.host} is woken for a shadow" if place.wake else f"a shadow of vm {primary}"
        offer = Offer(
            "power_on" if place.wake else "shadow",
            what,
            f"{when}: {how}",
            vm=primary,
            host=place.host,
            source=int(vms.host[primary]),
            performance=usd,
            utilisation=-place.usd_h * hold_h,
            cost=place.wake_usd,
            latency=-late,
            ready_h=ready * self._site.tick_s / 3600.0,
            claim=f"capacity of app {need.app}",
        )
        return offer if place.wake else self._said(offer, Order(None))

    def _standing(self, state: ClusterState) -> Iterator[Offer]:
        """Standing shadows of the VMs that are to have one."""
        if self.knobs.standing_credit is None:
            return
        vms = state.vms
        shadowed = {t.shadow.primary for t in self.tracks} | set(vms.primary[vms.primary >= 0].tolist())
        wanted = (vms.kind == VmKind.PRODUCTION) & (vms.state == VmState.RUNNING) & (vms.destination < 0)
        wanted &= vms.credit >= self.knobs.standing_credit
        for vm in np.flatnonzero(wanted).tolist():
            if vm in shadowed:
                continue
            part = five((self.knobs.share * vms.allocation[vm]).tolist())
            zone = int(state.hosts.zone[vms.host[vm]])
            near = np.flatnonzero(state.hosts.zone == zone).tolist()
            place = self._room.find(part, [int(vms.host[vm])], near)
            if place is None:
                continue
            self._room.take(place.host, part)
            hold_h = self.knobs.hold_ticks * self._site.tick_s / 3600.0
            clone = self._clone(Kind.STANDING, vm, place.host)
            offer = Offer(
                "shadow",
                (create(clone),),
                f"vm {vm} is to have a standing shadow",
                vm=vm,
                host=place.host,
                source=int(vms.host[vm]),
                performance=self.knobs.standing_usd_h * hold_h,
                utilisation=-place.usd_h * hold_h,
            )
            yield self._said(offer, Order(None, kind=Kind.STANDING))

    def _real(self, state: ClusterState, what: Sequence[Action]) -> Sequence[Action]:
        """Without the shift of a VM whose weight stays."""
        return [
            a for a in what if a.kind is not ActionKind.SHIFT or abs(a.value - state.vms.weight[a.vm]) > 1e-6
        ]

    def _no_less(self, state: ClusterState, action: Action, now: Allocation) -> Action:
        """A reshape that leaves the memory that is in use: what was cached for its traffic stays for a while."""
        if action.allocation is None:
            return action
        cpu, memory, disk, network, gpu = action.allocation
        used = 1.02 * float(state.vms.usage[action.vm, Resource.MEMORY])
        return replace(action, allocation=(cpu, max(memory, min(now[1], used)), disk, network, gpu))

    def _clone(self, kind: Kind, primary: int, host: int) -> Shadow:
        knobs = self.knobs
        return Shadow(kind, primary, host, share=knobs.share, fidelity=knobs.fidelity, steps=knobs.steps)

    def _weight(self, state: ClusterState, track: Track) -> float:
        """The primary's own weight, which it keeps: the clone's comes on top, so that all members are relieved."""
        return float(state.vms.weight[track.shadow.primary])

    def _said(self, offer: Offer, order: Order) -> Offer:
        self._orders[id(offer)] = order
        return offer


def _have_gpus_awaited(state: ClusterState) -> Mask:
    """(n_hosts,) that have a GPU free which a VM waits for."""
    hosts, vms = state.hosts, state.vms
    waits = np.isin(vms.state, (VmState.PENDING, VmState.FAILED)) & (vms.allocation[:, Resource.GPU] > 0)
    if not waits.any():
        return np.zeros(len(hosts.state), np.bool_)
    free = (hosts.capacity * hosts.overcommit - hosts.allocated)[:, Resource.GPU]
    enough: Mask = free >= vms.allocation[waits, Resource.GPU].min()
    return enough
