import math

import numpy as np
import pytest

from foreshade import _core

UNMET = [8.4e-5, 2.2e-5, 3.3e-4, 9.6e-5]
LATE = 1.4e-5
CORES = 8
WATTS = [22.6, 32.5, 40.4, 47.6, 54.4, 61.3, 69.2, 76.5, 83.7, 91.8, 98.2]
CAPACITY = np.array([25_000.0, 128_000.0, 2_700.0, 19_000.0, 0.0], dtype=np.float32)
OVERHEAD = np.array([20.0, 150.0, 0.0, 0.0, 0.0], dtype=np.float32)
USD_KWH = 0.14
SWAP = 90.0


def cost_of(n_hosts=3, unmet=1.0, late=LATE, sigma_scale=1.0, swap=SWAP):
    prices = _core.CostPrices()
    prices.unmet_usd_h = [unmet * x for x in UNMET]
    prices.late_usd_mhz_h = late
    prices.sigma_scale = sigma_scale
    prices.swap_factor = swap
    cost = _core.ExpectedCost(
        prices,
        np.tile(CAPACITY, (n_hosts, 1)),
        np.tile(OVERHEAD, (n_hosts, 1)),
        np.tile(np.array(WATTS, dtype=np.float32), (n_hosts, 1)),
        np.full(n_hosts, CORES, dtype=np.int32),
    )
    cost.set_energy_price(USD_KWH)
    return cost


def excess(mean, sigma, capacity):
    a = (mean - capacity) / sigma
    phi = math.exp(-a * a / 2) / math.sqrt(2 * math.pi)
    return sigma * phi + (mean - capacity) * 0.5 * math.erfc(-a / math.sqrt(2))


def running(cpu, late):
    share = min(1.0, max(0.0, cpu / float(CAPACITY[0])))
    step = min(9, int(share * 10))
    watts = WATTS[step] + (WATTS[step + 1] - WATTS[step]) * (share * 10 - step)
    tail = share ** (math.sqrt(2 * (CORES + 1)) - 1) * math.exp(-CORES * (1 - share))
    return USD_KWH * watts / 1000 + late * tail * share * float(CAPACITY[0])


def host_cost(mean, variance, credit, scale=1.0, late=LATE):
    sigma = [max(1e-6, scale * math.sqrt(v)) for v in variance[:4]]
    short = excess(mean[1], sigma[1], float(CAPACITY[1]))
    unmet = sum(UNMET[r] * excess(mean[r], sigma[r], float(CAPACITY[r])) for r in range(4))
    unmet += UNMET[0] * mean[0] * SWAP * short / float(CAPACITY[1])
    served = 0.5 * (running(mean[0] - sigma[0], late) + running(mean[0] + sigma[0], late))
    return served + credit / mean[0] * unmet


@pytest.mark.parametrize("sigma", [1e-3, 1.0, 37.0, 5_000.0])
def test_expected_excess_is_that_of_a_normal_within_a_ten_thousandth(sigma):
    for a in np.linspace(-5.4, 12.0, 349):
        exact = excess(a * sigma, sigma, 0.0)
        assert _core.expected_excess(a * sigma, sigma) == pytest.approx(exact, rel=1e-4)


def test_expected_excess_far_below_capacity_is_nothing():
    for a in np.linspace(-40.0, -5.6, 50):
        assert 0.0 <= _core.expected_excess(a, 1.0) <= 2e-9


@pytest.mark.parametrize("busy", [0.05, 0.4, 0.7, 0.9, 1.0, 1.3])
@pytest.mark.parametrize("memory", [0.5, 0.97, 1.05])
@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_a_host_costs_what_the_plain_formula_says(busy, memory, scale):
    mean = CAPACITY * np.array([busy, memory, 0.9, 0.3, 0.0], dtype=np.float32)
    variance = (CAPACITY * np.float32(0.05)) ** 2
    credit = np.float32(1.5) * mean[0]
    cost, out = cost_of(1, sigma_scale=scale), np.empty(1, dtype=np.float32)
    cost.hosts(mean[None], variance[None], np.array([credit]), out)
    # The late share is read from straight lines between 160 points: 0.3 % is what they miss.
    assert out[0] == pytest.approx(host_cost(mean, variance, credit, scale), rel=3e-3)


