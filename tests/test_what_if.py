"""Changes laid over a scenario: what they do to the fleet, prices and demand, and how they are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foreshade.adapters.app.evaluate import evaluate
from foreshade.adapters.app.report import write_report
from foreshade.adapters.app.what_if import changes, to_rows
from foreshade.agents.baselines.registry import make_agent
from foreshade.agents.episode import play
from foreshade.envs.errors import InputError
from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.scenarios.what_if import what_if
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.workloads.spec import load_workload
from tests.runs import run
from tests.tiny_world import workload


def hosts_of(scenario: Scenario) -> list[tuple[int, str]]:
    """Rack and server of every host of our own, in the order of their numbers."""
    found, rack = [], 0
    for group in scenario.fleet:
        for _ in range(group.racks):
            found += [(rack, h.server) for h in group.hosts for _ in range(h.count)]
            rack += 1
    return found


def test_hosts_that_are_added_stand_at_the_end_of_the_last_rack() -> None:
    plain = load_scenario("enterprise")
    changed = what_if(plain, "host+2").scenario
    assert hosts_of(changed) == [*hosts_of(plain), (3, "hpe-ml30-gen11"), (3, "hpe-ml30-gen11")]
    assert changed.maintenance == plain.maintenance
    named = what_if(plain, "host:hpe-dl345-gen10plus+1").scenario
    assert hosts_of(named) == [*hosts_of(plain), (3, "hpe-dl345-gen10plus")]


def test_hosts_are_removed_from_the_end_and_windows_follow_their_machine() -> None:
    plain = load_scenario("enterprise")
    racks = {
        "maintenance": ({"host": 17, "start_h": 1.0, "hours": 1.0}, {"rack": 3, "start_h": 2.0, "hours": 1.0})
    }
    plain = Scenario.model_validate({**plain.model_dump(exclude_unset=True), **racks})
    assert hosts_of(plain)[13] == (2, "hpe-ml350-gen11-8xl4")
    changed = what_if(plain, "host:hpe-ml350-gen11-8xl4-1").scenario
    assert hosts_of(changed) == hosts_of(plain)[:17]
    assert [(w.host, w.rack) for w in changed.maintenance] == [(None, 3)]
    fewer = what_if(plain, "host-8").scenario  # of ten ML30, the last eight
    assert [name for _, name in hosts_of(fewer)].count("hpe-ml30-gen11") == 2
    assert [(w.host, w.rack) for w in fewer.maintenance] == [(9, None), (None, 3)]


def test_a_rack_whose_last_host_goes_goes_with_its_windows() -> None:
    plain = load_scenario("planetlab")
    said = {
        "maintenance": ({"rack": 2, "start_h": 1.0, "hours": 1.0}, {"rack": 0, "start_h": 1.0, "hours": 1.0})
    }
    plain = Scenario.model_validate({**plain.model_dump(exclude_unset=True), **said})
    changed = what_if(plain, "host-8").scenario
    assert changed.n_racks == 2
    assert [w.rack for w in changed.maintenance] == [0]


def test_prices_are_changed_by_their_path_and_the_others_stay() -> None:
    plain = load_scenario("enterprise")
    said = "price.electricity=0.2,price.unmet.cpu_usd_per_ghz_h=0.5,price.spot=0.03,price.grid=ciso"
    changed = what_if(plain, said).scenario
    assert changed.prices.electricity == 0.2
    assert changed.prices.grid == "ciso"
    assert changed.prices.unmet.cpu_usd_per_ghz_h == 0.5
    assert changed.prices.unmet.gpu_usd_per_gpu_h == plain.prices.unmet.gpu_usd_per_gpu_h
    assert changed.prices.carbon_usd_per_t == plain.prices.carbon_usd_per_t
    assert {group.price_usd_h for group in changed.rented} == {0.03}
    assert changed.fleet == plain.fleet


def test_factors_of_demand_multiply_and_allocations_stay() -> None:
    played = workload([100.0, 50.0])
    changed = what_if(load_scenario("enterprise"), "demand*1.5,demand×2").workload(played)
    assert np.array_equal(changed.demand, played.demand * np.float32(3))
    assert np.array_equal(changed.vms.flavour, played.vms.flavour)


def test_what_comes_and_goes_again_changes_no_digit() -> None:
    """Racks are written out one by one under a change of hosts; the world must be the same."""
    plain = load_scenario("enterprise").model_copy(update={"days": None, "ticks": 48})
    there_and_back = what_if(plain, "host:hpe-ml350-gen11-8xl4+1,host:hpe-ml350-gen11-8xl4-1").scenario
    assert there_and_back.fleet != plain.fleet
    played = load_workload("generated:enterprise?vms=120&days=1")
    for agent in ("dvfs", "expected-cost"):
        one = play(SimulatedWorld(plain, played, 3), make_agent(agent), 3)
        other = play(SimulatedWorld(there_and_back, played, 3), make_agent(agent), 3)
        assert one.cost_terms == other.cost_terms


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", "expected host+N"),
        ("host+2,,host+1", "--what-if '': expected host+N"),
        ("host", "expected host+N"),
        ("host+0", "expected 1 to 100,000 hosts, found 0"),
        ("host-11", "expected at most 10 hosts hpe-ml30-gen11 to remove, found 11"),
        ("host:toaster+1", "found 'toaster'"),
        ("price.sun=1", "expected one of boot_usd"),
        ("price.unmet=1", "expected price.unmet.KEY"),
        ("price.pue.x=1", "expected price.pue alone"),
        ("price.pue=0.5", "expected greater than or equal to 1, found 0.5"),
        ("price.spot=-1", "expected greater than 0, found -1.0"),
        ("price.electricity=nan", "finite number"),
        ("price.electricity=moon", "unknown tariff 'moon'"),
        ("demand*0", "expected a factor above 0, found '0'"),
        ("demand*lots", "found 'lots'"),
    ],
)
def test_what_cannot_be_changed_is_one_line(said: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        what_if(load_scenario("enterprise"), said)
    assert str(caught.value).startswith("--what-if '")
    assert "\n" not in str(caught.value)
    assert expected in str(caught.value)


def test_spot_needs_rented_hosts_and_demand_the_honest_engine() -> None:
    with pytest.raises(InputError, match="expected a scenario with rented hosts, found none in planetlab"):
        what_if(load_scenario("planetlab"), "price.spot=0.03")
    with pytest.raises(InputError, match="expected the engine foreshade, found cloudsim"):
        what_if(load_scenario("cloudsim"), "demand*2")
    with pytest.raises(InputError, match="expected a host to stay"):
        what_if(load_scenario("cloudsim"), "host:hp-ml110-g4-400,host:hp-ml110-g5-400")


def test_every_run_is_played_twice_and_the_difference_is_the_prices() -> None:
    plain = load_scenario("enterprise").model_copy(update={"days": None, "ticks": 24})
    changed = what_if(plain, "price.electricity=0")
    results = evaluate(
        plain, "generated:enterprise?vms=60", ["dvfs"], range(2), 1, lambda *_: None,
        forecast="none", changed=changed,
    )  # fmt: skip
    assert [(r.what_if, r.seed) for r in results] == [("", 0), ("", 1), (changed.said, 0), (changed.said, 1)]
    before, after = results[:2], results[2:]
    rows = {row["measure"]: row for row in json.loads(json.dumps(to_rows(results)))["differences"]}
    saved = [b.metrics.cost_terms["energy"] for b in before]
    assert rows["cost_usd"]["difference"] == pytest.approx(-sum(saved) / 2)
    assert rows["cost_usd"]["seeds"] == 2
    assert rows["cost_usd"]["half_width"] == pytest.approx(6.3531 * abs(saved[0] - saved[1]), rel=1e-4)
    assert [a.metrics.energy_kwh for a in after] == [b.metrics.energy_kwh for b in before]
    assert rows["energy_kwh"]["difference"] == 0.0


def test_without_a_change_nothing_is_compared() -> None:
    results = [run("a"), run("b")]
    assert changes(results) == ()
    assert to_rows(results) == {}
    lonely = [replace(run("a"), what_if="host+1")]
    assert changes(lonely) == ()


def test_the_report_shows_the_difference_beside_the_unchanged_run(tmp_path: Path) -> None:
    results = [run("a", seed, cost=20.0 + seed) for seed in (0, 1)]
    results += [replace(run("a", seed, cost=15.0 + seed), what_if="host+1") for seed in (0, 1)]
    page = write_report(results, tmp_path).read_text(encoding="utf-8")
    assert page.count("Changed minus unchanged") == 1
    assert "enterprise if host+1" in page
    assert "−5.00<small>± 0.00</small>" in page
