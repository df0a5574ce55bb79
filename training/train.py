"""One training run from a configuration to a frozen policy that the gate let through.

Habits from whole episodes, or what candidates save, from an expert that plays them out, if asked for; the critic
alone; PPO with checkpoints and paired evaluations, unless no decisions are asked for; then the gate on episodes that
neither trained nor picked the best checkpoint. What does not beat the rules and every baseline with its whole 95 %
interval does not ship: then the start does, and the outcome says so.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from math import isnan
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from foreshade.agents.ham.chosen_among import said_in_manifest
from foreshade.agents.ham.frozen import FrozenPolicy
from foreshade.agents.ham.policy import HamPolicy
from foreshade.envs.candidates import CandidateKnobs
from foreshade.envs.errors import InputError
from foreshade.training.advantage import Expert, learn
from foreshade.training.callbacks import Boundary, EpisodeCurves, record
from foreshade.training.cases import against_gate
from foreshade.training.config import TrainConfig
from foreshade.training.estimate import Estimate
from foreshade.training.evaluation import RULES, Comparison, Evaluator, Judge
from foreshade.training.folder_lock import alone_in
from foreshade.training.freeze import Which, frozen
from foreshade.training.habit_actor import write_habits
from foreshade.training.habits import (
    curves,
    described,
    options_of,
    read,
    readings,
    try_options,
)
from foreshade.training.ppo import TickPPO
from foreshade.training.rollouts import RolloutExpert
from foreshade.training.run_folder import RunFolder
from foreshade.training.seeds import Purpose, first_seed
from foreshade.training.seen import NativeRuns, Runs
from foreshade.training.whole_runs import NATIVE, WholeRuns

#: Counts as a restart that no rollout reaches: imitation plays episodes of its own.
_IMITATION = (1 << 31) - 1

_log = logging.getLogger(__name__)


class MakeEnvs(Protocol):
    """Makes vector environments of the contract in ``docs/ham.md``."""

    def __call__(self, purpose: Purpose, n_envs: int, *, float16: bool) -> VecEnv:
        """``n_envs`` environments, 0 = one for each workload; ``validate`` and ``gate`` are never trained on."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    shipped: Which  # trained = the best checkpoint; start = as imitated; rules = untrained
    comparison: Comparison | None  # of what shipped, on the gate's episodes; None = the rules themselves
    policy: Path

    @property
    def sentence(self) -> str:
        """For a person."""
        if self.comparison is None:
            return f"the gate let nothing learned through: {self.policy} decides as the rules do"
        said = ", ".join(
            f"{saved.mean:.1f} ± {saved.half_width:.1f} % of what {name} cost"
            for name, saved in self.comparison.savings.items()
        )
        return f"{self.policy}: {self.shipped} policy, saves {said}"


def make_model(config: TrainConfig, env: VecEnv) -> TickPPO:
    """The learner of a configuration.

    Raises:
        InputError: CUDA is asked for and there is none, or the environment is not of the contract.

    """
    ppo, network = config.ppo, config.network
    if config.device == "cuda" and not torch.cuda.is_available():
        raise InputError("device: expected a CUDA device that torch can use, found none; use auto or cpu")
    if getattr(env, "schema", None) is None:
        raise InputError("environment: expected a vector environment with `schema`, got none")
    torch.set_num_threads(1)  # two threads on shared cores are slower than one
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")
    return TickPPO(
        HamPolicy,
        env,
        n_steps=ppo.n_steps,
        batch_size=ppo.batch_size,
        n_epochs=ppo.n_epochs,
        learning_rate=lambda left: ppo.learning_rate_end + left * (ppo.learning_rate - ppo.learning_rate_end),
        clip_range=ppo.clip_range,
        target_kl=ppo.target_kl,
        ent_coef=ppo.entropy,
        vf_coef=ppo.value_weight,
        max_grad_norm=ppo.max_grad_norm,
        gae_lambda=ppo.gae_lambda,
        kl_to_start=ppo.kl_to_start,
        critic_warmup=ppo.critic_warmup,
        compile_losses=ppo.compile,
        reward_scale=ppo.reward_scale,
        policy_kwargs={"schema": cast(Any, env).schema, **network.model_dump()},
        seed=config.seed,
        device=config.device,
    )


