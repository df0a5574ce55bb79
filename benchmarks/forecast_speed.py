"""Print the engine's cost on one thread: ``python benchmarks/forecast_speed.py [N_SERIES]``."""

from __future__ import annotations

import sys
import time

import numpy as np

from foreshade.envs.forecast.forecaster import NativeForecaster


def main(n_series: int) -> None:
    values = np.random.default_rng(0).gamma(2, 5, (n_series, 400)).astype(np.float32)
    forecaster = NativeForecaster(n_series)
    forecaster.observe(values[:, :352])  # past the first answers of every horizon: all of them learn
    began = time.process_time()
    forecaster.observe(values[:, 352:])
    update_s = (time.process_time() - began) / (n_series * 48)
    began = time.process_time()
    forecaster.predict()
    predict_s = (time.process_time() - began) / n_series
    print(f"{n_series} series, CPU time of one thread")
    print(f"update: {1e6 * update_s:.2f} us a series and sample, {1e-6 / update_s:.3f} M series-updates/s")
    print(f"predict: {1e6 * predict_s:.2f} us a series, all horizons")
    size = forecaster.bytes_per_series
    print(f"memory: {size} bytes a series; {5e4 * size / 1e9:.2f} GB for 50,000")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000)
