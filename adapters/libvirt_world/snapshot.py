"""``ClusterState`` from what telemetry shows: the one place where readings become columns.

Nothing unknown is zero. A VM whose load was never measured is shown wanting all that it may use, with an infinite
age; memory that no guest driver tells of counts as used; a host that does not answer keeps what it showed last, and
ages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from foreshade._core import ClusterState
from foreshade.adapters.libvirt_world.allocation import shown
from foreshade.adapters.libvirt_world.cluster import Cluster
from foreshade.adapters.libvirt_world.library import library
from foreshade.adapters.libvirt_world.outside import Outside
from foreshade.adapters.libvirt_world.record import Record
from foreshade.adapters.libvirt_world.sample import DomainCounters
from foreshade.adapters.libvirt_world.site import HostSize, power_at
from foreshade.adapters.libvirt_world.slots import Slots
from foreshade.adapters.libvirt_world.telemetry import HostReadings, LastReadings, Reading, VmReadings
from foreshade.envs.model.action import Allocation
from foreshade.envs.model.state import HostState, VmKind, VmState
from foreshade.envs.scenarios.schema import Scenario

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sighting:
    """One VM where it was seen last."""

    uuid: str
    name: str
    host: str
    counters: DomainCounters
    record: Record | None  # None = foreign
    destination: str = ""  # where it is being copied to
    lost: bool = False  # its host is off: it waits to be started elsewhere


@dataclass(slots=True)
class HostView:
    """One host's state as it is to be shown."""

    state: HostState
    since_s: float  # monotonic time at which it came into that state
    power_w: float | None = None  # measured; None = by the server's curve


@dataclass(slots=True)
class View:
    """Everything that a snapshot is made of."""

    cluster: Cluster
    scenario: Scenario
    order: tuple[str, ...]  # hosts by slot
    sizes: tuple[HostSize, ...]
    hosts: Mapping[str, HostView]
    sightings: Mapping[str, Sighting]  # by UUID
    outside: Outside
    last: LastReadings
    busy: Mapping[str, VmState] = field(default_factory=dict)  # names that orders are working on
    destinations: Mapping[str, str] = field(default_factory=dict)  # by name, of moves that we began


def sightings(cluster: Cluster, off: frozenset[str]) -> dict[str, Sighting]:
    """Every active domain once, on the host where its CPUs run; ``off`` are hosts that are known to have no power."""
    libvirt = library()
    found: dict[str, Sighting] = {}
    for name, host in cluster.hosts.items():
        if host.meter.last is None:
            continue
        for uuid, counters in host.meter.last.domains.items():
            record = counters.definition.record
            if not counters.active:
                continue
            sight = Sighting(uuid, counters.definition.name, name, counters, record, lost=name in off)
            other = found.get(uuid)
            if other is None:
                found[uuid] = sight
                continue
            if other.lost or sight.lost:
                found[uuid] = other if sight.lost else sight
                continue
            # The same guest twice is one that is being copied: it serves where it runs.
            here = sight.counters.state in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED)
            source, copy = (sight, other) if here else (other, sight)
            found[uuid] = Sighting(uuid, source.name, source.host, source.counters, source.record, copy.host)
    return {uuid: sight for uuid, sight in found.items() if not (sight.lost and sight.record is None)}


