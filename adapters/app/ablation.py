"""What each component is worth: the same runs with it and without it, in pairs over the seeds.

A component is held against three companies: what is enabled, nothing else, and all the others. The first says
whether it earns its place; the other two, whether that is by itself or through what it does together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from foreshade.adapters.app.column import Figures
from foreshade.adapters.app.comparison import MEASURES, Measure
from foreshade.adapters.app.evaluate import Job, Progress, Say, play_jobs
from foreshade.adapters.app.table import FILE_WIDTH
from foreshade.agents.baselines.registry import FILED, AgentFiles
from foreshade.agents.managers.registry import COMPONENTS, components_on
from foreshade.envs.errors import InputError
from foreshade.envs.forecast.table import Forecast
from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.workloads.of_scenario import Loaded
from foreshade.training.estimate import Estimate, paired

#: What a component is judged by.
JUDGED: tuple[Measure, ...] = tuple(
    measure
    for measure in MEASURES
    if measure.key in ("cost_usd", "unmet_demand", "unmet_demand_worst_vm", "energy_kwh", "migrations")
)
COST = JUDGED[[measure.key for measure in JUDGED].index("cost_usd")]
#: Other components that are on while one is tried.
ENABLED, NOTHING, OTHERS = "what is enabled", "nothing else", "all the others"
#: A row of them all together.
TOGETHER = "all"

On = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contribution:
    """One component, with it minus without it."""

    component: str  # or ``all``
    beside: str  # what else was on
    enabled: bool  # whether it is on where nobody names components
    differences: Mapping[str, Estimate]  # by measure, in its unit; over the seeds, paired

    @property
    def verdict(self) -> str:
        """``pays``, ``harms``, or ``level`` where the interval of the cost holds zero or there is none."""
        cost = self.differences[COST.key]
        return "level" if not cost.resolved else "pays" if cost.mean < 0 else "harms"


@dataclass(frozen=True, slots=True)
class Ablation:
    """The components of one agent on one scenario."""

    agent: str
    scenario: str
    workload: str
    seeds: tuple[int, ...]
    enabled: On
    contributions: tuple[Contribution, ...]

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold; ``None`` where there is no interval."""
        return {
            "agent": self.agent,
            "scenario": self.scenario,
            "workload": self.workload,
            "seeds": list(self.seeds),
            "enabled": list(self.enabled),
            "contributions": [
                {
                    "component": row.component,
                    "beside": row.beside,
                    "enabled": row.enabled,
                    "verdict": row.verdict,
                    "differences": {
                        measure.key: {
                            "unit": measure.unit,
                            "mean": _known(row.differences[measure.key].mean),
                            "half_width": _known(row.differences[measure.key].half_width),
                        }
                        for measure in JUDGED
                    },
                }
                for row in self.contributions
            ],
        }


def subjects(labels: Sequence[str], *, everyone: bool) -> tuple[str, ...]:
    """Of the agents that are played, those whose components are tried: the rules alone where all are played.

    Raises:
        InputError: none of them takes components.

    """
    found = ("rules",) if everyone else tuple(label for label in labels if label in FILED)
    if not found:
        raise InputError(f"--ablate: expected the agent {' or '.join(FILED)}, found {', '.join(labels)}")
    if not COMPONENTS:
        raise InputError("--ablate: expected components to try, found none")
    return found


def ablate(
    scenario: Scenario,
    workloads: Mapping[int, Loaded],
    agent: str,
    shown: Forecast,
    jobs: int,
    on_progress: Progress,
    *,
    files: AgentFiles | None = None,
    say: Say = lambda _: None,
    known: Iterable[str] = COMPONENTS,
    enabled: On | None = None,
    companies: Sequence[str] = (ENABLED, NOTHING, OTHERS),
) -> Ablation:
    """Play ``agent`` with every set of components that a comparison needs, each set once a seed.

    Args:
        scenario: what to play.
        workloads: by seed.
        agent: ``rules`` or ``ham``.
        shown: forecasts that the state shows.
        jobs: processes.
        on_progress: told ticks played and to play.
        files: that the agent is made from; what they enable is the company of the first comparison.
        say: told once where a table of forecasts is made first.
        known: components to try.
        enabled: instead of what the files enable.
        companies: beside which each component is tried.

    Raises:
        InputError: the agent takes no components, or there are none to try.

    """
    names = tuple(known)
    if agent not in FILED:
        raise InputError(f"--ablate: expected the agent {' or '.join(FILED)}, found {agent!r}")
    if not names:
        raise InputError("--ablate: expected components to try, found none")
    base = files or AgentFiles()
    on = components_on(base.components) if enabled is None else enabled
    wanted = comparisons(names, on, companies)
    sets = list(dict.fromkeys(side for _, _, with_it, without in wanted for side in (with_it, without)))
    runs = [Job(agent, seed, files=replace(base, only=one)) for seed in workloads for one in sets]
    results = play_jobs(scenario, workloads, runs, shown, jobs, on_progress, say)
    played = {
        (run.files.only, run.seed): result
        for run, result in zip(runs, results, strict=True)
        if run.files is not None
    }

    def differences(with_it: On, without: On) -> dict[str, Estimate]:
        def values(measure: Measure, side: On) -> list[float]:
            return [float(measure.value(played[side, seed])) for seed in workloads]

        return {m.key: paired(values(m, with_it), values(m, without)) for m in JUDGED}

    return Ablation(
        agent,
        f"{scenario.name} / {scenario.variant}" if scenario.variant else scenario.name,
        next(iter(workloads.values())).spec,
        tuple(workloads),
        on,
        tuple(
            Contribution(component, beside, component in on, differences(with_it, without))
            for component, beside, with_it, without in wanted
        ),
    )


