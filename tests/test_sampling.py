"""Random data centres: the same from a seed, within their ranges, and playable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foreshade.agents.managers.demand_ahead import wanted_by
from foreshade.envs.batch import Batch
from foreshade.envs.candidates import DEFAULT
from foreshade.envs.decision import Decision
from foreshade.envs.errors import InputError
from foreshade.envs.sampling import Sampling, sampled_worlds
from foreshade.envs.simulated import SimulatedWorld

SMALL = Sampling(hosts=(4, 9), electricity=("kr-industrial-tou",), mtbf_h=(100.0, 200.0))
DAY = Sampling(hosts=(2, 3), workloads=("generated:enterprise?days=1",), demand=(0.7, 0.8))


def drawn(seed: int = 2, sampling: Sampling = DAY, **ranges: tuple[float, float]) -> SimulatedWorld:
    """One world."""
    return sampled_worlds(replace(sampling, **ranges), 1, seed)[0]


def foretold(world: SimulatedWorld, ticks: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Moments (ticks, n_horizons, n_rows, 4, 2) and quantiles (ticks, n_rows, 4, n_horizons, 7), tick by tick."""
    moments, quantiles = [], []
    for _ in range(ticks):
        world.advance()
        shown = world.observe().forecasts
        moments.append(shown.moments.copy())
        quantiles.append(shown.quantiles.copy())
    return np.array(moments), np.array(quantiles)


def assert_alike(one: SimulatedWorld, other: SimulatedWorld) -> None:
    """But for what the state says of demand to come."""
    assert one.scenario == other.scenario
    np.testing.assert_array_equal(one.workload.demand, other.workload.demand)
    np.testing.assert_array_equal(one.workload.vms.flavour, other.workload.vms.flavour)


def test_the_same_seed_draws_the_same_worlds_however_many() -> None:
    one, three = sampled_worlds(SMALL, 1, 5), sampled_worlds(SMALL, 3, 5)
    other = sampled_worlds(SMALL, 1, 6)
    assert one[0].scenario == three[0].scenario
    np.testing.assert_array_equal(one[0].workload.demand, three[0].workload.demand)
    assert one[0].scenario != other[0].scenario
    assert three[0].scenario != three[1].scenario


def test_what_is_drawn_lies_in_its_range() -> None:
    for world in sampled_worlds(SMALL, 4, 0):
        said = world.scenario
        assert 4 <= said.n_hosts <= 9
        assert 100.0 <= said.failures.mtbf_h <= 200.0
        assert 0.3 <= said.failures.recall <= 0.9
        assert said.actions == sampled_worlds(SMALL, 1, 0)[0].scenario.actions


def test_memory_fills_the_fleet_as_asked() -> None:
    for world in sampled_worlds(Sampling(hosts=(20, 20), fill=(0.6, 0.6)), 2, 0):
        there = world.workload.vms
        stay = (there.departure_tick - there.arrival_tick) / world.workload.n_ticks
        wanted = float((there.flavour[:, 1] * stay).sum())
        room = sum(g.machine.memory_mib * g.count * r.racks for r in world.scenario.fleet for g in r.hosts)
        assert wanted / room == pytest.approx(0.6, rel=0.25)


def test_demand_is_scaled_and_stays_below_what_is_provisioned() -> None:
    plain, more = (
        sampled_worlds(Sampling(hosts=(5, 5), demand=(factor, factor)), 1, 3)[0].workload
        for factor in (1.0, 1.4)
    )
    assert (more.demand >= plain.demand - 1e-3).all()
    assert 1.2 < more.demand[..., 0].sum() / plain.demand[..., 0].sum() <= 1.4


def test_a_batch_plays_the_worlds_in_turn() -> None:
    batch = Batch(
        sampled_worlds(SMALL, 2, 1), 4, Decision(episode_ticks=(3, 3), random_start=True, placed=True)
    )
    seen = batch.reset(0)
    assert np.isfinite(seen).all()
    while not batch.dones.all():
        seen = batch.step(np.zeros(4, int))
        assert np.isfinite(batch.rewards).all()
    assert [batch.finished(i)["terms"]["energy"] > 0 for i in range(4)] == [True] * 4


def test_without_ranges_no_forecast_is_shown_and_the_worlds_are_those_with_forecasts() -> None:
    blind, seeing, noisy = drawn(), drawn(forecast_bias=(-0.5, 0.5)), drawn(forecast_noise=(0.1, 0.5))
    assert_alike(blind, seeing)
    assert_alike(blind, noisy)
    assert foretold(blind)[0].size == 0
    assert foretold(seeing)[0].shape == foretold(noisy)[0].shape == (40, 4, blind.workload.n_series, 4, 2)


