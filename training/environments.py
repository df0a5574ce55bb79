"""The vector environments of a scenario, by what they are for."""

from __future__ import annotations

from typing import cast

import numpy as np
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from foreshade.envs.candidates import DEFAULT
from foreshade.envs.decision import Decision
from foreshade.envs.stock_world import simulated_world
from foreshade.envs.vector import DataCenterVecEnv
from foreshade.training.cases import groups_of, ham_cases, scenarios_of, some_of, world_of
from foreshade.training.seeds import Purpose
from foreshade.training.train import MakeEnvs

#: There are seldom more than 40 candidates, and every row costs time.
CANDIDATES = DEFAULT.model_copy(update={"k": 40})
#: Episodes of training: a day or less from any hour on, half of them on a cluster whose VMs stand.
TRAINING = Decision(candidates=CANDIDATES, episode_ticks=(96, 288), random_start=True, shaping_h=1.0)
#: Whole workloads, as they are played in an evaluation.
JUDGING = Decision(candidates=CANDIDATES)


def of_scenario(scenario: str) -> MakeEnvs:
    """Environments of a shipped scenario, of a YAML file, or of all that are named in ``training.cases``.

    Scenarios of ``training.cases`` are trained on some of their workloads and judged on others; in any other,
    episodes are told apart by their seeds alone.

    Raises:
        InputError: there is no such scenario or data, or it cannot be read.

    """

    def make(purpose: Purpose, n_envs: int, *, float16: bool) -> VecEnv:
        cases = ham_cases(scenario, purpose)
        played = [case.partition("+")[0] for case in (some_of(cases, n_envs) if n_envs else cases)]
        worlds = [world_of(case)() for case in played] or [simulated_world(scenario)]
        dtype = np.float16 if float16 else np.float32
        decision = TRAINING if purpose == "train" else JUDGING
        env = DataCenterVecEnv(worlds, n_envs or len(worlds), decision=decision, dtype=dtype)
        env.groups = groups_of(played) or range(len(worlds))
        env.strata = scenarios_of(played) or [0] * len(worlds)
        return cast(VecEnv, env)

    return make
