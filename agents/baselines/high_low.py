"""High and low marks on smoothed load, in the manner of Xen Orchestra's load balancer in density mode.

From its documented behaviour (Xen Orchestra documentation, "Load balancing"): hosts' loads are averaged over
the last half hour with more weight on what is new; a host above the high mark (85 % of the critical CPU
threshold of 90 %) gives VMs away until it is below; in density mode a host below the low mark (25 % of the
critical threshold) is evacuated to the others and switched off, and hosts are started again when load asks
for it. A VM that has moved is left alone for a while.

Different here: the average is exponential and kept per VM, so that it moves along with it; memory in use has
a high mark of its own; the VM that goes is the largest that the fullest possible target can take without
passing the mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreshade._core import ClusterState
from foreshade.agents.baselines.planned import F64, I64, Mask, Planned
from foreshade.envs.model.action import Action
from foreshade.envs.model.state import Resource, VmState
from foreshade.envs.site import Site

SMOOTHED = (Resource.CPU, Resource.MEMORY)


@dataclass(frozen=True, slots=True)
class HighLowConfig:
    """Marks are shares of usable capacity."""

    high_cpu: float = 0.765  # 0.85 of the documented critical threshold of 0.9
    low_cpu: float = 0.225  # 0.25 of it
    high_memory: float = 0.95  # in use; beyond it swapping is near
    newest: float = 0.25  # weight of the newest sample: three quarters of the memory is 30 min old at most
    cooldown_s: float = 1800.0  # between two moves of one VM; half an hour, the documented default


class HighLow:
    """Relief above the high mark, evacuation below the low one."""

    name = "high-low"
    power_managed = True

    def __init__(self, config: HighLowConfig | None = None) -> None:
        self._config = config or HighLowConfig()
        self._site: Site | None = None
        self._smooth: F64 = np.zeros((0, len(SMOOTHED)))
        self._seen: Mask = np.zeros(0, dtype=bool)

    def reset(self, site: Site) -> None:
        """Forget the averages."""
        self._site = site
        self._smooth = np.zeros((0, len(SMOOTHED)))
        self._seen = np.zeros(0, dtype=bool)

    def act(self, state: ClusterState) -> Sequence[Action]:
        """Arrivals, relief, evacuation, switching off."""
        assert self._site is not None  # noqa: S101 - reset comes first by the protocol
        plan = Planned(state, self._site)
        self._average(plan, state)
        ready: Mask = plan.movable & (state.vms.since_move_s >= self._config.cooldown_s)
        tick = _Tick(plan, self._smooth, ready, self._config)
        tick.place()
        tick.relieve()
        tick.evacuate(state.hosts.arriving)
        plan.switch_off_empty()
        return plan.actions

    def _average(self, plan: Planned, state: ClusterState) -> None:
        now = plan.vm_load[:, list(SMOOTHED)]
        if len(self._seen) != len(now):
            self._smooth = now.copy()
            self._seen = np.zeros(len(now), dtype=bool)
        weight = np.where(self._seen, self._config.newest, 1.0)[:, None]
        self._smooth += weight * (now - self._smooth)
        serving = (state.vms.state == VmState.RUNNING) | (state.vms.state == VmState.MIGRATING)
        self._seen = serving & np.isfinite(state.vms.age_s)


class _Tick:
    def __init__(self, plan: Planned, smooth: F64, ready: Mask, config: HighLowConfig) -> None:
        self.plan = plan
        self.ready = ready
        self.config = config
        self.smooth = smooth
        standing = np.flatnonzero(plan.place >= 0)
        self.load: F64 = plan.count[:, None].astype(np.float64) * plan.site.vm_overhead[:, :2]
        for column in range(len(SMOOTHED)):
            weights = smooth[standing, column]
            self.load[:, column] += np.bincount(plan.place[standing], weights=weights, minlength=plan.n_hosts)
        self.capacity: F64 = plan.capacity[:, list(SMOOTHED)]
        self.high: F64 = self.capacity * np.array([config.high_cpu, config.high_memory])
        self.received: Mask = np.zeros(plan.n_hosts, dtype=bool)

    def place(self) -> None:
        """Arrivals to the fullest host that stays below the marks, else to the least loaded with room."""

        def choose(vm: int, room: Mask) -> int:
            host = self._fullest(vm, room)
            if host < 0:
                host = int(np.argmin(np.where(room, self.load[:, 0] / self.capacity[:, 0], np.inf)))
            self._count_in(vm, host)
            return host

        self.plan.place_pending(choose, "fullest host below the high mark")

    def relieve(self) -> None:
        """Hosts above a high mark, the most loaded first, until below it."""
        above = (self.load > self.high).any(axis=1) & self.plan.on
        order = np.argsort(-(self.load / self.high).max(axis=1), kind="stable")
        for host in order[above[order]].tolist():
            self._relieve(host)

    def _relieve(self, host: int) -> None:
        plan = self.plan
        vms = self._ready_on(host)
        excess = self.load[host] / self.high[host]
        column = int(np.argmax(excess))
        for vm in vms[np.argsort(-self.smooth[vms, column], kind="stable")].tolist():
            if (self.load[host] <= self.high[host]).all():
                return
            target = self._fullest(vm, plan.fits(vm) & (self.load <= self.high).all(axis=1))
            if target >= 0:
                self._move(vm, host, target, "host above the high mark")
        if (self.load[host] > self.high[host]).any() and len(vms):
            plan.await_room(int(vms[np.argmax(self.smooth[vms, column])]), "no room below the high mark")

    def evacuate(self, arriving: np.typing.NDArray[np.int32]) -> None:
        """Hosts below the low mark, the least loaded first, if every VM can go at once."""
        plan = self.plan
        cpu = self.load[:, 0] / self.capacity[:, 0]
        low = plan.on & (plan.count > 0) & (cpu < self.config.low_cpu) & (arriving == 0)
        for host in np.argsort(cpu, kind="stable").tolist():
            if low[host] and not self.received[host]:
                self._evacuate(host)

    def _evacuate(self, host: int) -> None:
        plan = self.plan
        vms = self._ready_on(host)
        others = plan.targets & (plan.count > 0)
        others[host] = False
        if len(vms) < plan.count[host] or not self._could_hold(vms, others):
            return
        load, received, booked = self.load.copy(), self.received.copy(), len(plan.actions)
        for vm in vms[np.argsort(-plan.vm_allocation[vms, Resource.MEMORY], kind="stable")].tolist():
            target = self._fullest(vm, plan.fits(vm) & others)
            if target < 0:
                plan.undo(booked)
                self.load, self.received = load, received
                return
            self._move(vm, host, target, "host below the low mark")

    def _could_hold(self, vms: I64, others: Mask) -> bool:
        plan = self.plan
        room = np.maximum(0.0, plan.limit[others] - plan.allocated[others]).sum(axis=0)
        return bool((plan.vm_allocation[vms].sum(axis=0) <= room).all())

    def _ready_on(self, host: int) -> I64:
        vms = self.plan.movable_on(host)
        return vms[self.ready[vms]]

    def _fullest(self, vm: int, room: Mask) -> int:
        """Of the hosts with room that stay below the marks, the one of most CPU load; -1 = none."""
        overhead = self.plan.site.vm_overhead[:, list(SMOOTHED)]
        room = room & (self.load + self.smooth[vm] + overhead <= self.high).all(axis=1)
        if not room.any():
            return -1
        return int(np.argmax(np.where(room, self.load[:, 0] / self.capacity[:, 0], -1.0)))

    def _move(self, vm: int, source: int, target: int, reason: str) -> None:
        self.load[source] -= self.smooth[vm] + self.plan.site.vm_overhead[source, list(SMOOTHED)]
        self._count_in(vm, target)
        self.plan.move(vm, target, reason)

    def _count_in(self, vm: int, host: int) -> None:
        self.load[host] += self.smooth[vm] + self.plan.site.vm_overhead[host, list(SMOOTHED)]
        self.received[host] = True
