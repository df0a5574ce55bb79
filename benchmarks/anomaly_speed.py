"""Series-updates per second of the anomaly detectors on one core, as the median of several runs.

python benchmarks/anomaly_speed.py [--series 10000] [--steps 100] [--runs 5]
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from foreshade.envs.anomaly.detector import AnomalyDetector, JointAnomalyDetector

WARMUP_STEPS = 250  # past the detector's own warm-up, so that ranks are paid for


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    cases = [
        ("single", AnomalyDetector(args.series), (args.series,), args.series),
        ("joint, 4 metrics", JointAnomalyDetector(args.series // 4, 4), (args.series // 4, 4), args.series),
        (
            "joint, 38 metrics",
            JointAnomalyDetector(args.series // 380, 38),
            (args.series // 380, 38),
            args.series // 10,
        ),
    ]
    for name, detector, shape, updates in cases:
        clock = 0
        detector.run(300.0 * np.arange(WARMUP_STEPS), rng.normal(10, 1, (WARMUP_STEPS, *shape)))
        rates = []
        for run in range(args.runs):
            clock = WARMUP_STEPS + run * args.steps
            values = rng.normal(10, 1, (args.steps, *shape))
            start = time.process_time()
            detector.run(300.0 * (clock + np.arange(args.steps)), values)
            rates.append(args.steps * updates / (time.process_time() - start))
        print(f"{name:18s} median {statistics.median(rates) / 1e6:.2f} M series-updates/s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
