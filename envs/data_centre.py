"""A scenario and a workload as the native core wants them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from foreshade import _core
from foreshade.envs import affinity, catalogue
from foreshade.envs.errors import ScenarioError
from foreshade.envs.forecast.table import Forecast, forecast_source
from foreshade.envs.model.action import ActionKind
from foreshade.envs.scenarios.schema import HostGroup, RentedGroup, Scenario
from foreshade.envs.workloads.workload import Workload

#: Overflow of a host's memory at which a hypervisor's swap slow-down is reached (docs/physics.md).
SWAP_OVERFLOW = 0.1

#: VM slots beyond the workload's, for VMs that actions make: one for each four VMs, at least this many.
LEAST_SPARE_SLOTS = 64

SCHEDULERS = {
    "first-fit": _core.Scheduler.first_fit,
    "best-fit": _core.Scheduler.best_fit,
    "worst-fit": _core.Scheduler.worst_fit,
}


def server_model(server: catalogue.Server, name: str, *, power_managed: bool) -> _core.ServerModel:
    """The native server; without power management it draws its full power whatever its load."""
    model = _core.ServerModel()
    model.name = name
    model.capacity = list(server.capacity)
    model.cores = server.cores
    model.power_w = list(server.power_w) if power_managed else [server.power_w[-1]] * len(server.power_w)
    model.off_w = server.off_w
    model.sleep_w = server.sleep_w
    model.boot_w = server.boot_w
    model.boot_s = server.boot_s
    model.shutdown_s = server.shutdown_s
    model.sleep_enter_s = server.sleep_enter_s
    model.wake_s = server.wake_s
    model.gpu_idle_w = server.gpu_idle_w
    model.gpu_peak_w = server.gpu_peak_w
    return model


def hypervisor_profile(hypervisor: catalogue.Hypervisor, name: str) -> _core.HypervisorProfile:
    """The native profile."""
    profile = _core.HypervisorProfile()
    profile.name = name
    share = hypervisor.efficiency
    profile.efficiency = [share.cpu, share.memory, share.disk, share.network, share.gpu or 1.0]
    profile.vm_cpu_mhz = hypervisor.per_vm.cpu_mhz
    profile.vm_memory_mib = hypervisor.per_vm.memory_mib
    boot = hypervisor.boot_s
    profile.boot_s = [boot.cold, boot.restored, boot.spare, boot.microvm]
    profile.shutdown_s = hypervisor.shutdown_s
    plug = hypervisor.hot_plug
    profile.cpu_up, profile.cpu_down = plug.cpu_up, plug.cpu_down
    profile.memory_up, profile.memory_down = plug.memory_up, plug.memory_down
    profile.disk, profile.network = plug.disk, plug.network
    profile.swap_factor = (hypervisor.swap_slowdown - 1.0) / SWAP_OVERFLOW
    move = hypervisor.migration
    profile.migration_mbit_s = move.bandwidth_mbit
    profile.migration_setup_s = move.setup_s
    profile.downtime_limit_s = move.downtime_ms / 1000.0
    profile.resume_s = move.resume_s
    profile.max_rounds = move.max_rounds
    profile.migration_cpu_mhz_per_mbit = move.cpu_mhz_per_gbit / 1000.0
    profile.migration_slowdown = move.slowdown
    profile.dirty_share_per_s = move.dirty_share_per_s
    profile.working_set = move.writable_share
    return profile


def data_centre(scenario: Scenario, n_ticks: int, n_vms: int, *, power_managed: bool) -> _core.DataCentre:
    """The native data centre: hosts in file order, rented ones last, prices per tick."""
    spec = _core.DataCentre()
    models: list[_core.ServerModel] = []
    profiles: list[_core.HypervisorProfile] = []
    racks: list[_core.Rack] = []
    hosts: list[_core.Host] = []
    zones = sorted({group.zone for group in scenario.fleet})

    def add_rack(zone: int, overhead_w: float, uplink_mbit: float, heat_c_per_kw: float = 0.0) -> int:
        rack = _core.Rack()
        rack.heat_c_per_kw = heat_c_per_kw
        rack.zone, rack.overhead_w, rack.uplink_mbit_s = zone, overhead_w, uplink_mbit
        racks.append(rack)
        return len(racks) - 1

    def add_hosts(group: HostGroup, rack: int, model: int) -> None:
        limits = scenario.overcommit
        for _ in range(group.count):
            host = _core.Host()
            host.model, host.profile, host.rack = model, model, rack
            host.overcommit = [
                min(limits.cpu, group.profile.cpu_overcommit),
                min(limits.memory, group.profile.memory_overcommit),
                limits.disk,
                limits.network,
                1.0,
            ]
            if isinstance(group, RentedGroup):
                host.rented, host.price_usd_h = True, group.price_usd_h
                host.provision_s = group.provision_s
                host.committed = group.market == "reserved"
                if group.market == "spot":
                    host.reclaims_per_h, host.notice_s = group.reclaims_per_h, group.notice_s
            else:
                host.price_usd_h, host.committed = group.owned_usd_h, group.owned_usd_h > 0.0
            hosts.append(host)

    def add_model(group: HostGroup) -> int:
        models.append(server_model(group.machine, group.server, power_managed=power_managed))
        profiles.append(hypervisor_profile(group.profile, group.hypervisor))
        return len(models) - 1

    for rack_group in scenario.fleet:
        group_models = [add_model(group) for group in rack_group.hosts]
        for _ in range(rack_group.racks):
            rack = add_rack(
                zones.index(rack_group.zone),
                rack_group.overhead_w,
                rack_group.uplink_mbit,
                rack_group.heat_c_per_kw,
            )
            for group, model in zip(rack_group.hosts, group_models, strict=True):
                add_hosts(group, rack, model)
    for rented in scenario.rented:
        rack = add_rack(len(zones), 0.0, catalogue.site().uplink_mbit)
        add_hosts(rented, rack, add_model(rented))

    spec.tick_s = scenario.tick_s
    spec.models, spec.profiles, spec.racks, spec.hosts = models, profiles, racks, hosts
    spec.prices = prices(scenario, n_ticks)
    spec.scheduler = SCHEDULERS[scenario.scheduler]
    spec.supply_c = scenario.thermal.supply_c
    spec.slo_stretch, spec.knee = scenario.response.slo_stretch, scenario.response.knee
    failures = _core.Failures()
    failures.mtbf_h = scenario.failures.mtbf_h or 0.0
    failures.repair_h = scenario.failures.repair_h
    failures.recall = scenario.failures.recall
    failures.false_alarms_per_host_day = scenario.failures.false_alarms_per_host_day
    failures.lead_h = max(scenario.failures.lead_h, 1e-3)
    spec.failures = failures
    spec.maintenance = _maintenance(scenario, n_ticks, [host.rack for host in hosts])
    spec.guest_cpu = scenario.guest_cpu or 0.0
    spec.spare_slots = max(LEAST_SPARE_SLOTS, n_vms // 4)
    return spec


def prices(scenario: Scenario, n_ticks: int) -> _core.Prices:
    """Prices with one value per tick, at the site's local time."""
    said = scenario.prices
    clock = [scenario.start + timedelta(seconds=k * scenario.tick_s) for k in range(n_ticks)]
    grid = catalogue.grid(said.grid)
    native = _core.Prices()
    native.electricity_usd_kwh = [said.usd_per_kwh(when) for when in clock]
    native.carbon_g_kwh = [grid.intensity(when) for when in clock]
    native.carbon_usd_per_t = said.carbon_usd_per_t
    native.pue = said.pue
    native.unmet_usd_h = [
        said.unmet.cpu_usd_per_ghz_h,
        said.unmet.memory_usd_per_gib_h,
        said.unmet.disk_usd_per_mib_s_h * 100.0,
        said.unmet.network_usd_per_mbit_h * 1000.0,
        said.unmet.gpu_usd_per_gpu_h,
    ]
    native.late_usd_ghz_h = said.late_usd_per_ghz_h
    native.downtime_usd_h = said.downtime_usd_per_h
    native.migration_usd = said.migration_usd
    native.boot_usd = said.boot_usd
    return native


