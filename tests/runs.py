"""Hand-made runs for the tests of what is shown of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from foreshade.adapters.app.results import RunResult
from foreshade.agents.decisions import Decisions
from foreshade.envs.run_metrics import RunMetrics

START = datetime(2024, 1, 1, tzinfo=UTC)


def history(ticks: int = 4, power_w: float = 100.0) -> dict[str, Any]:
    ramp = np.arange(ticks, dtype=np.float64)
    return {
        "time_s": 300.0 * ramp,
        "host_power_w": power_w + ramp,
        "rack_power_w": 0.0 * ramp,
        "demand_cpu_mhz": 1000.0 + 0.0 * ramp,
        "used_cpu_mhz": 990.0 + 0.0 * ramp,
        "capacity_cpu_mhz": 4000.0 + 0.0 * ramp,
        "unmet_cpu_mhz": 10.0 + 0.0 * ramp,
        "hosts_on": 2.0 + 0.0 * ramp,
        "migrations": np.ones(ticks),
        "cost_usd": np.full(ticks, 0.5),
    }


def run(
    agent: str = "npa",
    seed: int = 0,
    *,
    energy: float = 100.0,
    cost: float = 20.0,
    unmet: float = 0.01,
    scenario: str = "enterprise",
    variant: str = "",
    workload: str = "generated:enterprise",
    start: datetime | None = START,
    decisions: Decisions | None = None,
    **metrics: Any,
) -> RunResult:
    values: dict[str, Any] = {
        "ticks": 4,
        "energy_kwh": energy,
        "rack_kwh": 1.0,
        "cooling_kwh": 2.0,
        "cost_usd": cost,
        "cost_terms": {"energy": cost - 1.0, "unmet": 1.0, "rent": 0.0},
        "migrations": 3,
        "migration_downtime_s": 0.25,
        "slatah": 0.02,
        "pdm": 0.001,
        "slav": 0.00002,
        "esv": energy * 0.00002,
        "unmet_demand": unmet,
        "unmet_demand_worst_vm": 10 * unmet,
        "unmet_by_resource": {"cpu": unmet, "memory": 0.0},
        "sla_violations": 7,
        "host_shutdowns": 2,
        "counts": {"host_boots": 1},
        "history": history(),
    }
    return RunResult(
        agent,
        scenario,
        variant,
        workload,
        seed,
        18,
        400,
        1.5,
        2.5,
        RunMetrics(**{**values, **metrics}),
        start,
        decisions=decisions,
    )
