"""What every entry of the catalogue has in common: frozen, strict, and with the sources of its figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from foreshade.envs.errors import ScenarioError
from foreshade.envs.yaml_document import Document, parse

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(ge=1, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]

Value = TypeVar("Value")


class Entry(BaseModel):
    """A frozen record; an unknown key, a missing key or a wrong type is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Sourced(Entry):
    """An entry whose every figure names its source.

    ``sources`` maps the name of a field, or several joined by a comma, to a text. A text that begins with
    "declared" marks a prior: a value that we set, with the reason, and that nobody measured for us.
    """

    sources: Mapping[str, str]

    def source(self, field: str) -> str:
        """Where ``field`` is from; empty if nothing is said about it."""
        for names, text in self.sources.items():
            if field in (name.strip() for name in names.split(",")):
                return text
        return ""


def document(file: str) -> Document:
    """One of the catalogue's own files, which ship beside this module."""
    return parse(files(__package__).joinpath(file).read_text(encoding="utf-8"), f"catalogue/{file}")


def lookup(kind: str, name: str, table: Mapping[str, Value]) -> Value:
    """The entry ``name``; ScenarioError lists what there is."""
    try:
        return table[name]
    except KeyError:
        known = f"expected one of {listing(table)}" if table else "there are none"
        raise ScenarioError(f"unknown {kind} {name!r}, {known}") from None


def listing(names: Iterable[str]) -> str:
    """Names for an error message."""
    return ", ".join(sorted(names))
