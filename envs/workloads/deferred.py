"""One-off jobs that wait for cheaper hours: a batch queue's choice of when each begins, laid over a workload.

A job is a VM of a kind that can wait which is an application of its own, comes after the first tick and is gone
before the last. When it arrives the queue knows how long it runs (as schedulers ask for), the tariff and the grid's
typical carbon intensity, and what it has promised to others; not what comes later. It begins where its whole run is
cheapest and ends within ``defer_h`` of when it would have ended, but never where more jobs would run together than
did when nobody waited, and not all at once: cheap power is no reason for a host more. What runs is as it was, later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from foreshade.envs.deferral import Deferrable, timing
from foreshade.envs.workloads.workload import Workload

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

#: Types of applications whose work may wait, as templates name them.
KINDS = ("batch", "short")
_NEVER = 1e9  # USD a kWh
#: Of the most that ran together, what may begin in one tick more than would: hosts take minutes to come up.
_RAMP = 0.02


def deferred(
    load: Workload, usd_kwh: npt.ArrayLike, defer_h: float, kinds: Sequence[str] = KINDS
) -> Workload:
    """The workload with its jobs where they are cheapest.

    Args:
        load: as it arrives.
        usd_kwh: (n_ticks,) price of each tick, carbon included; the last holds ever after.
        defer_h: hours that a job's end may move.
        kinds: of jobs that can wait.

    """
    slack = round(defer_h * 3600.0 / load.tick_s)
    jobs = _jobs(load, kinds)
    if slack == 0 or not len(jobs):
        return load
    prices = np.asarray(usd_kwh, np.float64)
    ticks = np.arange(load.n_ticks)
    at_once = np.zeros(load.n_ticks)  # MHz of all jobs as they arrive
    for vm in jobs.tolist():
        at_once[load.vms.arrival_tick[vm] : load.vms.departure_tick[vm]] += load.vms.flavour[vm, 0]
    record = np.maximum.accumulate(at_once)  # the most that was seen to run together so far
    promised, begun = np.zeros((2, load.n_ticks))
    starts = load.vms.arrival_tick.astype(np.int64)
    for vm in jobs.tolist():
        first, end = int(load.vms.arrival_tick[vm]), int(load.vms.departure_tick[vm])
        mhz = float(load.vms.flavour[vm, 0])
        deadline = min(end + slack, load.n_ticks)
        full = promised + mhz > record[first]
        priced = np.where(full, _NEVER, prices[np.minimum(ticks, len(prices) - 1)])
        crowded = begun + mhz > _RAMP * record[first]
        crowded[first] = False
        job = Deferrable(first, deadline, end - first, in_one_piece=True)
        found = timing(job, priced, load.tick_s, barred=crowded)
        starts[vm] = first if full[list(found.ticks)].any() else found.ticks[0]
        promised[starts[vm] : starts[vm] + end - first] += mhz
        begun[starts[vm]] += mhz
    return _moved(load, jobs, starts)


def _jobs(load: Workload, kinds: Sequence[str]) -> I64:
    """(n,) VMs that can wait, by arrival."""
    vms, apps = load.vms, load.apps
    of_kind = np.array([kind in kinds for kind in apps.kind] or [False] * len(apps))
    alone = np.bincount(vms.app, minlength=len(apps)) == 1
    can = (of_kind & alone)[vms.app] & (vms.arrival_tick > 0) & (vms.departure_tick < load.n_ticks)
    can &= vms.departure_tick > vms.arrival_tick
    rows = np.flatnonzero(can)
    return rows[np.argsort(vms.arrival_tick[rows], kind="stable")]


def _moved(load: Workload, jobs: I64, starts: I64) -> Workload:
    """Each job's demand at its new time, in columns that jobs which never meet share."""
    moved = jobs[starts[jobs] != load.vms.arrival_tick[jobs]]
    moved = moved[np.argsort(starts[moved], kind="stable")]
    lengths = load.vms.departure_tick - load.vms.arrival_tick
    demand = load.demand.copy()
    series, arrival = load.apps.series.copy(), load.vms.arrival_tick.copy()
    ends: list[int] = []  # of the last job of each new column
    columns: list[F32] = []
    for vm in moved.tolist():
        old = int(load.apps.series[load.vms.app[vm]])
        then = slice(int(load.vms.arrival_tick[vm]), int(load.vms.departure_tick[vm]))
        now = slice(int(starts[vm]), int(starts[vm] + lengths[vm]))
        place = next((c for c, end in enumerate(ends) if end <= now.start), len(ends))
        if place == len(ends):
            ends.append(0)
            columns.append(np.zeros((load.n_ticks, 4), np.float32))
        ends[place] = now.stop
        columns[place][now] = load.demand[then, old]
        demand[then, old] = 0.0
        series[load.vms.app[vm]] = load.n_series + place
        arrival[vm] = now.start
    wide = np.concatenate([demand, np.stack(columns, axis=1)], axis=1) if columns else demand
    return replace(
        load,
        demand=np.ascontiguousarray(wide, dtype=np.float32),
        vms=replace(
            load.vms,
            arrival_tick=arrival,
            departure_tick=(arrival + lengths).astype(np.int32),
        ),
        apps=replace(load.apps, series=series.astype(np.int32)),
        notes=(*load.notes, f"{len(moved)} of {len(jobs)} jobs wait for cheaper hours"),
    )
