"""A whole run on the toy centre: resumed, judged, frozen; and run folders that cannot be used."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")
pytest.importorskip("onnx")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402

from foreshade.agents.ham.frozen import FrozenPolicy  # noqa: E402
from foreshade.envs.errors import InputError  # noqa: E402
from foreshade.training.advantage import Labelled, learn  # noqa: E402
from foreshade.training.bench import measure  # noqa: E402
from foreshade.training.config import TrainConfig, read_config  # noqa: E402
from foreshade.training.estimate import Estimate  # noqa: E402
from foreshade.training.evaluation import (  # noqa: E402
    F64,
    Comparison,
    Episodes,
    Evaluator,
    play,
    preferred,
)
from foreshade.training.freeze import frozen  # noqa: E402
from foreshade.training.run_folder import RunFolder  # noqa: E402
from foreshade.training.seeds import first_seed  # noqa: E402
from foreshade.training.train import make_model, train  # noqa: E402
from foreshade.training.tune import tune  # noqa: E402
from tests.toy_centre import SCHEMA, ToyCentre  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*tensorboard.*:DeprecationWarning")


def make_envs(purpose, n_envs, *, float16):
    return ToyCentre(n_envs, dtype=np.float16 if float16 else np.float32)


def config_of(timesteps=4 * 512, **sections) -> TrainConfig:
    said = {
        "scenario": "toy",
        "timesteps": timesteps,
        "ppo": {
            "n_envs": 8, "n_steps": 64, "batch_size": 256, "critic_warmup": 0, "kl_to_start": 0.01,
            "learning_rate": 1e-2, "target_kl": None,
        },
        "evaluation": {"every_rollouts": 2, "episodes": 8, "gate_episodes": 16, "baselines": ()},
    }  # fmt: skip
    for section, keys in sections.items():
        said[section] = {**said.get(section, {}), **keys}
    return TrainConfig.model_validate(said)


class PowerCutError(Exception):
    """The process dies here."""


def interrupt_at(timesteps):
    def on_progress(done, total):
        if done >= timesteps:
            raise PowerCutError

    return on_progress


@pytest.mark.parametrize("cut", [3 * 512, 4 * 512])
def test_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path: Path, cut: int) -> None:
    config = config_of(timesteps=5 * 512)
    train(tmp_path / "whole", config, make_envs)
    with pytest.raises(PowerCutError):
        train(tmp_path / "cut", config, make_envs, on_progress=interrupt_at(cut))
    assert RunFolder.open(tmp_path / "cut").checkpoints() == ["000000001024"]
    torch.manual_seed(99)  # what another process would have
    train(tmp_path / "cut", config, make_envs, resume=True)
    whole, again = (RunFolder.open(tmp_path / name).load_checkpoint() for name in ("whole", "cut"))
    assert again[1]["timesteps"] == whole[1]["timesteps"] == 5 * 512
    assert again[1]["evaluations"] == whole[1]["evaluations"]
    for key, value in whole[0]["policy"].items():
        assert torch.equal(again[0]["policy"][key], value), key
    assert torch.equal(whole[0]["rng"]["cpu"], again[0]["rng"]["cpu"])


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "learned"
    config = config_of(
        timesteps=24 * 512, ppo={"n_epochs": 8, "entropy": 0.0}, evaluation={"every_rollouts": 12}
    )
    return path, train(path, config, make_envs)


def test_what_beats_the_rules_ships_and_is_what_was_judged(learned) -> None:
    path, outcome = learned
    gate = json.loads((path / "gate.json").read_text(encoding="utf-8"))
    assert outcome.shipped == gate["shipped"] == "trained"
    policy = FrozenPolicy.load(path / "policy", expected=SCHEMA)
    assert policy.origin["scenario"] == "toy"
    assert policy.origin["gate"]["trained"]["passed"]
    again = Evaluator(ToyCentre(16), first_seed(0, "gate")).compare(policy)
    assert again.to_dict() == gate["tried"]["trained"]
    saved = again.savings["rules"]
    assert saved.mean - saved.half_width > 0


def test_curves_hold_terms_actions_and_fallbacks(learned) -> None:
    curves = EventAccumulator(str(learned[0] / "tensorboard"))
    curves.Reload()
    assert {
        "cost_usd/taken", "cost_usd/left", "cost_usd/total", "actions/wait", "actions/take",
        "evaluation/vs_rules_mean_usd", "evaluation/fallback_rate", "evaluation_cost_usd/left",
        "train/kl_to_start", "time/environment_share", "time/fps",
    } <= set(curves.Tags()["scalars"])  # fmt: skip


def test_what_does_not_beat_the_rules_ships_as_the_rules(tmp_path: Path) -> None:
    config = config_of(timesteps=512, ppo={"learning_rate": 1e-9, "learning_rate_end": 0.0})
    outcome = train(tmp_path / "run", config, make_envs)
    assert outcome.shipped == "rules"
    assert "let nothing learned through" in outcome.sentence
    policy = FrozenPolicy.load(tmp_path / "run" / "policy")
    assert not policy.origin["gate"]["trained"]["passed"]
    flat = ToyCentre(64).reset()
    np.testing.assert_array_equal(policy.choose_batch(flat).candidate, preferred(SCHEMA)(flat))


def test_validation_and_gate_of_one_day_end_in_files_that_can_be_read(tmp_path: Path) -> None:
    def alike(purpose, n_envs, *, float16):
        env = make_envs(purpose, n_envs, float16=float16)
        env.n_worlds, env.groups = n_envs, [0] * n_envs
        return env

    outcome = train(tmp_path / "run", config_of(timesteps=1024), alike)
    assert outcome.shipped == "rules"
    said = RunFolder.open(tmp_path / "run").read_gate()["tried"]["trained"]["difference_usd"]["rules"]
    assert said["half_width"] is None


def test_training_ends_when_evaluations_stop_improving(tmp_path: Path) -> None:
    config = config_of(
        timesteps=40 * 512,
        ppo={"learning_rate": 1e-9, "learning_rate_end": 0.0},
        evaluation={"every_rollouts": 1, "patience": 2},
    )
    train(tmp_path / "run", config, make_envs)
    assert len(RunFolder.open(tmp_path / "run").checkpoints()) == 3


def test_paired_episodes_are_the_same_episodes() -> None:
    env = ToyCentre(6)
    rules = play(env, preferred(SCHEMA), 77)
    assert play(env, preferred(SCHEMA), 77).cost_usd.tolist() == rules.cost_usd.tolist()
    assert play(ToyCentre(3), preferred(SCHEMA), 79).cost_usd.tolist() == rules.cost_usd[2:5].tolist()
    assert rules.cost_usd.sum() == pytest.approx(sum(rules.terms.values()) * 6)
    model = make_model(config_of(), ToyCentre(8))
    model.ham.widen_range(torch.from_numpy(ToyCentre(500).reset()))
    untrained = Evaluator(env, 77).compare(frozen(model.ham))
    assert untrained.differences["rules"].mean == 0
    assert not untrained.passed


def test_episodes_of_one_workload_are_one_piece_of_evidence() -> None:
    env = ToyCentre(6)
    model = make_model(config_of(), ToyCentre(8))
    torch.nn.init.normal_(model.ham.scorer.actor.score.weight, std=40)
    model.ham.widen_range(torch.from_numpy(ToyCentre(500).reset()))
    apart = Evaluator(env, 5).compare(frozen(model.ham))
    env.n_worlds = 3
    together = Evaluator(env, 5).compare(frozen(model.ham))
    less = together.episodes.cost_usd - play(env, preferred(SCHEMA), 5).cost_usd
    by_world = Estimate.of(less.reshape(2, 3).mean(axis=0).tolist())
    assert together.differences["rules"].half_width == pytest.approx(by_world.half_width)
    assert apart.differences["rules"].half_width == pytest.approx(Estimate.of(less.tolist()).half_width)
    assert together.differences["rules"].mean == pytest.approx(by_world.mean)
    env.groups = [0, 0, 0]  # draws of one day
    alike = Evaluator(env, 5).compare(frozen(model.ham))
    assert alike.differences["rules"].mean == pytest.approx(apart.differences["rules"].mean)
    assert np.isnan(alike.differences["rules"].half_width)
    assert not alike.passed


def test_doubtful_decisions_are_the_rules_and_are_counted() -> None:
    model = make_model(config_of(), ToyCentre(8))
    torch.manual_seed(0)
    torch.nn.init.normal_(model.ham.scorer.actor.score.weight, std=40)
    model.ham.widen_range(torch.from_numpy(ToyCentre(500).reset()))  # of the first tick alone
    evaluator = Evaluator(ToyCentre(16), 5)
    bold = evaluator.compare(frozen(model.ham))
    timid = evaluator.compare(frozen(model.ham, confidence_floor=1.0))
    assert bold.differences["rules"].mean != 0
    assert bold.fallback_rate == bold.out_of_range_rate > 0
    assert timid.fallback_rate > bold.fallback_rate  # all but those that a float32 calls certain
    assert abs(timid.differences["rules"].mean) < abs(bold.differences["rules"].mean)


class KnowsBest:
    """What a job costs if it is taken, and what is left unpaid, with the best of decisions afterwards."""

    asked = 0

    def costs(self, env, i, flat, rules, rng):
        self.asked += 1
        penalty, cost = env._jobs[i].T
        jobs = np.flatnonzero(env._open[i])
        least = np.minimum(penalty, cost)[jobs].sum()
        taken = [cost[j] + least - min(penalty[j], cost[j]) for j in jobs]
        rows = [0, *jobs]
        costs = [penalty[jobs].sum(), *taken]
        first = rows.index(rules)
        order = [first, *(k for k in range(len(rows)) if k != first)]
        both = np.array([costs, costs], np.float32).T
        return np.array(rows, np.int64)[order], both[order]


LEARNS = {
    "timesteps": 0,
    "network": {"temperature": 64, "hidden": 16},
    "imitation": {
        "rounds": 2, "states": 1500, "share": 0.5, "least_gain": 0.0, "n_epochs": 60,
        "learning_rate": 1e-2, "weight_decay": 0.0,
    },
    "evaluation": {"confidence_floor": 0.0, "least_gains": (0.0, 0.02, 9.0)},
}  # fmt: skip


def test_what_an_expert_saves_is_learned_judged_and_shipped(tmp_path: Path) -> None:
    config = config_of(**LEARNS)
    outcome = train(tmp_path / "run", config, make_envs, expert=KnowsBest())
    assert outcome.shipped == "start"
    policy = FrozenPolicy.load(tmp_path / "run" / "policy", expected=SCHEMA)
    assert policy.least_gain in (0.0, 0.02)  # with 9 nothing is ever done but what the rules do
    env = ToyCentre(64)
    rules = play(env, preferred(SCHEMA), 9).cost_usd.mean()
    learned = play(env, lambda flat: policy.choose_batch(flat).candidate, 9).cost_usd.mean()
    best = _least_cost(64, 9)
    assert rules - learned > 0.7 * (rules - best) > 0
    curves = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    curves.Reload()
    assert {
        "imitation/loss", "imitation/loss_before", "imitation/states", "gate_start/fallback_rate",
        "gate_start/vs_rules_mean_saved_percent", "gate_start_cost_usd/left", "gate_start_actions/take",
    } <= set(curves.Tags()["scalars"])  # fmt: skip


def _least_cost(n: int, seed: int) -> float:
    env = ToyCentre(n)
    env.seed(seed)
    env.reset()
    ended: dict[int, float] = {}
    while len(ended) < n:
        saves = np.where(env._open, env._jobs[:, :, 0] - env._jobs[:, :, 1], 0.0)
        _, _, dones, infos = env.step(saves.argmax(axis=1))
        for i in np.flatnonzero(dones):
            ended.setdefault(int(i), infos[i]["best"])
    return float(np.mean(list(ended.values())))


def test_interrupted_imitation_goes_on_without_labelling_again(tmp_path: Path) -> None:
    config = config_of(**LEARNS).imitation.model_copy(update={"states": 200, "n_epochs": 5})
    whole, again, expert = (make_model(config_of(**LEARNS), ToyCentre(8)) for _ in range(3))
    critic = {k: v.clone() for k, v in whole.ham.scorer.critic.state_dict().items()}
    learn(whole.ham, ToyCentre(8), KnowsBest(), config, 1, tmp_path / "whole")
    first = config.model_copy(update={"rounds": 1})
    learn(expert.ham, ToyCentre(8), KnowsBest(), first, 1, tmp_path / "cut")
    asked = KnowsBest()
    learn(again.ham, ToyCentre(8), asked, config, 1, tmp_path / "cut")
    assert asked.asked < 2 * 200  # of one round, not of two
    for key, value in whole.ham.state_dict().items():
        assert torch.equal(value, again.ham.state_dict()[key]), key
    for key, value in whole.ham.scorer.critic.state_dict().items():
        assert torch.equal(critic[key], value)
    (tmp_path / "cut" / "round-000.npz").write_bytes(b"half")
    with pytest.raises(InputError, match=r"round-000\.npz: expected labelled states"):
        learn(again.ham, ToyCentre(8), asked, config, 1, tmp_path / "cut")


def test_labels_are_savings_against_the_rules_choice(tmp_path: Path) -> None:
    config = config_of(**LEARNS).imitation.model_copy(update={"rounds": 1, "states": 50})
    model = make_model(config_of(**LEARNS), ToyCentre(8))
    learn(model.ham, ToyCentre(8), KnowsBest(), config, 1, tmp_path)
    said = Labelled.load(tmp_path / "round-000.npz")
    assert len(said) == 50
    assert (said.gains[:, 0] == 0).all()
    assert (said.gains[said.candidates < 0] == 0).all()
    np.testing.assert_array_equal(said.candidates[:, 0], preferred(SCHEMA)(said.observations))


def test_configuration_is_read_back_from_yaml(tmp_path: Path) -> None:
    config = config_of(network={"hidden": 16, "attention": True})
    path = tmp_path / "config.yaml"
    path.write_text(config.to_yaml(), encoding="utf-8")
    assert read_config(path) == config
    path.write_text("timesteps: 5\n", encoding="utf-8")
    assert read_config(path) == TrainConfig(timesteps=5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ppo: {n_env: 3}", r"c\.yaml:1: ppo\.n_env: .*unknown key; did you mean n_envs"),
        ("timesteps: many", r"c\.yaml:1: timesteps: expected a valid integer, found 'many'"),
        ("seed: 1\nnetwork:\n  temperature: 0.3", r":3: network\.temperature: expected a power of two"),
        ("ppo: {batch_size: 1000}", r":1: ppo: batch_size: expected a divisor of n_envs x n_steps = 16384"),
        ("evaluation: {episodes: 1}", r"c\.yaml:1: evaluation\.episodes: expected .*2, found 1"),
        (
            "evaluation:\n  baselines: [dvfs, expected-costs]",
            r":2: evaluation\.baselines\[1\]: unknown baseline 'expected-costs', expected one of dvfs,",
        ),
        ("evaluation: {baselines: [rules]}", r"baselines\[0\]: unknown baseline 'rules', expected one of"),
        ("evaluation: {baselines: [thr-mmt-2]}", r"'thr-mmt-2': expected a threshold .* at most 1, found '2'"),
        ("", r"c\.yaml:1: .*empty file"),
        ("[]", r"c\.yaml:1: the file: expected a mapping of keys, found a list of 0$"),
        ("seed: 1\nppo: 3", r"c\.yaml:2: ppo: expected a mapping of keys, found 3$"),
        ("timesteps: 0", r"timesteps: expected above 0, or habits\.learn or imitation\.rounds, found 0"),
    ],
)  # fmt: skip
def test_bad_configuration_is_one_line_that_names_the_place(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=expected) as caught:
        read_config(path)
    assert "\n" not in str(caught.value)


def test_run_folders_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    config = config_of(timesteps=512)
    run = tmp_path / "run"
    with pytest.raises(InputError, match=r"run: expected a training run with config\.yaml"):
        train(run, config, make_envs, resume=True)
    train(run, config, make_envs)
    with pytest.raises(InputError, match="expected an empty folder, or --resume"):
        train(run, config, make_envs)
    with pytest.raises(InputError, match="seed: expected 0 as the run was begun with, got 3"):
        train(run, config.changed(seed=3), make_envs, resume=True)
    path = run / "config.yaml"
    other = config_of(timesteps=512, network={"attention": True})
    path.write_text(other.to_yaml(), encoding="utf-8")
    with pytest.raises(InputError, match=r"network: expected .*attention"):
        train(run, other, make_envs, resume=True)
    path.write_text(config.to_yaml(), encoding="utf-8")
    state = run / "checkpoints" / "000000000512" / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"state\.pt: expected SHA-256"):
        train(run, config, make_envs, resume=True)
    shutil.rmtree(state.parent)
    (run / "gate.json").unlink()
    with pytest.raises(InputError, match=r"expected a finished run with gate\.json"):
        RunFolder.open(run).read_gate()
    with pytest.raises(InputError, match="expected a checkpoint to go on from, found none"):
        RunFolder.open(run).load_checkpoint()


def test_checkpoint_cut_off_while_it_was_written_is_left_out(tmp_path: Path) -> None:
    config = config_of(timesteps=2 * 512, evaluation={"every_rollouts": 1})
    train(tmp_path / "run", config, make_envs)
    run = RunFolder.open(tmp_path / "run")
    kept, cut = run.checkpoints()
    last = run.path / "checkpoints" / cut
    (last / "manifest.json").unlink()
    last.rename(last.with_suffix(".part"))
    assert run.checkpoints() == [kept]
    train(run.path, config, make_envs, resume=True)
    assert run.checkpoints() == [kept, cut]


def test_imitation_of_what_cannot_be_played_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"imitation\.rounds: expected 0, as these environments cannot"):
        train(tmp_path / "run", config_of(imitation={"rounds": 1}), make_envs)


def test_seeds_of_training_and_judging_never_meet() -> None:
    drawn = {
        purpose: np.array([first_seed(s, purpose, leg) for s in range(30) for leg in range(30)])
        for purpose in ("train", "validate", "gate")
    }
    room = 1 << 16  # environments count up from these
    assert drawn["train"].max() + room <= drawn["validate"].min()
    assert drawn["validate"].max() + room <= drawn["gate"].min()
    assert len(np.unique(drawn["train"])) > 890


def test_tuning_goes_on_and_writes_what_train_reads(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    config = config_of(timesteps=512, evaluation={"every_rollouts": 1})
    assert tune(tmp_path, config, make_envs, 1).ppo.n_envs == 8
    best = tune(tmp_path, config, make_envs, 2)
    assert read_config(tmp_path / "best.yaml") == best
    assert [path.name for path in sorted(tmp_path.glob("trial-*"))] == ["trial-0000", "trial-0001"]


def test_tuning_without_ppo_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^timesteps: expected above 0, .*, got 0$"):
        tune(tmp_path / "study", config_of(**LEARNS), make_envs, 1)
    assert not (tmp_path / "study").exists()


def test_a_trial_that_failed_is_tried_anew_and_a_study_of_none_has_no_best(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    config = config_of(timesteps=512, evaluation={"every_rollouts": 1})
    with pytest.raises(InputError, match="expected a trial that came to its end, got none of 0"):
        tune(tmp_path, config, make_envs, 0)
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "study.log"))
    storage = optuna.storages.JournalStorage(backend)
    study = optuna.load_study(storage=storage, study_name=config.scenario)
    study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
    tune(tmp_path, config, make_envs, 1)
    assert "best of 1 trials" in (tmp_path / "best.yaml").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.glob("trial-*")] == ["trial-0001"]


def test_bench_tells_environment_and_learning_apart() -> None:
    config = config_of(ppo={"n_envs": 4, "n_steps": 16, "batch_size": 64})
    results = measure(config, make_envs, rollouts=1)
    assert list(results) == [
        "foreshade", "foreshade_idle_environment", "stock_ppo", "stock_ppo_same_batches",
    ]  # fmt: skip
    for row in results.values():
        parts = row["environment_s"] + row["rollout_besides_s"] + row["learning_s"]
        assert 64 / parts == pytest.approx(row["decisions_per_s"])
        assert min(row.values()) > 0
    assert results["foreshade_idle_environment"]["environment_s"] < results["foreshade"]["environment_s"]


def judged(ours: F64, theirs: F64, scenarios: Sequence[str] = ()) -> Comparison:
    return Comparison.of(
        Episodes(ours, {}, {}),
        {"rules": theirs},
        range(len(ours)),
        fallback_rate=0.0,
        out_of_range_rate=0.0,
        by_case={f"{name}:{i}": (float(ours[i]), float(theirs[i])) for i, name in enumerate(scenarios)},
    )


def test_the_gate_is_not_decided_by_one_run_in_a_hundred() -> None:
    theirs = np.full(120, 40.0)
    ours = 0.98 * theirs + np.linspace(-1.0, 1.0, 120)
    assert judged(ours, theirs).passed
    ours[7] = 160.0
    dear = judged(ours, theirs)
    assert dear.differences["rules"].mean > 0
    assert dear.passed
    assert dear.to_dict()["saved_percent"]["rules"]["mean"] == pytest.approx(2.0, abs=0.3)
    assert not judged(1.001 * theirs + np.linspace(-1.0, 1.0, 120), theirs).passed


def test_the_gate_lets_nothing_through_that_loses_on_a_scenario() -> None:
    theirs = np.full(120, 40.0)
    ours = 0.97 * theirs + np.linspace(-1.0, 1.0, 120)
    scenarios = ["enterprise"] * 116 + ["planetlab"] * 4
    assert judged(ours, theirs, scenarios).passed
    ours[116:] = 10.0 * theirs[116:]
    lost = judged(ours, theirs, scenarios)
    assert lost.savings["rules"].mean > 2.0
    assert lost.by_scenario == {
        "enterprise": pytest.approx(3.0, abs=0.3),
        "planetlab": pytest.approx(-900.0, abs=0.1),
    }
    assert not lost.passed
