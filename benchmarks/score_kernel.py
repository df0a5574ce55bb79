"""How many (VM, host) pairs the score evaluates in a second on one core.

python benchmarks/score_kernel.py
"""

from __future__ import annotations

import time

import numpy as np

from foreshade import _core


def cost_of(n_hosts: int, rng: np.random.Generator) -> _core.ExpectedCost:
    """Hosts like the catalogue's mid-sized server, in four models."""
    prices = _core.CostPrices()
    prices.unmet_usd_h = [8.4e-5, 2.2e-5, 3.3e-4, 9.6e-5]
    prices.late_usd_mhz_h = 1.4e-5
    prices.swap_factor = 90.0
    capacity = np.tile(np.array([25_000, 128_000, 2_700, 19_000, 0], dtype=np.float32), (n_hosts, 1))
    capacity *= rng.choice([1.0, 2.0, 4.0, 6.0], (n_hosts, 1)).astype(np.float32)
    overhead = np.tile(np.array([20, 150, 0, 0, 0], dtype=np.float32), (n_hosts, 1))
    power_w = np.linspace(capacity[:, 0] / 1000.0, capacity[:, 0] / 250.0, 11, axis=1).astype(np.float32)
    cost = _core.ExpectedCost(prices, capacity, overhead, power_w, (capacity[:, 0] // 3_000).astype(np.int32))
    cost.set_energy_price(0.14)
    return cost


def main() -> None:
    rng = np.random.default_rng(0)
    print("| VMs x hosts | CPU busy | pairs/s, best of 5 |")
    print("|---|---|---|")
    for n_vms, n_hosts in ((400, 21), (1_052, 26), (10_000, 1_000)):
        for busy in (0.3, 0.7, 0.95):
            cost = cost_of(n_hosts, rng)
            scale = np.array([25_000, 90_000, 500, 4_000, 0], dtype=np.float32)
            mean = (scale * busy * rng.uniform(0.9, 1.1, (n_hosts, 5))).astype(np.float32)
            vm_mean = (0.05 * scale * rng.lognormal(0.0, 0.5, (n_vms, 5))).astype(np.float32)
            out = np.empty((n_vms, n_hosts), dtype=np.float32)
            host = rng.integers(0, n_hosts, n_vms).astype(np.int32)
            best = np.inf
            for _ in range(5):
                begin = time.perf_counter()
                cost.moves(
                    mean,
                    (0.1 * mean) ** 2,
                    mean[:, 0].copy(),
                    vm_mean,
                    (0.3 * vm_mean) ** 2,
                    np.ones(n_vms, dtype=np.float32),
                    host,
                    out,
                )
                best = min(best, time.perf_counter() - begin)
            print(f"| {n_vms} x {n_hosts} | {busy:.0%} | {n_vms * n_hosts / best / 1e6:.1f} M |")


if __name__ == "__main__":
    main()
