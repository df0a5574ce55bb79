"""Huawei-East-1 VM requests: ``vmid,cpu,mem,at,lt``; who came when, for how long, how large; no usage.

The demand is therefore a share of the request, the same for all and known from the options; nothing random
is added, so that two readings are equal.
"""

from __future__ import annotations

import math

import numpy as np

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.archive import read_file
from foreshade.envs.workloads.delimited import numbers, read_delimited, require
from foreshade.envs.workloads.trace import REFERENCE_CORE_MHZ, UNMEASURED_SHARE, Trace, VmTable

STEP_S = 300


def read_huawei(
    path: str,
    *,
    usage_cpu: float = UNMEASURED_SHARE["cpu"],
    usage_memory: float = UNMEASURED_SHARE["memory"],
) -> Trace:
    """Read the table of requests; memory is in GiB, arrival ``at`` and lifetime ``lt`` in s.

    Args:
        path: the csv file, compressed or not, or a folder or archive with one csv.
        usage_cpu: share of the requested cores that is demanded all the time.
        usage_memory: share of the requested memory that is demanded all the time.

    Raises:
        WorkloadError: a missing column, a cell that is no number, or a negative one.

    """
    for option, share in (("usage_cpu", usage_cpu), ("usage_memory", usage_memory)):
        if not 0 < share <= 1:
            raise WorkloadError(f"{path}: {option}: expected a share above 0 and up to 1, got {share:g}")
    member, data = read_file(path, lambda name: name.lower().endswith(".csv"), "csv file of requests")
    where = f"{path} ({member})" if not path.endswith((member, f"{member}.gz")) else path
    frame = read_delimited(data, where, text=("vmid",))
    require(frame, ("vmid", "cpu", "mem", "at", "lt"), where)
    cores = numbers(frame, "cpu", where)
    memory_gib = numbers(frame, "mem", where)
    arrival = numbers(frame, "at", where)
    life = numbers(frame, "lt", where)
    defects: dict[str, int] = {}
    alive = life > 0
    if not alive.all():
        defects["dropped_zero_life_vms"] = int((~alive).sum())
    names = tuple(str(vm) for vm in frame["vmid"].filter(alive).to_list())
    departure = arrival[alive] + life[alive]
    vms = VmTable(
        name=names,
        cores=cores[alive].astype(np.float32),
        cpu_mhz=(cores[alive] * REFERENCE_CORE_MHZ).astype(np.float32),
        memory_mib=(memory_gib[alive] * 1024).astype(np.float32),
        gpus=np.zeros(len(names), np.float32),
        arrival_s=arrival[alive],
        departure_s=departure,
        application=names,
    )
    return Trace(
        name="huawei-east-1",
        source=path,
        start_epoch_s=0,
        step_s=STEP_S,
        vms=vms,
        series={},
        defects=defects,
        notes=(
            f"no usage published: demand is the request x {usage_cpu:g} (CPU), x {usage_memory:g} (memory)",
            "VMs that never ended are absent, so the load falls short towards the end",
        ),
        n_slots=math.ceil(float(departure.max(initial=0.0)) / STEP_S),
        assumed={"cpu": usage_cpu, "memory": usage_memory},
    )
