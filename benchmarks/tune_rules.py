"""Tune the rules one knob after the other on training data, or report them on data held out.

    FORESHADE_DATA=... python benchmarks/tune_rules.py tune --log rules.jsonl
    FORESHADE_DATA=... python benchmarks/tune_rules.py report [--held-out]
    FORESHADE_DATA=... python benchmarks/tune_rules.py ablate [--held-out] [--cases CASE …]

Coordinate descent as in tune_packers.py; the measure is the geometric mean over the cases of cost over that
of `expected-cost`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from foreshade import _core
from foreshade.agents.rules.rules import load_rules
from foreshade.envs.candidates import PLACEMENT, CandidateKnobs
from foreshade.envs.data_centre import plant
from foreshade.envs.site import native_site, site_of
from foreshade.training.cases import HELD_OUT, TRAINING, world_of

RESHAPES = ("right_size", "grow", "shrink")
GRIDS: Mapping[str, tuple[Any, ...]] = {
    "preferred": (
        RESHAPES,
        (*RESHAPES, "microvm"),
        (*RESHAPES, "microvm", "migrate"),
        (*RESHAPES, "microvm", "migrate", "place"),
        (*RESHAPES, "microvm", "migrate", "power_on"),
        (*RESHAPES, "microvm", "migrate", "drain"),
        (*RESHAPES, "microvm", "migrate", "shadow", "shift", "release"),
        (*RESHAPES, "microvm", "migrate", "despawn"),
    ),
    "headroom": (1.2, 1.4, 1.6, 1.8, 2.2),
    "ceiling": (1.0, 1.5, 2.0, 3.0),
    "slack": (0.0, 2.0, 3.0, 4.0),
    "slack_floor": (0.3, 0.5, 0.7),
    "unseen": (0.1, 0.2, 0.4),
    "least_change": (0.05, 0.1, 0.2, 0.3),
    "peak_ticks": (72, 144, 288, 1000),
    "floor": (0.05, 0.1, 0.15, 0.25),
    "settle_ticks": (6, 12, 24),
    "horizon_ticks": (12, 24, 48),
    "threshold": (0.0, 0.02, 0.1),
    "micro_share": (0.1, 0.25, 0.5),
    "micro_life_s": (1800.0, 3600.0, 7200.0),
    "helpers": (1, 2, 4),
    "sigma_scale": (1.0, 1.5, 2.0),
    "plan.sigma_scale": (1.0, 1.5, 2.0, 3.0),
    "plan.reserve": (0.5, 1.0, 2.0, 3.0),
    "plan.failover": (0.0, 1.0, 1.5),
    "plan.drain_ticks": (72, 288),
    "plan.boot_weight": (0.5, 1.0, 3.0),
    "plan.horizon_ticks": (12, 24, 48),
    "plan.move_weight": (1.0, 2.0),
    "plan.margin_usd": (0.0, 0.001),
}


@cache
def site_and_plant(case: str) -> tuple[_core.Plant, _core.Site]:
    """What a case's environments share."""
    world = world_of(case)()
    return plant(world.scenario, world.workload), native_site(site_of(world, 0))


def play(case: str, knobs: CandidateKnobs) -> Mapping[str, float]:
    """What the rules cost on a case, by term, and how much was refused."""
    name, _, spread = case.partition("+")
    shared, site = site_and_plant(name)
    episode = _core.EpisodeKnobs()
    episode.scattered = bool(spread)
    batch = _core.DecisionBatch([shared], [site], knobs.native(), episode, 1, 0)
    observations = np.zeros((1, batch.width), dtype=np.float32)
    chosen = np.zeros(1, dtype=np.int64)
    rewards, discounts = np.zeros(1, dtype=np.float32), np.zeros(1, dtype=np.float32)
    dones, invalid = np.zeros(1, dtype=np.uint8), np.zeros(1, dtype=np.uint8)
    batch.reset(observations)
    while not dones[0]:
        batch.preferred(chosen)
        batch.step(chosen, observations, None, rewards, discounts, dones, invalid)
    sums = batch.finished(0)
    return {**sums["terms"], "usd": sum(sums["terms"].values()), "refused": sums["refused"]}


class Search:
    """Runs that are logged at once and never repeated."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._known: dict[str, float] = {}
        if log.exists():
            for line in log.read_text().splitlines():
                said = json.loads(line)
                self._known[said["key"]] = said["usd"]

    def cost(self, knobs: CandidateKnobs) -> float:
        """Geometric mean over the training cases of cost over that of placement alone."""
        ratios = [np.log(self._usd(case, knobs) / self._usd(case, PLACEMENT)) for case in TRAINING]
        return float(np.exp(np.mean(ratios)))

    def _usd(self, case: str, knobs: CandidateKnobs) -> float:
        key = json.dumps([case, knobs.model_dump(mode="json")], sort_keys=True)
        if key not in self._known:
            self._known[key] = play(case, knobs)["usd"]
            with self._log.open("a") as out:
                out.write(json.dumps({"key": key, "usd": self._known[key]}) + "\n")
        return self._known[key]


def tune(knobs: CandidateKnobs, search: Search, passes: int) -> CandidateKnobs:
    """Each knob in turn takes the best value of its grid."""
    best = search.cost(knobs)
    print(f"start {best:.4f}", flush=True)
    for _ in range(passes):
        before = best
        for knob, grid in GRIDS.items():
            tried = {str(v): (search.cost(knobs.changed({knob: v})), v) for v in grid}
            print(knob, {v: round(c, 4) for v, (c, _) in tried.items()}, flush=True)
            cost, value = min(tried.values(), key=lambda pair: pair[0])
            if cost < best:
                best, knobs = cost, knobs.changed({knob: value})
                print(f"  {knob} = {value}: {best:.4f}", flush=True)
        if best > before - 1e-4:
            break
    return knobs


def ablate(rules: CandidateKnobs, cases: tuple[str, ...]) -> None:
    """What each sort of action brings: the rules without it, and `expected-cost` with it alone."""
    alone = {case: play(case, PLACEMENT)["usd"] for case in cases}

    def mean(kinds: tuple[str, ...]) -> float:
        knobs = rules.changed({"preferred": kinds})
        return float(np.exp(np.mean([np.log(play(case, knobs)["usd"] / alone[case]) for case in cases])))

    print("| kinds | rules without them | `expected-cost` with them alone |")
    print("| --- | ---: | ---: |")
    print(f"| none | {mean(rules.preferred):.4f} | 1 |", flush=True)
    for kinds in (RESHAPES, *((kind,) for kind in rules.preferred if kind not in RESHAPES)):
        rest = tuple(kind for kind in rules.preferred if kind not in kinds)
        print(f"| {', '.join(kinds)} | {mean(rest):.4f} | {mean(kinds):.4f} |", flush=True)


def report(knobs: CandidateKnobs, cases: tuple[str, ...]) -> None:
    """Every case beside placement alone."""
    print("| case | expected-cost | rules | ratio | energy | unmet | late | downtime | refused |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    ratios = []
    for case in cases:
        alone, ours = play(case, PLACEMENT)["usd"], play(case, knobs)
        ratios.append(np.log(ours["usd"] / alone))
        terms = " | ".join(f"{ours[term]:.2f}" for term in ("energy", "unmet", "late", "downtime"))
        ratio = ours["usd"] / alone
        print(f"| {case} | {alone:.2f} | {ours['usd']:.2f} | {ratio:.3f} | {terms} | {ours['refused']} |")
    print(f"\nGeometric mean {np.exp(np.mean(ratios)):.3f}")


def main() -> None:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("what", choices=("tune", "report", "ablate"))
    parser.add_argument("--log", type=Path, default=Path("rules.jsonl"))
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--cases", nargs="+", help="of training/cases.py, instead of all")
    said = parser.parse_args()
    rules = load_rules()
    cases = tuple(said.cases) if said.cases else HELD_OUT if said.held_out else TRAINING
    if said.what != "tune":
        {"report": report, "ablate": ablate}[said.what](rules, cases)
        return
    tuned = tune(rules, Search(said.log), said.passes)
    for knob in GRIDS:
        print(f"{knob}: {tuned.value(knob)}")


if __name__ == "__main__":
    main()
