"""What acting on forecasts is worth on the scenario `surge`: predictive spawning and shadows against reactive ones.

    python benchmarks/surge.py [--seeds 20] [--first 0] [--jobs 2] [--kept surge.jsonl] [--image docs/images/NAME.svg]

What is played is kept in a file of lines, one a run: what stands there is not played again, so a run that is cut
short goes on where it was. Delete the file when the code has changed.

**Surges.** A surge of an application is a run of ticks in which it wants more than 95 % of what its own VMs have.
*Recurring* is one of a ``daily-…`` application that came within an hour of the same time on each of the three days
before; *young* one of the same applications before that; *announced* one of whose quarter-hours and height, give or
take half, people told the forecaster; *heralded* one that a rise of network traffic precedes by twenty minutes;
*random* one whose time nobody can know. *Forecastable* are the recurring and the announced. Nothing in the state says
which is which: the names are the generator's.

**Cost** is what room costs: the run's bill without the credits for unmet and late demand. The reactive baseline is
swept over its threshold of use; "at equal cost" and "at equal unmet demand" are read off its frontier, straight
between the points of a seed, and the best reactive point counts where the frontier does not reach. The simulator
tells unmet demand of a tick exactly and in sum; it is split over applications by what each lacked in that tick.

**Precision and recall** of the trigger, before anything is done: an alarm at a tick is right where a surge begins
within the hour; a surge is found where an alarm stood at least two ticks before it, which is what it takes to create
and warm a shadow. Ticks within surges and in the hour after them do not count.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foreshade._core import ClusterState
from foreshade.agents.managers.despawning import Despawning, DespawningKnobs
from foreshade.agents.managers.manager import Manager
from foreshade.agents.managers.outlook import Outlook
from foreshade.agents.managers.shadows import Shadows, ShadowsKnobs
from foreshade.agents.managers.spawning import Spawning, SpawningKnobs
from foreshade.agents.rules.rules import Rules
from foreshade.envs.model.action import Plan
from foreshade.envs.model.state import VmKind, VmState
from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import site_of
from foreshade.envs.workloads.of_scenario import workload_of
from foreshade.envs.workloads.workload import Workload
from foreshade.training.estimate import Estimate, paired

KINDS = ("recurring", "announced", "young", "heralded", "random")
FORECASTABLE = ("recurring", "announced")
CLASSES: Mapping[str, tuple[str, ...]] = {
    "forecastable": FORECASTABLE,
    **{kind: (kind,) for kind in KINDS},
}
REACTIVE = (0.1, 0.15, 0.3, 0.85)  # of what can be served: thresholds of use
HOUR, LEAD = 12, 2  # ticks


@dataclass(frozen=True)
class Surge:
    """Ticks in which an application wants more than its own VMs can serve."""

    app: int
    first: int
    last: int
    kind: str


def surges(load: Workload, ticks: int) -> list[Surge]:
    """The surges of a workload, by what could be known of them."""
    found = []
    told = [
        (event.series, (event.start_s - load.start_epoch_s) / 300, (event.end_s - load.start_epoch_s) / 300)
        for event in load.events
    ]
    for app, name in enumerate(load.apps.name):
        network = load.demand[:ticks, load.apps.series[app], 3]
        loud = network > 4.0 * np.median(network)
        own = load.vms.flavour[load.vms.app == app, 0].sum()
        over = np.flatnonzero(load.demand[:ticks, load.apps.series[app], 0] > 0.95 * own)
        runs = np.split(over, np.flatnonzero(np.diff(over) > HOUR) + 1) if len(over) else []
        starts = np.array([run[0] for run in runs])
        for run in runs:
            daily = name.startswith("daily")
            known = daily and all((abs(run[0] - 288 * d - starts) <= HOUR).any() for d in (1, 2, 3))
            kind = "recurring" if known else "young" if daily else "random"
            if any(name in who and start <= run[-1] and run[0] < end for who, start, end in told):
                kind = "announced"
            elif name.startswith("heralded") and run[0] >= 3 and loud[run[0] - 3 : run[0]].all():
                kind = "heralded"
            found.append(Surge(app, int(run[0]), int(run[-1]), kind))
    return found


def components(label: str) -> list[Manager]:
    """`forecast`, or `usage-THRESHOLD`, of both or of shadows alone (`…+shadows`)."""
    trigger, _, only = label.partition("+")
    knobs: dict[str, Any] = {"trigger": "forecast"}
    if trigger.startswith("usage"):
        knobs = {"trigger": "usage", "react": float(trigger.partition("-")[2])}
    shadows = Shadows(ShadowsKnobs(**knobs))
    if only == "shadows":
        return [shadows]
    ends = DespawningKnobs(trigger=knobs["trigger"])
    both: list[Manager] = [Spawning(SpawningKnobs(**knobs)), Despawning(ends)]
    return both if only == "spawning" else [*both, shadows]


def kept(path: Path | None) -> dict[tuple[str, int], dict[str, Any]]:
    """The runs of before, by label and seed; a last line that was cut short is played again."""
    found = {}
    if path is not None and path.exists():
        for line in path.read_text().splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            found[row["label"], row["seed"]] = row
    return found


def play(job: tuple[int, str]) -> dict[str, Any]:
    """One run: its cost, and what became of each class of surges."""
    seed, label = job
    scenario = load_scenario("surge")
    load = workload_of(scenario, None, seed).played
    assert isinstance(load, Workload)
    world = SimulatedWorld(scenario, load, seed, forecast="table")
    agent = Rules(managers=[] if label == "none" else components(label))
    agent.reset(site_of(world, seed))
    n, ticks = len(load.apps), world.n_ticks
    demand = load.demand[:ticks, load.apps.series, 0]
    unmet, fill = np.zeros((ticks, n)), np.zeros((ticks, n))
    shifted, helped = np.zeros((2, ticks, n), np.bool_)  # traffic on a shadow; or on any VM but its own
    before = 0.0
    for tick in range(ticks):
        world.execute(Plan(tick, agent.act(world.observe())))
        begins = lacks(world.observe(), demand[tick])
        vms = world.observe().vms
        serves = (vms.weight > 0.0) & (vms.state == VmState.RUNNING)
        shifted[tick, vms.app[serves & (vms.kind == VmKind.SHADOW)]] = True
        helped[tick, vms.app[serves & (np.arange(len(vms.app)) >= len(load.vms))]] = True
        world.advance()
        ends = lacks(world.observe(), demand[tick])
        # What boots within the tick does so early in it.
        part = np.maximum(ends[0], 0.2 * begins[0])
        total = world.metrics().unmet_demand * float(demand[: tick + 1].sum())
        unmet[tick] = part * (max(total - before, 0.0) / part.sum() if part.sum() > 0.0 else 0.0)
        before, fill[tick] = total, begins[1]
    metrics = world.metrics()
    out: dict[str, Any] = {"seed": seed, "label": label, "total_usd": metrics.cost_usd}
    out["room_usd"] = metrics.cost_usd - metrics.cost_terms["unmet"] - metrics.cost_terms["late"]
    out["unmet"], out["spawned"] = metrics.unmet_demand, metrics.counts["spawned"]
    for kind, parts in CLASSES.items():
        of = [s for s in surges(load, ticks) if s.kind in parts]
        own = {s.app: load.vms.flavour[load.vms.app == s.app, 0].sum() for s in of}
        wanted = sum(np.maximum(demand[s.first : s.last + 1, s.app] - own[s.app], 0.0).sum() for s in of)
        missed = sum(unmet[max(s.first - 3, 0) : s.last + 4, s.app].sum() for s in of)
        out[kind] = {
            "surges": len(of),
            "wanted": float(wanted),
            "missed": float(missed),
            "shifted": sum(bool(shifted[s.first, s.app]) for s in of),
            "helped": sum(bool(helped[s.first, s.app]) for s in of),
            "saturated": sum(bool((fill[s.first : s.last + 1, s.app] > 1.0).any()) for s in of),
        }
    return out


def lacks(state: ClusterState, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n_apps,) CPU MHz that members lack at their shares of what is wanted; the fill of the fullest."""
    vms, n = state.vms, len(wanted)
    serves = ((vms.state == VmState.RUNNING) | (vms.state == VmState.MIGRATING)) & (vms.weight > 0.0)
    app, weight, own = vms.app[serves], vms.weight[serves], vms.allocation[serves, 0]
    each = wanted[app] * weight / np.bincount(app, weight, minlength=n)[app]
    full = np.zeros(n)
    np.maximum.at(full, app, each / np.maximum(own, 1e-9))
    return np.bincount(app, np.maximum(each - own, 0.0), minlength=n), full


