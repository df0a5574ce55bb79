"""What a whole run came to and what was shown in it, and how the native batch plays such runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from foreshade.agents.ham.frozen import FrozenPolicy
from foreshade.envs.features import F32, Schema

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Seen:
    """One run."""

    usd: float
    columns: F64  # (G,) of the context, means over the decisions
    low: F64  # (G + F,) smallest value of each column, of the context and of unmasked candidates
    high: F64  # (G + F,) largest


class Runs(Protocol):
    """Whole runs, one for each workload."""

    @property
    def groups(self) -> Sequence[int]:
        """(n,) number of what each workload is drawn from: those of one group are alike."""
        ...

    @property
    def strata(self) -> Sequence[int]:
        """(n,) number of the scenario that each workload is of: how many there are of each was chosen."""
        ...

    def __len__(self) -> int:
        """Workloads."""
        ...

    def seen(self, policy: FrozenPolicy, first: int = 0) -> Iterator[Seen]:
        """The runs from ``first`` on under a policy that is in doubt about nothing, in the order of the workloads."""
        ...


class Sight:
    """What decisions were shown."""

    def __init__(self, schema: Schema) -> None:
        n_columns = len(schema.context) + len(schema.candidate)
        self._schema = schema
        self._sums, self._steps = np.zeros(len(schema.context)), 0
        self._low, self._high = np.full(n_columns, np.inf), np.full(n_columns, -np.inf)

    def add(self, flat: F32) -> None:
        """One decision, (size,)."""
        context, rows, mask = self._schema.split(flat)
        self._sums += context
        self._steps += 1
        allowed = rows[mask > 0]
        np.minimum(self._low, np.concatenate([context, allowed.min(axis=0)]), out=self._low)
        np.maximum(self._high, np.concatenate([context, allowed.max(axis=0)]), out=self._high)

    def seen(self, usd: float) -> Seen:
        """Of the run that these were the decisions of."""
        return Seen(usd, self._sums / self._steps, self._low, self._high)


class NativeRuns:
    """The first episode of every environment of a native batch: fast, and without components."""

    def __init__(self, env: VecEnv, seed: int) -> None:
        self._env, self._seed = env, seed

    @property
    def groups(self) -> Sequence[int]:
        """As the environments say of their worlds; else each is its own."""
        said: Sequence[int] = getattr(self._env, "groups", range(len(self)))
        return said

    @property
    def strata(self) -> Sequence[int]:
        """Likewise; else all are of one."""
        said: Sequence[int] = getattr(self._env, "strata", [0] * len(self))
        return said

    def __len__(self) -> int:
        """Environments, one for each workload."""
        return self._env.num_envs

    def seen(self, policy: FrozenPolicy, first: int = 0) -> Iterator[Seen]:
        """All of them at once; those before ``first`` are left out."""
        env = self._env
        env.seed(self._seed)
        shown = np.asarray(env.reset(), np.float32)
        usd = np.full(env.num_envs, np.nan)
        sights = [Sight(policy.schema) for _ in usd]
        while np.isnan(usd).any():
            for i in np.flatnonzero(np.isnan(usd)):
                sights[i].add(shown[i])
            after, _, dones, infos = env.step(policy.scores(shown).argmax(axis=1))
            shown = cast(F32, np.asarray(after, np.float32))
            for i in np.flatnonzero(dones):
                if np.isnan(usd[i]):
                    usd[i] = sum(cast(Any, infos[i])["terms"].values())
        for sight, cost in list(zip(sights, usd.tolist(), strict=True))[first:]:
            yield sight.seen(cost)
