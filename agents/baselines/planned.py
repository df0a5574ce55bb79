"""The cluster as it will be once this tick's decisions and the moves under way are done.

An agent books every decision here, so that the next one sees it; the booked actions are the tick's plan. Room
is reckoned as the world does: a move's source keeps its reservation until the copy is done, its target has it
at once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from foreshade._core import ClusterState
from foreshade.envs.model.action import Action, ActionKind, PowerTarget, migrate, place, power
from foreshade.envs.model.state import HostState, Resource, VmKind, VmState
from foreshade.envs.site import Site

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

#: Relative slack of a host's limit, for sums of float32 that come and go; half of the world's own.
SLACK = 5e-7

N_RESOURCES = len(Resource)


class Planned:
    """Tentative view of one tick; lives until the tick's plan is handed over."""

    def __init__(self, state: ClusterState, site: Site) -> None:
        """Read the snapshot; arrays are (n_hosts, 5) and (n_vms, 5), units as in Resource."""
        hosts, vms = state.hosts, state.vms
        self.site = site
        self.actions: list[Action] = []
        self.can_migrate = ActionKind.MIGRATE in site.capabilities
        self.can_power = ActionKind.POWER in site.capabilities

        self.host_state = hosts.state
        self.capacity: F64 = hosts.capacity.astype(np.float64)
        self.limit: F64 = self.capacity * hosts.overcommit * (1.0 + SLACK)
        self.allocated: F64 = hosts.allocated.astype(np.float64)
        self.n_hosts = len(self.capacity)
        #: (n_hosts, 5) what a VM reserves beyond its allocation
        self.reserve: F64 = np.zeros_like(self.allocated)
        self.reserve[:, Resource.MEMORY] = site.vm_overhead[:, Resource.MEMORY]
        own = ~site.rented
        self.on: Mask = (hosts.state == HostState.ON) & own
        self._down: Mask = ((hosts.state == HostState.OFF) | (hosts.state == HostState.ASLEEP)) & own
        self._coming: Mask = ((hosts.state == HostState.BOOTING) | (hosts.state == HostState.WAKING)) & own
        self._promised: F64 | None = None

        placed = vms.host >= 0
        self.host: I64 = vms.host.astype(np.int64)
        self.place: I64 = np.where(vms.destination >= 0, vms.destination, vms.host).astype(np.int64)
        self.vm_allocation: F64 = vms.allocation.astype(np.float64)
        self.vm_load: F64 = self._estimate(state)
        running = vms.state == VmState.RUNNING
        self.movable: Mask = running & (vms.destination < 0) & placed & self.can_migrate
        self.pending: I64 = np.flatnonzero((vms.state == VmState.PENDING) | (vms.state == VmState.FAILED))

        standing = np.flatnonzero(placed)
        there = self.place[standing]
        self.count: I64 = np.bincount(there, minlength=self.n_hosts)
        self.load: F64 = self.count[:, None].astype(np.float64) * site.vm_overhead
        for r in range(N_RESOURCES):
            self.load[:, r] += np.bincount(there, weights=self.vm_load[standing, r], minlength=self.n_hosts)
        self._stands: Mask = (hosts.n_vms > 0) | (hosts.arriving > 0)
        #: Hosts whose last VM is on its way out: no targets, or they would never come empty.
        self.emptying: Mask = (hosts.n_vms > 0) & (self.count == 0)

        self._shadows: I64 = np.flatnonzero(
            (vms.kind == VmKind.SHADOW) & (vms.state != VmState.ABSENT) & (vms.primary >= 0)
        )
        self._primary: I64 = vms.primary.astype(np.int64)

    def _estimate(self, state: ClusterState) -> F64:
        """Demand of each VM; where nothing was measured yet, its share of an overcommitted host."""
        vms = state.vms
        serving = (vms.state == VmState.RUNNING) | (vms.state == VmState.MIGRATING)
        known = serving & np.isfinite(vms.age_s)
        own = ~self.site.rented
        promise = np.maximum(1.0, state.hosts.overcommit[own].mean(axis=0, dtype=np.float64))
        return np.where(known[:, None], vms.demand, self.vm_allocation / promise)

    # ---- what there is

    @property
    def targets(self) -> Mask:
        """(n_hosts,) hosts that may be given VMs now."""
        return self.on & ~self.emptying

    def utilisation(self, resource: Resource) -> F64:
        """(n_hosts,) load over usable capacity; 0 where a host has none of the resource."""
        capacity = self.capacity[:, resource]
        return np.divide(self.load[:, resource], capacity, out=np.zeros(self.n_hosts), where=capacity > 0)

    def movable_on(self, host: int) -> I64:
        """VMs that stand on ``host`` and can be moved now, ascending."""
        return np.flatnonzero((self.place == host) & self.movable)

    def fits(self, vm: int) -> Mask:
        """(n_hosts,) targets with room for the VM, but for those of its shadow or primary."""
        need = self.vm_allocation[vm]
        room = self.targets
        for r in range(N_RESOURCES):
            if need[r] > 0.0:
                room &= self.allocated[:, r] + self.reserve[:, r] + need[r] <= self.limit[:, r]
        if self.place[vm] >= 0:
            room[self.place[vm]] = False
        if len(self._shadows):
            self._keep_apart(vm, room)
        return room

    def fits_many(self, vms: I64) -> Mask:
        """(k, n_hosts) the same for several VMs, each as if it came alone."""
        room = np.broadcast_to(self.targets, (len(vms), self.n_hosts)).copy()
        for r in range(N_RESOURCES):
            need = self.vm_allocation[vms, r, None]
            held = self.allocated[:, r] + self.reserve[:, r]
            room &= (need <= 0.0) | (held + need <= self.limit[:, r])
        standing = np.flatnonzero(self.place[vms] >= 0)
        room[standing, self.place[vms[standing]]] = False
        if len(self._shadows):
            for row, vm in enumerate(vms):
                self._keep_apart(int(vm), room[row])
        return room

    def _keep_apart(self, vm: int, room: Mask) -> None:
        primary = self._primary[vm]
        if primary >= 0 and self.place[primary] >= 0:
            room[self.place[primary]] = False
        apart = self.place[self._shadows[self._primary[self._shadows] == vm]]
        room[apart[apart >= 0]] = False

    def power_w(self, cpu: F64) -> F64:
        """(n_hosts,) power under a CPU load in MHz: straight lines between SPECpower's points."""
        share = np.clip(cpu / self.capacity[:, Resource.CPU], 0.0, 1.0) * 10.0
        below = np.minimum(share.astype(np.int64), 9)
        rows = np.arange(self.n_hosts)
        low: F64 = self.site.power_w[rows, below].astype(np.float64)
        high: F64 = self.site.power_w[rows, below + 1].astype(np.float64)
        return low + (share - below) * (high - low)

    def power_increase_w(self, vm: int) -> F64:
        """(n_hosts,) W that the VM would add; an empty host, which would else be off, costs all it draws."""
        now = self.load[:, Resource.CPU]
        added = self.vm_load[vm, Resource.CPU] + self.site.vm_overhead[:, Resource.CPU]
        before = np.where(self.count > 0, self.power_w(now), self.site.off_w)
        after: F64 = self.power_w(now + added)
        return after - before

    # ---- decisions

    def move(self, vm: int, host: int, reason: str) -> None:
        """Migrate a movable VM."""
        source = int(self.place[vm])
        self._book(vm, source, -1.0)
        self._settle(vm, host)
        self.movable[vm] = False
        self.emptying[source] = self.count[source] == 0
        self.actions.append(migrate(vm, host, reason))

    def put(self, vm: int, host: int, reason: str) -> None:
        """Give a pending or failed VM its host."""
        self._settle(vm, host)
        self.actions.append(place(vm, host, reason))

    def undo(self, mark: int) -> None:
        """Take back the moves booked since there were ``mark`` actions, the last one first."""
        while len(self.actions) > mark:
            action = self.actions.pop()
            vm, source = action.vm, int(self.host[action.vm])
            self._book(vm, action.host, -1.0)
            self.allocated[action.host] -= self.vm_allocation[vm] + self.reserve[action.host]
            self._book(vm, source, 1.0)
            self.place[vm] = source
            self.movable[vm] = True
            self.emptying[source] = False

    def place_pending(self, choose: Callable[[int, Mask], int], reason: str) -> None:
        """Give each waiting VM, by number, the host that ``choose`` picks of those with room, or wake one."""
        for vm in self.pending.tolist():
            room = self.fits(vm)
            if room.any():
                self.put(vm, choose(vm, room), reason)
            else:
                self.await_room(vm, "no room for an arrival")

    def _settle(self, vm: int, host: int) -> None:
        self.allocated[host] += self.vm_allocation[vm] + self.reserve[host]
        self._book(vm, host, 1.0)
        self.place[vm] = host

    def _book(self, vm: int, host: int, sign: float) -> None:
        self.load[host] += sign * (self.vm_load[vm] + self.site.vm_overhead[host])
        self.count[host] += int(sign)

    def await_room(self, vm: int, reason: str) -> bool:
        """Let the VM wait for a host that is coming up; if none is, wake the one of least W/MHz at full load.

        False where no host that can come up would hold it, or none may be switched.
        """
        need = self.vm_allocation[vm]
        if self._promised is None:
            self._promised = np.zeros_like(self.allocated)
        held = self._promised + self.reserve
        room = ((held + need <= self.limit) | (need <= 0.0)).all(axis=1)
        coming = np.flatnonzero(self._coming & room)
        if len(coming):
            self._promised[coming[0]] += need + self.reserve[coming[0]]
            return True
        down = np.flatnonzero(self._down & room)
        if not len(down) or not self.can_power:
            return False
        watts = self.site.power_w[down, -1] / self.capacity[down, Resource.CPU]
        host = int(down[np.argmin(watts)])
        self._down[host], self._coming[host] = False, True
        self._promised[host] += need + self.reserve[host]
        self.actions.append(power(host, PowerTarget.ON, reason))
        return True

    def switch_off_empty(self, reason: str = "empty") -> None:
        """Switch off every host of ours that holds nothing and awaits nothing."""
        if not self.can_power:
            return
        for host in np.flatnonzero(self.on & ~self._stands & (self.count == 0)):
            self.on[host] = False
            self.actions.append(power(int(host), PowerTarget.OFF, reason))
