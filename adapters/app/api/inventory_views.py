"""Clusters, racks, hosts, VMs and applications as the API shows them, made from one sight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from foreshade.adapters.app.api.sight import ANOMALIES, HOST_STATES, VM_KINDS, VM_STATES, Sight
from foreshade.adapters.control_models import Amounts
from foreshade.adapters.wire.inventory import (
    ApplicationView,
    ClusterView,
    HeatHost,
    HeatMap,
    HeatRack,
    HostView,
    RackView,
    VmView,
)
from foreshade.envs.model.state import HostState, VmKind

I64 = npt.NDArray[np.int64]


def time_of(sight: Sight) -> datetime:
    """When the snapshot was taken, by the world's clock."""
    return datetime.fromtimestamp(sight.epoch, UTC)


def cluster_view(sight: Sight) -> ClusterView:
    """The whole."""
    hosts, vms, slots = sight.hosts, sight.vms, sight.vm_slots
    on = hosts["state"] == int(HostState.ON)
    ages = hosts["age_s"][on]
    return ClusterView(
        name=sight.name,
        world=sight.world,
        tick=sight.tick,
        tick_s=sight.tick_s,
        time=time_of(sight),
        racks=len(sight.inventory.racks),
        hosts=len(sight.host_names),
        hosts_by_state=_counts(hosts["state"], HOST_STATES),
        vms=len(slots),
        vms_by_state=_counts(sight.vm_states[slots], VM_STATES),
        vms_by_kind=_counts(vms["kind"][slots], VM_KINDS),
        applications=len(sight.app_numbers),
        capacity=_sum(hosts["capacity"][on]),
        allocated=_sum(hosts["allocated"][on]),
        usage=_sum(hosts["usage"][on]),
        power_w=float(hosts["power_w"].sum()),
        oldest_sample_s=float(ages.max()) if ages.size and np.isfinite(ages).all() else 0.0,
    )


def rack_views(sight: Sight) -> list[RackView]:
    """Every rack, in the order of the inventory."""
    hosts = sight.hosts
    views = []
    for rack, name in enumerate(sight.inventory.racks):
        here = np.flatnonzero(hosts["rack"] == rack)
        views.append(
            RackView(
                name=name,
                zone=sight.zone_name(int(hosts["zone"][here[0]])) if here.size else "",
                hosts=len(here),
                hosts_by_state=_counts(hosts["state"][here], HOST_STATES),
                vms=int(hosts["n_vms"][here].sum()),
                capacity=_sum(hosts["capacity"][here]),
                usage=_sum(hosts["usage"][here]),
                power_w=float(hosts["power_w"][here].sum()),
            )
        )
    return views


def host_views(sight: Sight, slots: Iterable[int]) -> list[HostView]:
    """Hosts by slot."""
    c, share = sight.hosts, sight.host_utilisation
    return [
        HostView.model_construct(
            name=sight.host_names[h],
            rack=sight.rack_name(int(c["rack"][h])),
            zone=sight.zone_name(int(c["zone"][h])),
            state=HOST_STATES[c["state"][h]],
            rented=bool(sight.rented[h]),
            vms=int(c["n_vms"][h]),
            arriving=int(c["arriving"][h]),
            capacity=Amounts.of(c["capacity"][h].tolist()),
            allocated=Amounts.of(c["allocated"][h].tolist()),
            usage=Amounts.of(c["usage"][h].tolist()),
            utilisation=float(share[h, 0]),
            contention=float(c["contention"][h]),
            power_w=float(c["power_w"][h]),
            price_usd_h=float(c["price_usd_h"][h]),
            hazard_per_h=float(c["hazard_per_h"][h]),
            hazard_confidence=float(c["hazard_confidence"][h]),
            anomaly=ANOMALIES[c["anomaly"][h]],
            since_s=_finite(c["since_s"][h]) or 0.0,
            age_s=_finite(c["age_s"][h]),
        )
        for h in slots
    ]


def vm_views(sight: Sight, slots: Iterable[int]) -> list[VmView]:
    """VMs by slot."""
    c = sight.vms
    return [
        VmView.model_construct(
            name=sight.vm_names[v],
            application=sight.app_name(int(c["app"][v])),
            kind=VM_KINDS[c["kind"][v]],
            state=VM_STATES[sight.vm_states[v]],
            host=sight.host_name(int(c["host"][v])),
            destination=sight.host_name(int(c["destination"][v])),
            primary=sight.vm_name(int(c["primary"][v])),
            flavour=Amounts.of(c["flavour"][v].tolist()),
            allocation=Amounts.of(c["allocation"][v].tolist()),
            usage=Amounts.of(c["usage"][v].tolist()),
            demand=Amounts.of(c["demand"][v].tolist()),
            contention=float(c["contention"][v]),
            weight=float(c["weight"][v]),
            credit=float(c["credit"][v]),
            anomaly=ANOMALIES[c["anomaly"][v]],
            anomaly_p=float(c["anomaly_p"][v]),
            since_move_s=_finite(c["since_move_s"][v]),
            age_s=_finite(c["age_s"][v]),
        )
        for v in slots
    ]


def application_views(sight: Sight, apps: Iterable[int]) -> list[ApplicationView]:
    """Applications by number."""
    c, slots = sight.vms, sight.vm_slots
    of = c["app"][slots]
    views = []
    for app in apps:
        here = slots[of == app]
        kinds = c["kind"][here]
        views.append(
            ApplicationView.model_construct(
                name=sight.app_name(app),
                vms=int((kinds == int(VmKind.PRODUCTION)).sum()),
                shadows=int((kinds == int(VmKind.SHADOW)).sum()),
                microvms=int((kinds == int(VmKind.MICRO)).sum()),
                allocation=_sum(c["allocation"][here]),
                usage=_sum(c["usage"][here]),
                demand=_sum(c["demand"][here]),
            )
        )
    return views


def heat_map(sight: Sight) -> HeatMap:
    """Every host in a few numbers."""
    c, share = sight.hosts, sight.host_utilisation
    cpu, memory = share[:, 0].tolist(), share[:, 1].tolist()
    hazard = c["hazard_per_h"].tolist()
    vms, states, anomalies = c["n_vms"].tolist(), c["state"].tolist(), c["anomaly"].tolist()
    racks: dict[int, list[HeatHost]] = {}
    for h, rack in enumerate(c["rack"].tolist()):
        racks.setdefault(rack, []).append(
            HeatHost.model_construct(
                name=sight.host_names[h],
                state=HOST_STATES[states[h]],
                cpu=cpu[h],
                memory=memory[h],
                vms=vms[h],
                anomaly=ANOMALIES[anomalies[h]],
                hazard=hazard[h],
            )
        )
    zones = {int(rack): int(zone) for rack, zone in zip(c["rack"], c["zone"], strict=True)}
    return HeatMap.model_construct(
        tick=sight.tick,
        time=time_of(sight),
        racks=tuple(
            HeatRack.model_construct(
                name=sight.rack_name(rack), zone=sight.zone_name(zones[rack]), hosts=tuple(hosts)
            )
            for rack, hosts in sorted(racks.items())
        ),
    )


def _counts(codes: npt.NDArray[np.integer[Any]], words: Sequence[str]) -> dict[str, int]:
    """How many of each word, those that there are."""
    return {words[k]: n for k, n in enumerate(np.bincount(codes, minlength=len(words)).tolist()) if n}


def _sum(rows: npt.NDArray[np.float64]) -> Amounts:
    return Amounts.of(np.round(rows.sum(axis=0), 3).tolist())


def _finite(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
