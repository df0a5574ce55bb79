"""What an agent is told of a simulated world before the first tick, and the same as a native value."""

from __future__ import annotations

import numpy as np

from foreshade import _core
from foreshade.agents.agent import Economy, Site
from foreshade.envs.data_centre import cut, data_centre
from foreshade.envs.simulated import SimulatedWorld


def site_of(world: SimulatedWorld, seed: int) -> Site:
    """The site of a simulated world: its tariffs, power curves and rented hosts."""
    scenario = world.scenario
    n_ticks = cut(world.workload, scenario.n_ticks)
    spec = data_centre(scenario, n_ticks, len(world.workload.vms), power_managed=True)
    prices = spec.prices
    unit = (1000.0, 1024.0, 100.0, 1000.0, 1.0)  # what the native prices are per
    unmet = [usd / per for usd, per in zip(prices.unmet_usd_h, unit, strict=True)]
    models = [spec.models[host.model] for host in spec.hosts]
    profiles = [spec.profiles[host.profile] for host in spec.hosts]
    rented = np.array([host.rented for host in spec.hosts])
    power = np.array([model.power_w for model in models], dtype=np.float32)
    power[rented] = 0.0
    overhead = np.zeros((len(spec.hosts), 5), dtype=np.float32)
    overhead[:, 0] = [profile.vm_cpu_mhz for profile in profiles]
    overhead[:, 1] = [profile.vm_memory_mib for profile in profiles]
    carbon = np.array(prices.carbon_g_kwh, dtype=np.float32) * 1e-6 * prices.carbon_usd_per_t
    return Site(
        tick_s=scenario.tick_s,
        n_ticks=n_ticks,
        capabilities=world.capabilities,
        economy=Economy(
            electricity_usd_kwh=np.array(prices.electricity_usd_kwh, dtype=np.float32),
            carbon_usd_kwh=carbon.astype(np.float32),
            pue=prices.pue,
            unmet_usd_h=(unmet[0], unmet[1], unmet[2], unmet[3], unmet[4]),
            late_usd_mhz_h=prices.late_usd_ghz_h / 1000.0,
            downtime_usd_h=prices.downtime_usd_h,
            migration_usd=prices.migration_usd,
            boot_usd=prices.boot_usd,
            slo_stretch=scenario.response.slo_stretch,
        ),
        power_w=power,
        cores=np.array([model.cores for model in models], dtype=np.int32),
        off_w=np.array(
            [0.0 if r else m.off_w for m, r in zip(models, rented, strict=True)], dtype=np.float32
        ),
        vm_overhead=overhead,
        rented=rented,
        seed=seed,
        rack_w=np.array([rack.overhead_w for rack in spec.racks], dtype=np.float32),
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
    native.largest_vm = [] if site.largest_vm_mhz is None else site.largest_vm_mhz.tolist()
    native.rack_w = [] if site.rack_w is None else site.rack_w.tolist()
    return native
