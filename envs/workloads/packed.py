"""Two sets that are handed on as packed arrays: Google 2011 VM-like jobs, and Alibaba GPU pods (v2026 GenAI).

Both give shares of a size that they do not name, so a reference size stands in for it; change it with the
options where the absolute numbers matter.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.archive import locate
from foreshade.envs.workloads.clock import resample
from foreshade.envs.workloads.trace import REFERENCE_CORE_MHZ, FloatArray, Trace, VmTable

STEP_S = 300
#: An eighth of the most frequent node of the publisher's own v2023 list (549 of 1,213 GPU nodes: 96 cores,
#: 393,216 MiB, 8 GPUs): what one GPU's share of such a node is.
POD_CORES, POD_MEMORY_MIB = 12.0, 49152.0


def read_google_vms(path: str, *, cores: float = 2.0, memory_mib: float = 8192.0) -> Trace:
    """Read ``cpu_pct_x100`` and ``mem_pct_x100`` (n_vms, 288) uint16 and ``name``: one day at 300 s.

    Percent are of the VM's size, which is not published: ``cores`` and ``memory_mib`` stand in for it. The
    job in ``vm_<job>_<task>`` is the application.

    Raises:
        WorkloadError: no npz file, or a missing or misshapen array.

    """
    arrays = _arrays(path, ("cpu_pct_x100", "mem_pct_x100", "name"))
    cpu, memory, name = arrays["cpu_pct_x100"], arrays["mem_pct_x100"], arrays["name"]
    if cpu.ndim != 2 or cpu.shape != memory.shape or cpu.shape[:1] != name.shape:
        raise WorkloadError(
            f"{path}: expected cpu_pct_x100 and mem_pct_x100 (n_vms, n_slots) and name (n_vms,), "
            f"found {cpu.shape}, {memory.shape}, {name.shape}"
        )
    _positive(path, {"cores": cores, "memory_mib": memory_mib})
    n_vms = len(name)
    mhz = cores * REFERENCE_CORE_MHZ
    names = tuple(str(n) for n in name)
    return Trace(
        name="google-vms-2011",
        source=path,
        start_epoch_s=0,
        step_s=STEP_S,
        vms=VmTable(
            name=names,
            cores=np.full(n_vms, cores, np.float32),
            cpu_mhz=np.full(n_vms, mhz, np.float32),
            memory_mib=np.full(n_vms, memory_mib, np.float32),
            gpus=np.zeros(n_vms, np.float32),
            arrival_s=np.zeros(n_vms),
            departure_s=np.full(n_vms, np.inf),
            application=tuple(n.rpartition("_")[0] or n for n in names),
        ),
        series={
            "cpu": np.ascontiguousarray(cpu.T * np.float32(mhz / 1e4), np.float32),
            "memory": np.ascontiguousarray(memory.T * np.float32(memory_mib / 1e4), np.float32),
        },
        notes=(f"sizes are not published: every VM is taken as {cores:g} cores and {memory_mib:g} MiB",),
    )


def read_gpu_pods(path: str, *, cores: float = POD_CORES, memory_mib: float = POD_MEMORY_MIB) -> Trace:
    """Read the pods' GPU and memory utilisation on their 57 s clock, brought to 300 s by the mean.

    A pod with a GPU series has one GPU; a pod lives from its first to its last observation. Its CPU was not
    recorded.

    Raises:
        WorkloadError: no npz file, or a missing or misshapen array.

    """
    keys = ("t", "gpu_util_pct", "gpu_util_pct_pod", "mem_util", "mem_util_pod")
    arrays = _arrays(path, keys)
    time = np.asarray(arrays["t"], np.float64)
    steps = np.unique(np.diff(time))
    if time.ndim != 1 or len(steps) != 1 or steps[0] <= 0 or steps[0] != int(steps[0]):
        raise WorkloadError(f"{path}: t: expected a regular clock in whole seconds, found steps {steps[:4]}")
    _positive(path, {"cores": cores, "memory_mib": memory_mib})
    gpu_of, mem_of = ([str(p) for p in arrays[key]] for key in ("gpu_util_pct_pod", "mem_util_pod"))
    names = tuple(sorted({*gpu_of, *mem_of}))
    row = {pod: k for k, pod in enumerate(names)}
    raw: dict[str, FloatArray] = {}
    negative = 0
    for key, pods, source, factor in (
        ("gpu", gpu_of, "gpu_util_pct", 0.01),
        ("memory", mem_of, "mem_util", memory_mib),
    ):
        share = arrays[source]
        if share.shape != (len(pods), len(time)):
            raise WorkloadError(f"{path}: {source}: expected ({len(pods)}, {len(time)}), found {share.shape}")
        # utilisation is computed from differences of counters, so that zero comes out at -1e-5
        negative += int((share < 0).sum())
        values = np.full((len(time), len(names)), np.nan, np.float32)
        values[:, [row[pod] for pod in pods]] = np.maximum(share, 0).T * np.float32(factor)
        raw[key] = values
    series = {key: resample(values, int(steps[0]), STEP_S) for key, values in raw.items()}
    seen = ~np.isnan(series["gpu"]) | ~np.isnan(series["memory"])
    n_ticks = seen.shape[0]
    first, last = seen.argmax(axis=0), n_ticks - seen[::-1].argmax(axis=0)
    alive: npt.NDArray[np.bool_] = np.asarray(seen.any(axis=0))
    if not alive.all():
        names = tuple(n for n, keep in zip(names, alive, strict=True) if keep)
        series = {key: values[:, alive] for key, values in series.items()}
        first, last = first[alive], last[alive]
    gap = (last - first).sum() - seen[:, alive].sum()
    has_gpu: npt.NDArray[np.bool_] = np.asarray(~np.isnan(series["gpu"]).all(axis=0))
    defects = {
        "negative_cells": negative,
        "gap_slots": int(gap),
        "dropped_vms_without_readings": int((~alive).sum()),
    }
    return Trace(
        name="alibaba-gpu-pods",
        source=path,
        start_epoch_s=int(time[0]),
        step_s=STEP_S,
        vms=VmTable(
            name=names,
            cores=np.full(len(names), cores, np.float32),
            cpu_mhz=np.full(len(names), cores * REFERENCE_CORE_MHZ, np.float32),
            memory_mib=np.full(len(names), memory_mib, np.float32),
            gpus=has_gpu.astype(np.float32),
            arrival_s=first * float(STEP_S),
            departure_s=np.where(last >= n_ticks, np.inf, last * float(STEP_S)),
            application=names,
        ),
        series=series,
        defects={kind: count for kind, count in defects.items() if count},
        notes=(
            f"sizes are not published: every pod is taken as {cores:g} cores and {memory_mib:g} MiB",
            f"{steps[0]:g} s clock brought to {STEP_S} s by the mean; CPU was not recorded",
        ),
    )


def _arrays(path: str, keys: tuple[str, ...]) -> Mapping[str, npt.NDArray[Any]]:
    file, inner = locate(path)
    if inner or file.is_dir():
        raise WorkloadError(f"{path}: expected an npz file, found {'a folder' if file.is_dir() else inner}")
    try:
        data = Path(file).read_bytes()
        if not data.startswith(b"PK"):
            found = f"bytes {data[:6].hex()}" if data else "an empty file"
            raise WorkloadError(f"{path}: expected an npz file, found {found}")
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise WorkloadError(f"{path}: expected an npz file, found a single array")
            for key in keys:
                if key not in archive.files:
                    raise WorkloadError(
                        f"{path}: missing array {key!r}; the file has {', '.join(archive.files)}"
                    )
            return {key: archive[key] for key in keys}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise WorkloadError(f"{path}: expected a complete npz file ({error})") from error


def _positive(path: str, options: Mapping[str, float]) -> None:
    for option, value in options.items():
        if not value > 0:
            raise WorkloadError(f"{path}: {option}: expected a number above 0, got {value:g}")
