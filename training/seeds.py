"""Seeds of episodes, by what they are for; the ranges do not meet."""

from __future__ import annotations

from typing import Literal

import numpy as np

Purpose = Literal["train", "validate", "gate", "habits"]
_SPAN = 1 << 29
_FIRST: dict[Purpose, int] = {"train": 0, "validate": _SPAN, "gate": 2 * _SPAN, "habits": 3 * _SPAN}


def first_seed(run_seed: int, purpose: Purpose, leg: int = 0) -> int:
    """Seed of the first environment, environment ``i`` has the one ``i`` above; ``leg`` counts restarts."""
    drawn = np.random.SeedSequence([run_seed, _FIRST[purpose], leg]).generate_state(1)[0]
    return _FIRST[purpose] + int(drawn) % (_SPAN - (1 << 16))  # room for the environments
