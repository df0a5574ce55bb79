"""The vector environments of a scenario, by what they are for."""

from __future__ import annotations

from typing import cast

from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from foreshade.envs.datacenter import DataCenterVecEnv  # type: ignore[import-not-found]
from foreshade.envs.scenarios.load import load_scenario
from foreshade.training.seeds import Purpose
from foreshade.training.train import MakeEnvs


def of_scenario(scenario: str) -> MakeEnvs:
    """Environments of a shipped scenario or a YAML file; episodes are told apart by their seeds.

    Raises:
        ScenarioError: there is no such scenario, or it cannot be read.

    """
    said = load_scenario(scenario)

    def make(purpose: Purpose, n_envs: int, *, float16: bool) -> VecEnv:
        del purpose  # the seeds of ``training.seeds`` keep training and judging apart
        return cast(VecEnv, DataCenterVecEnv(said, n_envs, float16=float16))

    return make
