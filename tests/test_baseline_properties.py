"""What holds for every agent, on a short run of the enterprise scenario."""

from __future__ import annotations

import numpy as np
import pytest

from foreshade.agents.baselines.registry import agent_names, make_agent
from foreshade.envs.model.action import Action, ActionKind, Plan, PowerTarget
from foreshade.envs.model.state import HostState, VmState
from foreshade.envs.scenarios import load_scenario
from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import site_of
from foreshade.envs.workloads.generator import generate
from foreshade.envs.workloads.workload import Workload

LABELS = list(agent_names())
TICKS = 48


@pytest.fixture(scope="module")
def enterprise() -> tuple[Scenario, Workload]:
    scenario = load_scenario("enterprise").model_copy(update={"days": None, "ticks": TICKS})
    hastened = scenario.failures.model_copy(update={"mtbf_h": 8.0, "repair_h": 1.0})
    return scenario.model_copy(update={"failures": hastened}), generate("enterprise", days="1")


def run(label: str, enterprise: tuple[Scenario, Workload]) -> tuple[list[tuple[Action, ...]], SimulatedWorld]:
    """Play a run and check each tick that the world took every action and no host was overfilled."""
    agent = make_agent(label)
    world = SimulatedWorld(*enterprise, seed=1, power_managed=agent.power_managed)
    agent.reset(site_of(world, 0))
    played = []
    while not world.done:
        state = world.observe()
        hosts = state.hosts
        assert (hosts.allocated <= hosts.capacity * hosts.overcommit * (1.0 + 1e-5)).all()
        before, busy = hosts.state.copy(), state.vms.destination >= 0
        movable = (state.vms.state == VmState.RUNNING) & ~busy
        plan = Plan(state.tick, tuple(agent.act(state)))
        assert (hosts.state == before).all()  # the view is the world's own memory
        for action in plan.actions:
            if action.kind == ActionKind.MIGRATE:
                assert movable[action.vm]
            if action.kind == ActionKind.POWER and action.host >= 0 and action.value == PowerTarget.OFF:
                assert before[action.host] == HostState.ON
        refused = [o.error for o in world.execute(plan) if not o.accepted]
        assert refused == []
        played.append(plan.actions)
        world.advance()
    return played, world


@pytest.mark.parametrize("label", LABELS)
def test_every_action_is_taken_and_a_run_can_be_repeated(
    label: str, enterprise: tuple[Scenario, Workload]
) -> None:
    first, world = run(label, enterprise)
    second, again = run(label, enterprise)
    assert first == second
    assert world.metrics().counts["refused"] == 0
    assert world.metrics().counts["host_failures"] > 0  # or the run would not have tested restarts
    assert world.metrics().cost_usd == again.metrics().cost_usd
    if label not in ("npa", "dvfs"):
        assert any(first)


@pytest.mark.parametrize("label", LABELS)
def test_no_agent_rents(label: str, enterprise: tuple[Scenario, Workload]) -> None:
    scenario, work = enterprise
    agent = make_agent(label)
    world = SimulatedWorld(scenario, work)
    site = site_of(world, 0)
    agent.reset(site)
    for _ in range(3):
        state = world.observe()
        plan = Plan(state.tick, tuple(agent.act(state)))
        assert not any(site.rented[action.host] for action in plan.actions if action.host >= 0)
        world.execute(plan)
        world.advance()


@pytest.mark.parametrize("label", LABELS)
def test_agent_that_is_reset_plays_as_a_new_one(label: str, enterprise: tuple[Scenario, Workload]) -> None:
    agent = make_agent(label)
    runs = []
    for _ in range(2):
        world = SimulatedWorld(*enterprise)
        agent.reset(site_of(world, 0))
        actions = []
        for _ in range(16):
            state = world.observe()
            actions.append(tuple(agent.act(state)))
            world.execute(Plan(state.tick, actions[-1]))
            world.advance()
        runs.append(actions)
    assert runs[0] == runs[1]


def test_consolidation_saves_energy_and_serves_nearly_as_well(enterprise: tuple[Scenario, Workload]) -> None:
    scenario, work = enterprise
    calm = scenario.model_copy(update={"failures": scenario.failures.model_copy(update={"mtbf_h": None})})
    energy = {}
    unmet = {}
    for label in ("npa", "dvfs", "thr-mmt-0.8", "ilp"):
        metrics = run(label, (calm, work))[1].metrics()
        energy[label], unmet[label] = metrics.energy_kwh, metrics.unmet_demand
    assert energy["npa"] > 1.5 * energy["dvfs"]
    assert max(energy["thr-mmt-0.8"], energy["ilp"]) < 0.95 * energy["dvfs"]
    assert np.all(np.array([unmet["thr-mmt-0.8"], unmet["ilp"]]) < unmet["dvfs"] + 0.01)
