"""The whole layout at once: where idle hosts are off, most hosts are emptied in the first tick."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foreshade.agents.agent import Agent
from foreshade.agents.baselines.expected_cost import ExpectedCost
from foreshade.agents.cloudsim_episode import cloudsim_site, cloudsim_world
from foreshade.agents.ham.agent import Ham
from foreshade.agents.rules.rules import Rules, load_rules
from foreshade.envs.model.action import ActionKind, Plan
from foreshade.envs.packers import EXPECTED_COST, IDLE_IS_OFF, PackerKnobs
from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.scenarios.schema import CloudSimRules
from foreshade.envs.workloads.planetlab import PercentDay

SCENARIO = load_scenario("cloudsim", "keepzero")
VMS = 160


def day(seed: int) -> PercentDay:
    """VMs that scatter around levels of their own, as PlanetLab's do."""
    random = np.random.default_rng(seed)
    level = random.gamma(1.0, 0.11, VMS)[:, None].clip(0.01, 0.8)
    percent = 100 * (level + (0.02 + 0.4 * level) * random.standard_normal((VMS, 288)))
    return PercentDay("made", tuple(f"vm{i:03d}" for i in range(VMS)), percent.clip(0, 100).astype(np.uint8))


def played(agent: Agent, of: PercentDay, ticks: int = 288, **prices: float):
    """The world after so many ticks, and the moves of each."""
    scenario = SCENARIO.model_copy(update={"cloudsim": CloudSimRules(**prices)})
    world = cloudsim_world(scenario, of)
    agent.reset(cloudsim_site(scenario, world, 0))
    moves = []
    for _ in range(ticks):
        if world.done:
            break
        state = world.observe()
        actions = agent.act(state)
        moves.append([a.vm for a in actions if a.kind is ActionKind.MIGRATE])
        assert all(outcome.accepted for outcome in world.execute(Plan(state.tick, actions)))
        world.advance()
    return world, moves


def test_one_tick_lays_out_what_draining_needs_many_for():
    made = day(1)
    world, moves = played(Rules(), made, 2)
    other, _ = played(ExpectedCost(), made, 2)
    assert len(set(moves[0])) == len(moves[0])  # no VM moves twice
    on = int((np.asarray(world.observe().hosts.n_vms) > 0).sum())
    assert on < 20
    assert on < int((np.asarray(other.observe().hosts.n_vms) > 0).sum()) / 2


@pytest.mark.parametrize("seed", [2, 3])
def test_a_day_takes_about_a_move_for_each_vm_and_serves_its_demand(seed: int):
    made = day(seed)
    world, moves = played(Rules(), made)
    baseline, others = played(ExpectedCost(), made)
    assert sum(map(len, moves)) < 1.25 * VMS
    assert sum(map(len, moves)) < 0.5 * sum(map(len, others))
    assert world.metrics().energy_kwh < baseline.metrics().energy_kwh
    assert world.metrics().unmet_demand < 0.002


def test_cheaper_unmet_demand_saves_hosts_and_cheaper_migrations_make_more_of_them():
    made = day(4)
    plain = played(Rules(), made)[0].metrics()
    careless = played(Rules(), made, unmet_kwh=100.0)[0].metrics()
    restless = played(Rules(), made, migration_kwh=1e-5)[0].metrics()
    assert careless.unmet_demand > plain.unmet_demand
    assert careless.energy_kwh < plain.energy_kwh
    assert restless.migrations > plain.migrations


def test_a_host_that_is_short_now_is_relieved_at_once():
    percent = np.full((VMS, 288), 12, np.uint8)  # nothing ever happens,
    names = tuple(f"vm{i:03d}" for i in range(VMS))
    world, _ = played(ExpectedCost(IDLE_IS_OFF), PercentDay("calm", names, percent), 20)
    state = world.observe()
    at = np.asarray(state.vms.host)
    crowd = np.flatnonzero(at == np.bincount(at, weights=np.asarray(state.vms.allocation)[:, 0]).argmax())
    percent[crowd, 20] = 100  # but for one tick in which a host's VMs want all they can get
    burst = PercentDay("burst", names, percent)
    world, moves = played(ExpectedCost(IDLE_IS_OFF), burst, 20)
    other, none = played(ExpectedCost(replace(IDLE_IS_OFF, acute_weight=0.0)), burst, 20)
    assert not any(moves[1:19] + none[1:19])
    assert len(set(moves[19]) & set(crowd.tolist())) > len(none[19])
    assert 0.0 < world.metrics().unmet_demand < 0.3 * other.metrics().unmet_demand


def test_a_rule_file_holds_on_this_site_too(tmp_path: Path):
    own = tmp_path / "own.yaml"
    own.write_text(
        "preferred: []\nplans: [{name: mine, preferred: true, eager: true, packer: {sigma_scale: 2}}]\n"
    )
    made = day(7)
    mine = played(Rules(load_rules(own)), made, 12)[1]
    assert (
        mine == played(ExpectedCost(PackerKnobs(sigma_scale=2.0, window=EXPECTED_COST.window)), made, 12)[1]
    )
    assert mine != played(Rules(), made, 12)[1]


def test_ham_hands_over_to_the_rules_where_it_was_not_trained():
    made = day(5)
    ham = Ham()
    assert played(ham, made, 24)[1] == played(Rules(), made, 24)[1]
    assert set(ham.tally.summary().doubts) == {"another kind of world than it was trained on"}
