"""The tick: everything that has a rate is summed between the instants at which anything changes."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from typing import Any

from .actions import Acting
from .host import PER_UNIT_S, Rates, rates_of, solve
from .state import CPU, MEMORY, ON, RESOURCES, Accounts, Migration, Vm

HOST_COLUMNS = (
    "allocated", "usage", "contention", "power_w", "hazard_per_h", "hazard_confidence", "since_s",
    "age_s", "n_vms", "arriving", "state", "inlet_c",
)  # fmt: skip


class ReferenceSimulator(Acting):
    """Plays the ticks of a workload on a data centre."""

    def __init__(self, dc: Any, work: Mapping[str, Any], seed: int, start_tick: int = 0) -> None:
        super().__init__(dc, work, seed, start_tick)
        self.shown: list[Rates] = [Rates() for _ in self.hosts]
        self.workload_moves()

    def book_unmet(self, vm: Vm, r: int, amount: float) -> None:
        """Demand of a VM that was not served, unit·s, and the credit it costs."""
        self.tick_accounts.unmet[r] += amount
        self.tick_accounts.cost["unmet"] += vm.credit * self.dc.prices.unmet_usd_h[r] * PER_UNIT_S[r] * amount
        if r == CPU:
            vm.unmet += amount
            vm.tick_unmet += amount

    def next_migration(self) -> tuple[float, Migration | None]:
        """Which migration reaches its next point first, and when."""
        best: tuple[float, Migration | None] = (math.inf, None)
        for m in self.migrations:
            if m.phase == "queued":
                continue
            time = m.until_s
            if m.phase == "copying":
                time = self.now + m.left_mib / (self.bandwidth_mbit_s(m) * 1e6 / 8 / 2**20)
            if time < best[0]:
                best = (time, m)
        return best

    def integrate(self, to_s: float, rates: list[Rates]) -> None:
        """Let time pass at constant rates."""
        dt = to_s - self.now
        self.now = to_s
        if dt <= 0:
            return
        accounts, prices = self.tick_accounts, self.dc.prices
        for m in self.migrations:
            if m.phase == "copying":
                m.left_mib = max(0.0, m.left_mib - self.bandwidth_mbit_s(m) * 1e6 / 8 / 2**20 * dt)
                m.round_s += dt
        accounts.crashed_s += dt * sum(vm.crashed for vm in self.vms)
        for h, rate in enumerate(rates):
            accounts.host_j += rate.power_w * dt
            if self.hosts[h].state != ON:
                continue
            accounts.on_s += dt
            accounts.late += rate.late * dt
            accounts.used += rate.used[CPU] * dt
            accounts.capacity += self.server(h).capacity[CPU] * self.profile(h).efficiency[CPU] * dt
            accounts.overloaded_s += dt if rate.overloaded else 0.0
            for p in rate.portions:
                if not p.useful:
                    continue
                for r in RESOURCES:
                    accounts.demand[r] += p.demand[r] * dt
                    self.book_unmet(p.vm, r, max(0.0, p.demand[r] - p.got[r]) * dt)
                if p.vm.state == 4:
                    accounts.migration_unmet += p.capped[CPU] * self.profile(h).migration_slowdown * dt
        for app in range(len(self.members)):
            shares, dark = self.shares(app)
            trace = self.trace(app)
            for v, share in shares.items():
                self.vms[v].demand += share * trace[CPU] * dt
                self.vms[v].tick_demand += share * trace[CPU] * dt
                if not dark:
                    continue
                for r in RESOURCES:
                    accounts.demand[r] += share * trace[r] * dt
                    self.book_unmet(self.vms[v], r, share * trace[r] * dt)
                if share > 0 and trace[CPU] > 0:
                    accounts.dark_s += dt
                    accounts.cost["downtime"] += self.vms[v].credit * prices.downtime_usd_h * dt / 3600

    def advance(self) -> None:
        """One tick."""
        self.schedule()
        end = (self.tick + 1) * self.dc.tick_s
        self.played, self.in_tick = self.tick, True
        self.start_queued()
        while True:
            rates = [rates_of(self, h) for h in range(len(self.hosts))]
            event_s = self.events[0][0] if self.events else math.inf
            migration_s, migration = self.next_migration()
            time = max(self.now, min(event_s, migration_s))
            if time > end:
                self.integrate(end, rates)
                break
            self.integrate(time, rates)
            if event_s <= migration_s:
                _, _, kind, number, mark = heapq.heappop(self.events)
                self.play(kind, number, mark)
            elif migration is not None:
                self.step_migration(migration)
            self.start_queued()
        self.shown = rates
        self.kill_for_memory(rates)
        self.close_tick()

    def kill_for_memory(self, rates: list[Rates]) -> None:
        """Hosts far beyond their memory each lose the VM that uses most."""
        victims = []
        for h, rate in enumerate(rates):
            if rate.portions and rate.overflow > self.profile(h).oom_overflow:
                victims.append(max(rate.portions, key=lambda p: (p.capped[MEMORY], -p.vm.id)).vm)
        for vm in victims:
            if self.exists(vm.id):
                self.tick_accounts.counts["oom_kills"] += 1
                self.lose_vm(vm)

    def close_tick(self) -> None:
        """Violations, racks, money; then the next tick's departures and arrivals."""
        accounts, prices, k = self.tick_accounts, self.dc.prices, self.tick
        for vm in self.vms:
            if vm.tick_unmet > 0 and vm.tick_unmet > 0.05 * vm.tick_demand:
                accounts.counts["sla_violations"] += 1
            vm.tick_unmet = vm.tick_demand = 0.0
        accounts.rack_j = sum(
            rack.overhead_w * self.dc.tick_s for rack, on in zip(self.racks, self.rack_on, strict=True) if on
        )
        kwh = (accounts.host_j + accounts.rack_j) / 3.6e6 * prices.pue
        paid = sum(self.spec(h).price_usd_h for h in range(len(self.hosts)) if self.spec(h).committed)
        accounts.cost["rent"] += paid * self.dc.tick_s / 3600
        accounts.cost["energy"] += kwh * prices.electricity_usd_kwh[k]
        if prices.carbon_g_kwh:
            accounts.cost["carbon"] += kwh * prices.carbon_g_kwh[k] / 1e6 * prices.carbon_usd_per_t
        accounts.cost["late"] += accounts.late / 3.6e6 * prices.late_usd_ghz_h
        self.totals.add(accounts)
        self.last_accounts, self.tick_accounts = accounts, Accounts()
        self.in_tick = False
        self.tick += 1
        if not self.done:
            self.workload_moves()

    def observe(self) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
        """The columns of ``ClusterState`` that change: hosts, VMs."""
        law = self.dc.failures
        rate = 1 / law.mtbf_h if law.mtbf_h > 0 else 0.0
        announced, false = law.recall * rate, law.false_alarms_per_host_day / 24
        precision = announced / (announced + false) if announced + false > 0 else 0.0
        alarmed = precision / law.lead_h
        quiet = (1 - law.recall) * rate
        age = 0.0 if self.played >= 0 else math.inf
        hosts: dict[str, list[Any]] = {
            name: []
            for name in HOST_COLUMNS
        }  # fmt: skip
        vms: dict[str, list[Any]] = {
            "flavour": [vm.flavour for vm in self.vms],
            "allocation": [vm.allocation for vm in self.vms],
            "usage": [[0.0] * 5 for _ in self.vms],
            "demand": [[0.0] * 5 for _ in self.vms],
            "contention": [0.0 for _ in self.vms],
            "weight": [vm.weight for vm in self.vms],
            "credit": [vm.credit for vm in self.vms],
            "since_move_s": [self.now - vm.last_move_s for vm in self.vms],
            "age_s": [age if vm.host >= 0 else math.inf for vm in self.vms],
            "birth": [vm.birth for vm in self.vms],
            "app": [vm.app for vm in self.vms],
            "host": [vm.host for vm in self.vms],
            "destination": [vm.destination for vm in self.vms],
            "primary": [vm.primary for vm in self.vms],
            "state": [vm.state for vm in self.vms],
            "kind": [vm.kind for vm in self.vms],
        }
        for h, life in enumerate(self.hosts):
            on = life.state == ON and self.played >= 0
            hosts["allocated"].append(self.allocated(h))
            hosts["usage"].append(self.shown[h].used if on else [0.0] * 5)
            hosts["contention"].append(self.shown[h].contention if on else 0.0)
            hosts["power_w"].append(self.shown[h].power_w)
            notice_h = max(1.0, self.spec(h).notice_s) / 3600
            hosts["hazard_per_h"].append(1 / notice_h if life.noticed else alarmed if life.alarms else quiet)
            hosts["hazard_confidence"].append(
                1.0 if life.noticed else precision if life.alarms else law.recall
            )
            rack = self.spec(h).rack
            watts = sum(self.shown[o].power_w for o in range(len(self.hosts)) if self.spec(o).rack == rack)
            watts += self.racks[rack].overhead_w if self.rack_on[rack] else 0.0
            hosts["inlet_c"].append(self.dc.supply_c + self.racks[rack].heat_c_per_kw * watts / 1000)
            hosts["since_s"].append(self.now - life.since_s)
            hosts["age_s"].append(age)
            hosts["n_vms"].append(len(life.vms))
            hosts["arriving"].append(self.arriving(h))
            hosts["state"].append(life.state)
            for p in solve(self, h).portions if on else ():
                v = p.vm.id
                vms["usage"][v] = p.got
                vms["demand"][v] = list(p.got)
                vms["contention"][v] = 1 - p.got[CPU] / p.capped[CPU] if p.capped[CPU] > 0 else 0.0
                if p.got[CPU] > 0:
                    vms["demand"][v][CPU] = p.capped[CPU]
        return hosts, vms
