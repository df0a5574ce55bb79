"""The cells of a table, checked one by one before anything is made of them: columns, numbers, times."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from polars.exceptions import PolarsError

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.archive import read_file
from foreshade.envs.workloads.delimited import listed, read_delimited, require
from foreshade.envs.workloads.trace import MOST_MEASURED

CPU_COLUMNS = ("cpu_mhz", "cpu_cores", "cpu_pct")
USED_COLUMNS = {
    "memory_mib": "memory",
    "disk_read_mib_s": "disk_read",
    "disk_write_mib_s": "disk_write",
    "net_rx_mbit_s": "net_rx",
    "net_tx_mbit_s": "net_tx",
    "gpu": "gpu",
}
CONSTANT_COLUMNS = ("vcpus", "cpu_capacity_mhz", "memory_capacity_mib", "gpus", "arrival_s", "departure_s")
TEXT_COLUMNS = ("time", "vm", "application")
COLUMNS = (*TEXT_COLUMNS[:2], *CPU_COLUMNS, *USED_COLUMNS, *CONSTANT_COLUMNS, "application")
MARK = b"#foreshade "
_POSITIVE = ("step_s", "n_ticks")
MARK_TYPES: Mapping[str, type] = {
    "name": str,
    "source": str,
    "start_epoch_s": int,
    "step_s": int,
    "n_ticks": int,
    "assumed": dict,
    "defects": dict,
    "notes": list,
}
#: A clock this many times finer than the times on it is taken for a mistake, not for a very sparse table.
_MAX_SPARSE = 20

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TableCells:
    """The rows of a table after every check that needs no second row."""

    frame: pl.DataFrame  # numeric columns Float64; time and vm complete
    where: str
    first_line: int  # of row 0, for errors
    meta: Mapping[str, Any]

    def fail(self, row: int, column: str, expected: str) -> WorkloadError:
        """Make the error that names the file, the line, the column and what stands there."""
        got = self.frame[column][row]
        shown = "an empty cell" if got is None else repr(got)
        return WorkloadError(
            f"{self.where}: line {row + self.first_line}: {column}: expected {expected}, got {shown}"
        )


def load_cells(path: str) -> TableCells:
    """Read a table and check columns, numbers and marks.

    Raises:
        WorkloadError: what is wrong, with file, line and column.

    """
    member, data = read_file(
        path, lambda name: name.endswith((".csv", ".parquet")), "table (.csv, .csv.gz or .parquet)"
    )
    where = path if path.endswith((member, f"{member}.gz")) else f"{path} ({member})"
    meta: Mapping[str, Any] = {}
    if not data.strip():
        raise WorkloadError(f"{where}: expected a table with a header, found an empty file")
    if where.endswith(".parquet") and not data.startswith(b"PAR1"):
        raise WorkloadError(f"{where}: expected a Parquet file by its name, found bytes {data[:6].hex()}")
    if data.startswith(b"PAR1"):
        try:
            frame = pl.read_parquet(io.BytesIO(data))
            mark = pl.read_parquet_metadata(io.BytesIO(data)).get("foreshade", "{}")
        except PolarsError as error:
            reason = str(error).partition("\n")[0]
            raise WorkloadError(f"{where}: expected a complete Parquet file ({reason})") from error
        meta = _checked_mark(mark.encode(), f"{where}: metadata")
        _check_columns(frame.columns, where)
        first_line = 1
        wrong = [c for c in frame.columns if c not in TEXT_COLUMNS and not frame.schema[c].is_numeric()]
        if wrong:
            raise WorkloadError(f"{where}: {wrong[0]}: expected numbers, found {frame.schema[wrong[0]]}")
        frame = frame.with_columns(pl.col(c).cast(pl.Float64) for c in frame.columns if c not in TEXT_COLUMNS)
        frame = frame.with_columns(pl.col(c).cast(pl.String) for c in frame.columns if c in TEXT_COLUMNS[1:])
    else:
        skipped = int(data.startswith(MARK))
        if skipped:
            meta = _checked_mark(data[len(MARK) : data.find(b"\n")], f"{where}: line 1")
        lines = data.split(b"\n", skipped + 1)
        _check_columns(
            [c.strip('"') for c in lines[skipped].decode("utf-8-sig", "replace").strip().split(",")], where
        )
        frame = read_delimited(data.removeprefix(b"\xef\xbb\xbf"), where, text=TEXT_COLUMNS, skipped=skipped)
        first_line = 2 + skipped
    if frame.height == 0:
        raise WorkloadError(f"{where}: expected at least one row, found none")
    table = TableCells(frame, where, first_line, meta)
    for column in frame.columns:
        if column not in TEXT_COLUMNS:
            values = frame[column].fill_null(0.0).to_numpy()
            upper = 100.0 if column == "cpu_pct" else MOST_MEASURED
            bad = np.flatnonzero(~((values >= 0) & (values <= upper) & np.isfinite(values)))
            if bad.size:
                raise table.fail(int(bad[0]), column, f"0 to {upper:g}")
    return table


def _checked_mark(text: bytes, where: str) -> Mapping[str, Any]:
    """Read what rows cannot carry; the keys are those that ``write_table`` writes, each of its type."""
    try:
        mark = json.loads(text)
    except ValueError as error:
        raise WorkloadError(f"{where}: expected {MARK.decode()}{{json}} ({error})") from error
    if not isinstance(mark, dict):
        raise WorkloadError(f"{where}: expected {MARK.decode()}{{json}}, got {mark!r}")
    for key, value in mark.items():
        if key not in MARK_TYPES:
            raise WorkloadError(f"{where}: unknown key {key!r}; known are {', '.join(MARK_TYPES)}")
        positive = isinstance(value, int) and value > 0
        if not isinstance(value, MARK_TYPES[key]) or (key in _POSITIVE and not positive):
            raise WorkloadError(
                f"{where}: {key}: expected {MARK_TYPES[key].__name__}"
                f"{' above 0' if key in _POSITIVE else ''}, got {value!r}"
            )
    return mark


def _check_columns(columns: list[str], where: str) -> None:
    require(pl.DataFrame(schema=list(dict.fromkeys(columns))), ("time", "vm"), where)
    for column in columns:
        if column not in COLUMNS:
            raise WorkloadError(f"{where}: unknown column {listed([column])}; known are {', '.join(COLUMNS)}")
        if columns.count(column) > 1:
            raise WorkloadError(f"{where}: column {column!r} occurs {columns.count(column)} times")
    cpu = [c for c in CPU_COLUMNS if c in columns]
    if len(cpu) > 1:
        raise WorkloadError(f"{where}: expected one of {', '.join(CPU_COLUMNS)}, found {' and '.join(cpu)}")
    used = (*CPU_COLUMNS, *USED_COLUMNS)
    if not set(used) & set(columns) and "arrival_s" not in columns:
        raise WorkloadError(f"{where}: missing column: expected one of {', '.join(used)}, or arrival_s")
    if cpu == ["cpu_pct"] and not {"cpu_capacity_mhz", "vcpus"} & set(columns):
        raise WorkloadError(
            f"{where}: missing column 'cpu_capacity_mhz' or 'vcpus', which cpu_pct is a share of"
        )


def epoch_seconds(table: TableCells) -> I64:
    """Whole seconds since the epoch."""
    column = table.frame["time"]
    if column.null_count():
        raise table.fail(int(np.flatnonzero(column.is_null().to_numpy())[0]), "time", "a time")
    if column.dtype == pl.Datetime:
        seconds = column.dt.epoch("ms").to_numpy() / 1000
    elif column.dtype.is_numeric():
        seconds = column.cast(pl.Float64).to_numpy()
    else:
        distinct = column.cast(pl.String).unique(maintain_order=True)
        parsed = pl.Series([_time(text) for text in distinct.to_list()], dtype=pl.Float64)
        seconds = column.cast(pl.String).replace_strict(distinct, parsed).to_numpy()
    bad = np.flatnonzero(~(seconds == np.floor(seconds)))  # NaN too
    if bad.size:
        raise table.fail(int(bad[0]), "time", "whole seconds since the epoch or ISO 8601")
    if seconds.max() > 1e11:  # in seconds the year 5138: milliseconds
        raise table.fail(int(seconds.argmax()), "time", "seconds since the epoch, not milliseconds")
    return seconds.astype(np.int64)


def _time(text: str) -> float:
    with suppress(ValueError):
        return float(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return math.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def common_step(times: I64, where: str) -> int:
    """Find the greatest step that all times lie on; 300 s where there is only one time.

    Raises:
        WorkloadError: the times share so small a step that they are on no clock.

    """
    distinct = np.unique(times)
    if len(distinct) == 1:
        return 300
    step = int(np.gcd.reduce(np.diff(distinct)))
    if (distinct[-1] - distinct[0]) // step + 1 > _MAX_SPARSE * len(distinct):
        raise WorkloadError(
            f"{where}: time: expected a regular clock, found times that share no step above {step} s; "
            "give step=SECONDS"
        )
    return step
