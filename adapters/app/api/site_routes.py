"""What stands beside the API: the page with its assets, metrics, and the two questions of an orchestrator."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from foreshade.adapters.app.api.context import Context
from foreshade.adapters.app.api.guard import caller_of
from foreshade.adapters.app.api.metrics import CONTENT_TYPE, Metrics
from foreshade.adapters.app.api.problems import ProblemError
from foreshade.adapters.auth.role import Role, Scope

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_PAGE = "foreshade.adapters.app.page"


def site_routes(
    context: Context, metrics: Metrics, status: Callable[[], None], *, open_metrics: bool
) -> Sequence[BaseRoute]:
    """The routes; ``status`` brings the metrics that are asked for at each scrape up to date."""

    async def show_metrics(request: Request) -> Response:
        if not open_metrics:
            who = await caller_of(context, request)
            if not who.may(Role.VIEWER, Scope.METRICS):
                raise ProblemError(403, f"/metrics: expected scope metrics, {who.name} does not have it")
        await asyncio.to_thread(status)  # asks the store, which may be slow
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    async def healthy(_request: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def ready(_request: Request) -> Response:
        """Whether there is something to show; a standby is ready too."""
        there = context.service.seen is not None
        return PlainTextResponse(
            "ready\n" if there else "the cluster was not observed yet\n", 200 if there else 503
        )

    return (
        Route("/metrics", show_metrics),
        Route("/healthz", healthy),
        Route("/readyz", ready),
        Route("/", _page),
        Route("/assets/{name}", _asset),
    )


async def _page(request: Request) -> Response:
    return _file(request, "index.html")


async def _asset(request: Request) -> Response:
    return _file(request, request.path_params["name"])


def _file(request: Request, name: str) -> Response:
    found = _assets().get(name)
    if found is None:
        raise ProblemError(404, f"asset {name[:80]!r}: expected one of the page, there is none")
    data, packed, tag, media_type = found
    headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if packed and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=media_type)
    return Response(data, headers=headers, media_type=media_type)


@cache
def _assets() -> dict[str, tuple[bytes, bytes, str, str]]:
    """Every file of the page by name: as it is, packed, with its tag and type; read once."""
    found = {}
    entries = [entry for entry in files(_PAGE).iterdir() if entry.name.endswith(tuple(TYPES))]
    for entry in [*entries, files("plotly") / "package_data" / "plotly.min.js"]:
        data = entry.read_bytes()
        media_type = TYPES["." + entry.name.rpartition(".")[2]] + "; charset=utf-8"
        tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
        found[entry.name] = data, gzip.compress(data, 6, mtime=0), tag, media_type
    return found


def warm() -> None:
    """Read the files before the first request: packing plotly takes a moment."""
    _assets()
