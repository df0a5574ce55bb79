"""An event that people know of before it is seen: when it is, and what it does to demand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import InputError

F32 = npt.NDArray[np.float32]
#: Normal quantiles of the levels, in units of the outermost: where between low and high a level lies.
_PLACE = np.array([-1.959964, -1.281552, -0.6744898, 0.0, 0.6744898, 1.281552, 1.959964]) / 1.959964
_SILENT = 0.1  # a factor below it leaves too little load to divide


@dataclass(frozen=True, slots=True)
class ScheduledEvent:
    """Demand of named series will be ``factor`` times what it would be, somewhere between ``low`` and
    ``high``.

    A promotion that doubles the load, give or take: ``factor=2, low=1.5, high=3``; maintenance that silences
    a service: ``factor=0, low=0, high=0.1``.
    """

    start_s: float  # Unix time
    end_s: float  # exclusive
    factor: float
    low: float  # the factor lies below it with a chance of 2.5 %
    high: float  # and above it with as much
    series: tuple[str, ...] = ()  # names; empty = all

    def __post_init__(self) -> None:
        if not self.end_s > self.start_s:
            raise InputError(f"event: expected an end after its start, got {self.start_s} to {self.end_s}")
        if not 0 <= self.low <= self.factor <= self.high < float("inf"):
            raise InputError(
                f"event: expected 0 <= low <= factor <= high, got {self.low}, {self.factor}, {self.high}"
            )

    @property
    def divisor(self) -> float:
        """What demand is divided by while it runs; NaN where it leaves too little to divide."""
        return self.factor if self.factor >= _SILENT else float("nan")

    @property
    def factors(self) -> F32:
        """(7,) quantiles of the factor: two halves of normal shape from ``low`` over ``factor`` to ``high``."""
        side = np.where(_PLACE < 0, self.factor - self.low, self.high - self.factor)
        return np.asarray(np.maximum(self.factor + _PLACE * side, 0), np.float32)
