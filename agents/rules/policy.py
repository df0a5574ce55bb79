"""The rules behind the interface of a learned policy: the largest preference among what is possible."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from foreshade.envs.features import PREFERENCE, Schema


class RulesPolicy:
    """Plays what the proposer prefers, from the observation alone; ``predict`` is stable-baselines3's."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._column = [column.name for column in schema.candidate].index(PREFERENCE)

    def predict(
        self,
        observation: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]],
        state: Any = None,
        episode_start: Any = None,  # noqa: ARG002  part of the interface
        deterministic: bool = True,  # noqa: ARG002
    ) -> tuple[npt.NDArray[np.int64], Any]:
        """Rows chosen, (n,) or () as observations are; ties go to the lower row, as in the native core."""
        if isinstance(observation, Mapping):
            candidates, mask = observation["candidates"], observation["mask"]
        else:
            _, candidates, mask = self.schema.split(observation)
        liked = np.where(mask > 0, candidates[..., self._column], -np.inf)
        return np.asarray(liked.argmax(axis=-1), np.int64), state
