"""CPU time of a CloudSim day, as the median of several runs after loading.

    FORESHADE_DATA=/path/to/data python benchmarks/cloudsim_speed.py [--day 20110303] [--runs 9] [method ...]

CloudSim 3.0.3's own user times for these days are in the data's ``cloudsim303.csv``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

from foreshade.envs.cloudsim import CloudSimWorld, Method
from foreshade.envs.workloads.planetlab import read_percent_days

METHODS = ("dvfs", "thr_mmt_0.8", "iqr_mmt_1.5", "mad_mmt_2.5", "lr_mmt_1.2")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", default=METHODS, metavar="method")
    parser.add_argument("--day", default="20110303")
    parser.add_argument("--variant", choices=("stock", "keepzero"), default="stock")
    parser.add_argument("--runs", type=int, default=9)
    args = parser.parse_args()
    if "FORESHADE_DATA" not in os.environ:
        print("FORESHADE_DATA: expected the data folder, it is not set", file=sys.stderr)
        return 2
    days = read_percent_days(
        str(Path(os.environ["FORESHADE_DATA"]) / "planetlab" / "planetlab-dev-days.tar.gz")
    )
    day = days[args.day]
    print(f"{args.day} {args.variant}, {len(day.names)} VMs, {args.runs} runs each")
    for label in args.methods:
        method = Method.parse(label)
        times = []
        for _ in range(args.runs):
            start = time.process_time()
            world = CloudSimWorld(
                day.percent,
                day.names,
                variant=args.variant,
                first_fit=method.first_fit,
                full_power=method.full_power,
            )
            world.run(method.policy, method.parameter)
            times.append(time.process_time() - start)
        print(f"{label:14s} median {statistics.median(times):.4f} s  least {min(times):.4f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
