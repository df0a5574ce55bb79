"""However wide the machine's registers are: the same numbers."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PLAY = """
import hashlib
import numpy as np
from foreshade import _core
from foreshade.envs.batch import Batch
from foreshade.envs.decision import Decision
from foreshade.envs.stock_world import simulated_world

batch = Batch([simulated_world("enterprise")], 3, Decision(random_start=True), dtype=np.float16)
seen = hashlib.sha256(batch.reset(7).tobytes())
for _ in range(120):
    seen.update(batch.step(batch.preferred()).tobytes())
    seen.update(batch.rewards.tobytes())
print(_core.lanes(), seen.hexdigest())
"""


def played(lanes: str) -> tuple[int, str]:
    """The lanes that were used, and what was seen."""
    told = {**os.environ, "FORESHADE_LANES": lanes}
    done = subprocess.run([sys.executable, "-c", PLAY], env=told, capture_output=True, text=True, check=True)
    used, seen = done.stdout.split()
    return int(used), seen


def test_a_machine_without_wide_registers_plays_the_same_episode() -> None:
    wide, seen = played("8")
    if wide == 4:
        pytest.skip("THIS MACHINE HAS NO AVX2: that wide and narrow loops give the same bits is not checked")
    assert (wide, played("4")) == (8, (4, seen))
