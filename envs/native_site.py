"""What a decision maker is told of a simulated world, as the native core wants it."""

from __future__ import annotations

import numpy as np

from foreshade import _core
from foreshade.envs.data_centre import cut, data_centre
from foreshade.envs.simulated import SimulatedWorld

#: What the native prices of unmet demand are per: GHz, GiB, 100 MiB/s, Gbit/s, GPU.
_UNIT = (1000.0, 1024.0, 100.0, 1000.0, 1.0)


def native_site(world: SimulatedWorld) -> _core.Site:
    """Tariffs, power curves, overheads and rented hosts of a simulated world; nothing of the future's demand."""
    scenario = world.scenario
    n_ticks = cut(world.workload, scenario.n_ticks)
    spec = data_centre(scenario, n_ticks, len(world.workload.vms), power_managed=True)
    prices = spec.prices
    models = [spec.models[host.model] for host in spec.hosts]
    profiles = [spec.profiles[host.profile] for host in spec.hosts]
    rented = [bool(host.rented) for host in spec.hosts]
    carbon = np.array(prices.carbon_g_kwh) * 1e-6 * prices.carbon_usd_per_t
    site = _core.Site()
    site.tick_s = scenario.tick_s
    site.capabilities = sum(1 << int(kind) for kind in world.capabilities)
    economy = _core.Economy()
    economy.usd_kwh = ((np.array(prices.electricity_usd_kwh) + carbon) * prices.pue).tolist()
    economy.unmet_usd_h = [usd / per for usd, per in zip(prices.unmet_usd_h, _UNIT, strict=True)]
    economy.late_usd_mhz_h = prices.late_usd_ghz_h / 1000.0
    economy.downtime_usd_h = prices.downtime_usd_h
    economy.migration_usd = prices.migration_usd
    economy.boot_usd = prices.boot_usd
    economy.slo_stretch = scenario.response.slo_stretch
    site.economy = economy
    site.power_w = [
        0.0 if r else float(w) for m, r in zip(models, rented, strict=True) for w in m.power_w
    ]
    site.cores = [m.cores for m in models]
    site.off_w = [0.0 if r else m.off_w for m, r in zip(models, rented, strict=True)]
    site.sleep_w = [0.0 if r else m.sleep_w for m, r in zip(models, rented, strict=True)]
    site.wake_s = [m.wake_s for m in models]
    overhead = np.zeros((len(profiles), 5), dtype=np.float32)
    overhead[:, 0] = [p.vm_cpu_mhz for p in profiles]
    overhead[:, 1] = [p.vm_memory_mib for p in profiles]
    site.vm_overhead = overhead.ravel().tolist()
    site.rented = [int(r) for r in rented]
    site.rack_w = [rack.overhead_w for rack in spec.racks]
    site.offloadable = world.workload.apps.offloadable.tolist()
    return site
