"""A rollout buffer of torch tensors in which the discount belongs to the step.

The discount is 1 between the decisions of one tick and below 1 across a wait. With one discount for every
decision an agent would learn to procrastinate: each no-op before a cost would make the cost smaller. The
trace of GAE (Schulman et al., ICLR 2016) decays with the ticks too, so that inserting no-op decisions
changes neither the return nor the advantage of any other decision:

    δ_t = r_t + d_t v_{t+1} − v_t          A_t = δ_t + d_t l_t A_{t+1},   l_t = λ if d_t < 1 else 1

Where an episode ended, ``v_{t+1}`` is the value of its terminal observation if it was truncated, else 0,
and the trace is cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from torch import Tensor


class TickRolloutBuffer(RolloutBuffer):
    """``n_steps`` x ``n_envs`` transitions on the learner's device, observations in the space's dtype.

    Every field is a tensor (n_steps, n_envs, ...); ``flat`` gives it as (n_steps * n_envs, ...).
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "auto",
        gae_lambda: float = 0.95,
        gamma: float = 1.0,
        n_envs: int = 1,
    ) -> None:
        super().__init__(buffer_size, observation_space, action_space, device, gae_lambda, gamma, n_envs)
        shape = (buffer_size, n_envs)
        kind = torch.from_numpy(np.empty(0, observation_space.dtype)).dtype

        def field(dtype: torch.dtype = torch.float32, wide: tuple[int, ...] = ()) -> Tensor:
            return torch.zeros((*shape, *wide), dtype=dtype, device=self.device)

        self.tensors = {
            "observations": field(kind, self.obs_shape),
            "actions": field(torch.int64),
            **{key: field() for key in ("rewards", "discounts", "episode_starts", "values", "log_probs")},
            **{key: field() for key in ("advantages", "returns")},
        }

    def reset(self) -> None:
        """Forget the transitions; the memory is kept."""
        self.pos = 0
        self.full = False

    def add_step(
        self,
        observations: Tensor,  # (n_envs, size)
        actions: Tensor,  # (n_envs,) int64
        rewards: Tensor,  # (n_envs,)
        discounts: Tensor,  # (n_envs,) of the transition just made
        episode_starts: Tensor,  # (n_envs,) 1 where ``observations`` is the first of an episode
        values: Tensor,  # (n_envs,)
        log_probs: Tensor,  # (n_envs,)
        bootstrap: Tensor,  # (n_envs,) value of the terminal observation where truncated, else 0
    ) -> None:
        """Store one transition of every environment."""
        said = (
            ("observations", observations),
            ("actions", actions),
            ("rewards", rewards + discounts * bootstrap),
            ("discounts", discounts),
            ("episode_starts", episode_starts),
            ("values", values),
            ("log_probs", log_probs),
        )
        for key, value in said:
            self.tensors[key][self.pos].copy_(value)
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def compute_returns_and_advantage(
        self, last_values: Tensor, dones: np.ndarray[Any, np.dtype[Any]]
    ) -> None:
        """Fill advantages and returns; ``last_values`` (n_envs,) are of the observation after the last."""
        t = self.tensors
        trace = torch.where(t["discounts"] < 1.0, self.gae_lambda, 1.0) * t["discounts"]
        following = last_values
        goes_on = 1.0 - torch.as_tensor(dones, dtype=torch.float32, device=self.device)
        advantage = torch.zeros_like(last_values)
        for step in reversed(range(self.buffer_size)):
            delta = t["rewards"][step] + t["discounts"][step] * goes_on * following - t["values"][step]
            advantage = delta + trace[step] * goes_on * advantage
            t["advantages"][step] = advantage
            following = t["values"][step]
            goes_on = 1.0 - t["episode_starts"][step]
        torch.add(t["advantages"], t["values"], out=t["returns"])

    def flat(self, key: str) -> Tensor:
        """A field as (n_steps * n_envs, ...)."""
        return self.tensors[key].flatten(0, 1)

    def get(self, batch_size: int | None = None) -> Iterator[RolloutBufferSamples]:  # type: ignore[override]
        """Minibatches in an order drawn by torch's generator of this device."""
        total = self.buffer_size * self.n_envs
        keys = ("observations", "actions", "values", "log_probs", "advantages", "returns")
        fields = [self.flat(key) for key in keys]
        order = torch.randperm(total, device=self.device)
        for rows in order.split(batch_size or total):
            yield RolloutBufferSamples(*(field[rows] for field in fields))
