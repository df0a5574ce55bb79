"""Delimited text read at full speed, and a second, slow look only to say where it is wrong."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
from polars.exceptions import PolarsError

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.trace import MOST_MEASURED

_SHOWN, _LONGEST_NAME = 20, 40


def read_delimited(
    data: bytes,
    where: str,
    *,
    numeric: Iterable[str] | None = None,
    text: Iterable[str] = (),
    names: Sequence[str] | None = None,
    separator: str = ",",
    skipped: int = 0,
) -> pl.DataFrame:
    """Read delimited text; an empty cell is null, and a cell that should be a number but is not an error.

    Args:
        data: the file, without byte order mark.
        where: what the errors call the file.
        numeric: columns of Float64; None = all that are not text. Names that the file lacks are ignored.
        text: columns of String.
        names: the columns of a file without a header line.
        separator: one character.
        skipped: lines to pass over at the start; counted in the line numbers of errors.

    Raises:
        WorkloadError: empty, not text, a bad cell, or a line with too few or too many fields; the message names
            file and line.

    """
    for _ in range(skipped):
        data = data[data.find(b"\n") + 1 :]
    if not data.strip():
        raise WorkloadError(f"{where}: expected delimited text, found an empty file")
    first = data[: data.find(b"\n")] if b"\n" in data else data
    width = first.count(separator.encode()) + 1
    if names is not None and width != len(names):
        raise WorkloadError(f"{where}: line {skipped + 1}: expected {len(names)} fields, found {width}")
    strings = set(text)
    try:
        head = _read(first, names, separator, {})
        columns = head.columns
        wanted = [c for c in columns if c not in strings] if numeric is None else set(numeric) & set(columns)
        schema: dict[str, type[pl.DataType]] = dict.fromkeys(columns, pl.String)
        schema.update(dict.fromkeys(wanted, pl.Float64))
        frame = _read(data, names, separator, schema)
    except (PolarsError, UnicodeDecodeError) as error:
        raise _located(data, where, names, separator, numeric, strings, skipped) or WorkloadError(
            f"{where}: not readable as text separated by {separator!r}: {str(error).splitlines()[0]}"
        ) from error
    if data.count(separator.encode()) != (width - 1) * (frame.height + (names is None)):
        cut = _cut_off(data, where, width, separator, skipped)
        if cut is not None:
            raise cut
    return frame


def _cut_off(data: bytes, where: str, width: int, separator: str, skipped: int) -> WorkloadError | None:
    """Find the first line with too few fields: what is left of it may read as another number, or as a gap."""
    rows = csv.reader(io.StringIO(data.decode("utf-8", "replace")), delimiter=separator)
    for row in rows:
        if 0 < len(row) < width and (len(row) > 1 or row[0].strip()):
            return WorkloadError(
                f"{where}: line {rows.line_num + skipped}: expected {width} fields, found {len(row)}"
            )
    return None


def _read(
    data: bytes, names: Sequence[str] | None, separator: str, schema: dict[str, type[pl.DataType]]
) -> pl.DataFrame:
    return pl.read_csv(
        data,
        has_header=names is None,
        new_columns=names if names is not None and not schema else None,
        schema=schema or None,
        infer_schema=False,
        separator=separator,
    )


def _located(
    data: bytes,
    where: str,
    names: Sequence[str] | None,
    separator: str,
    numeric: Iterable[str] | None,
    strings: set[str],
    skipped: int,
) -> WorkloadError | None:
    """Find the first cell that is not a number, or the first line with too many fields."""
    lines = data.decode("utf-8", "replace").splitlines()
    columns = list(names) if names is not None else [c.strip('"') for c in lines[0].split(separator)]
    chosen = set(columns) - strings if numeric is None else set(numeric)
    for number, line in enumerate(lines[0 if names is not None else 1 :], 1 if names is not None else 2):
        cells = line.split(separator)
        if len(cells) > len(columns) and '"' not in line:
            return WorkloadError(
                f"{where}: line {number + skipped}: expected {len(columns)} fields, found {len(cells)}"
            )
        for column, cell in zip(columns, cells, strict=False):
            if column in chosen and cell.strip('"') and not _is_number(cell.strip('"')):
                return WorkloadError(
                    f"{where}: line {number + skipped}: {column}: expected a number, got {cell!r}"
                )
    return None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def require(frame: pl.DataFrame, columns: Iterable[str], where: str) -> None:
    """Raise an error that names the first column that is missing and those that are there."""
    for column in columns:
        if column not in frame.columns:
            raise WorkloadError(f"{where}: missing column {column!r}; the file has {listed(frame.columns)}")


def listed(names: Sequence[str]) -> str:
    """Names for one line of an error: as many as a person reads, none longer than a person writes."""
    shown = [
        repr(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…") for name in names[:_SHOWN]
    ]
    return ", ".join(shown) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def numbers(
    frame: pl.DataFrame, column: str, where: str, *, least: float = 0.0, first_line: int = 2
) -> npt.NDArray[np.float64]:
    """Return a column that must be filled, from ``least`` to what is ever measured; else name the line."""
    values = frame[column].cast(pl.Float64).fill_null(np.nan).to_numpy()
    bad = np.flatnonzero(~((values >= least) & (values <= MOST_MEASURED)))
    if bad.size:
        row = int(bad[0])
        got = frame[column][row]
        bound = f"most {MOST_MEASURED:g}" if values[row] > MOST_MEASURED else f"least {least:g}"
        raise WorkloadError(
            f"{where}: line {row + first_line}: {column}: expected a number of at {bound}, "
            f"got {'an empty cell' if got is None else got}"
        )
    return values.astype(np.float64)
