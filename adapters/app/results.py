"""What one run of one agent gave, and the plain document that ``foreshade evaluate --json`` writes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from foreshade.agents.decisions import Decisions
from foreshade.envs.run_metrics import RunMetrics


@dataclass(frozen=True, slots=True)
class RunResult:
    """One agent played once on one seed of a scenario."""

    agent: str  # as written on the command line, parameters included
    scenario: str
    variant: str  # "" = the plain scenario
    workload: str  # as asked for
    seed: int
    hosts: int
    vms: int
    cpu_s: float  # processor time of the run
    wall_s: float
    metrics: RunMetrics
    start: datetime | None = None  # of the scenario's first tick; None = unknown, times count from 0
    forecast: str = "none"  # what the state showed of demand to come: none, table or online
    decisions: Decisions | None = None  # of an agent that chooses among candidates
    components: tuple[str, ...] = ()  # that were on
    what_if: str = ""  # changes laid over the scenario; "" = as it stands


def to_json(results: Sequence[RunResult]) -> dict[str, list[dict[str, Any]]]:
    """The results as plain Python values: fractions as fractions, ``None`` where no number is finite.

    JSON has no NaN and no infinity; readers other than Python's refuse a file that holds one.
    """
    return {"results": [_row(result) for result in results]}


def _row(result: RunResult) -> dict[str, Any]:
    m = result.metrics
    return {
        "agent": result.agent,
        "scenario": result.scenario,
        "variant": result.variant,
        "workload": result.workload,
        "seed": int(result.seed),
        "hosts": int(result.hosts),
        "vms": int(result.vms),
        "ticks": int(m.ticks),
        "energy_kwh": _finite(m.energy_kwh),
        "cost_usd": _finite(m.cost_usd),
        "cost_terms": _finite_each(m.cost_terms),
        "migrations": int(m.migrations),
        "slatah": _finite(m.slatah),
        "pdm": _finite(m.pdm),
        "slav": _finite(m.slav),
        "esv": _finite(m.esv),
        "unmet_demand": _finite(m.unmet_demand),
        "unmet_demand_worst_vm": _finite(m.unmet_demand_worst_vm),
        "host_shutdowns": int(m.host_shutdowns),
        "cpu_s": _finite(result.cpu_s),
        "wall_s": _finite(result.wall_s),
        "rack_kwh": _finite(m.rack_kwh),
        "cooling_kwh": _finite(m.cooling_kwh),
        "migration_downtime_s": _finite(m.migration_downtime_s),
        "unmet_by_resource": _finite_each(m.unmet_by_resource),
        "sla_violations": int(m.sla_violations),
        "counts": {str(name): int(count) for name, count in m.counts.items()},
        "forecast": result.forecast,
        "fallback_rate": None if result.decisions is None else _finite(result.decisions.fallback_rate),
        "decisions": None if result.decisions is None else result.decisions.to_dict(),
        "components": list(result.components),
        "what_if": result.what_if,
    }


def _finite(value: float) -> float | None:
    plain = float(value)
    return plain if math.isfinite(plain) else None


def _finite_each(values: Mapping[str, float]) -> dict[str, float | None]:
    return {str(name): _finite(value) for name, value in values.items()}
