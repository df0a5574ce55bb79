"""The name under which Gymnasium makes the environment; known once ``foreshade`` is imported."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

ENV_ID = "foreshade/DataCenter-v0"


def register_envs() -> None:
    """Make ``ENV_ID`` known; once is enough, and twice does no harm."""
    if ENV_ID not in registry:
        register(
            ENV_ID,
            entry_point="foreshade.envs.datacenter:DataCenterEnv",
            vector_entry_point="foreshade.envs.gym_vector:DataCenterVectorEnv",
        )
