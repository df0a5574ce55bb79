"""Plays a run up to a tick and shows how that tick was decided: ``foreshade explain``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from foreshade.adapters.app.evaluate import Progress, Say, forecast_of, make_tables
from foreshade.agents.agent import Agent
from foreshade.agents.baselines.registry import FILED, AgentFiles, make_agent
from foreshade.agents.cloudsim_episode import cloudsim_site, cloudsim_world
from foreshade.agents.decisions import hesitation
from foreshade.agents.explanation import Explained, TickRecorder, Weighed
from foreshade.agents.rules.rules import Decider
from foreshade.envs.errors import InputError
from foreshade.envs.model.action import Action, Plan
from foreshade.envs.native_schema import native_schema
from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import Site, site_of
from foreshade.envs.workloads.of_scenario import Loaded, workload_of
from foreshade.envs.workloads.planetlab import PercentDay
from foreshade.envs.world import World

_TERMS = ("performance", "utilisation", "cost", "latency", "score")
_FILE_WIDTH = 160


@dataclass(frozen=True, slots=True)
class Explanation:
    """A tick of a run, and how it was decided."""

    scenario: Scenario
    workload: str
    seed: int
    agent: str
    tick: int
    decisions: tuple[Explained, ...]
    plan: tuple[Action, ...]  # what they came to

    @property
    def time(self) -> datetime:
        """When the tick begins, by the scenario's clock."""
        return self.scenario.start + timedelta(seconds=self.tick * self.scenario.tick_s)


def explain(
    scenario: Scenario,
    workload_spec: str | None,
    label: str,
    tick: int,
    seed: int,
    *,
    files: AgentFiles | None = None,
    forecast: str | None = None,
    on_progress: Progress = lambda _done, _total: None,
    say: Say = lambda _: None,
) -> Explanation:
    """Play as ``evaluate`` would, and look at one tick.

    Args:
        scenario: what to play.
        workload_spec: instead of the scenario's own workload; None = the scenario's.
        label: ``rules`` or ``ham``.
        tick: to look at, from 0.
        seed: of failures, of generated workloads and of samples.
        files: that the agent is made from.
        forecast: none, table or online, as in ``evaluate``.
        on_progress: told the ticks played and the ticks to play.
        say: told once where a table of forecasts is made first, which takes time.

    Raises:
        InputError: another agent, a tick that the run does not have, a file that does not verify, or a
            workload that cannot be had.

    """
    if label not in FILED:
        raise InputError(f"--agent {label}: expected {' or '.join(FILED)}, which choose among candidates")
    files = files or AgentFiles()
    files.check([label])
    agent = cast(Decider, make_agent(label, files))
    loaded = workload_of(scenario, workload_spec, seed)
    shown = forecast_of(scenario, forecast)
    ticks = _ticks(scenario, loaded)
    if not 0 <= tick < ticks:
        raise InputError(f"--tick {tick}: expected 0 to {ticks - 1} in {scenario.name} with {loaded.spec}")
    world: World
    if isinstance(loaded.played, PercentDay):
        cloudsim = cloudsim_world(scenario, loaded.played)
        world, site = cloudsim, cloudsim_site(scenario, cloudsim, seed)
    else:
        if shown == "table":
            make_tables(scenario, {seed: loaded}, on_progress, say)
        simulated = SimulatedWorld(scenario, loaded.played, seed, forecast=shown)
        world, site = simulated, site_of(simulated, seed)
    decisions, plan = _decisions_of(world, site, agent, tick, on_progress)
    return Explanation(scenario, loaded.spec, seed, label, tick, decisions, plan)


def _ticks(scenario: Scenario, loaded: Loaded) -> int:
    """Ticks at which something is decided; CloudSim's day ends with the last sample."""
    ticks = min(scenario.n_ticks or loaded.played.n_ticks, loaded.played.n_ticks)
    return ticks - 1 if isinstance(loaded.played, PercentDay) else ticks


def _decisions_of(
    world: World, site: Site, agent: Decider, tick: int, on_progress: Progress
) -> tuple[tuple[Explained, ...], tuple[Action, ...]]:
    player: Agent = agent
    player.reset(site)
    for k in range(tick):
        state = world.observe()
        world.execute(Plan(state.tick, player.act(state)))
        world.advance()
        on_progress(k + 1, tick)
    recorder = TickRecorder(agent)
    agent.on_decision = recorder
    plan = tuple(agent.act(world.observe()))
    agent.on_decision = None
    return tuple(recorder.decisions), plan


