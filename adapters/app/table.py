"""Results for the terminal: a table per case, agents down, measures across."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from foreshade.adapters.app.column import Column
from foreshade.adapters.app.comparison import MEASURES, Case, cases
from foreshade.adapters.app.results import RunResult
from foreshade.adapters.app.summary import fallback_sentences

#: Characters of an agent's name that are shown; with the ten measures the table then fits 120.
LONGEST_NAME = 24
FILE_WIDTH = 120


def print_results(results: Sequence[RunResult], console: Console | None = None) -> None:
    """Write a table per case to ``console``; standard output unless given, 120 wide in a file or pipe."""
    out = console or Console()
    if console is None and not out.is_terminal:
        out.width = max(out.width, FILE_WIDTH)  # rich takes 80, and would cut numbers off
    for table in result_tables(results):
        out.print(table)


def result_tables(results: Sequence[RunResult]) -> list[Table]:
    """A table per case; the best value of each outcome is bold.

    Several seeds give mean ± half-width of the 95 % confidence interval, the half-width under the mean: side
    by side, ten columns would not fit a terminal. Raises InputError when there is no run.
    """
    return [_table(case) for case in cases(results)]


def _table(case: Case) -> Table:
    table = Table(
        title=_title(case),
        title_justify="left",
        title_style="",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="",
    )
    table.add_column("agent\n", overflow="ellipsis", no_wrap=True, max_width=LONGEST_NAME)
    columns = [Column.of(case, measure) for measure in MEASURES]
    for column in columns:
        table.add_column(f"{column.measure.short}\n{column.figures.unit}", justify="right", no_wrap=True)
    for agent in case.agents:
        cells = [Text(agent)]
        for column in columns:
            estimate = column.estimates[agent]
            cell = Text(column.figures.number(estimate.mean), style="bold" if agent in column.best else "")
            if spread := column.figures.spread(estimate.half_width):
                cell.append(f"\n{spread}", style="not bold dim")
            cells.append(cell)
        table.add_row(*cells)
    table.caption = _caption(case, columns)
    table.caption_justify = "left"
    return table


def _title(case: Case) -> Text:
    text = Text(case.title, style="bold")
    label = "seeds" if len(case.seeds) > 1 else "seed"
    seeds = ", ".join(str(seed) for seed in case.seeds)
    text.append(f"  {case.workload} · {case.size} · {label} {seeds}", style="not bold")
    return text


def _caption(case: Case, columns: Sequence[Column]) -> Text | None:
    said = ["bold: best"] if any(column.best for column in columns) else []
    counts = sorted({len(runs) for runs in case.runs.values()})
    if counts[-1] > 1:
        n = str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
        said.append(f"mean of n = {n} seeds, ± half-width of its 95 % confidence interval")
    lines = ["; ".join(said)] if said else []
    lines += fallback_sentences(case)
    return Text("\n".join(lines), style="dim") if lines else None
