"""Racks that the demand to come does not need are emptied and switched off, and woken before it needs them again.

A rack draws power of its own (switches, distribution) whatever its hosts do, so hosts that are off one by one all
over the site save less than the same hosts off together. A tick asks: how much CPU and memory will be wanted, by
the upper edge of the forecast, over the time that a rack would at least stay off? Racks beyond that, for
``sustain_ticks`` in a row, are vacated one after the other, the one that costs least to empty first; a rack is
woken when the upper edge over its own start and its hosts' boot exceeds what the others can carry.

Never switched off: what has no power control, what was never seen to come back (``proven``), the room that is kept
for failures (``spare_hosts``), and what no placement by the rules about places can do without. No rack is filled
beyond its thermal limit. Nobody else fills a rack that is being vacated, or wakes one that is dark, while all VMs
have room: packers that look at one host after the other would bring back each host by itself, and the rack with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from foreshade._core import ClusterState
from foreshade.agents.bars import LEAVING, Bars
from foreshade.agents.managers.demand_ahead import wanted_by
from foreshade.agents.managers.manager import ManagerKnobs, Offer
from foreshade.agents.managers.relocation import Relocation
from foreshade.agents.managers.worth import boot_usd, move_usd, usd_kwh
from foreshade.envs.errors import InputError
from foreshade.envs.model.action import Action, ActionKind, PowerTarget, power, power_rack
from foreshade.envs.model.state import HostState, VmState
from foreshade.envs.site import Site

Mask = npt.NDArray[np.bool_]
F64 = npt.NDArray[np.float64]

_RACK_START_S = 120.0  # before its hosts can boot (docs/physics.md)
_UP = (HostState.ON, HostState.BOOTING, HostState.WAKING)
_DOWN = (HostState.OFF, HostState.ASLEEP, HostState.FAILED)
_MOST_WOKEN = 8  # hosts for one rack
_LOOKS = 3  # racks that are looked at in a tick, until one can be emptied
_FULL = 0.97  # of a host's CPU: what its VMs want beyond that cannot be seen


class RackPowerKnobs(ManagerKnobs):
    """When a rack goes and comes."""

    target: Annotated[float, Field(gt=0, le=1)] = (
        0.6  # use of CPU up to which the racks that stay are planned
    )
    #: Likewise share of what those may promise: the rules take back what is not used once room is scarce.
    promised: Annotated[float, Field(gt=0)] = 1.15
    full: Annotated[float, Field(gt=0, le=1)] = 0.7  # use of CPU of what is on beyond which more is woken
    z: Annotated[float, Field(ge=0)] = 0.0  # standard deviations of the upper edge: the shares leave room
    sustain_ticks: Annotated[int, Field(ge=1)] = 3  # that a rack is not needed before it is vacated
    off_ticks: Annotated[int, Field(ge=1)] = 12  # that a rack will at least not be needed for
    stays_ticks: Annotated[int, Field(ge=1)] = 144  # that it is reckoned to stay off
    #: Ticks in a row in which a VM waits or a host is full before others may wake a dark rack too.
    relief_ticks: Annotated[int, Field(ge=1)] = 2
    spare_hosts: Annotated[float, Field(ge=0)] = 0.5  # room that is kept, in largest hosts
    foresee: bool = True  # False = the demand of now decides, with `rise` on top
    rise: Annotated[float, Field(ge=0)] = 0.15
    proven: Literal["all", "seen"] = "all"  # hosts that may go off: all, or those that were seen to come back
    abandon_ticks: Annotated[int, Field(ge=1)] = (
        12  # after which a rack that does not come empty is left alone
    )


def _against(site: Site) -> str:
    """Why no rack of a site can be switched; "" = one can."""
    if site.rack_w is None:
        return "expected a site that tells of its racks, found none"
    if site.rack_control is not None and not site.rack_control.any():
        return "expected a rack with power control, found none"
    if not {ActionKind.POWER, ActionKind.MIGRATE} <= site.capabilities:
        return "expected a world that can migrate and switch power, found one that cannot"
    return ""


class RackPower:
    """Which racks are being vacated, and for how long each has not been needed."""

    name = "rack_power"

    def __init__(self, knobs: RackPowerKnobs | None = None) -> None:
        self.knobs = knobs or RackPowerKnobs()

    def reset(self, site: Site) -> None:
        """A run begins; InputError where no rack's power can be controlled, unless it may be idle there."""
        against = _against(site)
        if against and not self.knobs.else_idle:
            raise InputError(f"rack_power: {against}: leave the component out")
        self._idle = bool(against)
        n_racks = 0 if site.rack_w is None else len(site.rack_w)
        self._rack_w = np.zeros(n_racks, np.float32) if site.rack_w is None else site.rack_w
        control = np.ones(n_racks, bool) if site.rack_control is None else site.rack_control
        self._site, self._control = site, control
        self._unneeded, self._vacating_for = np.zeros((2, n_racks), np.int64)
        self._full_for = 0  # ticks in a row in which a host was full, this one included
        self._waited = np.zeros(0, np.int64)  # (n_vms,) likewise in which each has waited
        self._leaving = -1  # the rack that is being vacated
        self._dark: frozenset[int] = frozenset()
        self._seen_down: set[int] = set()
        self._proven: set[int] = set()

    def see_racks(self, dark: frozenset[int]) -> None:
        """Racks that are dark as this tick begins, whoever switched them."""
        self._dark = dark

    def bars(self, state: ClusterState) -> Bars:
        """Hosts of a rack that is being vacated take nothing; those of dark racks are not woken without need."""
        bars = Bars.none(state)
        if self._idle:
            return bars
        self._look(state)
        pressed = max(self._full_for, int(self._waited.max(initial=0))) >= self.knobs.relief_ticks
        dark = () if pressed else self._dark
        bars.hosts[np.isin(state.hosts.rack, [self._leaving, *dark])] = LEAVING
        return bars

    def offers(self, state: ClusterState, bars: Bars) -> Sequence[Offer]:
        """At most a rack to wake, or hosts of the others; else one to vacate or to switch off."""
        self._barred = bars
        if self._idle:
            return ()
        waking = self._wake(state)
        if waking:
            return waking
        return self._switch_off(state) or self._vacate(state)

    def taken(self, offer: Offer) -> None:
        """A rack that is vacated is so until it is switched off."""
        if any(action.rack >= 0 and action.value == PowerTarget.OFF for action in offer.actions):
            self._leaving = -1
        if offer.kind == "rack_off" and offer.claim:
            self._leaving = int(offer.claim.rsplit(" ", 1)[1])

    def _look(self, state: ClusterState) -> None:
        hosts, knobs = state.hosts, self.knobs
        waits = (state.vms.state == VmState.PENDING) & (state.vms.host < 0)
        full = (hosts.state == HostState.ON) & (hosts.usage[:, 0] >= _FULL * hosts.capacity[:, 0])
        self._full_for = self._full_for + 1 if full.any() else 0
        before = self._waited if len(self._waited) == len(waits) else np.zeros(len(waits), np.int64)
        self._waited = np.where(waits, before + 1, 0)
        for h in np.flatnonzero(hosts.state == HostState.ON).tolist():
            if h in self._seen_down:
                self._proven.add(h)
        self._seen_down.update(
            np.flatnonzero(np.isin(hosts.state, (HostState.OFF, HostState.ASLEEP))).tolist()
        )
        if self._leaving >= 0:
            self._vacating_for[self._leaving] += 1
            wanted = self._would_hold(state, self._waited > knobs.relief_ticks)
            if wanted or self._vacating_for[self._leaving] > knobs.abandon_ticks:
                self._unneeded[self._leaving] = -knobs.abandon_ticks
                self._leaving = -1
        self._vacating_for[[r for r in range(len(self._control)) if r != self._leaving]] = 0
        needed = self._needed(state, knobs.off_ticks)
        for rack in range(len(self._control)):
            stays = [r for r in range(len(self._control)) if r != rack and r not in self._dark]
            spare = rack not in self._dark and self._carries(state, stays, needed)
            self._unneeded[rack] = self._unneeded[rack] + 1 if spare else min(self._unneeded[rack], 0)
            if not spare and rack == self._leaving:
                self._leaving = -1

    def _would_hold(self, state: ClusterState, waits: Mask) -> bool:
        """Whether a host of the rack that is being vacated, switched on, has room for a VM that waits."""
        hosts = state.hosts
        mine = (hosts.rack == self._leaving) & ~self._site.rented
        mine &= (hosts.state != HostState.FAILED) & (hosts.state != HostState.MAINTENANCE)
        room = (hosts.capacity * hosts.overcommit - hosts.allocated)[mine]
        wants = state.vms.allocation[waits]
        return bool((wants[:, None, :] <= room[None, :, :]).all(axis=2).any())

    def _needed(self, state: ClusterState, ticks: int) -> tuple[float, F64]:
        """CPU in MHz that will be wanted over the next ticks, and (4,) what is promised of each resource."""
        knobs, vms = self.knobs, state.vms
        cpu = wanted_by(state, ticks, knobs.z, foresee=knobs.foresee, rise=knobs.rise)
        placed = vms.host >= 0
        overhead = float(self._site.vm_overhead[:, 1].max())
        waits = ~placed & (vms.state != 0)
        promised = vms.allocation[placed | waits, :4].sum(axis=0, dtype=np.float64)
        promised[1] += overhead * float((placed | waits).sum())
        return cpu, promised

    def _carries(self, state: ClusterState, racks: Sequence[int], needed: tuple[float, F64]) -> bool:
        """Whether the hosts of these racks, switched on, carry that much and the loss of the largest of them."""
        hosts = state.hosts
        ours = np.isin(hosts.rack, racks) & ~self._site.rented & (hosts.state != HostState.FAILED)
        ours &= hosts.state != HostState.MAINTENANCE
        if not ours.any():
            return False
        cpu, limit = hosts.capacity[ours, 0], (hosts.capacity * hosts.overcommit)[ours, :4]
        spare = self.knobs.spare_hosts
        return bool(
            needed[0] <= self.knobs.target * (cpu.sum() - spare * cpu.max())
            and (needed[1] <= self.knobs.promised * (limit.sum(axis=0) - spare * limit.max(axis=0))).all()
        )

    def _wake(self, state: ClusterState) -> Sequence[Offer]:
        """Hosts to switch on, of dark racks too, so that what is on carries what will be wanted when they are up."""
        hosts, site = state.hosts, self._site
        ours = ~site.rented
        boot_s = float(hosts.boot_s[ours].max(initial=0.0)) + (_RACK_START_S if self._dark else 0.0)
        ticks = math.ceil(boot_s / site.tick_s) + 1
        cpu, promised = self._needed(state, ticks)
        memory = float(promised[1])
        up = ours & np.isin(hosts.state, _UP)
        if self._leaving >= 0:
            up &= hosts.rack != self._leaving
        there = float(hosts.capacity[up, 0].sum()) * self.knobs.full
        room = float((hosts.capacity * hosts.overcommit)[up, 1].sum())
        down = ours & np.isin(hosts.state, (HostState.OFF, HostState.ASLEEP))
        if (cpu <= there and memory <= room) or not down.any():
            return ()
        # Of racks that are on before dark ones, the least watts for the work first.
        dark = np.isin(hosts.rack, list(self._dark))
        rate = hosts.peak_w / np.maximum(hosts.capacity[:, 0], 1.0)
        order = sorted(np.flatnonzero(down).tolist(), key=lambda h: (bool(dark[h]), float(rate[h]), h))
        actions: list[Action] = []
        racks: list[int] = []
        short = max(cpu - there, 0.0)
        why = f"{cpu / 1000:.0f} GHz wanted within {ticks * site.tick_s / 60:.0f} min, {there / 1000:.0f} are on"
        begun: list[int] = []
        for h in order:
            if cpu <= there and memory <= room:
                break
            rack = int(hosts.rack[h])
            if rack not in racks and not up[hosts.rack == rack].any():  # harmless where it is not dark
                racks.append(rack)
                actions.append(power_rack(rack, PowerTarget.ON, why))
            actions.append(power(h, PowerTarget.ON, why))
            begun.append(h)
            there += float(hosts.capacity[h, 0]) * self.knobs.full
            room += float(hosts.capacity[h, 1] * hosts.overcommit[h, 1])
        price = usd_kwh(site, state.tick, self.knobs.off_ticks)
        hours = self.knobs.off_ticks * site.tick_s / 3600.0
        watts = float(hosts.idle_w[begun].sum()) + float(self._rack_w[racks].sum())
        return (
            Offer(
                "rack_on" if racks else "power_on",
                tuple(actions),
                why,
                host=begun[0],
                performance=(short * site.economy.unmet_usd_h[0] + 1e-6) * hours
                + watts * 1e-3 * price * hours,
                utilisation=-watts * 1e-3 * price * hours,
                ready_h=boot_s / 3600.0,
            ),
        )

    def _switch_off(self, state: ClusterState) -> Sequence[Offer]:
        """Power off for the hosts of a rack that came empty, then for the rack."""
        rack, hosts, site = self._leaving, state.hosts, self._site
        if rack < 0:
            return ()
        mine = np.flatnonzero((hosts.rack == rack) & ~site.rented)
        empty = [h for h in mine.tolist() if hosts.n_vms[h] == 0 and hosts.arriving[h] == 0]
        on = [h for h in empty if hosts.state[h] == HostState.ON]
        price = usd_kwh(site, state.tick, self.knobs.stays_ticks)
        hours = self.knobs.stays_ticks * site.tick_s / 3600.0
        if all(hosts.state[h] in _DOWN for h in mine):
            why = f"rack {rack} is empty and not needed"
            saved = float(self._rack_w[rack]) * 1e-3 * price * hours
            return (Offer("rack_off", (power_rack(rack, PowerTarget.OFF, why),), why, utilisation=saved),)
        if not on:
            return ()
        why = f"rack {rack} is being vacated"
        saved = float((hosts.idle_w[on] - site.off_w[on]).sum()) * 1e-3 * price * hours
        actions = tuple(power(h, PowerTarget.OFF, why) for h in on)
        cost = sum(boot_usd(site, state, h, price) for h in on)
        return (Offer("power_off", actions, why, host=on[0], utilisation=saved + cost, cost=cost),)

    def _vacate(self, state: ClusterState) -> Sequence[Offer]:
        """Moves that empty the rack that is being vacated, or the cheapest to empty of those not needed."""
        allocated = np.bincount(state.hosts.rack, state.hosts.allocated[:, 1], minlength=len(self._control))
        cheapest = np.argsort(allocated[: len(self._control)], kind="stable").tolist()
        racks = [self._leaving] if self._leaving >= 0 else [r for r in cheapest if self._may_go(state, r)]
        for rack in racks[:_LOOKS]:
            offers = self._empty(state, rack)
            if offers or self._leaving >= 0:
                return offers
        return ()

    def _empty(self, state: ClusterState, rack: int) -> Sequence[Offer]:
        """Moves that empty a rack, or a host of another switched on for them; none where its VMs find no room."""
        hosts, site, knobs = state.hosts, self._site, self.knobs
        mine = (hosts.rack == rack) & ~site.rented
        standing = [h for h in np.flatnonzero(mine).tolist() if hosts.n_vms[h] > 0]
        if not standing:
            self._leaving = rack
            return self._switch_off(state)
        price = usd_kwh(site, state.tick, knobs.stays_ticks)
        hours = knobs.stays_ticks * site.tick_s / 3600.0
        certain_h = knobs.off_ticks * site.tick_s / 3600.0
        why = f"rack {rack} is not needed: the others carry what will be wanted for {certain_h:.1f} h"
        actions = self._room(state, rack).empty(standing, why)
        if actions is None:
            return self._make_room(state, rack, standing)
        if not actions:  # once others know that it leaves, they let its VMs go
            self._leaving = rack
            return ()
        moves = [move_usd(site, state, a.vm) for a in actions]
        watts = float(self._rack_w[rack]) + float(
            (hosts.idle_w - site.off_w)[mine & (hosts.state == HostState.ON)].sum()
        )
        boots = sum(boot_usd(site, state, h, price) for h in standing)
        return (
            Offer(
                "rack_off",
                actions,
                why,
                source=standing[0],
                host=actions[0].host,
                vm=actions[0].vm,
                utilisation=watts * 1e-3 * price * hours,
                cost=sum(usd for usd, _ in moves) + boots,
                latency=sum(dark for _, dark in moves),
                claim=f"rack {rack}",
            ),
        )

    def _room(self, state: ClusterState, rack: int, coming: Mask | None = None) -> Relocation:
        """Room in the other racks, with hosts that are on their way."""
        takes = (state.hosts.rack != rack) & ~self._site.rented & self._cool(state, rack)
        return Relocation(
            self._site,
            state,
            takes,
            cpu_share=self.knobs.target,
            spread=True,
            bars=self._barred,
            as_if_on=coming,
        )

    def _make_room(self, state: ClusterState, rack: int, standing: list[int]) -> Sequence[Offer]:
        """Hosts of other racks, those of the least watts for the work, where emptying this one is worth more."""
        hosts, site = state.hosts, self._site
        there = np.isin(hosts.state, (HostState.BOOTING, HostState.WAKING)) & ~site.rented
        room = self._room(state, rack, there)
        if there.any() and room.empty(standing, "") is not None:
            return ()
        down = np.isin(hosts.state, (HostState.OFF, HostState.ASLEEP)) & ~site.rented & (hosts.rack != rack)
        down &= ~np.isin(hosts.rack, list(self._dark))
        rate = hosts.peak_w / np.maximum(hosts.capacity[:, 0], 1.0)
        mine = (hosts.rack == rack) & (hosts.state == HostState.ON)
        watts = float(self._rack_w[rack]) + float(hosts.idle_w[mine].sum())
        saved_w: dict[int, float] = {}  # by host: with it and those before it on
        for host in sorted(np.flatnonzero(down).tolist(), key=lambda h: (float(rate[h]), h))[:_MOST_WOKEN]:
            watts -= float(hosts.idle_w[host])
            if watts <= 0.0:
                break
            saved_w[host] = watts
        opened = room.woken_for(standing, saved_w)
        if opened is None:
            return ()
        price = usd_kwh(site, state.tick, self.knobs.stays_ticks)
        hours = self.knobs.stays_ticks * site.tick_s / 3600.0
        why = f"room for what rack {rack} holds, which is not needed"
        return (
            Offer(
                "power_on",
                tuple(power(host, PowerTarget.ON, why) for host in opened),
                why,
                host=opened[0],
                utilisation=saved_w[opened[-1]] * 1e-3 * price * hours,
                cost=sum(boot_usd(site, state, host, price) for host in opened),
                ready_h=float(hosts.boot_s[opened].max()) / 3600.0,
            ),
        )

    def _may_go(self, state: ClusterState, rack: int) -> bool:
        """Whether a rack has not been needed for long enough, and could be brought back."""
        hosts = state.hosts
        if not self._control[rack] or rack in self._dark or self._unneeded[rack] < self.knobs.sustain_ticks:
            return False
        mine = np.flatnonzero((hosts.rack == rack) & ~self._site.rented).tolist()
        if not mine or any(hosts.state[h] in (HostState.MAINTENANCE, HostState.SHUTTING_DOWN) for h in mine):
            return False
        return self.knobs.proven == "all" or all(h in self._proven for h in mine)

    def _cool(self, state: ClusterState, rack: int) -> Mask:
        """(n_hosts,) whose rack stays below its thermal limit once the others share what this rack's hosts draw."""
        hosts, site = state.hosts, self._site
        if site.inlet_limit_c is None or site.heat_c_per_kw is None:
            return np.ones(len(hosts.state), bool)
        watts = float(hosts.power_w[hosts.rack == rack].sum())
        others = [r for r in range(len(self._control)) if r != rack and r not in self._dark]
        warmer = watts / max(len(others), 1) * 1e-3 * site.heat_c_per_kw[hosts.rack]
        told = np.isfinite(hosts.inlet_c)
        return ~told | (hosts.inlet_c + warmer <= site.inlet_limit_c)
