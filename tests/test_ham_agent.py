"""HAM as an agent: the policy decides, the rules where it is in doubt, and what is refused or handed over."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from foreshade.agents.agent import Agent
from foreshade.agents.baselines.expected_cost import ExpectedCost
from foreshade.agents.baselines.registry import SHIPPED_POLICY, AgentFiles, agent_names, make_agent
from foreshade.agents.decisions import Taken, Tally
from foreshade.agents.episode import play
from foreshade.agents.ham.agent import OUT_OF_RANGE, UNSURE, UNVERIFIED, Ham
from foreshade.agents.ham.chosen_among import said_in_manifest
from foreshade.agents.ham.frozen_network import pack_weights, unpack_weights
from foreshade.agents.rules.rules import Rules
from foreshade.envs.candidates import DEFAULT, PLACEMENT, RULES, CandidateKnobs, Options
from foreshade.envs.errors import InputError
from foreshade.envs.frozen_folder import freeze, thaw
from foreshade.envs.model.action import ActionKind, Plan
from foreshade.envs.sampling import Sampling, sampled_worlds
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import site_of
from tests.decision_worlds import tiny
from tests.frozen_policies import policy_folder

FORMAT = "foreshade-ham/1"


def played(agent: Any, world: SimulatedWorld | None = None) -> tuple[list[Plan], Any]:
    """Every plan of a run, in which nothing may be refused."""
    world = world or tiny()
    agent.reset(site_of(world, 0))
    plans = []
    while not world.done:
        state = world.observe()
        plan = Plan(state.tick, tuple(agent.act(state)))
        refused = [outcome.error for outcome in world.execute(plan) if not outcome.accepted]
        assert refused == []
        plans.append(plan)
        world.advance()
    return plans, agent


def test_untrained_ham_plays_as_the_rules_do_on_its_candidates(tmp_path: Path) -> None:
    ham, agent = played(Ham(policy_folder(tmp_path / "p")))
    rules, _ = played(Rules(DEFAULT))
    assert ham == rules
    assert any(plan.actions for plan in ham)
    assert agent.tally.summary().doubts == {}
    assert agent.tally.summary().fallback_rate == 0.0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_untrained_ham_with_placement_alone_plays_as_expected_cost_does(tmp_path: Path, seed: int) -> None:
    def busy() -> SimulatedWorld:
        world = sampled_worlds(Sampling(hosts=(4, 8), workloads=("generated:enterprise?days=1",)), 1, seed)[0]
        world.reset(seed)
        return world

    def done(agent: Agent) -> list[list[tuple[ActionKind, int, int, float]]]:
        plans, _ = played(agent, busy())
        return [[(one.kind, one.vm, one.host, one.value) for one in plan.actions] for plan in plans]

    ham = done(Ham(policy_folder(tmp_path / "p", knobs=PLACEMENT)))
    assert ham == done(ExpectedCost())
    assert sum(map(len, ham)) > 50


def test_a_policy_of_options_is_shown_what_the_rules_in_force_have(tmp_path: Path) -> None:
    folder = policy_folder(tmp_path / "p", own=False)
    shipped, _ = played(Ham(folder))
    assert shipped == played(Rules())[0]
    mine = RULES.changed({"headroom": 2.5, "plan.move_weight": 9.0})
    ours, _ = played(Ham(folder, rules=mine))
    assert ours == played(Rules(mine))[0]
    assert ours != shipped
    own, _ = played(Ham(policy_folder(tmp_path / "q"), rules=mine))
    assert own == played(Rules(DEFAULT))[0]


def test_a_manifest_says_the_options_where_the_rest_is_the_rules() -> None:
    beside = DEFAULT.model_copy(update={"k": 40})
    said = said_in_manifest(beside)
    assert list(said) == ["options"]
    again = RULES.with_options(Options.model_validate(said["options"]))
    assert again.options == beside.options
    assert (again.headroom, again.followed) == (RULES.headroom, RULES.followed)
    of_its_own = beside.changed({"headroom": 2.5})
    assert said_in_manifest(of_its_own) == {"candidates": of_its_own.model_dump(mode="json")}
    another_plan = beside.changed({"plan.move_weight": 9.0})
    assert list(said_in_manifest(another_plan)) == ["candidates"]


def test_a_file_of_rules_is_what_ham_starts_from(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("headroom: 2.5\n")
    ham = make_agent("ham", AgentFiles(policy=policy_folder(tmp_path / "p", own=False), rules=file))
    assert isinstance(ham, Ham)
    assert ham.knobs.headroom == 2.5


def test_policy_that_departs_from_the_rules_is_followed(tmp_path: Path) -> None:
    ham, _ = played(Ham(policy_folder(tmp_path / "p", last=30.0)))
    assert ham != played(Rules(DEFAULT))[0]


@pytest.mark.parametrize(
    ("options", "why"), [({"narrow": True}, OUT_OF_RANGE), ({"confidence_floor": 1.1}, UNSURE)]
)
def test_rules_decide_where_the_policy_is_in_doubt(tmp_path: Path, options: dict, why: str) -> None:
    ham, agent = played(Ham(policy_folder(tmp_path / "p", last=30.0, **options)))
    assert ham == played(Rules(DEFAULT))[0]
    said = agent.tally.summary()
    assert list(said.doubts) == [why]
    if why == UNSURE:  # a doubt where it would choose otherwise alone
        assert 0 < said.fallback_rate < 1
    else:
        assert (said.fallback_rate, said.by_ham) == (1.0, 0)


def truncated(folder: Path) -> None:
    weights = folder / "weights.npz"
    weights.write_bytes(weights.read_bytes()[:-20])


def altered(folder: Path) -> None:
    weights = folder / "weights.npz"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(bytes(data))


def refrozen(folder: Path, change: Callable[[dict[str, Any], dict[str, bytes]], None]) -> None:
    """Changes a policy and says so: its hashes are honest."""
    manifest, files = (dict(part) for part in thaw(folder, FORMAT))
    change(manifest, files)
    freeze(folder, FORMAT, files, {k: v for k, v in manifest.items() if k not in ("format", "sha256")})


def not_finite(folder: Path) -> None:
    def change(_: dict[str, Any], files: dict[str, bytes]) -> None:
        weights = unpack_weights(files["weights.npz"], "test")
        weights["joint.bias"][0] = np.nan
        files["weights.npz"] = pack_weights(weights)

    refrozen(folder, change)


def other_schema(folder: Path) -> None:
    refrozen(folder, lambda said, _: said["schema"]["candidate"][3].update(doc="something else"))


def too_few_candidates(folder: Path) -> None:
    refrozen(folder, lambda said, _: said["origin"]["candidates"].update(k=1))


def options_of_another_version(folder: Path) -> None:
    options = {"k": 64, "sizings": [{"slackness": 3.0}], "plans": []}
    refrozen(folder, lambda said, _: said["origin"].update(options=options))


def edited(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"confidence_floor": 0', '"confidence_floor": 1'))


def half_written(folder: Path) -> None:
    (folder / "manifest.json").unlink()


BROKEN = [
    (truncated, "weights.npz: expected SHA-256"),
    (altered, "weights.npz: expected SHA-256"),
    (edited, "manifest.json: expected what manifest_sha256 was written of"),
    (not_finite, "joint.bias: expected finite numbers, got NaN"),
    (other_schema, "schema: candidate column 'utilisation': doc: expected"),
    (too_few_candidates, "origin.candidates"),
    (options_of_another_version, "origin.options"),
    (half_written, "expected a frozen model with manifest.json"),
]


@pytest.mark.parametrize(("damage", "says"), BROKEN)
def test_policy_that_does_not_verify_is_refused_in_one_line(tmp_path: Path, damage, says: str) -> None:
    folder = policy_folder(tmp_path / "p")
    damage(folder)
    with pytest.raises(InputError) as caught:
        Ham(folder)
    assert says in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("damage", "says"), BROKEN)
def test_declared_fallback_hands_over_to_the_rules_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage, says: str
) -> None:
    folder = policy_folder(tmp_path / "p")
    damage(folder)
    with caplog.at_level(logging.WARNING):
        ham, agent = played(Ham(folder, fallback=True))
    assert ham == played(Rules())[0]
    assert [says in record.getMessage() for record in caplog.records] == [True]
    said = agent.tally.summary()
    assert list(said.doubts) == [UNVERIFIED]
    assert said.fallback_rate == 1.0


@pytest.mark.skipif(SHIPPED_POLICY.is_dir(), reason="this package has a policy")
def test_ham_without_a_policy_says_where_one_comes_from() -> None:
    assert "ham" not in agent_names()
    with pytest.raises(InputError, match="--policy DIR, as foreshade train and foreshade export write it"):
        make_agent("ham")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (AgentFiles(policy=Path("p")), "--policy p: expected the agent ham to read it, found npa, dvfs"),
        (
            AgentFiles(rules=Path("r")),
            "--rules r: expected the agent rules or ham to read it, found npa, dvfs",
        ),
    ],
)
def test_file_that_no_agent_reads_is_refused(files: AgentFiles, says: str) -> None:
    with pytest.raises(InputError) as caught:
        files.check(["npa", "dvfs"])
    assert str(caught.value) == says


@pytest.mark.parametrize(
    "actions", [(), ("migrate",), ("power",), ("reshape",), ("shadow", "shift"), ("microvm", "rent")]
)
def test_kinds_that_a_scenario_switches_off_are_never_chosen(
    tmp_path: Path, actions: tuple[str, ...]
) -> None:
    world = tiny()
    world = SimulatedWorld(world.scenario.model_copy(update={"actions": actions}), world.workload)
    allowed = {ActionKind[kind.upper()] for kind in actions} | {ActionKind.SPAWN}
    for agent in (Rules(), Ham(policy_folder(tmp_path / "p", last=30.0))):
        world.reset(0)
        plans, _ = played(agent, world)
        assert {action.kind for plan in plans for action in plan.actions} <= allowed


def test_rules_and_ham_play_with_two_candidates(tmp_path: Path) -> None:
    knobs = DEFAULT.model_copy(update={"k": 2})
    ham, _ = played(Ham(policy_folder(tmp_path / "p", knobs=knobs)))
    assert ham == played(Rules(knobs))[0]
    assert any(plan.actions for plan in ham)


def test_one_candidate_is_too_few() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        CandidateKnobs(k=1)


def test_tally_counts_decisions_by_kind_and_by_who_took_them() -> None:
    tally = Tally()
    move = {"kind": "migrate", "by": "", "cost": 0.5, "score": 2.0}
    tally.count(Taken(3, "ham"), {**move, "by": "racks"}, 1)  # type: ignore[arg-type]
    tally.count(Taken(2, "rules", "low confidence"), move, 1)  # type: ignore[arg-type]
    tally.count(Taken(0, "ham"), {**move, "kind": "wait", "cost": 0.0, "score": 0.0}, 0)  # type: ignore[arg-type]
    said = tally.summary()
    assert said.to_dict() == {
        "by_kind": {
            "migrate": {"ham": 1, "rules": 1, "actions": 2, "transition_usd": 1.0, "gain_usd": 4.0},
            "wait": {"ham": 1, "actions": 0, "transition_usd": 0.0, "gain_usd": 0.0},
        },
        "by_component": {"racks": {"ham": 1, "actions": 1, "transition_usd": 0.5, "gain_usd": 2.0}},
        "by_rule": {},
        "outcomes": {},
        "doubts": {"low confidence": 1},
    }
    assert said.fallback_rate == pytest.approx(1 / 3)
    assert said.by_ham == 2


def test_actions_counted_are_those_planned(tmp_path: Path) -> None:
    plans, agent = played(Ham(policy_folder(tmp_path / "p", last=30.0)))
    said = agent.tally.summary()
    assert sum(row["actions"] for row in said.by_kind.values()) == sum(len(plan.actions) for plan in plans)
    assert play(tiny(), agent).cost_usd > 0
    assert agent.tally.summary().to_dict() == said.to_dict()  # counts begin anew with a run
