"""Token buckets: how often one caller may ask."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second over time, and so many at once."""

    per_s: float
    burst: float


class RateLimit:
    """One bucket per caller; the callers heard of least recently are forgotten, as full."""

    def __init__(self, rate: Rate, clock: Callable[[], float], most_callers: int = 10_000) -> None:
        self._rate = rate
        self._clock = clock  # seconds that never go back
        self._most = most_callers
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens left, and when
        self._lock = threading.Lock()

    def wait_s(self, caller: str, cost: float = 1.0) -> float:
        """Take ``cost`` from the caller's bucket; 0, or the seconds until it can be taken (then nothing is)."""
        with self._lock:
            now = self._clock()
            left, since = self._buckets.pop(caller, (self._rate.burst, now))
            left = min(self._rate.burst, left + (now - since) * self._rate.per_s)
            taken = left >= cost
            self._buckets[caller] = (left - cost if taken else left, now)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
            return 0.0 if taken else (cost - left) / self._rate.per_s
