"""The schema of what the native proposer writes, as the native tables have it."""

from __future__ import annotations

from collections.abc import Sequence

from foreshade import _core
from foreshade.envs.features import Column, Schema


def native_schema(k: int = 64) -> Schema:
    """Columns of the context and of ``k`` candidates, in the order in which they are written."""
    return Schema(
        tuple(Column(*said) for said in _core.context_columns()),
        tuple(Column(*said) for said in _core.candidate_columns()),
        k,
    )


def column_table(columns: Sequence[Column]) -> str:
    """Columns as a Markdown table: what docs/environment.md shows."""
    lines = ["| # | column | unit | least | most | what it is |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {i} | `{c.name}` | {c.unit} | {c.low:g} | {c.high:g} | {c.doc} |" for i, c in enumerate(columns)
    ]
    return "\n".join(lines)
