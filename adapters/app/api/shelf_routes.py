"""``/v1/rules`` and ``/v1/policies``: list, upload, verify, activate, roll back."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from foreshade.adapters.app.api.answer import answer
from foreshade.adapters.app.api.context import Context, Surface
from foreshade.adapters.app.api.guard import GuardedRoute, needs
from foreshade.adapters.app.api.paging import whole
from foreshade.adapters.app.api.problems import ProblemError
from foreshade.adapters.auth.role import Role, Scope
from foreshade.adapters.store.shelf import Activation, Artefact, ArtefactKind
from foreshade.adapters.wire.acting import ActivationView, ArtefactView, Verified, Why
from foreshade.adapters.wire.value import Page
from foreshade.envs.errors import ForeshadeError

router = APIRouter(prefix="/v1", route_class=GuardedRoute, tags=["rules"])
_SEE = needs(Role.VIEWER, Scope.RULES)
_RULE = needs(Role.ADMIN, Scope.RULES)

Name = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


def _body(media_type: str) -> dict[str, Any]:
    schema = {"type": "string", "format": "binary", "minLength": 1}
    return {"requestBody": {"required": True, "content": {media_type: {"schema": schema}}}}


async def put_rules(request: Request, context: Surface, name: Name) -> Response:
    """Keep rules, YAML as in `agents/rules/rules.yaml`, once they verify; they are not activated."""
    return await _put(request, context, "rules", name)


async def put_policy(request: Request, context: Surface, name: Name) -> Response:
    """Keep a frozen policy, a zip of its folder's files, once it verifies; it is not activated."""
    return await _put(request, context, "policy", name)


def _shelf(shelf: str, kind: ArtefactKind) -> None:
    """The routes of one shelf."""

    def artefacts(request: Request, context: Surface) -> Response:
        """Everything that can be activated; `shipped` comes with the package."""
        active = context.shelf.active(kind)
        views = (_artefact(found, active) for found in context.shelf.artefacts(kind))
        return answer(request, whole(Page[ArtefactView], views))

    def activations(request: Request, context: Surface) -> Response:
        """What was in force, the newest first."""
        return answer(request, whole(Page[ActivationView], map(_activation, context.shelf.history(kind))))

    def verify(request: Request, context: Surface, name: Name) -> Response:
        """Check its hash and content once more."""
        _there(context, kind, name)
        try:
            about, error = context.shelf.verify(kind, name), ""
        except ForeshadeError as failure:
            about, error = {}, str(failure)
        return answer(request, Verified(name=name, verified=not error, error=error, about=about))

    def activate(request: Request, context: Surface, name: Name, why: Why) -> Response:
        """Put it in force from the next tick on; it is verified first."""
        _there(context, kind, name)
        if why.dry_run:
            return answer(request, _activation(context.shelf.would_activate(kind, name, "")))
        with context.act(request, f"{kind}.activate", name, why) as by:
            done = context.shelf.activate(kind, name, by)
        context.bus.publish("policy", {"kind": kind, "name": name, "by": by, "reason": why.reason})
        return answer(request, _activation(done))

    def roll_back(request: Request, context: Surface, why: Why) -> Response:
        """Go back to what was in force before."""
        with context.act(request, f"{kind}.rollback", kind, why) as by:
            done = context.shelf.roll_back(kind, by)
        context.bus.publish("policy", {"kind": kind, "name": done.name, "by": by, "reason": why.reason})
        return answer(request, _activation(done))

    router.get(f"/{shelf}", response_model=Page[ArtefactView])(_SEE(artefacts))
    router.get(f"/{shelf}/activations", response_model=Page[ActivationView])(_SEE(activations))
    router.post(f"/{shelf}/{{name}}/verify", response_model=Verified)(_SEE(verify))
    router.post(f"/{shelf}/{{name}}/activate", response_model=ActivationView)(_RULE(activate))
    router.post(f"/{shelf}/rollback", response_model=ActivationView)(_RULE(roll_back))


async def _put(request: Request, context: Context, kind: ArtefactKind, name: str) -> Response:
    data = await request.body()
    if not data:
        raise ProblemError(422, "body: expected the content, found nothing")

    def keep() -> Artefact:
        with context.act(request, f"{kind}.put", name) as by:
            return context.shelf.put(kind, name, data, by)

    kept = await asyncio.to_thread(keep)
    return answer(request, _artefact(kept, ""), 201)


def _there(context: Context, kind: ArtefactKind, name: str) -> None:
    if name not in (found.name for found in context.shelf.artefacts(kind)):
        raise ProblemError(404, f"{kind} {name}: expected a name on the shelf, there is none")


def _artefact(found: Artefact, active: str) -> ArtefactView:
    return ArtefactView(
        name=found.name,
        sha256=found.sha256,
        added=found.added,
        added_by=found.added_by,
        active=found.name == active,
        about=found.about,
    )


def _activation(done: Activation) -> ActivationView:
    return ActivationView(number=done.number, name=done.name, sha256=done.sha256, at=done.at, by=done.by)


for _path, _of, _upload, _type in (
    ("rules", "rules", put_rules, "application/yaml"),
    ("policies", "policy", put_policy, "application/zip"),
):
    _shelf(_path, _of)  # type: ignore[arg-type]
    router.put(
        f"/{_path}/{{name}}", response_model=ArtefactView, status_code=201, openapi_extra=_body(_type)
    )(_RULE(_upload))