def signals(seed: int) -> dict[str, Any]:
    """What both triggers see where nobody helps: of each tick and application, over what its own VMs have."""
    scenario = load_scenario("surge")
    load = workload_of(scenario, None, seed).played
    assert isinstance(load, Workload)
    world = SimulatedWorld(scenario, load, seed, forecast="table")
    agent, outlook = Rules(), Outlook(site_of(world, seed))
    agent.reset(site_of(world, seed))
    n = len(load.apps)
    own = np.array([load.vms.flavour[load.vms.app == a, 0].sum() for a in range(n)])
    seen = {"forecast": np.zeros((world.n_ticks, n)), "usage": np.zeros((world.n_ticks, n))}
    for tick in range(world.n_ticks):
        state = world.observe()
        view = outlook.look(state)
        seen["forecast"][tick] = view.level(0.9).max(axis=1) / own
        seen["usage"][tick] = view.now / own
        world.execute(Plan(tick, agent.act(state)))
        world.advance()
    seen["forecast"][:36] = 0.0  # `trust_ticks`
    found = [(s.app, s.first, s.last, s.kind) for s in surges(load, world.n_ticks)]
    return {"seed": seed, "surges": found, **seen}


def precision_recall(
    runs: Sequence[Mapping[str, Any]], trigger: str, cuts: np.ndarray
) -> list[tuple[float, float]]:
    """(recall, precision) at each cut, of all surges of all seeds."""
    out = []
    for cut in cuts:
        right = alarms = found = total = 0
        for run in runs:
            alarm = run[trigger] > cut
            soon, within = np.zeros_like(alarm), np.zeros_like(alarm)
            for app, first, last, _ in run["surges"]:
                soon[max(first - HOUR, 0) : first, app] = True
                within[first : last + 1 + HOUR, app] = True
            for app, first, _, _ in run["surges"]:
                total += 1
                found += bool(alarm[max(first - HOUR, 0) : max(first - LEAD + 1, 0), app].any())
            counts = alarm & (soon | ~within)
            alarms += int(counts.sum())
            right += int((counts & soon).sum())
        if alarms:
            out.append((found / total, right / alarms))
    return out


