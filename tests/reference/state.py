"""What a world is made of: VMs, hosts, migrations, accounts. Units as in docs/physics.md."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

CPU, MEMORY, DISK, NETWORK, GPU = range(5)
RESOURCES = range(5)
SUMS = (
    "host_j", "rack_j", "late", "migration_unmet", "on_s", "overloaded_s", "used", "capacity", "dark_s",
    "downtime_s", "crashed_s",
)  # fmt: skip
COSTS = ("energy", "carbon", "rent", "unmet", "late", "downtime", "migration", "boot")

OFF, BOOTING, ON, SHUTTING_DOWN, ASLEEP, WAKING, FAILED, UNRENTED, RENTING, MAINTENANCE = range(10)
ABSENT, PENDING, VM_BOOTING, RUNNING, MIGRATING, STOPPING, PAUSED, VM_FAILED = range(8)
PRODUCTION, SHADOW, MICRO = range(3)


@dataclass
class Vm:
    """A slot for a VM, and the VM in it."""

    id: int
    app: int = -1
    flavour: list[float] = field(default_factory=lambda: [0.0] * 5)
    allocation: list[float] = field(default_factory=lambda: [0.0] * 5)
    state: int = ABSENT
    kind: int = PRODUCTION
    host: int = -1
    destination: int = -1
    primary: int = -1
    weight: float = 1.0
    size: float = 1.0  # z
    fidelity: float = 0.0  # φ
    credit: float = 1.0
    last_move_s: float = -math.inf
    serial: int = 0  # a new one for every change of state: what was planned for the old one is void
    birth: int = 0  # which of the VMs that used the slot this is
    crashed: bool = False  # its host failed, and it does not run yet
    spare: bool = False  # pauses once it has booted, until it is resumed
    demand: float = 0.0  # cpu MHz·s so far
    unmet: float = 0.0
    tick_demand: float = 0.0
    tick_unmet: float = 0.0

    @property
    def up(self) -> bool:
        """Whether it could serve."""
        return self.state in (RUNNING, MIGRATING)

    @property
    def owns_load(self) -> bool:
        """Whether its application's load falls on it when nobody serves."""
        return self.kind == PRODUCTION and not self.spare and self.state not in (STOPPING, ABSENT)


@dataclass
class HostLife:
    """The part of a host that changes."""

    state: int
    since_s: float
    vms: list[int] = field(default_factory=list)  # in order of arrival
    serial: int = 0
    rental: int = 0
    alarms: int = 0
    noticed: bool = False  # its provider wants it back
    maintenance_until_s: float = 0.0


@dataclass
class Migration:
    """One live migration; phases: queued, setup, copying, stopped."""

    vm: int
    source: int
    destination: int
    phase: str = "queued"
    round: int = 0
    left_mib: float = 0.0  # of this round
    memory_mib: float = 0.0  # V₀
    dirty_mib_s: float = 0.0  # D
    working_set_mib: float = 0.0  # X
    round_s: float = 0.0  # time this round has taken so far
    until_s: float = math.inf  # end of setup or of the downtime
    downtime_s: float = 0.0


@dataclass
class Accounts:
    """Sums over a tick or a run."""

    host_j: float = 0.0
    rack_j: float = 0.0
    demand: list[float] = field(default_factory=lambda: [0.0] * 5)
    unmet: list[float] = field(default_factory=lambda: [0.0] * 5)
    late: float = 0.0
    migration_unmet: float = 0.0
    on_s: float = 0.0
    overloaded_s: float = 0.0
    used: float = 0.0
    capacity: float = 0.0
    dark_s: float = 0.0
    downtime_s: float = 0.0
    crashed_s: float = 0.0
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            (
                "migrations", "migrations_failed", "host_shutdowns", "host_boots", "host_failures",
                "hosts_reclaimed",
                "oom_kills", "sla_violations", "spawned", "scheduled", "refused",
            ),
            0,
        )
    )  # fmt: skip
    cost: dict[str, float] = field(default_factory=lambda: dict.fromkeys(COSTS, 0.0))

    def add(self, other: Accounts) -> None:
        """Sum another's into this."""
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for r in RESOURCES:
            self.demand[r] += other.demand[r]
            self.unmet[r] += other.unmet[r]
        for key, count in other.counts.items():
            self.counts[key] += count
        for key, usd in other.cost.items():
            self.cost[key] += usd

    def as_native(self) -> dict[str, object]:
        """Under the names of ``Simulator.totals()``."""
        return {
            "host_kwh": self.host_j / 3.6e6, "rack_kwh": self.rack_j / 3.6e6, "demand": self.demand,
            "unmet": self.unmet, "late_mhz_s": self.late, "migration_unmet_mhz_s": self.migration_unmet,
            "on_s": self.on_s, "overloaded_s": self.overloaded_s, "used_mhz_s": self.used,
            "capacity_mhz_s": self.capacity, "dark_s": self.dark_s, "migration_downtime_s": self.downtime_s,
            "crashed_s": self.crashed_s,
            **self.counts, "cost": self.cost,
        }  # fmt: skip
