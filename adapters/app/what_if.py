"""What a change of the scenario makes of each agent: paired differences from the unchanged runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from foreshade.adapters.app.column import Figures
from foreshade.adapters.app.comparison import COMPARED, MEASURES, Case, Measure, cases
from foreshade.adapters.app.results import RunResult
from foreshade.adapters.app.table import FILE_WIDTH, LONGEST_NAME
from foreshade.training.estimate import Estimate, paired

_MEASURES = tuple(measure for measure in MEASURES if measure.key in COMPARED)


@dataclass(frozen=True, slots=True)
class Cell:
    """One difference as it is written."""

    text: str
    spread: str  # half-width of its interval; empty with one seed
    verdict: str  # better or worse where the interval leaves 0 out


@dataclass(frozen=True, slots=True)
class Change:
    """A changed case beside the one that it was made from; the same agents, the same seeds."""

    plain: Case
    changed: Case

    def difference(self, agent: str, measure: Measure) -> Estimate:
        """Changed minus unchanged over the seeds, with the interval of the paired t test."""
        before, after = self.plain.runs[agent], self.changed.runs[agent]
        seeds = [seed for seed in after if seed in before]
        return paired([measure.value(after[s]) for s in seeds], [measure.value(before[s]) for s in seeds])


def changes(results: Sequence[RunResult]) -> tuple[Change, ...]:
    """Every changed case whose unchanged one was played too."""
    found = cases(results)
    plain = {(c.scenario, c.variant, c.workload): c for c in found if not c.what_if}
    return tuple(
        Change(plain[key], case)
        for case in found
        if case.what_if and (key := (case.scenario, case.variant, case.workload)) in plain
    )


def to_rows(results: Sequence[RunResult]) -> dict[str, list[dict[str, Any]]]:
    """The differences for JSON, by agent, in each measure's own unit; nothing where nothing was changed."""
    rows = [
        {
            "what_if": change.changed.what_if,
            "agent": agent,
            "measure": measure.key,
            "unit": measure.unit,
            "difference": estimate.mean if math.isfinite(estimate.mean) else None,
            "half_width": estimate.half_width if math.isfinite(estimate.half_width) else None,
            "seeds": estimate.n,
        }
        for change in changes(results)
        for agent in change.changed.agents
        for measure in _MEASURES
        for estimate in (change.difference(agent, measure),)
    ]
    return {"differences": rows} if rows else {}


def print_changes(results: Sequence[RunResult], console: Console | None = None) -> None:
    """Write a table of differences per changed case."""
    out = console or Console()
    if console is None and not out.is_terminal:
        out.width = max(out.width, FILE_WIDTH)
    for change in changes(results):
        out.print(_table(change))


def rows(change: Change) -> tuple[list[tuple[str, str]], list[tuple[str, list[Cell]]]]:
    """Measure and unit of every column, and a row of cells per agent: what a table of any kind shows."""
    agents = change.changed.agents
    heads: list[tuple[str, str]] = []
    cells: dict[str, list[Cell]] = {agent: [] for agent in agents}
    for measure in _MEASURES:
        estimates = {agent: change.difference(agent, measure) for agent in agents}
        figures = Figures.of(measure, estimates.values())
        heads.append((measure.title, figures.unit))
        for agent, e in estimates.items():
            verdict = "" if not e.resolved else "better" if e.mean < 0 else "worse"
            cells[agent].append(Cell(figures.signed(e.mean), figures.spread(e.half_width), verdict))
    return heads, list(cells.items())


def _table(change: Change) -> Table:
    case = change.changed
    title = Text(f"What if {case.what_if}", style="bold")
    title.append("  changed minus unchanged, the same seeds", style="not bold")
    table = Table(
        title=title, title_justify="left", title_style="", box=None, pad_edge=False, header_style=""
    )
    table.add_column("agent\n", overflow="ellipsis", no_wrap=True, max_width=LONGEST_NAME)
    heads, by_agent = rows(change)
    for name, unit in heads:
        table.add_column(f"{name}\n{unit}", justify="right", no_wrap=True)
    for agent, cells in by_agent:
        written = [Text(agent)]
        for cell in cells:
            text = Text(cell.text, style="bold" if cell.verdict else "")
            if cell.spread:
                text.append(f"\n{cell.spread}", style="not bold dim")
            written.append(text)
        table.add_row(*written)
    n = len(case.seeds)
    said = f"n = {n} seeds, ± half-width of the paired 95 % interval; bold: it leaves 0 out"
    table.caption = Text(said if n > 1 else "one seed: no interval can be given", style="dim")
    table.caption_justify = "left"
    return table
