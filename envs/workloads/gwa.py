"""Business-critical VMs of the Grid Workloads Archive: GWA-T-12 Bitbrains and GWA-T-13 Materna.

One file per VM, one row per 300 s, fields separated by ``;`` (Bitbrains adds a tab, Materna quotes and
writes decimal commas and ``04.11.2015 20:23:39``). Columns are found by name, units by their brackets.
KB is 1024 bytes: the provisioned sizes are whole GiB only that way. Bitbrains' header says ms; it is s.

Of rows that fall into one slot the last is kept: nearly all are identical (loggers writing twice), and the
rest are written after a restart, of which the later covers the longer time.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import polars as pl

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.archive import locate, read_members
from foreshade.envs.workloads.clock import I64, check_extent, clock_phase, floor_slot
from foreshade.envs.workloads.delimited import read_delimited
from foreshade.envs.workloads.trace import FloatArray, Trace, VmTable

STEP_S = 300
#: A log that begins or ends within this many slots of the clock's ends is late, not a VM that came or went.
EDGE_SLOTS = 12
#: Above this a time stamp is in milliseconds: in seconds it would be the year 5138.
_MS_FROM = 1e11

_KIB_TO_MIB = 1 / 1024
_KIB_S_TO_MBIT_S = 1024 * 8 / 1e6


@dataclass(frozen=True, slots=True)
class _Column:
    header: str  # as published, lower case, without the unit
    unit: str
    factor: float  # to the unit of the trace


_SERIES = {
    "cpu": _Column("cpu usage", "mhz", 1.0),
    "memory": _Column("memory usage", "kb", _KIB_TO_MIB),
    "disk_read": _Column("disk read throughput", "kb/s", _KIB_TO_MIB),
    "disk_write": _Column("disk write throughput", "kb/s", _KIB_TO_MIB),
    "net_rx": _Column("network received throughput", "kb/s", _KIB_S_TO_MBIT_S),
    "net_tx": _Column("network transmitted throughput", "kb/s", _KIB_S_TO_MBIT_S),
}
_SIZES = {
    "cores": _Column("cpu cores", "", 1.0),
    "cpu_mhz": _Column("cpu capacity provisioned", "mhz", 1.0),
    "memory_mib": _Column("memory capacity provisioned", "kb", _KIB_TO_MIB),
}
_CALENDAR = re.compile(rb'"?\d{1,2}\.\d{1,2}\.\d{4} ')  # 04.11.2015, not a count of seconds
_MONTH = re.compile(r"\d{4}-\d{1,2}")


@dataclass(slots=True)
class _Log:
    """The rows of one VM, of all its months."""

    time_s: I64  # (n_rows,)
    values: npt.NDArray[np.float32]  # (n_rows, 6) in the order of _SERIES
    sizes: tuple[float, float, float]  # the largest cores, MHz, MiB that the rows say


def read_gwa(path: str, *, name: str = "bitbrains") -> Trace:
    """Read a folder or archive with one file per VM.

    The months of a VM (``2013-7/1.csv``, ``2013-8/1.csv``) are joined; other folders set VMs apart. A VM's
    size is the largest that its rows name. Negative values become gaps. A VM whose log begins or ends more
    than ``EDGE_SLOTS`` inside the clock arrives or departs there.

    Raises:
        WorkloadError: no csv file, a missing column, a wrong unit, or a cell that is not a number.

    """
    root, inner = locate(path)
    defects: Counter[str] = Counter()
    notes: set[str] = set()
    parts: dict[str, list[_Log]] = {}
    # a single file has no folder to tell it from a read-me
    for member, data in read_members(
        root, inner, lambda file: file.lower().endswith(".csv") or (root.is_file() and file == root.name)
    ):
        log = _read_log(data, f"{root}/{member}" if root.is_dir() else f"{root}: {member}", defects, notes)
        if log is not None:
            parts.setdefault(_vm_name(member), []).append(log)
    if not parts:
        raise WorkloadError(f"{path}: expected csv files, one per VM, found none with rows")
    logs = {vm: _joined(pieces) for vm, pieces in parts.items()}
    return _assemble(name, path, logs, defects, notes)


def _assemble(name: str, path: str, logs: dict[str, _Log], defects: Counter[str], notes: set[str]) -> Trace:
    order = sorted(logs, key=_natural)
    shared = _common_folder(order)
    phase = clock_phase(np.concatenate([log.time_s for log in logs.values()]), STEP_S)
    slots = {vm: floor_slot(logs[vm].time_s, phase, STEP_S) for vm in order}
    first = min(int(s[0]) for s in slots.values())
    n_ticks = max(int(s[-1]) for s in slots.values()) - first + 1
    check_extent(n_ticks, len(order), path)
    series: dict[str, FloatArray] = {
        key: np.full((n_ticks, len(order)), np.nan, np.float32) for key in _SERIES
    }
    arrival = np.zeros(len(order))
    departure = np.full(len(order), np.inf)
    sizes = np.zeros((3, len(order)), np.float32)
    for column, vm in enumerate(order):
        log = logs.pop(vm)
        row = slots.pop(vm) - first
        last = np.flatnonzero(np.diff(row, append=n_ticks + 1))  # the last row of each slot
        defects["duplicate_slots"] += len(row) - len(last)
        begin, end = int(row[0]), int(row[-1]) + 1
        begin = begin if begin > EDGE_SLOTS else 0
        end = end if end < n_ticks - EDGE_SLOTS else n_ticks
        defects["gap_slots"] += (end - begin) - len(last)
        for index, values in enumerate(series.values()):
            values[row[last], column] = log.values[last, index]
        arrival[column] = begin * STEP_S
        departure[column] = np.inf if end == n_ticks else end * STEP_S
        sizes[:, column] = log.sizes
    defects["zero_capacity_vms"] += int((sizes[1] <= 0).sum())
    defects["zero_memory_vms"] += int((sizes[2] <= 0).sum())
    names = tuple(vm.removeprefix(shared) for vm in order)
    vms = VmTable(
        name=names,
        cores=sizes[0],
        cpu_mhz=sizes[1],
        memory_mib=sizes[2],
        gpus=np.zeros(len(order), np.float32),
        arrival_s=arrival,
        departure_s=departure,
        application=names,
    )
    return Trace(
        name=name,
        source=path,
        start_epoch_s=first * STEP_S + phase,
        step_s=STEP_S,
        vms=vms,
        series=series,
        defects={kind: count for kind, count in sorted(defects.items()) if count},
        notes=tuple(sorted(notes)),
    )


def _read_log(data: bytes, where: str, defects: Counter[str], notes: set[str]) -> _Log | None:
    if not data.strip():
        raise WorkloadError(f"{where}: expected a log with a header, found an empty file")
    end = data.find(b"\n")
    header = (data[:end] if end >= 0 else data).decode("utf-8-sig", "replace")
    body = data.removeprefix(b"\xef\xbb\xbf")
    german = b'"' in data[end + 1 : end + 200] or b"," in data[end + 1 :]
    body = body.translate(None, b'\t"\r')
    if german:
        body = body.replace(b",", b".")
    columns = _find_columns(header.replace("\t", "").replace('"', "").strip(), where)
    time = columns.pop("time")
    calendar = _CALENDAR.match(data, end + 1) is not None
    frame = read_delimited(
        body, where, numeric=set(columns.values()) | (set() if calendar else {time}), separator=";"
    )
    if frame.height == 0:
        defects["empty_files"] += 1
        return None
    if calendar:
        stamp = frame[time].str.to_datetime("%d.%m.%Y %H:%M:%S", strict=False)
        times = stamp.dt.epoch("s").cast(pl.Float64).fill_null(np.nan).to_numpy()
        notes.add("time stamps without a zone are read as UTC")
    else:
        times = frame[time].fill_null(np.nan).to_numpy()
    bad = np.flatnonzero(np.isnan(times))
    if bad.size:
        got = frame[time][int(bad[0])]
        raise WorkloadError(f"{where}: line {int(bad[0]) + 2}: {time}: expected a time stamp, got {got!r}")
    if not calendar and times[0] >= _MS_FROM:
        times = times / 1000
    elif "[ms]" in time.lower():
        notes.add("header says ms, the unit is s")
    seconds = times.astype(np.int64)
    factors = np.array([column.factor for column in _SERIES.values()])
    values = np.stack([frame[columns[key]].fill_null(np.nan).to_numpy() for key in _SERIES], axis=1) * factors
    negative = values < 0
    if negative.any():
        defects["negative_cells"] += int(negative.sum())
        values[negative] = np.nan
    sizes = []
    for key, column in _SIZES.items():
        given = frame[columns[key]].drop_nulls()
        low, high = given.min(), given.max()
        sizes.append(max(0.0, float(high) * column.factor) if isinstance(high, float) else 0.0)
        defects[f"resized_{key}_vms"] += int(low != high)
    if (np.diff(seconds) < 0).any():
        defects["out_of_order_rows"] += int((np.diff(seconds) < 0).sum())
        order = np.argsort(seconds, kind="stable")
        seconds, values = seconds[order], values[order]
    with np.errstate(over="ignore"):  # inf is refused where all series are checked
        return _Log(seconds, values.astype(np.float32), (sizes[0], sizes[1], sizes[2]))


def _find_columns(header: str, where: str) -> dict[str, str]:
    """Map our names to the file's columns; a unit other than the published one is an error."""
    names = header.split(";")
    known: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        stem, _, unit = name.strip().lower().partition("[")
        known.setdefault(stem.strip(), []).append((unit.rstrip("] "), name))
    found: dict[str, str] = {}
    time = known.get("timestamp")
    if time is None:
        raise WorkloadError(
            f"{where}: missing column 'Timestamp'; the file has {', '.join(map(repr, names))}"
        )
    found["time"] = time[0][1]
    for key, column in {**_SERIES, **_SIZES}.items():
        offered = known.get(column.header)
        if offered is None:
            raise WorkloadError(
                f"{where}: missing column {column.header!r}; the file has {', '.join(map(repr, names))}"
            )
        match = next((name for unit, name in offered if unit == column.unit), None)
        if match is None:
            raise WorkloadError(
                f"{where}: column {column.header!r}: expected the unit [{column.unit.upper()}], "
                f"found [{offered[0][0].upper()}]"
            )
        found[key] = match
    return found


def _joined(pieces: list[_Log]) -> _Log:
    if len(pieces) == 1:
        return pieces[0]
    pieces.sort(key=lambda log: int(log.time_s[0]))
    times = np.concatenate([log.time_s for log in pieces])
    order = np.argsort(times, kind="stable")
    values = np.concatenate([log.values for log in pieces])
    cores, mhz, mib = (max(log.sizes[k] for log in pieces) for k in range(3))
    return _Log(times[order], values[order], (cores, mhz, mib))


def _vm_name(member: str) -> str:
    """``rnd/2013-7/12.csv`` -> ``rnd/12``: a month is a part of a log, any other folder a population."""
    parts = PurePosixPath(member).with_suffix("").parts
    return "/".join(part for part in parts if not _MONTH.fullmatch(part))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part or 0), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def _common_folder(names: list[str]) -> str:
    folders = {name.rpartition("/")[0] for name in names}
    return f"{folders.pop()}/" if len(folders) == 1 and folders != {""} else ""
