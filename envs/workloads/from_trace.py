"""From what was measured to what a simulator can play: one clock, no gaps, a size for everything.

What a trace leaves open is settled here, by rules that are few and counted in ``defects``:

* A gap within a VM's life takes the last observation; a leading one takes the first.
* A series that was never measured for a VM is a constant share of the request (``Trace.assumed``).
* A size that is missing or zero is the next standard step above the 99.9th percentile of the demand.
* Demand above the size is clipped to it: a VM cannot use more than it was given.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.clock import check_extent, resample, resampled_length
from foreshade.envs.workloads.trace import REFERENCE_CORE_MHZ, FloatArray, Trace
from foreshade.envs.workloads.workload import Workload, WorkloadApps, WorkloadVms

#: The steps that a size is rounded up to where the trace has none: vCPU counts and memory as clouds sell
#: them, disk and network in the steps of their volume and instance tiers.
CPU_STEPS_MHZ = tuple(c * REFERENCE_CORE_MHZ for c in (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128))
MEMORY_STEPS_MIB = tuple(float(2**k) for k in range(9, 22))
DISK_STEPS_MIB_S = (25.0, 50.0, 100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0, 6400.0)
NET_STEPS_MBIT_S = (100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0, 25000.0, 50000.0, 100000.0)
_STEPS = (CPU_STEPS_MHZ, MEMORY_STEPS_MIB, DISK_STEPS_MIB_S, NET_STEPS_MBIT_S)
_RESOURCES = ("cpu", "memory", "disk", "net")

#: Share of its memory that a VM keeps whatever its traffic: operating system, code and caches. A trace
#: does not tell; half is between a stateless server and a data base.
MEMORY_FLOOR = 0.5

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


def to_workload(
    trace: Trace, *, tick_s: int = 300, memory_floor: float = MEMORY_FLOOR, offloadable: float = 0.0
) -> Workload:
    """Turn a trace into complete demand tables on a clock of ``tick_s``.

    Every VM becomes an application of one member, since the trace has split the load already. A trace of
    requests alone gets one constant series for each distinct request instead of one for each VM.

    Args:
        trace: as an importer made it.
        tick_s: control interval in s.
        memory_floor: share of the memory demand that a member needs whatever its traffic.
        offloadable: largest share of the load that micro-VMs can take; a trace cannot know, so none.

    Raises:
        WorkloadError: an argument out of range, or no VM lives on the clock.

    """
    if tick_s <= 0:
        raise WorkloadError(f"{trace.source}: tick: expected a positive number of seconds, got {tick_s}")
    for option, share in (("memory_floor", memory_floor), ("offloadable", offloadable)):
        if not 0 <= share <= 1:
            raise WorkloadError(f"{trace.source}: {option}: expected a share of 0 to 1, got {share:g}")
    defects = Counter(trace.defects)
    n_ticks = resampled_length(trace.n_ticks, trace.step_s, tick_s)
    arrival, departure = _life_ticks(trace, tick_s, n_ticks, defects)
    keep = np.flatnonzero(arrival < n_ticks)
    if len(keep) < len(trace.vms):
        defects["dropped_vms_outside_clock"] += len(trace.vms) - len(keep)
    if keep.size == 0:
        raise WorkloadError(f"{trace.source}: expected a VM that lives on the clock, found none")
    arrival, departure = arrival[keep], departure[keep]
    sizes = np.zeros((len(keep), 5), np.float32)
    sizes[:, 0] = np.nan_to_num(trace.vms.cpu_mhz[keep])
    sizes[:, 1] = np.nan_to_num(trace.vms.memory_mib[keep])
    sizes[:, 4] = np.nan_to_num(trace.vms.gpus[keep])
    if trace.series:
        demand, gpu, gpu_series = _measured(trace, tick_s, keep, arrival, departure, sizes, defects)
        series = np.arange(len(keep))
    else:
        demand, gpu, gpu_series, series = _requested(trace, n_ticks, sizes, defects)
    names = tuple(trace.vms.name[k] for k in keep)
    return Workload(
        name=trace.name,
        source=trace.source,
        start_epoch_s=trace.start_epoch_s,
        tick_s=tick_s,
        demand=demand,
        gpu=gpu,
        gpu_series=gpu_series,
        vms=WorkloadVms(
            name=names,
            app=np.arange(len(keep), dtype=np.int32),
            flavour=sizes,
            arrival_tick=arrival.astype(np.int32),
            departure_tick=departure.astype(np.int32),
            credit=np.ones(len(keep), np.float32),
        ),
        apps=WorkloadApps(
            name=names,
            series=series.astype(np.int32),
            members=np.ones(len(keep), np.int32),
            memory_floor=np.full(len(keep), memory_floor, np.float32),
            offloadable=np.full(len(keep), offloadable, np.float32),
        ),
        defects={kind: count for kind, count in sorted(defects.items()) if count},
        notes=trace.notes,
    )


def cpu_sizes(trace: Trace) -> FloatArray:
    """MHz of every VM, (n_vms,): as the trace has them, or as ``to_workload`` gives them to those without."""
    sizes = np.zeros((len(trace.vms), 1), np.float32)
    sizes[:, 0] = np.nan_to_num(trace.vms.cpu_mhz)
    if "cpu" in trace.series:
        values = trace.series["cpu"]
        _size(0, values, ~np.isnan(values), sizes, Counter())
    return sizes[:, 0]


def _life_ticks(trace: Trace, tick_s: int, n_ticks: int, defects: Counter[str]) -> tuple[Ints, Ints]:
    """First tick and first tick gone; lengths are rounded, so that short lives do not add up to more load."""
    arrival = np.floor(trace.vms.arrival_s / tick_s)
    stays = ~np.isfinite(trace.vms.departure_s)
    life = np.where(stays, 0.0, trace.vms.departure_s) - trace.vms.arrival_s
    ticks = np.round(life / tick_s)
    short = ~stays & (ticks < 1)
    if short.any():
        defects["lives_raised_to_one_tick"] += int(short.sum())
    departure = np.where(stays, n_ticks, np.minimum(arrival + np.maximum(ticks, 1), n_ticks))
    return arrival.astype(np.int64), departure.astype(np.int64)


def _measured(
    trace: Trace,
    tick_s: int,
    keep: Ints,
    arrival: Ints,
    departure: Ints,
    sizes: FloatArray,
    defects: Counter[str],
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int32]]:
    n_ticks = resampled_length(trace.n_ticks, trace.step_s, tick_s)
    clock = np.arange(n_ticks)[:, None]
    alive = (clock >= arrival) & (clock < departure)
    demand = np.empty((n_ticks, len(keep), 4), np.float32)
    gaps = np.zeros(alive.shape, bool)
    for index, resource in enumerate(_RESOURCES):
        values = _resource(trace, resource, tick_s, keep)
        if values is None:
            missing = np.ones(len(keep), bool)
            values = np.zeros(alive.shape, np.float32)
        else:
            seen = ~np.isnan(values)
            seen &= alive
            missing = np.asarray(~seen.any(axis=0))
            gaps |= alive & ~seen & ~missing
            values = _filled(values, seen)
        _size(index, values, alive & ~missing, sizes, defects)
        if missing.any():
            defects[f"unmeasured_{resource}_vms"] += int(missing.sum())
            values[:, missing] = sizes[missing, index] * trace.assumed.get(resource, 0.0)
        over = alive & (values > sizes[:, index])
        defects[f"clipped_{resource}_slots"] += int(over.sum())
        np.minimum(values, sizes[:, index], out=values)
        values[~alive] = 0.0
        demand[:, :, index] = values
    defects["filled_slots"] += int(gaps.sum())
    gpu, gpu_series = _gpu(trace, tick_s, keep, alive, sizes, defects)
    return demand, gpu, gpu_series


def _resource(trace: Trace, resource: str, tick_s: int, keep: Ints) -> FloatArray | None:
    """One resource on the new clock; disk and network are the sum of their two directions."""
    keys = {"disk": ("disk_read", "disk_write"), "net": ("net_rx", "net_tx")}.get(resource, (resource,))
    parts = [
        resample(trace.series[key][:, keep], trace.step_s, tick_s) for key in keys if key in trace.series
    ]
    if not parts:
        return None
    if len(parts) == 1:
        return parts[0].copy()
    both = np.nan_to_num(parts[0]) + np.nan_to_num(parts[1])
    return np.where(np.isnan(parts[0]) & np.isnan(parts[1]), np.float32(np.nan), both)


def _filled(values: FloatArray, seen: Bools) -> FloatArray:
    """Carry the last observation forward, and the first one back to the start."""
    if seen.all():
        return values
    rows = np.arange(values.shape[0], dtype=np.int32)[:, None]
    source = np.maximum.accumulate(np.where(seen, rows, np.int32(-1)), axis=0)
    source = np.where(source < 0, seen.argmax(axis=0).astype(np.int32), source)
    filled = np.take_along_axis(values, source, axis=0)
    return np.where(seen.any(axis=0), filled, np.float32(0.0))


def _size(index: int, values: FloatArray, measured: Bools, sizes: FloatArray, defects: Counter[str]) -> None:
    """Give the VMs without a size of this resource the next step above what they want."""
    wanting = np.flatnonzero(sizes[:, index] <= 0)
    if wanting.size == 0:
        return
    defects[f"derived_{_RESOURCES[index]}_vms"] += wanting.size
    steps = np.asarray(_STEPS[index], np.float32)
    for vm in wanting:
        wanted = values[measured[:, vm], vm]
        peak = float(np.quantile(wanted, 0.999)) if wanted.size else 0.0
        above = int(np.searchsorted(steps, np.float32(peak)))
        sizes[vm, index] = steps[above] if above < len(steps) else np.ceil(peak)


def _gpu(
    trace: Trace, tick_s: int, keep: Ints, alive: Bools, sizes: FloatArray, defects: Counter[str]
) -> tuple[FloatArray, npt.NDArray[np.int32]]:
    """Demand of the VMs that have GPUs, in whole GPUs and fractions."""
    series = np.flatnonzero(sizes[:, 4] > 0)
    held = sizes[series, 4] * np.float32(trace.assumed.get("gpu", 1.0))
    values = np.broadcast_to(held, (alive.shape[0], len(series))).astype(np.float32)
    if "gpu" in trace.series and series.size:
        measured = resample(trace.series["gpu"][:, keep[series]], trace.step_s, tick_s)
        seen = ~np.isnan(measured) & alive[:, series]
        values = np.where(seen.any(axis=0), _filled(measured, seen), values).astype(np.float32)
        over = alive[:, series] & (values > sizes[series, 4])
        defects["clipped_gpu_slots"] += int(over.sum())
        values = np.minimum(values, sizes[series, 4])
    values[~alive[:, series]] = 0.0
    return values, series.astype(np.int32)


def _requested(
    trace: Trace, n_ticks: int, sizes: FloatArray, defects: Counter[str]
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int32], Ints]:
    """Constant demand: one series for each distinct request, whoever asks for it and when."""
    for index, resource in enumerate(_RESOURCES):
        lacking = sizes[:, index] <= 0
        if lacking.any():
            defects[f"derived_{resource}_vms"] += int(lacking.sum())
            sizes[lacking, index] = _STEPS[index][0]
    requests, series = np.unique(sizes, axis=0, return_inverse=True)
    check_extent(n_ticks, 4 * len(requests), trace.source)
    share = np.array([trace.assumed.get(resource, 0.0) for resource in _RESOURCES], np.float32)
    demand = np.ascontiguousarray(np.broadcast_to(requests[:, :4] * share, (n_ticks, len(requests), 4)))
    gpu_series = np.flatnonzero(requests[:, 4] > 0)
    held = requests[gpu_series, 4] * np.float32(trace.assumed.get("gpu", 1.0))
    gpu = np.ascontiguousarray(np.broadcast_to(held, (n_ticks, len(gpu_series))))
    return demand, gpu, gpu_series.astype(np.int32), series.reshape(-1).astype(np.int64)
