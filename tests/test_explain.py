"""What ``foreshade explain`` shows of a tick: the decisions that a run takes, every candidate, every reason."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")

from rich.console import Console

from foreshade.adapters.app.explain import Explanation, explain, print_explanation, to_json
from foreshade.agents.baselines.registry import AgentFiles, make_agent
from foreshade.agents.explanation import Explained, TickRecorder
from foreshade.agents.ham.agent import OUT_OF_RANGE, UNTRAINED
from foreshade.agents.rules.rules import Rules
from foreshade.envs.candidates import DEFAULT
from foreshade.envs.errors import ForeshadeError
from foreshade.envs.model.action import Plan
from foreshade.envs.native_schema import native_schema
from foreshade.envs.scenarios import load_scenario
from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import site_of
from foreshade.envs.workloads.of_scenario import workload_of
from foreshade.envs.workloads.workload import Workload
from tests.decision_worlds import tiny
from tests.frozen_policies import policy_folder

TICK = 12


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    short = {"days": None, "ticks": 24, "workload": "generated:enterprise?vms=120"}
    return load_scenario("enterprise").model_copy(update=short)


def explained(scenario: Scenario, label: str = "rules", tick: int = TICK, **options: Any) -> Explanation:
    return explain(scenario, None, label, tick, 3, forecast="none", **options)


def test_decisions_are_those_that_a_run_takes(scenario: Scenario) -> None:
    loaded = workload_of(scenario, None, 3)
    assert isinstance(loaded.played, Workload)
    world, agent = SimulatedWorld(scenario, loaded.played, 3), make_agent("rules")
    agent.reset(site_of(world, 3))
    for k in range(TICK + 1):
        plan = tuple(agent.act(world.observe()))
        world.execute(Plan(k, plan))
        world.advance()
    said = explained(scenario)
    assert said.plan == plan
    assert plan
    assert said.decisions[-1].taken.candidate == 0
    assert f"{said.time:%H:%M}" == "01:00"


def test_chosen_is_the_rules_preference_and_scores_are_the_sum_of_their_terms(scenario: Scenario) -> None:
    for decision in explained(scenario, tick=0).decisions:
        possible = [one for one in decision.candidates if one.said["possible"]]
        assert decision.chosen.said["preference"] == max(one.said["preference"] for one in possible)
        for one in decision.candidates:
            s = one.said
            terms = s["performance"] + s["utilisation"] - s["cost"] - s["latency"]
            assert s["score"] == pytest.approx(terms, rel=1e-4, abs=1e-6)
            assert one.verdict == "taken by rules" if one is decision.chosen else one.verdict != ""


def decisions_of_tiny() -> list[list[Explained]]:
    """Those of every tick of a run by the rules."""
    world, agent = tiny(), Rules(DEFAULT)
    agent.reset(site_of(world, 0))
    ticks = []
    while not world.done:
        recorder = TickRecorder(agent)
        agent.on_decision = recorder
        state = world.observe()
        world.execute(Plan(state.tick, tuple(agent.act(state))))
        world.advance()
        ticks.append(recorder.decisions)
    return ticks


def test_masked_candidates_name_the_decision_that_masked_them() -> None:
    masked = 0
    for decisions in decisions_of_tiny():
        for number, decision in enumerate(decisions, start=1):
            for one in decision.candidates:
                if one.said["possible"]:
                    assert not one.verdict.startswith("masked")
                    continue
                masked += 1
                assert one.verdict.startswith("masked: ")
                assert one.features == {}
                assert not any(f"decision {n}" in one.verdict for n in range(number, 20))  # only earlier ones
    assert masked > 0


def test_every_reason_of_the_rules_is_true() -> None:
    seen = set()
    for decisions in decisions_of_tiny():
        for decision in decisions:
            for one in decision.candidates:
                said, why = one.said, one.verdict
                if "never" in why:
                    seen.add("never")
                    assert said["kind"] not in DEFAULT.preferred
                if "not above the threshold" in why:
                    seen.add("threshold")
                    assert said["score"] <= 0.0
                    assert said["kind"] in DEFAULT.preferred
                if "another plan" in why:
                    seen.add("plan")
                    assert not DEFAULT.plans[said["plan"]].preferred
                if "size otherwise" in why:
                    seen.add("sizing")
                    assert one.features["way"] > 0
    assert seen == {"never", "threshold", "plan", "sizing"}


def test_probabilities_are_hams_and_sum_to_one(scenario: Scenario, tmp_path: Path) -> None:
    files = AgentFiles(policy=policy_folder(tmp_path / "p", last=3.0))
    said = explained(scenario, "ham", files=files)
    for decision in said.decisions:
        odds = [one.probability for one in decision.candidates]
        assert sum(p for p in odds if p is not None) == pytest.approx(1.0)
        assert all(one.probability == 0.0 for one in decision.candidates if not one.said["possible"])
        assert decision.taken.by == "ham"
        assert decision.chosen.probability == max(p for p in odds if p is not None)


def test_doubt_is_shown_with_the_columns_that_raise_it(scenario: Scenario, tmp_path: Path) -> None:
    files = AgentFiles(policy=policy_folder(tmp_path / "p", narrow=True))
    said = explained(scenario, "ham", tick=5, files=files)
    decision = said.decisions[0]
    assert (decision.taken.by, decision.taken.doubt) == ("rules", OUT_OF_RANGE)
    assert "context.hosts_on" in decision.out_of_range
    shown = io.StringIO()
    print_explanation(said, 3, Console(file=shown, width=200))
    assert "HAM in doubt: input out of range (context." in shown.getvalue()


@pytest.mark.parametrize("actions", [("migrate", "power"), ("power",), ()])
def test_where_ham_was_not_trained_it_is_not_asked_and_says_that_it_hands_over(
    scenario: Scenario, tmp_path: Path, actions: tuple[str, ...]
) -> None:
    fewer = DEFAULT.model_copy(update={"k": 40})  # than the rules have
    files = AgentFiles(policy=policy_folder(tmp_path / "p", knobs=fewer, own=False))
    said = explained(scenario.model_copy(update={"actions": actions}), "ham", tick=3, files=files)
    for decision in said.decisions:
        assert (decision.taken.by, decision.taken.doubt) == ("rules", UNTRAINED)
        assert (decision.confidence, decision.out_of_range) == (None, ())
        assert all(one.probability is None for one in decision.candidates)
    shown = io.StringIO()
    print_explanation(said, 3, Console(file=shown, width=200))
    assert "HAM hands over: another kind of world than it was trained on" in shown.getvalue()
    json.dumps(to_json(said), allow_nan=False)


def test_document_is_complete_and_plain_json(scenario: Scenario) -> None:
    document = json.loads(json.dumps(to_json(explained(scenario)), allow_nan=False))
    assert document["tick"] == TICK
    schema = native_schema()
    for decision in document["decisions"]:
        assert list(decision["context"]) == [column.name for column in schema.context]
        rows = [one for one in decision["candidates"] if one["possible"]]
        assert all(list(one["features"]) == [c.name for c in schema.candidate] for one in rows)
        assert [one["index"] for one in decision["candidates"]] == list(range(len(decision["candidates"])))


def test_tables_name_the_chosen_its_features_with_units_and_what_is_left_out(scenario: Scenario) -> None:
    shown = io.StringIO()
    said = explained(scenario)
    print_explanation(said, 2, Console(file=shown, width=200))
    text = shown.getvalue()
    assert f"Decision 1: {said.decisions[0].chosen.what}, taken by rules" in text
    assert "more: --top 0" in text
    assert "log2(1 + number of actions)" in text


@pytest.mark.parametrize(
    ("label", "tick", "says"),
    [
        ("npa", 0, "--agent npa: expected rules or ham"),
        ("rules", 24, "--tick 24: expected 0 to 23 in enterprise"),
        ("rules", -1, "--tick -1: expected 0 to 23"),
    ],
)
def test_wrong_agent_or_tick_is_one_line(scenario: Scenario, label: str, tick: int, says: str) -> None:
    with pytest.raises(ForeshadeError) as caught:
        explained(scenario, label, tick)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("threshhold: 1", "rules.yaml:1: threshhold: expected one of"),
        ("k: 1", "rules.yaml:1: k: expected"),
        ("preferred: [teleport]", "found 'teleport'"),
        ("[", "rules.yaml:1: expected YAML"),
    ],
)
def test_wrong_rules_are_one_line(scenario: Scenario, tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(ForeshadeError) as caught:
        explained(scenario, files=AgentFiles(rules=path))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rules_of_a_file_are_those_that_play(scenario: Scenario, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("preferred: []\n")
    ours = explained(scenario, files=AgentFiles(rules=path))
    assert all(action.kind.name != "RESHAPE" for action in ours.plan)
    assert any(action.kind.name == "RESHAPE" for action in explained(scenario).plan)


@pytest.mark.parametrize("label", ["rules", "ham"])
def test_cloudsim_day_is_explained_too(tmp_path: Path, label: str) -> None:
    day = tmp_path / "20110303"
    day.mkdir()
    for vm in range(8):
        values = [20 + (vm * 7 + k) % 60 for k in range(288)]
        (day / f"vm_{vm}").write_text("\n".join(map(str, values)) + "\n", encoding="utf-8")
    files = AgentFiles(policy=policy_folder(tmp_path / "p")) if label == "ham" else None
    said = explain(load_scenario("cloudsim"), f"planetlab:{day}", label, 3, 0, files=files)
    assert {one.said["kind"] for d in said.decisions for one in d.candidates} <= {"wait", "plan", "migrate"}
    with pytest.raises(ForeshadeError, match="expected 0 to 286"):
        explain(load_scenario("cloudsim"), f"planetlab:{day}", label, 287, 0, files=files)


def test_every_key_of_the_rules_stands_in_the_docs() -> None:
    text = (Path(__file__).parents[1] / "docs" / "rules.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    assert set(type(DEFAULT).model_fields) <= {key for row in rows for key in row.split("`")[1::2]}
