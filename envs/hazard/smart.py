"""SMART histories of many drives in start-stop form, as one table of arrays.

A row says: over power-on hours ``[start_h, stop_h)`` the raw attributes held these values. The public form is
``hds.parquet`` of the R package dynamichazard, over Backblaze Drive Stats 2013-16
(https://www.backblaze.com/cloud-storage/resources/hard-drive-test-data).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from foreshade.envs.errors import InputError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

#: Raw attributes that are read: reallocated sectors, spin retries, power cycles, uncorrectable errors,
#: command timeouts, high-fly writes, reallocation events, pending sectors, offline uncorrectable (ATA/ATAPI
#: usage).
ATTRIBUTES = (5, 10, 12, 187, 188, 189, 196, 197, 198)
#: What the file also holds that is known only once the drive's story has ended: never read.
FUTURE_COLUMNS = ("n_fails", "n_records", "max_hours", "max_date")

_KEYS = ("serial_number", "model", "size_tb", "tstart", "tstop", "fails")


@dataclass(frozen=True, slots=True)
class SmartHistory:
    """Rows of many drives; a drive's rows lie together, ordered by hour, without holes between them.

    ``first_row`` has one entry more than there are drives: drive ``d`` owns rows
    ``first_row[d]:first_row[d + 1]``.
    """

    serial: tuple[str, ...]  # one per drive
    model: tuple[str, ...]  # one per drive
    size_tb: F32  # (n_drives,) TB
    failed: npt.NDArray[
        np.bool_
    ]  # (n_drives,) whether the story ends in a failure, at stop_h of its last row
    first_row: I64  # (n_drives + 1,)
    start_h: I64  # (n_rows,) power-on hours
    stop_h: I64  # (n_rows,) power-on hours
    raw: F32  # (n_rows, len(ATTRIBUTES)); NaN = the drive does not report it

    def __post_init__(self) -> None:
        n_rows = len(self.start_h)
        if len(self.first_row) != len(self.serial) + 1 or int(self.first_row[-1]) != n_rows:
            raise InputError(f"SMART history: expected {len(self.serial)} drives to own {n_rows} rows")
        if self.raw.shape != (n_rows, len(ATTRIBUTES)):
            raise InputError(
                f"SMART history: raw has shape {self.raw.shape}, expected ({n_rows}, {len(ATTRIBUTES)})"
            )

    def __len__(self) -> int:
        """Number of drives."""
        return len(self.serial)

    @property
    def drive_of_row(self) -> I64:
        """(n_rows,) drive that owns each row."""
        return np.repeat(np.arange(len(self)), np.diff(self.first_row))

    @property
    def begin_h(self) -> I64:
        """(n_drives,) power-on hours at the first reading."""
        return self.start_h[self.first_row[:-1]]

    @property
    def end_h(self) -> I64:
        """(n_drives,) power-on hours at the last reading or the failure; the future, for labels alone."""
        return self.stop_h[self.first_row[1:] - 1]


def read_smart(path: str | Path) -> SmartHistory:
    """Read the public parquet.

    Raises:
        InputError: no such file, a missing column, a row that ends before it starts, or rows of a drive that
            overlap, leave a hole or go on after its failure.

    """
    source = Path(path)
    names = [*_KEYS, *(f"smart_{a}" for a in ATTRIBUTES)]
    if not source.is_file():
        found = "a folder" if source.is_dir() else "no such file"
        raise InputError(f"{source}: expected a parquet file of SMART rows, found {found}")
    try:
        present = pl.read_parquet_schema(source)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{source}: expected a parquet file of SMART rows, found another file") from error
    missing = [name for name in names if name not in present]
    if missing:
        raise InputError(f"{source}: missing column {missing[0]!r}; expected {', '.join(names)}")
    frame = (
        pl.read_parquet(source, columns=names)
        .with_columns(pl.col("serial_number", "model").cast(pl.String))
        .sort("serial_number", "tstart")
    )
    if frame.height == 0:
        raise InputError(f"{source}: expected at least one row, found none")
    serial = frame["serial_number"]
    start = frame["tstart"].to_numpy().astype(np.int64)
    stop = frame["tstop"].to_numpy().astype(np.int64)
    fails = frame["fails"].fill_null(0).to_numpy() > 0
    new = np.flatnonzero((serial != serial.shift(1)).fill_null(value=True).to_numpy())
    _check(start, stop, fails, new, serial, source)
    first_row = np.append(new, frame.height).astype(np.int64)
    return SmartHistory(
        serial=tuple(serial.gather(new).to_list()),
        model=tuple(frame["model"].gather(new).to_list()),
        size_tb=frame["size_tb"].gather(new).to_numpy().astype(np.float32),
        failed=fails[first_row[1:] - 1],
        first_row=first_row,
        start_h=start,
        stop_h=stop,
        raw=frame.select(f"smart_{a}" for a in ATTRIBUTES).cast(pl.Float32).fill_null(np.nan).to_numpy(),
    )


def _check(
    start: I64, stop: I64, fails: npt.NDArray[np.bool_], new: I64, serial: pl.Series, source: Path
) -> None:
    empty = np.flatnonzero(stop <= start)
    if empty.size:
        row = int(empty[0])
        raise InputError(f"{source}: {serial[row]}: tstop: expected above {start[row]} h, got {stop[row]} h")
    goes_on = np.ones(len(start), bool)
    goes_on[new] = False
    torn = np.flatnonzero(goes_on & (start != np.roll(stop, 1)))
    if torn.size:
        row = int(torn[0])
        raise InputError(
            f"{source}: {serial[row]}: tstart: expected {stop[row - 1]} h where the row before ends, "
            f"got {start[row]} h"
        )
    risen = np.flatnonzero(goes_on & np.roll(fails, 1))
    if risen.size:
        row = int(risen[0])
        raise InputError(f"{source}: {serial[row]}: a row at {start[row]} h follows the drive's failure")