def at_recall(curve: Sequence[tuple[float, float]], recall: float) -> float:
    """The best precision at a recall of at least so much; NaN where none reaches it."""
    return max((p for r, p in curve if r >= recall), default=float("nan"))


def equal(frontier: Sequence[tuple[float, float]], x: float) -> float:
    """The frontier's y at an x, straight between its points; its nearest end beyond them."""
    ordered = sorted(frontier)
    return float(np.interp(x, [p[0] for p in ordered], [p[1] for p in ordered]))


def said(estimate: Estimate, digits: int = 2) -> str:
    return f"{estimate.mean:+.{digits}f} ± {estimate.half_width:.{digits}f}"


def compare(
    rows: Sequence[Mapping[str, Any]], ours: str, theirs: Sequence[str], seeds: Sequence[int]
) -> None:
    """Equal cost, and equal unmet demand, seed by seed."""
    by = {(row["label"], row["seed"]): row for row in rows}
    for kind in CLASSES:
        with_any = [s for s in seeds if by[ours, s][kind]["surges"]]
        mine = [share(by[ours, s], kind) for s in with_any]
        other = [
            equal([(by[t, s]["room_usd"], share(by[t, s], kind)) for t in theirs], by[ours, s]["room_usd"])
            for s in with_any
        ]
        points = said(paired([100 * x for x in mine], [100 * x for x in other]))
        print(
            f"at equal cost, {kind}: {np.mean(mine):.2%} of what surges want beyond is missed, reactive "
            f"{np.mean(other):.2%}; difference {points} points, {len(with_any)} seeds"
        )
    measures: Mapping[str, Callable[[Mapping[str, Any]], float]] = {
        "all demand": lambda row: row["unmet"],
        "forecastable": lambda row: share(row, "forecastable"),
    }
    for what, of in measures.items():
        mine = [by[ours, s]["room_usd"] for s in seeds]
        lowest = [min(of(by[t, s]) for t in theirs) for s in seeds]
        reached = sum(low <= of(by[ours, s]) for low, s in zip(lowest, seeds, strict=True))
        other = [
            equal([(of(by[t, s]), by[t, s]["room_usd"]) for t in theirs], of(by[ours, s])) for s in seeds
        ]
        ratio = Estimate.of([100 * (a / b - 1.0) for a, b in zip(mine, other, strict=True)])
        saved = f"{np.mean(mine):.2f} USD, reactive {np.mean(other):.2f}; {said(ratio, 1)} %"
        print(
            f"at equal unmet demand, {what}: {saved}; reactive reaches it on {reached} of {len(seeds)} seeds"
        )


