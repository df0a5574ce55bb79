"""Where VMs could go, one after the other: each is booked before the next looks.

Components that empty hosts (alarms, maintenance, racks that go dark, hosts that are given back) plan with this; the
proposer looks at their moves again before it takes them. A destination has room by allocation and by usage, is within
its thermal limit, and obeys the rules about places.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foreshade import _core
from foreshade._core import ClusterState
from foreshade.agents.bars import OPEN, Bars
from foreshade.envs.model.action import Action, migrate
from foreshade.envs.model.state import HostState, Resource, VmState
from foreshade.envs.site import Site

Mask = npt.NDArray[np.bool_]
F64 = npt.NDArray[np.float64]

CPU_SHARE = 0.85  # use of a host's CPU up to which it is filled: beyond it response times stretch
MEMORY_SHARE = 0.95
_PASSING = (VmState.BOOTING, VmState.MIGRATING, VmState.STOPPING)


@dataclass(frozen=True, slots=True)
class _Booked:
    """A VM's move, with those that go with it."""

    vm: int
    company: list[int]
    to: int
    share: float  # of the destination, by which it was chosen
    allocated: F64  # (5,) of the destination before
    used: F64  # (2,) likewise


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
        self._may_take = takes if bars is None else takes & (bars.hosts == OPEN)
        self.takes = self._may_take & (there if as_if_on is None else there | as_if_on)
        runs = vms.state == VmState.RUNNING
        self._movable = runs & (vms.destination < 0)
        if bars is not None:
            self._movable &= bars.fixed == 0
        #: What keeps them will pass: a boot, a move, their end, a bar.
        self._later = np.isin(vms.state, _PASSING) | (runs & ~self._movable)
        self._limit = hosts.capacity * hosts.overcommit
        self._overhead_mib = site.vm_overhead[:, Resource.MEMORY].astype(np.float64)
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
        booked = self._book_best(vm, among)
        return () if booked is None else (_action(booked, reason),)

    def empty(
        self, hosts: Iterable[int], reason: str, among: Mask | None = None
    ) -> tuple[Action, ...] | None:
        """Moves of every VM of ``hosts`` that can move now; None, with nothing booked, where one never will.

        What boots, moves or ends, or is barred from moving, is left for a later tick.
        """
        leavers, booked = self._leavers(hosts), list[_Booked]()
        if self._may_hold(leavers, self._allocated, self._used) and self._book_all(leavers, booked, among):
            return tuple(_action(one, reason) for one in booked)
        self._undo(booked, 0)
        return None

    def woken_for(self, hosts: Iterable[int], more: Iterable[int]) -> list[int] | None:
        """As many of ``more``, in their order, as have to be on for ``hosts`` to be emptied; None = all are too few.

        They are looked at as if on from then on, and nothing is booked.
        """
        leavers, booked = self._leavers(hosts), list[_Booked]()
        opened: list[int] = []
        before = self._allocated.copy(), self._used.copy()
        found = False
        for host in more:
            opened.append(host)
            self._open(host, booked)
            found = self._may_hold(leavers, *before) and self._book_all(leavers, booked, None)
            if found:
                break
        self._undo(booked, 0)
        return opened if found else None

    def _open(self, host: int, booked: list[_Booked]) -> None:
        """Look at a host as if on, and take back what was booked from the first VM on that may prefer it."""
        if self.takes[host]:
            return
        self.takes[host] = self._may_take[host]
        share = float(self._shares()[host])
        changed = (i for i, one in enumerate(booked) if (share, -host) > (one.share, -one.to))
        self._undo(booked, next(changed, len(booked)))

    def _leavers(self, hosts: Iterable[int]) -> list[int]:
        """VMs of hosts, the largest memory first, but for those that something keeps which will pass."""
        residents = [vm for host in hosts for vm in self.residents(host)]
        leavers = [vm for vm in residents if not self._later[vm]]
        return sorted(leavers, key=lambda v: -float(self._state.vms.allocation[v, 1]))

    def _company(self, vm: int) -> list[int]:
        return [vm] if self._book is None else self._book.companions(vm)

    def _book_all(self, leavers: list[int], booked: list[_Booked], among: Mask | None) -> bool:
        """Book the leavers that are not yet; False at the first that fits nowhere."""
        gone = {v for one in booked for v in one.company}
        for vm in leavers:
            if vm in gone:
                continue
            one = self._book_best(vm, among)
            if one is None:
                return False
            booked.append(one)
            gone.update(one.company)
        return True

    def _book_best(self, vm: int, among: Mask | None) -> _Booked | None:
        vms, company = self._state.vms, self._company(vm)
        if not all(self.movable(v) for v in company):
            return None
        to, share = self._best(company, among)
        if to < 0:
            return None
        booked = _Booked(vm, company, to, share, self._allocated[to].copy(), self._used[to].copy())
        for v in company:
            promised = vms.allocation[v].astype(np.float64)
            promised[Resource.MEMORY] += self._overhead_mib[to]
            self._allocated[to] += promised
            self._used[to] += vms.demand[v, :2]
            if self._book is not None:
                self._book.move(v, int(vms.host[v]), to)
        return booked

    def _undo(self, booked: list[_Booked], down_to: int) -> None:
        """Take back all that was booked but the first ``down_to``."""
        while len(booked) > down_to:
            one = booked.pop()
            self._allocated[one.to], self._used[one.to] = one.allocated, one.used
            if self._book is not None:
                for v in one.company:
                    self._book.move(v, int(self._state.vms.host[v]), -1)

    def _may_hold(self, vms: list[int], allocated: F64, used: F64) -> bool:
        """Whether all hosts together have as much room as these VMs want together: seldom enough, quickly told."""
        columns, takes = self._state.vms, self.takes
        promised = columns.allocation[vms].sum(axis=0, dtype=np.float64)
        room = np.maximum(self._limit[takes] - allocated[takes], 0.0).sum(axis=0)
        wanted = columns.demand[vms, :2].sum(axis=0, dtype=np.float64)
        unused = np.maximum(self._most[takes] - used[takes], 0.0).sum(axis=0)
        return bool((promised <= room).all() and (wanted <= unused).all())

    def _shares(self) -> F64:
        """(n_hosts,) by which hosts are preferred: how full each is, or how empty."""
        full: F64 = np.maximum(self._used[:, 0] / self._most[:, 0], self._used[:, 1] / self._most[:, 1])
        if not self._spread:
            return full
        # Among hosts that hold something already: an empty one may go off.
        return np.where(self._state.hosts.n_vms > 0, 2.0 - full, 0.0)

    def _best(self, company: list[int], among: Mask | None) -> tuple[int, float]:
        """The preferred host that holds them all and is none of theirs, and its share; -1 = none does."""
        vms, site = self._state.vms, self._site
        need = vms.allocation[company].sum(axis=0)
        uses = vms.demand[company, :2].sum(axis=0)
        fits = self.takes.copy()
        for r in np.flatnonzero(need > 0).tolist():  # a column at a time: rows of five are slow to reduce
            promised = self._allocated[:, r] + need[r]
            if r == Resource.MEMORY:
                promised += len(company) * self._overhead_mib
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
        share = np.where(fits, self._shares(), -1.0)
        if self._book is None:
            first = int(share.argmax())
            return (first, float(share[first])) if share[first] >= 0.0 else (-1, -1.0)
        for h in np.argsort(-share, kind="stable").tolist():
            if share[h] < 0.0:
                break
            if (
                self._book.allows(company[0], h)
                if len(company) == 1
                else self._book.allows_company(company, h)
            ):
                return int(h), float(share[h])
        return -1, -1.0

    def _kin(self, vm: int) -> list[int]:
        """Its primary and its shadows."""
        vms = self._state.vms
        kin = np.flatnonzero(vms.primary == vm).tolist()
        return [*kin, int(vms.primary[vm])] if vms.primary[vm] >= 0 else kin


def _action(booked: _Booked, reason: str) -> Action:
    return migrate(booked.vm, booked.to, reason, company=len(booked.company) > 1)
