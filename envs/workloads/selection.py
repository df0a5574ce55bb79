"""A part of a trace: a window of its clock, a sample of its VMs; and its VMs drawn anew."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.trace import Trace, VmTable
from foreshade.envs.workloads.workload import Workload

#: The defect that a person asked for: VMs that live outside the days that were chosen.
OUTSIDE_WINDOW = "dropped_vms_outside_window"


def select(
    trace: Trace, *, vms: int | None = None, seed: int = 0, from_s: float = 0.0, length_s: float = math.inf
) -> Trace:
    """Cut out ``from_s`` to ``from_s + length_s`` and sample ``vms`` of the VMs that live in it.

    Times of arrival and departure move with the window; a VM that was there before it arrives at its start.
    VMs outside the window are left out and counted. The sample keeps the trace's order.

    Raises:
        WorkloadError: the window is empty or more VMs are asked for than there are.

    """
    first = int(from_s // trace.step_s)
    end = trace.n_ticks
    if math.isfinite(length_s):
        end = min(end, math.ceil((from_s + length_s) / trace.step_s))
    if first < 0 or first >= end:
        raise WorkloadError(
            f"{trace.source}: the trace is {trace.n_ticks * trace.step_s / 86400:.3g} days long; "
            f"nothing lies at {from_s / 86400:.3g} days"
        )
    defects = dict(trace.defects)
    start_s, end_s = first * trace.step_s, end * trace.step_s
    keep = np.arange(len(trace.vms))
    if (first, end) != (0, trace.n_ticks):
        keep = np.flatnonzero((trace.vms.arrival_s < end_s) & (trace.vms.departure_s > start_s))
        outside = len(trace.vms) - len(keep)
        if outside:
            defects[OUTSIDE_WINDOW] = outside
    if vms is not None:
        if not 0 < vms <= len(keep):
            raise WorkloadError(
                f"{trace.source}: vms={vms}: expected 1 to {len(keep)}, the VMs that are there"
            )
        keep = keep[np.sort(np.random.default_rng(seed).choice(len(keep), vms, replace=False))]
    if (first, end) == (0, trace.n_ticks) and len(keep) == len(trace.vms):
        return trace
    rows = slice(first, end)
    return replace(
        trace,
        vms=_moved(trace.vms, keep, start_s, end_s),
        series={key: np.ascontiguousarray(values[rows][:, keep]) for key, values in trace.series.items()},
        start_epoch_s=trace.start_epoch_s + start_s,
        defects=defects,
        n_slots=end - first if trace.n_slots else 0,
    )


def resampled(workload: Workload, seed: int) -> Workload:
    """As many VMs, drawn with replacement: another data centre of the same kind (Efron's bootstrap, 1979).

    Raises:
        WorkloadError: VMs share the load of an application, or want GPUs.

    """
    n = len(workload.vms)
    if len(workload.apps) != n or workload.gpu.shape[1] > 0:
        raise WorkloadError(
            f"{workload.source}: resampled: expected VMs that have a load of their own and no GPUs"
        )
    drawn = np.sort(np.random.default_rng(seed).integers(0, n, n))
    served = workload.vms.app[drawn]
    name = tuple(f"{workload.vms.name[k]}~{i}" for i, k in enumerate(drawn))
    each = np.arange(n, dtype=np.int32)
    columns = ("flavour", "arrival_tick", "departure_tick", "credit")
    apps = workload.apps
    return replace(
        workload,
        demand=np.ascontiguousarray(workload.demand[:, apps.series[served]]),
        vms=replace(
            workload.vms, name=name, app=each, **{key: getattr(workload.vms, key)[drawn] for key in columns}
        ),
        apps=replace(
            apps,
            name=name,
            series=each,
            members=apps.members[served],
            memory_floor=apps.memory_floor[served],
            offloadable=apps.offloadable[served],
            kind=tuple(apps.kind[app] for app in served) if apps.kind else (),
        ),
        events=(),  # they name applications
    )


def _moved(vms: VmTable, keep: np.ndarray, start_s: float, end_s: float) -> VmTable:
    departure = vms.departure_s[keep] - start_s
    return VmTable(
        name=tuple(vms.name[k] for k in keep),
        cores=vms.cores[keep],
        cpu_mhz=vms.cpu_mhz[keep],
        memory_mib=vms.memory_mib[keep],
        gpus=vms.gpus[keep],
        arrival_s=np.maximum(vms.arrival_s[keep] - start_s, 0.0),
        departure_s=np.where(departure >= end_s - start_s, np.inf, departure),
        application=tuple(vms.application[k] for k in keep),
    )
