"""Baselines beside the rules where policies are judged: on the same episodes, and the gate holds against each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("tensorboard")
pytest.importorskip("onnx")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from foreshade.agents import episode
from foreshade.agents.baselines.registry import agent_names, make_agent, make_baseline
from foreshade.agents.rules.rules import Rules
from foreshade.envs.decision import Decision
from foreshade.envs.errors import InputError
from foreshade.envs.vector import DataCenterVecEnv
from foreshade.training.environments import JUDGING
from foreshade.training.evaluation import Comparison, Episodes, Evaluator, play, play_by_ticks, preferred
from foreshade.training.run_folder import RunFolder
from foreshade.training.train import Outcome, train
from tests.decision_worlds import SHORT, tiny, world
from tests.test_ham_training import config_of, make_envs
from tests.toy_centre import ToyCentre

CUT = replace(SHORT, price_spread=1.0)  # prices of an episode are told to who decides by candidates alone


@pytest.mark.parametrize("decision", [JUDGING, CUT])
def test_rules_cost_tick_by_tick_what_they_cost_in_the_native_batch(decision: Decision) -> None:
    env = DataCenterVecEnv([tiny(), world("enterprise")], 6, decision=decision)
    native = play(env, preferred(env.schema), 77).cost_usd
    ticks = play_by_ticks(env, Rules(decision.candidates), 77)
    np.testing.assert_allclose(ticks, native, rtol=1e-12)
    assert len(set(ticks[1::2].tolist())) == 3  # one world with other failures
    np.testing.assert_array_equal(play_by_ticks(env, Rules(decision.candidates), 77), ticks)


def test_an_agent_can_be_stopped_at_a_tick() -> None:
    short, whole = tiny(), tiny()
    assert episode.play(short, make_agent("dvfs"), end_tick=5).ticks == 5
    assert episode.play(whole, make_agent("dvfs")).ticks == whole.n_ticks > 5


@pytest.mark.filterwarnings("ignore:.*tensorboard.*:DeprecationWarning")
def test_run_is_judged_against_each_baseline(tmp_path: Path) -> None:
    def made(purpose: str, n_envs: int, *, float16: bool) -> DataCenterVecEnv:
        return DataCenterVecEnv([tiny()], n_envs, decision=CUT, dtype=np.float16 if float16 else np.float32)

    config = config_of(timesteps=512, evaluation={"baselines": ("expected-cost", "dvfs"), "gate_episodes": 3})
    train(tmp_path / "run", config, made)
    run = RunFolder.open(tmp_path / "run")
    said = run.read_gate()["tried"]["trained"]
    assert list(said["saved_percent"]) == list(said["difference_usd"]) == ["rules", "expected-cost", "dvfs"]
    (evaluation,) = run.load_checkpoint()[1]["evaluations"]
    assert list(evaluation["difference_usd"]) == ["rules", "expected-cost", "dvfs"]
    manifest = json.loads((run.policy / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["origin"]["gate"]["trained"] == said
    env = made("gate", 3, float16=False)
    static = play_by_ticks(env, make_agent("dvfs"), manifest["origin"]["seeds"]["gate"])
    assert said["difference_usd"]["dvfs"]["opponent_usd"] == pytest.approx(static.mean())
    curves = EventAccumulator(str(run.tensorboard))
    curves.Reload()
    assert "evaluation/vs_expected-cost_mean_usd" in curves.Tags()["scalars"]


def test_the_gate_holds_against_a_baseline_that_is_better_than_the_rules() -> None:
    rules = np.linspace(30.0, 50.0, 20)
    ours = Episodes(0.9 * rules, {}, {})

    def judged(baseline: float) -> Comparison:
        opponents = {"rules": rules, "expected-cost": baseline * rules + np.linspace(-0.1, 0.1, 20)}
        return Comparison.of(ours, opponents, range(20), fallback_rate=0.0, out_of_range_rate=0.0)

    assert judged(0.95).passed
    assert Outcome("start", judged(1.8), Path("run")).sentence == (
        "run: start policy, saves 10.0 ± 0.0 % of what rules cost, 50.0 ± 0.0 % of what expected-cost cost"
    )
    assert not judged(0.85).passed


def test_environments_in_which_no_baseline_can_play_are_refused_before_anything_is_trained(
    tmp_path: Path,
) -> None:
    config = config_of(evaluation={"baselines": ("expected-cost",)})
    with pytest.raises(InputError, match=r"evaluation\.baselines: expected \[\], as .*, got expected-cost"):
        train(tmp_path / "run", config, make_envs)
    assert not (tmp_path / "run").exists()
    assert list(Evaluator(ToyCentre(2), 5).opponents()) == ["rules"]


def test_baselines_are_all_agents_that_need_neither_files_nor_a_world_of_their_own() -> None:
    for label in agent_names():
        if label in ("npa", "rules", "ham"):
            with pytest.raises(
                InputError, match=rf"unknown baseline '{label}', expected one of dvfs, thr-mmt"
            ):
                make_baseline(label)
        else:
            assert make_baseline(label).name == label
