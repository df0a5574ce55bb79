"""Trains the disk hazard model on a public SMART file, freezes it and prints its score on the other drives.

python benchmarks/disk_hazard.py $FORESHADE_DATA/backblaze/hds.parquet --out DIR [--seed N]
"""

import argparse
import json
import time

from foreshade.envs.hazard.score import score
from foreshade.envs.hazard.train import DiskHazardConfig, train


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    began = time.process_time()
    model = train(args.data, args.out, DiskHazardConfig(seed=args.seed))
    trained = time.process_time()
    result = score(args.data, model)
    cost = {"train_cpu_s": trained - began, "score_cpu_s": time.process_time() - trained}
    print(json.dumps({**result, "cost": cost}, indent=1))


if __name__ == "__main__":
    main()
