"""Search for hyperparameters with Optuna: short runs, judged by their best paired evaluation against the rules.

Akiba et al., *Optuna*, KDD 2019; its TPE sampler, seeded. The study is kept in the folder and a second call
goes on with it. Nothing here sees the episodes of the gate.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from foreshade.envs.errors import InputError
from foreshade.envs.extras import require
from foreshade.training.callbacks import Boundary
from foreshade.training.config import TrainConfig
from foreshade.training.evaluation import RULES, Evaluator
from foreshade.training.folder_lock import alone_in
from foreshade.training.run_folder import RunFolder
from foreshade.training.seeds import first_seed
from foreshade.training.train import MakeEnvs, make_model
from foreshade.training.whole_runs import NATIVE

BEST = "best.yaml"


def suggested(trial: Any, config: TrainConfig) -> TrainConfig:
    """The configuration of a trial: what is searched, and in which range."""
    ppo = {
        "learning_rate": trial.suggest_float("learning_rate", 5e-5, 3e-3, log=True),
        "clip_range": trial.suggest_float("clip_range", 0.05, 0.3),
        "target_kl": trial.suggest_float("target_kl", 3e-3, 0.1, log=True),
        "entropy": trial.suggest_float("entropy", 1e-5, 1e-2, log=True),
        "gae_lambda": trial.suggest_float("gae_lambda", 0.8, 0.99),
        "kl_to_start": trial.suggest_float("kl_to_start", 1e-3, 1.0, log=True),
        "n_epochs": trial.suggest_int("n_epochs", 2, 10),
    }
    network = {
        "temperature": 2.0 ** trial.suggest_int("log2_temperature", -6, 1),
        "hidden": trial.suggest_categorical("hidden", [16, 32, 64]),
    }
    return config.changed(
        ppo={**config.ppo.model_dump(), **ppo}, network={**config.network.model_dump(), **network}
    )


def tune(
    out: str | Path,
    config: TrainConfig,
    make_envs: MakeEnvs,
    n_trials: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> TrainConfig:
    """Try what the study lacks of ``n_trials``, write the best configuration to ``best.yaml``, and return it.

    Raises:
        InputError: the folder cannot be written or another command works in it, no trial came to its end, or the
            configuration asks for no PPO, which is what is searched, or for components, which trials are not
            judged with.
        MissingExtraError: Optuna is not installed.

    """
    if config.components != NATIVE:
        raise InputError(f"components: expected {NATIVE}, as trials are judged so, got {config.components!r}")
    if config.timesteps == 0:
        raise InputError("timesteps: expected above 0, as PPO is what is searched, got 0")
    optuna = require("optuna", "train", "tuning")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = Path(out)
    with alone_in(folder):
        return _searched(folder, optuna, config, make_envs, n_trials, on_progress)


def _searched(
    folder: Path,
    optuna: Any,
    config: TrainConfig,
    make_envs: MakeEnvs,
    n_trials: int,
    on_progress: Callable[[int, int], None] | None,
) -> TrainConfig:
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(folder / "study.log"))
    )
    study = optuna.create_study(storage=storage, study_name=config.scenario, load_if_exists=True)
    study.sampler = optuna.samplers.TPESampler(seed=config.seed + len(study.trials))

    def objective(trial: Any) -> float:
        return _judged(folder / f"trial-{trial.number:04d}", suggested(trial, config), make_envs)

    # No more than are lacking: a trial whose cost is no number fails without a word, and so may all that follow.
    for _ in range(n_trials - _finished(study)):
        if on_progress is not None:
            on_progress(_finished(study), n_trials)
        study.optimize(objective, n_trials=1)
    if not (finished := _finished(study)):
        raise InputError(f"{folder}: expected a trial that came to its end, got none of {len(study.trials)}")
    best = suggested(optuna.trial.FixedTrial(study.best_params), config)
    (folder / BEST).write_text(
        f"# {study.best_value:+.4g} USD an episode against the rules, best of {finished} trials\n"
        + best.to_yaml(),
        encoding="utf-8",
    )
    return best


def _finished(study: Any) -> int:
    """Trials that came to their end and have a score."""
    return sum(trial.state.name == "COMPLETE" for trial in study.trials)


def _judged(folder: Path, config: TrainConfig, make_envs: MakeEnvs) -> float:
    """Mean paired difference against the rules of the best evaluation of a short run, USD of an episode."""
    run = RunFolder.create(folder, config)
    env = make_envs("train", config.ppo.n_envs, float16=config.ppo.float16)
    held_out = make_envs("validate", config.evaluation.episodes, float16=False)
    boundary = Boundary(run, Evaluator(held_out, first_seed(config.seed, "validate")))
    make_model(config, env).learn(config.timesteps, boundary)
    return min(float(one["difference_usd"][RULES]["mean"]) for one in boundary.history)
