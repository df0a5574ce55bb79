"""A little decision problem under the contract of the vector environment, whose optimum is known.

Every tick offers jobs. Taking one costs ``cost`` now; leaving one costs ``penalty`` when the tick ends. The
preference is the penalty alone, so the rules take every job. The best is to take a job if its cost is below
its penalty: an episode's least cost is the sum of ``min(cost, penalty)``, whatever the order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from foreshade.envs.features import Column, Schema

K = 6
GAMMA_TICK = 0.99


def column(name: str, low: float = 0.0, high: float = 2.0) -> Column:
    return Column(name, "USD", low, high, f"the {name} of a job")


SCHEMA = Schema(
    context=(column("jobs left", 0, K), column("tick", 0, 1)),
    candidate=(column("preference"), column("cost"), column("is_job")),
    k=K,
)


class ToyCentre(VecEnv):
    """``seed(s)`` and then ``reset()`` give environment ``i`` the episode of seed ``s + i``."""

    schema = SCHEMA

    def __init__(self, n_envs: int, n_ticks: int = 4, dtype: type[np.floating[Any]] = np.float32) -> None:
        super().__init__(n_envs, spaces.Box(-10, 10, (SCHEMA.size,), dtype), spaces.Discrete(K))
        self.n_ticks = n_ticks
        self.discounts = np.ones(n_envs, np.float32)
        self.seeds = np.arange(n_envs)
        self._observations = [np.zeros((n_envs, SCHEMA.size), dtype) for _ in range(2)]
        self._rng = [np.random.default_rng(s) for s in self.seeds]
        self._jobs = np.zeros((n_envs, K, 2))  # penalty, cost
        self._open = np.zeros((n_envs, K), bool)
        self._tick = np.zeros(n_envs, int)
        self._terms = np.zeros((n_envs, 2))  # taken, left
        self._actions = np.zeros((n_envs, 2), int)  # wait, take
        self.best = np.zeros(n_envs)  # least cost of the running episode so far
        self.invalid = 0

    def seed(self, seed: int | None = None) -> list[int | None]:
        self.seeds = np.arange(self.num_envs) + (seed or 0)
        self._rng = [np.random.default_rng(s) for s in self.seeds]
        return list(self.seeds)

    def reset(self) -> np.ndarray:
        for i in range(self.num_envs):
            self._start(i)
        return self._observe()

    def step_async(self, actions: np.ndarray) -> None:
        self._chosen = actions

    def step_wait(self) -> Any:
        rewards = np.zeros(self.num_envs, np.float32)
        dones = np.zeros(self.num_envs, bool)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i, action in enumerate(self._chosen):
            taken = action != 0 and self._open[i, action]
            self.invalid += int(action != 0 and not taken)
            self.discounts[i] = 1.0 if taken else GAMMA_TICK
            self._actions[i, int(taken)] += 1
            if taken:
                rewards[i] = -self._jobs[i, action, 1]
                self._terms[i, 0] -= rewards[i]
                self._open[i, action] = False
            else:
                rewards[i] = -self._jobs[i, self._open[i], 0].sum()
                self._terms[i, 1] -= rewards[i]
                self._tick[i] += 1
                dones[i] = self._tick[i] == self.n_ticks
                if not dones[i]:
                    self._draw(i)
        observation = self._observe()
        for i in np.flatnonzero(dones):
            infos[i] = {
                "episode": {"r": -self._terms[i].sum(), "l": int(self._actions[i].sum())},
                "terms": {"taken": self._terms[i, 0], "left": self._terms[i, 1]},
                "actions": {"wait": int(self._actions[i, 0]), "take": int(self._actions[i, 1])},
                "terminal_observation": observation[i].copy(),
                "TimeLimit.truncated": True,
                "best": self.best[i],
            }
            self._start(i)
            self._write(i, observation)
        return observation, rewards, dones, infos

    def _start(self, i: int) -> None:
        self._tick[i] = 0
        self._terms[i] = 0
        self._actions[i] = 0
        self.best[i] = 0
        self._draw(i)

    def _draw(self, i: int) -> None:
        self._jobs[i] = self._rng[i].uniform(0.1, 1.0, (K, 2)).astype(np.float16)
        self._open[i] = self._rng[i].random(K) < 0.7
        self._open[i, 0] = False
        self.best[i] += self._jobs[i, self._open[i]].min(axis=1).sum()

    def _observe(self) -> np.ndarray:
        self._observations.reverse()  # the learner still holds the last one
        for i in range(self.num_envs):
            self._write(i, self._observations[0])
        return self._observations[0]

    def _write(self, i: int, observation: np.ndarray) -> None:
        context, candidates, mask = SCHEMA.split(observation[i])
        context[:] = self._open[i].sum(), self._tick[i] / self.n_ticks
        candidates[:] = 0
        candidates[:, :2] = self._jobs[i] * self._open[i][:, None]
        candidates[:, 2] = self._open[i]
        mask[:] = self._open[i]
        mask[0] = 1

    def close(self) -> None: ...

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name, None)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError(method_name)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs
