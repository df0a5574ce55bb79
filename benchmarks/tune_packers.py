"""Tune the packers one knob after the other on training data, or report them on data held out.

    FORESHADE_DATA=... python benchmarks/tune_packers.py tune expected-cost --log tuning.jsonl
    FORESHADE_DATA=... python benchmarks/tune_packers.py report --log tuning.jsonl

Coordinate descent: each knob in turn takes the value of its grid with the least mean cost over the training
cases, relative to the textbook's two sigma; a second pass follows. Every run is logged at once and
never repeated, so a broken search goes on. Empty the log when the agents' code changes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from foreshade.agents.baselines import expected_cost, n_sigma
from foreshade.agents.baselines.expected_cost import ExpectedCost
from foreshade.agents.baselines.n_sigma import NSigma
from foreshade.envs.model.action import Plan
from foreshade.envs.packers import PackerKnobs
from foreshade.envs.site import site_of
from foreshade.training.cases import HELD_OUT, TRAINING, world_of

#: What each knob is tried at, in the order of the search.
GRIDS: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "n-sigma": {
        "z": (1.0, 2.0, 2.5, 3.0, 3.5),
        "target": (0.75, 0.85, 0.95, 1.0),
        "drain_ticks": (24, 72, 288),
        "boot_weight": (0.0, 0.5, 1.0),
        "relief": (0.95, 1.0, 1.1),
        "window.ticks": (6, 12, 24, 48),
        "window.last": (0.0, 0.25, 0.5),
        "floor": (0.02, 0.05, 0.08, 0.12),
        "drain_hosts": (1, 4, 20),
        "horizon_ticks": (6, 12, 24, 48, 96),
        "fullest": (False, True),
        "reserve": (0.0, 0.5, 1.0, 2.0),
        "rack_credit": (0.0, 0.5, 1.0),
        "failover": (0.0, 0.5, 1.0, 1.5),
        "hazard_per_h": (0.1, 1e9),
    },
    "expected-cost": {
        "drain_ticks": (24, 72, 288),
        "boot_weight": (0.0, 0.5, 1.0),
        "horizon_ticks": (6, 12, 24, 48),
        "sigma_scale": (1.0, 1.5, 2.0, 2.5),
        "window.ticks": (6, 12, 24, 48),
        "window.last": (0.0, 0.25, 0.5, 0.75),
        "floor": (0.02, 0.05, 0.08, 0.12),
        "margin_usd": (0.0, 0.0005, 0.001, 0.002),
        "move_weight": (0.5, 1.0, 2.0, 4.0),
        "drain_hosts": (1, 4, 20),
        "reserve": (0.0, 0.5, 1.0, 2.0),
        "rack_credit": (0.0, 0.5, 1.0),
        "failover": (0.0, 0.5, 1.0, 1.5),
        "hazard_per_h": (0.1, 1e9),
        "window.prior_ticks": (0.5, 2.0, 4.0),
    },
}


def changed(knobs: PackerKnobs, knob: str, value: Any) -> PackerKnobs:
    """The knobs with one of them set; ``floor`` is the CPU's least sigma."""
    if knob == "floor":
        floor = (value, *knobs.window.floor_sigma[1:])
        return replace(knobs, window=replace(knobs.window, floor_sigma=floor))
    if knob.startswith("window."):
        return replace(knobs, window=replace(knobs.window, **{knob.removeprefix("window."): value}))
    return replace(knobs, **{knob: value})


def run(case: str, agent: NSigma | ExpectedCost | None) -> dict[str, Any]:
    """Play a case; what it cost, and the time that deciding took."""
    case, _, spread = case.partition("+")
    world = world_of(case)()
    spent = 0.0
    if spread:
        world.observe()
        world.advance()
    if agent is not None:
        agent.reset(site_of(world, 0))
    while not world.done:
        state = world.observe()
        if agent is not None:
            begin = time.thread_time()
            actions = agent.act(state)
            spent += time.thread_time() - begin
            world.execute(Plan(state.tick, actions))
        world.advance()
    m = world.metrics()
    return {
        "cost_usd": m.cost_usd,
        "terms": dict(m.cost_terms),
        "kwh": m.energy_kwh,
        "unmet": m.unmet_demand,
        "worst": m.unmet_demand_worst_vm,
        "migrations": m.migrations,
        "boots": m.counts["host_boots"],
        "refused": m.counts["refused"],
        "ms": 1e3 * spent / m.ticks,
    }


