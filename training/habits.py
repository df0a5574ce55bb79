"""Habits: which way of doing what the rules do is the best for which data centre, from whole episodes.

A choice that a play-out values may be dear as a habit, and a habit that saves in one data centre may cost in another.
Here each option (``habit_actor``) is followed throughout on many training workloads, each paired with the rules on
the same one. What it saves is fitted, by ridge regression, to what the demand there is like: savings in per cent on
the means of a few columns of the context, which hardly depend on what is done. Where a habit's prediction is above a
margin it is followed; columns and margin are those whose paired interval on the evaluation's episodes ends lowest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from foreshade.agents.ham.policy import HamPolicy
from foreshade.envs.candidates import CandidateKnobs
from foreshade.envs.errors import InputError
from foreshade.envs.features import F32
from foreshade.training.config import HabitsConfig
from foreshade.training.estimate import Estimate
from foreshade.training.habit_actor import Habit, Option, write_habits

F64 = npt.NDArray[np.float64]
_LEAST_WORKLOADS = 8
_ARRAYS = ("rules_usd", "option_usd", "columns", "low", "high")
_ALWAYS = 100.0  # per cent: a habit of this saving is followed everywhere


@dataclass(frozen=True, slots=True)
class Trials:
    """What options cost on the training workloads, and what demand was like there."""

    options: tuple[Option, ...]
    rules_usd: F64  # (n,)
    option_usd: F64  # (n_options, n)
    columns: F64  # (n, G) of the context, means over the decisions of the rules
    low: F64  # (G + F,) smallest value of each column in all that was shown, the context's first
    high: F64  # (G + F,) largest

    @property
    def savings(self) -> F64:
        """(n_options, n) per cent of the rules' cost, on the logarithm's scale."""
        saved: F64 = 100.0 * np.log(self.rules_usd / self.option_usd)
        return saved


def options_of(knobs: CandidateKnobs, tick_s: float) -> tuple[Option, ...]:
    """Sizings and plans beside the rules' own that can be told from them and from each other by their patience."""
    found = [
        Option(f"right_size-{sizing.slack_floor:g}", "right_size", sizing.slack_floor, knobs.slack_floor)
        for sizing in knobs.sizings
    ]
    preferred = [plan for plan in knobs.plans if plan.preferred]
    if len(preferred) == 1:  # else it is not said whose place a plan takes
        days = tick_s / 86_400.0
        own = preferred[0].packer.drain_ticks * days
        found += [
            Option(plan.name, "plan", plan.packer.drain_ticks * days, own)
            for plan in knobs.plans
            if not plan.preferred and abs(plan.packer.drain_ticks * days - own) > 0.049
        ]
    return tuple(found)


