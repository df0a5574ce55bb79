"""The newest samples of every series, for models that look back on their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]


class History:
    """A ring of the last ``length`` samples of each series; NaN = missing."""

    def __init__(self, n_series: int, length: int) -> None:
        self._ring = np.full((n_series, length), np.nan, np.float32)
        self._clock = 0

    def __len__(self) -> int:
        """Number of series."""
        return len(self._ring)

    @property
    def clock(self) -> int:
        """Samples that every series was given; the newest stands at tick ``clock - 1``."""
        return self._clock

    @property
    def first_tick(self) -> int:
        """Tick of the first column of ``rows``."""
        return max(self._clock - self._ring.shape[1], 0)

    def push(self, samples: F32) -> None:
        """Take ``(n_series, k)`` samples in order."""
        length = self._ring.shape[1]
        kept = samples[:, -length:]
        ticks = self._clock + samples.shape[1] - kept.shape[1] + np.arange(kept.shape[1])
        self._ring[:, ticks % length] = kept
        self._clock += samples.shape[1]

    def rows(self, which: slice) -> F32:
        """``(n, n_ticks)`` samples of these series, the newest last; a copy."""
        length = self._ring.shape[1]
        if self._clock <= length:
            return self._ring[which, : self._clock].copy()
        cut = self._clock % length
        return np.concatenate([self._ring[which, cut:], self._ring[which, :cut]], axis=1)

    def at(self, ticks: npt.NDArray[np.int64]) -> F32:
        """``(n_series, n)`` samples at these ticks, from ``first_tick`` to the newest; a copy."""
        return np.asarray(self._ring[:, ticks % self._ring.shape[1]], np.float32)

    def newest(self) -> F32:
        """``(n_series,)`` the last sample, NaN where it is missing; a copy."""
        return self._ring[:, (self._clock - 1) % self._ring.shape[1]].copy()

    def add(self, count: int) -> None:
        """So many series without a past, after the others."""
        young = np.full((count, self._ring.shape[1]), np.nan, np.float32)
        self._ring = np.concatenate([self._ring, young])

    def remove(self, who: Sequence[int]) -> None:
        """Forget these series; the others keep their order."""
        self._ring = np.delete(self._ring, list(who), axis=0)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Everything, for ``restore``."""
        return {"ring": self._ring, "clock": np.array(self._clock)}

    def restore(self, ring: F32, clock: int) -> None:
        """Continue from ``arrays``."""
        self._ring, self._clock = ring.copy(), clock
