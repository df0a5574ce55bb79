"""Print the markdown tables of docs/workloads.md, Statistics: every public set found in FORESHADE_DATA.

FORESHADE_DATA=DIR python benchmarks/workload_statistics.py
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from typing import Any

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.describe import LAGS_S, describe
from foreshade.envs.workloads.from_trace import to_workload
from foreshade.envs.workloads.spec import DATA_VARIABLE, KINDS, load_trace

MOMENTS = ("mean", "p50", "p95", "p99", "max", "cv", "zero_share", "provisioned_used", "peak_to_mean")


def main() -> int:
    if not os.environ.get(DATA_VARIABLE):
        print(f"{DATA_VARIABLE} is not set: nothing to describe", file=sys.stderr)
        return 2
    found: dict[str, dict[str, Any]] = {}
    seconds: dict[str, tuple[float, float]] = {}
    mended: dict[str, dict[str, int]] = {}
    for kind in KINDS:
        start = time.process_time()
        try:
            trace = load_trace(kind)
        except WorkloadError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        read = time.process_time()
        mended[kind] = dict(to_workload(trace).defects)
        seconds[kind] = (read - start, time.process_time() - read)
        found[kind] = describe(trace)
    sized = (
        *("set", "VMs", "slots", "days", "arrivals/h", "ended VMs", "life mean h", "life p50 h"),
        *("cores p50", "GiB p50", "read s", "to workload s"),
    )
    heads = ("set", "series", "mean", "p50", "p95", "p99", "max", "cv", "zero", "of provisioned", "peak/mean")
    lags = [f"{lag} {of}" for lag in LAGS_S for of in ("VM", "sum")]
    counts = ((kind, ", ".join(f"{what} {n:,}" for what, n in mended[kind].items())) for kind in mended)
    print(*table(sized, sizes(found, seconds)), "", *table(heads, moments(found)), "", sep="\n")
    print(*table(("set", "series", *lags, "pairs"), correlations(found)), "", sep="\n")
    print(*table(("set", "met and mended"), counts), sep="\n")
    return 0


def sizes(
    found: dict[str, dict[str, Any]], seconds: dict[str, tuple[float, float]]
) -> Iterable[tuple[str, ...]]:
    for kind, d in found.items():
        life = d["lifetime_h"] or {}
        memory = d["requested"]["memory_mib"]
        numbers = (
            d["arrivals_per_hour"], d["ended_vms"], life.get("mean"), life.get("p50"),
            d["requested"]["cores"]["p50"], memory["p50"] / 1024 if memory else None, *seconds[kind],
        )  # fmt: skip
        yield (kind, f"{d['vms']:,}", f"{d['slots']:,}", f"{d['days']:.1f}", *map(number, numbers))


def moments(found: dict[str, dict[str, Any]]) -> Iterable[tuple[str, ...]]:
    for kind, d in found.items():
        for key, series in d["series"].items():
            yield (kind, f"{key} {series['unit']}", *(number(series.get(name)) for name in MOMENTS))


def correlations(found: dict[str, dict[str, Any]]) -> Iterable[tuple[str, ...]]:
    for kind, d in found.items():
        for key, series in d["series"].items():
            lags = series.get("autocorrelation", {})
            cells = [number(lags.get(lag, {}).get(of)) for lag in LAGS_S for of in ("vm", "sum")]
            yield (kind, key, *cells, number(series.get("pair_correlation")))


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    heads = list(heads)
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    raise SystemExit(main())
