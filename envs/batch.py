"""Many environments stepped by the native core in one call, with the buffers they write to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from foreshade import _core
from foreshade.envs.datacenter import observation_space
from foreshade.envs.decision import Decision
from foreshade.envs.errors import ActionError, InputError
from foreshade.envs.native_schema import native_schema
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import native_site, site_of

Floats = npt.NDArray[np.floating[Any]]


class Batch:
    """``n_envs`` decision processes over one or several data centres.

    Environment i plays world i modulo their number, and with ``reset(seed)`` the episodes of seed + i, which
    are those of a single environment that is reset with seed + i.
    """

    def __init__(
        self,
        worlds: Sequence[SimulatedWorld],
        n_envs: int,
        decision: Decision,
        *,
        seed: int = 0,
        threads: int = 1,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        """Build the environments.

        Raises:
            InputError: there is no world or no environment, or observations are neither float32 nor float16.

        """
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.dtype(np.float32), np.dtype(np.float16)):
            raise InputError(f"batch: dtype: expected float32 or float16, got {self.dtype}")
        try:
            self._native = _core.DecisionBatch(
                tuple(world.plant for world in worlds),
                tuple(native_site(site_of(world, 0)) for world in worlds),
                decision.candidates.native(),
                decision.episode_knobs(),
                n_envs,
                seed,
                threads,
            )
        except ValueError as error:
            raise InputError(str(error)) from error
        self.schema = native_schema(decision.k)
        self.space = observation_space(self.schema)
        self.n_envs = n_envs
        shape = (n_envs, self.schema.size)
        # A learner still holds the last observations while the next are written. Of each, what has not changed
        # since is left as it is: nobody else may write there.
        self._out = tuple(np.zeros(shape, self.dtype) for _ in range(2))
        self._native.keep(self._out)
        self._shown = tuple(out.view() for out in self._out)
        for shown in self._shown:
            shown.flags.writeable = False
        self._final = np.zeros(shape, np.float32)
        self._turn = 0
        self.rewards = np.zeros(n_envs, np.float32)
        self.discounts = np.ones(n_envs, np.float32)
        self.dones = np.zeros(n_envs, np.uint8)
        self.invalid = np.zeros(n_envs, np.uint8)

    @property
    def observations(self) -> Floats:
        """(n_envs, size) of the last reset or step, ``[context | candidates | mask]``; kept one step more.

        Read-only: the next but one leaves in it what has not changed.
        """
        return self._shown[self._turn]

    @property
    def shared(self) -> Floats:
        """The same for those who share it with PyTorch, which warns of read-only arrays; not to be written to."""
        return self._out[self._turn]

    def final(self, i: int) -> Floats:
        """(size,) what environment i showed when its episode ended in the last step."""
        last: Floats = self._final[i].astype(self.dtype)
        return last

    def finished(self, i: int) -> _core.EpisodeDict:
        """What the episode that ended in environment i's last step came to."""
        return self._native.finished(i)

    def reset(self, seed: int | None = None) -> Floats:
        """Begin again with a seed; without one every environment goes on to its next episode."""
        self._turn ^= 1
        self._native.reset(self.shared, seed)
        self.discounts.fill(1.0)
        return self.observations

    def step(self, actions: npt.NDArray[Any]) -> Floats:
        """One decision in every environment; those that are done begin their next episode.

        Raises:
            ActionError: there is not one row number for each environment.

        """
        self._turn ^= 1
        chosen = np.ascontiguousarray(actions, np.int64)
        if chosen.shape != (self.n_envs,) or chosen.min() < 0 or chosen.max() >= self.schema.k:
            self._turn ^= 1
            raise ActionError(
                f"step: expected {self.n_envs} rows from 0 to {self.schema.k - 1}, got {actions!r}"
            )
        self._native.step(
            chosen,
            self.shared,
            self._final,
            self.rewards,
            self.discounts,
            self.dones,
            self.invalid,
        )
        return self.observations

    def roll_out(
        self,
        i: int,
        rows: npt.NDArray[np.int64],
        ticks: Sequence[int],
        futures: Sequence[float],
        discount: float,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """What each of ``rows`` leads to in environment i if the rules go on from there; it is left as it is.

        Returns:
            Cost until each of ``ticks``, discounted, and what is then expected an hour, both
            (n_rows, n_futures, n_ticks) in the unit of rewards; ``futures`` scale the hidden demand.

        """
        return _core.roll_out(self._native, i, rows, list(ticks), list(futures), discount)

    def masks(self) -> npt.NDArray[np.bool_]:
        """(n_envs, k) whether each candidate can be chosen."""
        shown: npt.NDArray[np.bool_] = self.observations[:, -self.schema.k :] > 0
        return shown

    def preferred(self) -> npt.NDArray[np.int64]:
        """(n_envs,) the rules' choice in each environment."""
        out = np.zeros(self.n_envs, np.int64)
        self._native.preferred(out)
        return out
