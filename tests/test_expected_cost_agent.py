from dataclasses import replace

import numpy as np
import pytest

from foreshade.agents.baselines.expected_cost import TUNED, ExpectedCost
from foreshade.envs.model.action import ActionKind, Plan, PowerTarget
from foreshade.envs.model.state import HostState
from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import site_of
from foreshade.envs.workloads.generator import generate
from tests.packer_world import HOST_MHZ, tiny_world

EAGER = replace(
    TUNED, reserve=0.0, boot_weight=0.0, grace_s=0.0, window=replace(TUNED.window, prior_ticks=0.0)
)


def started(world, agent, ticks=1):
    """The world's own scheduler spreads the VMs; then the agent takes over."""
    for _ in range(ticks):
        world.observe()
        world.advance()
    agent.reset(site_of(world, 0))
    return world.observe()


def of_kind(actions, kind):
    return [a for a in actions if a.kind == kind]


def test_a_host_of_small_vms_is_drained_and_then_switched_off():
    world = tiny_world(2, [[500.0] * 8] * 4)
    agent = ExpectedCost(EAGER)
    state = started(world, agent)
    host = state.vms.host[:4].tolist()
    assert sorted(host) == [0, 0, 1, 1]
    actions = agent.act(state)
    moved = {(a.vm, a.host) for a in actions}
    leaving = host[next(iter(moved))[0]]
    assert {a.kind for a in actions} == {ActionKind.MIGRATE}
    assert moved == {(vm, 1 - leaving) for vm in range(4) if host[vm] == leaving}
    assert all(o.accepted for o in world.execute(Plan(state.tick, actions)))
    world.advance()
    state = world.observe()
    actions = agent.act(state)
    off = [(a.kind, a.host, a.value) for a in actions]
    assert off == [(ActionKind.POWER, leaving, float(PowerTarget.OFF))]


def test_hosts_whose_load_does_not_fit_one_are_left_as_they_are():
    world = tiny_world(2, [[5500.0] * 6] * 6)
    agent = ExpectedCost(EAGER)
    state = started(world, agent)
    assert not agent.act(state)


def test_an_overloaded_host_gives_vms_to_the_one_with_room():
    # first-fit puts all six on host 0, which they overload by half; host 1 stands empty.
    world = tiny_world(2, [[6000.0] * 6] * 6, scheduler="first-fit")
    agent = ExpectedCost(EAGER)
    state = started(world, agent)
    assert set(state.vms.host[:6].tolist()) == {0}
    actions = of_kind(agent.act(state), ActionKind.MIGRATE)
    assert {a.host for a in actions} == {1}
    assert len(actions) == 3
    assert all(o.accepted for o in world.execute(Plan(state.tick, actions)))
    world.advance()
    world.advance()
    usage = world.observe().hosts.usage[:, 0]
    assert bool((usage < HOST_MHZ).all())


def test_others_make_room_for_a_vm_that_fits_nowhere_while_no_host_is_off():
    # Two of 30,000 MiB on each of two hosts of 128 GiB: 80,000 fit where one of them has left.
    world = tiny_world(2, [[500.0] * 8] * 5, memory_mib=[30_000.0] * 4 + [80_000.0], arrival=[0] * 4 + [2])
    agent = ExpectedCost(replace(EAGER, drain_hosts=0))
    state = started(world, agent, ticks=2)
    host = state.vms.host[:4].tolist()
    assert sorted(host) == [0, 0, 1, 1]
    assert state.vms.host[4] == -1
    moves = agent.act(state)
    assert [(a.kind, a.host) for a in moves] == [(ActionKind.MIGRATE, 1 - host[moves[0].vm])]
    assert all(o.accepted for o in world.execute(Plan(state.tick, moves)))
    world.advance()
    state = world.observe()
    (placed,) = agent.act(state)
    assert (placed.kind, placed.vm, placed.host) == (ActionKind.SPAWN, 4, host[moves[0].vm])


