"""What a decision maker is told of a world before the first tick; nothing in it knows the demand to come."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from foreshade import _core
from foreshade.envs.data_centre import data_centre, rules
from foreshade.envs.model.action import ActionKind
from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.simulated import SimulatedWorld

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Economy:
    """Prices that an operator knows; the same that the reward is made of."""

    electricity_usd_kwh: F32  # (n_ticks,) tariff at each tick of the run
    carbon_usd_kwh: F32  # (n_ticks,) price of the carbon of one kWh at each tick
    pue: float
    unmet_usd_h: tuple[float, float, float, float, float]  # per MHz·h, MiB·h, (MiB/s)·h, (Mbit/s)·h, GPU·h
    late_usd_mhz_h: float
    downtime_usd_h: float
    migration_usd: float
    boot_usd: float
    slo_stretch: float = 2.0  # response time promised over the unloaded one; beyond it work counts as late


@dataclass(frozen=True, slots=True)
class SiteWindow:
    """A time of maintenance, or of a freeze in which nothing moves; seconds since the site's start."""

    start_s: float
    end_s: float
    hosts: tuple[int, ...] = ()  # empty = a freeze
    said: str = ""

    @property
    def freeze(self) -> bool:
        """Whether it is about no host."""
        return not self.hosts


@dataclass(frozen=True, slots=True)
class Site:
    """What an agent is told once, before the first tick; nothing in it knows the future's demand."""

    tick_s: float
    n_ticks: int
    capabilities: frozenset[ActionKind]
    economy: Economy
    power_w: F32  # (n_hosts, 11) power at 0, 10, …, 100 % of the CPU; 0 where it is a provider's
    cores: npt.NDArray[np.int32]  # (n_hosts,) physical cores
    off_w: F32  # (n_hosts,)
    vm_overhead: F32  # (n_hosts, 5) what the hypervisor takes for each VM that stands there
    rented: npt.NDArray[np.bool_]  # (n_hosts,) hosts that a cloud rents us by the hour
    seed: int
    #: (n_hosts,) largest CPU allocation of one VM that a host can serve, MHz; None = any
    largest_vm_mhz: F32 | None = None
    migration_mbit_s: float = 10_000.0  # at which memory is copied; the catalogue's figure for KVM
    sleep_w: F32 | None = None  # (n_hosts,) suspended to memory; None = no host sleeps
    wake_s: F32 | None = None  # (n_hosts,) from asleep to on
    offloadable: F32 | None = None  # (n_apps,) share of an application's work that micro-VMs can take
    #: (n_racks,) what each rack draws by itself until it is switched off; None = not told
    rack_w: F32 | None = None
    guest_cpu: float | None = None  # largest CPU allocation of a VM over its flavour; None = any
    idle_is_off: bool = False  # a host without load draws nothing, at once and for nothing, as in CloudSim
    app_kinds: tuple[str, ...] = ()  # (n_apps,) type of each application, "" = unknown; empty = not told
    hypervisors: tuple[str, ...] = ()  # (n_hosts,) name in the catalogue; empty = not told
    affinity: _core.Affinity | None = None  # rules about places; None = any VM may stand anywhere
    windows: tuple[SiteWindow, ...] = ()  # maintenance and freezes that are known beforehand, in order
    rack_control: npt.NDArray[np.bool_] | None = None  # (n_racks,) whose power can be switched; None = all
    inlet_limit_c: float | None = None  # beyond which nobody adds load to a rack; None = not told
    heat_c_per_kw: F32 | None = None  # (n_racks,) what an inlet warms for each kW its rack draws
    reclaims_per_h: F32 | None = None  # (n_hosts,) how often a provider wants a hired host back; None = never

    @property
    def placement_only(self) -> bool:
        """Whether VMs may be moved and hosts switched, and nothing else."""
        return self.capabilities <= {ActionKind.WAIT, ActionKind.MIGRATE, ActionKind.POWER}


def site_of(world: SimulatedWorld, seed: int) -> Site:
    """The site of a simulated world: its tariffs, power curves and rented hosts."""
    spec = data_centre(world.scenario, world.n_ticks, len(world.workload.vms), power_managed=True)
    spec.affinity = rules(world.scenario, world.workload)
    # Placing what waits is always possible; making VMs is what a scenario may forbid.
    kinds = {ActionKind[kind.upper()] for kind in world.scenario.actions}
    offloadable = world.workload.apps.offloadable.astype(np.float32)
    told = site_of_data_centre(spec, frozenset(kinds | {ActionKind.WAIT}), world.n_ticks, offloadable, seed)
    return replace(
        told,
        app_kinds=world.workload.apps.kind,
        windows=_windows(world.scenario, world.n_ticks, spec),
        rack_control=np.array(
            [g.power_control for g in world.scenario.fleet for _ in range(g.racks)]
            + [False] * len(world.scenario.rented)
        ),
        inlet_limit_c=world.scenario.thermal.limit_c,
    )


