"""``/v1/shadows``, ``traffic``, ``rental``."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from foreshade.adapters.app.api.context import Surface
from foreshade.adapters.app.api.guard import GuardedRoute, needs
from foreshade.adapters.app.api.paging import PageQuery, page_of
from foreshade.adapters.app.api.sight import HOST_STATES, VM_KINDS, VM_STATES, Sight
from foreshade.adapters.auth.role import Role, Scope
from foreshade.adapters.wire.traffic import Member, RentalView, RentedView, ShadowView, TrafficView
from foreshade.adapters.wire.value import Page
from foreshade.envs.model.state import HostState, VmKind

router = APIRouter(prefix="/v1", route_class=GuardedRoute, tags=["traffic"])


class TrafficQuery(PageQuery):
    """Whose traffic."""

    application: Annotated[str | None, Field(max_length=200)] = None
    shadowed: bool = False  # only applications that have a shadow or a micro-VM


@router.get("/shadows", response_model=Page[ShadowView])
@needs(Role.VIEWER, Scope.INVENTORY)
async def shadows(request: Request, context: Surface, query: Annotated[PageQuery, Query()]) -> Response:
    """Shadows, and what they take of their application's traffic."""
    sight = context.sight

    def make() -> Page[ShadowView]:
        kinds = sight.vms["kind"][sight.vm_slots]
        slots = sight.vm_slots[kinds == int(VmKind.SHADOW)]
        return page_of(slots, query, lambda rows: [_shadow(sight, v) for v in rows], Page[ShadowView])

    return context.rendered.answer(request, sight, make)


@router.get("/traffic", response_model=Page[TrafficView])
@needs(Role.VIEWER, Scope.INVENTORY)
async def traffic(request: Request, context: Surface, query: Annotated[TrafficQuery, Query()]) -> Response:
    """How each application's load is spread over its VMs."""
    sight = context.sight

    def make() -> Page[TrafficView]:
        slots, vms = sight.app_numbers, sight.vms
        if query.application is not None:
            slots = np.array([k for k in slots.tolist() if sight.app_name(k) == query.application], np.int64)
        if query.shadowed:
            helpers = sight.vm_slots[vms["kind"][sight.vm_slots] != int(VmKind.PRODUCTION)]
            slots = slots[np.isin(slots, vms["app"][helpers])]
        return page_of(slots, query, lambda apps: [_traffic(sight, app) for app in apps], Page[TrafficView])

    return context.rendered.answer(request, sight, make)


@router.get("/rental", response_model=RentalView)
@needs(Role.VIEWER, Scope.INVENTORY)
async def rental(request: Request, context: Surface) -> Response:
    """Hosts that a cloud rents us, and what they cost now."""
    sight = context.sight

    def make() -> RentalView:
        c = sight.hosts
        views = []
        for h in np.flatnonzero(sight.rented).tolist():
            state = HostState(int(c["state"][h]))
            views.append(
                RentedView(
                    host=sight.host_names[h],
                    state=HOST_STATES[state],
                    paid=state not in (HostState.UNRENTED, HostState.RENTING),
                    price_usd_h=float(c["price_usd_h"][h]),
                    vms=int(c["n_vms"][h]),
                    since_s=float(c["since_s"][h]),
                )
            )
        return RentalView(usd_h=sum(v.price_usd_h for v in views if v.paid), hosts=tuple(views))

    return context.rendered.answer(request, sight, make)


def _shadow(sight: Sight, v: int) -> ShadowView:
    c = sight.vms
    primary = int(c["primary"][v])
    mine, theirs = float(c["weight"][v]), float(c["weight"][primary]) if primary >= 0 else None
    both = mine + (theirs or 0.0)
    return ShadowView(
        name=sight.vm_names[v],
        primary=sight.vm_name(primary),
        application=sight.app_name(int(c["app"][v])),
        host=sight.host_name(int(c["host"][v])),
        state=VM_STATES[sight.vm_states[v]],
        weight=mine,
        primary_weight=theirs,
        share=round(mine / both, 6) if both > 0.0 else 0.0,
    )


def _traffic(sight: Sight, app: int) -> TrafficView:
    c = sight.vms
    slots = sight.vm_slots[c["app"][sight.vm_slots] == app]
    whole = float(c["weight"][slots].sum())
    return TrafficView(
        application=sight.app_name(app),
        members=tuple(
            Member(
                vm=sight.vm_names[v],
                kind=VM_KINDS[c["kind"][v]],
                host=sight.host_name(int(c["host"][v])),
                weight=float(c["weight"][v]),
                share=round(float(c["weight"][v]) / whole, 6) if whole > 0.0 else 0.0,
            )
            for v in slots.tolist()
        ),
    )
