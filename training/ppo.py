"""PPO for HAM, through stable-baselines3's interface.

Schulman et al., *Proximal Policy Optimization Algorithms*, 2017, with four differences. The discount belongs
to ticks (``buffer``). Rollouts and updates stay on the learner's device. The critic, which has a network of
its own, is trained alone first, so that the actor is not pulled by values that mean nothing yet. And a
penalty on KL(policy || start), annealed to zero, holds the actor near the rules that it starts from.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env.base_vec_env import VecEnv
from stable_baselines3.ppo import PPO
from torch import Tensor

from foreshade.agents.ham.policy import HamPolicy
from foreshade.envs.errors import InputError
from foreshade.training.buffer import TickRolloutBuffer

Compile = Literal["auto", "never", "inductor", "graphs"]


class Losses(NamedTuple):
    """The terms of one minibatch, each a scalar tensor."""

    policy: Tensor
    value: Tensor
    entropy: Tensor
    kl_to_start: Tensor
    kl: Tensor  # approximate, to the policy that made the rollout
    clipped: Tensor  # share of the ratios outside the clip range


class TickPPO(PPO):
    """PPO whose environment says the discount of every step in ``env.discounts`` (n_envs,).

    Args:
        policy: HamPolicy.
        env: a VecEnv of the contract in ``docs/ham.md``.
        kl_to_start: weight of the penalty at the start of training; falls linearly to 0.
        critic_warmup: rollouts in which only the critic learns.
        compile_losses: ``never``, ``inductor`` (torch.compile), ``graphs`` (with CUDA graphs), or ``auto``:
            inductor on CUDA, never elsewhere.
        gae_lambda: decay of the trace per tick.
        kwargs: as of stable-baselines3's PPO; ``gamma`` is not used.

    Raises:
        InputError: the environment tells no discounts, or the batch size does not divide the rollout.

    """

    def __init__(
        self,
        policy: type[HamPolicy],
        env: VecEnv | None = None,
        *,
        kl_to_start: float = 0.1,
        critic_warmup: int = 4,
        compile_losses: Compile = "auto",
        gae_lambda: float = 0.95,
        reward_scale: float = 1.0,
        rollout_buffer_class: type[RolloutBuffer] | None = TickRolloutBuffer,
        **kwargs: Any,
    ) -> None:
        settings = {"n_steps": 256, "batch_size": 256, "n_epochs": 4, "clip_range": 0.1, **kwargs}
        if env is not None:
            _check(env, settings["n_steps"] * env.num_envs, settings["batch_size"])
        self.kl_to_start = kl_to_start
        self.critic_warmup = critic_warmup
        self.compile_losses = compile_losses
        self.reward_scale = reward_scale
        #: seconds spent so far in the environment, in whole rollouts (the environment's included), learning
        self.seconds = {"environment": 0.0, "rollout": 0.0, "learning": 0.0}
        super().__init__(
            policy,
            cast(Any, env),
            gae_lambda=gae_lambda,
            rollout_buffer_class=rollout_buffer_class,
            **settings,
        )

    def _setup_model(self) -> None:
        super()._setup_model()
        how = self.compile_losses
        if how == "auto":
            how = "inductor" if self.device.type == "cuda" else "never"
        mode = "reduce-overhead" if how == "graphs" else None
        self._losses = self._eager_losses if how == "never" else torch.compile(self._eager_losses, mode=mode)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_losses"]

    @property
    def ham(self) -> HamPolicy:
        """The policy."""
        return cast(HamPolicy, self.policy)

    @property
    def buffer(self) -> TickRolloutBuffer:
        """The rollout buffer."""
        return cast(TickRolloutBuffer, self.rollout_buffer)

    @property
    def rollouts_done(self) -> int:
        """Whole rollouts made so far."""
        return self.num_timesteps // (self.n_steps * self.n_envs)

    def restart_environments(self, seed: int) -> None:
        """Begin new episodes, drawn from ``seed``."""
        env = cast(VecEnv, self.env)
        env.seed(seed)
        self._last_obs = cast(Any, env.reset())
        self._last_episode_starts = np.ones(env.num_envs, dtype=bool)

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer with ``n_rollout_steps`` decisions of each environment; False = told to stop."""
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        callback.on_rollout_start()
        begin = time.perf_counter()
        for _ in range(n_rollout_steps):
            observation = self._tensor(self._last_obs)
            with torch.no_grad():
                actions, values, log_probs = self.policy(observation)
            starts = self._tensor(self._last_episode_starts, torch.float32)
            stepped = time.perf_counter()
            new_obs, rewards, dones, infos = env.step(actions.cpu().numpy())
            self.seconds["environment"] += time.perf_counter() - stepped
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            self._update_info_buffer(infos, dones)
            self.buffer.add_step(
                observation,
                actions,
                self._tensor(rewards, torch.float32) * self.reward_scale,
                self._tensor(cast(Any, env).discounts, torch.float32),
                starts,
                values.flatten(),
                log_probs,
                self._values_of_truncated(dones, infos),
            )
            self._last_obs = cast(Any, new_obs)
            self._last_episode_starts = dones
        with torch.no_grad():
            last = self.policy.predict_values(self._tensor(self._last_obs)).flatten()
        self.buffer.compute_returns_and_advantage(last, cast(Any, self._last_episode_starts))
        callback.update_locals(locals())
        callback.on_rollout_end()
        self._synchronise()
        self.seconds["rollout"] += time.perf_counter() - begin
        return True

    def train(self) -> None:
        """Learn from the buffer."""
        begin = time.perf_counter()
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        warming = self.rollouts_done <= self.critic_warmup
        kl_weight = self.kl_to_start * self._current_progress_remaining
        clip = float(cast(Any, self.clip_range)(self._current_progress_remaining))
        fields = self._learning_fields()
        actor = list(self.ham.scorer.actor.parameters())
        critic = [*self.ham.scorer.critic.parameters(), *self.ham.value_net.parameters()]
        total = len(fields[0])
        means = torch.zeros(len(Losses._fields), device=self.device)
        n_epochs = 0
        for _ in range(self.n_epochs):
            n_epochs += 1
            means.zero_()
            for rows in torch.randperm(total, device=self.device).split(self.batch_size):
                losses = self._losses([field[rows] for field in fields], clip, critic_only=warming)
                loss = self.vf_coef * losses.value
                if not warming:
                    loss = loss + losses.policy - self.ent_coef * losses.entropy
                    loss = loss + kl_weight * losses.kl_to_start
                self.policy.optimizer.zero_grad()
                loss.backward()
                # Clipped apart: a critic that is far off would leave the actor nothing of a common norm.
                torch.nn.utils.clip_grad_norm_(critic, self.max_grad_norm)
                if not warming:
                    torch.nn.utils.clip_grad_norm_(actor, self.max_grad_norm)
                self.policy.optimizer.step()
                means += torch.stack([term.detach() for term in losses]) * (len(rows) / total)
            # Once an epoch: asking for the number makes the device wait for itself.
            if self.target_kl is not None and float(means[Losses._fields.index("kl")]) > 1.5 * self.target_kl:
                break
        self._n_updates += n_epochs
        self._synchronise()
        self.seconds["learning"] += time.perf_counter() - begin
        self._record(Losses(*means.cpu()), kl_weight, n_epochs)

    def _learning_fields(self) -> tuple[Tensor, ...]:
        """What ``_eager_losses`` reads, of the whole rollout.

        Observations (N, size), and (N,) actions, log-probabilities, advantages normalised over the rollout
        and returns, and the start's log-probabilities (N, K).
        """
        buffer = self.buffer
        observations = buffer.flat("observations")
        self.ham.widen_range(observations)
        advantages = buffer.flat("advantages")
        with torch.no_grad():
            start = [
                torch.log_softmax(self.ham.start(*self.ham.scorer.split(part.float())), dim=1)
                for part in observations.split(self.batch_size)
            ]
        return (
            observations,
            buffer.flat("actions"),
            buffer.flat("log_probs"),
            (advantages - advantages.mean()) / (advantages.std() + 1e-8),
            buffer.flat("returns"),
            torch.cat(start),
        )

    def _eager_losses(self, minibatch: Sequence[Tensor], clip: float, *, critic_only: bool) -> Losses:
        observations, actions, old_log_probs, advantages, returns, start = minibatch
        scorer = self.ham.scorer
        parts = scorer.split(observations.float())
        values = self.ham.value_net(scorer.critic(*parts)).flatten()
        value = torch.nn.functional.mse_loss(values, returns)
        if critic_only:
            none = torch.zeros_like(value)
            return Losses(none, value, none, none, none, none)
        log_p = torch.log_softmax(scorer.actor(*parts), dim=1)
        p = log_p.exp()
        log_ratio = log_p.gather(1, actions[:, None]).squeeze(1) - old_log_probs
        ratio = log_ratio.exp()
        gain = torch.minimum(advantages * ratio, advantages * ratio.clamp(1 - clip, 1 + clip))
        return Losses(
            policy=-gain.mean(),
            value=value,
            entropy=-(p * log_p).sum(dim=1).mean(),
            kl_to_start=(p * (log_p - start)).sum(dim=1).mean(),
            kl=(ratio - 1 - log_ratio).mean(),
            clipped=((ratio - 1).abs() > clip).float().mean(),
        )

    def _values_of_truncated(self, dones: np.ndarray[Any, Any], infos: list[dict[str, Any]]) -> Tensor:
        """(n_envs,) value of the terminal observation where an episode was cut, else 0."""
        values = torch.zeros(len(dones), device=self.device)
        cut = [i for i in np.flatnonzero(dones) if infos[i].get("TimeLimit.truncated")]
        if cut:
            last = self._tensor(np.stack([infos[i]["terminal_observation"] for i in cut]))
            with torch.no_grad():
                values[torch.tensor(cut, device=self.device)] = self.policy.predict_values(last).flatten()
        return values

    def _tensor(self, array: Any, dtype: torch.dtype | None = None) -> Tensor:
        return torch.as_tensor(array, dtype=dtype, device=self.device)

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _record(self, losses: Losses, kl_weight: float, n_epochs: int) -> None:
        for name, value in losses._asdict().items():
            self.logger.record(f"train/{name}", float(value))
        returns, values = self.buffer.tensors["returns"], self.buffer.tensors["values"]
        unexplained = (returns - values).var() / returns.var().clamp_min(1e-12)
        self.logger.record("train/explained_variance", 1.0 - float(unexplained))
        self.logger.record("train/kl_weight", kl_weight)
        self.logger.record("train/epochs", n_epochs)
        spent = self.seconds["rollout"] + self.seconds["learning"]
        self.logger.record("time/environment_share", self.seconds["environment"] / spent)
        self.logger.record("time/learning_share", self.seconds["learning"] / spent)


def _check(env: VecEnv, n_decisions: int, batch_size: int) -> None:
    if getattr(env, "discounts", None) is None:
        raise InputError("PPO: environment: expected a vector environment with `discounts`, got none")
    if n_decisions % batch_size:  # equal minibatches can be compiled once
        raise InputError(
            f"PPO: batch_size: expected a divisor of the rollout's {n_decisions} decisions, got {batch_size}"
        )
