"""Jobs that wait: each runs as it was, later, in time and for less, and never more together than before."""

from __future__ import annotations

import numpy as np
import pytest

from foreshade.envs.errors import InputError
from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.scenarios.what_if import what_if
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.workloads.deferred import deferred
from foreshade.envs.workloads.generator import generate
from foreshade.envs.workloads.workload import Workload

DAY = 288
USD = np.where(np.arange(2 * DAY) % DAY < 96, 0.1, 0.2)  # cheap from midnight to eight


def load() -> Workload:
    return generate("daily", vms="60", short="0.4", days="2", seed="4")


def lives(of: Workload, vm: int) -> np.ndarray:
    """(duration, 4) what a job wants while it is there."""
    return of.demand[of.vms.arrival_tick[vm] : of.vms.departure_tick[vm], of.apps.series[of.vms.app[vm]]]


def together(of: Workload, jobs: list[int]) -> np.ndarray:
    out = np.zeros(of.n_ticks)
    for vm in jobs:
        out[of.vms.arrival_tick[vm] : of.vms.departure_tick[vm]] += of.vms.flavour[vm, 0]
    return out


def test_jobs_run_as_they_were_later_and_in_time_and_cheaper() -> None:
    before = load()
    after = deferred(before, USD, 10.0)
    moved = np.flatnonzero(after.vms.arrival_tick != before.vms.arrival_tick)
    assert len(moved) > 20
    for vm in moved.tolist():
        np.testing.assert_array_equal(lives(after, vm), lives(before, vm))
        assert 0 < after.vms.departure_tick[vm] - before.vms.departure_tick[vm] <= 120
    assert after.demand.sum() == pytest.approx(before.demand.sum(), rel=1e-6)
    wants = [load_.demand[:, :, 0].sum(axis=1) for load_ in (before, after)]
    assert wants[1] @ USD < 0.99 * (wants[0] @ USD)
    stays = [vm for vm in range(len(before.vms)) if before.apps.kind[before.vms.app[vm]] != "short"]
    assert not set(stays) & set(moved.tolist())


def test_never_more_jobs_run_together_than_when_nobody_waited() -> None:
    before = load()
    after = deferred(before, USD, 24.0)
    jobs = [vm for vm in range(len(before.vms)) if before.apps.kind[before.vms.app[vm]] == "short"]
    there = [vm for vm in jobs if before.vms.arrival_tick[vm] > 0]
    assert together(after, there).max() <= 1.1 * together(before, jobs).max()


def test_without_slack_or_jobs_a_workload_is_itself() -> None:
    before = load()
    assert deferred(before, USD, 0.0) is before
    assert deferred(before, USD, 8.0, kinds=("batch",)) is before


def test_a_simulated_site_pays_less_for_power_when_jobs_wait() -> None:
    scenario = load_scenario("jobs").model_copy(update={"days": 2.0})
    changed = what_if(scenario, "defer=10")
    spent = []
    for said, played in ((scenario, load()), (changed.scenario, changed.workload(load()))):
        world = SimulatedWorld(said, played)
        while not world.done:
            world.advance()
        spent.append(world.metrics())
    power = [m.cost_terms["energy"] + m.cost_terms.get("carbon", 0.0) for m in spent]
    assert power[1] < power[0]
    assert spent[1].unmet_demand <= spent[0].unmet_demand + 1e-6


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("defer=soon", "expected hours, found 'soon'"),
        ("defer=-1", "greater than or equal to 0"),
        ("defer=2,defer=3", "expected a scenario whose jobs do not wait, found 2 h"),
    ],
)
def test_a_bad_wait_is_refused_in_one_line(said: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        what_if(load_scenario("jobs"), said)
