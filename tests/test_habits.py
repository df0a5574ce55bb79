"""Habits from whole episodes: what is fitted, that a run keeps what it has played, and workloads drawn anew."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")
pytest.importorskip("onnx")

from foreshade.agents.ham.frozen import FrozenPolicy  # noqa: E402
from foreshade.envs.candidates import DEFAULT  # noqa: E402
from foreshade.envs.decision import Decision  # noqa: E402
from foreshade.envs.errors import InputError, WorkloadError  # noqa: E402
from foreshade.envs.sampling import Sampling, sampled_worlds  # noqa: E402
from foreshade.envs.vector import DataCenterVecEnv  # noqa: E402
from foreshade.envs.workloads.selection import resampled  # noqa: E402
from foreshade.envs.workloads.spec import load_workload  # noqa: E402
from foreshade.training.config import TrainConfig  # noqa: E402
from foreshade.training.habit_actor import Option  # noqa: E402
from foreshade.training.habits import Trials, fitted, options_of, with_margin  # noqa: E402
from foreshade.training.train import train  # noqa: E402
from tests.tiny_world import workload  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*tensorboard.*:DeprecationWarning")
COLUMNS = ("cpu_of_flavour", "memory_of_flavour")


def test_savings_are_read_from_what_demand_is_like() -> None:
    rng = np.random.default_rng(0)
    columns = rng.uniform(0, 1, (400, 2))
    true = np.array([3.0 + 8.0 * columns[:, 0] - 12.0 * columns[:, 1], -1.0 + 0.0 * columns[:, 0]])
    rules = rng.uniform(5, 50, 400)
    cost = rules * np.exp(-(true + rng.normal(0, 2.0, true.shape)) / 100)
    options = (Option("a", "right_size", 0.2, 0.5), Option("b", "plan", 0.5, 1.0))
    trials = Trials(options, rules, cost, columns, np.zeros(1), np.ones(1))
    habits = fitted(trials, COLUMNS, COLUMNS, 1.0)
    assert habits[0].bias == pytest.approx(3.0, abs=0.7)
    assert habits[0].weights == pytest.approx({"cpu_of_flavour": 8.0, "memory_of_flavour": -12.0}, abs=1.0)
    assert habits[1].bias == pytest.approx(-1.0, abs=0.7)
    assert with_margin(habits, 2.0)[0].bias == pytest.approx(habits[0].bias - 2.0)


def test_options_are_what_can_be_told_from_the_rules_own() -> None:
    found = options_of(DEFAULT, 300.0)
    assert [option.kind for option in found].count("right_size") == len(DEFAULT.sizings)
    assert [option.name for option in found if option.kind == "plan"] == ["expected-cost-calm"]
    assert {option.displaces for option in found} == {0.5, 1.0}


def config_of(**habits: object) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "timesteps": 0,
            "network": {"temperature": 0.015625},
            "ppo": {"n_envs": 2, "n_steps": 8, "batch_size": 16},
            "habits": {"learn": True, "margins": (0.0, 1.0), "columns": ((), ("new_peaks",)), **habits},
            "evaluation": {"episodes": 2, "gate_episodes": 2},
        }
    )


def make_envs(n_worlds: int):
    worlds = sampled_worlds(
        Sampling(hosts=(2, 4), workloads=("generated:enterprise?days=1",)), n_worlds, seed=3
    )
    decision = Decision(candidates=DEFAULT.model_copy(update={"k": 40}), episode_ticks=(30, 30))

    def make(purpose, n_envs, *, float16):
        return DataCenterVecEnv(worlds, n_envs or n_worlds, decision=decision)

    return make


def test_run_keeps_what_it_has_played_and_comes_to_the_same_policy(tmp_path: Path) -> None:
    made = make_envs(8)
    train(tmp_path / "run", config_of(), made)
    trials = json.loads((tmp_path / "run" / "habits.json").read_text())
    assert len(trials["rules_usd"]) == 8
    assert len(trials["option_usd"]) == len(options_of(DEFAULT, 300.0))
    assert any(cost != trials["rules_usd"] for cost in trials["option_usd"])
    choice = json.loads((tmp_path / "run" / "choice.json").read_text())
    assert choice["margin"] in {0.0, 1.0}
    assert [said["option"] for said in choice["habits"]] == [option["name"] for option in trials["options"]]
    first = FrozenPolicy.load(tmp_path / "run" / "policy")

    trials["option_usd"] = [[1e-3 * usd for usd in trials["rules_usd"]]] * len(trials["option_usd"])
    (tmp_path / "run" / "habits.json").write_text(json.dumps(trials))
    (tmp_path / "run" / "choice.json").unlink()
    train(tmp_path / "run", config_of(), made, resume=True)  # believes what the file says
    again = json.loads((tmp_path / "run" / "choice.json").read_text())
    assert all(said["bias"] > 100 for said in again["habits"])
    assert first.origin["candidates"] == FrozenPolicy.load(tmp_path / "run" / "policy").origin["candidates"]


@pytest.mark.parametrize(
    ("n_worlds", "habits", "said"),
    [
        (3, {}, "at least 8 workloads"),
        (8, {"columns": (("moon",),)}, "columns of the context, found moon"),
        (8, {"follow": ("moon",)}, "options of right_size-0.42, expected-cost-calm, found moon"),
        (8, {"columns": (("growth",),)}, "not negative, got 'growth'"),
    ],
)
def test_habits_that_cannot_be_learned_are_refused(
    tmp_path: Path, n_worlds: int, habits: dict, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        train(tmp_path / "run", config_of(**habits), make_envs(n_worlds))


def test_two_ways_to_start_are_refused() -> None:
    with pytest.raises(ValueError, match="expected one of them"):
        TrainConfig.model_validate({"habits": {"learn": True}, "imitation": {"rounds": 1}})


def test_resampled_workload_has_the_same_vms_in_other_numbers() -> None:
    plain = workload([[100.0 * vm, 50.0] for vm in range(6)], allocation=[1024.0 * vm for vm in range(1, 7)])
    again = resampled(plain, 4)
    assert len(again.vms) == 6
    assert len(set(again.vms.name)) == 6
    origin = [plain.vms.name.index(name.partition("~")[0]) for name in again.vms.name]
    assert len(set(origin)) < 6
    np.testing.assert_array_equal(again.demand, plain.demand[:, origin])
    np.testing.assert_array_equal(again.vms.flavour, plain.vms.flavour[origin])
    assert again.vms.name == resampled(plain, 4).vms.name != resampled(plain, 5).vms.name


def test_vms_that_share_a_load_are_not_drawn_apart() -> None:
    with pytest.raises(WorkloadError, match="a load of their own"):
        resampled(load_workload("generated:enterprise", days=1, vms=20, seed=0), 1)
