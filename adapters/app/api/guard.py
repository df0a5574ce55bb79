"""The one way into a route: who asks, may they, how often, and was it asked before.

Every route of the API is a ``GuardedRoute``. It refuses to be built from a function that does not say its access, so
no route can be open by being forgotten.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from foreshade.adapters.app.api.context import Context, context_of
from foreshade.adapters.app.api.idempotency import answer_once
from foreshade.adapters.app.api.problems import ProblemError
from foreshade.adapters.auth.role import Principal, Role, Scope
from foreshade.adapters.auth.token import DeniedError, is_token, verify

_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Access:
    """What a route wants of whoever asks."""

    role: Role
    scope: Scope


def needs(role: Role, scope: Scope) -> Callable[[_Endpoint], _Endpoint]:
    """Declare a route's access."""

    def mark(endpoint: _Endpoint) -> _Endpoint:
        endpoint.access = Access(role, scope)  # type: ignore[attr-defined]
        return endpoint

    return mark


class GuardedRoute(APIRoute):
    """A route behind authentication, authorisation, rate limit and idempotency keys."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **kwargs: Any) -> None:
        access = getattr(endpoint, "access", None)
        if not isinstance(access, Access):
            raise TypeError(f"{path}: expected a route that says its access with @needs")
        self.access = access
        kwargs["openapi_extra"] = {
            **(kwargs.get("openapi_extra") or {}),
            "security": [{"bearer": []}],
            "x-role": access.role.word,
            "x-scope": access.scope.value,
        }
        super().__init__(path, endpoint, **kwargs)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's own handler behind the guard."""
        inner = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            context = context_of(request)
            who = await caller_of(context, request)
            request.state.principal = who
            wait_s = context.limit.wait_s(f"{who.by}:{who.name}")
            if wait_s > 0.0:
                raise _slow_down(wait_s)
            if not who.may(self.access.role, self.access.scope):
                context.denied(request, who)
                raise ProblemError(
                    403,
                    f"{request.method} {self.path}: expected role {self.access.role.word} and scope "
                    f"{self.access.scope}, {who.name} is {who.role.word}",
                )
            if request.method == "POST" and "idempotency-key" in request.headers:
                return await answer_once(context, request, who, inner)
            kept = context.rendered_before(request) if request.method == "GET" else None
            return await inner(request) if kept is None else kept

        return guarded


async def caller_of(context: Context, request: Request) -> Principal:
    """Whoever holds the bearer token.

    Attempts without a good token come out of the address's own bucket, so that guessing is slow and costs nobody
    else anything.
    """
    address = request.client.host if request.client else ""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not text:
        _failed(context, address)
        raise _who("expected a bearer token in the header Authorization")
    key = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    known = context.known.get(key)
    if known is not None:
        return known
    _failed(context, address, cost=0.0)
    try:
        if is_token(text):
            who = await asyncio.to_thread(verify, text, context.tokens, context.now())
        elif context.oidc is not None:
            who = await asyncio.to_thread(context.oidc.verify, text)
        else:
            raise DeniedError("no such token")
    except DeniedError as error:
        _failed(context, address)
        context.denied(request, None, str(error))
        raise _who("the token is not taken: unknown, revoked, expired or for somebody else") from error
    context.known.put(key, who)
    return who


def _failed(context: Context, address: str, cost: float = 1.0) -> None:
    wait_s = context.failures.wait_s(address, cost)
    if wait_s > 0.0:
        raise _slow_down(wait_s)


def _who(detail: str) -> ProblemError:
    return ProblemError(401, detail, headers={"WWW-Authenticate": 'Bearer realm="foreshade"'})


def _slow_down(wait_s: float) -> ProblemError:
    seconds = max(1, round(wait_s + 0.5))
    return ProblemError(429, f"try again in {seconds} s", headers={"Retry-After": str(seconds)})
