"""How VMs and hosts come, change and go, and what their events do."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any

from .host import solve
from .random_stream import RandomStream
from .state import (
    ABSENT,
    ASLEEP,
    BOOTING,
    CPU,
    FAILED,
    MAINTENANCE,
    MICRO,
    MIGRATING,
    NETWORK,
    OFF,
    ON,
    PAUSED,
    PENDING,
    PRODUCTION,
    RENTING,
    RESOURCES,
    RUNNING,
    SHUTTING_DOWN,
    STOPPING,
    UNRENTED,
    VM_BOOTING,
    VM_FAILED,
    WAKING,
    Migration,
    Vm,
)
from .world import World

COLD, RESTORED, SPARE, MICRO_BOOT = range(4)


class Lives(World):
    """A world with events."""

    def __init__(self, dc: Any, work: Mapping[str, Any], seed: int, start_tick: int = 0) -> None:
        super().__init__(dc, work, start_tick)
        self.events: list[tuple[float, int, str, int, int]] = []
        self.order = 0
        self.streams = [
            (RandomStream(seed, 2 * h), RandomStream(seed, 2 * h + 1)) for h in range(len(self.hosts))
        ]
        self.reclaims = [RandomStream(seed, 2**32 + h) for h in range(len(self.hosts))]
        for h in range(len(self.hosts)):
            self.draw_failure(h, self.now)
            self.draw_alarm(h, self.now)
        self.windows = list(dc.maintenance)
        for w, window in enumerate(self.windows):
            if window.end_s <= self.now:
                continue
            if window.start_s > self.now:
                self.push(window.start_s, "maintenance_starts", window.host, w)
            else:
                self.start_maintenance(window)
            self.push(window.end_s, "maintenance_ends", window.host)

    def push(self, time: float, kind: str, number: int, mark: int = 0) -> None:
        """Plan an event; equal times play in the order they were planned."""
        heapq.heappush(self.events, (time, self.order, kind, number, mark))
        self.order += 1

    # ---- VMs

    def set_vm(self, vm: Vm, state: int) -> None:
        """Change a VM's state; what was planned for the old one is void."""
        vm.state = state
        vm.serial += 1

    def start_vm(self, vm: Vm, host: int, path: int) -> None:
        """Put a VM without a host on one; what was there from the start runs at once."""
        at_once = (
            not self.in_tick
            and self.tick == self.start_tick
            and vm.id < self.n_workload_vms
            and vm.state == PENDING
        )
        vm.host = host
        self.hosts[host].vms.append(vm.id)
        self.set_vm(vm, RUNNING if at_once else VM_BOOTING)
        if not at_once:
            self.push(self.now + self.profile(host).boot_s[path], "vm_booted", vm.id, vm.serial)

    def leave_host(self, vm: Vm) -> None:
        """Off its host and out of any migration."""
        for migration in [m for m in self.migrations if m.vm == vm.id]:
            self.end_migration(migration)
        if vm.host >= 0:
            self.hosts[vm.host].vms.remove(vm.id)
            vm.host = -1

    def remove_vm(self, vm: Vm) -> None:
        """The VM ends, and its shadows with it."""
        self.leave_host(vm)
        for other in reversed(list(self.members[vm.app])):
            if self.vms[other].primary == vm.id:
                self.remove_vm(self.vms[other])
        vm.crashed = False
        self.set_vm(vm, ABSENT)
        self.members[vm.app].remove(vm.id)
        if vm.id >= self.n_workload_vms:
            if vm.demand >= 3600:
                self.gone_ratios.append(vm.unmet / vm.demand)
            self.free.append(vm.id)

    def lose_vm(self, vm: Vm, *, crash: bool = False) -> None:
        """Its host is lost to it: production waits for a restart, helpers and spares end."""
        if vm.kind != PRODUCTION or vm.spare or vm.state == STOPPING:
            self.remove_vm(vm)
            return
        self.leave_host(vm)
        self.set_vm(vm, VM_FAILED)
        self.waiting.append(vm.id)
        vm.crashed |= crash

    def workload_moves(self) -> None:
        """Departures, then arrivals, of the tick that is about to be decided."""
        order = sorted(range(self.n_workload_vms), key=lambda v: int(self.work["vm_departure"][v]))
        for v in order:
            if int(self.work["vm_departure"][v]) == self.tick and self.exists(v):
                self.remove_vm(self.vms[v])
        order = sorted(range(self.n_workload_vms), key=lambda v: int(self.work["vm_arrival"][v]))
        for v in order:
            arrival, departure = int(self.work["vm_arrival"][v]), int(self.work["vm_departure"][v])
            if (
                arrival == self.tick or (self.tick == self.start_tick and arrival < self.tick)
            ) and departure > self.tick:
                self.set_vm(self.vms[v], PENDING)
                self.members[self.vms[v].app].append(v)
                self.waiting.append(v)

    # ---- migrations

    def start_queued(self) -> None:
        """Begin what waits, oldest first, where both ends have a place free."""
        for m in self.migrations:
            if m.phase != "queued" or any(
                self.moving(host) >= self.profile(host).max_concurrent for host in (m.source, m.destination)
            ):
                continue
            vm, profile = self.vms[m.vm], self.profile(m.source)
            portion = next(p for p in solve(self, m.source).portions if p.vm is vm)
            m.memory_mib = portion.capped[1]
            busy = portion.got[CPU] / vm.allocation[CPU]
            m.dirty_mib_s = profile.dirty_share_per_s * m.memory_mib * busy
            m.working_set_mib = profile.working_set * m.memory_mib
            m.left_mib = m.memory_mib
            m.phase = "setup"
            m.until_s = self.now + profile.migration_setup_s
            self.set_vm(vm, MIGRATING)

    def step_migration(self, m: Migration) -> None:
        """Setup is over, a round is over, or the VM switches over."""
        profile = self.profile(m.source)
        if m.phase == "setup":
            m.phase, m.round_s = "copying", 0.0
            return
        if m.phase == "stopped":
            self.switch_over(m)
            return
        rate = self.bandwidth_mbit_s(m) * 1e6 / 8 / 2**20
        left = min(m.dirty_mib_s * m.round_s, m.working_set_mib)
        m.round += 1
        if left <= rate * profile.downtime_limit_s or m.round >= profile.max_rounds:
            m.downtime_s = left / rate + profile.resume_s
            m.phase, m.until_s = "stopped", self.now + m.downtime_s
        else:
            m.left_mib, m.round_s = left, 0.0

    def switch_over(self, m: Migration) -> None:
        """The VM runs on its destination; what it got until now is what nobody got while it was down."""
        vm = self.vms[m.vm]
        portion = next(p for p in solve(self, m.source).portions if p.vm is vm)
        accounts = self.tick_accounts
        accounts.downtime_s += m.downtime_s
        if portion.useful:
            for r in (CPU, 2, NETWORK, 4):
                self.book_unmet(vm, r, portion.got[r] * m.downtime_s)
            accounts.migration_unmet += portion.got[CPU] * m.downtime_s
            accounts.dark_s += m.downtime_s
            accounts.cost["downtime"] += vm.credit * self.dc.prices.downtime_usd_h * m.downtime_s / 3600
        self.end_migration(m)
        self.hosts[vm.host].vms.remove(vm.id)
        vm.host = m.destination
        self.hosts[vm.host].vms.append(vm.id)
        vm.last_move_s = self.now

    def end_migration(self, m: Migration) -> None:
        """Out of the books; the VM goes on where it stands."""
        self.migrations.remove(m)
        vm = self.vms[m.vm]
        vm.destination = -1
        if vm.state == MIGRATING:
            self.set_vm(vm, RUNNING)

    def book_unmet(self, vm: Vm, r: int, amount: float) -> None:
        """Demand of a VM that was not served, unit·s."""
        raise NotImplementedError

    # ---- hosts

    def set_host(self, host: int, state: int) -> None:
        """Change a host's state; what was planned for the old one is void."""
        life = self.hosts[host]
        life.state, life.since_s = state, self.now
        life.serial += 1

    def lose_host_vms(self, host: int, *, crash: bool = False) -> None:
        """Everything on the host, and every copy to it."""
        for m in [m for m in self.migrations if host in (m.source, m.destination)]:
            self.tick_accounts.counts["migrations_failed"] += 1
            self.end_migration(m)
        while self.hosts[host].vms:
            self.lose_vm(self.vms[self.hosts[host].vms[0]], crash=crash)

    def draw_failure(self, host: int, from_s: float) -> None:
        """The next failure after ``from_s``, and its precursor."""
        law = self.dc.failures
        if law.mtbf_h <= 0:
            return
        stream = self.streams[host][0]
        fails = from_s + stream.exponential(law.mtbf_h * 3600)
        announced = stream.uniform() < law.recall
        lead = law.lead_h * 3600 * (0.5 + stream.uniform())
        self.push(fails, "host_fails", host)
        if announced:
            self.push(max(from_s, fails - lead), "alarm_on", host)
            self.push(fails, "alarm_off", host)

    def draw_alarm(self, host: int, from_s: float) -> None:
        """The next false alarm after ``from_s``."""
        law = self.dc.failures
        if law.false_alarms_per_host_day <= 0:
            return
        begins = from_s + self.streams[host][1].exponential(86400 / law.false_alarms_per_host_day)
        self.push(begins, "alarm_on", host, 1)
        self.push(begins + law.lead_h * 3600, "alarm_off", host)

    def power_on(self, host: int) -> None:
        """From off or asleep on its way to on."""
        rack, server = self.spec(host).rack, self.server(host)
        if self.hosts[host].state == OFF:
            self.set_host(host, BOOTING)
            ready = max(self.now, self.rack_ready_s[rack]) + server.boot_s
            self.tick_accounts.counts["host_boots"] += 1
            self.tick_accounts.cost["boot"] += self.dc.prices.boot_usd
        else:
            self.set_host(host, WAKING)
            ready = self.now + server.wake_s
        self.push(ready, "host_ready", host, self.hosts[host].serial)

    def power_down(self, host: int, sleep: bool) -> None:
        """From on on its way to off or asleep."""
        server = self.server(host)
        self.tick_accounts.counts["host_shutdowns"] += 1
        self.set_host(host, SHUTTING_DOWN)
        ready = self.now + (server.sleep_enter_s if sleep else server.shutdown_s)
        self.push(ready, "host_asleep" if sleep else "host_down", host, self.hosts[host].serial)

    def rack_starts(self, rack: int) -> None:
        """A rack's own equipment on; its hosts can boot after 120 s."""
        if not self.rack_on[rack]:
            self.rack_on[rack] = True
            self.rack_ready_s[rack] = self.now + 120

    def start_maintenance(self, window: Any) -> None:
        """People take the host, or keep it; one that is not hired at the time is the provider's affair."""
        life = self.hosts[window.host]
        if life.state in (UNRENTED, RENTING):
            return
        if life.state == MAINTENANCE:
            life.maintenance_until_s = max(life.maintenance_until_s, window.end_s)
            return
        life.maintenance_until_s = window.end_s
        self.lose_host_vms(window.host)
        self.set_host(window.host, MAINTENANCE)

    def back_in_service(self, host: int) -> None:
        """After repair or maintenance: on, where the rack has power."""
        self.set_host(host, ON if self.rack_on[self.spec(host).rack] else OFF)

    def schedule(self) -> None:
        """The world's own scheduler."""
        rule = self.dc.scheduler.name
        promised: dict[int, list[float]] = {}
        still = []
        for v in self.waiting:
            vm = self.vms[v]
            if vm.state not in (PENDING, VM_FAILED):
                continue
            load = {
                h: self.allocated(h)[CPU] / self.limit(h, CPU)
                for h, life in enumerate(self.hosts)
                if life.state == ON and self.fits(h, vm.allocation)
            }
            if load:
                first, sign = min(load), {"first_fit": 0, "best_fit": -1, "worst_fit": 1}[rule]
                host = min(load, key=lambda h: (sign * load[h], h)) if sign else first
                self.start_vm(vm, host, COLD)
                self.tick_accounts.counts["scheduled"] += 1
                continue
            still.append(v)
            for states in ((BOOTING, WAKING), (OFF, ASLEEP)):
                host = next(
                    (
                        h
                        for h, life in enumerate(self.hosts)
                        if life.state in states
                        and all(
                            promised.get(h, [0.0] * 5)[r] + self.with_overhead(h, vm.allocation)[r]
                            <= self.limit(h, r)
                            for r in RESOURCES
                        )
                    ),
                    -1,
                )
                if host >= 0:
                    if states == (OFF, ASLEEP):
                        self.rack_starts(self.spec(host).rack)
                        self.power_on(host)
                    room = promised.setdefault(host, [0.0] * 5)
                    need = self.with_overhead(host, vm.allocation)
                    promised[host] = [room[r] + need[r] for r in RESOURCES]
                    break
        self.waiting = still

    # ---- events

    def play(self, kind: str, number: int, mark: int) -> None:
        """One event."""
        if kind.startswith("vm_"):
            vm = self.vms[number]
            if kind == "vm_expired":
                if vm.kind == MICRO and vm.state != ABSENT and vm.birth == mark:
                    self.remove_vm(vm)
            elif vm.serial == mark:
                if kind == "vm_booted":
                    vm.crashed = False
                    self.set_vm(vm, PAUSED if vm.spare else RUNNING)
                else:
                    self.remove_vm(vm)
            return
        life, spec, law = self.hosts[number], self.spec(number), self.dc.failures
        current = life.serial == mark
        if kind == "host_ready" and current:
            self.set_host(number, ON)
            if spec.rented:
                life.rental += 1
                life.noticed = False
                self.push(self.now, "rent_hour", number, life.rental)
                if spec.reclaims_per_h > 0:
                    wanted = self.now + self.reclaims[number].exponential(3600 / spec.reclaims_per_h)
                    self.push(wanted, "host_noticed", number, life.rental)
        elif kind == "host_down" and current:
            self.set_host(number, OFF)
        elif kind == "host_asleep" and current:
            self.set_host(number, ASLEEP)
        elif kind == "rent_hour" and life.rental == mark and life.state not in (UNRENTED, RENTING):
            if not spec.committed:
                self.tick_accounts.cost["rent"] += spec.price_usd_h
                self.push(self.now + 3600, "rent_hour", number, mark)
        elif kind == "host_noticed" and life.rental == mark and life.state not in (UNRENTED, RENTING):
            life.noticed = True
            self.push(self.now + spec.notice_s, "host_reclaimed", number, mark)
        elif kind == "host_reclaimed" and life.rental == mark and life.state not in (UNRENTED, RENTING):
            self.tick_accounts.counts["hosts_reclaimed"] += 1
            self.lose_host_vms(number)
            life.noticed = False
            self.set_host(number, UNRENTED)
        elif kind == "host_fails":
            repaired = self.now + law.repair_h * 3600
            if life.state != ON:
                self.draw_failure(number, self.now)
                return
            self.draw_failure(number, repaired)
            self.tick_accounts.counts["host_failures"] += 1
            self.lose_host_vms(number, crash=True)
            self.set_host(number, FAILED)
            self.push(repaired, "host_repaired", number, life.serial)
        elif kind == "host_repaired" and current:
            self.back_in_service(number)
        elif kind == "alarm_on":
            life.alarms += 1
            if mark == 1:
                self.draw_alarm(number, self.now)
        elif kind == "alarm_off":
            life.alarms = max(0, life.alarms - 1)
        elif kind == "maintenance_starts":
            self.start_maintenance(self.windows[mark])
        elif (
            kind == "maintenance_ends" and life.state == MAINTENANCE and self.now >= life.maintenance_until_s
        ):
            self.back_in_service(number)