def try_options(
    policy: HamPolicy, env: VecEnv, options: Sequence[Option], config: HabitsConfig, seed: int, path: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> Trials:  # fmt: skip
    """Play the rules and every option on every workload; what stands in ``path`` is not played again.

    Raises:
        InputError: there are too few workloads or no options, a column is not known, or the file is another's.

    """
    schema = policy.network["schema"]
    known = [column.name for column in schema.context]
    unknown = sorted({name for names in config.columns for name in names} - set(known))
    if unknown:
        raise InputError(f"habits.columns: expected columns of the context, found {', '.join(unknown)}")
    n_worlds = int(getattr(env, "n_worlds", 1))
    if n_worlds < _LEAST_WORKLOADS or not options:
        raise InputError(
            f"habits: expected at least {_LEAST_WORKLOADS} workloads and an option, got {n_worlds} and {len(options)}"
        )
    if path.exists():
        trials = _read(path, tuple(options), len(known) + len(schema.candidate))
        policy.range_low.copy_(torch.as_tensor(trials.low))
        policy.range_high.copy_(torch.as_tensor(trials.high))
        return trials
    actor = policy.scorer.actor
    untouched = {name: value.clone() for name, value in actor.state_dict().items()}
    rules_usd, columns = _play(policy, env, seed)
    costs = []
    for i, option in enumerate(options):
        if on_progress is not None:
            on_progress(i + 1, len(options) + 1)
        write_habits(actor, schema, [Habit(option, _ALWAYS, {})], options)
        costs.append(_play(policy, env, seed)[0])
    actor.load_state_dict(untouched)
    low, high = (of.cpu().numpy().astype(np.float64) for of in (policy.range_low, policy.range_high))
    trials = Trials(tuple(options), rules_usd, np.array(costs), columns, low, high)
    _write(path, trials)
    return trials


def fitted(trials: Trials, names: Sequence[str], known: Sequence[str], ridge: float) -> tuple[Habit, ...]:
    """What each option is expected to save, from these of the ``known`` columns; no margin is off yet."""
    columns = trials.columns[:, [known.index(name) for name in names]]
    mean, spread = columns.mean(axis=0), columns.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    x = (columns - mean) / spread
    gram = x.T @ x + ridge * np.eye(x.shape[1])
    habits = []
    for option, saved in zip(trials.options, trials.savings, strict=True):
        weights = np.linalg.solve(gram, x.T @ (saved - saved.mean())) / spread
        bias = float(saved.mean() - weights @ mean)
        habits.append(Habit(option, bias, {name: float(w) for name, w in zip(names, weights, strict=True)}))
    return tuple(habits)


def allowed(habits: Sequence[Habit], follow: Sequence[str]) -> tuple[Habit, ...]:
    """Those whose option may be followed; none named = all.

    Raises:
        InputError: a name that is no option's.

    """
    known = [habit.option.name for habit in habits]
    if unknown := [name for name in follow if name not in known]:
        raise InputError(f"habits.follow: expected options of {', '.join(known)}, found {', '.join(unknown)}")
    return tuple(habit for habit in habits if not follow or habit.option.name in follow)


def with_margin(habits: Sequence[Habit], margin: float) -> tuple[Habit, ...]:
    """The same, followed only where they save more than a margin."""
    return tuple(Habit(habit.option, habit.bias - margin, habit.weights) for habit in habits)


def described(trials: Trials, habits: Sequence[Habit], known: Sequence[str]) -> list[dict[str, Any]]:
    """For people: what each option saved on the whole, and how much of it is said by the columns."""
    out = []
    for habit, saved in zip(habits, trials.savings, strict=True):
        said = Estimate.of([float(one) for one in saved])
        expected = habit.bias + sum(
            trials.columns[:, known.index(name)] * w for name, w in habit.weights.items()
        )
        rest = float(((saved - expected) ** 2).sum())
        out.append(
            {
                "option": habit.option.name,
                "saved_percent": {"mean": said.mean, "half_width": said.half_width},
                "explained": 1.0 - rest / max(float(((saved - saved.mean()) ** 2).sum()), 1e-12),
                "bias": habit.bias,
                "weights": dict(habit.weights),
            }
        )
    return out


def _play(policy: HamPolicy, env: VecEnv, seed: int) -> tuple[F64, F64]:
    """USD of each environment's first episode, and means of the context's columns over its decisions."""
    env.seed(seed)
    shown = np.asarray(env.reset(), np.float32)
    usd = np.full(env.num_envs, np.nan)
    n_context = len(policy.network["schema"].context)
    sums, steps = np.zeros((env.num_envs, n_context)), np.zeros(env.num_envs)
    while np.isnan(usd).any():
        running = np.isnan(usd)
        sums += np.where(running[:, None], shown[:, :n_context], 0.0)
        steps += running
        observation = torch.as_tensor(shown, device=policy.device)
        policy.widen_range(observation)
        with torch.no_grad():
            chosen = policy.logits(observation).argmax(dim=1).cpu().numpy()
        after, _, dones, infos = env.step(chosen)
        shown = cast(F32, np.asarray(after, np.float32))
        for i in np.flatnonzero(dones):
            if running[i]:
                usd[i] = sum(infos[i]["terms"].values())
    return usd, sums / steps[:, None]


def _write(path: Path, trials: Trials) -> None:
    arrays = {key: getattr(trials, key).tolist() for key in _ARRAYS}
    said = {"options": [asdict(option) for option in trials.options], **arrays}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(said, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    part.replace(path)


def _read(path: Path, options: tuple[Option, ...], n_columns: int) -> Trials:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        known = tuple(Option(**option) for option in said["options"])
        usd, costs, columns, low, high = (np.array(said[key], np.float64) for key in _ARRAYS)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: expected what options cost ({error}): remove it to play anew") from error
    shapes = costs.shape, columns.shape[0], low.shape, high.shape
    if known != options or shapes != ((len(options), len(usd)), len(usd), (n_columns,), (n_columns,)):
        raise InputError(f"{path}: expected other options: remove it to play anew")
    return Trials(known, usd, costs, columns, low, high)
