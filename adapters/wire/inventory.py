"""Clusters, racks, hosts, VMs, applications, templates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from foreshade.adapters.control_models import Amounts
from foreshade.adapters.wire.value import Value


class ClusterView(Value):
    """The whole at one instant."""

    name: str
    world: str  # what stands behind it: simulated, libvirt
    tick: int
    tick_s: float
    time: datetime  # of the snapshot, by the world's clock
    racks: int
    hosts: int
    hosts_by_state: Mapping[str, int]
    vms: int
    vms_by_state: Mapping[str, int]
    vms_by_kind: Mapping[str, int]
    applications: int
    capacity: Amounts  # of hosts that are on
    allocated: Amounts
    usage: Amounts
    power_w: float
    oldest_sample_s: float  # age of the oldest sample of what runs


class RackView(Value):
    """A rack."""

    name: str
    zone: str
    hosts: int
    hosts_by_state: Mapping[str, int]
    vms: int
    capacity: Amounts
    usage: Amounts
    power_w: float  # of its hosts


class HostView(Value):
    """A physical server, or one that a cloud rents us."""

    name: str
    rack: str
    zone: str
    state: str
    rented: bool
    vms: int
    arriving: int
    capacity: Amounts
    allocated: Amounts
    usage: Amounts
    utilisation: float  # CPU, of capacity
    contention: float  # the worst of its resources
    power_w: float
    price_usd_h: float
    hazard_per_h: float
    hazard_confidence: float
    anomaly: str
    since_s: float  # in this state
    age_s: float | None  # of its newest sample; null = it has none


class VmView(Value):
    """A guest."""

    name: str
    application: str
    kind: str
    state: str
    host: str | None
    destination: str | None  # where it migrates to
    primary: str | None  # of a shadow
    flavour: Amounts
    allocation: Amounts
    usage: Amounts
    demand: Amounts  # as estimated
    contention: float
    weight: float  # in its application's traffic
    credit: float  # price of its unmet demand, a factor
    anomaly: str
    anomaly_p: float
    since_move_s: float | None  # null = it never moved
    age_s: float | None


class ApplicationView(Value):
    """VMs that serve one load together."""

    name: str
    vms: int
    shadows: int
    microvms: int
    allocation: Amounts
    usage: Amounts
    demand: Amounts


class TemplateView(Value):
    """A pre-configured VM of an application's type."""

    name: str
    application: str
    version: str
    document: Mapping[str, Any]  # all that it says


class HeatHost(Value):
    """A host on the map: as little as a picture needs."""

    name: str
    state: str
    cpu: float  # utilisation
    memory: float
    vms: int
    anomaly: str
    hazard: float


class HeatRack(Value):
    """A rack on the map."""

    name: str
    zone: str
    hosts: tuple[HeatHost, ...]


class HeatMap(Value):
    """Every rack with its hosts."""

    tick: int
    time: datetime
    racks: tuple[HeatRack, ...]
