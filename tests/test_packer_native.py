"""The native packer decides as the plain-Python one, action by action, over whole days."""

from dataclasses import replace
from functools import cache

import pytest

from foreshade import _core
from foreshade.agents.baselines import expected_cost, n_sigma
from foreshade.agents.baselines.expected_cost import cost_prices
from foreshade.agents.baselines.packer import Packer
from foreshade.agents.cloudsim_episode import _site as cloudsim_site
from foreshade.agents.site import native_site, site_of
from foreshade.envs.cloudsim import CloudSimWorld
from foreshade.envs.model.action import Action, ActionKind, Plan
from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.workloads.planetlab import read_planetlab_percent
from foreshade.envs.workloads.spec import load_workload, stored

KNOBS = {
    "expected-cost start": expected_cost.START,
    "expected-cost": expected_cost.TUNED,
    "n-sigma start": n_sigma.START,
    "n-sigma": n_sigma.TUNED,
    "n-sigma fullest": replace(n_sigma.TUNED, fullest=True, racks=False, failover=0.0),
}


def native_packer(site, knobs):
    native = _core.PackerKnobs()
    window = _core.WindowKnobs()
    for name in knobs.window.__slots__:
        setattr(window, name, getattr(knobs.window, name))
    native.window = window
    for name in knobs.__slots__:
        if name not in ("window", "z"):
            setattr(native, name, getattr(knobs, name))
    native.peaks, native.z = knobs.z is not None, knobs.z or 0.0
    return _core.Packer(native_site(site), native)


def play_both(world, site, knobs, ticks):
    prices = _core.CostPrices() if knobs.z is not None else cost_prices(site, knobs.sigma_scale)
    plain, native = Packer(knobs, prices, site), native_packer(site, knobs)
    seen = 0
    for _ in range(ticks):
        if world.done:
            break
        state = world.observe()
        wanted = list(plain.plan(state))
        native.observe(state)
        got = [
            Action(ActionKind(kind), vm=vm, host=host, rack=rack, value=value, reason=why)
            for kind, vm, host, rack, value, why in native.plan(state)
        ]
        assert got == wanted, f"tick {state.tick}"
        seen += len(wanted)
        world.execute(Plan(state.tick, wanted))
        world.advance()
    return seen


NO_POWER, NO_MOVES = {"actions": ("migrate",)}, {"actions": ("power",)}


def failing(scenario):
    """Ten times as many failures, most of them foreseen."""
    return {"failures": scenario.failures.model_copy(update={"mtbf_h": 72.0, "recall": 0.9})}


CASES = {
    "enterprise": lambda scenario: {"days": 1.0},
    "enterprise failing": lambda scenario: {"days": 1.0, **failing(scenario)},
    "enterprise without power": lambda scenario: {"days": 1.0, **NO_POWER},
    "planetlab": lambda scenario: {},
    "planetlab without power": lambda scenario: NO_POWER,
    "planetlab without moves": lambda scenario: NO_MOVES,
    "bitbrains": lambda scenario: {"days": 2.0},
}


@cache
def workload_of(name):
    if name == "enterprise":
        return load_workload("generated:enterprise", days=1, seed=101)
    return load_workload("planetlab", day="20110309") if name == "planetlab" else load_workload("bitbrains", vms=125)


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("knobs", KNOBS)
def test_both_plan_the_same_actions(case, knobs, spread):
    name = case.partition(" ")[0]
    scenario = load_scenario(name)
    world = SimulatedWorld(scenario.model_copy(update=CASES[case](scenario)), workload_of(name), 101)
    if spread:
        world.observe()
        world.advance()
    # Where the world's scheduler has spread PlanetLab's VMs, nothing may pay all day.
    assert play_both(world, site_of(world, 0), KNOBS[knobs], 600) > 0 or spread


@pytest.mark.parametrize("knobs", KNOBS)
def test_both_plan_the_same_under_cloudsims_rules(knobs):
    day = read_planetlab_percent(f"{stored('planetlab')}/20110309")
    scenario = load_scenario("cloudsim")
    world = CloudSimWorld(day.percent, day.names, variant="keepzero", hosts=scenario.n_hosts)
    assert play_both(world, cloudsim_site(scenario, world, 0), KNOBS[knobs], 40) > 0
