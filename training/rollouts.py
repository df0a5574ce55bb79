"""An expert that plays candidates out: what each of them leads to if the rules go on.

Each candidate is taken in a copy of the data centre (``core/decide/rollout.hpp``). All meet the same futures, so that
what differs is the candidate's doing; demand a little higher or lower makes another future, in which ties fall
otherwise: the mean over futures says what a candidate is worth, their spread how much of it is luck.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from foreshade.envs.features import F32, Schema
from foreshade.training.config import RolloutConfig

_SCORE, _FIRST_KIND, _LAST_KIND = "score", "wait", "rack_off"


class RolloutExpert:
    """Plays out the candidates of an environment that can be copied: ``DataCenterVecEnv``."""

    def __init__(self, schema: Schema, config: RolloutConfig) -> None:
        self.schema = schema
        self.config = config
        names = [column.name for column in schema.candidate]
        self._score = names.index(_SCORE)
        self._kinds = slice(names.index(_FIRST_KIND), names.index(_LAST_KIND) + 1)
        self._whole = {names.index(name) - self._kinds.start for name in ("plan", "right_size")}

    def costs(
        self, env: VecEnv, i: int, flat: F32, rules: int, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], F32]:
        """Candidates of environment ``i``, which shows ``flat``, and what they cost in each future.

        Returns:
            Candidates (m,), the first of which is the rules' choice, and costs (m, n_futures) in ticks of what the
            fleet draws idle: what is paid until the horizon, and for ``tail_h`` hours what is expected then.

        """
        said = self.config
        rows = self.worth_playing(flat, rules, rng)
        paid, ahead = cast(Any, env).roll_out(i, rows, (said.horizon_ticks,), said.futures, said.discount)
        costs: F32 = paid[:, :, -1] + said.tail_h * ahead[:, :, -1]
        return rows, costs

    def worth_playing(self, flat: F32, rules: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """The rules' choice, ``wait``, the best of each kind, every plan and right-sizing, others at random."""
        _, candidates, mask = self.schema.split(flat)
        possible = np.flatnonzero(mask > 0)
        kinds = candidates[:, self._kinds].argmax(axis=1)
        chosen: set[int] = set()
        for kind in np.unique(kinds[possible]):
            of_kind = possible[kinds[possible] == kind]
            best = of_kind[candidates[of_kind, self._score].argmax()]
            chosen.update(of_kind.tolist() if kind in self._whole else [int(best)])
        must = [rules] if rules == 0 else [rules, 0]
        may = rng.permutation([c for c in chosen if c not in must])
        others = rng.permutation(np.setdiff1d(possible, [*must, *chosen]))
        return np.array([*must, *may, *others][: self.config.candidates], np.int64)
