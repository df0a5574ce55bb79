"""Workloads with components, as training plays them: against the rules, from the middle on, in several processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from foreshade.agents.baselines.registry import make_agent
from foreshade.agents.episode import play
from foreshade.agents.ham.frozen import FrozenPolicy
from foreshade.envs.errors import InputError
from foreshade.envs.simulated import SimulatedWorld
from foreshade.training.whole_runs import WholeRuns
from tests.decision_worlds import tiny
from tests.frozen_policies import policy_folder

CASES = ("a", "b", "c")


def world_of(case: str) -> SimulatedWorld:
    world = tiny()
    world.reset(ord(case))
    return world


def runs(components: str = "default", **options: Any) -> WholeRuns:
    return WholeRuns(CASES, components, world=world_of, **options)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> FrozenPolicy:
    return FrozenPolicy.load(policy_folder(tmp_path_factory.mktemp("untrained") / "p"))


def test_untrained_policy_costs_what_the_rules_cost_and_another_does_not(
    untrained: FrozenPolicy, tmp_path: Path
) -> None:
    judge = runs()
    same = judge.compare(untrained)
    assert same.differences["rules"].mean == 0.0
    assert same.episodes.cost_usd.shape == (3,)
    assert same.means_usd["rules"] == pytest.approx(same.episodes.cost_usd.mean())
    assert not same.passed
    departing = judge.compare(FrozenPolicy.load(policy_folder(tmp_path / "p", last=30.0)))
    assert departing.differences["rules"].mean != 0.0


def test_baselines_play_the_same_workloads_once_and_without_components(untrained: FrozenPolicy) -> None:
    judge = runs(baselines=("expected-cost", "dvfs"))
    said = judge.compare(untrained)
    assert list(said.savings) == list(said.differences) == ["rules", "expected-cost", "dvfs"]
    for label in ("expected-cost", "dvfs"):
        alone = [play(world_of(case), make_agent(label)).cost_usd for case in CASES]
        assert judge.opponents()[label].tolist() == alone
        assert said.means_usd[label] == pytest.approx(np.mean(alone))
        assert said.differences[label].mean == pytest.approx(said.episodes.cost_usd.mean() - np.mean(alone))
    assert judge.opponents() is judge.opponents()
    aside = runs(baselines=("expected-cost", "dvfs"), processes=2).opponents()
    assert {label: usd.tolist() for label, usd in aside.items()} == {
        label: usd.tolist() for label, usd in judge.opponents().items()
    }


def test_runs_go_on_from_the_middle_and_in_other_processes_alike(tmp_path: Path) -> None:
    policy = FrozenPolicy.load(policy_folder(tmp_path / "p", last=30.0))
    whole = list(runs().seen(policy))
    assert [seen.usd for seen in runs().seen(policy, 1)] == [seen.usd for seen in whole[1:]]
    for one, other in zip(whole, runs(processes=2).seen(policy), strict=True):
        assert one.usd == other.usd
        np.testing.assert_array_equal(one.columns, other.columns)
        np.testing.assert_array_equal(one.low, other.low)
        assert (one.low <= one.high).all()


def test_what_cannot_be_played_is_refused() -> None:
    with pytest.raises(InputError, match=r"expected components of .*, found 'moon'"):
        runs("moon")
    with pytest.raises(InputError, match=r"components: expected native for surge, .* got 'default'"):
        WholeRuns.of_scenario("surge", "gate", "default", 1)
