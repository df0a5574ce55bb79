"""Where VMs could go, one after the other: each is booked before the next looks.

Components that empty hosts (alarms, maintenance, racks that go dark, hosts that are given back) plan with this; the
proposer looks at their moves again before it takes them. A destination has room by allocation and by usage, is within
its thermal limit, and obeys the rules about places.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from foreshade import _core
from foreshade._core import ClusterState
from foreshade.agents.bars import OPEN, Bars
from foreshade.envs.model.action import Action, migrate
from foreshade.envs.model.state import HostState, Resource, VmState
from foreshade.envs.site import Site

Mask = npt.NDArray[np.bool_]

CPU_SHARE = 0.85  # use of a host's CPU up to which it is filled: beyond it response times stretch
MEMORY_SHARE = 0.95
_PASSING = (VmState.BOOTING, VmState.MIGRATING, VmState.STOPPING)


class Relocation:
    """Room as planned so far."""

    def __init__(
        self,
        site: Site,
        state: ClusterState,
        takes: Mask,
        *,
        cpu_share: float = CPU_SHARE,
        spread: bool = False,
        bars: Bars | None = None,
        as_if_on: Mask | None = None,
    ) -> None:
        """Look at a tick's state; hosts of ``takes`` (n_hosts,) that are on, or looked at as if, may be filled.

        What ``bars`` fix stays this tick, and hosts that they do not leave open take nothing.
        """
        hosts, vms = state.hosts, state.vms
        self._site, self._state, self._spread = site, state, spread
        there = hosts.state == HostState.ON
        self.takes = takes & (there if as_if_on is None else there | as_if_on)
        if bars is not None:
            self.takes &= bars.hosts == OPEN
        runs = vms.state == VmState.RUNNING
        self._movable = runs & (vms.destination < 0)
        if bars is not None:
            self._movable &= bars.fixed == 0
        #: What keeps them will pass: a boot, a move, their end, a bar.
        self._later = np.isin(vms.state, _PASSING) | (runs & ~self._movable)
        self._limit = hosts.capacity * hosts.overcommit
        self._allocated = hosts.allocated.astype(np.float64)
        self._used = hosts.usage[:, :2].astype(np.float64)
        self._most = hosts.capacity[:, :2] * np.array([cpu_share, MEMORY_SHARE])
        moving = np.flatnonzero((vms.destination >= 0) & (vms.state != VmState.ABSENT))
        np.add.at(self._used, vms.destination[moving], vms.demand[moving, :2])
        self._book: _core.AffinityBook | None = None
        if site.affinity is not None:
            self._book = _core.AffinityBook(site.affinity)
            self._book.read(state)

    def movable(self, vm: int) -> bool:
        """Whether it runs, is on its way nowhere, and nobody bars its move."""
        return bool(self._movable[vm])

    def residents(self, host: int) -> list[int]:
        """VMs that stand there, the largest memory first."""
        vms = self._state.vms
        here = np.flatnonzero((vms.host == host) & (vms.state != VmState.ABSENT))
        return sorted(here.tolist(), key=lambda v: (-float(vms.allocation[v, 1]), v))

    def move(self, vm: int, reason: str, among: Mask | None = None) -> tuple[Action, ...]:
        """Book ``vm``, with those that have to go with it, where they fit best; empty where they fit nowhere."""
        vms = self._state.vms
        company = [vm] if self._book is None else self._book.companions(vm)
        if not all(self.movable(v) for v in company):
            return ()
        to = self._best(company, among)
        if to < 0:
            return ()
        for v in company:
            self._allocated[to] += vms.allocation[v] + self._site.vm_overhead[to] * (0, 1, 0, 0, 0)
            self._used[to] += vms.demand[v, :2]
            if self._book is not None:
                self._book.move(v, int(vms.host[v]), to)
        return (migrate(vm, to, reason, company=len(company) > 1),)

    def empty(
        self, hosts: Iterable[int], reason: str, among: Mask | None = None
    ) -> tuple[Action, ...] | None:
        """Moves of every VM of ``hosts`` that can move now; None, with nothing booked, where one never will.

        What boots, moves or ends, or is barred from moving, is left for a later tick.
        """
        saved = self._allocated.copy(), self._used.copy()
        actions: list[Action] = []
        gone: set[int] = set()
        residents = [vm for host in hosts for vm in self.residents(host)]
        leavers = [vm for vm in residents if not self._later[vm]]
        if not self._may_hold(leavers):
            return None
        for vm in sorted(leavers, key=lambda v: -float(self._state.vms.allocation[v, 1])):
            if vm in gone:
                continue
            moves = self.move(vm, reason, among)
            if not moves:
                self._allocated, self._used = saved
                if self._book is not None:
                    self._book.read(self._state)
                return None
            gone.update([vm] if self._book is None else self._book.companions(vm))
            actions.extend(moves)
        return tuple(actions)

    def _may_hold(self, vms: list[int]) -> bool:
        """Whether all hosts together have as much room as these VMs want together: seldom enough, quickly told."""
        columns, takes = self._state.vms, self.takes
        promised = columns.allocation[vms].sum(axis=0, dtype=np.float64)
        room = np.maximum(self._limit[takes] - self._allocated[takes], 0.0).sum(axis=0)
        used = columns.demand[vms, :2].sum(axis=0, dtype=np.float64)
        unused = np.maximum(self._most[takes] - self._used[takes], 0.0).sum(axis=0)
        return bool((promised <= room).all() and (used <= unused).all())

    def _best(self, company: list[int], among: Mask | None) -> int:
        """The fullest host that holds them all and is none of theirs; -1 = none does."""
        vms, site = self._state.vms, self._site
        need = vms.allocation[company].sum(axis=0)
        uses = vms.demand[company, :2].sum(axis=0)
        fits = self.takes.copy()
        for r in np.flatnonzero(need > 0).tolist():  # a column at a time: rows of five are slow to reduce
            promised = self._allocated[:, r] + need[r]
            if r == Resource.MEMORY:
                promised += len(company) * site.vm_overhead[:, r].astype(np.float64)
            fits &= promised <= self._limit[:, r]
        for r in range(2):
            fits &= self._used[:, r] + uses[r] <= self._most[:, r]
        if among is not None:
            fits &= among
        if site.largest_vm_mhz is not None:
            fits &= vms.allocation[company, 0].max() <= site.largest_vm_mhz
        for v in company:
            fits[vms.host[v]] = False
            for other in self._kin(v):
                fits[[h for h in (vms.host[other], vms.destination[other]) if h >= 0]] = False
        full = np.maximum(self._used[:, 0] / self._most[:, 0], self._used[:, 1] / self._most[:, 1])
        if self._spread:  # among hosts that hold something already: an empty one may go off
            full = np.where(self._state.hosts.n_vms > 0, 2.0 - full, 0.0)
        share = np.where(fits, full, -1.0)
        if self._book is None:
            first = int(share.argmax())
            return first if share[first] >= 0.0 else -1
        for h in np.argsort(-share, kind="stable").tolist():
            if share[h] < 0.0:
                return -1
            if (
                self._book.allows(company[0], h)
                if len(company) == 1
                else self._book.allows_company(company, h)
            ):
                return int(h)
        return -1

    def _kin(self, vm: int) -> list[int]:
        """Its primary and its shadows."""
        vms = self._state.vms
        kin = np.flatnonzero(vms.primary == vm).tolist()
        return [*kin, int(vms.primary[vm])] if vms.primary[vm] >= 0 else kin
