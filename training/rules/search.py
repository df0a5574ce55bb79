"""The rules' thresholds and weights by multi-objective search, and the front that no setting beats on all counts.

Optuna's TPE sampler for several objectives (Ozaki et al., *Multiobjective Tree-structured Parzen Estimator*,
JAIR 2022), seeded; the study lies in the folder, and a second call goes on with it. Points of the front are
judged on worlds that took no part.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foreshade.agents.rules.rule_file import to_yaml
from foreshade.envs.candidates import KINDS, OF_PLAN, CandidateKnobs
from foreshade.envs.errors import InputError
from foreshade.envs.extras import require
from foreshade.training.estimate import Estimate
from foreshade.training.rules.ground import MEASURES, Ground, Played

#: What is made small unless other measures are asked for.
OBJECTIVES = ("cost", "unmet", "migrations")
STUDY = "study.log"
#: Kinds that may be taken beside the plan; which are is part of the search.
OPTIONAL_KINDS = ("place", "migrate", "microvm", "drain", "power_on")
ALWAYS_KINDS = ("right_size", "grow", "shrink")
_TAKE = "take."  # before the name of a kind: whether it may be taken


@dataclass(frozen=True, slots=True)
class Span:
    """The values that a knob may take; ``plan.`` of the packer that the rules follow."""

    knob: str
    low: float
    high: float
    log: bool = False
    whole: bool = False


SPANS = (
    Span("threshold", 0.0, 0.5),
    Span("headroom", 1.05, 2.5),
    Span("ceiling", 1.0, 4.0),
    Span("floor", 0.03, 0.3, log=True),
    Span("least_change", 0.02, 0.4, log=True),
    Span("peak_ticks", 72, 2000, log=True, whole=True),
    Span("settle_ticks", 3, 36, whole=True),
    Span("horizon_ticks", 6, 72, log=True, whole=True),
    Span("off_ticks", 12, 144, log=True, whole=True),
    Span("sigma_scale", 0.5, 3.0),
    Span("micro_share", 0.05, 0.5),
    Span("helpers", 0, 4, whole=True),
    Span("plan.sigma_scale", 0.8, 4.0),
    Span("plan.reserve", 0.25, 3.0),
    Span("plan.boot_weight", 0.25, 4.0, log=True),
    Span("plan.drain_ticks", 36, 600, log=True, whole=True),
    Span("plan.horizon_ticks", 8, 72, log=True, whole=True),
    Span("plan.move_weight", 0.5, 4.0, log=True),
)


@dataclass(frozen=True, slots=True)
class Point:
    """A setting of the front."""

    number: int  # of the trial
    knobs: CandidateKnobs
    params: Mapping[str, Any]
    trained: Mapping[str, float]  # means over the training worlds; ``ratio``: of cost to the untuned rules'
    judged: Mapping[str, Estimate]  # minus the untuned rules, on the judging worlds, by measure


@dataclass(frozen=True, slots=True)
class Front:
    """What a study came to."""

    scenario: str
    objectives: tuple[str, ...]
    untuned: Mapping[str, float]  # means over the training worlds
    trials: tuple[Mapping[str, float], ...]  # likewise of every trial
    points: tuple[Point, ...]  # cheapest first
    train: tuple[str, ...]  # worlds
    validate: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The cheapest point in words."""
        best = self.points[0]
        cost = best.judged["cost"]
        sure = "its interval leaves 0 out" if cost.resolved else "its interval holds 0"
        return (
            f"{len(self.trials)} trials, {len(self.points)} on the front; the cheapest in training, trial "
            f"{best.number}, costs {cost.mean:+.2f} ± {cost.half_width:.2f} USD a run against the untuned rules on "
            f"{len(self.validate)} other worlds: {sure}"
        )

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {
            "scenario": self.scenario,
            "objectives": list(self.objectives),
            "untuned": dict(self.untuned),
            "train": list(self.train),
            "validate": list(self.validate),
            "trials": [dict(one) for one in self.trials],
            "points": [
                {
                    "trial": point.number,
                    "file": file_of(i),
                    "params": dict(point.params),
                    "trained": dict(point.trained),
                    "judged": {
                        key: {
                            "mean": e.mean,
                            "half_width": e.half_width if math.isfinite(e.half_width) else None,
                        }
                        for key, e in point.judged.items()
                    },
                }
                for i, point in enumerate(self.points)
            ],
        }


