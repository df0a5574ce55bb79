"""Print what one refresh of every forecast costs: engine, learned models, a rotation of classical ones.

    python benchmarks/forecast_refresh.py FOLDER [N_SERIES] [ROTATION_CPU_S]

FOLDER holds frozen models for 1, 3, 12 and 288 steps (``foreshade forecast train``: ``FOLDER/boosted``,
``FOLDER/lstm``; those that are there take part). A refresh is one new sample of every series, everything
learnt from it, and four horizons forecast; the tick is one at which all horizons are asked anyway. One
thread.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np

from foreshade.envs.forecast.classical.rotation import Rotation, RotationConfig
from foreshade.envs.forecast.classical.stats_models import stats_model
from foreshade.envs.forecast.experts import LearnedExpert, RotatedExpert, SeasonalExpert
from foreshade.envs.forecast.forecaster import NativeForecaster
from foreshade.envs.forecast.learned.frozen_model import read_model
from foreshade.envs.forecast.selection import Selection

FILLED = 604  # ticks with samples behind the refresh: two days, so that every model has what it needs


class Timed:
    """An expert or a forecaster that counts its CPU time."""

    def __init__(self, inner):
        self.inner, self.cpu_s = inner, 0.0

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def __len__(self):
        return len(self.inner)

    def timed(self, call, *arguments):
        began = time.process_time()
        try:
            return call(*arguments)
        finally:
            self.cpu_s += time.process_time() - began

    def quantiles(self, *arguments):
        return self.timed(self.inner.quantiles, *arguments)

    def observe(self, *arguments):
        return self.timed(self.inner.observe, *arguments)

    def predict(self):
        return self.timed(self.inner.predict)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(folder: Path, n_series: int, rotation_cpu_s: float) -> None:
    imported = peak_mb()
    values = np.random.default_rng(0).standard_gamma(2, (n_series, FILLED), np.float32) * np.float32(5)
    rotation = Rotation(n_series, config=RotationConfig(budget_cpu_s=rotation_cpu_s))
    experts = {"seasonal naive": Timed(SeasonalExpert())}
    for kind in ("boosted", "lstm"):
        if (folder / kind).is_dir():
            experts[kind] = Timed(LearnedExpert(kind, read_model(folder / kind).model))
    experts["rotation of ETS"] = Timed(RotatedExpert("ets", rotation, stats_model("ets")))
    engine = Timed(NativeForecaster(n_series))
    selection = Selection(engine, list(experts.values()))
    selection.warm(values)
    before_mb = peak_mb()
    engine.cpu_s = 0.0
    began = time.process_time()
    selection.observe(values[:, -1])
    selection.predict()
    total = time.process_time() - began
    parts = {"engine": engine.cpu_s, **{name: expert.cpu_s for name, expert in experts.items()}}
    parts["selection itself"] = total - sum(parts.values())
    print(f"{n_series} series, 4 horizons, one refresh, CPU time of one thread")
    for name, spent in parts.items():
        print(
            f"{name:18} {spent:8.2f} s {100 * spent / total:5.1f} % {1e6 * spent / n_series:8.1f} us a series"
        )
    print(f"{'all':18} {total:8.2f} s")
    linear = total - parts["rotation of ETS"]
    print(f"50,000 series at the same cost each: {5e4 * linear / n_series + rotation_cpu_s:.1f} s")
    own = selection.memory_bytes / n_series
    print(
        f"engine {engine.bytes_per_series} bytes a series, selection {own:.0f}; "
        f"rotation {rotation.memory_bytes / 1e6:.1f} MB"
    )
    print(
        f"peak memory {peak_mb():.0f} MB, {before_mb:.0f} before the refresh, "
        f"{imported:.0f} after the imports"
    )


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        int(sys.argv[2]) if len(sys.argv) > 2 else 5_000,
        float(sys.argv[3]) if len(sys.argv) > 3 else 20.0,
    )
