"""Which origins of which series a global model learns from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from foreshade.envs.errors import InputError
from foreshade.envs.forecast.learned.quantile_model import F32, I64


@dataclass(frozen=True, slots=True)
class Origins:
    """Pairs of a series and the column of its newest sample, drawn without regard to what follows."""

    series: I64  # (n,)
    column: I64  # (n,)

    def by_column(self) -> Iterator[tuple[int, I64]]:
        """Each column with the rows of this table that stand at it: contexts are cut once per column."""
        order = np.argsort(self.column, kind="stable")
        columns, first = np.unique(self.column[order], return_index=True)
        yield from zip(columns.tolist(), np.split(order, first[1:]), strict=True)


def draw_origins(history: F32, horizon: int, n_rows: int, shortest: int, seed: int, model: str) -> Origins:
    """Draw up to ``n_rows`` origins with a known target, from at most 96 distinct columns.

    A global model gains from many series and hardly from neighbouring origins of one, and every distinct
    column costs one pass over the windows.

    Raises:
        InputError: no series has ``shortest`` ticks before a target that was measured.

    """
    n_ticks = history.shape[1]
    columns = np.arange(shortest - 1, n_ticks - horizon)
    if columns.size == 0:
        raise InputError(
            f"{model}: history: expected at least {shortest + horizon} ticks for horizon {horizon}, "
            f"got {n_ticks}"
        )
    rng = np.random.default_rng([seed, horizon])
    if columns.size > 96:
        columns = np.sort(rng.choice(columns, 96, replace=False))
    per_column = -(-n_rows // columns.size)
    series_parts, column_parts = [], []
    for column in columns.tolist():
        known = np.flatnonzero(np.isfinite(history[:, column + horizon]))
        seen = np.isfinite(history[known, max(0, column - 287) : column + 1]).any(axis=1)
        known = known[seen]
        chosen = rng.permutation(known)[:per_column] if known.size > per_column else known
        series_parts.append(np.sort(chosen))
        column_parts.append(np.full(chosen.size, column, np.int64))
    found = Origins(np.concatenate(series_parts).astype(np.int64), np.concatenate(column_parts))
    if found.series.size == 0:
        raise InputError(f"{model}: history: expected measured targets at horizon {horizon}, found none")
    return found


def fingerprint(history: F32) -> str:
    """SHA-256 of a training history as float32 in row order, for a manifest."""
    return hashlib.sha256(np.asarray(history, np.float32).tobytes()).hexdigest()
