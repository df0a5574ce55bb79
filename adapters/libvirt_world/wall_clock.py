"""The clock of a live world."""

from __future__ import annotations

import time


class WallClock:
    """Unix time that never runs backwards, whatever becomes of the machine's clock."""

    def __init__(self) -> None:
        self._base = time.time() - time.monotonic()

    def now_s(self) -> float:
        """Unix time by the monotonic clock."""
        return self._base + time.monotonic()
