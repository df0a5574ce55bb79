"""Right sizes recommended from the first days of a trace, held against the days that follow.

    FORESHADE_DATA=DIR python benchmarks/right_sizing.py [SPEC] [DAYS]

Prints a row per rule: how much it takes away, and how often what it leaves is too small. Nothing is tuned on it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np

from foreshade.envs.right_sizing import Recommendation, RightSizing, recommend
from foreshade.envs.scenarios.prices import Prices
from foreshade.envs.workloads.spec import load_trace
from foreshade.envs.workloads.trace import Trace

RULES: Mapping[str, RightSizing] = {
    "as shipped": RightSizing(),
    "no margin": RightSizing(margin=0.0),
    "p90 of CPU": RightSizing(cpu_quantile=0.9),
    "CPU halves in a day": RightSizing(cpu_half_life_days=1.0),
}


def too_small(series: np.ndarray, size: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per chosen VM: share of its samples above its size, and the share of its use that lies above it."""
    used = np.nan_to_num(series[:, chosen].astype(np.float64))
    above = np.maximum(used - size[chosen], 0.0)
    return (above > 0).mean(axis=0), above.sum(axis=0) / np.maximum(used.sum(axis=0), 1e-9)


def row(name: str, found: tuple[Recommendation, ...], after: Trace) -> str:
    cells = [name]
    for key, given, to in (
        ("cpu", [r.cpu_mhz for r in found], [r.to_cpu_mhz for r in found]),
        ("memory", [r.memory_mib for r in found], [r.to_memory_mib for r in found]),
    ):
        size = np.array(to)
        shrunk = size < np.array(given)
        often, amount = too_small(after.series[key], size, shrunk)
        freed = 1.0 - size.sum() / np.sum(given)
        cells += [
            f"{100 * freed:.1f} %",
            f"{shrunk.sum()}",
            f"{(often > 0).sum()}",
            f"{(often > 0.01).sum()}",
            f"{100 * amount.mean():.2f} %",
        ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    spec = sys.argv[1] if len(sys.argv) > 1 else "bitbrains"
    days = float(sys.argv[2]) if len(sys.argv) > 2 else 21.0
    join = "&" if "?" in spec else "?"
    before, after = load_trace(f"{spec}{join}days={days:g}"), load_trace(f"{spec}{join}from_day={days:g}")
    if before.vms.name != after.vms.name:
        raise SystemExit("expected the same VMs before and after")
    head = ("freed", "VMs shrunk", "ever too small", "in over 1 % of the time", "mean use above")
    print("| rule | " + " | ".join(f"{r}: {h}" for r in ("CPU", "memory") for h in head) + " |")
    print("|---" * 11 + "|")
    for name, knobs in RULES.items():
        print(row(name, recommend(before, Prices().capacity_usd_h, knobs), after))


if __name__ == "__main__":
    main()
