"""The report of an evaluation: one HTML file that needs nothing else, readable without a network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from importlib.resources import files
from pathlib import Path
from statistics import fmean
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from foreshade.adapters.app.ablation import Ablation, cells
from foreshade.adapters.app.column import Column, Figures, share
from foreshade.adapters.app.comparison import COMPARED, MEASURES, Case, cases
from foreshade.adapters.app.results import RunResult
from foreshade.adapters.app.series import thinned
from foreshade.adapters.app.summary import fallback_sentences, sentences
from foreshade.adapters.app.what_if import Change, changes, rows
from foreshade.envs.errors import InputError
from foreshade.training.estimate import Estimate

#: Agents whose lines are drawn at first; more than these are a tangle, and a click adds any.
_DRAWN_AT_FIRST = 6


def check_folder(directory: Path) -> None:
    """Raise InputError unless a report can be written there; ask before the work that it reports on."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f".index.html.{os.getpid()}.partial"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _unwritable(directory, error) from error


def _unwritable(directory: Path, error: OSError) -> InputError:
    why = error.strerror or type(error).__name__
    return InputError(f"report: expected a folder that can be written, got {directory}: {why}")


def write_report(
    results: Sequence[RunResult],
    directory: Path,
    *,
    command: str = "",
    reference: str | None = None,
    written: datetime | None = None,
    ablations: Sequence[Ablation] = (),
) -> Path:
    """Write ``directory/index.html``, whole or not at all, and return its path.

    Args:
        results: the runs, any number of agents, seeds and scenarios.
        directory: made if it is not there; an older report in it is replaced.
        command: as typed, to be shown.
        reference: agent to compare with; ``npa`` if it took part, else each case's first agent, unless given.
        written: when, to be shown.
        ablations: of components, shown after the cases.

    Raises:
        InputError: no results, two runs of one agent and seed, an unknown reference, or nowhere to write.

    """
    text = render(results, command=command, reference=reference, written=written, ablations=ablations)
    target = directory / "index.html"
    partial = directory / f".index.html.{os.getpid()}.partial"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8", errors="replace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise _unwritable(directory, error) from error
    return target


def render(
    results: Sequence[RunResult],
    *,
    command: str = "",
    reference: str | None = None,
    written: datetime | None = None,
    ablations: Sequence[Ablation] = (),
) -> str:
    """The report's HTML; the arguments are those of ``write_report``."""
    found = cases(results)
    references = [case.reference(reference) for case in found]
    changed = {(change.changed.title, change.changed.workload): change for change in changes(results)}
    environment = Environment(
        loader=FunctionLoader(_template), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}  # and keys as given: terms, agents
    return environment.get_template("report.html.j2").render(
        cases=[
            _view(case, against, changed.get((case.title, case.workload)))
            for case, against in zip(found, references, strict=True)
        ],
        data=[_data(case, against) for case, against in zip(found, references, strict=True)],
        ablations=[(one, *cells(one)) for one in ablations],
        command=command,
        version=_version(),
        written=written.strftime("%Y-%m-%d %H:%M %Z").strip() if written else "",
        # Ours, not a person's: these must not be escaped, and hold no "</script>".
        style=Markup(_template("report.css")),  # noqa: S704
        script=Markup(_template("report.js")),  # noqa: S704
        plotly=Markup(get_plotlyjs()),  # noqa: S704
    )


def _template(name: str) -> str:
    return files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


def _version() -> str:
    try:
        return installed_version("foreshade")
    except PackageNotFoundError:
        return "not installed"


def _view(case: Case, reference: str, change: Change | None) -> Mapping[str, Any]:
    """What the template writes as text: facts, sentences and tables."""
    columns = [Column.of(case, measure) for measure in MEASURES]
    return {
        "title": case.title,
        "workload": case.workload,
        "agents": case.agents,
        "reference": reference,
        "facts": _facts(case),
        "sentences": sentences(case, reference),
        "tiles": _tiles(case, reference),
        "several": any(len(runs) > 1 for runs in case.runs.values()),
        "seeds": case.seeds,
        "columns": columns,
        "marked": any(column.best for column in columns),
        "rows": [(agent, len(case.runs[agent]), [_cell(c, agent) for c in columns]) for agent in case.agents],
        "compared": [column for column in columns if column.measure.key in COMPARED],
        "differences": {other: _differences(case, other, columns) for other in case.agents},
        "terms": _term_table(case),
        "change": rows(change) if change else None,
        "decisions": _decision_rows(case),
        "components": _component_rows(case),
        "outcomes": _outcome_rows(case),
        "fallbacks": fallback_sentences(case),
    }


