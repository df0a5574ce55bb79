"""What decision makers are told of a live cluster once: the same description that a simulated one has.

The cluster is described as a scenario, so that one code makes its prices, power curves and overheads, and so that a
snapshot of it can be played forward in the simulator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from foreshade.adapters.libvirt_world.sample import NodeCounters
from foreshade.adapters.libvirt_world.settings import HostSettings, LibvirtSettings
from foreshade.envs.data_centre import data_centre
from foreshade.envs.model.action import ActionKind
from foreshade.envs.scenarios.schema import HostGroup, RackGroup, RentedGroup, Scenario
from foreshade.envs.site import Site, site_of_data_centre

#: Ticks for which prices are told; after them comes a new generation, told from then on.
MOST_TICKS = 20_000


@dataclass(frozen=True, slots=True)
class HostSize:
    """What guests can have of one host, and what a core of it is worth."""

    capacity: tuple[float, float, float, float, float]  # MHz, MiB, MiB/s, Mbit/s, GPUs
    overcommit: tuple[float, float, float, float, float]
    cpus: int
    core_mhz: float  # of what one CPU does for guests in a second
    overhead_mhz: float  # of the hypervisor, for each VM
    overhead_mib: float
    idle_w: float
    peak_w: float
    boot_s: float


def group_of(host: HostSettings, node: NodeCounters | None, reserve_mib: float) -> HostGroup:
    """A host as a scenario's group of one: what is said of it, else what libvirt found, else its server's figures."""
    said: dict[str, Any] = {"server": host.server, "hypervisor": host.hypervisor}
    if node is not None:
        said |= {"cores": node.cpus, "memory_mib": max(1.0, node.memory_mib - reserve_mib)}
        if node.mhz > 0:
            said["mhz"] = float(node.mhz)
    for key in ("cores", "mhz", "memory_mib", "disk_mib_s", "network_mbit", "gpus"):
        value = getattr(host, key)
        if value is not None:
            said[key] = value
    return HostGroup.model_validate(said)


def scenario_of(settings: LibvirtSettings, nodes: Mapping[str, NodeCounters | None]) -> Scenario:
    """The cluster as a scenario; hosts in the order of their slots."""
    fleet, rented = [], []
    own = [host for host in settings.ordered_hosts if host.cloud is None]
    for rack in dict.fromkeys(host.rack for host in own):
        group = settings.rack(rack)
        hosts = tuple(
            group_of(host, nodes.get(host.name), settings.host_reserve_mib)
            for host in own
            if host.rack == rack
        )
        fleet.append(
            RackGroup(
                zone=group.zone, overhead_w=group.overhead_w, uplink_mbit=group.uplink_mbit, hosts=hosts
            )
        )
    for host in settings.ordered_hosts:
        if host.cloud is not None:
            plain = group_of(host, nodes.get(host.name), settings.host_reserve_mib)
            rented.append(RentedGroup(**plain.model_dump(), price_usd_h=host.price_usd_h))
    return Scenario(
        name="live",
        start=settings.start or datetime.now(UTC),
        tick_s=settings.tick_s,
        ticks=MOST_TICKS,
        workload="live",
        fleet=tuple(fleet),
        rented=tuple(rented),
        overcommit=settings.overcommit,
        prices=settings.prices,
        response=settings.response,
        actions=settings.actions,
    )


def sizes_of(scenario: Scenario) -> tuple[HostSize, ...]:
    """What each host has for guests, by slot."""
    groups: list[HostGroup] = [group for rack in scenario.fleet for group in rack.hosts]
    groups += list(scenario.rented)
    limits = scenario.overcommit
    sizes = []
    for group in groups:
        machine, profile = group.machine, group.profile
        share = profile.efficiency
        cpu, memory, disk, network, gpu = machine.capacity
        rented = isinstance(group, RentedGroup)
        sizes.append(
            HostSize(
                capacity=(
                    cpu * share.cpu,
                    memory * share.memory,
                    disk * share.disk,
                    network * share.network,
                    gpu,
                ),
                overcommit=(
                    min(limits.cpu, profile.cpu_overcommit),
                    min(limits.memory, profile.memory_overcommit),
                    limits.disk,
                    limits.network,
                    1.0,
                ),
                cpus=machine.cores,
                core_mhz=machine.mhz * share.cpu,
                overhead_mhz=profile.per_vm.cpu_mhz,
                overhead_mib=profile.per_vm.memory_mib,
                idle_w=0.0 if rented else machine.power_w[0] + machine.gpus * machine.gpu_idle_w,
                peak_w=0.0 if rented else machine.power_w[-1] + machine.gpus * machine.gpu_idle_w,
                boot_s=group.provision_s if isinstance(group, RentedGroup) else machine.boot_s,
            )
        )
    return tuple(sizes)


def power_at(scenario: Scenario, slot: int, load: float) -> float:
    """Watts by the power curve of a host's server, where nothing measures it."""
    groups: list[HostGroup] = [group for rack in scenario.fleet for group in rack.hosts]
    if slot >= len(groups):
        return 0.0
    return groups[slot].machine.power_at(load)


def site_of_live(
    settings: LibvirtSettings,
    scenario: Scenario,
    apps: tuple[str, ...],
    kinds: frozenset[ActionKind],
    n_vms: int,
) -> Site:
    """The site; ``kinds`` is what the world can do now."""
    spec = data_centre(scenario, MOST_TICKS, n_vms, power_managed=True)
    share = [settings.apps[app].offloadable if app in settings.apps else 0.0 for app in apps]
    offloadable = np.array(share or [0.0], dtype=np.float32)
    return site_of_data_centre(spec, kinds, MOST_TICKS, offloadable)
