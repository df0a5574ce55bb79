"""Boosted quantiles on Bitbrains CPU: trained on 21 days, scored at 63 origins of the days after.

    python benchmarks/learned_bitbrains.py bitbrains:ARCHIVE

All VMs with more than 97 % observed and a deviation above 0.2 % of their capacity; an origin every 185 min.
Weighted quantile loss beside the last value with quantiles of its errors over seven days (``naive``), and
coverage of the 80 % interval with ties counted at random. One JSON line per horizon.
"""

import argparse
import json

import numpy as np

from foreshade.envs.forecast.learned.boosted import BoostedConfig, BoostedQuantiles
from foreshade.envs.forecast.learned.lag_features import LONGEST_CONTEXT
from foreshade.envs.forecast.learned.quantile_model import QUANTILES
from foreshade.envs.workloads.spec import load_trace

HORIZONS = (1, 3, 12, 288)
DAY = 288
LEVEL = np.array(QUANTILES)


def pinball(quantiles, truth):
    error = truth[:, None] - quantiles
    return np.nansum(np.maximum(LEVEL * error, (LEVEL - 1) * error)) / len(QUANTILES)


def held(series):
    """The last sample that was there, at every tick."""
    seen = np.where(np.isfinite(series), np.arange(series.shape[1]), 0)
    return np.take_along_axis(series, np.maximum.accumulate(seen, axis=1), axis=1)


def inside(quantiles, truth, rng):
    """Share of truths in the 80 % interval; one that lies on a bound is in with a chance of one half."""
    known = np.isfinite(truth)
    low, high, truth = quantiles[known, 1], quantiles[known, 5], truth[known]
    on_bound = (truth == low) | (truth == high)
    return np.where(on_bound, rng.random(truth.size) < 0.5, (truth > low) & (truth < high)).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload")
    trace = load_trace(parser.parse_args().workload)
    cpu = (trace.series["cpu"] / trace.vms.cpu_mhz * 100).T.astype(np.float32)
    observed = np.isfinite(cpu).mean(axis=1) > 0.97
    cpu = cpu[observed]
    cpu = cpu[np.nanstd(cpu, axis=1) > 0.2]
    last = held(cpu)
    model = BoostedQuantiles(BoostedConfig(horizons=HORIZONS))
    model.fit(cpu[:, : 21 * DAY])
    rng = np.random.default_rng(0)
    total = {h: np.zeros(3) for h in HORIZONS}
    covered = {h: [] for h in HORIZONS}
    for origin in range(21 * DAY, 21 * DAY + 63 * 37, 37):
        first = origin + 1 - LONGEST_CONTEXT
        answer = model.predict(cpu[:, first : origin + 1], HORIZONS, start_tick=first)
        for place, horizon in enumerate(HORIZONS):
            truth = cpu[:, origin + horizon]
            week = slice(origin + 1 - 7 * DAY, origin + 1)
            errors = last[:, week] - last[:, week.start - horizon : week.stop - horizon]
            naive = np.maximum(last[:, origin, None] + np.nanquantile(errors, QUANTILES, axis=1).T, 0)
            own = answer[:, place]
            total[horizon] += pinball(own, truth), pinball(naive, truth), np.nansum(np.abs(truth)) / 2
            covered[horizon].append(inside(own, truth, rng))
    for horizon, (own, naive, demand) in total.items():
        row = {"horizon": horizon, "wql": own / demand, "naive": naive / demand, "ratio": own / naive}
        row["cov80"] = float(np.mean(covered[horizon]))
        print(json.dumps({"n_series": len(cpu), **{k: round(v, 4) for k, v in row.items()}}))


if __name__ == "__main__":
    main()