def _maintenance(
    scenario: Scenario, n_ticks: int, host_racks: Sequence[int]
) -> list[_core.MaintenanceWindow]:
    windows = []
    for said in scenario.windows(n_ticks):
        for host, rack in enumerate(host_racks):
            if host != said.host and rack != said.rack:
                continue
            window = _core.MaintenanceWindow()
            window.host = host
            window.start_s = (said.start - scenario.start).total_seconds()
            window.end_s = (said.end - scenario.start).total_seconds()
            windows.append(window)
    return windows


def places(scenario: Scenario) -> affinity.Places:
    """Where the scenario's hosts stand, rented ones last, in a zone and rack of their own."""
    zones = sorted({group.zone for group in scenario.fleet})
    rack: list[int] = []
    zone: list[int] = []
    labels: list[frozenset[str]] = []
    number = 0
    for rack_group in scenario.fleet:
        for _ in range(rack_group.racks):
            for group in rack_group.hosts:
                rack += [number] * group.count
                zone += [zones.index(rack_group.zone)] * group.count
                labels += [frozenset(group.labels)] * group.count
            number += 1
    for rented in scenario.rented:
        rack += [number] * rented.count
        zone += [len(zones)] * rented.count
        labels += [frozenset(rented.labels)] * rented.count
        number += 1
    return affinity.Places(tuple(rack), tuple(zone), tuple(labels))


