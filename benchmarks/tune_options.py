"""Values of HAM's options (envs/candidates.py: PROMPT, CALM_PLAN), sought where habits are learned.

    FORESHADE_DATA=... python benchmarks/tune_options.py [--trials 40] [--seed 1]

Optuna's TPE over one sizing and one plan in the place of the rules' own, played throughout on `habits` of
training/cases.py; what is least is the mean over scenarios of the logarithm of cost over the rules', other kinds of
generated workloads counting a quarter. Needs `pip install 'foreshade[train]'`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import optuna

from foreshade.envs.candidates import RULES, WATCHED_PLAN, CandidateKnobs
from foreshade.envs.decision import Decision
from foreshade.envs.vector import DataCenterVecEnv
from foreshade.training.cases import HAM_CASES, world_of

F64 = npt.NDArray[np.float64]
WEIGHTS = {"enterprise": 1.5, "other": 0.25, "planetlab": 1.0, "bitbrains": 1.0}


def grounds() -> dict[str, list[str]]:
    """Cases by scenario; generated workloads of other kinds by themselves."""
    cases = {name: list(of["habits"]) for name, of in HAM_CASES.items()}
    other = [case for case in cases["enterprise"] if case.count(":") == 2]
    cases["enterprise"] = [case for case in cases["enterprise"] if case not in other]
    return {**cases, "other": other}


def played(env: DataCenterVecEnv) -> F64:
    """USD of each workload under the candidates' own preferences."""
    env.seed(7)
    env.reset()
    usd = np.full(env.num_envs, np.nan)
    while np.isnan(usd).any():
        _, _, dones, infos = env.step(env.preferred())
        for i in np.flatnonzero(dones):
            if np.isnan(usd[i]):
                usd[i] = sum(infos[i]["terms"].values())
    return usd


def knobs_of(trial: optuna.Trial) -> CandidateKnobs:
    """The rules with other values."""
    packer = replace(
        WATCHED_PLAN.packer,
        move_weight=trial.suggest_float("move_weight", 0.5, 4.0, log=True),
        drain_ticks=trial.suggest_int("drain_ticks", 100, 600, log=True),
        horizon_ticks=trial.suggest_int("horizon_ticks", 12, 72, log=True),
        sigma_scale=trial.suggest_float("sigma_scale", 1.0, 4.0, log=True),
    )
    return RULES.model_copy(
        update={
            "headroom": trial.suggest_float("headroom", 1.2, 3.0, log=True),
            "slack": trial.suggest_float("slack", 1.5, 6.0, log=True),
            "slack_floor": trial.suggest_float("slack_floor", 0.2, 0.9),
            "unseen": trial.suggest_float("unseen", 0.05, 1.0, log=True),
            "settle_ticks": 1,
            "plans": (WATCHED_PLAN.model_copy(update={"packer": packer}),),
        }
    )


def main() -> None:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    said = parser.parse_args()
    worlds = {name: [world_of(case)() for case in cases] for name, cases in grounds().items()}

    def costs(knobs: CandidateKnobs) -> dict[str, F64]:
        decision = Decision(candidates=knobs)
        return {name: played(DataCenterVecEnv(of, len(of), decision=decision)) for name, of in worlds.items()}

    rules = costs(RULES)

    def judge(trial: optuna.Trial) -> float:
        ours = costs(knobs_of(trial))
        change = {name: 100.0 * float(np.log(ours[name] / rules[name]).mean()) for name in ours}
        values = ", ".join(f"{key} {value:.3g}" for key, value in trial.params.items())
        print(f"{', '.join(f'{name} {x:+.1f} %' for name, x in change.items())}: {values}", flush=True)
        return sum(WEIGHTS[name] * x for name, x in change.items()) / sum(WEIGHTS.values())

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=said.seed, multivariate=True))
    study.optimize(judge, n_trials=said.trials)
    print(f"best {study.best_value:+.2f} %: {study.best_params}")


if __name__ == "__main__":
    main()