def _decision_rows(case: Case) -> list[tuple[str, str, list[str]]]:
    """Agent, kind of candidate, and per run: decisions of HAM and of the rules, actions, USD reckoned."""
    rows = []
    for agent in case.agents:
        said = [run.decisions for run in case.runs[agent].values() if run.decisions is not None]
        kinds = dict.fromkeys(kind for one in said for kind in one.by_kind)
        rows += [(agent, kind, _means([one.by_kind.get(kind, {}) for one in said])) for kind in kinds]
    return rows


def _component_rows(case: Case) -> list[tuple[str, str, list[str]]]:
    """Likewise by component that was on, also where nothing that it offered was taken."""
    rows = []
    for agent in case.agents:
        runs = [run for run in case.runs[agent].values() if run.decisions is not None]
        names = dict.fromkeys(name for run in runs for name in run.components)
        for name in names:
            said = [run.decisions.by_component.get(name, {}) for run in runs if run.decisions is not None]
            rows.append((agent, name, _means(said)))
    return rows


def _outcome_rows(case: Case) -> list[tuple[str, str, list[str]]]:
    """Agent, kind of action and what came of it; the knobs that this corrected stand below, before and now."""
    rows = []
    for agent in case.agents:
        runs = [run.decisions.outcomes for run in case.runs[agent].values() if run.decisions is not None]
        told = [one for one in runs if one]
        for kind in dict.fromkeys(kind for one in told for kind in one):
            said = [one.get(kind, {}) for one in told]
            mean = {key: sum(row.get(key, 0.0) for row in said) / len(said) for key in _keys(said)}
            if "now" in mean:
                rows.append((agent, kind, [f"{mean['before']:.3g} → {mean['now']:.3g}", "", "", "", ""]))
                continue
            counts = [f"{mean[key]:,.1f}".removesuffix(".0") for key in ("expected", "judged", "wrong")]
            rows.append((agent, kind, [*counts, f"{mean['wrong_share']:.1%}", f"{mean['not_done']:,.1f}"]))
    return rows


def _keys(said: Sequence[Mapping[str, float]]) -> dict[str, None]:
    return dict.fromkeys(key for row in said for key in row)


def _means(said: Sequence[Mapping[str, float]]) -> list[str]:
    """What the tables of decisions show of tallies, means over runs."""
    means = []
    for key in ("ham", "rules", "actions", "transition_usd", "gain_usd"):
        mean = sum(one.get(key, 0.0) for one in said) / len(said)
        means.append(f"{mean:,.2f}" if key.endswith("usd") else f"{mean:,.1f}".removesuffix(".0"))
    return means


def _facts(case: Case) -> list[tuple[str, str]]:
    runs = [run for by_seed in case.runs.values() for run in by_seed.values()]
    facts = [("Scenario", case.scenario)]
    if case.variant:
        facts.append(("Variant", case.variant))
    if case.what_if:
        facts.append(("What if", case.what_if))
    facts += [("Workload", case.workload), ("Size", case.size)]
    facts.append(("Seeds", ", ".join(str(seed) for seed in case.seeds)))
    facts.append(("Agents", str(len(case.agents))))
    if start := runs[0].start:
        facts.append(("Simulated from", start.strftime("%A %Y-%m-%d %H:%M %Z").strip()))
    return facts


def _tiles(case: Case, reference: str) -> list[tuple[str, str, str]]:
    """Label, figure and note of the cheapest agent's cost, energy and service."""
    best = case.cheapest()
    tiles = [("Cheapest agent", best, f"of {len(case.agents)}" if len(case.agents) > 1 else "the only one")]
    for measure in MEASURES[:3]:
        mine, theirs = case.estimate(best, measure), case.estimate(reference, measure)
        figures = Figures.of(measure, [mine])
        note = ""
        if best != reference:
            base = Figures.of(measure, [theirs])
            note = f"{reference}: {base.number(theirs.mean)} {base.unit}"
            if measure.key != "unmet_demand" and (change := share(mine.mean - theirs.mean, theirs.mean)):
                note += f" ({'−' if mine.mean < theirs.mean else '+'}{change})"
        tiles.append((measure.title, f"{figures.number(mine.mean)} {figures.unit}", note))
    return tiles


def _cell(column: Column, agent: str) -> Mapping[str, Any]:
    estimate = column.estimates[agent]
    return {
        "value": estimate.mean,
        "text": column.figures.number(estimate.mean),
        "spread": column.figures.spread(estimate.half_width),
        "best": agent in column.best,
    }


