"""Dynamic consolidation in the manner of Beloglazov & Buyya (CCPE 2012): relieve, drain, switch off.

Each tick: (1) hosts that the detector finds overloaded give VMs away, the quickest to migrate first (MMT:
least memory in use over the bandwidth, which is one and the same for a host's VMs), until they are not; (2)
those VMs and the arrivals go, largest CPU demand first, where power grows least (PABFD); (3) from the least
utilised host on, a host whose VMs all find a place on the other busy hosts is emptied; (4) empty hosts are
switched off.

Different from the publication and its simulator, because our physics is not theirs:
- memory counts like CPU where more of it may be promised than there is, and every resource's allocation limit
  holds, at the target from the start of a copy and at the source until its end;
- an idle host draws its measured idle power, so placing on an empty host costs all of it;
- a host that is off takes minutes to boot: relief that finds no room wakes one and waits;
- VMs that boot or are on the move are left alone, a host that received VMs this tick is not drained (their
  text says so, their code does not), and each VM moves at most once a tick;
- VMs are never deleted for being idle.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreshade._core import ClusterState
from foreshade.agents.baselines.overload import UNTIL_KNOWN, WATCHED, DemandHistory, Detector
from foreshade.agents.baselines.planned import F64, I64, Mask, Planned
from foreshade.envs.model.action import Action
from foreshade.envs.model.state import Resource
from foreshade.envs.site import Site

#: Resources without a detector of their own: their usage may fill the host, no more.
UNWATCHED = (Resource.DISK, Resource.NETWORK)


class Consolidation:
    """A detector with minimum-migration-time selection and power-aware best fit decreasing."""

    power_managed = True

    def __init__(self, rule: str, detector: Detector) -> None:
        self.name = f"{rule}-mmt-{detector.parameter:g}"
        self._detector = detector
        self._history = DemandHistory(detector.window)
        self._site: Site | None = None

    def reset(self, site: Site) -> None:
        """Forget the history."""
        self._site = site
        self._history = DemandHistory(self._detector.window)

    def act(self, state: ClusterState) -> Sequence[Action]:
        """One tick: relieve, place, drain, switch off."""
        assert self._site is not None  # noqa: S101 - reset comes first by the protocol
        plan = Planned(state, self._site)
        self._history.record(plan, state)
        tick = _Tick(plan, self._history, self._detector)
        tick.relieve_and_place()
        tick.drain(state.hosts.arriving)
        plan.switch_off_empty()
        return plan.actions


class _Tick:
    """What is known and booked in one tick."""

    def __init__(self, plan: Planned, history: DemandHistory, detector: Detector) -> None:
        self.plan = plan
        self.history = history
        self.detector = detector
        self.hosts: F64 = history.of_hosts(plan)
        level, limit = self._assess(self.hosts)
        promised_more = plan.limit[:, Resource.MEMORY] > plan.capacity[:, Resource.MEMORY]
        limit[~promised_more, Resource.MEMORY] = np.inf
        self.limit: F64 = limit  # (n_hosts, 2)
        self.overloaded: Mask = (level > limit).any(axis=1) & plan.on & (plan.count > 0)
        #: (n_hosts, 2) what a new VM comes on top of: the prediction, but no less than what is there.
        self.level: F64 = np.maximum(level, self.hosts[-1])
        self.received: Mask = np.zeros(plan.n_hosts, dtype=bool)

    def _assess(self, history: F64) -> tuple[F64, F64]:
        if self.history.samples < self.detector.least_samples:
            return history[-1], np.full(history.shape[1:], UNTIL_KNOWN)
        return self.detector.assess(history)

    def relieve_and_place(self) -> None:
        """Steps 1 and 2; arrivals before relief, for they serve nobody yet."""
        plan = self.plan
        for vm in self._decreasing(plan.pending):
            room = plan.fits(vm)
            host = self._cheapest(vm, room & self._suits(vm))
            if host < 0:  # rather a crowded host than none
                host = self._cheapest(vm, room)
            if host >= 0:
                self._count_in(vm, host)
                plan.put(vm, host, "arrival where power grows least")
            else:
                plan.await_room(vm, "no room for an arrival")
        relief = [self._select(int(host)) for host in np.flatnonzero(self.overloaded)]
        if not relief:
            return
        for vm in self._decreasing(np.concatenate(relief)):
            host = self._cheapest(vm, plan.fits(vm) & self._suits(vm))
            if host >= 0:
                self._count_in(vm, host)
                plan.move(vm, host, "relieves an overloaded host")
            else:
                plan.await_room(vm, "no room for relief")

    def _select(self, host: int) -> I64:
        """The VMs of an overloaded host to give away, least memory in use first."""
        plan = self.plan
        vms = plan.movable_on(host)
        if not len(vms):
            return vms
        vms = vms[np.argsort(plan.vm_load[vms, Resource.MEMORY], kind="stable")]
        overhead = plan.site.vm_overhead[host, :WATCHED]
        given = np.cumsum(self.history.of_vms(vms) + overhead, axis=1) / plan.capacity[host, :WATCHED]
        level, limit = self._assess(
            self.hosts[:, host, None] - given
        )  # (k, 2): after the first, the second, …
        limit[:, np.isinf(self.limit[host])] = np.inf
        relieved = np.flatnonzero((level <= limit).all(axis=1))
        return vms[: relieved[0] + 1] if len(relieved) else vms

    def drain(self, arriving: np.typing.NDArray[np.int32]) -> None:
        """Step 3: each host once, in order of CPU utilisation; receivers are left as they are."""
        plan = self.plan
        cpu = plan.utilisation(Resource.CPU)
        busy = plan.on & (plan.count > 0)
        done: Mask = ~busy | self.overloaded
        receivers = busy & ~self.overloaded
        for host in np.argsort(cpu, kind="stable"):
            if done[host] or self.received[host] or arriving[host] > 0:
                continue
            self._empty(int(host), receivers)

    def _empty(self, host: int, receivers: Mask) -> None:
        plan = self.plan
        vms = plan.movable_on(host)
        if len(vms) < plan.count[host]:  # something cannot be moved now
            return
        receivers[host] = False
        others = receivers & plan.targets
        if not self._could_hold(vms, others):
            receivers[host] = True
            return
        level, received, booked = self.level.copy(), self.received.copy(), len(plan.actions)
        for vm in self._decreasing(vms):
            target = self._cheapest(vm, plan.fits(vm) & others & self._suits(vm))
            if target < 0:
                plan.undo(booked)
                self.level, self.received = level, received
                receivers[host] = True
                return
            self._count_in(vm, target)
            plan.move(vm, target, "empties an underused host")

    def _could_hold(self, vms: I64, others: Mask) -> bool:
        """Whether the sums leave a chance: cheap, and right for most hosts when memory is what is scarce."""
        plan = self.plan
        room = np.maximum(0.0, plan.limit[others] - plan.allocated[others])
        need = plan.vm_allocation[vms]
        if bool(np.any(need.sum(axis=0) > room.sum(axis=0))):
            return False
        each = np.all(need[:, None, :] <= room[None, :, :], axis=2)
        return bool(each.any(axis=1).all())

    def _decreasing(self, vms: I64) -> list[int]:
        """By CPU demand, largest first; lowest number on ties."""
        return [int(vm) for vm in vms[np.argsort(-self.plan.vm_load[vms, Resource.CPU], kind="stable")]]

    def _suits(self, vm: int) -> Mask:
        """(n_hosts,) not overloaded, nor with the VM."""
        plan = self.plan
        suits = ~self.overloaded & (self.level + self._share(vm) <= self.limit).all(axis=1)
        for r in UNWATCHED:
            suits &= plan.load[:, r] + plan.vm_load[vm, r] <= plan.capacity[:, r]
        return suits

    def _share(self, vm: int) -> F64:
        plan = self.plan
        load = plan.vm_load[vm, :WATCHED] + plan.site.vm_overhead[:, :WATCHED]
        return load / plan.capacity[:, :WATCHED]

    def _cheapest(self, vm: int, room: Mask) -> int:
        """The host of least power increase, lowest number on ties; -1 where there is none."""
        if not room.any():
            return -1
        return int(np.argmin(np.where(room, self.plan.power_increase_w(vm), np.inf)))

    def _count_in(self, vm: int, host: int) -> None:
        self.level[host] += self._share(vm)[host]
        self.received[host] = True
