"""``/v1/events``: what happens, as it happens."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from foreshade.adapters.app.api.answer import answer
from foreshade.adapters.app.api.context import Surface
from foreshade.adapters.app.api.guard import GuardedRoute, needs
from foreshade.adapters.app.api.paging import whole
from foreshade.adapters.app.api.problems import ProblemError
from foreshade.adapters.app.api.stream import EventStream
from foreshade.adapters.auth.role import Role, Scope
from foreshade.adapters.wire.event import KINDS, Event
from foreshade.adapters.wire.value import Page

router = APIRouter(prefix="/v1", route_class=GuardedRoute, tags=["events"])
#: Streams at once; each costs a task and a queue.
MOST_STREAMS = 500


class StreamQuery(BaseModel):
    """What is listened to."""

    model_config = ConfigDict(extra="forbid")

    kind: Annotated[list[Literal[*KINDS]], Field(max_length=len(KINDS))] = []  # type: ignore[valid-type]  # none = all


@router.get(
    "/events",
    response_class=Response,
    responses={200: {"description": "Server-sent events", "content": {"text/event-stream": {}}}},
)
@needs(Role.VIEWER, Scope.EVENTS)
async def events(
    context: Surface,
    query: Annotated[StreamQuery, Query()],
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> Response:
    """A stream that goes on until either side ends it; `Last-Event-ID` brings what was missed."""
    if context.bus.listeners >= MOST_STREAMS:
        raise ProblemError(
            503, f"expected at most {MOST_STREAMS} streams, all are taken", headers={"Retry-After": "30"}
        )
    kinds = frozenset(query.kind) if query.kind else None
    return EventStream(context.bus.frames(kinds, last_event_id))


@router.get("/events/recent", response_model=Page[Event])
@needs(Role.VIEWER, Scope.EVENTS)
async def recent(request: Request, context: Surface, query: Annotated[StreamQuery, Query()]) -> Response:
    """The latest events, the oldest first."""
    return answer(request, whole(Page[Event], context.bus.recent(query.kind or None)))
