"""The rules: what they say is what they do, and without their own actions they are `expected-cost`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foreshade import _core
from foreshade.agents.agent import Agent
from foreshade.agents.baselines.expected_cost import ExpectedCost
from foreshade.agents.decisions import RULES as RULES_SAY
from foreshade.agents.decisions import Taken
from foreshade.agents.ham.agent import Ham
from foreshade.agents.ham.frozen import FrozenPolicy
from foreshade.agents.ham.frozen_network import ActorShape
from foreshade.agents.rules.rules import Decider, Rules, load_rules
from foreshade.envs.candidates import DEFAULT, PLACEMENT, RULES, CandidateKnobs, Sizing
from foreshade.envs.errors import InputError
from foreshade.envs.model.action import Action, ActionKind, Plan
from foreshade.envs.native_schema import native_schema
from foreshade.envs.packers import EXPECTED_COST
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import site_of
from foreshade.envs.stock_world import simulated_world
from tests.packer_world import tiny_world
from tests.tiny_world import Stage, workload

TICKS = 150


@pytest.fixture(scope="module")
def world() -> SimulatedWorld:
    return simulated_world("enterprise", seed=3)


def played(world: SimulatedWorld, agent: Agent, ticks: int = TICKS) -> tuple[list[tuple[Action, ...]], float]:
    """Actions of each tick without their reasons, and what the run cost."""
    world.reset(3)
    agent.reset(site_of(world, 0))
    ticks_of: list[tuple[Action, ...]] = []
    for _ in range(ticks):
        state = world.observe()
        plan = Plan(state.tick, tuple(agent.act(state)))
        refused = [said.error for said in world.execute(plan) if not said.accepted]
        assert refused == []
        ticks_of.append(tuple(bare(action) for action in plan.actions))
        world.advance()
    return ticks_of, world.metrics().cost_usd


def bare(action: Action) -> Action:
    numbers = (action.vm, action.host, action.app, action.rack, action.value, action.value2)
    sizes = action.allocation if action.kind == ActionKind.RESHAPE else None
    return Action(action.kind, *numbers, allocation=sizes)


def test_without_actions_of_their_own_the_rules_are_expected_cost_action_by_action(
    world: SimulatedWorld,
) -> None:
    ours, cost = played(world, Decider("placement", PLACEMENT))
    theirs, reference = played(world, ExpectedCost())
    assert sum(map(len, theirs)) > 400
    assert ours == theirs
    assert cost == reference


def test_what_is_offered_beside_what_the_rules_may_take_changes_nothing_they_do(
    world: SimulatedWorld,
) -> None:
    ours, cost = played(world, Decider("rules", RULES))
    wider, same = played(world, Decider("rules", DEFAULT))
    assert ours == wider
    assert cost == same


def test_an_untrained_ham_is_the_rules_action_by_action(world: SimulatedWorld, tmp_path: Path) -> None:
    knobs = RULES.model_copy(update={"k": 48})
    schema = native_schema(knobs.k)
    shape = ActorShape(hidden=8, temperature=0.125, attention=False)
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=size).astype(np.float32) for name, size in shape.weights(schema).items()}
    weights["score.weight"] = np.zeros_like(weights["score.weight"])
    columns = (*schema.context, *schema.candidate)
    low = np.array([c.low for c in columns], dtype=np.float32)
    high = np.array([c.high for c in columns], dtype=np.float32)
    origin = {"candidates": knobs.model_dump(mode="json")}
    FrozenPolicy(schema, shape, weights, low, high, origin=origin).save(tmp_path / "policy")
    ham = Ham(tmp_path / "policy")
    ours, cost = played(world, ham)
    theirs, reference = played(world, Rules(knobs))
    assert ours == theirs
    assert cost == reference
    assert ham.tally.summary().by_ham > TICKS
    assert ham.fallback_rate == 0.0


def test_rules_cost_less_than_placement_alone(world: SimulatedWorld) -> None:
    _, rules = played(world, Rules())
    _, placement = played(world, ExpectedCost())
    assert rules < 0.9 * placement


def test_the_file_says_what_the_environment_takes_for_the_rules() -> None:
    assert load_rules() == RULES


def test_what_is_wrong_in_a_file_of_rules_is_said_in_one_line(tmp_path: Path) -> None:
    def error(text: str) -> str:
        path = tmp_path / "rules.yaml"
        path.write_text(text)
        with pytest.raises(InputError) as raised:
            load_rules(path)
        assert "\n" not in str(raised.value)
        return str(raised.value)

    assert "headrom" in error("headrom: 1.2")
    assert "k" in error("k: 1")
    assert "teleport" in error("preferred: [teleport]")
    assert "did you mean drain_ticks?" in error("plans: [{name: x, packer: {drain_tick: 1}}]")
    assert "did you mean name?" in error("plans: [{nam: x, packer: {}}]")
    with pytest.raises(InputError, match="expected a file of rules"):
        load_rules(tmp_path / "none.yaml")


def test_knobs_that_are_natively_known_are_all_handed_over() -> None:
    native = CandidateKnobs(
        k=7, headroom=1.7, sizings=(Sizing(headroom=1.1, slack=2.5),), memory_ceiling=1.3, preferred=("grow",)
    ).native()
    assert (native.k, native.preferred) == (7, 1 << _core.candidate_kinds().index("grow"))
    assert native.memory_ceiling == pytest.approx(1.3)
    assert [(one.headroom, one.slack) for one in native.sizings] == [pytest.approx((1.1, 2.5))]
    assert len(native.plans) == 1


def test_a_watched_plan_is_made_when_due_and_when_a_vm_waits_in_vain_but_not_in_between() -> None:
    # Host 1 stands empty, and is to go off once it has been on for ten ticks. At tick 15 a VM fits nowhere else.
    packer = replace(EXPECTED_COST, grace_s=3000.0, reserve=0.0, failover=0.0)

    def acted(every_ticks: int) -> list[tuple[int, ActionKind, int]]:
        world = tiny_world(
            2, [[500.0] * 24] * 2, memory_mib=[30_000.0, 110_000.0], arrival=[0, 15], scheduler="first-fit"
        )
        plan = PLACEMENT.plans[0].model_copy(update={"packer": packer, "every_ticks": every_ticks})
        agent = Decider("watched", PLACEMENT.model_copy(update={"plans": (plan,)}))
        world.observe()
        world.advance()
        agent.reset(site_of(world, 0))
        said = []
        while not world.done:
            state = world.observe()
            actions = agent.act(state)
            said += [(state.tick, action.kind, action.host) for action in actions]
            world.execute(Plan(state.tick, tuple(actions)))
            world.advance()
        return said

    off, spawn = ActionKind.POWER, ActionKind.SPAWN
    assert acted(1)[0] == (10, off, 1)
    assert acted(6)[0] == (13, off, 1)
    assert acted(1000) == [(15, spawn, 1)]


def test_cpu_that_is_never_used_is_taken_back_and_given_again_from_the_knee_on() -> None:
    # Four VMs promised all that a host has four times over use a twentieth of it; then one wants more.
    load = workload([[500.0] * 40 + [4_500.0], 500.0, 500.0, 500.0])
    knobs = RULES.model_copy(update={"plans": (), "preferred": ("right_size",), "unseen": 0.01})
    stage = Stage(Rules(knobs), 1, load, on=[0, 0, 0, 0])
    stage.wait(39)
    held = stage.world.observe().vms.allocation[:4].copy()
    assert held[:, 0].tolist() == pytest.approx([knobs.slack_floor * 9_800.0] * 4)
    assert held[:, 1].tolist() == pytest.approx([1_400.0] * 4)  # memory goes down to its peak
    stage.wait(6)
    then = stage.world.observe().vms.allocation[:4]
    assert then[0, 0] > 4_500.0 / 0.8
    assert then[1:, 0].tolist() == pytest.approx(held[1:, 0].tolist())


@pytest.mark.parametrize("growth", [1.5, 2.0])
def test_a_vm_at_its_limit_grows_by_as_much_as_the_knob_says_in_a_tick(growth: float) -> None:
    load = workload([[500.0] * 40 + [9_800.0] * 4, 500.0, 500.0, 500.0])
    knobs = RULES.model_copy(
        update={"plans": (), "preferred": ("right_size",), "unseen": 0.01, "growth": growth}
    )
    stage = Stage(Rules(knobs), 1, load, on=[0, 0, 0, 0])
    stage.wait(39)
    sizes = [float(stage.world.observe().vms.allocation[0, 0])]
    assert sizes[0] == pytest.approx(4_900.0)
    while sizes[-1] == sizes[0]:
        stage.wait(1)
        sizes.append(float(stage.world.observe().vms.allocation[0, 0]))
    assert sizes[-1] == pytest.approx(growth * sizes[0])


class _Following(Decider):
    """Right-sizes by the first sizing beside the rules' own wherever it is offered."""

    def choose(self) -> Taken:
        for candidate in range(1, len(self.proposer)):
            said = self.proposer.describe(candidate)
            if said["kind"] == "right_size" and said["plan"] == 0 and said["possible"]:
                return Taken(candidate, RULES_SAY)
        return Taken(0, RULES_SAY)


