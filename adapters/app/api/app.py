"""The application: its routes, problems as answers, and the OpenAPI document that it is known by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute

from foreshade.adapters.app.api import (
    admin_routes,
    event_routes,
    forecast_routes,
    inventory_routes,
    maintenance_routes,
    plan_routes,
    shelf_routes,
    traffic_routes,
)
from foreshade.adapters.app.api.context import Context
from foreshade.adapters.app.api.problems import MEDIA_TYPE, answer_errors
from foreshade.adapters.wire.problem import Problem

ROUTERS: Sequence[APIRouter] = (
    inventory_routes.router,
    forecast_routes.router,
    plan_routes.router,
    traffic_routes.router,
    maintenance_routes.router,
    event_routes.router,
    admin_routes.router,
    shelf_routes.router,
)
DESCRIPTION = """What a Foreshade controller sees, expects, decides and does.

Every request carries a bearer token, `Authorization: Bearer foreshade_…` or a JWT of the configured OpenID provider.
Roles are viewer < operator < admin: an operation says its own in `x-role`, and in `x-scope` the scope that a token
must have. Errors are problems of RFC 9457. A POST with an `Idempotency-Key` is done once, however often
it is sent."""

_FAILURE: dict[str, Any] = {
    "description": "A problem: what, where, expected, found",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}

_UNREADABLE = {
    "description": "No HTTP that can be read, such as an address of over 64 KiB; or a problem",
    "content": {"text/plain": {"schema": {"type": "string"}}, **_FAILURE["content"]},
}


def create_app(context: Context, extra_routes: Sequence[BaseRoute] = ()) -> FastAPI:
    """The application over a context; ``extra_routes`` stand beside the API (page, metrics, health)."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        context.bus.bind(asyncio.get_running_loop())
        yield

    app = FastAPI(
        title="Foreshade",
        version=version("foreshade"),
        description=DESCRIPTION,
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        openapi_url=None,  # a route of ours, behind the guard as all others
        redirect_slashes=False,
        lifespan=lifespan,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    app.state.context = context
    # Not include_router: it would match every request twice, and hide the routes from whoever counts them.
    for router in ROUTERS:
        app.router.routes.extend(router.routes)
    app.router.routes.extend(extra_routes)
    answer_errors(app)
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    """Every operation may answer with a problem, and wants a bearer token."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            components = document.setdefault("components", {})
            components.setdefault("schemas", {}).update(_problem_schemas())
            components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
            for operations in document["paths"].values():
                for operation in operations.values():
                    operation["responses"].pop("422", None)
                    operation["responses"].update({"400": _UNREADABLE, "4XX": _FAILURE, "5XX": _FAILURE})
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _problem_schemas() -> dict[str, Any]:
    schema = Problem.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
    inner = schema.pop("$defs", {})
    return {"Problem": schema, **inner}
