"""Hosts and racks going off, to sleep and on again, hired hosts, and the money of it; 300 s a tick."""

from __future__ import annotations

from typing import Any

import pytest

from foreshade import _core as core
from tests.worlds import POWER, RENT, App, Native, data_centre, filled, host, rack, server, workload

OFF, ON, SLEEP = 0.0, 1.0, 2.0
MACHINE = {
    "off_w": 8.0,
    "sleep_w": 12.0,
    "boot_w": 150.0,
    "boot_s": 180.0,
    "shutdown_s": 60.0,
    "sleep_enter_s": 10.0,
    "wake_s": 20.0,
}


def empty(n_ticks: int = 20, hosts: list[Any] | None = None, **values: Any) -> Native:
    """Machines without a VM until the last tick."""
    work = workload(n_ticks, [App([0, 0, 0, 0])], [(0, [1_000, 512, 0, 0, 0])], arrival=[n_ticks - 1])
    dc = data_centre(n_ticks, hosts or [host()], models=[server(**MACHINE)], **values)
    return Native(dc, work)


def joules(last: dict[str, Any], kind: str = "host") -> float:
    """Energy of a tick."""
    return float(last[f"{kind}_kwh"]) * 3.6e6


def test_a_host_that_shuts_down_draws_idle_power_until_it_is_off() -> None:
    world = empty()
    world.must(kind=POWER, host=0, value=OFF)
    last = world.tick()
    assert joules(last) == pytest.approx(60 * 100 + 240 * 8)
    assert (last["host_shutdowns"], last["on_s"]) == (1, 0)
    assert joules(world.tick()) == pytest.approx(300 * 8)


def test_a_host_that_boots_draws_boot_power_and_is_on_after_its_boot_time() -> None:
    world = empty(prices={"boot_usd": 0.25})
    world.must(kind=POWER, host=0, value=OFF)
    world.tick()
    world.must(kind=POWER, host=0, value=ON)
    last = world.tick()
    assert joules(last) == pytest.approx(180 * 150 + 120 * 100)
    assert (last["host_boots"], last["on_s"], last["cost"]["boot"]) == (1, 120, 0.25)
    assert world.look().hosts.since_s[0] == 120


def test_sleep_is_entered_and_left_faster_and_is_no_boot() -> None:
    world = empty(prices={"boot_usd": 0.25})
    world.must(kind=POWER, host=0, value=SLEEP)
    last = world.tick()
    assert joules(last) == pytest.approx(10 * 100 + 290 * 12)
    assert last["host_shutdowns"] == 1
    world.must(kind=POWER, host=0, value=ON)
    last = world.tick()
    assert joules(last) == pytest.approx(20 * 150 + 280 * 100)
    assert (last["host_boots"], last["cost"]["boot"]) == (0, 0)


def test_power_is_refused_where_the_host_cannot_go() -> None:
    world = empty(hosts=[host(), host(rented=True)])
    assert "cannot go there" in world.do(kind=POWER, host=0, value=ON)[0]
    assert "cannot go there" in world.do(kind=POWER, host=1, value=ON)[0]
    world.must(kind=POWER, host=0, value=OFF)
    assert "cannot go there" in world.do(kind=POWER, host=0, value=ON)[0]


def test_a_rack_draws_its_overhead_until_it_is_switched_off() -> None:
    world = empty(racks=[rack(overhead_w=90.0)])
    assert joules(world.tick(), "rack") == pytest.approx(90 * 300)
    assert "all off" in world.do(kind=POWER, rack=0, value=OFF)[0]
    world.must(kind=POWER, host=0, value=OFF)
    world.tick()
    world.must(kind=POWER, rack=0, value=OFF)
    assert "rack is switched off" in world.do(kind=POWER, host=0, value=ON)[0]
    assert joules(world.tick(), "rack") == 0


def test_hosts_of_a_rack_that_is_switched_on_boot_two_minutes_later() -> None:
    # 120 s for the rack + 180 s boot: boot power throughout, on at the end of the tick
    world = empty(racks=[rack(overhead_w=90.0)])
    world.must(kind=POWER, host=0, value=OFF)
    world.tick()
    world.must(kind=POWER, rack=0, value=OFF)
    world.tick()
    world.must(kind=POWER, rack=0, value=ON)
    world.must(kind=POWER, host=0, value=ON)
    last = world.tick()
    assert joules(last) == pytest.approx(300 * 150)
    assert joules(last, "rack") == pytest.approx(90 * 300)
    assert world.look().hosts.state[0] == 2
    assert world.state.hosts.since_s[0] == 0


def test_energy_costs_the_tariff_of_its_tick_and_carbon_its_price() -> None:
    # (100 + 50) W × 300 s × PUE 1.5 = 0.01875 kWh
    prices = {
        "electricity_usd_kwh": [0.1, 0.4] + [0.0] * 18, "carbon_g_kwh": [200.0, 500.0] + [0.0] * 18,
        "carbon_usd_per_t": 80.0, "pue": 1.5,
    }  # fmt: skip
    world = empty(racks=[rack(overhead_w=50.0)], prices=prices)
    for tariff, grams in ((0.1, 200), (0.4, 500)):
        cost = world.tick()["cost"]
        assert cost["energy"] == pytest.approx(0.01875 * tariff)
        assert cost["carbon"] == pytest.approx(0.01875 * grams * 1e-6 * 80)


def test_rent_is_charged_for_every_started_hour_and_the_power_is_the_providers() -> None:
    # ordered at 0, there at 77 s; hours start at 77 s and 3,677 s; given back at 3,900 s
    world = empty(hosts=[host(), host(rented=True, price_usd_h=0.7, provision_s=77.0)])
    world.must(kind=RENT, host=1, value=1.0)
    last = world.tick()
    assert joules(last) == pytest.approx(300 * 100)
    assert last["on_s"] == 300 + 223
    world.tick(11)
    assert world.sim.totals()["cost"]["rent"] == pytest.approx(0.7)
    world.tick()
    assert world.sim.totals()["cost"]["rent"] == pytest.approx(1.4)
    world.must(kind=RENT, host=1, value=0.0)
    world.tick(7)
    assert world.sim.totals()["cost"]["rent"] == pytest.approx(1.4)


def test_a_hired_host_goes_on_costing_rent_after_maintenance() -> None:
    window = filled(core.MaintenanceWindow, {"host": 1, "start_s": 400.0, "end_s": 500.0})
    world = empty(hosts=[host(), host(rented=True, price_usd_h=0.7, provision_s=77.0)], maintenance=[window])
    world.must(kind=RENT, host=1, value=1.0)
    world.tick(13)
    assert world.look().hosts.state[1] == 2
    assert world.sim.totals()["cost"]["rent"] == pytest.approx(1.4)


def test_a_host_that_nobody_hired_does_not_come_out_of_maintenance_for_free() -> None:
    window = filled(core.MaintenanceWindow, {"host": 1, "start_s": 400.0, "end_s": 500.0})
    world = empty(hosts=[host(), host(rented=True, price_usd_h=0.7)], maintenance=[window])
    world.tick(3)
    assert world.look().hosts.state[1] == 7


def test_only_cloud_hosts_can_be_hired() -> None:
    assert "can be rented" in empty().do(kind=RENT, host=0, value=1.0)[0]
