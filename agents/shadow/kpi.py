"""Whether a shadow behaves as its primary does: the KPIs of both, side by side.

What grows with load is compared after scaling by the share of the load that each had; a latency or a share of
errors is compared as it is, and may be better. The tolerance is declared: a shadow at a tenth of the allocation has
the fixed cost of an idle guest on a tenth of the load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from foreshade.envs.errors import InputError

TOLERANCE = 0.25  # of the expected value
#: What may be missed whatever the tolerance: below it a figure is noise.
FLOORS = {"cpu_mhz": 50.0, "disk_mib_s": 0.5, "network_mbit": 0.5, "latency_ms": 1.0, "errors": 0.001}


@dataclass(frozen=True, slots=True)
class Kpis:
    """Means over one interval of one VM."""

    cpu_mhz: float
    disk_mib_s: float
    network_mbit: float
    latency_ms: float  # of its requests
    errors: float  # share of its requests

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0.0 <= value < float("inf"):
                raise InputError(f"KPI {field.name}: expected a finite number >= 0, found {value}")


@dataclass(frozen=True, slots=True)
class Deviation:
    """One KPI of a shadow that is not what its primary's lets expect."""

    kpi: str
    expected: float
    found: float


def compare(primary: Kpis, clone: Kpis, load: float, tolerance: float = TOLERANCE) -> Sequence[Deviation]:
    """Where the shadow deviates; empty = it may be called warm, or go on serving.

    Args:
        primary: of the VM that is shadowed.
        clone: of its shadow, over the same interval.
        load: the shadow's load over its primary's: its fidelity while it replays, the ratio of their traffic
            while it serves.
        tolerance: of the expected value.

    Raises:
        InputError: a load that is not above 0, as then nothing can be compared.

    """
    if not 0.0 < load < float("inf"):
        raise InputError(f"shadow: expected a load above 0 to compare by, found {load}")
    found = []
    for field in fields(Kpis):
        theirs, ours = getattr(primary, field.name), getattr(clone, field.name)
        grows = field.name in {"cpu_mhz", "disk_mib_s", "network_mbit"}
        expected = theirs * load if grows else theirs
        gap = abs(ours - expected) if grows else ours - expected
        if gap > max(tolerance * expected, FLOORS[field.name]):
            found.append(Deviation(field.name, expected, ours))
    return tuple(found)