def share(row: Mapping[str, Any], kind: str) -> float:
    """Of what surges of a class want beyond the applications' own VMs, how much is missed."""
    return float(row[kind]["missed"] / max(row[kind]["wanted"], 1e-9))


def draw(curves: Mapping[str, Sequence[tuple[float, float]]], path: Path) -> None:
    """The curves as a picture (HTML, or what the extra `plot` writes)."""
    import plotly.graph_objects as go  # noqa: PLC0415 - asked for alone

    figure = go.Figure(
        [
            go.Scatter(x=[r for r, _ in c], y=[p for _, p in c], mode="lines+markers", name=name)
            for name, c in curves.items()
        ]
    )
    figure.update_layout(
        template="plotly_white", width=720, height=420, margin={"l": 60, "r": 20, "t": 20, "b": 50},
        xaxis={"title": "recall: surges with an alarm two ticks before", "range": [0, 1.02]},
        yaxis={"title": "precision: alarms with a surge within the hour", "range": [0, 1.02]},
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".html":
        figure.write_html(path, include_plotlyjs="cdn")
    else:
        figure.write_image(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--kept", type=Path, help="lines of JSON, one a run")
    parser.add_argument("--image", type=Path, help="precision against recall: .html, .svg, .png")
    parser.add_argument("--labels", nargs="+", help="of those below alone, and no comparison")
    args = parser.parse_args()
    seeds = range(args.first, args.first + args.seeds)
    theirs = [f"usage-{threshold:g}" for threshold in REACTIVE]
    alone = ["forecast+shadows"]
    labels = args.labels or ["none", "forecast", *theirs, *alone]
    by = kept(args.kept)
    left = [(seed, label) for seed in seeds for label in labels if (label, seed) not in by]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, context) as pool:
        for row in pool.map(play, left):
            by[row["label"], row["seed"]] = row
            if args.kept is not None:
                with args.kept.open("a") as file:
                    file.write(json.dumps(row) + "\n")
        seen = [] if args.labels else list(pool.map(signals, seeds))
    rows = [by[label, seed] for seed in seeds for label in labels]
    parts = {kind: sum(by[labels[0], seed][kind]["surges"] for seed in seeds) for kind in KINDS}
    print(
        f"seeds {seeds[0]} to {seeds[-1]}; surges: {', '.join(f'{n} {kind}' for kind, n in parts.items())}\n"
    )
    print(
        "| components | room USD | total USD | unmet % | missed: "
        + ", ".join(KINDS)
        + " | forecastable: traffic on a shadow before | on any further VM | some VM full in it |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for label in labels:
        of = [row for row in rows if row["label"] == label]
        mean = {key: np.mean([row[key] for row in of]) for key in ("room_usd", "total_usd", "unmet")}
        missed = ", ".join(
            f"{sum(r[k]['missed'] for r in of) / max(sum(r[k]['wanted'] for r in of), 1e-9):.1%}"
            for k in KINDS
        )
        total = sum(row["forecastable"]["surges"] for row in of)
        counts = [sum(row["forecastable"][key] for row in of) for key in ("shifted", "helped", "saturated")]
        print(
            f"| `{label}` | {mean['room_usd']:.2f} | {mean['total_usd']:.2f} | {100 * mean['unmet']:.3f} | {missed} "
            f"| {counts[0]} of {total} ({counts[0] / max(total, 1):.1%}) | {counts[1] / max(total, 1):.1%} "
            f"| {counts[2]} |"
        )
    if args.labels:
        return
    print()
    compare(rows, "forecast", theirs, seeds)
    curves = {
        "upper forecast": precision_recall(seen, "forecast", np.linspace(0.02, 1.4, 70)),
        "current use": precision_recall(seen, "usage", np.linspace(0.01, 1.0, 70)),
    }
    print("\n| recall | precision, upper forecast | precision, current use |\n|---|---|---|")
    for recall in np.arange(0.1, 1.0, 0.1):
        print(
            f"| {recall:.1f} | " + " | ".join(f"{at_recall(c, recall):.3f}" for c in curves.values()) + " |"
        )
    if args.image is not None:
        draw(curves, args.image)


if __name__ == "__main__":
    main()