def comparisons(
    names: On, on: On, companies: Sequence[str] = (ENABLED, NOTHING, OTHERS)
) -> list[tuple[str, str, On, On]]:
    """Component, what else is on, the set with it and the set without it; sets in the order of ``names``."""

    def those(chosen: Iterable[str]) -> On:
        kept = set(chosen)
        return tuple(name for name in names if name in kept)

    rows: list[tuple[str, str, On, On]] = [(TOGETHER, NOTHING, those(names), ())]
    if 0 < len(those(on)) < len(names):
        rows.append(("enabled", NOTHING, those(on), ()))
    for name in names:
        known: dict[str, On] = {
            ENABLED: those(set(on) - {name}),
            NOTHING: (),
            OTHERS: those(set(names) - {name}),
        }
        seen: list[On] = []
        for beside, others in known.items():
            if (
                beside not in companies or others in seen
            ):  # with nothing enabled, what is enabled is nothing else
                continue
            seen.append(others)
            rows.append((name, beside, those({*others, name}), others))
    return rows


def print_ablation(ablation: Ablation, console: Console | None = None) -> None:
    """Write the table."""
    out = console or Console()
    if console is None and not out.is_terminal:
        out.width = max(out.width, FILE_WIDTH)
    title = Text(f"Components of {ablation.agent} on {ablation.scenario}", style="bold")
    title.append(f"  {ablation.workload}, with it minus without it", style="not bold")
    table = Table(
        title=title, title_justify="left", title_style="", box=None, pad_edge=False, header_style=""
    )
    for head in ("component", "beside", "cost"):
        table.add_column(f"{head}\n", no_wrap=True)
    heads, rows = cells(ablation)
    for name, unit in heads:
        table.add_column(f"{name}\n{unit}", justify="right", no_wrap=True)
    for row, line in zip(ablation.contributions, rows, strict=True):
        label = Text(row.component, style="bold" if row.enabled else "")
        values = [
            Text(f"{text} {spread}".rstrip(), style="bold" if bold else "") for text, spread, bold in line
        ]
        table.add_row(label, row.beside, row.verdict, *values)
    n = len(ablation.seeds)
    said = f"n = {n} seeds, ± half-width of the paired 95 % interval; bold: it leaves 0 out, or is enabled"
    table.caption = Text(said if n > 1 else "one seed: no interval can be given", style="dim")
    table.caption_justify = "left"
    out.print(table)


def cells(ablation: Ablation) -> tuple[list[tuple[str, str]], list[list[tuple[str, str, bool]]]]:
    """Measure and unit of every column; per contribution the difference, its spread, whether it leaves 0 out."""
    figures = {
        m.key: Figures.of(m, [row.differences[m.key] for row in ablation.contributions]) for m in JUDGED
    }
    rows = [
        [
            (figures[key].signed(one.mean), figures[key].spread(one.half_width), one.resolved)
            for key, one in row.differences.items()
        ]
        for row in ablation.contributions
    ]
    return [(m.short, figures[m.key].unit) for m in JUDGED], rows


def markdown(ablation: Ablation) -> str:
    """The table as it stands in documents."""
    heads, rows = cells(ablation)
    columns = [f"{name} {unit}".strip() for name, unit in heads]
    lines = [
        "| component | beside | cost | " + " | ".join(columns) + " |",
        "|---|---|---|" + "---:|" * len(columns),
    ]
    for row, written in zip(ablation.contributions, rows, strict=True):
        name = f"**{row.component}**" if row.enabled else row.component
        values = " | ".join(f"{text} {spread}".rstrip() for text, spread, _ in written)
        lines.append(f"| {name} | {row.beside} | {row.verdict} | {values} |")
    return "\n".join(lines)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