def fill(
    state: ClusterState, view: View, slots: Slots, now_s: float, time_s: float, tick: int, unix_s: float
) -> None:
    """Write the columns.

    Args:
        state: refilled in place.
        view: hosts and VMs.
        slots: which VM has which row; already told of all of them.
        now_s: our monotonic clock.
        time_s: since the site's epoch.
        tick: control intervals since then.
        unix_s: for what records say of Unix times.

    """
    n_hosts, n_vms = len(view.order), slots.n
    stale_s = view.cluster.settings.timeouts.stale

    def fresh(reading: Reading | None) -> float | None:
        return None if reading is None or reading.age_s(now_s) >= stale_s else reading.value

    numbers = {name: i for i, name in enumerate(view.order)}
    apps = {app: i for i, app in enumerate(slots.apps)}
    hosts = _host_columns(view, now_s)
    vms = _vm_columns(n_vms)
    vms["birth"][:] = slots.births
    by_name = {
        sight.name: slots.slot(uuid) for uuid, sight in view.sightings.items() if sight.record is not None
    }
    for uuid, sight in view.sightings.items():
        v = slots.slot(uuid)
        h = numbers[sight.host]
        live, size = view.cluster.hosts[sight.host], view.sizes[h]
        record = sight.record
        own = view.last.of(uuid, live.meter.vms.get(uuid, VmReadings()))
        readings = view.outside.vm(sight.name, uuid, own)
        amounts = shown(sight.counters.definition, sight.counters.current_mib, size)
        usage, demand, contention = _load(readings, amounts, size, sight.counters, fresh)
        vms["flavour"][v] = amounts if record is None or record.flavour is None else record.flavour
        vms["allocation"][v] = amounts
        vms["usage"][v], vms["demand"][v], vms["contention"][v] = usage, demand, contention
        vms["age_s"][v] = readings.age_s(now_s)
        vms["state"][v] = _state(sight, view)
        vms["host"][v] = -1 if sight.lost else h
        _book(hosts, h, amounts, usage, size, counted=not sight.lost)
        going = sight.destination or view.destinations.get(sight.name, "")
        if going in numbers and going != sight.host and not sight.lost and record is not None:
            to = numbers[going]
            vms["destination"][v] = to
            vms["state"][v] = VmState.MIGRATING
            hosts["arriving"][to] += 1
            hosts["allocated"][to] += np.array(amounts, dtype=np.float32)
            hosts["allocated"][to, 1] += view.sizes[to].overhead_mib
        if record is None:
            continue
        vms["weight"][v], vms["credit"][v] = record.weight, record.credit
        vms["kind"][v] = record.kind
        vms["app"][v] = apps.get(record.app, -1)
        vms["primary"][v] = by_name.get(record.primary, -1) if record.primary else -1
        if record.moved_s > 0.0:
            vms["since_move_s"][v] = max(0.0, unix_s - record.moved_s)
    _finish_hosts(view, hosts)
    state.fill(time_s, tick, n_hosts, n_vms, hosts, vms)


def _load(
    readings: VmReadings,
    amounts: Allocation,
    size: HostSize,
    counters: DomainCounters,
    fresh: Callable[[Reading | None], float | None],
) -> tuple[list[float], list[float], float]:
    """Usage, estimated demand and contention; ``fresh`` is a reading's value unless it is stale or unknown."""
    cores, memory = readings.cores, fresh(readings.memory_mib)
    # Its load keeps what was shown last, and ages; that age is the VM's, and nothing is taken from one that is stale.
    cpu = amounts[0] if cores is None else cores.value * size.core_mhz
    memory = amounts[1] if memory is None else min(memory, amounts[1])
    disk, network = fresh(readings.disk_mib_s), fresh(readings.network_mbit)
    if disk is None:
        disk = amounts[2] if counters.definition.disks else 0.0
    if network is None:
        network = amounts[3] if counters.definition.interfaces else 0.0
    usage = [cpu, memory, disk, network, amounts[4]]
    contention = 0.0 if readings.contention is None or cores is None else readings.contention.value
    return usage, [cpu / (1.0 - contention), *usage[1:]], contention


def _state(sight: Sighting, view: View) -> VmState:
    libvirt = library()
    if sight.lost:
        return VmState.FAILED
    if sight.record is None:
        # Somebody else's: counted as load where it stands, and, being under way as it were, nobody's to move.
        return VmState.MIGRATING
    busy = view.busy.get(sight.name)
    if busy is not None:
        return busy
    state = sight.counters.state
    if state in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED):
        waits = sight.record.made_s > 0.0 and not sight.record.address
        return VmState.BOOTING if waits else VmState.RUNNING
    if state == libvirt.VIR_DOMAIN_SHUTDOWN:
        return VmState.STOPPING
    return VmState.PAUSED


def _book(
    hosts: dict[str, Any], h: int, amounts: Allocation, usage: list[float], size: HostSize, *, counted: bool
) -> None:
    if not counted:
        return
    hosts["allocated"][h] += np.array(amounts, dtype=np.float32)
    hosts["allocated"][h, 1] += size.overhead_mib
    hosts["usage"][h] += np.array(usage, dtype=np.float32)
    hosts["n_vms"][h] += 1


def _vm_columns(n: int) -> dict[str, Any]:
    columns: dict[str, Any] = {
        key: np.zeros((n, 5), dtype=np.float32) for key in ("flavour", "allocation", "usage", "demand")
    }
    columns |= {key: np.zeros(n, dtype=np.float32) for key in ("contention", "weight", "credit")}
    columns |= {key: np.full(n, np.inf, dtype=np.float32) for key in ("since_move_s", "age_s")}
    columns |= {key: np.full(n, -1, dtype=np.int32) for key in ("app", "host", "destination", "primary")}
    columns["birth"] = np.zeros(n, dtype=np.uint32)
    columns["state"] = np.full(n, VmState.ABSENT, dtype=np.uint8)
    columns["kind"] = np.full(n, VmKind.PRODUCTION, dtype=np.uint8)
    return columns


