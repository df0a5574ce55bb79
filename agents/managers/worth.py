"""What a move, an outage and power cost at a site's prices, as components reckon before they offer."""

from __future__ import annotations

from foreshade._core import ClusterState
from foreshade.envs.site import Site

# What a live migration is reckoned to take, as the core has it (cpp/core/decide/assumed.hpp): KVM of the catalogue.
_MBIT_S, _SETUP_S, _DOWNTIME_S, _SLOWDOWN, _MBIT_PER_MIB = 10_000.0, 1.0, 0.5, 0.1, 8.388608
_SHUTDOWN_S = 60.0


def usd_kwh(site: Site, tick: int, ticks: int = 1) -> float:
    """Mean price of a kWh at the meter over ``ticks`` from ``tick`` on: tariff and carbon, times PUE."""
    prices = site.economy
    last = len(prices.electricity_usd_kwh) - 1
    begin = min(max(tick, 0), last)
    span = slice(begin, min(begin + max(ticks, 1), last + 1))
    mean = prices.electricity_usd_kwh[span].mean() + prices.carbon_usd_kwh[span].mean()
    return float(mean) * prices.pue


def move_usd(site: Site, state: ClusterState, vm: int) -> tuple[float, float]:
    """Price and slow-down of migrating a VM, and its downtime; USD."""
    economy, vms = site.economy, state.vms
    credit = float(vms.credit[vm])
    seconds = _SETUP_S + float(vms.demand[vm, 1]) * _MBIT_PER_MIB / _MBIT_S
    slowed = _SLOWDOWN * float(vms.demand[vm, 0]) * economy.unmet_usd_h[0] * seconds / 3600.0 * credit
    return economy.migration_usd + slowed, economy.downtime_usd_h * _DOWNTIME_S / 3600.0 * credit


def outage_usd(site: Site, state: ClusterState, vm: int, hours: float) -> float:
    """What it costs that a VM is out for so long: its downtime and all that it wants, USD."""
    economy, vms = site.economy, state.vms
    wants = sum(
        usd * float(want) for usd, want in zip(economy.unmet_usd_h, vms.demand[vm].tolist(), strict=True)
    )
    return (economy.downtime_usd_h + wants) * float(vms.credit[vm]) * hours


def boot_usd(site: Site, state: ClusterState, host: int, price_kwh: float) -> float:
    """What a cycle of off and on costs, wear and energy, USD."""
    hosts = state.hosts
    joules = float(hosts.peak_w[host]) * float(hosts.boot_s[host]) + float(hosts.idle_w[host]) * _SHUTDOWN_S
    return site.economy.boot_usd + joules / 3.6e6 * price_kwh