def file_of(i: int) -> str:
    """The YAML of a point, by its place on the front."""
    return f"front-{i + 1:02d}.yaml"


def changed(knobs: CandidateKnobs, params: Mapping[str, Any]) -> CandidateKnobs:
    """The knobs with those of a trial."""
    setting = {name: value for name, value in params.items() if not name.startswith(_TAKE)}
    if len(setting) < len(params):
        kinds = {*ALWAYS_KINDS, *(kind for kind in OPTIONAL_KINDS if params.get(f"{_TAKE}{kind}"))}
        order = dict.fromkeys((*knobs.preferred, *KINDS))
        setting["preferred"] = tuple(kind for kind in order if kind in kinds)
    return knobs.changed(setting)


def untuned_params(knobs: CandidateKnobs) -> dict[str, Any]:
    """The knobs as a trial would say them, inside the spans: where the search begins."""
    params: dict[str, Any] = {
        span.knob: min(max(knobs.value(span.knob), span.low), span.high) for span in _spans(knobs)
    }
    return params | {f"{_TAKE}{kind}": kind in knobs.preferred for kind in OPTIONAL_KINDS}


def _spans(knobs: CandidateKnobs) -> Iterator[Span]:
    followed = knobs.followed is not None
    return (span for span in SPANS if followed or not span.knob.startswith(OF_PLAN))


def search(
    out: Path,
    scenario: str,
    knobs: CandidateKnobs,
    train: Ground,
    validate: Ground,
    *,
    n_trials: int,
    seed: int = 0,
    objectives: Sequence[str] = OBJECTIVES,
    most_points: int = 12,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Front:
    """Try until the study holds ``n_trials``, judge its front, and write the points as YAML and JSON.

    Raises:
        InputError: the folder cannot be written or holds a study of something else, or no such objective.
        MissingExtraError: Optuna is not installed.

    """
    check(out, objectives)
    optuna = require("optuna", "rules", "rules tune")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _study(optuna, out, scenario, knobs, tuple(objectives), train)
    base = train.play(knobs)
    if not study.trials:
        study.enqueue_trial(untuned_params(knobs))

    def objective(trial: Any) -> tuple[float, ...]:
        means = _means(train.play(changed(knobs, _suggested(trial, knobs))), base)
        trial.set_user_attr("means", means)
        return tuple(means["ratio"] if name == "cost" else means[name] for name in objectives)

    while (finished := sum(t.state.name == "COMPLETE" for t in study.trials)) < n_trials:
        on_progress(finished, n_trials)
        study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials), multivariate=True)
        study.optimize(objective, n_trials=1)
    on_progress(n_trials, n_trials)
    front = _front(study, scenario, knobs, tuple(objectives), train, validate, base, most_points)
    for i, point in enumerate(front.points):
        (out / file_of(i)).write_text(to_yaml(point.knobs, _heading(front, point)), encoding="utf-8")
    (out / "front.json").write_text(json.dumps(front.to_dict(), indent=1) + "\n", encoding="utf-8")
    return front


def check(out: Path, objectives: Sequence[str]) -> None:
    """What can be refused before worlds are built.

    Raises:
        InputError: the folder cannot be written, or there is no such objective.

    """
    for name in objectives:
        if name not in MEASURES:
            raise InputError(f"--objectives: expected some of {', '.join(MEASURES)}, found {name!r}")
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / STUDY).touch()
    except OSError as error:
        raise InputError(f"--out {out}: expected a folder that can be written, {error.strerror}") from error


