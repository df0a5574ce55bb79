"""The clock of a live world: a steady one for durations, and the machine's for calendars."""

from __future__ import annotations

import time
from collections.abc import Callable

_SET_S = 60.0  # by which the machine's clock may differ from ours before that is worth a word


class WallClock:
    """Unix time, once as it passes and once as the machine tells it."""

    def __init__(
        self, machine_s: Callable[[], float] = time.time, steady_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._machine_s, self._steady_s = machine_s, steady_s
        self._base = machine_s() - steady_s()

    def now_s(self) -> float:
        """By the steady clock from when this was made: it never runs backwards, whatever the machine's is set to."""
        return self._base + self._steady_s()

    def calendar_s(self) -> float:
        """By the machine's clock, which may be set."""
        return self._machine_s()

    @property
    def trouble(self) -> str:
        """How far the machine's clock was set since; "" = it was not."""
        by_s = self.calendar_s() - self.now_s()
        if abs(by_s) < _SET_S:
            return ""
        way = "forward" if by_s > 0 else "back"
        return (
            f"clock: expected this machine's as it was when the controller began, found it set {way} by "
            f"{abs(by_s):.0f} s: windows follow it, times that are shown do so after a restart"
        )
