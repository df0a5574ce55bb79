"""Microseconds of CPU time that one decision of a frozen policy takes, features to choice, on one thread.

The states are in the cache, as they are when the environment has just written them.

OMP_NUM_THREADS=1 python benchmarks/frozen_policy.py
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from foreshade.agents.ham.frozen import Backend, FrozenPolicy
from foreshade.agents.ham.frozen_network import ActorShape
from foreshade.envs.features import Column, Schema

ROUNDS, DECISIONS, BATCHES = 2_000, 8, 40
BACKENDS: tuple[Backend, ...] = ("onnxruntime", "numpy")


def policy_of(k: int, n_candidate: int, n_context: int, *, attention: bool) -> FrozenPolicy:
    def column(name: str) -> Column:
        return Column(name, "1", -10, 10, "")

    names = ["preference", *(f"x{i}" for i in range(1, n_candidate))]
    context = tuple(column(f"c{i}") for i in range(n_context))
    schema = Schema(context, tuple(map(column, names)), k)
    shape = ActorShape(hidden=32, temperature=0.25, attention=attention)
    rng = np.random.default_rng(0)
    weights = {
        name: (rng.normal(size=size) / 6).astype(np.float32) for name, size in shape.weights(schema).items()
    }
    wide = np.full(n_context + n_candidate, 10, np.float32)
    return FrozenPolicy(schema, shape, weights, -wide, wide)


def main() -> None:
    print("| K | F | G | attention | backend | median µs | fastest µs | batch of 256, µs each | folder, kB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for n_candidate, attention in ((24, False), (40, False), (40, True)):
        made = policy_of(64, n_candidate, 16, attention=attention)
        rng = np.random.default_rng(1)
        flat = rng.normal(0, 2, (256, made.schema.size)).astype(np.float32)
        made.schema.split(flat)[2][:] = rng.random((256, 64)) < 0.7
        with tempfile.TemporaryDirectory() as name:
            folder = made.save(Path(name) / "policy")
            size = sum(file.stat().st_size for file in folder.iterdir()) / 1e3
            for backend in BACKENDS:
                policy = FrozenPolicy.load(folder, backend=backend)
                single, batch = [], []
                for _ in range(ROUNDS):
                    begin = time.thread_time()
                    for row in range(DECISIONS):
                        policy.choose(flat[row])
                    single.append(1e6 * (time.thread_time() - begin) / DECISIONS)
                for _ in range(BATCHES):
                    begin = time.thread_time()
                    policy.choose_batch(flat)
                    batch.append(1e6 * (time.thread_time() - begin) / 256)
                print(
                    f"| 64 | {n_candidate} | 16 | {'yes' if attention else 'no'} | {backend} | "
                    f"{np.median(single):.1f} | {min(single):.1f} | {np.median(batch):.1f} | {size:.0f} |"
                )


if __name__ == "__main__":
    main()
