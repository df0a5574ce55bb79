"""Alibaba GPU cluster v2023 (Weng et al., "Beware of Fragmentation", USENIX ATC 2023): pods and nodes.

``openb_pod_list_*.csv`` are requests with creation, scheduling and deletion times; usage is not published.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.archive import read_file
from foreshade.envs.workloads.delimited import numbers, read_delimited, require
from foreshade.envs.workloads.trace import REFERENCE_CORE_MHZ, UNMEASURED_SHARE, FloatArray, Trace, VmTable

STEP_S = 300
_TIMES = ("creation_time", "deletion_time", "scheduled_time")


@dataclass(frozen=True, slots=True)
class GpuNodes:
    """The fleet: one row per node."""

    name: tuple[str, ...]
    cores: FloatArray  # (n_nodes,)
    memory_mib: FloatArray  # (n_nodes,) MiB
    gpus: FloatArray  # (n_nodes,) whole GPUs
    gpu_model: tuple[str, ...]  # "" where there is none


def read_alibaba_gpu(
    path: str,
    *,
    pods: str = "default",
    usage_cpu: float = UNMEASURED_SHARE["cpu"],
    usage_memory: float = UNMEASURED_SHARE["memory"],
) -> Trace:
    """Read one list of pods.

    A pod arrives when it was created and runs as long as it ran there: from scheduling to deletion (the
    wait in between belongs to that cluster's scheduler). One that was never scheduled stays from creation
    to deletion, and is counted. It asks for ``num_gpu * gpu_milli / 1000`` GPUs.

    Args:
        path: folder, archive or the csv itself.
        pods: which list: ``openb_pod_list_<pods>.csv``; lists without times (multigpu…) are refused.
        usage_cpu: share of the requested cores that is demanded.
        usage_memory: share of the requested memory that is demanded.

    Raises:
        WorkloadError: no such list, a missing column, or a cell that is not a number.

    """
    wanted = f"openb_pod_list_{pods}.csv"
    _, data = read_file(path, lambda name: name.endswith(wanted), wanted)
    where = f"{path} ({wanted})"
    frame = read_delimited(data, where, text=("name", "gpu_spec", "qos", "pod_phase"))
    require(frame, ("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", *_TIMES), where)
    created = numbers(frame, "creation_time", where)
    deleted = numbers(frame, "deletion_time", where)
    scheduled = frame["scheduled_time"].fill_null(np.nan).to_numpy()
    waiting = np.isnan(scheduled)
    life = deleted - np.where(waiting, created, scheduled)
    alive = life > 0
    cores = numbers(frame, "cpu_milli", where)[alive] / 1000
    memory = numbers(frame, "memory_mib", where)[alive]
    gpus = (numbers(frame, "num_gpu", where) * numbers(frame, "gpu_milli", where))[alive] / 1000
    names = tuple(frame["name"].filter(pl.Series(alive)).to_list())
    departure = created[alive] + life[alive]
    defects = {
        "never_scheduled_vms": int(waiting.sum()),
        "dropped_zero_life_vms": int((~alive).sum()),
        "zero_memory_vms": int((memory <= 0).sum()),
    }
    vms = VmTable(
        name=names,
        cores=cores.astype(np.float32),
        cpu_mhz=(cores * REFERENCE_CORE_MHZ).astype(np.float32),
        memory_mib=memory.astype(np.float32),
        gpus=gpus.astype(np.float32),
        arrival_s=created[alive],
        departure_s=departure,
        application=names,
    )
    return Trace(
        name="alibaba-gpu-v2023" if pods == "default" else f"alibaba-gpu-v2023-{pods}",
        source=path,
        start_epoch_s=0,
        step_s=STEP_S,
        vms=vms,
        series={},
        defects={kind: count for kind, count in defects.items() if count},
        notes=(f"no usage published: demand is CPU x {usage_cpu:g}, memory x {usage_memory:g}, all GPUs",),
        n_slots=math.ceil(float(departure.max(initial=0.0)) / STEP_S),
        assumed={"cpu": usage_cpu, "memory": usage_memory, "gpu": 1.0},
    )


def read_nodes(path: str, *, nodes: str = "all_node") -> GpuNodes:
    """Read the fleet that the pods ran on: ``openb_node_list_<nodes>.csv``.

    Raises:
        WorkloadError: no such list, a missing column, or a cell that is not a number.

    """
    wanted = f"openb_node_list_{nodes}.csv"
    _, data = read_file(path, lambda name: name.endswith(wanted), wanted)
    where = f"{path} ({wanted})"
    frame = read_delimited(data, where, text=("sn", "model"))
    require(frame, ("sn", "cpu_milli", "memory_mib", "gpu", "model"), where)
    if frame.height == 0:
        raise WorkloadError(f"{where}: expected at least one node, found none")
    return GpuNodes(
        name=tuple(frame["sn"].to_list()),
        cores=(numbers(frame, "cpu_milli", where) / 1000).astype(np.float32),
        memory_mib=numbers(frame, "memory_mib", where).astype(np.float32),
        gpus=numbers(frame, "gpu", where).astype(np.float32),
        gpu_model=tuple(model or "" for model in frame["model"].to_list()),
    )
