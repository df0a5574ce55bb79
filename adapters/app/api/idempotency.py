"""Idempotency keys: a request that is sent again with its key is answered as before, and not done again.

A key belongs to who asks. With another method, path or body it is refused (422); while the first is still at work,
the second is told to wait (409). Answers are kept for a day. An answer of 5xx is not kept: nothing is known to have
been done, and the client should try again.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from fastapi import Request
from starlette.responses import Response

from foreshade.adapters.app.api.problems import ProblemError
from foreshade.adapters.auth.role import Principal

if TYPE_CHECKING:
    from foreshade.adapters.app.api.context import Context

_KEY = re.compile(r"[\x21-\x7e]{1,128}")


async def answer_once(
    context: Context,
    request: Request,
    who: Principal,
    inner: Callable[[Request], Coroutine[Any, Any, Response]],
) -> Response:
    """Answer with what was answered before, or do it and keep the answer."""
    said = request.headers["idempotency-key"]
    if not _KEY.fullmatch(said):
        raise ProblemError(422, "Idempotency-Key: expected 1 to 128 printable ASCII characters, found others")
    body = await request.body()
    target = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    fingerprint = hashlib.sha256(target + body).hexdigest()
    key = hashlib.sha256(f"{who.by}\n{who.name}\n{said}".encode()).hexdigest()
    kept = await asyncio.to_thread(context.answers.begin, key, fingerprint, context.now())
    if kept is not None:
        if kept.fingerprint != fingerprint:
            raise ProblemError(422, "Idempotency-Key: it was used for another request")
        if kept.status == 0:
            raise ProblemError(
                409, "Idempotency-Key: its request is still at work", headers={"Retry-After": "1"}
            )
        headers = {"Idempotent-Replayed": "true"}
        return Response(kept.body, kept.status, headers, kept.media_type or None)
    try:
        response = await inner(request)
    except BaseException:  # refused or failed: nothing was done, and it may be tried again
        await asyncio.to_thread(context.answers.drop, key)
        raise
    if response.status_code >= 500:
        await asyncio.to_thread(context.answers.drop, key)
    else:
        media_type = response.headers.get("content-type", "")
        await asyncio.to_thread(
            context.answers.finish, key, response.status_code, media_type, bytes(response.body)
        )
    return response
