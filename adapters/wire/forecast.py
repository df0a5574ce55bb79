"""Forecasts with their intervals, anomalies, hazards, profiles of hypervisors, and the ticks behind us."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from foreshade.adapters.wire.value import Value

Resource = Literal["cpu_mhz", "memory_mib", "disk_mib_s", "network_mbit_s"]
SubjectKind = Literal["vm", "application", "host", "rack", "zone", "cluster"]


class Band(Value):
    """What is expected at one horizon."""

    horizon_s: float
    mean: float
    quantiles: Mapping[str, float]  # by level: "0.1", "0.5", "0.9", …


class ForecastView(Value):
    """Demand to come of one subject and resource, over what was measured."""

    kind: SubjectKind
    name: str
    resource: Resource
    tick: int
    time: datetime  # that horizons count from
    method: Literal["quantiles", "normal"]  # kept quantiles, or mean and deviation of a sum of VMs
    bands: tuple[Band, ...]
    measured: tuple[tuple[datetime, float], ...]  # the ticks before, the oldest first
    capacity: float | None = None  # of a host, rack or the cluster


class AnomalyView(Value):
    """A host or VM that behaves strangely now."""

    kind: Literal["host", "vm"]
    name: str
    label: str
    p: float | None  # conformal p-value of the newest sample; null of hosts


class HazardView(Value):
    """How likely a host is to fail."""

    host: str
    per_h: float
    confidence: float
    anomaly: str
    vms: int


class ProfileView(Value):
    """What one hypervisor is good at, declared and measured."""

    name: str
    hosts: tuple[str, ...]
    document: Mapping[str, Any]


class Chosen(Value):
    """What one decision maker would have done in a tick."""

    by: str
    actions: Mapping[str, int]
    gain_usd: float
    transition_usd: float
    doubts: Mapping[str, int]
    error: str


class Moment(Value):
    """One tick behind us, as the page draws it."""

    tick: int
    time: datetime
    mode: str
    paused: bool
    idle: str  # why nothing was decided; "" = it was
    by: str  # whose plan it is
    why: str  # why not HAM's
    agreement: float
    choices: tuple[Chosen, ...]
    plans: tuple[str, ...]
    refused: Mapping[str, int]
    seconds: Mapping[str, float]
    cost_usd: Mapping[str, float]  # of the interval before, by term
    settled: Mapping[str, int] = {}  # what was under way or left by a crash, by outcome
    hosts_on: int | None = None  # from here on null where another process saw the tick
    vms: int | None = None
    anomalies: int | None = None
    cpu_demand_mhz: float | None = None
    cpu_capacity_mhz: float | None = None
    power_w: float | None = None  # reckoned alike in both
    no_action_power_w: float | None = None
    usd_h: float | None = None
    no_action_usd_h: float | None = None


class Spell(Value):
    """Something with a begin and mostly an end."""

    kind: Literal["anomaly", "maintenance", "freeze"]
    of: Literal["host", "vm", "rack", "cluster"]
    name: str
    label: str
    start: datetime
    end: datetime | None  # null = it goes on
