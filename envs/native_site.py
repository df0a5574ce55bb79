"""What a decision maker is told of a simulated world, as the native core wants it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from foreshade import _core
from foreshade.envs.data_centre import data_centre
from foreshade.envs.model.action import ActionKind
from foreshade.envs.simulated import SimulatedWorld

#: What the native prices of unmet demand are per: GHz, GiB, 100 MiB/s, Gbit/s, GPU.
_UNIT = (1000.0, 1024.0, 100.0, 1000.0, 1.0)


def native_site(world: SimulatedWorld) -> _core.Site:
    """Tariffs, power curves, overheads and rented hosts of a simulated world; nothing of the future's demand."""
    spec = data_centre(world.scenario, world.n_ticks, len(world.workload.vms), power_managed=True)
    return site_of(spec, world.capabilities, [float(share) for share in world.workload.apps.offloadable])


def site_of(
    spec: _core.DataCentre, capabilities: Iterable[ActionKind], offloadable: list[float]
) -> _core.Site:
    """Likewise of a native data centre; ``offloadable`` is the share of each application's work for micro-VMs."""
    prices, hosts = spec.prices, spec.hosts
    all_models, all_profiles = spec.models, spec.profiles
    models = [all_models[host.model] for host in hosts]
    profiles = [all_profiles[host.profile] for host in hosts]
    rented = [bool(host.rented) for host in hosts]
    usd_kwh = np.array(prices.electricity_usd_kwh)
    if prices.carbon_g_kwh:
        usd_kwh = usd_kwh + np.array(prices.carbon_g_kwh) * 1e-6 * prices.carbon_usd_per_t
    site = _core.Site()
    site.tick_s = spec.tick_s
    site.capabilities = sum(1 << int(kind) for kind in capabilities)
    economy = _core.Economy()
    economy.usd_kwh = (usd_kwh * prices.pue).tolist()
    economy.unmet_usd_h = [usd / per for usd, per in zip(prices.unmet_usd_h, _UNIT, strict=True)]
    economy.late_usd_mhz_h = prices.late_usd_ghz_h / 1000.0
    economy.downtime_usd_h = prices.downtime_usd_h
    economy.migration_usd = prices.migration_usd
    economy.boot_usd = prices.boot_usd
    economy.slo_stretch = spec.slo_stretch
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
    site.offloadable = offloadable
    return site
