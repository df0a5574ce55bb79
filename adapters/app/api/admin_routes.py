"""``/v1/whoami``, ``tokens``, ``audit``, ``webhooks``, ``openapi.json``."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from foreshade.adapters.app.api.answer import answer
from foreshade.adapters.app.api.context import Surface
from foreshade.adapters.app.api.guard import GuardedRoute, needs
from foreshade.adapters.app.api.paging import read_cursor, whole, write_cursor
from foreshade.adapters.app.api.problems import ProblemError
from foreshade.adapters.audit.chain import Entry
from foreshade.adapters.auth.role import Principal, Role, Scope
from foreshade.adapters.auth.token import TokenRecord, mint, span
from foreshade.adapters.wire.acting import (
    AuditEntry,
    AuditVerdict,
    TokenMade,
    TokenRequest,
    TokenView,
    WebhookView,
    Whoami,
)
from foreshade.adapters.wire.value import Page

router = APIRouter(prefix="/v1", route_class=GuardedRoute, tags=["admin"])
TokenId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]


class AuditQuery(BaseModel):
    """Which entries."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    cursor: Annotated[str | None, Field(max_length=64)] = None


class VerifyQuery(BaseModel):
    """What the chain must contain."""

    model_config = ConfigDict(extra="forbid")

    head: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""  # a hash noted elsewhere; "" = not asked


@router.get("/whoami", response_model=Whoami)
@needs(Role.VIEWER, Scope.EVENTS)
async def whoami(request: Request) -> Response:
    """Who the token says that you are."""
    who: Principal = request.state.principal
    scopes = None if who.scopes is None else tuple(sorted(who.scopes))
    return answer(
        request, Whoami.model_construct(name=who.name, role=who.role.word, scopes=scopes, by=who.by)
    )


@router.get("/openapi.json", response_class=JSONResponse)
@needs(Role.VIEWER, Scope.INVENTORY)
async def openapi(request: Request) -> Response:
    """The OpenAPI document that you are reading."""
    return JSONResponse(request.app.openapi())


@router.get("/tokens", response_model=Page[TokenView])
@needs(Role.ADMIN, Scope.TOKENS)
def tokens(request: Request, context: Surface) -> Response:
    """Every token, without its secret."""
    return answer(request, whole(Page[TokenView], map(_token, context.tokens.all())))


@router.post("/tokens", response_model=TokenMade, status_code=201)
@needs(Role.ADMIN, Scope.TOKENS)
def create_token(request: Request, context: Surface, said: TokenRequest) -> Response:
    """A new token; its text is in this answer and nowhere else."""
    role = Role.of(said.role)
    scopes = None if said.scopes is None else frozenset(Scope(scope) for scope in said.scopes)
    who: Principal = request.state.principal
    if who.scopes is not None and (scopes is None or not scopes <= who.scopes):
        raise ProblemError(403, "scopes: expected no more than your own token has")
    text, record = mint(said.name, role, span(said.lifetime), context.now(), scopes)
    context.record(request, "token.create", record.id, detail={"name": said.name, "role": said.role})
    context.tokens.add(record)
    return answer(request, TokenMade(token=text, record=_token(record)), 201)


@router.delete("/tokens/{token_id}", response_model=TokenView)
@needs(Role.ADMIN, Scope.TOKENS)
def revoke_token(request: Request, context: Surface, token_id: TokenId) -> Response:
    """End a token now; other controllers take it for five seconds more at most."""
    if context.tokens.get(token_id) is None:
        raise ProblemError(404, f"token {token_id}: expected the id of one, there is none")
    context.record(request, "token.revoke", token_id)
    context.tokens.revoke(token_id, context.now())
    context.known.forget()
    record = context.tokens.get(token_id)
    assert record is not None  # noqa: S101  records are never removed
    return answer(request, _token(record))


@router.get("/audit", response_model=Page[AuditEntry])
@needs(Role.ADMIN, Scope.AUDIT)
def audit(request: Request, context: Surface, query: Annotated[AuditQuery, Query()]) -> Response:
    """Who did what, the oldest first."""
    after = 0 if query.cursor is None else read_cursor(query.cursor)
    found = context.audit.page(after, query.limit + 1)
    here = found[: query.limit]
    last = context.audit.last()
    return answer(
        request,
        Page[AuditEntry].model_construct(
            items=tuple(map(_entry, here)),
            total=last.seq if last is not None else 0,
            next=write_cursor(here[-1].seq) if len(found) > query.limit else None,
        ),
    )


@router.get("/audit/verify", response_model=AuditVerdict)
@needs(Role.ADMIN, Scope.AUDIT)
def verify_audit(request: Request, context: Surface, query: Annotated[VerifyQuery, Query()]) -> Response:
    """Read the whole chain, and say where it breaks."""
    found = context.audit.verify(query.head)
    return answer(
        request,
        AuditVerdict(whole=not found.error, entries=found.entries, head=found.head, error=found.error),
    )


@router.get("/webhooks", response_model=Page[WebhookView])
@needs(Role.ADMIN, Scope.EVENTS)
async def webhooks(request: Request, context: Surface) -> Response:
    """Receivers of events, as configured, and how they fare."""
    views = []
    for hook in context.webhooks:
        fares = hook.delivered
        views.append(
            WebhookView(
                name=hook.config.name,
                url=hook.config.url.split("?", 1)[0],  # a query may hold a secret
                events=hook.config.events,
                sent=fares.sent,
                given_up=fares.given_up,
                waiting=fares.waiting,
                last_error=fares.last_error,
            )
        )
    return answer(request, whole(Page[WebhookView], views))


def _token(record: TokenRecord) -> TokenView:
    return TokenView.model_construct(
        id=record.id,
        name=record.name,
        role=record.role.word,
        scopes=None if record.scopes is None else tuple(sorted(record.scopes)),
        created=record.created,
        expires=record.expires,
        revoked=record.revoked,
    )


def _entry(entry: Entry) -> AuditEntry:
    act = entry.act
    return AuditEntry.model_construct(
        seq=entry.seq,
        time=act.time.astimezone(UTC),
        actor=act.actor,
        role=act.role,
        action=act.action,
        target=act.target,
        outcome=act.outcome,
        request=act.request,
        detail=act.detail or {},
        previous=entry.previous,
        hash=entry.hash,
    )
