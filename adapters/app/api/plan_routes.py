"""``/v1/status``, ``plans``, ``candidates``, ``mode``, ``pause``, ``resume``, ``hosts/NAME/drain``."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from foreshade.adapters.app.api.answer import answer, etag_of
from foreshade.adapters.app.api.context import Context, Surface
from foreshade.adapters.app.api.guard import GuardedRoute, needs
from foreshade.adapters.app.api.paging import bad_cursor, read_word, write_cursor
from foreshade.adapters.app.api.problems import ProblemError
from foreshade.adapters.app.control_simulate import simulate_plan
from foreshade.adapters.auth.role import Role, Scope
from foreshade.adapters.control_models import Explanation, Plan, Said, Simulated, Status
from foreshade.adapters.wire.acting import ModeChange, Why
from foreshade.adapters.wire.value import Page
from foreshade.agents.plan import Mode, PlanState
from foreshade.envs.errors import PlanError

router = APIRouter(prefix="/v1", route_class=GuardedRoute, tags=["plans"])
_SEE = needs(Role.VIEWER, Scope.PLANS)
_ACT = needs(Role.OPERATOR, Scope.PLANS)
_RULE = needs(Role.ADMIN, Scope.PLANS)

PlanId = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
HostName = Annotated[str, Path(min_length=1, max_length=200)]
IfMatch = Annotated[str | None, Header(max_length=100)]


class PlanQuery(BaseModel):
    """Filters of plans."""

    model_config = ConfigDict(extra="forbid")

    state: Annotated[list[Literal[*(s.value for s in PlanState)]], Field(max_length=10)] = []  # type: ignore[valid-type]
    refused: bool = True  # whether actions that the guard refused are in it: there can be thousands in a plan
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Annotated[str | None, Field(max_length=100)] = None


class SimulateQuery(BaseModel):
    """How long."""

    model_config = ConfigDict(extra="forbid")

    ticks: Annotated[int, Field(ge=1, le=288)] = 12


@router.get("/status", response_model=Status)
@_SEE
def status(request: Request, context: Surface) -> Response:
    """How the controller and its cluster are."""
    return answer(request, context.service.status())


@router.get("/plans", response_model=Page[Plan])
@_SEE
def plans(request: Request, context: Surface, query: Annotated[PlanQuery, Query()]) -> Response:
    """Plans, the newest first."""
    states = [PlanState(word) for word in query.state]
    before = None if query.cursor is None else read_word(query.cursor, "plan")
    try:
        found = context.service.plans(query.limit + 1, states, before, refused=query.refused)
    except PlanError:  # the cursor names a plan that there is not
        raise bad_cursor() from None
    here = tuple(found[: query.limit])
    more = len(found) > query.limit
    return answer(
        request,
        Page[Plan].model_construct(
            items=here,
            total=context.service.count_plans(states),
            next=write_cursor(here[-1].id, "plan") if more else None,
        ),
    )


@router.get("/plans/{plan_id}", response_model=Plan)
@_SEE
def plan(request: Request, context: Surface, plan_id: PlanId) -> Response:
    """One plan with all its actions."""
    return answer(request, _plan(context, plan_id))


@router.get("/plans/{plan_id}/explanation", response_model=Explanation)
@_SEE
def explanation(request: Request, context: Surface, plan_id: PlanId) -> Response:
    """Why it is as it is: every decision with every candidate, its score terms and why it lost."""
    _plan(context, plan_id)
    return answer(request, context.service.explain(plan_id))


@router.get("/candidates", response_model=Explanation | None)
@_SEE
def candidates(request: Request, context: Surface) -> Response:
    """Candidates of the newest plan; null where there is none yet."""
    newest = context.service.plans(1)
    if not newest:
        return Response(b"null", media_type="application/json")
    return answer(request, context.service.explain(newest[0].id))


@router.post("/plans/{plan_id}/approve", response_model=Said)
@_ACT
def approve(
    request: Request, context: Surface, plan_id: PlanId, why: Why, if_match: IfMatch = None
) -> Response:
    """A recommended plan may be carried out; the controller checks it again and begins within a second or so."""
    _unchanged(context, plan_id, if_match)
    with context.act(request, "plan.approve", plan_id, why) as by:
        return answer(request, context.service.approve(plan_id, by, dry_run=why.dry_run))


@router.post("/plans/{plan_id}/apply", response_model=Said)
@_ACT
def apply(
    request: Request, context: Surface, plan_id: PlanId, why: Why, if_match: IfMatch = None
) -> Response:
    """Approve where that is still to be done, so that it is carried out now."""
    _unchanged(context, plan_id, if_match)
    with context.act(request, "plan.apply", plan_id, why) as by:
        return answer(request, context.service.apply(plan_id, by, dry_run=why.dry_run))


@router.post("/plans/{plan_id}/cancel", response_model=Said)
@_ACT
def cancel(
    request: Request, context: Surface, plan_id: PlanId, why: Why, if_match: IfMatch = None
) -> Response:
    """What was not begun is not begun any more; what is under way is seen to its end."""
    _unchanged(context, plan_id, if_match)
    with context.act(request, "plan.cancel", plan_id, why) as by:
        return answer(request, context.service.cancel(plan_id, by, why.reason, dry_run=why.dry_run))


@router.post("/plans/{plan_id}/simulate", response_model=Simulated)
@_ACT
def simulate(
    request: Request, context: Surface, plan_id: PlanId, query: Annotated[SimulateQuery, Query()]
) -> Response:
    """Run the newest snapshot forward in the simulator, with the plan and without it; nothing is touched."""
    _plan(context, plan_id)
    with context.simulating():
        return answer(request, simulate_plan(context.service, plan_id, query.ticks))


@router.put("/mode", response_model=Said)
@_RULE
def mode(request: Request, context: Surface, change: ModeChange) -> Response:
    """How far the controller goes by itself, from its next tick: observe, advise or auto."""
    with context.act(request, "mode.set", change.mode, change) as by:
        return answer(request, context.service.set_mode(Mode(change.mode), by, dry_run=change.dry_run))


@router.post("/pause", response_model=Said)
@_ACT
def pause(request: Request, context: Surface, why: Why) -> Response:
    """Nothing is begun from now on; what is under way is seen to its end."""
    with context.act(request, "pause", "", why) as by:
        return answer(request, context.service.pause(by, why.reason, dry_run=why.dry_run))


@router.post("/resume", response_model=Said)
@_ACT
def resume(request: Request, context: Surface, why: Why) -> Response:
    """The controller goes on."""
    with context.act(request, "resume", "", why) as by:
        return answer(request, context.service.resume(by, dry_run=why.dry_run))


@router.post("/hosts/{name}/drain", response_model=Said)
@_ACT
def drain(request: Request, context: Surface, name: HostName, why: Why) -> Response:
    """Empty a host from the next tick on, and keep it empty."""
    return _drain(request, context, name, why, undo=False)


@router.post("/hosts/{name}/undrain", response_model=Said)
@_ACT
def undrain(request: Request, context: Surface, name: HostName, why: Why) -> Response:
    """Let a host be filled again."""
    return _drain(request, context, name, why, undo=True)


def _drain(request: Request, context: Context, name: str, why: Why, *, undo: bool) -> Response:
    if name not in context.sight.inventory.host_slot:
        raise ProblemError(404, f"host {name[:100]!r}: expected the name of one, there is none")
    with context.act(request, "host.undrain" if undo else "host.drain", name, why) as by:
        return answer(request, context.service.drain(name, by, undo=undo, dry_run=why.dry_run))


def _plan(context: Context, plan_id: str) -> Plan:
    try:
        found: Plan = context.service.plan(plan_id)
    except PlanError as error:
        raise ProblemError(404, str(error)) from error
    return found


def _unchanged(context: Context, plan_id: str, if_match: str | None) -> None:
    """Refuse where the plan is no longer the one that the client looked at."""
    found = _plan(context, plan_id)
    if if_match is not None and if_match.strip() not in ("*", etag_of(found.model_dump_json().encode())):
        raise ProblemError(412, f"plan {plan_id}: it is {found.state} and not what you looked at any more")
