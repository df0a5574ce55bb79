"""Values of HAM's options (envs/candidates.py), sought where habits are learned, with the components that are on.

    FORESHADE_DATA=... python benchmarks/tune_options.py --scenario bitbrains [--workloads 9] [--trials 40]

Optuna's TPE over one sizing and one plan in the place of the rules' own, followed throughout on the first `habits`
workloads of training/cases.py; what is least is the mean logarithm of cost over the rules'. Every run is as
`foreshade evaluate` plays it. Needs `pip install 'foreshade[train]'`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt
import optuna

from foreshade.agents.episode import play
from foreshade.agents.managers.registry import load_components
from foreshade.agents.rules.rules import Rules
from foreshade.envs.candidates import RULES, WATCHED_PLAN, CandidateKnobs
from foreshade.training.cases import HAM_CASES, world_of
from foreshade.training.estimate import Estimate

F64 = npt.NDArray[np.float64]


def usd_of(knobs: CandidateKnobs, case: str) -> float:
    """One run of the rules with these knobs."""
    return play(world_of(case, forecast="table")(), Rules(knobs, load_components())).cost_usd


def costs(pool: Executor, knobs: CandidateKnobs, cases: Sequence[str]) -> F64:
    """USD of each case."""
    return np.array(list(pool.map(partial(usd_of, knobs), cases)))


def knobs_of(trial: optuna.Trial) -> CandidateKnobs:
    """The rules with other values."""
    packer = replace(
        WATCHED_PLAN.packer,
        move_weight=trial.suggest_float("move_weight", 0.5, 6.0, log=True),
        drain_ticks=trial.suggest_int("drain_ticks", 100, 600, log=True),
        sigma_scale=trial.suggest_float("sigma_scale", 1.0, 4.0, log=True),
        whole_racks=trial.suggest_categorical("whole_racks", (False, True)),
    )
    return RULES.model_copy(
        update={
            "headroom": trial.suggest_float("headroom", 1.1, 3.0, log=True),
            "slack": trial.suggest_float("slack", 1.5, 8.0, log=True),
            "slack_floor": trial.suggest_float("slack_floor", 0.2, 1.0),
            "unseen": trial.suggest_float("unseen", 0.05, 1.0, log=True),
            "settle_ticks": 1,
            "plans": (WATCHED_PLAN.model_copy(update={"packer": packer}),),
        }
    )


def main() -> None:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--scenario", default="enterprise", choices=tuple(HAM_CASES))
    parser.add_argument("--workloads", type=int, default=12)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    said = parser.parse_args()
    cases = HAM_CASES[said.scenario]["habits"][: said.workloads]
    with ProcessPoolExecutor(said.processes, mp_context=get_context("spawn")) as pool:
        rules = costs(pool, RULES, cases)

        def judge(trial: optuna.Trial) -> float:
            change = Estimate.of((100.0 * np.log(costs(pool, knobs_of(trial), cases) / rules)).tolist())
            values = ", ".join(f"{key} {value:.3g}" for key, value in trial.params.items())
            print(f"{change.mean:+.1f} ± {change.half_width:.1f} %: {values}", flush=True)
            return change.mean

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=said.seed, multivariate=True))
        study.optimize(judge, n_trials=said.trials)
    print(f"best {study.best_value:+.2f} %: {study.best_params}")


if __name__ == "__main__":
    main()
