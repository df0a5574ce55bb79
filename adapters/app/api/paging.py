"""Pages of a list: a cursor is where the last page ended, so that what comes and goes meanwhile shifts nothing."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from foreshade.adapters.app.api.problems import ProblemError
from foreshade.adapters.wire.value import Page

Item = TypeVar("Item")
I64 = npt.NDArray[np.int64]
MOST = 500


class PageQuery(BaseModel):
    """Parameters of every list; a filter that is not known is refused."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MOST)] = 100
    cursor: Annotated[str | None, Field(max_length=64)] = None  # `next` of the page before


def page_of(
    slots: I64, query: PageQuery, view: Callable[[list[int]], Sequence[Item]], model: type[Page[Any]]
) -> Page[Any]:
    """The page of ``slots`` (ascending) that the query asks for, each turned into its view."""
    after = -1 if query.cursor is None else read_cursor(query.cursor)
    begin = int(np.searchsorted(slots, after, side="right"))
    here = slots[begin : begin + query.limit].tolist()
    more = begin + len(here) < len(slots)
    return model.model_construct(
        items=tuple(view(here)), total=len(slots), next=write_cursor(here[-1]) if more and here else None
    )


def whole(model: type[Page[Any]], items: Iterable[Item]) -> Page[Any]:
    """A list that is short enough to be one page."""
    every = tuple(items)
    return model.model_construct(items=every, total=len(every))


def write_cursor(after: int | str, word: str = "after") -> str:
    """Opaque to clients."""
    return base64.urlsafe_b64encode(f"{word}:{after}".encode()).decode().rstrip("=")


def read_cursor(text: str) -> int:
    """The number where the last page ended.

    Raises:
        ProblemError: it is no cursor of ours.

    """
    number = read_word(text, "after")
    if not (number.isdecimal() and len(number) <= 18):
        raise bad_cursor()
    return int(number)


def read_word(text: str, word: str) -> str:
    """What stands in a cursor after its word.

    Raises:
        ProblemError: it is no cursor of ours.

    """
    try:
        said = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise bad_cursor() from None
    found, _, rest = said.partition(":")
    if found != word or not rest.isprintable():
        raise bad_cursor()
    return rest


def bad_cursor() -> ProblemError:
    """What is answered to one."""
    return ProblemError(422, "cursor: expected the `next` of a page, found something else")
