"""The state of the reference world and the questions that one can ask it; no law changes anything here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .laws import split
from .state import (
    ABSENT,
    GPU,
    MEMORY,
    ON,
    RESOURCES,
    UNRENTED,
    Accounts,
    HostLife,
    Migration,
    Vm,
)


class World:
    """A data centre (a ``DataCentre``'s values), a workload (``Plant``'s arguments), and where they stand."""

    def __init__(self, dc: Any, work: Mapping[str, Any], start_tick: int = 0) -> None:
        self.dc = dc
        self.work = dict(work)
        self.n_ticks = int(self.work["demand"].shape[0])
        self.n_workload_vms = len(self.work["vm_app"])
        self.gpu_column = {int(s): i for i, s in enumerate(self.work["gpu_series"])}
        # The spec's vectors are copied at every reading: read them once.
        self._hosts, self._profiles, self._models = list(dc.hosts), list(dc.profiles), list(dc.models)
        self._host_profile = [self._profiles[h.profile] for h in self._hosts]
        self._host_server = [self._models[h.model] for h in self._hosts]
        self.racks = list(dc.racks)
        self.now = start_tick * dc.tick_s
        self.tick = self.start_tick = start_tick
        self.played = -1
        self.in_tick = False
        self.vms = [
            Vm(v, flavour=[0.0] * 5, allocation=[0.0] * 5)
            for v in range(self.n_workload_vms + dc.spare_slots)
        ]
        for v in range(self.n_workload_vms):
            vm = self.vms[v]
            vm.app = int(self.work["vm_app"][v])
            vm.flavour = [float(x) for x in self.work["vm_flavour"][v]]
            vm.allocation = list(vm.flavour)
            vm.credit = float(self.work["vm_credit"][v])
        self.free = list(range(len(self.vms) - 1, self.n_workload_vms - 1, -1))  # the last is taken first
        self.members: list[list[int]] = [[] for _ in self.work["app_series"]]  # oldest first
        self.hosts = [HostLife(UNRENTED if h.rented else ON, self.now) for h in self._hosts]
        self.rack_on = [True] * len(self.racks)
        self.rack_ready_s = [self.now] * len(self.racks)
        self.waiting: list[int] = []
        self.migrations: list[Migration] = []
        self.totals = Accounts()
        self.tick_accounts = Accounts()
        self.last_accounts = Accounts()
        self.gone_ratios: list[float] = []  # unmet / demand of VMs whose slot was freed
        self.births = 0

    def spec(self, host: int) -> Any:
        """The host's constants."""
        return self._hosts[host]

    def profile(self, host: int) -> Any:
        """Its hypervisor."""
        return self._host_profile[host]

    def server(self, host: int) -> Any:
        """Its model."""
        return self._host_server[host]

    def trace(self, app: int) -> list[float]:
        """T of the application's series in the tick that plays, (5,)."""
        if self.played < 0:
            return [0.0] * 5
        series = int(self.work["app_series"][app])
        row = [float(x) for x in self.work["demand"][self.played][series]]
        column = self.gpu_column.get(series)
        return [*row, float(self.work["gpu"][self.played][column]) if column is not None else 0.0]

    def shares(self, app: int) -> tuple[dict[int, float], bool]:
        """Who carries which part of the application's demand; True when nobody serves it."""
        return split([self.vms[v] for v in self.members[app]], float(self.work["app_offloadable"][app]))

    def serving_shares(self, app: int) -> dict[int, float]:
        """The shares of those that serve."""
        shares, dark = self.shares(app)
        return {} if dark else shares

    def limit(self, host: int, r: int) -> float:
        """Overcommit × usable capacity."""
        usable = self.server(host).capacity[r] * (self.profile(host).efficiency[r] if r != GPU else 1.0)
        return float(usable * self.spec(host).overcommit[r])

    def allocated(self, host: int) -> list[float]:
        """Sum of allocations and of VMs' memory overhead, arriving VMs included."""
        here = [self.vms[v] for v in self.hosts[host].vms] + [
            self.vms[m.vm] for m in self.migrations if m.destination == host
        ]
        overhead = len(here) * self.profile(host).vm_memory_mib
        return [sum(vm.allocation[r] for vm in here) + (overhead if r == MEMORY else 0.0) for r in RESOURCES]

    def with_overhead(self, host: int, allocation: list[float]) -> list[float]:
        """What a VM reserves on a host."""
        need = list(allocation)
        need[MEMORY] += self.profile(host).vm_memory_mib
        return need

    def fits(self, host: int, allocation: list[float]) -> bool:
        """Whether there is room, within a millionth."""
        now = self.allocated(host)
        need = self.with_overhead(host, allocation)
        return all(
            allocation[r] <= 0 or now[r] + need[r] <= self.limit(host, r) * (1 + 1e-6) for r in RESOURCES
        )

    def bandwidth_mbit_s(self, migration: Migration) -> float:
        """B of a migration that is copying: the least of its links' shares."""
        copying = [m for m in self.migrations if m.phase == "copying"]
        rates: list[float] = []
        for host in (migration.source, migration.destination):
            users = sum(host in (m.source, m.destination) for m in copying)
            profile, server = self.profile(host), self.server(host)
            rates.append(min(profile.migration_mbit_s, profile.efficiency[3] * server.capacity[3]) / users)
        ends = (self.spec(migration.source).rack, self.spec(migration.destination).rack)
        if ends[0] != ends[1]:
            for rack in ends:
                users = 0
                for m in copying:
                    racks = (self.spec(m.source).rack, self.spec(m.destination).rack)
                    users += racks[0] != racks[1] and rack in racks
                rates.append(self.racks[rack].uplink_mbit_s / users)
        return min(rates)

    def migration_mbit_s(self, host: int) -> float:
        """What migrations from and to the host send."""
        return sum(
            self.bandwidth_mbit_s(m)
            for m in self.migrations
            if m.phase == "copying" and host in (m.source, m.destination)
        )

    def moving(self, host: int) -> int:
        """Migrations that the host takes part in."""
        return sum(m.phase != "queued" and host in (m.source, m.destination) for m in self.migrations)

    def arriving(self, host: int) -> int:
        """VMs with room reserved on the host."""
        return sum(m.destination == host for m in self.migrations)

    @property
    def done(self) -> bool:
        """Whether the last tick was played."""
        return self.tick >= self.n_ticks

    def worst_vm_unmet(self) -> float:
        """Worst ratio of one VM that wanted at least 1 MHz·h."""
        ratios = [vm.unmet / vm.demand for vm in self.vms if vm.demand >= 3600 and vm.unmet > 0]
        return max([0.0, *ratios, *self.gone_ratios])

    def exists(self, number: int) -> bool:
        """Whether the number is of a slot that holds a VM."""
        return 0 <= number < len(self.vms) and self.vms[number].state != ABSENT
