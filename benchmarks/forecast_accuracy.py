"""Print the accuracy tables of ``docs/forecasting.md``; FORESHADE_DATA names the folder of the traces.

Dev and held-out split what the engine's settings were chosen on from what they were not: Bitbrains VMs 1 to
125 and after, the first 600 Google VMs and the rest.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from foreshade.envs.forecast.score import MODELS, Case, case_of, measure
from foreshade.envs.workloads.spec import load_trace

WINDOWS = ("window_12", "window_36", "window_144", "window_288", "window_2016")
RACE = ("engine", "naive", "seasonal_naive", *WINDOWS)


def show(label: str, case: Case) -> None:
    rows = {}
    for model in RACE:
        began = time.process_time()
        forecast = MODELS[model](case.values, case.protocol.origins, case.protocol.horizons)
        for row in measure(model, case, forecast, time.process_time() - began, 0):
            rows[model, row["horizon"]] = row
    for horizon in case.protocol.horizons:
        engine, naive = rows["engine", horizon], rows["naive", horizon]
        seasonal = rows["seasonal_naive", horizon]["pinball"] / naive["pinball"]
        loss, best = min((rows[m, horizon]["pinball"], m) for m in WINDOWS)
        print(
            f"| {label} | {case.resource} | {horizon} | {engine['pinball']:.4g} | {engine['wql']:.3f} "
            f"| **{engine['pinball'] / naive['pinball']:.3f}** | {seasonal:.3f} "
            f"| {loss / naive['pinball']:.3f} ({best[7:]}) | {engine['cov80']:.3f} | {engine['cov95']:.3f} |",
            flush=True,
        )


def part(case: Case, who: np.ndarray) -> Case:
    return Case(case.resource, np.ascontiguousarray(case.values[who]), case.protocol)


def planetlab() -> None:
    for day in ("20110303", "20110306", "20110309", "20110322", "20110325"):
        trace = load_trace(f"planetlab?day={day}")
        show(f"planetlab {day}", case_of(trace, "cpu", kind="planetlab", sample=None, seed=0))


def bitbrains() -> None:
    trace = load_trace("bitbrains")
    cpu = 100.0 * trace.series["cpu"] / trace.vms.cpu_mhz
    kept = np.flatnonzero((np.isfinite(cpu).mean(0) > 0.97) & (np.nanstd(cpu, axis=0) > 0.2))
    for resource in ("cpu", "memory", "disk_read", "disk_write", "net_rx", "net_tx"):
        case = case_of(trace, resource, kind="bitbrains", sample=None, seed=0)
        show("bitbrains dev", part(case, kept < 125))
        show("bitbrains held-out", part(case, kept >= 125))


def packed() -> None:
    trace = load_trace("google")
    for resource in ("cpu", "memory"):
        case = case_of(trace, resource, kind="google", sample=None, seed=0)
        show("google dev", part(case, np.arange(len(case.values)) < 600))
        show("google held-out", part(case, np.arange(len(case.values)) >= 600))
    trace = load_trace("gpu-pods")
    for resource in ("gpu", "memory"):
        case = case_of(trace, resource, kind="gpu-pods", sample=None, seed=0)
        show("gpu pods", part(case, np.isfinite(case.values).any(axis=1)))


if __name__ == "__main__":
    for name in sys.argv[1:] or ("planetlab", "packed", "bitbrains"):
        {"planetlab": planetlab, "packed": packed, "bitbrains": bitbrains}[name]()
