"""Runs gathered for comparison: a case per scenario and workload, its agents, the measures of a run."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from foreshade.adapters.app.results import RunResult
from foreshade.envs.errors import InputError
from foreshade.training.estimate import Estimate, paired

#: The baseline that everything is measured against where it took part: every host on at full power.
BASELINE = "npa"


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a run, in the unit in which people read it."""

    key: str
    title: str
    short: str  # for a narrow column
    unit: str
    meaning: str
    value: Callable[[RunResult], float]
    decimals: int | None = None  # None = as the largest value needs
    outcome: bool = True  # False = a means to an end: less of it is not better in itself


MEASURES: tuple[Measure, ...] = (
    Measure(
        "energy_kwh", "Energy", "Energy", "kWh", "Electricity of the hosts", lambda r: r.metrics.energy_kwh
    ),
    Measure(
        "cost_usd",
        "Cost",
        "Cost",
        "USD",
        "Electricity, hire, SLA credits and churn together",
        lambda r: r.metrics.cost_usd,
        2,
    ),
    Measure(
        "unmet_demand",
        "Unmet demand",
        "Unmet",
        "%",
        "CPU demand that was not served, of all CPU demand",
        lambda r: 100.0 * r.metrics.unmet_demand,
    ),
    Measure(
        "unmet_demand_worst_vm",
        "Worst VM",
        "Worst VM",
        "%",
        "Unmet CPU demand of the VM that fared worst",
        lambda r: 100.0 * r.metrics.unmet_demand_worst_vm,
    ),
    Measure(
        "migrations",
        "Migrations",
        "Migr.",
        "",
        "Live migrations started",
        lambda r: r.metrics.migrations,
        outcome=False,
    ),
    Measure(
        "slatah",
        "SLATAH",
        "SLATAH",
        "%",
        "Share of the hosts' time on in which they were asked for more CPU than they have",
        lambda r: 100.0 * r.metrics.slatah,
    ),
    Measure(
        "pdm",
        "PDM",
        "PDM",
        "%",
        "CPU demand unmet because of migrations, of all CPU demand",
        lambda r: 100.0 * r.metrics.pdm,
    ),
    Measure(
        "esv",
        "ESV",
        "ESV",
        "kWh",
        "Energy × SLATAH × PDM, both as fractions (Beloglazov & Buyya 2012)",
        lambda r: r.metrics.esv,
    ),
    Measure(
        "host_shutdowns",
        "Shutdowns",
        "Shutd.",
        "",
        "Hosts turned off or put to sleep",
        lambda r: r.metrics.host_shutdowns,
        outcome=False,
    ),
    Measure("cpu_s", "CPU time", "CPU", "s", "Processor time of the run", lambda r: r.cpu_s, outcome=False),
)
#: The measures whose paired differences are worth a table.
COMPARED = ("energy_kwh", "cost_usd", "unmet_demand", "unmet_demand_worst_vm", "esv")


@dataclass(frozen=True, slots=True)
class Case:
    """All runs of one scenario, variant, workload and what-if: what may be compared with each other."""

    scenario: str
    variant: str
    workload: str
    what_if: str  # "" = the scenario as it stands
    agents: tuple[str, ...]  # in the order they were given
    runs: Mapping[str, Mapping[int, RunResult]]  # agent, then seed, ascending

    @property
    def title(self) -> str:
        """Scenario, variant and what-if as one name."""
        plain = f"{self.scenario} / {self.variant}" if self.variant else self.scenario
        return f"{plain} if {self.what_if}" if self.what_if else plain

    @property
    def seeds(self) -> tuple[int, ...]:
        """Every seed that any agent played, ascending."""
        return tuple(sorted({seed for runs in self.runs.values() for seed in runs}))

    @property
    def size(self) -> str:
        """``21 hosts · 851–875 VMs · 576 ticks``; seeds may differ in their VMs."""
        runs = [run for by_seed in self.runs.values() for run in by_seed.values()]
        return " · ".join(
            (
                _counted([run.hosts for run in runs], "host"),
                _counted([run.vms for run in runs], "VM"),
                _counted([run.metrics.ticks for run in runs], "tick"),
            )
        )

    def shared_seeds(self, agent: str, other: str) -> tuple[int, ...]:
        """The seeds that both played."""
        return tuple(seed for seed in self.runs[agent] if seed in self.runs[other])

    def estimate(self, agent: str, measure: Measure) -> Estimate:
        """The agent's mean over its seeds."""
        return Estimate.of([float(measure.value(run)) for run in self.runs[agent].values()])

    def difference(self, agent: str, reference: str, measure: Measure) -> Estimate:
        """The agent minus the reference over the seeds that both played."""
        seeds = self.shared_seeds(agent, reference)
        ours = [float(measure.value(self.runs[agent][seed])) for seed in seeds]
        return paired(ours, [float(measure.value(self.runs[reference][seed])) for seed in seeds])

    def reference(self, asked: str | None = None) -> str:
        """The agent to compare with: the one asked for, else ``npa``, else the first."""
        if asked is None:
            return BASELINE if BASELINE in self.runs else self.agents[0]
        if asked not in self.runs:
            raise InputError(f"reference agent: expected one of {', '.join(self.agents)}, got {asked!r}")
        return asked

    def cheapest(self) -> str:
        """The agent with the lowest mean cost, the first of them on a tie."""
        means = {a: fmean(run.metrics.cost_usd for run in self.runs[a].values()) for a in self.agents}
        known = [agent for agent in self.agents if math.isfinite(means[agent])]
        return min(known, key=lambda agent: means[agent]) if known else self.agents[0]


def cases(results: Sequence[RunResult]) -> tuple[Case, ...]:
    """The results by case, in the order of their first run.

    Raises InputError when there is none, or when one agent has two runs of one seed: their mean would pass
    for that of two seeds.
    """
    if not results:
        raise InputError("results: expected at least one run, got none")
    found: dict[tuple[str, str, str, str], dict[str, dict[int, RunResult]]] = {}
    for result in results:
        key = (result.scenario, result.variant, _without_seed(result.workload), result.what_if)
        runs = found.setdefault(key, {}).setdefault(result.agent, {})
        if result.seed in runs:
            raise InputError(
                f"results: expected one run per agent and seed of {result.scenario}, "
                f"got two of {result.agent!r} with seed {result.seed}"
            )
        runs[result.seed] = result
    return tuple(
        Case(*key, tuple(agents), {agent: dict(sorted(runs.items())) for agent, runs in agents.items()})
        for key, agents in found.items()
    )


def _counted(numbers: Sequence[int], noun: str) -> str:
    least, most = min(numbers), max(numbers)
    count = f"{most:,}" if least == most else f"{least:,}–{most:,}"
    return f"{count} {noun}" if most == 1 else f"{count} {noun}s"


def _without_seed(workload: str) -> str:
    """A generated workload's spec without its seed, or every seed would be a case of its own."""
    if not workload.startswith("generated:"):
        return workload
    name, _, options = workload.partition("?")
    kept = [option for option in options.split("&") if option and not re.match(r"seed=", option)]
    return f"{name}?{'&'.join(kept)}" if kept else name