def _host_columns(view: View, now_s: float) -> dict[str, Any]:
    n = len(view.order)
    hosts: dict[str, Any] = {
        key: np.zeros((n, 5), dtype=np.float32) for key in ("capacity", "allocated", "usage", "overcommit")
    }
    for key in ("contention", "power_w", "idle_w", "peak_w", "boot_s", "price_usd_h", "since_s"):
        hosts[key] = np.zeros(n, dtype=np.float32)
    hosts["age_s"] = np.full(n, np.inf, dtype=np.float32)
    for key in ("n_vms", "arriving", "rack", "zone", "model", "profile"):
        hosts[key] = np.zeros(n, dtype=np.int32)
    hosts["state"] = np.zeros(n, dtype=np.uint8)
    settings = {host.name: host for host in view.cluster.settings.hosts}
    racks = rack_names(view)
    zones = zone_names(view)
    n_rented = 0
    for h, name in enumerate(view.order):
        size, shown_as = view.sizes[h], view.hosts[name]
        rented = settings[name].cloud is not None
        rack = "" if rented else settings[name].rack
        n_rented += rented
        hosts["capacity"][h], hosts["overcommit"][h] = size.capacity, size.overcommit
        hosts["idle_w"][h], hosts["peak_w"][h], hosts["boot_s"][h] = size.idle_w, size.peak_w, size.boot_s
        hosts["price_usd_h"][h] = settings[name].price_usd_h
        hosts["state"][h], hosts["since_s"][h] = shown_as.state, max(0.0, now_s - shown_as.since_s)
        hosts["rack"][h] = racks.index("") + n_rented - 1 if rented else racks.index(rack)
        hosts["zone"][h] = zones.index("" if rented else view.cluster.settings.rack(rack).zone)
        hosts["model"][h] = hosts["profile"][h] = h
        live = view.cluster.hosts.get(name)
        if live is None or live.meter.last is None:
            continue
        hosts["age_s"][h] = max(0.0, now_s - live.meter.last.at_s)
        contention = view.outside.host(name, live.meter.host).contention
        if contention is not None:
            hosts["contention"][h] = min(contention.value, 0.99)
    return hosts


def _finish_hosts(view: View, hosts: dict[str, Any]) -> None:
    """The hypervisor's own share, the node's own figures where they are this host's alone, and power."""
    for h, name in enumerate(view.order):
        size, shown_as = view.sizes[h], view.hosts[name]
        if shown_as.state is not HostState.ON:
            hosts["usage"][h] = 0.0
            if shown_as.state in (HostState.OFF, HostState.UNRENTED):
                hosts["power_w"][h] = 0.0
                continue
        live = view.cluster.hosts.get(name)
        n = float(hosts["n_vms"][h])
        hosts["usage"][h, 0] += n * size.overhead_mhz
        hosts["usage"][h, 1] += n * size.overhead_mib
        shared = live is None or live.settings.shared_machine
        readings = view.outside.host(name, HostReadings() if live is None or shared else live.meter.host)
        _node_usage(hosts, h, size, readings)
        cpu = size.capacity[0]
        load = 0.0 if cpu <= 0.0 else min(1.0, float(hosts["usage"][h, 0]) / cpu)
        watts = shown_as.power_w if readings.power_w is None else readings.power_w.value
        hosts["power_w"][h] = power_at(view.scenario, h, load) if watts is None else watts


def _node_usage(hosts: dict[str, Any], h: int, size: HostSize, readings: HostReadings) -> None:
    """What the machine itself says, where that is more than its guests add up to."""
    if readings.busy is not None:
        hosts["usage"][h, 0] = max(hosts["usage"][h, 0], readings.busy.value * size.capacity[0])
    if readings.used_mib is not None:
        hosts["usage"][h, 1] = max(hosts["usage"][h, 1], min(readings.used_mib.value, size.capacity[1]))


def rack_names(view: View) -> list[str]:
    """Racks in the order of the scenario; each rented host stands in one of its own, called ""."""
    settings = {host.name: host for host in view.cluster.settings.hosts}
    own = [settings[name].rack for name in view.order if settings[name].cloud is None]
    return [*dict.fromkeys(own), *("" for name in view.order if settings[name].cloud is not None)]


def zone_names(view: View) -> list[str]:
    """Zones in the order of the scenario: by name, that of rented hosts last, called ""."""
    racks = rack_names(view)
    own = {view.cluster.settings.rack(rack).zone for rack in racks if rack}
    return [*sorted(own), *([""] if "" in racks else [])]