def test_ranges_of_zero_show_what_the_table_says() -> None:
    world = drawn(forecast_bias=(0.0, 0.0))
    table = SimulatedWorld(world.scenario, world.workload, forecast="table")
    for ours, plain in zip(foretold(world), foretold(table), strict=True):
        np.testing.assert_array_equal(ours, plain)


def test_a_bias_multiplies_all_forecasts_of_a_world_by_one_factor_that_is_drawn() -> None:
    plain, quantiles = foretold(drawn(forecast_bias=(0.0, 0.0)))
    factors = []
    for _ in range(2):
        moments, levels = foretold(drawn(forecast_bias=(-0.5, 0.5)))
        factors.append(float(moments.sum() / plain.sum()))
        np.testing.assert_allclose(moments, plain * factors[-1], rtol=1e-5)
        np.testing.assert_allclose(levels, quantiles * factors[-1], rtol=1e-5)
    assert factors[0] == factors[1]
    assert 0.5 <= factors[0] <= 1.5
    assert abs(factors[0] - 1.0) > 0.01
    np.testing.assert_allclose(foretold(drawn(forecast_bias=(0.3, 0.3)))[0], plain * 1.3, rtol=1e-5)


def test_noise_is_an_error_of_each_application_and_tick_with_the_spread_that_is_drawn() -> None:
    plain, quantiles = foretold(drawn(forecast_bias=(0.0, 0.0)))
    moments, levels = foretold(drawn(forecast_noise=(0.2, 0.2)))
    there = plain[:, 0, :, 0, 0] > 0.0  # (ticks, n_rows)
    factors = np.divide(moments[:, 0, :, 0, 0], plain[:, 0, :, 0, 0], out=np.ones(there.shape), where=there)
    np.testing.assert_allclose(moments, plain * factors[:, None, :, None, None], rtol=1e-5)
    np.testing.assert_allclose(levels, quantiles * factors[:, :, None, None, None], rtol=1e-5)
    errors = np.log(factors[there])
    assert len(np.unique(errors)) > 0.99 * errors.size > 300
    assert errors.std() == pytest.approx(0.2, rel=0.15)
    assert np.exp(errors).mean() == pytest.approx(1.0, abs=0.04)


def test_the_same_seed_errs_alike_and_another_otherwise() -> None:
    ranges = {"forecast_bias": (-0.3, 0.3), "forecast_noise": (0.1, 0.5)}
    first, again = (foretold(drawn(**ranges)) for _ in range(2))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    factors = []
    for seed in (2, 3):
        plain, biased = (
            foretold(drawn(seed, forecast_bias=bounds))[0] for bounds in ((0.0, 0.0), ranges["forecast_bias"])
        )
        factors.append(float(biased.sum() / plain.sum()))
    assert abs(factors[0] - factors[1]) > 0.01


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_a_batch_sees_them_where_its_candidates_window_leans_on_forecasts(weight: float) -> None:
    window = replace(DEFAULT.window, forecast=weight)
    decision = Decision(candidates=DEFAULT.model_copy(update={"window": window}), placed=True)
    seen = []
    for bias in (0.0, 2.0):
        batch = Batch([drawn(forecast_bias=(bias, bias))], 1, decision)
        batch.reset(0)
        for _ in range(5):
            last = batch.step(np.zeros(1, int)).copy()
        seen.append(last)
    assert np.array_equal(*seen) == (weight == 0.0)


def test_components_act_on_forecasts_that_are_off() -> None:
    wanted = []
    for bias in (0.0, 3.0):
        world = drawn(forecast_bias=(bias, bias))
        world.schedule()
        world.advance()
        wanted.append(wanted_by(world.observe(), 12, 2.0))
    assert wanted[1] == pytest.approx(4.0 * wanted[0], rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hosts": (5, 2)}, "hosts: expected 1 <= least <= most"),
        ({"schedulers": ()}, "schedulers: expected at least one, got none"),
        ({"fill": (0.0, 0.5)}, "fill: expected"),
        ({"forecast_bias": (-1.5, 0.0)}, "forecast_bias: expected -1 <= least <= most <= 10, got"),
        ({"forecast_bias": (0.2, 0.1)}, "forecast_bias: expected"),
        ({"forecast_noise": (-0.1, 0.5)}, "forecast_noise: expected 0 <= least <= most <= 3, got"),
        ({"forecast_noise": (0.0, float("inf"))}, "forecast_noise: expected"),
        ({"forecast_noise": (float("nan"), 0.5)}, "forecast_noise: expected"),
    ],
)
def test_an_empty_range_is_refused_in_one_line(changes: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Sampling(**changes)
