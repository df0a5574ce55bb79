"""Habits: which way of doing what the rules do is the best for which data centre, from whole episodes.

A choice that a play-out values may be dear as a habit, and a habit that saves in one data centre may cost in another.
Here each option (``habit_actor``) is followed throughout on many training workloads, each paired with the rules on
the same one; with components, or in the native batch without (``seen.Runs``). What it saves is fitted, by ridge
regression, to what the demand there is like: savings in per cent on the means of a few columns of the context, which
hardly depend on what is done. Where a habit's prediction is above a margin it is followed; columns and margin are
those whose interval begins highest in cross-validation.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from foreshade.agents.ham.chosen_among import said_in_manifest
from foreshade.agents.ham.policy import HamPolicy
from foreshade.envs.candidates import CandidateKnobs
from foreshade.envs.errors import InputError
from foreshade.training.config import HabitsConfig
from foreshade.training.estimate import Estimate
from foreshade.training.freeze import frozen
from foreshade.training.habit_actor import Habit, Option, write_habits
from foreshade.training.seen import Runs, Seen

F64 = npt.NDArray[np.float64]
_LEAST_WORKLOADS = 8
_FOLDS = 8
_ARRAYS = ("columns", "low", "high")
_ALWAYS = 100.0  # per cent: a habit of this saving is followed everywhere


@dataclass(frozen=True, slots=True)
class Trials:
    """What options cost on the training workloads, and what demand was like there."""

    options: tuple[Option, ...]
    rules_usd: F64  # (n,)
    option_usd: F64  # (n_options, n)
    columns: F64  # (n, G) of the context, means over the decisions of the rules
    groups: npt.NDArray[np.int64]  # (n,) workloads of one group are alike
    strata: npt.NDArray[np.int64]  # (n,) of which scenario each is

    def of(self, which: npt.NDArray[np.bool_]) -> Trials:
        """Those on some of the workloads, (n,)."""
        return Trials(
            self.options,
            self.rules_usd[which],
            self.option_usd[:, which],
            self.columns[which],
            self.groups[which],
            self.strata[which],
        )

    @property
    def savings(self) -> F64:
        """(n_options, n) per cent of the rules' cost, on the logarithm's scale."""
        saved: F64 = 100.0 * np.log(self.rules_usd / self.option_usd)
        return saved


def options_of(knobs: CandidateKnobs, named: Sequence[str] = ()) -> tuple[Option, ...]:
    """The sizings and plans beside the rules' own; of these names, where any are named.

    Raises:
        InputError: a name that is no option's.

    """
    found = [Option(f"right_size-{way}", "right_size", way) for way in range(1, len(knobs.sizings) + 1)]
    others = [plan.name for plan in knobs.plans if not plan.preferred]
    if len(others) + 1 == len(knobs.plans):  # else it is not said whose place a plan takes
        found += [Option(name, "plan", way) for way, name in enumerate(others, start=1)]
    known = [option.name for option in found]
    if unknown := [name for name in named if name not in known]:
        raise InputError(
            f"habits.options: expected options of {', '.join(known)}, found {', '.join(unknown)}"
        )
    return tuple(option for option in found if not named or option.name in named)


def try_options(
    policy: HamPolicy, runs: Runs, knobs: CandidateKnobs, options: Sequence[Option], config: HabitsConfig, path: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> Trials:  # fmt: skip
    """Play the rules and every option on every workload; what stands in ``path`` is not played again.

    Raises:
        InputError: there are too few workloads or no options, habits of them cannot be written, or the file is
            another's.

    """
    if len(runs) < _LEAST_WORKLOADS or not options:
        raise InputError(
            f"habits: expected at least {_LEAST_WORKLOADS} workloads and an option, "
            f"got {len(runs)} and {len(options)}"
        )
    if len(set(runs.groups)) < 2:
        raise InputError("habits: expected draws of at least two days or stretches of a trace, got one's")
    schema, actor = policy.network["schema"], policy.scorer.actor
    origin = said_in_manifest(knobs)
    untouched = {name: value.clone() for name, value in actor.state_dict().items()}
    for names in config.columns:  # what cannot be written is said before hours of play
        write_habits(actor, schema, [Habit(option, 0.0, dict.fromkeys(names, 0.0)) for option in options])
    played: list[list[Seen]] = _read(path, options, len(runs), len(schema.context) + len(schema.candidate))
    done, total = sum(map(len, played)), len(runs) * len(played)
    with path.open("a", encoding="utf-8") as file:
        for number, followed in enumerate(played):
            write_habits(actor, schema, [Habit(options[number - 1], _ALWAYS, {})] if number else [])
            always = frozen(policy, everywhere=True, origin=origin)
            for seen in runs.seen(always, len(followed)) if len(followed) < len(runs) else ():
                followed.append(seen)
                file.write(_line(number, seen))
                file.flush()
                done += 1
                if on_progress is not None:
                    on_progress(done, total)
    actor.load_state_dict(untouched)
    every = [seen for followed in played for seen in followed]
    policy.range_low.copy_(torch.as_tensor(np.min([seen.low for seen in every], axis=0)))
    policy.range_high.copy_(torch.as_tensor(np.max([seen.high for seen in every], axis=0)))
    usd = np.array([[seen.usd for seen in followed] for followed in played])
    columns = np.array([seen.columns for seen in played[0]])
    return Trials(tuple(options), usd[0], usd[1:], columns, np.array(runs.groups), np.array(runs.strata))


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


@dataclass(frozen=True, slots=True)
class Reading:
    """How savings of the options of one kind are read, and what following them so would have saved."""

    kind: str
    columns: tuple[str, ...]
    margin: float  # per cent
    saved: Estimate  # per cent of the rules' cost, on workloads that the habits were not fitted to


def readings(trials: Trials, config: HabitsConfig, known: Sequence[str]) -> dict[str, list[Reading]]:
    """By kind every set of columns with every margin, cross-validated; the one whose interval begins highest first.

    Kinds are read apart, as what one of them saves depends on other things than what another does. Groups of
    workloads are left out whole, and count as one in the interval: draws of a day would foretell each other. How many
    workloads there are of a scenario was chosen and is no chance: an interval is of what varies within scenarios.
    """
    folds = np.unique(trials.groups, return_inverse=True)[1] % _FOLDS
    n_folds = int(folds.max()) + 1
    found: dict[str, list[Reading]] = {option.kind: [] for option in trials.options}
    for names in config.columns:
        expected = np.empty(trials.savings.shape)
        for fold in range(n_folds):
            of = folds == fold
            habits = fitted(trials.of(~of), names, known, config.ridge)
            expected[:, of] = [habit.expected(trials.columns[of], known) for habit in habits]
        for kind, margin in itertools.product(found, config.margins):
            rows = [row for row, option in enumerate(trials.options) if option.kind == kind]
            best = expected[rows].argmax(axis=0)
            follow = expected[rows].max(axis=0) > margin
            saved = np.where(follow, trials.savings[rows][best, np.arange(len(folds))], 0.0)
            worth = Estimate.clustered(saved.tolist(), trials.groups.tolist(), trials.strata.tolist())
            found[kind].append(Reading(kind, tuple(names), margin, worth))
    return {
        kind: sorted(of, key=lambda one: one.saved.half_width - one.saved.mean) for kind, of in found.items()
    }


def read(
    trials: Trials, best: Sequence[Reading], config: HabitsConfig, known: Sequence[str]
) -> tuple[Habit, ...]:
    """The habits of each kind by its reading, the margins off."""
    return tuple(
        Habit(habit.option, habit.bias - reading.margin, habit.weights)
        for reading in best
        for habit in fitted(trials, reading.columns, known, config.ridge)
        if habit.option.kind == reading.kind
    )


def curves(trials: Trials) -> Iterator[tuple[int, dict[str, float]]]:
    """How many workloads were played, as many of each scenario as of it there are, and what each option saved, %."""
    within = np.zeros(len(trials.strata))
    for stratum in np.unique(trials.strata):
        of = trials.strata == stratum
        within[of] = np.arange(1, of.sum() + 1) / of.sum()
    savings = trials.savings[:, np.argsort(within, kind="stable")]
    for n in range(_LEAST_WORKLOADS, savings.shape[1] + 1):
        saved = savings[:, :n].mean(axis=1)
        yield n, {option.name: float(one) for option, one in zip(trials.options, saved, strict=True)}


def described(trials: Trials, habits: Sequence[Habit], known: Sequence[str]) -> list[dict[str, Any]]:
    """For people: what each option saved, how much of it the columns say, and where it is expected to save."""
    out = []
    for habit in habits:
        saved = trials.savings[trials.options.index(habit.option)]
        said = Estimate.of([float(one) for one in saved])
        expected = habit.expected(trials.columns, known)
        rest = float(((saved - expected) ** 2).sum())
        out.append(
            {
                "option": habit.option.name,
                "saved_percent": {"mean": said.mean, "half_width": said.half_width},
                "explained": 1.0 - rest / max(float(((saved - saved.mean()) ** 2).sum()), 1e-12),
                "above_zero": float((expected > 0).mean()),
                "bias": habit.bias,
                "weights": dict(habit.weights),
            }
        )
    return out


def _line(number: int, seen: Seen) -> str:
    said = {"option": number, "usd": seen.usd, **{key: getattr(seen, key).tolist() for key in _ARRAYS}}
    return json.dumps(said, allow_nan=False) + "\n"


def _read(path: Path, options: Sequence[Option], n_runs: int, n_columns: int) -> list[list[Seen]]:
    """The runs that a file holds, of the rules and of each option; it is begun where it is not there.

    A line that was not written whole is the last, and is cut off.
    """
    heading = json.dumps({"options": [asdict(option) for option in options], "runs": n_runs})
    played: list[list[Seen]] = [[] for _ in range(len(options) + 1)]
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        if whole and whole[0].rstrip() != heading:
            raise InputError(
                f"{path}: expected the runs of other options or workloads: remove it to play anew"
            )
        if len(whole) < len(lines) or not whole:
            path.write_text("".join(whole) or heading + "\n", encoding="utf-8")
        for line in whole[1:]:
            said = json.loads(line)
            arrays = [np.array(said[key], np.float64) for key in _ARRAYS]
            if arrays[1].shape != (n_columns,) or arrays[2].shape != (n_columns,):
                raise ValueError(f"expected {n_columns} columns, got {len(arrays[1])}")
            played[said["option"]].append(Seen(float(said["usd"]), *arrays))
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"{path}: expected what options cost ({error}): remove it to play anew") from error
    return played