def test_sizing_that_acts_sooner_takes_nothing_back_before_the_rules_would() -> None:
    sooner = Sizing(settle_ticks=1, unseen=0.01)
    knobs = RULES.model_copy(update={"plans": (), "unseen": 0.01, "sizings": (sooner,)})
    stage = Stage(_Following("following", knobs), 1, workload([500.0] * 4), on=[0, 0, 0, 0])
    stage.wait(knobs.settle_ticks - 2)
    as_promised = np.tile(np.float32([9_800.0, 8_000.0]), (4, 1))
    np.testing.assert_array_equal(stage.world.observe().vms.allocation[:4, :2], as_promised)
    stage.wait(28)
    assert (stage.world.observe().vms.allocation[:4, :2] < as_promised).all()


@pytest.mark.parametrize("knobs", [{"slack": 0.0}, {"unseen": 1e6}])
def test_cpu_stays_where_nothing_may_be_taken_back_or_too_little_is_known(knobs: dict[str, float]) -> None:
    taking = RULES.model_copy(update={"plans": (), "preferred": ("right_size",), **knobs})
    stage = Stage(Rules(taking), 1, workload([500.0] * 4), on=[0, 0, 0, 0])
    stage.wait(40)
    assert stage.world.observe().vms.allocation[:4, 0].tolist() == pytest.approx([9_800.0] * 4)
