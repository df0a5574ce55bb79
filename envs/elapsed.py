"""How long ago something was, by times that outlive a process."""

from __future__ import annotations


def elapsed_s(since_s: float, now_s: float) -> float:
    """Seconds between two Unix times that controllers of one cluster wrote down.

    Within a process they never run backwards. Where the machine's clock was set back between two processes, what the
    earlier one wrote lies ahead: it counts for as far off as that is, so that whatever waits a time waits at most
    twice as long, and not until the clock has caught up.
    """
    return abs(now_s - since_s)
