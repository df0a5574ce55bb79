"""Azure public VM traces V1 (2017) and V2 (2019): ``vmtable.csv`` and ``vm_cpu_readings-file-*-of-*.csv``.

Neither file has a header; the columns are those of the published schema (AzurePublicDatasetV1.md, V2.md).
V1 gives cores and GB, V2 buckets of them (``2, 4, 8, 24, >24`` and ``2, 4, 8, 32, 64, >64``): a bucket
counts as its upper end, an open one as the next power of two. A deployment is an application.

The whole of V2 is 235 GB: give ``vms`` to read a sample; only the chosen VMs' readings are kept.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.archive import locate, read_members
from foreshade.envs.workloads.clock import check_extent
from foreshade.envs.workloads.delimited import numbers, read_delimited
from foreshade.envs.workloads.trace import REFERENCE_CORE_MHZ, Trace, VmTable

STEP_S = 300
VMTABLE_COLUMNS = (
    "vmid", "subscriptionid", "deploymentid", "vmcreated", "vmdeleted", "maxcpu", "avgcpu", "p95maxcpu",
    "vmcategory", "vmcorecountbucket", "vmmemorybucket",
)  # fmt: skip
READING_COLUMNS = ("timestamp", "vmid", "mincpu", "maxcpu", "avgcpu")

_VMTABLE = re.compile(r"vmtable\.csv$")
_READINGS = re.compile(r"vm_cpu_readings-file-(\d+)-of-(\d+)\.csv$")


def read_azure(
    path: str, *, reading: str = "avg", vms: int | None = None, seed: int = 0, days: float | None = None
) -> Trace:
    """Read the VM table and all chunks of readings that are there; the chunks that are absent are counted.

    Args:
        path: folder or archive with both kinds of file, compressed or not, at any depth.
        reading: which of a slot's ``min``, ``max``, ``avg`` CPU is the demand.
        vms: read a sample of this many of the VMs that arrive within ``days``.
        seed: of the sample.
        days: only readings before this day.

    Raises:
        WorkloadError: a file kind is missing, a bad cell, or more data than fits without a sample.

    """
    if reading not in {"min", "max", "avg"}:
        raise WorkloadError(f"{path}: reading: expected min, max or avg, got {reading!r}")
    root, inner = locate(path)
    horizon = math.inf if days is None else days * 86400
    defects: Counter[str] = Counter()
    table = _vm_table(path, root, inner, defects).filter(pl.col("vmcreated") < horizon)
    if vms is not None:
        if vms > table.height:
            raise WorkloadError(f"{path}: vms={vms}: the trace has {table.height} VMs")
        chosen = np.sort(np.random.default_rng(seed).choice(table.height, vms, replace=False))
        table = table[chosen]
    index = table.select("vmid").with_row_index("vm")
    slots, rows, values, found, total = _readings(root, inner, index, f"{reading}cpu", horizon, defects)
    if not found:
        raise WorkloadError(f"{path}: expected vm_cpu_readings-file-*-of-*.csv, found none")
    defects["absent_chunks"] += total - found
    n_ticks = int(slots.max()) + 1 if slots.size else 0
    seen = np.zeros(table.height, bool)
    seen[rows] = True
    defects["dropped_vms_without_readings"] += int((~seen).sum())
    if not seen.any():
        raise WorkloadError(f"{path}: expected readings of the VMs in vmtable.csv, found none")
    check_extent(n_ticks, int(seen.sum()), path)
    table = table.filter(pl.Series(seen))
    column = np.cumsum(seen) - 1
    cores = np.array([bucket(text, path) for text in table["vmcorecountbucket"].to_list()], np.float32)
    memory = np.array([bucket(text, path) for text in table["vmmemorybucket"].to_list()], np.float32) * 1024
    cpu = np.full((n_ticks, table.height), np.nan, np.float32)
    cpu[slots, column[rows]] = values * cores[column[rows]] * np.float32(REFERENCE_CORE_MHZ / 100)
    defects["duplicate_slots"] += len(slots) - int((~np.isnan(cpu)).sum())
    arrival = table["vmcreated"].to_numpy()
    deleted = table["vmdeleted"].to_numpy()
    begin = np.minimum(arrival // STEP_S, n_ticks)
    end = np.minimum(np.ceil(deleted / STEP_S), n_ticks)
    defects["gap_slots"] += max(0, int((end - begin).sum()) - int((~np.isnan(cpu)).sum()))
    names = tuple(table["vmid"].to_list())
    return Trace(
        name="azure",
        source=path,
        start_epoch_s=0,
        step_s=STEP_S,
        vms=VmTable(
            name=names,
            cores=cores,
            cpu_mhz=cores * np.float32(REFERENCE_CORE_MHZ),
            memory_mib=memory,
            gpus=np.zeros(len(names), np.float32),
            arrival_s=arrival,
            departure_s=np.where(deleted >= n_ticks * STEP_S, np.inf, deleted),
            application=tuple(table["deploymentid"].to_list()),
        ),
        series={"cpu": cpu},
        defects={kind: count for kind, count in sorted(defects.items()) if count},
        notes=(
            f"CPU is the {reading} of each 300 s",
            f"one core is taken as {REFERENCE_CORE_MHZ:g} MHz; open buckets as the next power of two",
        ),
    )


def bucket(text: str | None, where: str) -> float:
    """Size that a bucket stands for: ``8`` -> 8, ``>24`` -> 32, ``>64`` -> 128."""
    text = text or ""
    try:
        size = float(text.removeprefix(">"))
    except ValueError:
        size = math.nan
    if not 0 < size < math.inf:
        raise WorkloadError(f"{where}: vmtable: expected a size such as 4 or >24, got {text!r}")
    return float(2 ** (math.floor(math.log2(size)) + 1)) if text.startswith(">") else size


def _vm_table(path: str, root: Path, inner: str, defects: Counter[str]) -> pl.DataFrame:
    found = list(read_members(root, inner, lambda name: _VMTABLE.search(name) is not None))
    if len(found) != 1:
        raise WorkloadError(f"{path}: expected one vmtable.csv or vmtable.csv.gz, found {len(found)}")
    where = f"{path} ({found[0][0]})"
    table = read_delimited(
        found[0][1], where, names=VMTABLE_COLUMNS, numeric=("vmcreated", "vmdeleted")
    ).select("vmid", "deploymentid", "vmcreated", "vmdeleted", "vmcorecountbucket", "vmmemorybucket")
    for column in ("vmcreated", "vmdeleted"):
        numbers(table, column, where, first_line=1)
    unique = table.unique("vmid", keep="first", maintain_order=True)
    defects["duplicate_vms"] += table.height - unique.height
    alive = unique.filter(pl.col("vmdeleted") > pl.col("vmcreated"))
    defects["dropped_zero_life_vms"] += unique.height - alive.height
    return alive


def _readings(
    root: Path, inner: str, index: pl.DataFrame, column: str, horizon: float, defects: Counter[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int]:
    """Slot, row of ``index`` and percent of every reading of the chosen VMs; chunks found and published."""
    parts: list[pl.DataFrame] = []
    chunks: set[str] = set()
    total = 0
    for member, data in read_members(root, inner, lambda name: _READINGS.search(name) is not None):
        match = _READINGS.search(member)
        if match is None:  # the predicate has let only such names through
            continue
        chunks.add(match[1])
        total = max(total, int(match[2]))
        where = f"{root}/{member}" if root.is_dir() else f"{root}: {member}"
        frame = read_delimited(data, where, names=READING_COLUMNS, numeric=("timestamp", column))
        numbers(frame, "timestamp", where, first_line=1)
        chosen = (
            frame.filter(pl.col("timestamp") < horizon)
            .join(index, on="vmid", how="inner")
            .select((pl.col("timestamp") // STEP_S).cast(pl.Int64).alias("slot"), "vm", column)
        )
        mended = chosen.filter(pl.col(column).is_between(0, 100))
        defects["cells_outside_0_100"] += chosen.height - mended.height
        parts.append(mended)
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32), 0, 0
    joined = pl.concat(parts)
    return (
        joined["slot"].to_numpy(),
        joined["vm"].cast(pl.Int64).to_numpy(),
        joined[column].cast(pl.Float32).to_numpy(),
        len(chunks),
        total,
    )
