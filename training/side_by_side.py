"""Runs that know nothing of each other, in several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Asked = TypeVar("Asked")
Ran = TypeVar("Ran")


def side_by_side(
    one: Callable[[Asked], Ran], asked: Sequence[Asked], processes: int, together: int = 1
) -> Iterator[Ran]:
    """What ``one`` makes of each, in the order asked; in this process where it is the only one.

    Args:
        one: makes a run; pickled where there are several processes, as what it is asked and gives is.
        asked: what the runs are of.
        processes: that run at the same time, begun anew: what threads hold, a fork would hold for ever.
        together: so many in a row go to the same process, as those that share a world do.

    """
    if processes == 1:
        yield from map(one, asked)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(one, asked, chunksize=together)
