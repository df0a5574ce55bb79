"""However wide the machine's registers are: the same numbers."""

from __future__ import annotations

import os
import subprocess
import sys

PLAY = """
import hashlib
import numpy as np
from foreshade.envs.batch import Batch
from foreshade.envs.decision import Decision
from foreshade.envs.stock_world import simulated_world

batch = Batch([simulated_world("enterprise")], 3, Decision(random_start=True), dtype=np.float16)
seen = hashlib.sha256(batch.reset(7).tobytes())
for _ in range(120):
    seen.update(batch.step(batch.preferred()).tobytes())
    seen.update(batch.rewards.tobytes())
print(seen.hexdigest())
"""


def played(lanes: str) -> str:
    told = {**os.environ, "FORESHADE_LANES": lanes}
    done = subprocess.run([sys.executable, "-c", PLAY], env=told, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_machine_without_wide_registers_plays_the_same_episode() -> None:
    assert played("4") == played("8")
