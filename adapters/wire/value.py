"""The ground that every model stands on."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field


class Value(BaseModel):
    """Frozen; a field that is not known is refused, a number is never read from a text."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class Request(BaseModel):
    """What a client sends: as strict as it can be, JSON's own types alone."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


Item = TypeVar("Item")


class Page(Value, Generic[Item]):
    """One page of a list."""

    items: tuple[Item, ...]
    total: int  # that pass the filters
    next: str | None = None  # cursor of the next page; null = this is the last


#: A name in a path or a body.
Name = Annotated[str, Field(min_length=1, max_length=200)]
#: A sentence that a person gives with what they do; it is kept in the audit.
Reason = Annotated[str, Field(max_length=500)]
