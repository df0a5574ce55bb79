"""``/v1/cluster``, ``racks``, ``hosts``, ``vms``, ``applications``, ``templates``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from foreshade.adapters.app.api.answer import answer
from foreshade.adapters.app.api.context import Surface
from foreshade.adapters.app.api.guard import GuardedRoute, needs
from foreshade.adapters.app.api.inventory_views import (
    application_views,
    cluster_view,
    heat_map,
    host_views,
    rack_views,
    vm_views,
)
from foreshade.adapters.app.api.paging import PageQuery, page_of, whole
from foreshade.adapters.app.api.problems import ProblemError
from foreshade.adapters.app.api.sight import ANOMALIES, HOST_STATES, VM_KINDS, VM_STATES, Sight
from foreshade.adapters.auth.role import Role, Scope
from foreshade.adapters.control_models import HostRecord
from foreshade.adapters.wire.inventory import (
    ApplicationView,
    ClusterView,
    HeatMap,
    HostView,
    RackView,
    TemplateView,
    VmView,
)
from foreshade.adapters.wire.value import Page
from foreshade.envs.templates.template import templates as all_templates

router = APIRouter(prefix="/v1", route_class=GuardedRoute, tags=["inventory"])
_INVENTORY = needs(Role.VIEWER, Scope.INVENTORY)
I64 = npt.NDArray[np.int64]
Found = TypeVar("Found")
Text = Annotated[str | None, Field(max_length=200)]


class HostQuery(PageQuery):
    """Filters of hosts; all must hold."""

    rack: Text = None
    zone: Text = None
    state: Literal[*HOST_STATES] | None = None  # type: ignore[valid-type]
    anomaly: Literal[*ANOMALIES] | None = None  # type: ignore[valid-type]
    name: Text = None  # a part of it
    rented: bool | None = None
    min_utilisation: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = (
        None  # CPU, share of capacity
    )
    max_utilisation: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None
    min_hazard_per_h: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None


class VmQuery(PageQuery):
    """Filters of VMs; all must hold."""

    host: Text = None
    application: Text = None
    state: Literal[*VM_STATES] | None = None  # type: ignore[valid-type]
    kind: Literal[*VM_KINDS] | None = None  # type: ignore[valid-type]
    anomaly: Literal[*ANOMALIES] | None = None  # type: ignore[valid-type]
    primary: Text = None  # shadows of this VM
    name: Text = None  # a part of it
    min_contention: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None


class ApplicationQuery(PageQuery):
    """Filters of applications."""

    name: Text = None


@router.get("/cluster", response_model=ClusterView)
@_INVENTORY
async def cluster(request: Request, context: Surface) -> Response:
    """The whole cluster at the last snapshot."""
    sight = context.sight
    return context.rendered.answer(request, sight, lambda: cluster_view(sight))


@router.get("/heatmap", response_model=HeatMap)
@_INVENTORY
async def heatmap(request: Request, context: Surface) -> Response:
    """Every host in a few numbers, rack by rack."""
    sight = context.sight
    return context.rendered.answer(request, sight, lambda: heat_map(sight))


@router.get("/racks", response_model=Page[RackView])
@_INVENTORY
async def racks(request: Request, context: Surface, query: Annotated[PageQuery, Query()]) -> Response:
    """Racks."""
    sight = context.sight

    def make() -> Page[RackView]:
        every = rack_views(sight)
        return page_of(np.arange(len(every)), query, lambda slots: [every[k] for k in slots], Page[RackView])

    return context.rendered.answer(request, sight, make)


@router.get("/racks/{name}", response_model=RackView)
@_INVENTORY
async def rack(request: Request, context: Surface, name: str) -> Response:
    """One rack."""
    sight = context.sight
    return context.rendered.answer(
        request, sight, lambda: _one("rack", name, [view for view in rack_views(sight) if view.name == name])
    )


@router.get("/hosts", response_model=Page[HostView])
@_INVENTORY
async def hosts(request: Request, context: Surface, query: Annotated[HostQuery, Query()]) -> Response:
    """Hosts that pass the filters."""
    sight = context.sight
    return context.rendered.answer(
        request,
        sight,
        lambda: page_of(_hosts(sight, query), query, lambda slots: host_views(sight, slots), Page[HostView]),
    )


@router.get("/hosts/{name}", response_model=HostView)
@_INVENTORY
async def host(request: Request, context: Surface, name: str) -> Response:
    """One host."""
    sight = context.sight
    return context.rendered.answer(request, sight, lambda: host_views(sight, [host_slot(sight, name)])[0])


@router.get("/host-database", response_model=Page[HostRecord])
@_INVENTORY
def host_database(request: Request, context: Surface, query: Annotated[PageQuery, Query()]) -> Response:
    """Every host: its capacity, what of it was in use over the last hour, the shadows on it."""
    _ = context.sight  # before the first tick there is nothing to answer
    rows = context.service.host_database()
    return answer(
        request,
        page_of(np.arange(len(rows)), query, lambda slots: [rows[k] for k in slots], Page[HostRecord]),
    )


@router.get("/vms", response_model=Page[VmView])
@_INVENTORY
async def vms(request: Request, context: Surface, query: Annotated[VmQuery, Query()]) -> Response:
    """VMs that pass the filters."""
    sight = context.sight
    return context.rendered.answer(
        request,
        sight,
        lambda: page_of(_vms(sight, query), query, lambda slots: vm_views(sight, slots), Page[VmView]),
    )


@router.get("/vms/{name}", response_model=VmView)
@_INVENTORY
async def vm(request: Request, context: Surface, name: str) -> Response:
    """One VM."""
    sight = context.sight
    return context.rendered.answer(request, sight, lambda: vm_views(sight, [vm_slot(sight, name)])[0])


@router.get("/applications", response_model=Page[ApplicationView])
@_INVENTORY
async def applications(
    request: Request, context: Surface, query: Annotated[ApplicationQuery, Query()]
) -> Response:
    """Applications that have VMs, with what these have and want."""
    sight = context.sight

    def make() -> Page[ApplicationView]:
        numbers = _named(sight.app_numbers, sight.inventory.apps, query.name)
        return page_of(numbers, query, lambda apps: application_views(sight, apps), Page[ApplicationView])

    return context.rendered.answer(request, sight, make)


@router.get("/applications/{name}", response_model=ApplicationView)
@_INVENTORY
async def application(request: Request, context: Surface, name: str) -> Response:
    """One application."""
    sight = context.sight

    def make() -> ApplicationView:
        found = [app for app in sight.app_numbers.tolist() if sight.app_name(app) == name]
        return application_views(sight, [_one("application", name, found)])[0]

    return context.rendered.answer(request, sight, make)


@router.get("/templates", response_model=Page[TemplateView])
@_INVENTORY
async def templates(request: Request, context: Surface) -> Response:
    """Templates that VMs are made from."""
    sight = context.sight
    return context.rendered.answer(request, sight, _templates)


@router.get("/templates/{name}", response_model=TemplateView)
@_INVENTORY
async def template(request: Request, context: Surface, name: str) -> Response:
    """One template."""
    sight = context.sight
    return context.rendered.answer(
        request, sight, lambda: _one("template", name, [t for t in _templates().items if t.name == name])
    )


def _templates() -> Page[TemplateView]:
    views = (
        TemplateView(
            name=said.name,
            application=said.application,
            version=said.version,
            document=said.model_dump(mode="json"),
        )
        for said in all_templates().values()
    )
    return whole(Page[TemplateView], views)


def host_slot(sight: Sight, name: str) -> int:
    """Slot of a host.

    Raises:
        ProblemError: there is none of that name.

    """
    slot = sight.inventory.host_slot.get(name)
    if slot is None:
        raise _absent("host", name)
    return slot


def vm_slot(sight: Sight, name: str) -> int:
    """Slot of a VM that is there.

    Raises:
        ProblemError: there is none of that name.

    """
    slot = sight.inventory.vm_slot.get(name)
    if slot is None or slot not in sight.vm_slots:
        raise _absent("vm", name)
    return slot


def _absent(what: str, name: str) -> ProblemError:
    return ProblemError(404, f"{what} {name[:100]!r}: expected the name of one, there is none")


def _one(what: str, name: str, found: Sequence[Found]) -> Found:
    if not found:
        raise _absent(what, name)
    return found[0]


def _hosts(sight: Sight, query: HostQuery) -> I64:
    c, inventory = sight.hosts, sight.inventory
    keep = np.ones(len(sight.host_names), bool)
    if query.rack is not None:
        keep &= c["rack"] == _number(inventory.racks, query.rack)
    if query.zone is not None:
        keep &= c["zone"] == _number(inventory.zones, query.zone)
    if query.state is not None:
        keep &= c["state"] == HOST_STATES.index(query.state)
    if query.anomaly is not None:
        keep &= c["anomaly"] == ANOMALIES.index(query.anomaly)
    if query.rented is not None:
        keep &= sight.rented == query.rented
    if query.min_utilisation is not None:
        keep &= sight.host_utilisation[:, 0] >= query.min_utilisation
    if query.max_utilisation is not None:
        keep &= sight.host_utilisation[:, 0] <= query.max_utilisation
    if query.min_hazard_per_h is not None:
        keep &= c["hazard_per_h"] >= query.min_hazard_per_h
    return _named(np.flatnonzero(keep), sight.host_names, query.name)


def _vms(sight: Sight, query: VmQuery) -> I64:
    c, inventory, slots = sight.vms, sight.inventory, sight.vm_slots
    keep = np.ones(len(slots), bool)
    if query.host is not None:
        keep &= c["host"][slots] == inventory.host_slot.get(query.host, -2)
    if query.application is not None:
        keep &= c["app"][slots] == _number(inventory.apps, query.application)
    if query.state is not None:
        keep &= sight.vm_states[slots] == VM_STATES.index(query.state)
    if query.kind is not None:
        keep &= c["kind"][slots] == VM_KINDS.index(query.kind)
    if query.anomaly is not None:
        keep &= c["anomaly"][slots] == ANOMALIES.index(query.anomaly)
    if query.primary is not None:
        keep &= c["primary"][slots] == inventory.vm_slot.get(query.primary, -2)
    if query.min_contention is not None:
        keep &= c["contention"][slots] >= query.min_contention
    return _named(slots[keep], sight.vm_names, query.name)


def _number(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else -2


def _named(slots: I64, names: Sequence[str], part: str | None) -> I64:
    if part is None:
        return slots
    return np.array([k for k in slots.tolist() if part in names[k]], dtype=np.int64)
