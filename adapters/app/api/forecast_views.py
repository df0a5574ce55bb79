"""Forecasts of VMs and of sums of them, with intervals, from the columns of one sight."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from foreshade.adapters.app.api.inventory_views import time_of
from foreshade.adapters.app.api.problems import ProblemError
from foreshade.adapters.app.api.recent import Recent
from foreshade.adapters.app.api.sight import Sight
from foreshade.adapters.wire.forecast import Band, ForecastView, Resource, SubjectKind
from foreshade.envs.forecast.forecaster import LEVELS
from foreshade.envs.model.state import VmState

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
RESOURCES: tuple[Resource, ...] = ("cpu_mhz", "memory_mib", "disk_mib_s", "network_mbit_s")
_MEMORY = 1
_Z = {level: NormalDist().inv_cdf(level) for level in LEVELS}


def forecast_view(
    sight: Sight, recent: Recent, kind: SubjectKind, name: str, resource: Resource
) -> ForecastView:
    """What one subject is expected to want.

    A row of the forecast table is one load, which the VMs of an application share by traffic, so that those of one
    row are added as they are; rows are taken as independent, as in the tree of sums (docs/forecasting.md).

    Raises:
        ProblemError: there is no such subject, or the state shows no forecast.

    """
    r = RESOURCES.index(resource)
    vms, hosts = _members(sight, kind, name)
    columns = sight.snapshot.forecasts
    horizons = columns["horizons"]
    bands: list[Band] = []
    method = "normal"
    if len(horizons) and columns["moments"].size:
        rows, weights = _weights(sight, vms, r)
        kept = columns["quantiles"]
        if kind in ("vm", "application") and len(rows) == 1 and len(kept):
            method = "quantiles"
            values = kept[rows[0], r].astype(np.float64) * weights[0]
            levels = [f"{level:g}" for level in np.round(columns["levels"].astype(np.float64), 4).tolist()]
        else:
            levels, values = [f"{level:g}" for level in LEVELS], None
        mean = columns["moments"][:, rows, r, 0].astype(np.float64) @ weights
        deviation = np.sqrt((columns["moments"][:, rows, r, 1].astype(np.float64) ** 2) @ weights**2)
        for h, ticks in enumerate(horizons.tolist()):
            amounts = (
                [max(mean[h] + z * deviation[h], 0.0) for z in _Z.values()] if values is None else values[h]
            )
            bands.append(
                Band(
                    horizon_s=ticks * sight.tick_s,
                    mean=round(float(mean[h]), 3),
                    quantiles={level: round(float(a), 3) for level, a in zip(levels, amounts, strict=True)},
                )
            )
    if kind == "vm":
        measured = recent.of_vm(int(vms[0]), int(sight.vms["birth"][vms[0]]), r)
    elif kind == "application":
        measured = recent.of_app(int(sight.vms["app"][vms[0]]) if vms.size else -1, r)
    else:
        measured = recent.of_hosts(hosts.tolist(), r)
    capacity = None if kind in ("vm", "application") else float(sight.hosts["capacity"][hosts, r].sum())
    return ForecastView(
        kind=kind,
        name=name,
        resource=resource,
        tick=sight.tick,
        time=time_of(sight),
        method=method,  # type: ignore[arg-type]
        bands=tuple(bands),
        measured=tuple((when, round(amount, 3)) for when, amount in measured),
        capacity=None if capacity is None else round(capacity, 3),
    )


def _members(sight: Sight, kind: SubjectKind, name: str) -> tuple[I64, I64]:
    """Slots of a subject's VMs and hosts."""
    c, inventory = sight.vms, sight.inventory
    if kind == "vm":
        slot = inventory.vm_slot.get(name, -1)
        return _some(sight.vm_slots[sight.vm_slots == slot], kind, name), np.zeros(0, np.int64)
    if kind == "application":
        app = inventory.apps.index(name) if name in inventory.apps else -2
        here = sight.vm_slots[c["app"][sight.vm_slots] == app]
        return (here if app >= 0 else _some(here, kind, name)), np.zeros(0, np.int64)
    if kind == "cluster":
        hosts = np.arange(len(sight.host_names))
    else:
        names = {"host": sight.host_names, "rack": inventory.racks, "zone": inventory.zones}[kind]
        number = list(names).index(name) if name in names else -2
        at = np.arange(len(sight.host_names)) if kind == "host" else sight.hosts[kind]
        hosts = _some(np.flatnonzero(at == number), kind, name)
    stands = np.isin(c["host"][sight.vm_slots], hosts)
    return sight.vm_slots[stands], hosts


def _some(found: I64, kind: str, name: str) -> I64:
    if not found.size:
        raise ProblemError(404, f"{kind} {name[:100]!r}: expected the name of one, there is none")
    return found


def _weights(sight: Sight, vms: I64, resource: int) -> tuple[I64, F64]:
    """Rows of the table that the VMs draw on, and how much of each."""
    columns = sight.snapshot.forecasts
    alive = vms[sight.vms["state"][vms] != int(VmState.ABSENT)]
    series = columns["series"][alive].astype(np.int64)
    share = (columns["memory_share"] if resource == _MEMORY else columns["share"])[alive].astype(np.float64)
    rows, where = np.unique(series[series >= 0], return_inverse=True)
    return rows, np.asarray(np.bincount(where, share[series >= 0], len(rows)), np.float64)
