"""What happens beside the learning: curves, checkpoints, evaluation, early stop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from foreshade.envs.errors import InputError
from foreshade.training.evaluation import RULES, Comparison, Judge
from foreshade.training.freeze import frozen
from foreshade.training.ppo import TickPPO
from foreshade.training.run_folder import RunFolder
from foreshade.training.seeds import first_seed


class EpisodeCurves(BaseCallback):
    """Money by term and mix of actions of the episodes that ended in a rollout."""

    def __init__(self, on_progress: Callable[[int, int], None] | None = None) -> None:
        super().__init__()
        self._on_progress = on_progress
        self._forget()

    def _forget(self) -> None:
        self._terms: Counter[str] = Counter()
        self._actions: Counter[str] = Counter()
        self._episodes = 0

    def _on_rollout_start(self) -> None:
        self._forget()

    def _on_step(self) -> bool:
        for i in np.flatnonzero(self.locals["dones"]):
            info = self.locals["infos"][i]
            self._terms.update(info["terms"])
            self._actions.update(info["actions"])
            self._episodes += 1
        return True

    def _on_rollout_end(self) -> None:
        model = cast(TickPPO, self.model)
        if self._on_progress is not None:
            self._on_progress(model.num_timesteps, model._total_timesteps)  # noqa: SLF001 - has no accessor
        if not self._episodes:
            return
        for name, usd in self._terms.items():
            self.logger.record(f"cost_usd/{name}", usd / self._episodes)
        self.logger.record("cost_usd/total", sum(self._terms.values()) / self._episodes)
        decisions = max(sum(self._actions.values()), 1)
        for name, count in self._actions.items():
            self.logger.record(f"actions/{name}", count / decisions)


class Boundary(BaseCallback):
    """Every so many rollouts: a checkpoint, a paired evaluation, perhaps the end, and new episodes.

    New episodes begin there whether the run was interrupted or not, drawn from seed and place alone: so
    what a resumed run computes is bit for bit what the uninterrupted one would have.
    """

    def __init__(self, run: RunFolder, evaluator: Judge) -> None:
        super().__init__()
        self.run = run
        self.evaluator = evaluator
        self.history: list[dict[str, Any]] = []  # of the evaluations so far
        self.best: str | None = None  # name of the checkpoint whose evaluation was best
        self.stopped = False
        self._saved_at = 0

    def state_of(self) -> dict[str, Any]:
        """What a checkpoint holds besides its manifest."""
        rng = {"cpu": torch.get_rng_state()}
        if self.model.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.model.device)
        policy = self.model.policy
        return {"policy": policy.state_dict(), "optimizer": policy.optimizer.state_dict(), "rng": rng}

    def restore(self, model: TickPPO) -> None:
        """Put a model where the newest checkpoint of the run was.

        Raises:
            InputError: no whole checkpoint, or one of another schema or network.

        """
        state, manifest = self.run.load_checkpoint()
        check_same(model, manifest, str(self.run.path))
        model.policy.load_state_dict(state["policy"])
        model.policy.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"]["cpu"])
        if model.device.type == "cuda" and "cuda" in state["rng"]:
            torch.cuda.set_rng_state(state["rng"]["cuda"], model.device)
        model.num_timesteps = self._saved_at = manifest["timesteps"]
        self.history, self.best = list(manifest["evaluations"]), manifest["best"]
        self.stopped = self._is_stale()

    def _on_rollout_start(self) -> None:
        model = cast(TickPPO, self.model)
        if model.rollouts_done % self.run.config.evaluation.every_rollouts == 0:
            self._pause()
            model.restart_environments(first_seed(self.run.config.seed, "train", model.rollouts_done))

    def _on_step(self) -> bool:
        return not self.stopped

    def _on_training_end(self) -> None:
        if not self.stopped:
            self._pause()

    def _pause(self) -> None:
        model = cast(TickPPO, self.model)
        now = model.num_timesteps
        if now == self._saved_at:  # nothing was learned since
            return
        self._saved_at = now
        policy = frozen(model.ham, confidence_floor=self.run.config.evaluation.confidence_floor)
        comparison = self.evaluator.compare(policy)
        self.history.append({"timesteps": now, **comparison.to_dict()})
        if self._margin(-1) <= min(self._margin(i) for i in range(len(self.history))):
            self.best = f"{now:012d}"
        record(self.logger, "evaluation", comparison)
        self.logger.dump(now)
        self.run.save_checkpoint(
            now,
            self.state_of(),
            {
                "schema": model.ham.network["schema"].to_dict(),
                "network": {k: v for k, v in model.ham.network.items() if k != "schema"},
                "best": self.best,
                "evaluations": self.history,
            },
        )
        self.stopped = self._is_stale()

    def _margin(self, index: int) -> float:
        return float(self.history[index]["difference_usd"][RULES]["mean"])

    def _is_stale(self) -> bool:
        patience = self.run.config.evaluation.patience
        if not patience or not self.history:
            return False
        margins = [self._margin(i) for i in range(len(self.history))]
        return len(margins) - 1 - int(np.argmin(margins)) >= patience


def record(logger: Logger, name: str, comparison: Comparison) -> None:
    """An evaluation's curves: differences in USD and per cent, cost by term, decisions by kind, doubt."""
    said = comparison.to_dict()
    for unit, by_opponent in (("usd", said["difference_usd"]), ("saved_percent", said["saved_percent"])):
        for opponent, estimate in by_opponent.items():
            for key in ("mean", "half_width"):
                if estimate[key] is not None:
                    logger.record(f"{name}/vs_{opponent}_{key}_{unit}", estimate[key])
    for key in ("cost_usd", "fallback_rate", "out_of_range_rate"):
        logger.record(f"{name}/{key}", said[key])
    for term, usd in said["terms_usd"].items():
        logger.record(f"{name}_cost_usd/{term}", usd)
    decisions = max(1.0, sum(said["actions"].values()))
    for kind, count in said["actions"].items():
        logger.record(f"{name}_actions/{kind}", count / decisions)


def check_same(model: TickPPO, manifest: Mapping[str, Any], where: str) -> None:
    """Refuse a checkpoint that another environment or another network wrote."""
    ours = model.ham.network
    schema = ours.pop("schema")
    difference = schema.difference(type(schema).from_dict(manifest["schema"]))
    if difference is not None:
        raise InputError(f"{where}: checkpoint: schema: {difference}")
    if manifest["network"] != ours:
        raise InputError(f"{where}: checkpoint: network: expected {ours}, got {manifest['network']}")