def rules(scenario: Scenario, workload: Workload) -> _core.Affinity | None:
    """The scenario's rules about places, bound to the workload's VMs; None where there are none.

    Raises ScenarioError where a name fits nothing, or rules contradict each other.
    """
    if not scenario.affinity:
        return None
    apps = workload.apps.name
    guests = affinity.Guests(workload.vms.name, tuple(workload.vms.app.tolist()), tuple(apps))
    where = places(scenario)
    return affinity.native(affinity.bind(scenario.affinity, guests, where), guests, where)


def cut(workload: Workload, n_ticks: int | None) -> int:
    """Ticks to play: what the scenario asks for, at most what the workload has."""
    return workload.n_ticks if n_ticks is None else min(n_ticks, workload.n_ticks)


def plant(
    scenario: Scenario,
    workload: Workload,
    *,
    power_managed: bool = True,
    forecast: Forecast | _core.ForecastTable = "none",
) -> _core.Plant:
    """The native plant of a scenario under a workload, with the forecasts that its environments show.

    A table of one's own has a row for each tick of the workload that is played, and one more.

    Raises ScenarioError where the two do not go together.
    """
    if workload.tick_s != scenario.tick_s:
        raise ScenarioError(
            f"scenario {scenario.name}: tick_s is {scenario.tick_s:g}, the workload {workload.source} has "
            f"{workload.tick_s}"
        )
    n_ticks = cut(workload, scenario.n_ticks)
    spec = data_centre(scenario, n_ticks, len(workload.vms), power_managed=power_managed)
    spec.affinity = rules(scenario, workload)
    allowed = [int(ActionKind.WAIT), *(int(ActionKind[kind.upper()]) for kind in scenario.actions)]
    try:
        return _core.Plant(
            spec,
            np.ascontiguousarray(workload.demand[:n_ticks], dtype=np.float32),
            np.ascontiguousarray(workload.gpu[:n_ticks], dtype=np.float32),
            workload.gpu_series,
            workload.apps.series,
            workload.apps.members,
            workload.apps.memory_floor,
            workload.apps.offloadable,
            workload.vms.app,
            np.ascontiguousarray(workload.vms.flavour, dtype=np.float32),
            workload.vms.arrival_tick,
            workload.vms.departure_tick,
            workload.vms.credit,
            allowed,
            forecast_source(forecast, workload, n_ticks) if isinstance(forecast, str) else forecast,
        )
    except ValueError as error:
        raise ScenarioError(f"scenario {scenario.name}: {error}") from error