def test_a_vm_that_finds_no_room_wakes_a_host():
    world = tiny_world(2, [[500.0] * 8] * 3, memory_mib=60_000.0, arrival=[0, 0, 4])
    agent = ExpectedCost(EAGER)
    agent.reset(site_of(world, 0))
    seen = []
    while not world.done:
        state = world.observe()
        actions = agent.act(state)
        seen.append([(a.kind, a.vm, a.host, a.value) for a in of_kind(actions, ActionKind.POWER)])
        assert all(o.accepted for o in world.execute(Plan(state.tick, actions)))
        world.advance()
    off = [a for row in seen[:4] for a in row]
    assert len(off) == 1
    assert off[0][3] == float(PowerTarget.OFF)
    assert seen[4] == [(ActionKind.POWER, -1, off[0][2], float(PowerTarget.ON))]
    state = world.observe()
    assert state.vms.host[2] == off[0][2]


def test_without_power_actions_nothing_is_switched_and_vms_still_move():
    world = tiny_world(2, [[500.0] * 8] * 4, actions=("migrate",))
    agent = ExpectedCost(EAGER)
    state = started(world, agent)
    actions = agent.act(state)
    assert {a.kind for a in actions} == {ActionKind.MIGRATE}
    world.execute(Plan(state.tick, actions))
    world.advance()
    assert not agent.act(world.observe())


@pytest.mark.parametrize("seed", [100, 102])
def test_the_fullest_host_is_less_full_when_unmet_demand_costs_more(seed):
    rng = np.random.default_rng(seed)
    cpu = [[float(x)] * 3 for x in rng.uniform(500.0, 4000.0, 24)]
    fullest = []
    for factor in (1.0, 10.0, 100.0, 1000.0):
        world = tiny_world(8, cpu, memory_mib=4096.0)
        agent = ExpectedCost(EAGER)
        site = site_of(world, 0)
        economy = replace(
            site.economy, unmet_usd_h=tuple(factor * x for x in site.economy.unmet_usd_h), late_usd_mhz_h=0.0
        )
        state = started(world, agent)
        agent.reset(replace(site, economy=economy))
        host = state.vms.host[:24].copy()
        for a in of_kind(agent.act(state), ActionKind.MIGRATE):
            host[a.vm] = a.host
        load = np.bincount(host, weights=[row[0] for row in cpu], minlength=8)
        fullest.append(float(load.max()))
    # Greedy is not monotone step by step; from the cheapest price to the dearest it must be.
    assert fullest[-1] < fullest[0]


@pytest.fixture(scope="module")
def enterprise():
    return load_scenario("enterprise"), generate("enterprise", days=1, seed=105)


def played(enterprise, agent):
    scenario, workload = enterprise
    world = SimulatedWorld(scenario.model_copy(update={"days": 1.0}), workload, 3)
    agent.reset(site_of(world, 3))
    plans = []
    while not world.done:
        state = world.observe()
        actions = agent.act(state)
        for action in actions:
            off = action.kind == ActionKind.POWER and action.host >= 0 and action.value == PowerTarget.OFF
            if off:
                assert state.hosts.state[action.host] == HostState.ON
                assert state.hosts.n_vms[action.host] + state.hosts.arriving[action.host] == 0
        plans.append(tuple(actions))
        world.execute(Plan(state.tick, actions))
        world.advance()
    return plans, world.metrics()


def test_a_day_of_a_site_passes_without_a_refused_action(enterprise):
    _, metrics = played(enterprise, ExpectedCost())
    assert metrics.counts["refused"] == 0
    assert metrics.migrations > 0


def test_the_same_world_gives_the_same_plans(enterprise):
    first, _ = played(enterprise, ExpectedCost())
    second, _ = played(enterprise, ExpectedCost())
    assert first == second


def test_hosts_are_drained_though_there_are_more_than_are_looked_at():
    world = tiny_world(12, [[500.0] * 4] * 12)
    agent = ExpectedCost(replace(EAGER, drain_hosts=1, drain_trials=1))
    state = started(world, agent)
    assert len(set(state.vms.host[:12].tolist())) == 12
    moved = of_kind(agent.act(state), ActionKind.MIGRATE)
    assert len(moved) == 1
