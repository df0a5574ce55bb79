"""The schema of an observation: which numbers stand where, what they mean and in which unit.

An observation is shown in two forms that hold the same numbers: a Dict of ``context`` (G,), ``candidates``
(K, F) and ``mask`` (K,), and flat, ``[context | candidates, row by row | mask]``. One schema describes
both; documentation and the manifest of a frozen policy are written from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import InputError

F32 = npt.NDArray[np.float32]

#: The first column of every candidate: the rule score; its arg-max over the unmasked is the rules' choice.
PREFERENCE = "preference"


@dataclass(frozen=True, slots=True)
class Column:
    """One number of an observation, normalised."""

    name: str
    unit: str  # of the number before it was normalised, or what it is a share of
    low: float  # smallest value that the environment writes
    high: float  # largest value that the environment writes
    doc: str


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of an observation with ``k`` candidates; candidate 0 is always ``wait``.

    Raises:
        InputError: a column stands twice, the first of a candidate is not the preference, or there are
            fewer than two candidates.

    """

    context: tuple[Column, ...]
    candidate: tuple[Column, ...]
    k: int

    def __post_init__(self) -> None:
        for part, columns in (("context", self.context), ("candidate", self.candidate)):
            names = [column.name for column in columns]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise InputError(f"schema: {part}: expected each column once, got {twice[0]!r} again")
        if not self.candidate or self.candidate[0].name != PREFERENCE:
            got = self.candidate[0].name if self.candidate else None
            raise InputError(f"schema: candidate: expected {PREFERENCE!r} as first column, got {got!r}")
        if self.k < 2:
            raise InputError(f"schema: k: expected wait and at least one candidate beside it, got {self.k}")

    @property
    def size(self) -> int:
        """Length of a flat observation."""
        return len(self.context) + self.k * (len(self.candidate) + 1)

    def split(self, flat: F32) -> tuple[F32, F32, F32]:
        """Views of flat observations (..., size): context (..., G), candidates (..., K, F), mask (..., K)."""
        n_context, n_rows = len(self.context), self.k * len(self.candidate)
        rows = flat[..., n_context : n_context + n_rows]
        return (
            flat[..., :n_context],
            rows.reshape(*flat.shape[:-1], self.k, len(self.candidate)),
            flat[..., n_context + n_rows :],
        )

    def flatten(self, observation: Mapping[str, npt.NDArray[Any]]) -> F32:
        """The flat form of one Dict observation."""
        parts = (observation["context"], observation["candidates"], observation["mask"])
        return np.concatenate([np.asarray(part, np.float32).ravel() for part in parts])

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold; ``from_dict`` reads it back."""
        return {
            "k": self.k,
            "context": [asdict(column) for column in self.context],
            "candidate": [asdict(column) for column in self.candidate],
        }

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Schema:
        """Read what ``to_dict`` wrote.

        Raises:
            InputError: a key is missing, unknown or of another type.

        """
        try:
            context, candidate = (
                tuple(Column(**column) for column in said[part]) for part in ("context", "candidate")
            )
            k = said["k"]
        except (KeyError, TypeError) as error:
            raise InputError(f"schema: expected k, context and candidate columns ({error!r})") from error
        if not isinstance(k, int):
            raise InputError(f"schema: k: expected a whole number, got {k!r}")
        return cls(context, candidate, k)

    def difference(self, other: Schema) -> str | None:
        """The first place where ``other`` differs from this schema, in one line; None = they are equal."""
        if self.k != other.k:
            return f"k: expected {self.k}, got {other.k}"
        for part, ours, theirs in (
            ("context", self.context, other.context),
            ("candidate", self.candidate, other.candidate),
        ):
            for expected, got in zip(ours, theirs, strict=False):
                if expected != got:
                    field = next(f for f in Column.__slots__ if getattr(expected, f) != getattr(got, f))
                    where = f"{part} column {expected.name!r}: {field}"
                    return f"{where}: expected {getattr(expected, field)!r}, got {getattr(got, field)!r}"
            if len(ours) != len(theirs):
                return f"{part}: expected {len(ours)} columns, got {len(theirs)}"
        return None
