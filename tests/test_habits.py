"""Habits from whole episodes: what is fitted, that a run keeps what it has played, and workloads drawn anew."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402

pytest.importorskip("onnx")

from foreshade.agents.ham.frozen import FrozenPolicy  # noqa: E402
from foreshade.envs.candidates import DEFAULT  # noqa: E402
from foreshade.envs.decision import Decision  # noqa: E402
from foreshade.envs.errors import InputError, WorkloadError  # noqa: E402
from foreshade.envs.sampling import Sampling, sampled_worlds  # noqa: E402
from foreshade.envs.vector import DataCenterVecEnv  # noqa: E402
from foreshade.envs.workloads.selection import resampled  # noqa: E402
from foreshade.envs.workloads.spec import load_workload  # noqa: E402
from foreshade.training.config import HabitsConfig, TrainConfig  # noqa: E402
from foreshade.training.habit_actor import Option  # noqa: E402
from foreshade.training.habits import Trials, fitted, options_of, read, readings  # noqa: E402
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
    options = (Option("a", "right_size", 1), Option("b", "plan", 1))
    trials = Trials(options, rules, cost, columns, np.arange(400), np.zeros(400, int))
    habits = fitted(trials, COLUMNS, COLUMNS, 1.0)
    assert habits[0].bias == pytest.approx(3.0, abs=0.7)
    assert habits[0].weights == pytest.approx({"cpu_of_flavour": 8.0, "memory_of_flavour": -12.0}, abs=1.0)
    assert habits[1].bias == pytest.approx(-1.0, abs=0.7)

    config = HabitsConfig(columns=((), COLUMNS), margins=(0.0, 2.0))
    found = readings(trials, config, COLUMNS)
    best, *others = found["right_size"]
    assert (best.columns, best.margin) == (COLUMNS, 0.0)
    # b never saves; a saves 3 + 8 x - 12 y where that is above zero
    assert best.saved.mean == pytest.approx(np.maximum(true[0], 0).mean(), abs=0.4)
    everywhere = next(one for one in others if (one.columns, one.margin) == ((), 0.0))
    assert everywhere.saved.mean == pytest.approx(true[0].mean(), abs=0.4)
    assert found["plan"][0].saved.mean == pytest.approx(0.0, abs=0.4)
    both = read(trials, [best, found["plan"][0]], config, COLUMNS)
    assert [habit.option for habit in both] == list(options)
    assert both[0].bias == pytest.approx(habits[0].bias)


def test_draws_of_one_day_foretell_nothing_of_another() -> None:
    rng = np.random.default_rng(0)
    day = np.repeat(np.arange(24), 20)
    columns = rng.normal(0, 1, (24, 1))[day]  # tells the days apart
    chance = rng.normal(0, 10.0, 24)[day]  # what a day saves has nothing to do with it
    rules = np.full(len(day), 10.0)
    cost = (rules * np.exp(-(chance + rng.normal(0, 0.1, len(day))) / 100))[None]
    trials = Trials((Option("a", "plan", 1),), rules, cost, columns, day, np.zeros(len(day), int))
    config = HabitsConfig(columns=((), ("jitter",)), margins=(0.0,))
    for best in readings(trials, config, ("jitter",))["plan"]:
        assert best.saved.mean - best.saved.half_width < 0.0
    alone = replace(trials, groups=np.arange(len(day)))
    assert any(
        found.saved.mean > found.saved.half_width for found in readings(alone, config, ("jitter",))["plan"]
    )


def test_options_are_named_and_numbered_as_the_generator_has_them() -> None:
    found = options_of(DEFAULT)
    assert [option.way for option in found if option.kind == "right_size"] == [
        way + 1 for way in range(len(DEFAULT.sizings))
    ]
    assert [option.name for option in found if option.kind == "plan"] == [
        plan.name for plan in DEFAULT.plans if not plan.preferred
    ]
    assert options_of(DEFAULT, ["right_size-1"]) == found[:1]


def config_of(**habits: object) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "timesteps": 0,
            "network": {"temperature": 0.015625, "hidden": 56},
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
    path = tmp_path / "run" / "habits.jsonl"
    heading, *runs = path.read_text().splitlines(keepends=True)
    options = json.loads(heading)["options"]
    assert len(runs) == 8 * (1 + len(options))
    usd = np.array([json.loads(run)["usd"] for run in runs]).reshape(-1, 8)
    assert (usd[1:] != usd[0]).any()
    choice = json.loads((tmp_path / "run" / "choice.json").read_text())
    assert {said["margin"] for said in choice["chosen"]} <= {0.0, 1.0}
    assert [said["option"] for said in choice["habits"]] == [option["name"] for option in options]
    first = FrozenPolicy.load(tmp_path / "run" / "policy")
    weekly = [column.name for column in first.schema.context].index("week_sin")
    assert (first.low[weekly], first.high[weekly]) == (-1.0, 1.0)  # half an hour saw little of a week
    scalars = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    scalars.Reload()
    curve = scalars.Scalars(f"habits/{options[0]['name']}_saved_percent")
    assert [point.step for point in curve] == [8]
    assert curve[-1].value == pytest.approx(choice["habits"][0]["saved_percent"]["mean"], rel=1e-5)

    path.write_text("".join([heading, *runs[:-4], runs[-4][:40]]))  # cut short in the middle of a line
    train(tmp_path / "run", config_of(), made, resume=True)
    again = FrozenPolicy.load(tmp_path / "run" / "policy")
    assert path.read_text() == "".join([heading, *runs])
    assert all(np.array_equal(first.weights[name], again.weights[name]) for name in first.weights)
    assert np.array_equal(first.low, again.low)

    cheap = [json.dumps({**json.loads(run), "usd": 1e-3}) + "\n" for run in runs[8:]]
    path.write_text("".join([heading, *runs[:8], *cheap]))
    train(tmp_path / "run", config_of(), made, resume=True)  # believes what the file says
    choice = json.loads((tmp_path / "run" / "choice.json").read_text())
    assert all(said["bias"] > 100 for said in choice["habits"])
    with pytest.raises(InputError, match="other options or workloads"):
        train(tmp_path / "run", config_of(), make_envs(9), resume=True)


@pytest.mark.parametrize(
    ("n_worlds", "habits", "said"),
    [
        (3, {}, "at least 8 workloads"),
        (8, {"columns": (("moon",),)}, "columns of the context, got 'moon'"),
        (8, {"options": ("moon",)}, "options of right_size-1, .*, found moon"),
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
