"""What stands before every route: request ids, the host's name, the body's size, headers for browsers."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foreshade.adapters.app.api.problems import problem_response

#: An id that a client brings is kept where it is short and plain, so that it can be looked for in logs.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
#: Where a body may be as large as a policy is.
UPLOADS = "/v1/policies/"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

#: Nothing from elsewhere, no frame around us. Plotly sets styles on elements, hence 'unsafe-inline' for styles alone.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Doorway:
    """Refuses what no route needs to see, and marks what passes."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: frozenset[str],
        most_body: int,
        most_upload: int,
        tls: bool,
        on_answer: Callable[[Scope, int, float], None],
    ) -> None:
        self._app = app
        self._hosts = hosts  # names that we are known by; against DNS rebinding
        self._most, self._most_upload = most_body, most_upload
        self._tls = tls
        self._on_answer = on_answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        brought = headers.get("x-request-id", "")
        request_id = brought if _REQUEST_ID.fullmatch(brought) else secrets.token_hex(8)
        scope["foreshade.request_id"] = request_id
        began = large = False
        most = self._most_upload if scope["path"].startswith(UPLOADS) else self._most
        since = time.perf_counter()

        async def marked(message: Message) -> None:
            nonlocal began
            if large and not began:
                return  # an answer to a body that was cut off: ours says why
            if message["type"] == "http.response.start":
                began = True
                out = MutableHeaders(scope=message)
                out["X-Request-Id"] = request_id
                for name, value in HEADERS.items():
                    out.setdefault(name, value)
                if self._tls:
                    out["Strict-Transport-Security"] = "max-age=31536000"
                out.setdefault("Cache-Control", "no-store")
                self._on_answer(scope, message["status"], time.perf_counter() - since)
            await send(message)

        refused = self._refusal(scope, headers, most)
        if refused is not None:
            status, detail = refused
            await problem_response(status, detail, request_id)(scope, receive, marked)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen, large
            message = await receive()
            if message["type"] == "http.request":  # a body without a length is counted as it comes
                seen += len(message.get("body", b""))
                if seen > most:
                    large = True
                    raise _TooLargeError
            return message

        try:
            await self._app(scope, counted, marked)
        except Exception:  # answered and logged by the application's own handler, which raises it once more
            if not began and not large:
                raise
        if large and not began:
            large = False
            detail = f"expected a body of at most {most} bytes, found more"
            await problem_response(413, detail, request_id)(scope, receive, marked)

    def _refusal(self, scope: Scope, headers: Headers, most: int) -> tuple[int, str] | None:
        host = headers.get("host", "")
        name = re.sub(r":[0-9]+$", "", host).strip("[]").lower()
        if "*" not in self._hosts and name not in self._hosts:
            return 421, "this server is not known by that name: see api.hosts in the configuration"
        origin = headers.get("origin")
        if scope["method"] not in _SAFE and origin is not None:
            scheme = "https" if self._tls else "http"
            if origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
                return 403, f"expected a request of the origin {scheme}://{host}, found another"
        length = headers.get("content-length")
        if length is not None and (not length.isdigit() or int(length) > most):
            return 413, f"expected a body of at most {most} bytes, found {length[:20]}"
        return None


class _TooLargeError(Exception):
    """The body is larger than any route needs."""
