"""What a domain may use, read from what the hypervisor shows, and what to set so that it may use something else.

The CPU that a VM may use is its plugged vCPUs, or less where a quota of the whole domain says so: a guest that
cannot give a vCPU back is capped all the same. What no device expresses (the disk bandwidth of a guest without disk)
is kept in the metadata, since it was promised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from foreshade.adapters.libvirt_world.domain import Definition
from foreshade.adapters.libvirt_world.site import HostSize
from foreshade.envs.model.action import Allocation

#: Share by which what is shown may differ from what was asked for: balloons work in pages, quotas in microseconds.
TOLERANCE = 0.02
#: MiB by which memory may differ besides: a guest's balloon driver works in its own pages.
TOLERANCE_MIB = 2.0
KIB_S_PER_MBIT = 1e6 / 8.0 / 1024.0


def shown(said: Definition, current_mib: float | None, size: HostSize) -> Allocation:
    """MHz, MiB, MiB/s, Mbit/s and GPUs that the domain may use now."""
    kept = (said.record.allocation or said.record.flavour) if said.record is not None else None
    cpu = min(float(said.vcpus), said.cores) * size.core_mhz
    memory = said.current_mib if current_mib is None else current_mib
    disk = sum(one.mib_s for one in said.disks)
    network = sum(one.inbound_kib_s + one.outbound_kib_s for one in said.interfaces) / KIB_S_PER_MBIT
    return (
        cpu,
        memory,
        disk or (kept[2] if kept else 0.0),
        network or (kept[3] if kept else 0.0),
        float(said.gpus) or (kept[4] if kept else 0.0),
    )


def same(a: Allocation, b: Allocation) -> tuple[bool, ...]:
    """Which of the five amounts agree, as far as a hypervisor can hit them."""
    slack = (0.0, TOLERANCE_MIB, 0.01, 0.1, 0.0)
    return tuple(abs(x - y) <= max(TOLERANCE * max(x, y), s) for x, y, s in zip(a, b, slack, strict=True))


@dataclass(frozen=True, slots=True)
class CpuPlan:
    """vCPUs to plug and use, and the quota of all of them."""

    vcpus: int
    cores: float  # that all may use together; equal to vcpus = no quota
    shares: int


def cpu_plan(mhz: float, size: HostSize, most_vcpus: int) -> CpuPlan:
    """As many vCPUs as the amount needs, and a quota where it is no whole number of them."""
    cores = mhz / size.core_mhz
    vcpus = max(1, min(most_vcpus, math.ceil(cores - TOLERANCE)))
    whole = abs(cores - vcpus) <= TOLERANCE * vcpus
    return CpuPlan(vcpus, float(vcpus) if whole else cores, max(2, round(1024.0 * cores)))
