"""An environment that does nothing: what training costs without one."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from foreshade.envs.features import Schema


class IdleVecEnv(VecEnv):
    """Shows two constant observations in turn, in which every candidate is allowed; no episode ends."""

    def __init__(self, schema: Schema, n_envs: int, dtype: Any = np.float32) -> None:
        self.schema = schema
        super().__init__(n_envs, spaces.Box(-10, 10, (schema.size,), dtype), spaces.Discrete(schema.k))
        rng = np.random.default_rng(0)
        self._shown = [rng.uniform(-1, 1, (n_envs, schema.size)).astype(dtype) for _ in range(2)]
        for flat in self._shown:
            schema.split(flat)[2][:] = 1
        self.discounts = np.full(n_envs, 0.99, np.float32)
        self._rewards = np.zeros(n_envs, np.float32)
        self._dones = np.zeros(n_envs, bool)
        self._infos: list[dict[str, Any]] = [{} for _ in range(n_envs)]

    def reset(self) -> Any:
        """The first observation."""
        return self._shown[0]

    def step_async(self, actions: Any) -> None:
        """Nothing."""

    def step_wait(self) -> Any:
        """The other observation."""
        self._shown.reverse()
        return self._shown[0], self._rewards, self._dones, self._infos

    def close(self) -> None:
        """Nothing."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The attribute once per environment; None where there is none."""
        del indices
        return [getattr(self, attr_name, None)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set it for all."""
        del indices
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """There is none."""
        del args, indices, kwargs
        raise AttributeError(method_name)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Never."""
        del wrapper_class, indices
        return [False] * self.num_envs
