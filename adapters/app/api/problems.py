"""Every error as ``application/problem+json`` (RFC 9457): what, where, expected, found; never a secret or a trace."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from foreshade.adapters.auth.token import redact
from foreshade.adapters.wire.problem import Flaw, Problem
from foreshade.envs.errors import (
    ActionError,
    ForeshadeError,
    InputError,
    JournalError,
    PlanError,
    WorldError,
)

LOG = logging.getLogger("foreshade.api")
MEDIA_TYPE = "application/problem+json"
_MOST_FLAWS = 20

TITLES: Mapping[int, str] = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    412: "Changed meanwhile",
    413: "Too large",
    415: "Unsupported media type",
    421: "Another host",
    422: "Cannot be used",
    429: "Too many requests",
    500: "Internal error",
    503: "Not available now",
}


class ProblemError(Exception):
    """An answer other than success, raised by a route."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        flaws: Sequence[Flaw] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.flaws = tuple(flaws)
        self.headers = dict(headers or {})


def problem_response(
    status: int,
    detail: str,
    request_id: str = "",
    *,
    flaws: Sequence[Flaw] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The response of a problem."""
    said = Problem(
        title=TITLES.get(status, "Error"),
        status=status,
        detail=redact(detail),
        instance=request_id,
        flaws=tuple(flaws),
    )
    body = said.model_dump_json(exclude_defaults=True).encode("utf-8", "replace")
    return Response(body, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def request_id_of(request: Request) -> str:
    """The id that the request was given, or brought."""
    return str(request.scope.get("foreshade.request_id", ""))


def flaws_of(errors: Sequence[Any]) -> list[Flaw]:
    """Pydantic's errors without the input that they found, which may be a secret."""
    flaws = []
    for error in errors[:_MOST_FLAWS]:
        place, *path = error["loc"] or ("body",)
        where = f"/{'/'.join(map(str, path))}" if place == "body" else str(path[0] if path else place)
        flaws.append(Flaw(where=_printable(where), what=_printable(str(error["msg"]))))
    return flaws


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()[:300]


def answer_errors(app: FastAPI) -> None:
    """Install the handlers."""

    async def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)  # noqa: S101  registered for it alone
        return problem_response(
            error.status, error.detail, request_id_of(request), flaws=error.flaws, headers=error.headers
        )

    async def on_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        flaws = flaws_of(error.errors())
        detail = f"{flaws[0].where}: {flaws[0].what}" if flaws else ""
        return problem_response(422, detail, request_id_of(request), flaws=flaws)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        detail = "" if error.detail == TITLES.get(error.status_code) else str(error.detail)
        return problem_response(error.status_code, detail, request_id_of(request), headers=error.headers)

    async def on_domain(request: Request, error: Exception) -> Response:
        status = status_of(error)
        if status == 500:
            LOG.error("request failed", exc_info=error, extra={"request": request_id_of(request)})
            return problem_response(500, "see the controller's log for this request", request_id_of(request))
        return problem_response(status, str(error), request_id_of(request))

    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(ForeshadeError, on_domain)
    app.add_exception_handler(Exception, on_domain)


def status_of(error: Exception) -> int:
    """What a domain error is over HTTP."""
    if isinstance(error, InputError | ValidationError):
        return 422
    if isinstance(error, PlanError | ActionError):
        return 409
    if isinstance(error, WorldError | JournalError):
        return 503
    return 500