def to_json(said: Explanation) -> dict[str, Any]:
    """The explanation as plain values: every candidate with all its features."""
    return {
        "scenario": said.scenario.name,
        "variant": said.scenario.variant,
        "workload": said.workload,
        "seed": said.seed,
        "agent": said.agent,
        "tick": said.tick,
        "time": said.time.isoformat(),
        "decisions": [decision_to_json(decision) for decision in said.decisions],
        "plan": [
            {
                "kind": action.kind.name.lower(),
                **{key: getattr(action, key) for key in ("vm", "host", "app", "rack", "value", "value2")},
                "allocation": action.allocation,
                "reason": action.reason,
            }
            for action in said.plan
        ],
    }


def decision_to_json(decision: Explained) -> dict[str, Any]:
    """One decision as plain values: every candidate with all its features."""
    return {
        "chosen": decision.taken.candidate,
        "by": decision.taken.by,
        "doubt": decision.taken.doubt,
        "confidence": decision.confidence,
        "out_of_range": decision.out_of_range,
        "context": dict(decision.context),
        "candidates": [
            {
                "index": one.index,
                "what": one.what,
                **one.said,
                "probability": one.probability,
                "verdict": one.verdict,
                "features": dict(one.features),
            }
            for one in decision.candidates
        ],
    }


def print_explanation(said: Explanation, top: int, console: Console | None = None) -> None:
    """Write tables to ``console``; ``top`` candidates of each decision, 0 = all."""
    out = console or Console()
    if console is None and not out.is_terminal:
        out.width = max(out.width, _FILE_WIDTH)
    out.print(Group(*_parts(said, top)))


def _parts(said: Explanation, top: int) -> Sequence[RenderableType]:
    heading = Text(f"{said.scenario.name} · {said.workload} · seed {said.seed} · {said.agent}", style="bold")
    heading.append(f"\ntick {said.tick}, {said.time:%A %Y-%m-%d %H:%M}: ", style="not bold")
    n = len(said.decisions)
    heading.append(f"{n} decision{'s' if n != 1 else ''}, {len(said.plan)} actions\n", style="not bold")
    parts: list[RenderableType] = [heading]
    for number, decision in enumerate(said.decisions, start=1):
        parts.append(_candidates(number, decision, top))
        if decision.taken.candidate != 0:
            parts.append(_features(decision.chosen))
    return parts


def _candidates(number: int, decision: Explained, top: int) -> Table:
    chosen = decision.chosen
    title = Text(f"Decision {number}: {chosen.what}, taken by {decision.taken.by}", style="bold")
    if why := hesitation(decision.taken.doubt, decision.out_of_range, decision.confidence):
        title.append(f"  {why}", style="not bold")
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("candidate", no_wrap=True)
    for term in _TERMS:
        table.add_column(f"{term}\nUSD", justify="right", no_wrap=True)
    table.add_column("prefer-\nence", justify="right", no_wrap=True)
    asked = decision.confidence is not None
    if asked:
        table.add_column("HAM\n%", justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    ranked = sorted(decision.candidates, key=lambda one: _rank(one, chosen))
    for one in ranked[:top] if top else ranked:
        odds = [f"{100.0 * one.probability:.2f}" if one.probability is not None else ""] if asked else []
        cells = [str(one.index), one.what, *(_usd(one.said[term]) for term in _TERMS)]  # type: ignore[literal-required]
        style = "bold" if one is chosen else "" if one.said["possible"] else "dim"
        table.add_row(
            *cells, f"{one.said['preference']:.3f}".replace("-", "−"), *odds, one.verdict, style=style
        )
    if top and len(ranked) > top:
        table.caption = Text(f"{len(ranked) - top} more: --top 0, or --json with all features", style="dim")
        table.caption_justify = "left"
    return table


def _rank(one: Weighed, chosen: Weighed) -> tuple[bool, bool, float, float, int]:
    """The taken one first, then what was possible by HAM's probability and the rules' preference."""
    odds = -(one.probability or 0.0)
    return (one is not chosen, not one.said["possible"], odds, -one.said["preference"], one.index)


def _features(chosen: Weighed) -> Table:
    """Features of the chosen that are not 0, with unit and meaning; the flag of its kind says nothing new."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 2))
    table.add_column("feature of the taken one")
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("what it is", style="dim")
    for column in native_schema().candidate:
        value = chosen.features[column.name]
        if value != 0.0 and column.name != chosen.said["kind"]:
            table.add_row(column.name, f"{value:.4g}", column.unit if column.unit != "1" else "", column.doc)
    table.add_section()
    table.add_row()
    return table


def _usd(value: float) -> str:
    return f"{value:.5f}".replace("-", "−") if round(value, 5) != 0.0 else "0"