def test_without_lateness_only_rounding_is_left():
    mean = CAPACITY * np.array([0.95, 0.9, 0.5, 0.5, 0.0], dtype=np.float32)
    variance = (CAPACITY * np.float32(0.04)) ** 2
    out = np.empty(1, dtype=np.float32)
    cost_of(1, late=0.0).hosts(mean[None], variance[None], mean[:1], out)
    assert out[0] == pytest.approx(host_cost(mean, variance, mean[0], late=0.0), rel=1e-4)


def matrix(cost, n_hosts, vm_host, seed=0):
    rng = np.random.default_rng(seed)
    mean = (CAPACITY * rng.uniform(0.3, 1.1, (n_hosts, 5))).astype(np.float32)
    variance = ((0.1 * mean) ** 2).astype(np.float32)
    n = len(vm_host)
    vm_mean = (CAPACITY * rng.uniform(0.0, 0.2, (n, 5))).astype(np.float32)
    vm_variance = ((0.3 * vm_mean) ** 2).astype(np.float32)
    credit = mean[:, 0].copy()
    out = np.empty((n, n_hosts), dtype=np.float32)
    host = np.array(vm_host, dtype=np.int32)
    cost.moves(mean, variance, credit, vm_mean, vm_variance, np.full(n, 2.0, dtype=np.float32), host, out)
    return mean, variance, credit, vm_mean, vm_variance, out


def test_the_matrix_of_moves_is_the_difference_of_whole_recomputations():
    n_hosts, vm_host = 7, [0, 3, 6, -1, 2]
    cost = cost_of(n_hosts)
    mean, variance, credit, vm_mean, vm_variance, out = matrix(cost, n_hosts, vm_host)

    def total(mean, variance, credit):
        usd_h = np.empty(n_hosts, dtype=np.float32)
        cost.hosts(mean, variance, credit, usd_h)
        return usd_h.astype(np.float64)

    before = total(mean, variance, credit)
    for v, source in enumerate(vm_host):
        for h in range(n_hosts):
            m, s, c = mean.copy(), variance.copy(), credit.copy()
            for host, sign in ((source, -1), (h, 1)):
                if host < 0:
                    continue
                m[host] += np.float32(sign) * (vm_mean[v] + OVERHEAD)
                s[host] += np.float32(sign) * vm_variance[v]
                c[host] += np.float32(sign) * (np.float32(2.0) * vm_mean[v, 0] + OVERHEAD[0])
            want = float((total(m, s, c) - before).sum())
            if h == source:
                assert out[v, h] == 0.0
            else:
                assert out[v, h] == pytest.approx(want, rel=1e-3, abs=2e-5 * float(before.max()))


def test_the_same_bits_come_out_whatever_stands_beside():
    one = matrix(cost_of(5), 5, [0, 1, 2, 3])[-1]
    two = matrix(cost_of(5), 5, [0, 1, 2, 3])[-1]
    np.testing.assert_array_equal(one, two)


def test_a_higher_unmet_price_never_makes_the_fuller_host_more_attractive():
    mean = np.stack([CAPACITY * np.float32(0.85), CAPACITY * np.float32(0.5)])
    variance = (mean * np.float32(0.1)) ** 2
    vm_mean = (CAPACITY * np.float32(0.1))[None]
    penalty = []
    for unmet in (0.1, 1.0, 10.0, 100.0):
        out = np.empty((1, 2), dtype=np.float32)
        cost_of(2, unmet=unmet).moves(
            mean,
            variance,
            mean[:, 0].copy(),
            vm_mean,
            (0.3 * vm_mean) ** 2,
            np.ones(1, dtype=np.float32),
            np.array([-1], dtype=np.int32),
            out,
        )
        penalty.append(out[0, 0] - out[0, 1])
    assert penalty == sorted(penalty)
    assert penalty[-1] > penalty[0]


def test_columns_of_another_length_are_refused():
    out = np.empty(2, dtype=np.float32)
    with pytest.raises(ValueError, match="mean: expected 10 numbers, got 15"):
        cost_of(2).hosts(
            np.zeros((3, 5), dtype=np.float32),
            np.zeros((2, 5), dtype=np.float32),
            np.zeros(2, dtype=np.float32),
            out,
        )


def test_a_host_without_capacity_is_refused():
    with pytest.raises(ValueError, match="host 0: expected a positive capacity of resource 0"):
        _core.ExpectedCost(
            _core.CostPrices(),
            np.zeros((1, 5), dtype=np.float32),
            np.zeros((1, 5), dtype=np.float32),
            np.zeros((1, 11), dtype=np.float32),
            np.ones(1, dtype=np.int32),
        )
