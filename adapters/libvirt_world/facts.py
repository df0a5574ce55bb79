"""Names and rights of what the state shows by slots, and what is wrong with what was seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from foreshade.adapters.libvirt_world.cluster import Cluster
from foreshade.adapters.libvirt_world.slots import Slots
from foreshade.adapters.libvirt_world.snapshot import Sighting, View, rack_names, zone_names
from foreshade.envs.inventory import HostFacts, Inventory, VmFacts
from foreshade.envs.model.state import VmKind


def inventory_of(view: View, slots: Slots, proven: Callable[[str], bool], generation: int) -> Inventory:
    """Facts by slot.

    Args:
        view: what was seen.
        slots: of its VMs.
        proven: whether a host was seen to come back after it was off.
        generation: of what slots and applications mean.

    """
    settings = {host.name: host for host in view.cluster.settings.hosts}
    hosts = []
    for name in view.order:
        host = settings[name]
        rented = host.cloud is not None
        rack = "" if rented else host.rack
        zone = "" if rented else view.cluster.settings.rack(host.rack).zone
        hosts.append(HostFacts(name, rack, zone, proven(name), host.protected, frozenset(host.tags)))
    vms = [VmFacts()] * slots.n
    for uuid, sight in view.sightings.items():
        record = sight.record
        vms[slots.slot(uuid)] = (
            VmFacts(sight.name, managed=False, protected=True)
            if record is None
            else VmFacts(
                sight.name,
                record.app,
                record.protected,
                record.forbidden,
                record.tags,
                record.affinity if record.kind is VmKind.PRODUCTION else frozenset(),
                record.anti_affinity if record.kind is VmKind.PRODUCTION else frozenset(),
            )
        )
    racks, zones = tuple(rack_names(view)), tuple(zone_names(view))
    return Inventory(tuple(hosts), tuple(vms), tuple(slots.apps), racks, zones, generation)


def troubles_of(cluster: Cluster, seen: Mapping[str, Sighting]) -> Iterable[str]:
    """Hosts that do not answer, metadata that cannot be read, names that stand twice; a line each."""
    for host in cluster.hosts.values():
        if host.connection.trouble:
            yield host.connection.trouble
        elif host.failed_samples:
            yield f"host {host.name}: expected a sample in time, found none {host.failed_samples} times"
    names: dict[str, str] = {}
    for sight in seen.values():
        bad = sight.counters.definition.bad_record
        if bad:
            yield f"VM {sight.name} on {sight.host}: {bad}; it is treated as foreign"
        if sight.name in names:
            yield f"VM {sight.name}: expected the name once, found it on {names[sight.name]} and {sight.host}"
        names[sight.name] = sight.host