def _windows(scenario: Scenario, n_ticks: int, spec: _core.DataCentre) -> tuple[SiteWindow, ...]:
    racks = [host.rack for host in spec.hosts]
    return tuple(
        SiteWindow(
            (window.start - scenario.start).total_seconds(),
            (window.end - scenario.start).total_seconds(),
            tuple(h for h, rack in enumerate(racks) if h == window.host or rack == window.rack),
            window.said or window.what,
        )
        for window in scenario.windows(n_ticks)
    )


def site_of_data_centre(
    spec: _core.DataCentre, capabilities: frozenset[ActionKind], n_ticks: int, offloadable: F32, seed: int = 0
) -> Site:
    """Likewise of a native data centre; ``offloadable`` (n_apps,) is the work that micro-VMs can take."""
    prices, hosts = spec.prices, spec.hosts
    unit = (1000.0, 1024.0, 100.0, 1000.0, 1.0)  # what the native prices are per
    unmet = [usd / per for usd, per in zip(prices.unmet_usd_h, unit, strict=True)]
    all_models, all_profiles = spec.models, spec.profiles  # each access copies them
    models = [all_models[host.model] for host in hosts]
    profiles = [all_profiles[host.profile] for host in hosts]
    rented = np.array([host.rented for host in hosts])
    power = np.array([model.power_w for model in models], dtype=np.float32)
    power[rented] = 0.0
    overhead = np.zeros((len(hosts), 5), dtype=np.float32)
    overhead[:, 0] = [profile.vm_cpu_mhz for profile in profiles]
    overhead[:, 1] = [profile.vm_memory_mib for profile in profiles]
    grams = np.array(prices.carbon_g_kwh or [0.0] * n_ticks, dtype=np.float32)
    carbon = grams * 1e-6 * prices.carbon_usd_per_t
    return Site(
        tick_s=spec.tick_s,
        n_ticks=n_ticks,
        capabilities=capabilities,
        economy=Economy(
            electricity_usd_kwh=np.array(prices.electricity_usd_kwh, dtype=np.float32),
            carbon_usd_kwh=carbon.astype(np.float32),
            pue=prices.pue,
            unmet_usd_h=(unmet[0], unmet[1], unmet[2], unmet[3], unmet[4]),
            late_usd_mhz_h=prices.late_usd_ghz_h / 1000.0,
            downtime_usd_h=prices.downtime_usd_h,
            migration_usd=prices.migration_usd,
            boot_usd=prices.boot_usd,
            slo_stretch=spec.slo_stretch,
        ),
        power_w=power,
        cores=np.array([model.cores for model in models], dtype=np.int32),
        off_w=np.array(
            [0.0 if r else m.off_w for m, r in zip(models, rented, strict=True)], dtype=np.float32
        ),
        vm_overhead=overhead,
        rented=rented,
        seed=seed,
        sleep_w=np.array(
            [0.0 if r else m.sleep_w for m, r in zip(models, rented, strict=True)], dtype=np.float32
        ),
        wake_s=np.array([m.wake_s for m in models], dtype=np.float32),
        offloadable=offloadable,
        rack_w=np.array([rack.overhead_w for rack in spec.racks], dtype=np.float32),
        guest_cpu=spec.guest_cpu or None,
        hypervisors=tuple(profile.name for profile in profiles),
        affinity=spec.affinity,
        heat_c_per_kw=np.array([rack.heat_c_per_kw for rack in spec.racks], dtype=np.float32),
        reclaims_per_h=np.array([host.reclaims_per_h for host in hosts], dtype=np.float32),
    )


def native_site(site: Site) -> _core.Site:
    """The site as native decision makers are told it: prices at the meter, amounts in float32."""
    prices = site.economy
    economy = _core.Economy()
    economy.usd_kwh = ((prices.electricity_usd_kwh + prices.carbon_usd_kwh) * prices.pue).tolist()
    economy.unmet_usd_h = list(prices.unmet_usd_h)
    economy.late_usd_mhz_h = prices.late_usd_mhz_h
    economy.downtime_usd_h = prices.downtime_usd_h
    economy.migration_usd = prices.migration_usd
    economy.boot_usd = prices.boot_usd
    economy.slo_stretch = prices.slo_stretch
    native = _core.Site()
    native.tick_s = site.tick_s
    native.capabilities = sum(1 << kind for kind in site.capabilities)
    native.economy = economy
    native.power_w = site.power_w.ravel().tolist()
    native.cores = site.cores.tolist()
    native.off_w = site.off_w.tolist()
    native.vm_overhead = site.vm_overhead.ravel().tolist()
    native.rented = site.rented.astype(np.uint8).tolist()
    native.migration_mbit_s = site.migration_mbit_s
    native.largest_vm = [] if site.largest_vm_mhz is None else site.largest_vm_mhz.tolist()
    native.sleep_w = [] if site.sleep_w is None else site.sleep_w.tolist()
    native.wake_s = [] if site.wake_s is None else site.wake_s.tolist()
    native.offloadable = [] if site.offloadable is None else site.offloadable.tolist()
    native.guest_cpu = site.guest_cpu or 0.0
    native.rack_w = [] if site.rack_w is None else site.rack_w.tolist()
    native.affinity = site.affinity
    return native