class Log:
    """Results by agent, knobs and case; each line is one run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._runs: dict[str, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                said = json.loads(line)
                self._runs[said["key"]] = said["result"]

    def run(self, kind: str, knobs: PackerKnobs | None, case: str) -> dict[str, Any]:
        """The result of a run, from the log if it is there."""
        key = json.dumps([kind, asdict(knobs) if knobs else None, case], sort_keys=True)
        if key not in self._runs:
            agent = None
            if knobs is not None:
                agent = NSigma(knobs.z or 0.0, knobs) if kind == "n-sigma" else ExpectedCost(knobs)
            self._runs[key] = run(case, agent)
            with self._path.open("a") as out:
                out.write(json.dumps({"key": key, "result": self._runs[key]}) + "\n")
        return self._runs[key]

    def score(self, kind: str, knobs: PackerKnobs, cases: tuple[str, ...] = TRAINING) -> float:
        """Mean over the cases of cost over that of the textbook's two sigma."""
        textbook = [self.run("n-sigma", n_sigma.START, c)["cost_usd"] for c in cases]
        costs = [self.run(kind, knobs, c)["cost_usd"] for c in cases]
        return float(np.mean(np.array(costs) / np.array(textbook)))


def tune(kind: str, log: Log, passes: int, start: str, only: str) -> None:
    module = n_sigma if kind == "n-sigma" else expected_cost
    knobs: PackerKnobs = getattr(module, start.upper())
    best = log.score(kind, knobs)
    print(f"{kind} start: {best:.4f}", flush=True)
    for turn in range(passes):
        for knob, grid in GRIDS[kind].items():
            if only and knob not in only.split(","):
                continue
            before = best
            tried = {}
            chosen = knobs
            for value in grid:
                candidate = changed(knobs, knob, value)
                score = log.score(kind, candidate)
                tried[value] = round(score, 4)
                if score < best - 1e-6:
                    best, chosen = score, candidate
            knobs = chosen
            print(f"{turn} {knob}: {tried} brought {100 * (before - best):.2f} % -> {best:.4f}", flush=True)
    print(json.dumps(asdict(knobs)))


def report(log: Log, cases: tuple[str, ...]) -> None:
    agents: list[tuple[str, str, PackerKnobs | None]] = [
        ("none", "none", None),
        ("n-sigma plain", "n-sigma", n_sigma.START),
        ("n-sigma-2", "n-sigma", replace(n_sigma.TUNED, z=2.0)),
        ("n-sigma", "n-sigma", n_sigma.TUNED),
        ("expected-cost", "expected-cost", expected_cost.TUNED),
    ]
    columns = [
        "case",
        "agent",
        "cost",
        "energy+carbon",
        "unmet",
        "late",
        "downtime",
        "moves",
        "boots",
        "unmet_cpu_%",
        "refused",
        "ms",
    ]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for case in cases:
        for name, kind, knobs in agents:
            r = log.run(kind, knobs, case)
            t = r["terms"]
            money = (r["cost_usd"], t["energy"] + t["carbon"], t["unmet"], t["late"], t["downtime"])
            counts = f"{r['migrations']} | {r['boots']} | {100 * r['unmet']:.3f} | {r['refused']}"
            said = " | ".join(f"{usd:.2f}" for usd in money)
            print(f"| {case} | {name} | {said} | {counts} | {r['ms']:.2f} |", flush=True)
    for name, kind, knobs in agents[1:]:
        assert knobs is not None
        print(f"mean of cost over that of n-sigma plain, {name}: {log.score(kind, knobs, cases):.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=("tune", "report"))
    parser.add_argument("agent", nargs="?", choices=tuple(GRIDS))
    parser.add_argument("--log", type=Path, default=Path("packers.jsonl"))
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--start", choices=("start", "tuned"), default="start")
    parser.add_argument("--knobs", default="", help="only these, with commas between them")
    parser.add_argument("--held-out", action="store_true", help="report on the cases held out")
    args = parser.parse_args()
    if args.what == "tune":
        if args.agent is None:
            parser.error("tune: expected n-sigma or expected-cost")
        tune(args.agent, Log(args.log), args.passes, args.start, args.knobs)
    else:
        report(Log(args.log), HELD_OUT if args.held_out else TRAINING)


if __name__ == "__main__":
    main()
