"""Leave-one-day-out check of the learned models on PlanetLab: 200 VMs of a day, trained on the other days.

    python benchmarks/learned_forecasts.py PLANETLAB.tar.gz [--day 20110303] [--model boosted] [--every 4]

Mean pinball over the seven quantiles in CPU %, origins 199 to 275, beside the last value with quantiles of
its own errors so far (``naive``). One JSON line per day and model.
"""

import argparse
import json
import time

import numpy as np

from foreshade.envs.forecast.learned.boosted import BoostedConfig, BoostedQuantiles
from foreshade.envs.forecast.learned.lstm import QuantileLstm
from foreshade.envs.forecast.learned.lstm_training import LstmConfig
from foreshade.envs.forecast.learned.quantile_model import QUANTILES, mean_pinball
from foreshade.envs.workloads.planetlab import read_percent_days

HORIZONS = (1, 3, 12)
MODELS = {
    "boosted": lambda: BoostedQuantiles(BoostedConfig(horizons=HORIZONS)),
    "lstm": lambda: QuantileLstm(LstmConfig(horizons=HORIZONS)),
}


def naive(series, horizon, origin):
    """Last value with the quantiles of its own errors so far."""
    errors = series[:, horizon : origin + 1] - series[:, : origin + 1 - horizon]
    shifted = series[:, origin, None] + np.quantile(errors, QUANTILES, axis=1).T
    return np.maximum(shifted, 0).astype(np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--day", nargs="*")
    parser.add_argument("--model", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--every", type=int, default=1, help="score every so many origins")
    args = parser.parse_args()
    days = {name: day.percent.astype(np.float32) for name, day in read_percent_days(args.data).items()}
    for held_out in args.day or days:
        training = np.concatenate([days[day] for day in days if day != held_out])
        chosen = np.random.default_rng(0).choice(len(days[held_out]), 200, replace=False)
        series = days[held_out][chosen]
        origins = range(199, 276, args.every)
        base = {
            h: np.mean([mean_pinball(naive(series, h, o), series[:, o + h]) for o in origins])
            for h in HORIZONS
        }
        for name in args.model:
            began = time.process_time()
            model = MODELS[name]()
            model.fit(training)
            trained = time.process_time()
            loss = {h: [] for h in HORIZONS}
            inside = {h: [] for h in HORIZONS}
            for origin in origins:
                answer = model.predict(series[:, : origin + 1], HORIZONS)
                for place, horizon in enumerate(HORIZONS):
                    truth = series[:, origin + horizon]
                    loss[horizon].append(mean_pinball(answer[:, place], truth))
                    inside[horizon].append(
                        ((truth >= answer[:, place, 1]) & (truth <= answer[:, place, 5])).mean()
                    )
            predicted = time.process_time() - trained
            print(json.dumps({
                "day": held_out, "model": name,
                "pinball": {h: round(float(np.mean(loss[h])), 4) for h in HORIZONS},
                "ratio_to_naive": {h: round(float(np.mean(loss[h]) / base[h]), 4) for h in HORIZONS},
                "cov80_closed": {h: round(float(np.mean(inside[h])), 3) for h in HORIZONS},
                "train_cpu_s": round(trained - began, 1),
                "us_per_series": round(1e6 * predicted / (len(series) * len(origins)), 1),
            }), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
