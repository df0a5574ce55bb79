"""Our own plain schema: one row per VM and time, as CSV or Parquet. Strict, so that a typo is not a zero.

==========================  ==============================================================================
``time``                    start of the slot: s since the epoch, or ISO 8601 (no zone = UTC); required
``vm``                      name; required
``cpu_mhz`` | ``cpu_cores`` | ``cpu_pct``   CPU used, in one of the three; percent of the VM's capacity
``memory_mib``              memory used
``disk_read_mib_s``, ``disk_write_mib_s``, ``net_rx_mbit_s``, ``net_tx_mbit_s``, ``gpu``   used
``vcpus``, ``cpu_capacity_mhz``, ``memory_capacity_mib``, ``gpus``   provisioned; constant for a VM
``application``             what VMs serve together; constant for a VM
``arrival_s``, ``departure_s``   s after the table's start; empty departure = stays; constant for a VM
==========================  ==============================================================================

Without ``arrival_s`` a VM lives from its first to its last row. An empty cell is a gap. A first line
``#foreshade {json}`` (in Parquet the metadata ``foreshade``) carries what rows cannot: the step, the length,
the name, the defects; ``write_table`` writes it, a person need not.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from polars.exceptions import PolarsError

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.clock import check_extent
from foreshade.envs.workloads.table_cells import (
    CONSTANT_COLUMNS,
    CPU_COLUMNS,
    I64,
    MARK,
    USED_COLUMNS,
    TableCells,
    common_step,
    epoch_seconds,
    load_cells,
)
from foreshade.envs.workloads.trace import REFERENCE_CORE_MHZ, FloatArray, Trace, VmTable

_ROWS_PER_BLOCK = 2_000_000


def read_table(path: str, *, step: int | None = None) -> Trace:
    """Read a table.

    Args:
        path: ``.csv``, ``.csv.gz`` or ``.parquet``; or an archive with one such file.
        step: length of a slot in s; rows of a VM within one slot are averaged. Without it, the greatest
            step that all times lie on, and a second row for a slot is an error.

    Raises:
        WorkloadError: unknown, missing or contradictory columns; a bad, negative or repeated cell; a VM that
            leaves before it comes.

    """
    if step is not None and step <= 0:
        raise WorkloadError(f"{path}: step: expected a positive number of seconds, got {step}")
    table = load_cells(path)
    times = epoch_seconds(table)
    vm = table.frame["vm"]
    if vm.null_count():
        raise table.fail(int(np.flatnonzero(vm.is_null().to_numpy())[0]), "vm", "a name")
    names = vm.unique(maintain_order=True)
    column = vm.replace_strict(names, pl.Series(np.arange(len(names)))).to_numpy().astype(np.int64)
    per_vm = _constants(table, names)
    start = int(table.meta.get("start_epoch_s", times.min()))
    used = [c for c in (*CPU_COLUMNS, *USED_COLUMNS) if c in table.frame.columns]
    step_s = int(table.meta.get("step_s", step or (common_step(times, table.where) if used else 300)))
    slot = (times - start) // step_s
    n_ticks = int(table.meta.get("n_ticks", slot.max() + 1))
    if slot.min() < 0 or slot.max() >= n_ticks:
        raise WorkloadError(f"{table.where}: a row lies outside the {n_ticks} slots that the table declares")
    check_extent(n_ticks, len(names), table.where)
    values = _series(table, used, slot, column, n_ticks, per_vm, averaged=step is not None)
    arrival, departure = _lives(per_vm, slot, column, step_s, n_ticks, names, table.where)
    seen = np.zeros((n_ticks, len(names)), bool)
    for series in values.values():
        seen |= ~np.isnan(series)
    defects = table.meta.get("defects")
    if defects is None:
        clock = np.arange(n_ticks)[:, None] * step_s
        gaps = int(((clock >= arrival) & (clock < departure) & ~seen).sum()) if values else 0
        defects = {"gap_slots": gaps} if gaps else {}
    return Trace(
        name=str(table.meta.get("name", Path(path).name.partition(".")[0])),
        source=str(table.meta.get("source", path)),
        start_epoch_s=start,
        step_s=step_s,
        vms=VmTable(
            name=tuple(names.to_list()),
            cores=per_vm["vcpus"].astype(np.float32),
            cpu_mhz=_capacity(per_vm).astype(np.float32),
            memory_mib=per_vm["memory_capacity_mib"].astype(np.float32),
            gpus=np.nan_to_num(per_vm["gpus"]).astype(np.float32),
            arrival_s=arrival,
            departure_s=departure,
            application=_applications(table, names),
        ),
        series=values,
        defects={str(kind): int(count) for kind, count in defects.items()},
        notes=tuple(map(str, table.meta.get("notes", ()))),
        n_slots=0 if values else n_ticks,
        **({"assumed": table.meta["assumed"]} if "assumed" in table.meta else {}),
    )


def write_table(trace: Trace, path: str | Path) -> None:
    """Write a trace, whole or not at all, so that ``read_table`` gives it back equal: csv, csv.gz or parquet.

    Raises:
        WorkloadError: another suffix, or the file cannot be written.

    """
    target = Path(path)
    meta = json.dumps(
        {
            "name": trace.name,
            "source": trace.source,
            "start_epoch_s": trace.start_epoch_s,
            "step_s": trace.step_s,
            "n_ticks": trace.n_ticks,
            "assumed": dict(trace.assumed),
            "defects": dict(trace.defects),
            "notes": list(trace.notes),
        }
    )
    block = max(1, _ROWS_PER_BLOCK // trace.n_ticks) if trace.series else len(trace.vms)
    blocks = [range(k, min(k + block, len(trace.vms))) for k in range(0, len(trace.vms), block)]
    if not target.name.endswith((".csv", ".csv.gz", ".parquet")):
        raise WorkloadError(f"{target}: expected a name ending in .csv, .csv.gz or .parquet")
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        if target.suffix == ".parquet":
            frame = pl.concat([_rows(trace, vms) for vms in blocks])
            frame.write_parquet(partial, metadata={"foreshade": meta})
        else:
            with gzip.open(partial, "wb") if target.suffix == ".gz" else partial.open("wb") as stream:
                stream.write(MARK + meta.encode() + b"\n")
                for number, vms in enumerate(blocks):
                    text = _rows(trace, vms).write_csv(include_header=number == 0)
                    stream.write(text.encode())
        partial.replace(target)
    except OSError as error:
        raise WorkloadError(f"{target}: cannot be written: {error.strerror or error}") from error
    except PolarsError as error:  # which wraps what the system said of a parquet file
        raise WorkloadError(f"{target}: cannot be written: {str(error).partition(chr(10))[0]}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _rows(trace: Trace, chosen: range) -> pl.DataFrame:
    """Build the rows of some VMs: every slot with an observation, and the first of the life in any case."""
    vms, columns = trace.vms, np.arange(chosen.start, chosen.stop)
    first = np.minimum(vms.arrival_s[columns] // trace.step_s, trace.n_ticks - 1).astype(np.int64)
    vm, slot = columns, first
    if trace.series:
        present = np.zeros((trace.n_ticks, len(columns)), bool)
        present[first, np.arange(len(columns))] = True
        for values in trace.series.values():
            present |= ~np.isnan(values[:, columns])
        local, slot = np.nonzero(present.T)
        vm = columns[local]
    data: dict[str, pl.Series] = {
        "time": pl.Series(slot * trace.step_s + trace.start_epoch_s),
        "vm": pl.Series(vms.name).gather(pl.Series(vm)),
    }
    named = {"cpu": "cpu_mhz", **{series: column for column, series in USED_COLUMNS.items()}}
    for key, values in trace.series.items():
        data[named[key]] = pl.Series(values[slot, vm], dtype=pl.Float32).fill_nan(None)
    for name, constant in (
        ("vcpus", vms.cores),
        ("cpu_capacity_mhz", vms.cpu_mhz),
        ("memory_capacity_mib", vms.memory_mib),
        ("gpus", vms.gpus),
        ("arrival_s", vms.arrival_s),
        ("departure_s", np.where(np.isinf(vms.departure_s), np.nan, vms.departure_s)),
    ):
        data[name] = pl.Series(constant[vm]).fill_nan(None)
    data["application"] = pl.Series(vms.application).gather(pl.Series(vm))
    return pl.DataFrame(data)


def _constants(table: TableCells, names: pl.Series) -> dict[str, npt.NDArray[np.float64]]:
    """What is fixed for a VM: the one value that its rows give, NaN where none does."""
    found = {column: np.full(len(names), np.nan) for column in CONSTANT_COLUMNS}
    for column in CONSTANT_COLUMNS:
        if column not in table.frame.columns:
            continue
        range_of = table.frame.group_by("vm", maintain_order=True).agg(
            pl.col(column).min().alias("low"), pl.col(column).max().alias("high")
        )
        changed = range_of.filter(pl.col("low") != pl.col("high"))
        if changed.height:
            vm, low, high = changed.row(0)
            raise WorkloadError(
                f"{table.where}: {column}: expected one value for VM {vm!r}, found {low:g} and {high:g}"
            )
        found[column] = range_of["high"].fill_null(np.nan).to_numpy()
    return found


def _applications(table: TableCells, names: pl.Series) -> tuple[str, ...]:
    if "application" not in table.frame.columns:
        return tuple(names.to_list())
    given = table.frame.group_by("vm", maintain_order=True).agg(
        pl.col("application").drop_nulls().unique(maintain_order=True)
    )
    out = []
    for vm, applications in given.iter_rows():
        if len(applications) > 1:
            raise WorkloadError(
                f"{table.where}: application: expected one for VM {vm!r}, found {applications[0]!r} and "
                f"{applications[1]!r}"
            )
        out.append(applications[0] if applications else vm)
    return tuple(out)


def _capacity(per_vm: Mapping[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    given, cores = per_vm["cpu_capacity_mhz"], per_vm["vcpus"]
    return np.nan_to_num(np.where(np.isnan(given), cores * REFERENCE_CORE_MHZ, given))


def _series(
    table: TableCells,
    used: list[str],
    slot: I64,
    column: I64,
    n_ticks: int,
    per_vm: Mapping[str, npt.NDArray[np.float64]],
    *,
    averaged: bool,
) -> dict[str, FloatArray]:
    n_vms = len(per_vm["vcpus"])
    cell = slot * n_vms + column
    if not averaged and used:
        order = np.argsort(cell, kind="stable")
        twice = order[1:][np.diff(cell[order]) == 0]
        if twice.size:
            raise table.fail(int(twice.min()), "time", "one row for each VM and slot (or give step=SECONDS)")
    capacity = _capacity(per_vm)
    with np.errstate(invalid="ignore", divide="ignore"):
        clock_mhz = np.where(per_vm["vcpus"] > 0, capacity / per_vm["vcpus"], REFERENCE_CORE_MHZ)
    factor = {"cpu_cores": clock_mhz[column], "cpu_pct": capacity[column] / 100}
    out: dict[str, FloatArray] = {}
    for name in used:
        values = table.frame[name].fill_null(np.nan).to_numpy()
        values = values * factor[name] if name in factor else values
        filled = np.flatnonzero(~np.isnan(values))
        dense = np.full(n_ticks * n_vms, np.nan, np.float32)
        if averaged:
            cells, group = np.unique(cell[filled], return_inverse=True)
            dense[cells] = np.bincount(group, values[filled]) / np.bincount(group)
        else:
            dense[cell[filled]] = values[filled]
        out[USED_COLUMNS.get(name, "cpu")] = dense.reshape(n_ticks, n_vms)
    return out


def _lives(
    per_vm: Mapping[str, npt.NDArray[np.float64]],
    slot: I64,
    column: I64,
    step_s: int,
    n_ticks: int,
    names: pl.Series,
    where: str,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    n_vms = len(per_vm["vcpus"])
    first = np.full(n_vms, n_ticks)
    last = np.zeros(n_vms, np.int64)
    np.minimum.at(first, column, slot)
    np.maximum.at(last, column, slot + 1)
    told = ~np.isnan(per_vm["arrival_s"])
    arrival = np.where(told, per_vm["arrival_s"], first * float(step_s))
    observed = np.where(told | (last >= n_ticks), np.inf, last * float(step_s))
    departure = np.where(np.isnan(per_vm["departure_s"]), observed, per_vm["departure_s"])
    for vm in np.flatnonzero(departure <= arrival).tolist()[:1]:
        raise WorkloadError(
            f"{where}: departure_s of VM {names[vm]!r}: expected after its arrival at {arrival[vm]:g} s, got "
            f"{departure[vm]:g}"
        )
    return arrival, departure
