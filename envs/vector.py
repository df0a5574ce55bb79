"""The native batch as stable-baselines3's vector environment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from foreshade import _core
from foreshade.envs.batch import Batch
from foreshade.envs.decision import Decision
from foreshade.envs.errors import ActionError, InputError
from foreshade.envs.extras import require
from foreshade.envs.features import Schema
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.stock_world import simulated_world

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv
else:
    VecEnv = require("stable_baselines3.common.vec_env", "train", "DataCenterVecEnv").VecEnv

Infos = list[dict[str, Any]]


def flat_space(schema: Schema, dtype: npt.DTypeLike = np.float32) -> spaces.Box:
    """``[context | candidates, row by row | mask]`` as one Box with the schema's bounds."""
    low, high = (
        np.array(
            [getattr(column, end) for column in (*schema.context, *schema.candidate * schema.k)]
            + [float(end == "high")] * schema.k,
            dtype,
        )
        for end in ("low", "high")
    )
    return spaces.Box(low, high, dtype=np.dtype(dtype).type)


class DataCenterVecEnv(VecEnv):
    """``DataCenterEnv`` many times over: the same numbers, flat, from one native call a step.

    Row i is the flattened observation of a ``DataCenterEnv`` that was reset with seed + i. Episodes that end
    are followed by the next at once; their infos have ``terminal_observation``, ``TimeLimit.truncated``,
    ``episode`` (return ``r``, decisions ``l``, seconds since the environment was made ``t``), ``terms``
    (USD) and ``actions`` (how often each kind was chosen). All other infos are one shared empty dict. Neither
    it nor the observations are to be written to: of these, the next step but one leaves what has not changed.
    Stable-baselines3 does not, and they are not marked as read-only since PyTorch, which shares them, would warn.

    ``discounts`` (n_envs,) float32 holds the discount of the last step, ``invalid`` (n_envs,) whether its
    action was masked and acted as ``wait``; ``schema`` says what stands where.
    """

    def __init__(
        self,
        worlds: Sequence[SimulatedWorld] | str = "enterprise",
        n_envs: int = 64,
        *,
        decision: Decision | None = None,
        seed: int = 0,
        threads: int = 1,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        """Build the environments.

        Args:
            worlds: data centres to play in turn (``sampled_worlds`` makes random ones), or a scenario's name.
            n_envs: environments.
            decision: settings of candidates and episodes.
            seed: environment i begins with the episode of seed + i.
            threads: native threads; they change no result.
            dtype: float32, or float16 for half the memory.

        Raises:
            InputError: a setting cannot be used.

        """
        said = decision or Decision()
        played = [simulated_world(worlds)] if isinstance(worlds, str) else worlds
        self._batch = Batch(played, n_envs, said, seed=seed, threads=threads, dtype=dtype)
        self.schema = self._batch.schema
        self.decision = said
        self.tick_s = float(played[0].tick_s)
        self.worlds = tuple(played)
        self.n_worlds = len(played)  # environment i plays world i modulo their number
        self.groups: Sequence[int] = range(len(played))  # of each world: those of one number are alike
        self.strata: Sequence[int] = [0] * len(played)  # likewise: of which scenario it is
        self._seed: int | None = seed
        self._began_s = time.perf_counter()
        self._chosen: npt.NDArray[Any] | None = None
        self._nothing: dict[str, Any] = {}
        self.render_mode = None
        super().__init__(n_envs, flat_space(self.schema, dtype), spaces.Discrete(said.k))
        self.metadata = {"render_modes": []}

    @property
    def discounts(self) -> npt.NDArray[np.float32]:
        """(n_envs,) of the last step; the same array each time."""
        return self._batch.discounts

    @property
    def invalid(self) -> npt.NDArray[np.uint8]:
        """(n_envs,) 1 where the last action was masked; the same array each time."""
        return self._batch.invalid

    def reset(self) -> npt.NDArray[Any]:
        """Begin with the seed last given, or with every environment's next episode."""
        seed, self._seed = self._seed, None
        self._reset_seeds()
        self._reset_options()
        self._batch.reset(seed)
        return self._batch.shared

    def seed(self, seed: int | None = None) -> list[int | None]:
        """The next reset gives environment i the episode of seed + i."""
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        return [self._seed + i for i in range(self.num_envs)]

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Remember what was chosen."""
        self._chosen = actions

    def step_wait(self) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32], npt.NDArray[np.bool_], Infos]:
        """One decision in every environment."""
        if self._chosen is None:
            raise ActionError("step_wait: expected actions, got none: call step_async first")
        batch, chosen = self._batch, self._chosen
        self._chosen = None
        batch.step(chosen)
        dones = batch.dones.astype(bool)
        infos = [self._nothing] * self.num_envs
        for i in np.flatnonzero(batch.dones):
            sums = batch.finished(int(i))
            infos[i] = {
                "terminal_observation": batch.final(int(i)),
                "TimeLimit.truncated": True,
                "episode": {
                    "r": sums["reward"],
                    "l": sums["steps"],
                    "t": time.perf_counter() - self._began_s,
                },
                "terms": sums["terms"],
                "actions": sums["actions"],
            }
        return batch.shared, batch.rewards.copy(), dones, infos  # SB3 adds to the rewards in place

    def preferred(self) -> npt.NDArray[np.int64]:
        """(n_envs,) the rules' choices."""
        return self._batch.preferred()

    def roll_out(
        self,
        i: int,
        rows: npt.NDArray[np.int64],
        ticks: Sequence[int],
        futures: Sequence[float],
        discount: float,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """What candidates of one environment lead to (``Batch.roll_out``)."""
        return self._batch.roll_out(i, rows, ticks, futures, discount)

    def episode(self, i: int, seed: int) -> tuple[SimulatedWorld, int]:
        """Environment i's episode of a seed, for agents that decide tick by tick.

        Returns:
            The world at the first tick, which the next call may begin anew; the tick at which the episode ends.

        """
        world = self.worlds[i % self.n_worlds]
        _, first, end = _core.draw_episode(self.decision.episode_knobs(), world.n_ticks, seed)
        world.reset(seed, first)
        if self.decision.placed:
            world.schedule()
        return world, end

    def close(self) -> None:
        """Nothing is open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of this vector environment, once for each environment."""
        return [getattr(self, attr_name)] * len(self._rows(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Environments share all attributes: one cannot be set for some of them."""
        if len(self._rows(indices)) != self.num_envs:
            raise InputError(f"set_attr: {attr_name}: expected all environments, got {indices!r}")
        setattr(self, attr_name, value)

    def has_attr(self, attr_name: str) -> bool:
        """Whether there is such an attribute."""
        return hasattr(self, attr_name)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """``action_masks``, as sb3-contrib's ``MaskablePPO`` asks for it: a list of one (n_envs, k) array."""
        if method_name != "action_masks" or args or kwargs:
            raise InputError(f"env_method: expected action_masks without arguments, got {method_name}")
        return [self._batch.masks()[self._rows(indices)]]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:  # noqa: ARG002
        """Never."""
        return [False] * len(self._rows(indices))

    def _rows(self, indices: Any) -> list[int]:
        return list(self._get_indices(indices))
