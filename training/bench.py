"""What a decision of training costs: the environment, the rest of the rollout, learning.

The same is measured with an environment that does nothing, and for stable-baselines3's own PPO with the same
policy: once with its own minibatches (64, ten epochs), once with ours. All runs follow each other in one
process on one device, so that their ratios hold whatever the machine does meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvWrapper

from foreshade.agents.ham.policy import HamPolicy
from foreshade.training.config import TrainConfig
from foreshade.training.idle_env import IdleVecEnv
from foreshade.training.train import MakeEnvs, make_model

Clock = Callable[[], float]


def measure(config: TrainConfig, make_envs: MakeEnvs, rollouts: int = 2) -> dict[str, dict[str, float]]:
    """Seconds and decisions per second of each way to train; the first rollout of each is not counted.

    CPU seconds of this thread on a CPU, so that other people's work does not count; wall seconds on CUDA.
    """
    ppo = config.ppo
    warm = config.changed(ppo=ppo.model_dump() | {"critic_warmup": 0, "target_kl": None})
    env = make_envs("train", ppo.n_envs, float16=ppo.float16)
    idle = IdleVecEnv(cast(Any, env).schema, ppo.n_envs, env.observation_space.dtype)
    stock = {
        "stock_ppo": {"batch_size": 64, "n_epochs": 10},
        "stock_ppo_same_batches": {"batch_size": ppo.batch_size, "n_epochs": ppo.n_epochs},
    }
    results = {
        "foreshade": _timed(lambda e: make_model(warm, e), env, rollouts),
        "foreshade_idle_environment": _timed(lambda e: make_model(warm, e), idle, rollouts),
    }
    for name, settings in stock.items():
        results[name] = _timed(lambda e, s=settings: _stock(warm, e, s), env, rollouts)  # type: ignore[misc]
        ratio = results["foreshade"]["decisions_per_s"] / results[name]["decisions_per_s"]
        results[name]["foreshade_is_faster_by"] = ratio
    return results


def _stock(config: TrainConfig, env: VecEnv, settings: dict[str, int]) -> PPO:
    return PPO(
        HamPolicy,
        cast(Any, env),
        n_steps=config.ppo.n_steps,
        gamma=1.0,
        policy_kwargs={"schema": cast(Any, env).schema, **config.network.model_dump()},
        seed=config.seed,
        device=config.device,
        **cast(Any, settings),
    )


class _TimedEnv(VecEnvWrapper):
    """Counts the seconds that stepping takes."""

    def __init__(self, env: VecEnv) -> None:
        super().__init__(env)
        self.seconds = 0.0
        self.clock: Clock = time.thread_time

    def reset(self) -> Any:
        return self.venv.reset()

    def step_async(self, actions: Any) -> None:
        begin = self.clock()
        self.venv.step_async(actions)
        self.seconds += self.clock() - begin

    def step_wait(self) -> Any:
        begin = self.clock()
        stepped = self.venv.step_wait()
        self.seconds += self.clock() - begin
        return stepped


def _timed(make: Callable[[VecEnv], PPO], env: VecEnv, rollouts: int) -> dict[str, float]:
    timed = _TimedEnv(env)
    model = make(timed)
    timed.clock = clock = _clock(model.device)
    learning = 0.0
    train = model.train

    def timed_train() -> None:
        nonlocal learning
        begin = clock()
        train()
        learning += clock() - begin

    cast(Any, model).train = timed_train
    decisions = model.n_steps * env.num_envs
    model.learn(decisions)  # memory is touched, kernels are compiled
    timed.seconds = learning = 0.0
    begin = clock()
    model.learn(rollouts * decisions, reset_num_timesteps=False)
    total = clock() - begin
    return {
        "decisions_per_s": rollouts * decisions / total,
        "environment_s": timed.seconds,
        "rollout_besides_s": total - timed.seconds - learning,
        "learning_s": learning,
        "environment_share": timed.seconds / total,
    }


def _clock(device: torch.device) -> Clock:
    if device.type != "cuda":
        return time.thread_time

    def synchronised() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return synchronised
