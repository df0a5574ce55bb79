"""What a run cost and how well it served, in the terms of docs/physics.md, "Metrics"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """Sums over a run; fractions as fractions."""

    ticks: int
    energy_kwh: float  # at the hosts
    rack_kwh: float  # the racks' own equipment
    cooling_kwh: float  # (PUE - 1) of both
    cost_usd: float
    cost_terms: Mapping[str, float]  # USD by term
    migrations: int  # counted at their start
    migration_downtime_s: float
    slatah: float
    pdm: float
    slav: float  # slatah * pdm
    esv: float  # energy_kwh * slav
    unmet_demand: float  # CPU demand not served over CPU demand
    unmet_demand_worst_vm: float
    unmet_by_resource: Mapping[str, float]
    sla_violations: int  # VM-ticks with more than 5 % unmet
    host_shutdowns: int
    counts: Mapping[str, int] = field(default_factory=dict)  # boots, failures, refusals, …
    #: Per tick, ``(ticks,) float64`` each: time_s, host_power_w, hosts_on, migrations, cost_usd, …
    history: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
