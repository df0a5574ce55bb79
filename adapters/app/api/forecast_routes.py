"""``/v1/forecasts``, ``anomalies``, ``hazards``, ``profiles``, ``history``."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from foreshade.adapters.app.api.answer import answer
from foreshade.adapters.app.api.context import Surface
from foreshade.adapters.app.api.forecast_views import forecast_view
from foreshade.adapters.app.api.guard import GuardedRoute, needs
from foreshade.adapters.app.api.inventory_routes import vm_slot
from foreshade.adapters.app.api.paging import PageQuery, page_of, whole
from foreshade.adapters.app.api.sight import ANOMALIES, Sight
from foreshade.adapters.auth.role import Role, Scope
from foreshade.adapters.control_models import Forecast
from foreshade.adapters.wire.forecast import (
    AnomalyView,
    ForecastView,
    HazardView,
    Moment,
    ProfileView,
    Resource,
    Spell,
    SubjectKind,
)
from foreshade.adapters.wire.value import Page
from foreshade.envs.catalogue import hypervisors

router = APIRouter(prefix="/v1", route_class=GuardedRoute, tags=["forecasts"])
_FORECASTS = needs(Role.VIEWER, Scope.FORECASTS)


class ForecastQuery(BaseModel):
    """Whose demand."""

    model_config = ConfigDict(extra="forbid")

    kind: SubjectKind = "cluster"
    name: Annotated[str, Field(max_length=200)] = ""  # not of the cluster
    resource: Resource = "cpu_mhz"


class VmForecastQuery(PageQuery):
    """Of which VMs; none = all."""

    vm: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=100)] = Field(default=[])
    resource: Resource = "cpu_mhz"


class HistoryQuery(BaseModel):
    """How far back."""

    model_config = ConfigDict(extra="forbid")

    ticks: Annotated[int, Field(ge=1, le=2016)] = 288


@router.get("/forecasts", response_model=ForecastView)
@_FORECASTS
async def forecasts(request: Request, context: Surface, query: Annotated[ForecastQuery, Query()]) -> Response:
    """Demand to come with intervals, over what was measured."""
    sight = context.sight
    return context.rendered.answer(
        request,
        sight,
        lambda: forecast_view(sight, context.recent, query.kind, query.name, query.resource),
    )


@router.get("/forecasts/vms", response_model=Page[Forecast])
@_FORECASTS
def vm_forecasts(request: Request, context: Surface, query: Annotated[VmForecastQuery, Query()]) -> Response:
    """Demand to come of each VM, in the order of the inventory."""
    sight = context.sight

    def view(slots: list[int]) -> list[Forecast]:
        return context.service.forecasts([sight.vm_names[v] for v in slots], query.resource)

    slots = sight.vm_slots
    if query.vm:
        slots = np.array(sorted({vm_slot(sight, name) for name in query.vm}), dtype=np.int64)
    return answer(request, page_of(slots, query, view, Page[Forecast]))


@router.get("/timeline", response_model=Page[Spell])
@_FORECASTS
def timeline(request: Request, context: Surface) -> Response:
    """Anomalies and windows of maintenance, by their begin."""
    return answer(request, whole(Page[Spell], context.timeline()))


@router.get("/anomalies", response_model=Page[AnomalyView])
@_FORECASTS
async def anomalies(request: Request, context: Surface, query: Annotated[PageQuery, Query()]) -> Response:
    """Hosts and VMs that behave strangely now."""
    sight = context.sight

    def make() -> Page[AnomalyView]:
        every = _anomalies(sight)
        return page_of(
            np.arange(len(every)), query, lambda slots: [every[k] for k in slots], Page[AnomalyView]
        )

    return context.rendered.answer(request, sight, make)


@router.get("/hazards", response_model=Page[HazardView])
@_FORECASTS
async def hazards(request: Request, context: Surface, query: Annotated[PageQuery, Query()]) -> Response:
    """How likely each host is to fail, in the order of the inventory."""
    sight = context.sight

    def view(slots: list[int]) -> list[HazardView]:
        c = sight.hosts
        return [
            HazardView(
                host=sight.host_names[h],
                per_h=float(c["hazard_per_h"][h]),
                confidence=float(c["hazard_confidence"][h]),
                anomaly=ANOMALIES[c["anomaly"][h]],
                vms=int(c["n_vms"][h]),
            )
            for h in slots
        ]

    return context.rendered.answer(
        request, sight, lambda: page_of(np.arange(len(sight.host_names)), query, view, Page[HazardView])
    )


@router.get("/profiles", response_model=Page[ProfileView])
@_FORECASTS
async def profiles(request: Request, context: Surface) -> Response:
    """Hypervisor profiles, and the hosts that have each."""
    sight = context.sight

    def make() -> Page[ProfileView]:
        names, known = sight.snapshot.site.hypervisors, hypervisors()
        views = [
            ProfileView(
                name=name,
                hosts=tuple(host for host, of in zip(sight.host_names, names, strict=False) if of == name),
                document=known[name].model_dump(mode="json") if name in known else {},
            )
            for name in sorted(set(names))
        ]
        return whole(Page[ProfileView], views)

    return context.rendered.answer(request, sight, make)


@router.get("/history", response_model=Page[Moment])
@_FORECASTS
async def history(request: Request, context: Surface, query: Annotated[HistoryQuery, Query()]) -> Response:
    """The latest ticks, the oldest first: decisions of HAM and rules, load, power and money beside no action."""
    return answer(request, whole(Page[Moment], context.recent.moments(query.ticks)))


def _anomalies(sight: Sight) -> list[AnomalyView]:
    hosts = np.flatnonzero(sight.hosts["anomaly"] != 0)
    vms = sight.vm_slots[sight.vms["anomaly"][sight.vm_slots] != 0]
    return [
        *(
            AnomalyView(
                kind="host", name=sight.host_names[h], label=ANOMALIES[sight.hosts["anomaly"][h]], p=None
            )
            for h in hosts.tolist()
        ),
        *(
            AnomalyView(
                kind="vm",
                name=sight.vm_names[v],
                label=ANOMALIES[sight.vms["anomaly"][v]],
                p=float(sight.vms["anomaly_p"][v]),
            )
            for v in vms.tolist()
        ),
    ]