def train(
    out: str | Path,
    config: TrainConfig,
    make_envs: MakeEnvs,
    *,
    resume: bool = False,
    expert: Expert | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Train into a folder; with ``resume`` go on with the run in it, whose configuration must be this one.

    A resumed run computes bit for bit what an uninterrupted one would have, on one device and build. Ctrl-C ends
    the training and goes to the gate with the best checkpoint so far.

    Raises:
        InputError: the folder is not empty, with ``resume`` holds no such run or one that goes on; a configuration
            that cannot be.

    """
    if against := against_gate(config.scenario):
        _log.warning(against)
    run = _opened(out, config) if resume else None
    env = make_envs("train", config.ppo.n_envs, float16=config.ppo.float16)
    evaluator = _judge(config, make_envs, "validate", config.evaluation.episodes)
    model = make_model(config, env)
    run = run or RunFolder.create(out, config)  # last, so that a scenario that is not there leaves no folder
    with alone_in(run.path):
        boundary = Boundary(run, evaluator)
        model.set_logger(configure(str(run.tensorboard), ["tensorboard"]))
        least_gain = 0.0
        if config.imitation.rounds:
            least_gain = _imitate(run, model, env, evaluator, expert or _rollouts(env, config), on_progress)
        if config.habits.learn:
            _learn_habits(run, model, make_envs, on_progress)
        if resume and run.checkpoints():
            boundary.restore(model)
        left = config.timesteps - model.num_timesteps
        if left > 0 and not boundary.stopped:
            try:
                model.learn(left, [EpisodeCurves(on_progress), boundary], reset_num_timesteps=False)
            except KeyboardInterrupt:  # enough for a person: the gate judges the best checkpoint there is
                if not run.checkpoints():
                    raise
        return _gate(run, model, boundary, make_envs, env, least_gain)


def _opened(out: str | Path, config: TrainConfig) -> RunFolder:
    run = RunFolder.open(out)
    ours, theirs = config.model_dump(), run.config.model_dump()
    for key, value in ours.items():
        if value != theirs[key]:
            raise InputError(
                f"{out}: {key}: expected {theirs[key]!r} as the run was begun with, got {value!r}"
            )
    return run


def _rollouts(env: VecEnv, config: TrainConfig) -> Expert:
    if not hasattr(env, "roll_out"):
        raise InputError("imitation.rounds: expected 0, as these environments cannot be played out")
    return RolloutExpert(cast(Any, env).schema, config.imitation.rollout)


def _imitate(
    run: RunFolder, model: TickPPO, env: VecEnv, evaluator: Judge, expert: Expert,
    on_progress: Callable[[int, int], None] | None,
) -> float:  # fmt: skip
    """Learn from the expert, make that the start, and find how much a choice must save to be taken."""
    config = run.config

    def on_round(round_: int, said: dict[str, float]) -> None:
        for name, value in said.items():
            model.logger.record(f"imitation/{name}", value)
        model.logger.dump(round_)

    first = first_seed(config.seed, "train", _IMITATION)
    learn(
        model.ham, env, expert, config.imitation, first, run.path / "labels",
        on_round=on_round, on_progress=on_progress,
    )  # fmt: skip
    model.ham.remember_start()
    known = run.read_choice()
    if known is None:
        tried = {
            gain: evaluator.compare(_frozen(model, config, "start", least_gain=gain))
            for gain in config.evaluation.least_gains
        }
        # The one whose interval against the rules ends lowest: what is better and known to be.
        best = min(tried, key=lambda gain: _upper(tried[gain].differences[RULES]))
        known = {"least_gain": best, "tried": {str(gain): said.to_dict() for gain, said in tried.items()}}
        run.write_choice(known)
    return float(known["least_gain"])


def _judge(config: TrainConfig, make_envs: MakeEnvs, purpose: Purpose, episodes: int) -> Judge:
    baselines = config.evaluation.baselines
    if config.components != NATIVE:
        return WholeRuns.of_scenario(config.scenario, purpose, config.components, config.processes, baselines)
    return Evaluator(make_envs(purpose, episodes, float16=False), first_seed(config.seed, purpose), baselines)


def _learn_habits(
    run: RunFolder, model: TickPPO, make_envs: MakeEnvs, on_progress: Callable[[int, int], None] | None
) -> None:
    """Learn which options to follow where, and make that the start."""
    config, ham = run.config, model.ham
    said = getattr(model.get_env(), "decision", None)
    if said is None:
        raise InputError("habits: expected environments that say what their candidates are, got others")
    knobs: CandidateKnobs = said.candidates
    runs: Runs
    if config.components != NATIVE:
        runs = WholeRuns.of_scenario(config.scenario, "habits", config.components, config.processes)
    else:
        runs = NativeRuns(make_envs("habits", 0, float16=False), first_seed(config.seed, "habits"))
    options = options_of(knobs, config.habits.options)
    path = run.path / "habits.jsonl"
    trials = try_options(ham, runs, knobs, options, config.habits, path, on_progress)
    columns = [column.name for column in ham.network["schema"].context]
    found = readings(trials, config.habits, columns)
    best = [of[0] for of in found.values()]
    habits = read(trials, best, config.habits, columns)
    run.write_choice(
        {
            "chosen": [asdict(reading) for reading in best],
            "habits": described(trials, habits, columns),
            "readings": [asdict(reading) for of in found.values() for reading in of],
        }
    )
    for n, saved in curves(trials):
        for option, percent in saved.items():
            model.logger.record(f"habits/{option}_saved_percent", percent)
        model.logger.dump(n)
    write_habits(ham.scorer.actor, ham.network["schema"], habits)
    ham.remember_start()


def _upper(less: Estimate) -> float:
    """Where the interval ends; the mean where there is none, as with draws of one day."""
    return less.mean + (0.0 if isnan(less.half_width) else less.half_width)


def _gate(
    run: RunFolder, model: TickPPO, boundary: Boundary, make_envs: MakeEnvs, env: VecEnv, least_gain: float
) -> Outcome:
    config = run.config
    learned: list[Which] = ["start"] if config.imitation.rounds or config.habits.learn else []
    if config.timesteps:
        learned.insert(0, "trained")
        state, _ = run.load_checkpoint(boundary.best)
        model.policy.load_state_dict(state["policy"])
    evaluator = _judge(config, make_envs, "gate", config.evaluation.gate_episodes)
    origin = {
        "scenario": config.scenario,
        "components": config.components,
        "seeds": {
            "run": config.seed,
            "validate": boundary.evaluator.first_seed,
            "gate": evaluator.first_seed,
        },
        "decisions": int(boundary.best or 0),
        "revision": revision(),
        **_candidates(env),
        "versions": {name: version(name) for name in ("foreshade", "torch", "stable-baselines3")},
    }
    tried: dict[str, Any] = {}
    shipped: Which = "rules"
    passed: Comparison | None = None
    for which in learned:
        tested = _frozen(model, config, which, origin, least_gain=_gain_of(which, least_gain))
        comparison = evaluator.compare(tested)
        tried[which] = comparison.to_dict()
        record(model.logger, f"gate_{which}", comparison)
        model.logger.dump(model.num_timesteps)
        if comparison.passed:
            shipped, passed = which, comparison
            break
    policy = _frozen(
        model, config, shipped, {**origin, "shipped": shipped, "gate": tried},
        least_gain=_gain_of(shipped, least_gain),
    )  # fmt: skip
    policy.save(run.policy)
    run.write_gate({"shipped": shipped, "checkpoint": boundary.best, "tried": tried})
    return Outcome(shipped, passed, run.policy)


def _gain_of(which: Which, least_gain: float) -> float:
    """PPO moves logits to probabilities, which are no savings: there the floor of confidence decides alone."""
    return least_gain if which == "start" else 0.0


def _frozen(
    model: TickPPO,
    config: TrainConfig,
    which: Which,
    origin: Mapping[str, Any] | None = None,
    *,
    least_gain: float = 0.0,
) -> FrozenPolicy:
    floor = config.evaluation.confidence_floor
    return frozen(model.ham, which=which, confidence_floor=floor, least_gain=least_gain, origin=origin)


def _candidates(env: VecEnv) -> dict[str, Any]:
    """What the policy chose among, as its manifest says it; nothing where the environment does not say."""
    decision = getattr(env, "decision", None)
    return {} if decision is None else said_in_manifest(decision.candidates)


def revision() -> str | None:
    """Git revision of the sources, with ``+`` where they were changed since; None outside a checkout."""
    said: list[str] = []
    for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no")):
        try:
            done = subprocess.run(  # noqa: S603
                ("git", *command),  # noqa: S607
                cwd=Path(__file__).resolve().parent, capture_output=True, text=True, check=True, timeout=10,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            return None
        said.append(done.stdout.strip())
    return said[0] + ("+" if said[1] else "")
