"""A live snapshot as a simulated data centre, so that a plan can be played before anything is touched.

Demand goes on as it is forecast where there is a forecast, and as it is where there is none. What telemetry does not
tell is assumed and named: hypervisors migrate and boot as the catalogue's KVM does; no host fails; VMs do not come
and go by themselves. Helpers (shadows, micro-VMs) count as members of their application with their own weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foreshade import _core
from foreshade.envs import catalogue
from foreshade.envs.affinity import Guests, Places, bind, native
from foreshade.envs.affinity_labels import members_of, rules_of_labels
from foreshade.envs.data_centre import hypervisor_profile
from foreshade.envs.errors import ActionError, InputError, ScenarioError
from foreshade.envs.model.action import ActionKind, PowerTarget
from foreshade.envs.model.state import HostState, Resource, VmState
from foreshade.envs.order import Order
from foreshade.envs.snapshot import Snapshot

F32 = npt.NDArray[np.float32]
#: Ticks before a plan is played: hosts are hired and switched in the first, VMs placed in the second, and boot.
WARM_UP = 3
_RUNS = (VmState.RUNNING, VmState.MIGRATING, VmState.PAUSED, VmState.BOOTING)
_WAITS = (VmState.PENDING, VmState.FAILED)
_SOON_S = 1.0  # provisioning of what is hired already


@dataclass(frozen=True, slots=True)
class Played:
    """What some ticks came to."""

    cost_usd: Mapping[str, float]  # by term
    energy_kwh: float
    unmet_demand: float  # share of the CPU demand
    refused: tuple[str, ...]  # orders that the simulated cluster does not take, and why


class Forward:
    """A data centre that begins as a snapshot; what waits for a host there waits here."""

    def __init__(self, snapshot: Snapshot, n_ticks: int) -> None:
        """Build it; InputError where the snapshot holds no VM that runs."""
        self._snapshot = snapshot
        vms = snapshot.vms
        runs = np.isin(vms["state"], [int(s) for s in _RUNS]) & (vms["host"] >= 0)
        waits = np.isin(vms["state"], [int(s) for s in _WAITS])
        self._slots = np.flatnonzero((runs | waits) & (vms["app"] >= 0))
        self._broken: list[str] = []  # rules that are so now, and are not played
        if not len(self._slots):
            raise InputError("simulate: expected VMs that run in the snapshot, found none")
        self._apps = np.unique(vms["app"][self._slots])
        self._n_ticks = n_ticks
        total = n_ticks + WARM_UP
        count = len(self._slots)
        app_of = np.searchsorted(self._apps, vms["app"][self._slots]).astype(np.int32)
        offloadable = snapshot.site.offloadable
        share = np.zeros(len(self._apps), np.float32) if offloadable is None else offloadable[self._apps]
        self._plant = _core.Plant(
            self._data_centre(total, count),
            self._demand(total, app_of),
            *self._gpu(total, app_of),
            np.arange(len(self._apps), dtype=np.int32),
            np.bincount(app_of, minlength=len(self._apps)).astype(np.int32),
            np.full(len(self._apps), 0.5, np.float32),
            share.astype(np.float32),
            app_of,
            np.ascontiguousarray(vms["allocation"][self._slots], dtype=np.float32),
            # What stands comes when its hosts are on, what waits with the plan: whoever is there is placed by itself.
            np.where(vms["host"][self._slots] >= 0, 1, WARM_UP).astype(np.int32),
            np.full(count, total, np.int32),
            np.ascontiguousarray(vms["credit"][self._slots], dtype=np.float32),
            [int(kind) for kind in ActionKind],
        )

    def play(self, orders: Sequence[Order]) -> Played:
        """Begin as the snapshot, carry the orders out at once, and let the ticks pass."""
        simulator = _core.Simulator(self._plant, 0)
        refused = list(self._set_up(simulator))
        for order in orders:
            try:
                refusal, _ = simulator.execute([self._action(order)])[0]
            except ActionError as error:
                refusal = str(error)
            if refusal:
                refused.append(f"{order.kind.name.lower()} {order.vm or order.host or order.rack}: {refusal}")
        cost: dict[str, float] = dict.fromkeys(_core.cost_terms(), 0.0)
        energy = demand = unmet = 0.0
        for _ in range(self._n_ticks):
            simulator.advance()
            for term, usd in simulator.last_cost().items():
                cost[term] = cost.get(term, 0.0) + usd
            last = simulator.last_tick()
            energy += last["host_kwh"] + last["rack_kwh"]
            demand += last["demand"][0]
            unmet += last["unmet"][0]
        return Played(cost, energy, unmet / demand if demand > 0.0 else 0.0, tuple(refused))

    def _set_up(self, simulator: _core.Simulator) -> Sequence[str]:
        """Hosts as they are, then VMs where they stand, then their weights; what does not fit is told."""
        snapshot = self._snapshot
        rented = snapshot.site.rented
        first = []
        for host, code in enumerate(snapshot.hosts["state"].tolist()):
            state = HostState(code)
            on = state in (HostState.ON, HostState.BOOTING, HostState.WAKING, HostState.RENTING)
            if rented[host] and on:
                first.append(_core.Action(int(ActionKind.RENT), host=host, value=1.0))
            elif not rented[host] and not on:
                target = PowerTarget.SLEEP if state is HostState.ASLEEP else PowerTarget.OFF
                first.append(_core.Action(int(ActionKind.POWER), host=host, value=float(target)))
        simulator.execute(first)
        simulator.advance()
        standing = [(i, int(s)) for i, s in enumerate(self._slots) if snapshot.vms["host"][s] >= 0]
        places = [
            _core.Action(int(ActionKind.SPAWN), vm=i, host=int(snapshot.vms["host"][slot]))
            for i, slot in standing
        ]
        lost = [
            f"VM {snapshot.names[slot]} does not fit where it stands: {refusal}"
            for (_, slot), (refusal, _) in zip(standing, simulator.execute(places), strict=True)
            if refusal
        ]
        simulator.advance()
        weights = snapshot.vms["weight"][self._slots]
        simulator.execute(
            [
                _core.Action(int(ActionKind.SHIFT), vm=i, value=float(w))
                for i, w in enumerate(weights)
                if w != 1.0
            ]
        )
        simulator.advance()
        return [*self._broken, *lost]

    def _action(self, order: Order) -> _core.Action:
        inventory = self._snapshot.inventory
        makes = order.kind in (ActionKind.SHADOW, ActionKind.MICROVM) or (
            order.kind is ActionKind.SPAWN and bool(order.app)
        )
        name = order.primary if order.kind is ActionKind.SHADOW else "" if makes else order.vm
        vm = -1
        if name:
            slot = inventory.vm_slot.get(name, -1)
            found = np.flatnonzero(self._slots == slot)
            if not len(found):
                raise ActionError(f"VM {name}: expected it running in the snapshot, found none")
            vm = int(found[0])
        app = -1
        if order.app:
            found = np.flatnonzero(self._apps == inventory.apps.index(order.app))
            if not len(found):
                raise ActionError(f"application {order.app}: expected it running in the snapshot, found none")
            app = int(found[0])
        host = inventory.host_slot.get(order.host, -1)
        rack = inventory.racks.index(order.rack) if order.rack else -1
        return _core.Action(int(order.kind), vm, host, app, rack, order.value, order.value2, order.allocation)

    def _data_centre(self, n_ticks: int, n_vms: int) -> _core.DataCentre:
        snapshot, site = self._snapshot, self._snapshot.site
        spec = _core.DataCentre()
        models, profiles, hosts = [], [], []
        for h in range(len(snapshot.hosts["state"])):
            models.append(self._model(h))
            profile = hypervisor_profile(catalogue.hypervisor("kvm"), "kvm")
            profile.efficiency = [1.0] * 5  # the snapshot's capacity is what is usable
            profile.vm_cpu_mhz, profile.vm_memory_mib = (float(x) for x in site.vm_overhead[h, :2])
            profiles.append(profile)
            host = _core.Host()
            host.model = host.profile = h
            host.rack = int(snapshot.hosts["rack"][h])
            host.overcommit = [max(float(x), 1.0) for x in snapshot.hosts["overcommit"][h]]
            host.rented = bool(site.rented[h])
            host.price_usd_h = float(snapshot.hosts["price_usd_h"][h])
            here = snapshot.hosts["state"][h] == HostState.ON
            host.provision_s = _SOON_S if here else max(float(snapshot.hosts["boot_s"][h]), _SOON_S)
            hosts.append(host)
        racks = []
        for r in range(int(snapshot.hosts["rack"].max()) + 1):
            rack = _core.Rack()
            standing = np.flatnonzero(snapshot.hosts["rack"] == r)
            rack.zone = int(snapshot.hosts["zone"][standing[0]]) if len(standing) else 0
            rack.overhead_w = (
                float(site.rack_w[r]) if site.rack_w is not None and r < len(site.rack_w) else 0.0
            )
            rack.uplink_mbit_s = catalogue.site().uplink_mbit
            racks.append(rack)
        spec.tick_s = site.tick_s
        spec.models, spec.profiles, spec.hosts, spec.racks = models, profiles, hosts, racks
        spec.prices = self._prices(n_ticks)
        spec.scheduler = _core.Scheduler.worst_fit
        spec.slo_stretch, spec.knee = site.economy.slo_stretch, 0.8
        failures = _core.Failures()
        failures.mtbf_h, failures.repair_h, failures.recall = 0.0, 1.0, 0.0
        failures.false_alarms_per_host_day, failures.lead_h = 0.0, 1e-3
        spec.failures = failures
        spec.maintenance = []
        spec.affinity = self._affinity()
        spec.spare_slots = max(64, n_vms // 4)
        return spec

    def _affinity(self) -> _core.Affinity | None:
        """The labels of VMs as rules about places, as far as they are obeyed as the snapshot stands."""
        snapshot = self._snapshot
        names = [snapshot.inventory.vms[slot].name for slot in self._slots]
        at = dict(zip(names, snapshot.vms["host"][self._slots].tolist(), strict=True))
        kept = []
        for rule in rules_of_labels([snapshot.inventory.vms[slot] for slot in self._slots]):
            members = members_of(rule, names)
            hosts = [at[name] for name in members if at[name] >= 0]
            apart = rule.apart is not None
            if len(set(hosts)) == (len(hosts) if apart else min(len(hosts), 1)):
                kept.append(rule)
            else:
                self._broken.append(
                    f"affinity {rule.name}: expected it obeyed in the snapshot, found it broken"
                )
        hosts_there = snapshot.hosts
        n = len(hosts_there["rack"])
        places = Places(
            tuple(hosts_there["rack"].tolist()), tuple(hosts_there["zone"].tolist()), (frozenset(),) * n
        )
        app_of = np.searchsorted(self._apps, snapshot.vms["app"][self._slots])
        guests = Guests(tuple(names), tuple(app_of.tolist()), tuple(str(app) for app in self._apps))
        try:
            return native(bind(kept, guests, places), guests, places)
        except ScenarioError as error:  # of what waits for a host
            self._broken.append(str(error))
            return None

    def _model(self, h: int) -> _core.ServerModel:
        hosts, site = self._snapshot.hosts, self._snapshot.site
        model = _core.ServerModel()
        model.name = self._snapshot.inventory.hosts[h].name
        model.capacity = [float(x) for x in hosts["capacity"][h]]
        model.cores = max(int(site.cores[h]), 1)
        curve = [float(x) for x in site.power_w[h]]
        model.power_w = curve if curve[-1] > 0.0 else [1.0] * len(curve)  # a provider's; it is not metered
        model.off_w = float(site.off_w[h])
        model.sleep_w = float(site.sleep_w[h]) if site.sleep_w is not None else 0.0
        model.boot_w = model.power_w[-1]
        model.boot_s = max(float(hosts["boot_s"][h]), _SOON_S)
        model.shutdown_s = 30.0
        model.sleep_enter_s = 10.0
        model.wake_s = float(site.wake_s[h]) if site.wake_s is not None else model.boot_s
        model.gpu_idle_w, model.gpu_peak_w = self._gpu_w(h)
        return model

    def _gpu_w(self, h: int) -> tuple[float, float]:
        """Watts of one GPU, idle and busy: what the host draws beyond the curve of its CPU."""
        hosts, curve = self._snapshot.hosts, self._snapshot.site.power_w[h]
        gpus, busy = float(hosts["capacity"][h, Resource.GPU]), float(hosts["usage"][h, Resource.GPU])
        if gpus <= 0.0 or curve[-1] <= 0.0:
            return 0.0, 0.0
        idle = max(0.0, float(hosts["idle_w"][h] - curve[0]) / gpus)
        share = float(hosts["usage"][h, Resource.CPU] / max(hosts["capacity"][h, Resource.CPU], 1.0))
        beyond = float(hosts["power_w"][h]) - float(np.interp(share, np.linspace(0, 1, len(curve)), curve))
        return idle, idle + max(0.0, beyond - idle * gpus) / busy if busy > 0.1 else idle

    def _prices(self, n_ticks: int) -> _core.Prices:
        said, first = self._snapshot.site.economy, self._snapshot.tick
        native = _core.Prices()
        ticks = [min(max(first - WARM_UP + k, 0), len(said.electricity_usd_kwh) - 1) for k in range(n_ticks)]
        native.electricity_usd_kwh = [float(said.electricity_usd_kwh[t]) for t in ticks]
        native.carbon_g_kwh = [float(said.carbon_usd_kwh[t]) * 1e6 for t in ticks]  # at one USD a tonne
        native.carbon_usd_per_t = 1.0
        native.pue = said.pue
        unit = (1000.0, 1024.0, 100.0, 1000.0, 1.0)  # what the native prices are per
        native.unmet_usd_h = [usd * per for usd, per in zip(said.unmet_usd_h, unit, strict=True)]
        native.late_usd_ghz_h = said.late_usd_mhz_h * 1000.0
        native.downtime_usd_h = said.downtime_usd_h
        native.migration_usd = said.migration_usd
        native.boot_usd = said.boot_usd
        return native

    def _demand(self, n_ticks: int, app_of: npt.NDArray[np.int32]) -> F32:
        """(n_ticks, n_apps, 4): what each application wants, by forecast where there is one."""
        demand: F32 = np.zeros((n_ticks, len(self._apps), 4), np.float32)
        for i, slot in enumerate(self._slots.tolist()):
            demand[:, app_of[i]] += self._vm_demand(slot, n_ticks)
        return demand

    def _vm_demand(self, slot: int, n_ticks: int) -> F32:
        """(n_ticks, 4): the present demand, then the forecast means joined by straight lines."""
        columns = self._snapshot.forecasts
        now = self._snapshot.vms["demand"][slot, :4].astype(np.float32)
        row = int(columns["series"][slot]) if len(columns["series"]) > slot else -1
        if row < 0 or not columns["moments"].size:
            return np.tile(now, (n_ticks, 1))
        share = np.full(4, columns["share"][slot], np.float32)
        share[Resource.MEMORY] = columns["memory_share"][slot]
        means = columns["moments"][:, row, :, 0] * share  # (n_horizons, 4)
        at = np.concatenate(([0.0], columns["horizons"].astype(float)))
        ahead = np.arange(n_ticks) - WARM_UP + 1.0
        known = np.vstack((now, means))
        joined = [np.interp(ahead, at, known[:, r]) for r in range(4)]
        return np.stack(joined, axis=1).clip(0.0).astype(np.float32)

    def _gpu(self, n_ticks: int, app_of: npt.NDArray[np.int32]) -> tuple[F32, npt.NDArray[np.int32]]:
        """GPUs wanted, (n_ticks, n_gpu_series), and the series that each column belongs to."""
        wanted = np.zeros(len(self._apps), np.float32)
        np.add.at(wanted, app_of, self._snapshot.vms["demand"][self._slots, Resource.GPU])
        series = np.flatnonzero(wanted > 0.0).astype(np.int32)
        return np.tile(wanted[series], (n_ticks, 1)).astype(np.float32), series