def _study(
    optuna: Any, out: Path, scenario: str, knobs: CandidateKnobs, objectives: tuple[str, ...], train: Ground
) -> Any:
    backend = optuna.storages.journal.JournalFileBackend(str(out / STUDY))
    storage = optuna.storages.JournalStorage(backend)
    if optuna.study.get_all_study_names(storage):
        study = optuna.load_study(study_name="rules", storage=storage)
    else:
        goals = ["minimize"] * len(objectives)
        study = optuna.create_study(study_name="rules", storage=storage, directions=goals)
    asked = {
        "scenario": scenario,
        "objectives": list(objectives),
        "worlds": list(train.worlds),
        "rules": knobs.model_dump(mode="json"),
    }
    asked = json.loads(json.dumps(asked))
    held = study.user_attrs.get("asked")
    if held is None:
        study.set_user_attr("asked", asked)
    elif held != asked:
        other = next(key for key in asked if held.get(key) != asked[key])
        shown = f": {held[other]}" if other in ("scenario", "objectives") else ""
        raise InputError(f"--out {out}: expected a study of the same {other}, found one of another{shown}")
    return study


def _suggested(trial: Any, knobs: CandidateKnobs) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for span in _spans(knobs):
        if span.whole:
            params[span.knob] = trial.suggest_int(span.knob, int(span.low), int(span.high), log=span.log)
        else:
            params[span.knob] = trial.suggest_float(span.knob, span.low, span.high, log=span.log)
    for kind in OPTIONAL_KINDS:
        params[f"{_TAKE}{kind}"] = trial.suggest_categorical(f"{_TAKE}{kind}", [False, True])
    return params


def _means(played: Played, base: Played) -> dict[str, float]:
    logs = [math.log(a["cost"] / b["cost"]) for a, b in zip(played.figures, base.figures, strict=True)]
    return {name: played.mean(name) for name in MEASURES} | {"ratio": math.exp(sum(logs) / len(logs))}


def _front(
    study: Any,
    scenario: str,
    knobs: CandidateKnobs,
    objectives: tuple[str, ...],
    train: Ground,
    validate: Ground,
    base: Played,
    most: int,
) -> Front:
    best = {tuple(trial.values): trial for trial in study.best_trials}  # equal points once
    ranked = sorted(best.values(), key=lambda trial: trial.user_attrs["means"]["ratio"])
    if len(ranked) > most:  # both ends, and evenly between them
        ranked = (
            [ranked[round(i * (len(ranked) - 1) / (most - 1))] for i in range(most)]
            if most > 1
            else ranked[:1]
        )
    reference = validate.play(knobs)
    points = []
    for trial in ranked:
        tried = changed(knobs, trial.params)
        played = validate.play(tried)
        judged = {name: played.less(reference, name) for name in MEASURES}
        points.append(Point(trial.number, tried, trial.params, trial.user_attrs["means"], judged))
    done = [trial.user_attrs["means"] for trial in study.trials if trial.state.name == "COMPLETE"]
    return Front(
        scenario,
        objectives,
        {name: base.mean(name) for name in MEASURES} | {"ratio": 1.0},
        tuple(done),
        tuple(points),
        tuple(train.worlds),
        tuple(validate.worlds),
    )


def _heading(front: Front, point: Point) -> list[str]:
    lines = [
        (
            f"Rules tuned on {front.scenario}, trial {point.number} of {len(front.trials)}: on the front of "
            f"{', '.join(front.objectives)}."
        ),
        f"Against the untuned rules, on {len(front.validate)} worlds that took no part (mean ± 95 % interval):",
    ]
    for name, e in point.judged.items():
        lines.append(f"  {name} {e.mean:+.4g} ± {e.half_width:.2g} {MEASURES[name]}".rstrip())
    return lines
