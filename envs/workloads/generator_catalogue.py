"""What the generator builds clusters from: flavours, and application types with their parameters.

Shares and levels are fitted to public sets, see ``docs/generator.md``: Bitbrains (Shen et al., CCGrid 2015),
PlanetLab (Beloglazov & Buyya, CCPE 2012), Google VM-like jobs, Azure (Cortez et al., SOSP 2017) and the
Alibaba GPU pods (Weng et al., ATC 2023). What a trace cannot tell (which type a VM is of) is an assumption
of this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from foreshade.envs.workloads.trace import REFERENCE_CORE_MHZ

#: Throughput limits for each vCPU, those of a general-purpose cloud series (Azure Dv3: 2 vCPUs get 48 MB/s of
#: uncached disk and 1,000 Mbit/s, and both double with the vCPUs).
DISK_MIB_PER_VCPU = 24.0
NET_MBIT_PER_VCPU = 500.0

#: vCPUs and how often they are asked for; long-lived as in Bitbrains fastStorage (229 VMs with data),
#: short-lived as in Huawei East 1 (116,313 requests).
VCPUS = (1, 2, 4, 8, 16)
VCPU_SHARES = (0.43, 0.16, 0.28, 0.11, 0.02)
SHORT_VCPU_SHARES = (0.72, 0.15, 0.10, 0.03, 0.00)


@dataclass(frozen=True, slots=True)
class ApplicationType:
    """How applications of one type behave; ``median`` and ``sigma`` are those of a lognormal law."""

    name: str
    share: float  # weight among the applications of the enterprise mix
    members_median: float  # VMs
    members_sigma: float
    gib_per_vcpu: tuple[int, ...]  # equally likely
    base_median: float  # mean CPU wanted, share of what is provisioned
    base_sigma: float
    amplitude: float  # of the daily cycle, share of the base
    peak_hour: float  # UTC, before the application's own phase
    weekend: float  # load at the weekend relative to a business day
    noise: float  # median of the log-load's standard deviation
    loading: float  # response to what its group has in common, 0 to 1
    memory_median: float  # working set, share of what is provisioned
    memory_gain: float  # memory that full CPU load adds, share of what is provisioned
    memory_floor: float  # share of the memory that a member needs whatever its traffic
    offloadable: float  # largest share of the load that micro-VMs can take
    disk_mib_per_vcpu: float  # median of the mean, MiB/s, at the base load
    disk_idle: float  # mean share of ticks without disk traffic
    net_mbit_per_vcpu: float  # median of the mean, Mbit/s, at the base load
    net_idle: float  # mean share of ticks without network traffic
    backup: float  # probability of a nightly backup
    credit: float  # multiplier of the SLA credit


_TYPES = (
    ApplicationType(
        "web", 0.28, 3.0, 0.8, (2, 4), 0.085, 0.7, 0.40, 14.0, 0.72, 0.28, 1.0,
        0.22, 0.30, 0.50, 0.60, 0.04, 0.15, 0.40, 0.10, 0.20, 1.0,
    ),
    ApplicationType(
        "database", 0.17, 1.5, 0.6, (4, 8), 0.10, 0.7, 0.30, 14.0, 0.80, 0.28, 0.6,
        0.38, 0.12, 0.85, 0.10, 0.30, 0.03, 0.15, 0.25, 0.80, 2.0,
    ),
    ApplicationType(
        "cache", 0.08, 2.5, 0.7, (4, 8), 0.06, 0.6, 0.35, 14.0, 0.75, 0.25, 0.9,
        0.45, 0.06, 0.90, 0.00, 0.01, 0.60, 0.60, 0.10, 0.10, 1.0,
    ),
    ApplicationType(
        "batch", 0.13, 2.5, 0.9, (2, 4), 0.55, 0.4, 0.0, 2.0, 0.80, 0.15, 0.0,
        0.12, 0.40, 0.30, 0.80, 0.30, 0.10, 0.10, 0.40, 0.10, 0.5,
    ),
    ApplicationType(
        "inference", 0.03, 2.0, 0.6, (4, 8), 0.08, 0.5, 0.35, 15.0, 0.75, 0.30, 0.5,
        0.35, 0.15, 0.80, 0.30, 0.02, 0.40, 0.30, 0.20, 0.05, 1.5,
    ),
    ApplicationType(
        "development", 0.31, 2.0, 0.8, (2, 4), 0.022, 1.1, 0.35, 13.0, 0.60, 0.35, 0.05,
        0.16, 0.30, 0.75, 0.20, 0.01, 0.25, 0.01, 0.65, 0.20, 0.25,
    ),
)  # fmt: skip

#: Every type by name.
TYPES: Mapping[str, ApplicationType] = {kind.name: kind for kind in _TYPES}

#: One-off jobs and test machines, which live for minutes to hours.
SHORT = ApplicationType(
    "short", 0.0, 1.0, 0.0, (2, 4), 0.20, 0.8, 0.0, 12.0, 1.0, 0.40, 0.0,
    0.20, 0.35, 0.60, 0.20, 0.30, 0.20, 0.50, 0.20, 0.0, 0.5,
)  # fmt: skip


def flavour(vcpus: int, gib_per_vcpu: int, gpus: float = 0.0) -> tuple[float, float, float, float, float]:
    """What one VM is provisioned with: MHz, MiB, MiB/s, Mbit/s, GPUs; 2 to 64 GiB of memory."""
    gib = min(max(vcpus * gib_per_vcpu, 2), 64)
    return (
        vcpus * REFERENCE_CORE_MHZ,
        gib * 1024.0,
        # A single vCPU is not given less disk and network than two.
        max(vcpus, 2) * DISK_MIB_PER_VCPU,
        max(vcpus, 2) * NET_MBIT_PER_VCPU,
        gpus,
    )
