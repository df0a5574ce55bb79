"""Errors over HTTP, RFC 9457."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Flaw(BaseModel):
    """One thing that is wrong with a request."""

    where: str  # a JSON pointer into the body, or the name of the parameter
    what: str  # expected and found


class Problem(BaseModel):
    """``application/problem+json``."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"  # a name of docs/operations.md, "Problems"
    title: str
    status: int
    detail: str = ""
    instance: str = ""  # the request's id, as in the log and the audit
    flaws: tuple[Flaw, ...] = ()
