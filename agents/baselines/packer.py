"""The tick that both packers share: observe, place, relieve, wake, drain, power off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from foreshade import _core
from foreshade._core import ClusterState
from foreshade.agents.agent import F32, Site
from foreshade.agents.baselines.demand_window import WindowKnobs
from foreshade.agents.baselines.headroom import Headroom
from foreshade.envs.model.action import Action, ActionKind, PowerTarget, migrate, place, power, power_rack
from foreshade.envs.model.state import HostState, Resource, VmState

#: Slow-down of a VM whose host's memory overflows, per share of overflow: tenfold at 10 % (docs/physics.md).
SWAP_FACTOR = 90.0
#: What a live migration is reckoned to take; the profile of KVM in the catalogue.
MIGRATION_MBIT_S = 10_000.0
MIGRATION_SETUP_S = 1.0
MIGRATION_DOWNTIME_S = 0.5
MIGRATION_SLOWDOWN = 0.1
#: A graceful shutdown draws idle power for so long.
SHUTDOWN_S = 60.0
#: Overcommit from which a limit is none.
UNLIMITED = 1e3
#: A foreseen failure is announced about this long ahead.
ALARM_H = 2.0
#: Whole hosts and single moves per tick beyond which planning goes on in the next one.
MOST_MOVES = 100_000

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PackerKnobs:
    """What a packer can be tuned by; the defaults of each agent are in its own file."""

    window: WindowKnobs = field(default_factory=WindowKnobs)
    horizon_ticks: int = 24  # over which a saving counts
    drain_ticks: int = 24  # over which a drain's saving counts; a host that is off may stay off for long
    margin_usd: float = 0.0  # least gain of a move
    boot_weight: float = 1.0  # share of a boot's price that a drain must earn
    move_weight: float = 1.0  # times what a migration is reckoned to cost
    drain_hosts: int = 4  # hosts emptied in a tick at most, or one in 25
    drain_trials: int = 64  # hosts looked at for it, or a quarter
    reserve: float = 1.0  # room kept for arrivals, times the most that came in one tick of the last hours
    failover: float = 1.0  # room kept for the fullest host's failure, where hosts fail; times its memory
    grace_s: float = 600.0  # a host that has come up is left on so long
    hazard_per_h: float = 0.1  # failure hazard above which a host is emptied and shunned
    racks: bool = True  # whether a rack whose hosts are all off is switched off
    rack_credit: float = 0.0  # share of a rack's power that its hosts' drains are credited with
    wake_trials: int = 2  # hosts that are off whose opening is weighed in a tick
    # The n-sigma measure; without it cost alone decides.
    z: float | None = None
    target: float = 1.0
    relief: float = 1.0
    fullest: bool = False
    sigma_scale: float = 1.0  # of the expected cost


class Packer:
    """Plans one tick on the native tentative view; only the window and the headroom last between ticks."""

    def __init__(self, knobs: PackerKnobs, prices: _core.CostPrices, site: Site) -> None:
        self._knobs = knobs
        self._site = site
        self._prices = prices
        self._began = False
        self._powered = ActionKind.POWER in site.capabilities
        self._moving = ActionKind.MIGRATE in site.capabilities
        self._horizon_h = knobs.horizon_ticks * site.tick_s / 3600.0
        economy = site.economy
        per_kwh = (economy.electricity_usd_kwh + economy.carbon_usd_kwh) * economy.pue
        ahead = np.concatenate([per_kwh, np.full(knobs.horizon_ticks, per_kwh[-1], dtype=np.float32)])
        sums = np.concatenate([[0.0], np.cumsum(ahead, dtype=np.float64)])
        self._usd_kwh = (sums[knobs.horizon_ticks :] - sums[: -knobs.horizon_ticks]) / knobs.horizon_ticks
        self._headroom = Headroom(site, knobs.reserve, knobs.failover)
        self._dark_racks: set[int] = set()
        self._above = 0

    def plan(self, state: ClusterState) -> Sequence[Action]:
        """The actions of this tick."""
        if not self._began:
            self._begin(state)
        self._window.update(state)
        hosts, vms = state.hosts, state.vms
        usd_kwh = float(self._usd_kwh[min(state.tick, len(self._usd_kwh) - 1)])
        self._now_usd_kwh = usd_kwh
        self._cost.set_energy_price(usd_kwh)
        self._on_usd_h = (hosts.idle_w - self._off_w) * (usd_kwh * 1e-3)
        boot_kwh = (hosts.peak_w * hosts.boot_s + hosts.idle_w * SHUTDOWN_S) / 3.6e6
        self._cycle_usd = (
            (self._site.economy.boot_usd + boot_kwh * usd_kwh).astype(np.float32)
            if self._powered
            else np.zeros(len(hosts.state), dtype=np.float32)
        )
        self._off_usd_h = (self._off_w * (usd_kwh * 1e-3)).astype(np.float32)
        use = self._uses(state)
        self._free = self._headroom.needed(state, self._outage_usd_each(state), self._on_usd_h)
        fixed = np.zeros(len(vms.state), dtype=np.uint8)
        self._packing.begin(
            state, self._window.mean, self._window.variance, self._move_usd(state), fixed, use, self._native
        )
        waiting = self._place(state)
        if self._moving:
            self._rebalance()
        woken = self._wake(state, waiting) if self._powered else []
        if self._moving and state.tick > 0:
            self._packing.drain(
                max(self._knobs.drain_hosts, len(hosts.state) // 25),
                max(self._knobs.drain_trials, len(hosts.state) // 4),
                self._cycle_usd * np.float32(self._knobs.boot_weight)
                - self._outage_usd(state)
                - self._rack_usd(state),
                self._off_usd_h,
                self._free.sample,
                self._free.count,
                self._free.failover_mib,
            )
        return [
            *self._actions(),
            *woken,
            *self._switch_off(state),
            *self._switch_racks_off(state, woken),
        ]

    def _begin(self, state: ClusterState) -> None:
        hosts = state.hosts
        site, knobs = self._site, self._knobs
        self._began = True
        self._window = knobs.window.window(len(state.vms.state), site.tick_s)
        self._off_w = site.off_w
        # GPUs draw idle power that the CPU's curve does not have.
        power_w = site.power_w + (hosts.idle_w - site.power_w[:, 0])[:, None]
        capacity = hosts.capacity.copy()
        # Where allocations have no limit the world does not hold the resource against anybody; CPU is time.
        free = hosts.overcommit > UNLIMITED
        free[:, Resource.CPU] = False
        capacity[free] = np.float32(1e12)
        self._cost = _core.ExpectedCost(
            self._prices, capacity, site.vm_overhead, power_w.astype(np.float32), site.cores
        )
        self._packing = _core.Packing(self._cost)
        if site.largest_vm_mhz is not None:
            self._packing.limit_vms(site.largest_vm_mhz)
        native = _core.PackingKnobs()
        native.horizon_h, native.margin_usd = self._horizon_h, knobs.margin_usd
        native.drain_horizon_h = knobs.drain_ticks * site.tick_s / 3600.0
        native.peaks, native.fullest = knobs.z is not None, knobs.fullest
        native.z = knobs.z or 0.0
        native.target, native.relief = [knobs.target] * 4, [knobs.relief] * 4
        self._native = native
        self._cost.set_energy_price(float(self._usd_kwh[0]))
        self._order = self._opening_order(state)

    def _opening_order(self, state: ClusterState) -> IntArray:
        """Hosts by what they draw at 60 % for the share of the cluster they can hold, the best first."""
        hosts, vms = state.hosts, state.vms
        there = (vms.state != VmState.ABSENT)[:, None]
        wanted = np.maximum((vms.allocation * there).sum(axis=0), 1e-6)
        share = np.array(self._knobs.window.prior_mean)
        cpu = 0.6 * hosts.capacity[:, Resource.CPU] / (wanted[Resource.CPU] * share[Resource.CPU])
        memory = (
            hosts.capacity[:, Resource.MEMORY]
            * hosts.overcommit[:, Resource.MEMORY]
            / wanted[Resource.MEMORY]
        )
        held = np.minimum(cpu, memory)
        watts = np.array([self._cost.power_w(h, 0.6) for h in range(len(held))])
        # Of hosts that are about as good, those of one rack first: an empty rack can go off.
        step = np.round(np.log(np.maximum(watts / held, 1e-6)) / np.log(1.05))
        return np.lexsort((hosts.rack, step))

    def _uses(self, state: ClusterState) -> npt.NDArray[np.uint8]:
        hosts = state.hosts
        on = hosts.state == HostState.ON
        if (
            not self._powered
        ):  # where hosts come and go by themselves, one that is off is as good as an empty one
            on |= hosts.state == HostState.OFF
        on &= ~self._site.rented
        empty = (hosts.n_vms == 0) & (hosts.arriving == 0)
        shunned = hosts.hazard_per_h > self._knobs.hazard_per_h
        use = np.full(len(on), int(_core.HostUse.none), dtype=np.uint8)
        use[on] = int(_core.HostUse.target)
        use[on & shunned] = int(_core.HostUse.leaving)
        use[on & empty] = int(_core.HostUse.spare)
        use[on & empty & shunned] = int(_core.HostUse.none)
        self._spare = on & empty & ~shunned
        self._empty = on & empty
        return use

    def _move_usd(self, state: ClusterState) -> F32:
        """USD of migrating each VM: the declared price, its slow-down and its downtime."""
        economy = self._site.economy
        memory_mbit = self._window.mean[:, Resource.MEMORY] * (8.0 * 1.048576)
        seconds = MIGRATION_SETUP_S + memory_mbit / MIGRATION_MBIT_S
        slowed = MIGRATION_SLOWDOWN * self._window.mean[:, Resource.CPU] * economy.unmet_usd_h[0] * seconds
        dark = economy.downtime_usd_h * MIGRATION_DOWNTIME_S
        usd = economy.migration_usd + (slowed + dark) / 3600.0 * state.vms.credit
        return (usd * self._knobs.move_weight).astype(np.float32)

    def _place(self, state: ClusterState) -> list[int]:
        """Give waiting VMs hosts, the largest first; those that found none."""
        vms = state.vms
        waiting = np.flatnonzero((vms.state == VmState.PENDING) | (vms.state == VmState.FAILED))
        if len(waiting) == 0:
            return []
        size = (vms.allocation[waiting] / state.hosts.capacity.max(axis=0).clip(1e-6)).max(axis=1)
        return [vm for vm in waiting[np.argsort(-size, kind="stable")].tolist() if not self._put(vm)]

    def _put(self, vm: int) -> bool:
        if self._packing.place(vm, self._spares(), self._spare_usd_h()) < 0:
            return False
        self._note_opened()
        return True

    def _spares(self) -> npt.NDArray[np.int32]:
        spares: npt.NDArray[np.int32] = self._order[self._spare[self._order]].astype(np.int32)
        return spares

    def _spare_usd_h(self) -> F32:
        return self._on_usd_h.astype(np.float32)

    def _note_opened(self) -> None:
        for host in self._packing.opened():
            self._spare[host] = False
            self._empty[host] = False

    def _rebalance(self) -> None:
        if self._knobs.z is None:
            self._packing.improve(MOST_MOVES)
        else:
            self._above = self._packing.relieve(MOST_MOVES)
        # An empty host that is still on costs no boot.
        trials = (
            self._knobs.wake_trials if self._powered else max(self._knobs.wake_trials, len(self._spare) // 25)
        )
        for host in self._spares()[:trials].tolist():
            if self._knobs.z is None:
                price = float(self._on_usd_h[host]) * self._horizon_h
                if self._packing.try_open(host, price, MOST_MOVES, keep=True) <= 0.0:
                    continue
            elif not self._above:
                break
            else:
                self._packing.open(host)
                self._above = self._packing.relieve(MOST_MOVES)
            self._note_opened()

    def _wake(self, state: ClusterState, waiting: Sequence[int]) -> list[Action]:
        """Power hosts on for the VMs that wait, for those that crowd, and for those that will come."""
        hosts, vms = state.hosts, state.vms
        limit = hosts.capacity * hosts.overcommit
        status = hosts.state
        coming = ((status == HostState.BOOTING) | (status == HostState.WAKING)) & ~self._site.rented
        off = ((status == HostState.OFF) | (status == HostState.ASLEEP)) & ~self._site.rented
        ranked = [h for h in self._order.tolist() if off[h]]
        room = {int(h): limit[h].copy() for h in np.flatnonzero(coming)}
        actions: list[Action] = []

        def wake(host: int, why: str) -> None:
            rack = int(hosts.rack[host])
            if rack in self._dark_racks:
                self._dark_racks.remove(rack)
                actions.append(power_rack(rack, PowerTarget.ON, why))
            actions.append(power(host, PowerTarget.ON, why))
            room[host] = limit[host].copy()
            ranked.remove(host)

        for vm in waiting:
            need = vms.allocation[vm]
            chosen = next((h for h, free in room.items() if bool((free >= need).all())), -1)
            if chosen < 0:
                chosen = next((h for h in ranked if bool((limit[h] >= need).all())), -1)
                if chosen < 0:
                    continue
                wake(chosen, "a VM waits and no host has room")
            room[chosen] -= need
        if room or not ranked:
            return actions
        free = self._free
        short = free.count > 0 and self._packing.room_for(free.sample) * 2 < free.count
        short = short or self._packing.free_mib() < 0.5 * free.failover_mib
        if short and not self._spare.any():
            wake(ranked[0], "room for the VMs that come in a tick is running out")
            return actions
        if self._knobs.z is not None:
            if self._moving and self._above:
                wake(ranked[0], "hosts above the relief level find no target")
            return actions
        if self._moving:
            for host in ranked[: self._knobs.wake_trials]:
                price = float(self._on_usd_h[host]) * self._horizon_h + float(self._cycle_usd[host])
                if self._packing.try_open(host, price, MOST_MOVES, keep=False) > 0.0:
                    wake(host, "relief is worth more than a boot")
                    break
        return actions

    def _actions(self) -> list[Action]:
        return [place(vm, to) if source < 0 else migrate(vm, to) for vm, source, to in self._packing.moves()]

    def _switch_off(self, state: ClusterState) -> list[Action]:
        """Hosts that are empty and stay so, unless the next arrivals would need them."""
        if not self._powered:
            return []
        if not self._empty.any():
            return []
        free = self._free
        short = free.count > 0 and self._packing.room_for(free.sample) < free.count
        short = short or self._packing.free_mib() < free.failover_mib
        actions: list[Action] = []
        for host in reversed(self._order.tolist()):
            if not self._empty[host]:
                continue
            if self._spare[host] and state.tick > 0:
                if state.hosts.since_s[host] < self._knobs.grace_s:
                    continue
                if short:
                    short = False  # one host is kept for what comes; the next tick looks again
                    continue
            actions.append(power(host, PowerTarget.OFF, "empty"))
        return actions

    def _switch_racks_off(self, state: ClusterState, woken: Sequence[Action]) -> list[Action]:
        """Racks none of whose hosts draws power or is about to."""
        if not (self._powered and self._knobs.racks):
            return []
        hosts = state.hosts
        status = hosts.state
        down = (status == HostState.OFF) | (status == HostState.ASLEEP) | self._site.rented
        up = set(hosts.rack[~down].tolist()) | {int(hosts.rack[a.host]) for a in woken if a.host >= 0}
        ours = set(hosts.rack[~self._site.rented].tolist())
        self._dark_racks &= ours - up  # the world's scheduler may have woken one
        dark = sorted(ours - up - self._dark_racks)
        self._dark_racks.update(dark)
        return [power_rack(rack, PowerTarget.OFF, "all its hosts are off") for rack in dark]

    def _rack_usd(self, state: ClusterState) -> F32:
        """Each host's part in switching its rack off: the rack's power over the horizon, by hosts still on.

        A share of it, since the other hosts may stay; the last host of a rack earns the whole.
        """
        hosts = state.hosts
        rack_w = self._site.rack_w
        if rack_w is None or self._knobs.rack_credit <= 0.0 or not (self._powered and self._knobs.racks):
            return np.zeros(len(hosts.state), dtype=np.float32)
        on = ((hosts.state == HostState.ON) | (hosts.state == HostState.BOOTING)) & ~self._site.rented
        standing = np.bincount(hosts.rack[on], minlength=len(rack_w))[hosts.rack]
        certain = np.where(standing <= 1, 1.0, self._knobs.rack_credit / np.maximum(standing, 1))
        hours = self._knobs.drain_ticks * self._site.tick_s / 3600.0
        usd: F32 = (rack_w[hosts.rack] * certain * (self._now_usd_kwh * 1e-3 * hours)).astype(np.float32)
        return usd

    def _outage_usd_each(self, state: ClusterState) -> F32:
        """What a failure of each host costs: its VMs are dark until a host has booted for them."""
        hosts = state.hosts
        dark_h = (float(hosts.boot_s.max()) + 0.5 * self._site.tick_s) / 3600.0
        usd: F32 = hosts.n_vms * np.float32(self._site.economy.downtime_usd_h * dark_h)
        return usd

    def _outage_usd(self, state: ClusterState) -> F32:
        """What emptying a host that is about to fail is worth; 0 for all others."""
        hosts = state.hosts
        soon = 1.0 - np.exp(-hosts.hazard_per_h * np.float32(ALARM_H))
        alarmed = hosts.hazard_per_h > self._knobs.hazard_per_h
        usd: F32 = np.where(alarmed, soon * self._outage_usd_each(state), 0.0).astype(np.float32)
        return usd
