"""Print the engine's cost on one thread: ``python benchmarks/forecast_speed.py [N_SERIES]``.

Shares of its parts: ``perf record python benchmarks/forecast_speed.py`` and ``perf report``.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from foreshade.envs.forecast.forecaster import NativeForecaster

YOUNG, SETTLE, STEPS = 288, 400, 455  # steps; 455 = 5 x 7 x 13, so that every stride falls evenly


def main(n_series: int) -> None:
    values = np.random.default_rng(0).gamma(2, 5, (n_series, YOUNG + SETTLE + STEPS)).astype(np.float32)
    forecaster = NativeForecaster(n_series)
    seconds = np.empty(values.shape[1])
    for t, samples in enumerate(np.ascontiguousarray(values.T)):
        began = time.process_time()
        forecaster.observe(samples)
        seconds[t] = time.process_time() - began
    print(f"{n_series} series, CPU time of one thread, a sample of each series at a time")
    for name, spent in (("first day", seconds[:YOUNG]), ("later", seconds[-STEPS:])):
        each = spent.mean() / n_series
        print(
            f"update, {name}: {1e6 * each:.2f} us a series and sample, {1e-6 / each:.2f} M series-updates/s"
        )
    began = time.process_time()
    forecaster.predict()
    print(f"predict: {1e6 * (time.process_time() - began) / n_series:.2f} us a series, all horizons")
    size = forecaster.bytes_per_series
    print(f"memory: {size} bytes a series; {5e4 * size / 1e9:.2f} GB for 50,000")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000)
