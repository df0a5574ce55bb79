"""Sums of hosts, racks, zones and the site are series of their own, and follow the VMs that move."""

from __future__ import annotations

import numpy as np
import pytest

from foreshade.envs.forecast.aggregates import AggregateForecaster, expected_before
from foreshade.envs.forecast.forecaster import EngineConfig, NativeForecaster
from tests.worlds import DESPAWN, MIGRATE, SPAWN, App, Native, data_centre, host, rack, workload

FLAVOUR = [4_000.0, 2_048.0, 100.0, 100.0, 0.0]
ALTERNATING = np.tile([[3_000.0, 600.0, 4.0, 8.0], [1_000.0, 600.0, 4.0, 8.0]], (20, 1))


def two_hosts() -> tuple[Native, AggregateForecaster]:
    """VMs 0 and 1 on host 0 in turns busy, VM 2 steady on host 1; each host has a rack and a zone."""
    apps = [App(ALTERNATING), App(ALTERNATING[[1, 0] * 20]), App([500.0, 100.0, 1.0, 1.0])]
    limit = [2.0, 1.0, 4.0, 4.0, 1.0]
    dc = data_centre(
        40,
        [host(overcommit=limit), host(overcommit=limit, rack=1)],
        racks=[rack(zone=0), rack(zone=1)],
        spare_slots=1,
    )
    world = Native(dc, workload(40, apps, [(a, FLAVOUR) for a in range(3)]))
    for vm, place in ((0, 0), (1, 0), (2, 1)):
        world.must(kind=SPAWN, vm=vm, host=place)
    return world, AggregateForecaster()


def play(world: Native, sums: AggregateForecaster, ticks: int) -> None:
    for _ in range(ticks):
        world.tick()
        sums.update(world.look())


def test_a_sum_is_steadier_than_its_members() -> None:
    world, sums = two_hosts()
    play(world, sums, 30)
    said = sums.forecast("host")
    assert said.quantiles.shape == (2, 4, 4, 7)
    np.testing.assert_allclose(said.moments[:, 0, 0, 0], [4_000, 500], rtol=1e-3)
    assert said.moments[0, 0, 0, 1] < 40  # each member swings by 1,000 around 2,000
    np.testing.assert_allclose(said.moments[:, 1, 0, 0], [1_200, 100], rtol=1e-3)


def test_the_site_is_forecast_like_any_series() -> None:
    world, sums = two_hosts()
    alone = NativeForecaster(4, EngineConfig())
    for _ in range(12):
        world.tick()
        state = world.look()
        sums.update(state)
        alone.observe(state.vms.demand[:, :4].sum(axis=0))
    np.testing.assert_array_equal(sums.forecast("site").quantiles[0], alone.predict())


def test_a_host_is_forecast_with_the_vms_that_came_and_without_those_that_left() -> None:
    world, sums = two_hosts()
    play(world, sums, 20)
    world.must(kind=MIGRATE, vm=2, host=0)
    play(world, sums, 1)
    assert world.look().vms.host[2] == 0
    for kind in ("host", "rack", "zone"):
        moments = sums.forecast(kind).moments
        np.testing.assert_allclose(moments[:2, 0, 0, 0], [4_500, 0], atol=10)
        assert moments[0, 0, 0, 1] < 100  # the step is the VM's past, not the host's surprise
    assert sums.forecast("site").moments[0, 0, 0, 0] == pytest.approx(4_500, rel=1e-2)


def test_a_slot_taken_over_by_another_vm_has_no_past() -> None:
    world, sums = two_hosts()
    play(world, sums, 10)
    first = world.must(kind=SPAWN, app=0, host=1, allocation=FLAVOUR)
    play(world, sums, 5)
    with_member = sums.forecast("host").moments[1, 0, 0, 0]
    assert with_member > 1_000  # half of application 0
    world.must(kind=DESPAWN, vm=first)
    play(world, sums, 2)
    second = world.must(kind=SPAWN, app=2, host=1, allocation=FLAVOUR)
    play(world, sums, 2)
    assert second == first
    assert sums.forecast("host").moments[1, 0, 0, 0] == pytest.approx(
        500, rel=0.1
    )  # not the 1,000 of its predecessor on top


def test_history_is_bounded() -> None:
    world, _ = two_hosts()
    sums = AggregateForecaster(history_ticks=5)
    play(world, sums, 12)
    assert sums._history.shape == (5, 4, 4)


def test_another_kind_is_refused() -> None:
    world, sums = two_hosts()
    with pytest.raises(KeyError):
        sums.forecast("host")
    play(world, sums, 1)
    with pytest.raises(KeyError):
        sums.forecast("galaxy")


def test_what_was_expected_of_a_recorded_sum_knows_only_what_lay_an_hour_before() -> None:
    values = 1_000.0 + 200.0 * np.sin(np.arange(80) / 5)
    changed = np.concatenate([values[:50], values[50:] * 3])
    one, two = expected_before(values, 300.0), expected_before(changed, 300.0)
    assert np.isnan(one[:12]).all()
    assert np.isfinite(one[12:]).all()
    np.testing.assert_array_equal(one[: 50 + 12], two[: 50 + 12])
    assert two[50 + 12] > 1.02 * one[50 + 12]
    assert np.isnan(expected_before(values[:12], 300.0)).all()
