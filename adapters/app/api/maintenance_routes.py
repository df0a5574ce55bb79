"""``/v1/maintenance``: calendars in, windows and a calendar out."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from foreshade.adapters.app.api.answer import answer
from foreshade.adapters.app.api.context import Context, Surface
from foreshade.adapters.app.api.guard import GuardedRoute, needs
from foreshade.adapters.app.api.paging import whole
from foreshade.adapters.app.api.problems import ProblemError
from foreshade.adapters.auth.role import Role, Scope
from foreshade.adapters.store.maintenance import Calendar, CalendarKind, Occurrence, to_ical
from foreshade.adapters.wire.maintenance import CalendarView, OccurrenceView
from foreshade.adapters.wire.value import Page
from foreshade.envs.errors import InputError

router = APIRouter(prefix="/v1", route_class=GuardedRoute, tags=["maintenance"])
_SEE = needs(Role.VIEWER, Scope.MAINTENANCE)
_ACT = needs(Role.OPERATOR, Scope.MAINTENANCE)
Name = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
_TYPES: dict[str, CalendarKind] = {"text/calendar": "ical", "text/plain": "weekly"}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {media: {"schema": {"type": "string", "minLength": 1}} for media in _TYPES},
    }
}


class AheadQuery(BaseModel):
    """How far ahead, by the world's clock."""

    model_config = ConfigDict(extra="forbid")

    days: Annotated[int, Field(ge=1, le=366)] = 30


@router.get("/maintenance", response_model=Page[OccurrenceView])
@_SEE
def maintenance(request: Request, context: Surface, query: Annotated[AheadQuery, Query()]) -> Response:
    """Windows that are under way or to come, in order."""
    views = tuple(
        OccurrenceView(
            calendar=one.calendar,
            start=one.start.astimezone(UTC),
            end=one.end.astimezone(UTC),
            targets=one.targets,
            freeze=one.freeze,
            reason=one.reason,
        )
        for one in _ahead(context, query.days)
    )
    return answer(request, whole(Page[OccurrenceView], views))


@router.get(
    "/maintenance/calendar.ics",
    response_class=Response,
    responses={
        200: {"description": "iCalendar", "content": {"text/calendar": {"schema": {"type": "string"}}}}
    },
)
@_SEE
def calendar_out(context: Surface, query: Annotated[AheadQuery, Query()]) -> Response:
    """The same as a calendar that others can subscribe to."""
    data = to_ical(_ahead(context, query.days), context.service.cluster, context.now())
    return Response(data, media_type="text/calendar; charset=utf-8")


@router.get("/maintenance/calendars", response_model=Page[CalendarView])
@_SEE
def calendars(request: Request, context: Surface) -> Response:
    """Calendars as they were given."""
    return answer(
        request, whole(Page[CalendarView], (_view(context, one) for one in context.book.calendars()))
    )


@router.put("/maintenance/calendars/{name}", response_model=CalendarView, openapi_extra=_BODY)
@_ACT
async def put_calendar(request: Request, context: Surface, name: Name) -> Response:
    """Keep a calendar: `text/calendar`, with hosts and racks in LOCATION; or `text/plain`, a weekly window a line.

    The weekly form: `sat 02:00-04:00 Europe/Berlin on host0003, rack1`; without `on` it is a freeze of everything.
    """
    media = request.headers.get("content-type", "").split(";", 1)[0].strip().lower()
    kind = _TYPES.get(media)
    if kind is None:
        raise ProblemError(415, f"Content-Type: expected {' or '.join(_TYPES)}, found {media[:80]!r}")
    data = await request.body()

    def keep() -> Calendar:
        with context.act(request, "calendar.put", name) as by:
            return context.book.put(name, kind, data, by)

    kept = await asyncio.to_thread(keep)
    context.bus.publish("maintenance", {"calendar": name, "what": "put"})
    return answer(request, await asyncio.to_thread(_view, context, kept))


@router.delete("/maintenance/calendars/{name}", status_code=204, response_class=Response)
@_ACT
def remove_calendar(request: Request, context: Surface, name: Name) -> Response:
    """Forget a calendar and its windows."""
    if name not in (calendar.name for calendar in context.book.calendars()):
        raise ProblemError(404, f"calendar {name}: expected the name of one, there is none")
    with context.act(request, "calendar.remove", name):
        context.book.remove(name)
    context.bus.publish("maintenance", {"calendar": name, "what": "removed"})
    return Response(status_code=204)


def _ahead(context: Context, days: int) -> list[Occurrence]:
    """By the world's clock: a simulated cluster lives in another year."""
    snapshot = context.service.newest()
    now = context.now() if snapshot is None else datetime.fromtimestamp(snapshot.unix_s, UTC)
    return [
        one
        for one in context.book.between(now - timedelta(days=1), now + timedelta(days=days))
        if one.end > now
    ]


def _view(context: Context, calendar: Calendar) -> CalendarView:
    return CalendarView(
        name=calendar.name,
        kind=calendar.kind,
        added=calendar.added,
        added_by=calendar.added_by,
        text=calendar.text,
        unknown=_unknown(context, calendar),
    )


def _unknown(context: Context, calendar: Calendar) -> tuple[str, ...]:
    snapshot = context.service.newest()
    if snapshot is None:
        return ()
    now = datetime.fromtimestamp(snapshot.unix_s, UTC)
    try:
        said = {name for one in calendar.between(now, now + timedelta(days=366)) for name in one.targets}
    except (
        InputError
    ):  # it was read when it was put, and cannot be read any more: who looks for windows is told
        return ()
    known = {host.name for host in snapshot.inventory.hosts} | {
        host.rack for host in snapshot.inventory.hosts
    }
    return tuple(sorted(said - known))
