"""Shadows and the traffic that they take, and hosts that a cloud rents us."""

from __future__ import annotations

from foreshade.adapters.wire.value import Value


class ShadowView(Value):
    """A warm clone of a VM and what it takes of its application's traffic."""

    name: str
    primary: str | None
    application: str
    host: str | None
    state: str
    weight: float
    primary_weight: float | None
    share: float  # of the traffic that the two have together


class Member(Value):
    """One VM in its application's traffic."""

    vm: str
    kind: str
    host: str | None
    weight: float
    share: float  # of all of the application's traffic


class TrafficView(Value):
    """How an application's load is spread."""

    application: str
    members: tuple[Member, ...]


class RentedView(Value):
    """A host of a cloud."""

    host: str
    state: str
    paid: bool
    price_usd_h: float
    vms: int
    since_s: float


class RentalView(Value):
    """All that is rented or could be."""

    usd_h: float  # of what is paid for now
    hosts: tuple[RentedView, ...]
