"""Bodies with their ETag; rendered once for all who ask the same of the same snapshot."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response

JSON = "application/json"


def answer(request: Request, model: BaseModel, status: int = 200) -> Response:
    """A model as JSON, with its ETag; 304 where the client has it."""
    return _with_tag(request, model.model_dump_json().encode(), status)


def _with_tag(request: Request, body: bytes, status: int = 200, tag: str = "") -> Response:
    tag = tag or etag_of(body)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if status == 200 and request.method in ("GET", "HEAD"):
        asked = request.headers.get("if-none-match", "")
        if asked and tag in (part.strip().removeprefix("W/") for part in asked.split(",")):
            return Response(status_code=304, headers=headers)
    return Response(body, status, headers, JSON)


def etag_of(body: bytes) -> str:
    """Strong: other bytes, another tag."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


class Rendered:
    """The latest snapshot's bodies by address; a new snapshot empties it."""

    def __init__(self, most: int = 512, most_bytes: int = 32 << 20) -> None:
        self._of: object = None
        self._bodies: OrderedDict[tuple[str, bytes], tuple[bytes, str]] = OrderedDict()
        self._bytes = 0
        self._most, self._most_bytes = most, most_bytes

    def kept(self, request: Request, of: object) -> Response | None:
        """The answer to this address where it was made before on the snapshot ``of``."""
        found = self._bodies.get(_address(request)) if self._of is of else None
        return None if found is None else _with_tag(request, found[0], tag=found[1])

    def answer(self, request: Request, of: object, make: Callable[[], BaseModel]) -> Response:
        """The body for this address on the snapshot ``of``, made now and kept. Call it on the event loop."""
        if self._of is not of:
            self._of, self._bytes = of, 0
            self._bodies.clear()
        body = make().model_dump_json().encode()
        tag = etag_of(body)
        gone, _ = self._bodies.pop(_address(request), (b"", ""))
        self._bodies[_address(request)] = body, tag
        self._bytes += len(body) - len(gone)
        while len(self._bodies) > self._most or (self._bytes > self._most_bytes and len(self._bodies) > 1):
            _, (gone, _) = self._bodies.popitem(last=False)
            self._bytes -= len(gone)
        return _with_tag(request, body, tag=tag)


def _address(request: Request) -> tuple[str, bytes]:
    return request.scope["path"], request.scope["query_string"]