def _differences(case: Case, reference: str, columns: Sequence[Column]) -> list[tuple[str, int, list[Any]]]:
    """A row per other agent: its differences from ``reference`` on the seeds that both played."""
    rows = []
    for agent in case.agents:
        if agent == reference:
            continue
        cells = []
        for column in columns:
            if column.measure.key not in COMPARED:
                continue
            difference = case.difference(agent, reference, column.measure)
            cells.append(
                {
                    "text": column.figures.signed(difference.mean),
                    "spread": column.figures.spread(difference.half_width),
                    "share": _share_of_reference(case, agent, reference, column, difference),
                    "verdict": ("better" if difference.mean < 0 else "worse") if difference.resolved else "",
                }
            )
        rows.append((agent, len(case.shared_seeds(agent, reference)), cells))
    return rows


def _share_of_reference(case: Case, agent: str, reference: str, column: Column, difference: Estimate) -> str:
    """The difference in per cent of the reference, for amounts only: a share of a share misleads."""
    seeds = case.shared_seeds(agent, reference)
    if column.measure.unit == "%" or column.measure.key == "esv" or not seeds:
        return ""
    change = share(difference.mean, fmean(column.measure.value(case.runs[reference][s]) for s in seeds))
    return f"{'−' if difference.mean < 0 else '+'}{change}" if change.strip("0. %") else change


def _terms(case: Case) -> dict[str, dict[str, float]]:
    """USD by term, then agent, means over seeds; terms that nobody paid are left out."""
    names = dict.fromkeys(
        term
        for by_seed in case.runs.values()
        for run in by_seed.values()
        for term, usd in run.metrics.cost_terms.items()
        if usd != 0.0
    )
    return {
        term: {
            agent: fmean(run.metrics.cost_terms.get(term, 0.0) for run in case.runs[agent].values())
            for agent in case.agents
        }
        for term in names
    }


def _term_table(case: Case) -> Mapping[str, Any]:
    terms = _terms(case)
    return {
        "names": list(terms),
        "rows": [(agent, [f"{terms[term][agent]:,.2f}" for term in terms]) for agent in case.agents],
    }


def _data(case: Case, reference: str) -> Mapping[str, Any]:
    """What the plots are drawn from, as plain values; equal time axes are sent once."""
    start = next(iter(case.runs[case.agents[0]].values())).start
    times: list[list[float | None]] = []
    lines: dict[str, dict[str, dict[str, Any]]] = {}
    for agent in case.agents:
        lines[agent] = {}
        for seed, run in case.runs[agent].items():
            line: dict[str, Any] = dict(thinned(run.metrics))
            if not line:
                continue
            axis = line.pop("time_s")
            if axis not in times:
                times.append(axis)
            line["time"] = times.index(axis)
            lines[agent][str(seed)] = line
    by_key = {measure.key: measure for measure in MEASURES}
    return {
        "title": case.title,
        "agents": list(case.agents),
        "reference": reference,
        "drawn": _drawn_at_first(case, reference),
        "seeds": [str(seed) for seed in case.seeds],
        # A plot's dates have no zone: the scenario's own clock is shown.
        "start_ms": _clock_ms(start) if start else None,
        "times": times,
        "lines": lines,
        "terms": {
            term: {agent: _known(usd) for agent, usd in by_agent.items()}
            for term, by_agent in _terms(case).items()
        },
        "points": {
            agent: {
                "n": len(case.runs[agent]),
                "energy": [_known(by_key["energy_kwh"].value(run)) for run in case.runs[agent].values()],
                "unmet": [_known(by_key["unmet_demand"].value(run)) for run in case.runs[agent].values()],
                "seeds": list(case.runs[agent]),
            }
            for agent in case.agents
        },
    }


def _clock_ms(moment: datetime) -> int:
    offset = moment.utcoffset() or timedelta(0)
    return round((moment.timestamp() + offset.total_seconds()) * 1000)


def _known(value: float) -> float | None:
    return value if abs(value) < float("inf") else None


def _drawn_at_first(case: Case, reference: str) -> list[str]:
    """The reference and the cheapest others."""
    cost = {agent: fmean(run.metrics.cost_usd for run in case.runs[agent].values()) for agent in case.agents}
    ranked = sorted(case.agents, key=lambda agent: (agent != reference, cost[agent]))
    return ranked[:_DRAWN_AT_FIRST]
