"""When work that can wait should run: the cheapest hours by tariff and carbon before its deadline.

For batch work that may be split into whole ticks and needs a given number of them, the best choice is the cheapest
ticks between its arrival and its deadline; for work that must run in one piece it is the cheapest run of consecutive
ticks. Both are exact: the price of each tick is known, tariffs and typical carbon intensity being published ahead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import InputError

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Deferrable:
    """Work that can wait."""

    arrival: int  # first tick in which it can run
    deadline: int  # first tick in which it must be done
    ticks: int  # that it needs
    in_one_piece: bool = False

    def __post_init__(self) -> None:
        if self.ticks < 1 or self.arrival < 0:
            raise InputError(f"deferrable work: expected at least one tick from tick 0 on, found {self}")
        if self.deadline - self.arrival < self.ticks:
            raise InputError(
                f"deferrable work: expected {self.ticks} ticks between arrival {self.arrival} and deadline, "
                f"found {self.deadline - self.arrival}"
            )


@dataclass(frozen=True, slots=True)
class Timing:
    """When it should run, and what that saves against running at once."""

    ticks: tuple[int, ...]  # ascending
    usd_per_kw: float  # of a kW through those ticks
    at_once_usd_per_kw: float

    @property
    def saved(self) -> float:
        """Share of the price of running at once."""
        return 1.0 - self.usd_per_kw / self.at_once_usd_per_kw if self.at_once_usd_per_kw else 0.0


def timing(
    work: Deferrable,
    usd_kwh: npt.ArrayLike,
    tick_s: float,
    barred: npt.NDArray[np.bool_] | None = None,
) -> Timing:
    """The cheapest ticks for the work; of equally cheap ones the earliest.

    Args:
        work: when it comes and has to be done.
        usd_kwh: (n_ticks,) price of each tick, tariff and carbon; the last holds ever after.
        tick_s: length of a tick.
        barred: (n_ticks,) in which work in one piece may not begin; None = it may in all. At least one must be left.

    """
    said = np.asarray(usd_kwh, np.float64)
    if said.size == 0 or not np.isfinite(said).all() or (said < 0).any():
        raise InputError("deferrable work: expected finite prices of at least 0 for every tick")
    span = np.arange(work.arrival, work.deadline)
    prices = said[np.minimum(span, len(said) - 1)]
    hours = tick_s / 3600.0
    if work.in_one_piece:
        sums = np.convolve(prices, np.ones(work.ticks), "valid")
        if barred is not None:
            sums = np.where(barred[work.arrival : work.arrival + len(sums)], np.inf, sums)
        first = int(np.argmin(sums.round(12)))
        chosen = np.arange(first, first + work.ticks)
    else:
        chosen = np.sort(np.argsort(prices, kind="stable")[: work.ticks])
    return Timing(
        tuple((span[chosen]).tolist()),
        float(prices[chosen].sum()) * hours,
        float(prices[: work.ticks].sum()) * hours,
    )
