"""Imitation of an expert where the rules barely decide.

Ross, Gordon & Bagnell, *A Reduction of Imitation Learning and Structured Prediction to No-Regret Online
Learning* (DAgger), AISTATS 2011: the learner plays, the expert labels the states that the learner comes
to, and the learner is fitted to everything labelled so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.vec_env.base_vec_env import VecEnv
from torch import Tensor

from foreshade.agents.ham.policy import HamPolicy
from foreshade.training.config import ImitationConfig


class Expert(Protocol):
    """Knows better, at a price: a rollout of each promising candidate over sampled futures, say."""

    def label(
        self, env: VecEnv, observation: npt.NDArray[Any], rows: npt.NDArray[np.intp]
    ) -> npt.NDArray[np.int64]:
        """The best candidate of each environment in ``rows``, -1 where it cannot tell.

        ``observation`` (n_envs, size) is what all of them show now; the environments are left as they are.
        """
        ...


def margins(policy: HamPolicy, observation: Tensor) -> Tensor:
    """(n,) preference of the best candidate minus that of the second; infinite where only one is allowed."""
    _, candidates, mask = policy.scorer.split(observation.float())
    best = candidates[:, :, 0].masked_fill(~mask, -torch.inf).topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


def imitate(
    policy: HamPolicy, env: VecEnv, expert: Expert, config: ImitationConfig, seed: int
) -> Mapping[str, float]:
    """Fit the actor to the expert; the critic is left alone.

    Returns:
        Number of labelled states, and the share of them in which the actor agrees with the expert at the end.

    """
    env.seed(seed)
    observation = env.reset()
    optimiser = torch.optim.Adam(policy.scorer.actor.parameters(), lr=config.learning_rate)
    states: list[Tensor] = []
    labels: list[Tensor] = []
    for _ in range(config.rounds):
        for _ in range(config.n_steps):
            shown = torch.as_tensor(observation, device=policy.device)
            close = torch.nonzero(margins(policy, shown) < config.margin).flatten().cpu().numpy()
            if len(close):
                best = expert.label(env, cast(Any, observation), close)
                close, best = close[best >= 0], best[best >= 0]
                states.append(shown[torch.as_tensor(close, device=policy.device)].clone())
                labels.append(torch.as_tensor(best, dtype=torch.int64, device=policy.device))
            with torch.no_grad():
                chosen, _, _ = policy(shown)
            observation, *_ = env.step(chosen.cpu().numpy())
        if states:
            _fit(policy, torch.cat(states), torch.cat(labels), optimiser, config)
    if not states:
        return {"labelled": 0.0, "agreement": float("nan")}
    with torch.no_grad():
        agrees = [
            policy.logits(part).argmax(dim=1) == best
            for part, best in zip(
                torch.cat(states).split(config.batch_size),
                torch.cat(labels).split(config.batch_size),
                strict=True,
            )
        ]
    together = torch.cat(agrees)
    return {"labelled": float(len(together)), "agreement": float(together.float().mean())}


def _fit(
    policy: HamPolicy,
    states: Tensor,
    labels: Tensor,
    optimiser: torch.optim.Optimizer,
    config: ImitationConfig,
) -> None:
    policy.set_training_mode(True)
    for _ in range(config.n_epochs):
        for rows in torch.randperm(len(states), device=states.device).split(config.batch_size):
            loss = torch.nn.functional.cross_entropy(policy.logits(states[rows]), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(policy.scorer.actor.parameters(), 1.0)
            optimiser.step()
    policy.set_training_mode(False)
