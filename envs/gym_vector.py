"""The native batch as Gymnasium's vector environment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from foreshade.envs.batch import Batch
from foreshade.envs.datacenter import Observation
from foreshade.envs.decision import Decision
from foreshade.envs.errors import InputError
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.stock_world import simulated_world

Actions = npt.NDArray[np.int64]
Results = tuple[
    Observation, npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]
]


class DataCenterVectorEnv(gymnasium.vector.VectorEnv[Observation, Actions, npt.NDArray[Any]]):
    """``DataCenterEnv`` many times over, Dict observations; an environment that is done begins anew in that
    step.

    Observations are read-only views of two buffers in turn: copy what must outlive the next step, or be shared with
    a tensor of PyTorch. ``infos`` holds ``discount`` and ``invalid_action`` (n_envs,); of environments that are done
    also ``final_obs`` and ``final_info``, and ``_final_obs``, ``_final_info``: which they are.
    """

    metadata = {"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}  # noqa: RUF012  Gymnasium's own

    def __init__(
        self,
        num_envs: int = 1,
        *,
        scenario: str | Path = "enterprise",
        variant: str = "",
        workload: str | None = None,
        worlds: Sequence[SimulatedWorld] | None = None,
        decision: Decision | None = None,
        threads: int = 1,
        render_mode: str | None = None,
    ) -> None:
        """Build the environments: of the worlds given in turn, else of a scenario.

        Raises:
            InputError: a setting cannot be used, or there is a render mode.

        """
        if render_mode is not None:
            raise InputError(f"render_mode: expected none for a vector environment, got {render_mode!r}")
        said = decision or Decision()
        played = [simulated_world(scenario, variant, workload)] if worlds is None else worlds
        self._batch = Batch(played, num_envs, said, threads=threads)
        self.num_envs = num_envs
        self.schema = self._batch.schema
        self.render_mode = None
        self.single_observation_space = self._batch.space
        self.single_action_space = spaces.Discrete(said.k)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._began = False

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin episodes; environment i the one of seed + i."""
        if options:
            raise InputError(f"reset: options: expected none, got {min(options)!r}")
        if isinstance(seed, list):
            first = seed[0]
            if first is None or seed != list(range(first, first + self.num_envs)):
                raise InputError(f"reset: seed: expected one number, or numbers that count up, got {seed!r}")
            seed = first
        super().reset(seed=seed)
        if seed is None and not self._began:
            seed = int(self.np_random.integers(2**31))
        self._began = True
        return self._split(self._batch.reset(seed)), {}

    def step(self, actions: Actions) -> Results:
        """One decision in every environment."""
        batch = self._batch
        shown = batch.step(actions)
        truncated = batch.dones.astype(bool)
        infos: dict[str, Any] = {
            "discount": batch.discounts.copy(),
            "invalid_action": batch.invalid.astype(bool),
        }
        if truncated.any():
            final_obs = np.full(self.num_envs, None, dtype=object)
            final_info = np.full(self.num_envs, None, dtype=object)
            for i in np.flatnonzero(truncated):
                final_obs[i] = self._split(batch.final(int(i)))
                final_info[i] = dict(batch.finished(int(i)))
            infos.update(
                final_obs=final_obs,
                final_info=final_info,
                _final_obs=truncated.copy(),
                _final_info=truncated.copy(),
            )
        return self._split(shown), batch.rewards.copy(), np.zeros_like(truncated), truncated, infos

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """(n_envs, k) whether each candidate can be chosen."""
        return self._batch.masks()

    def preferred(self) -> Actions:
        """(n_envs,) the rules' choices."""
        return self._batch.preferred()

    def _split(self, flat: npt.NDArray[Any]) -> Observation:
        context, candidates, mask = self.schema.split(flat)
        return {"context": context, "candidates": candidates, "mask": mask}
