"""Where rules are proven: worlds of a scenario for training, others to judge on, each built once and played often."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from foreshade.agents.agent import Agent
from foreshade.agents.episode import play
from foreshade.agents.managers.registry import load_components
from foreshade.agents.rules.rules import Rules
from foreshade.envs.candidates import CandidateKnobs
from foreshade.envs.errors import InputError
from foreshade.envs.run_metrics import RunMetrics
from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.workloads.of_scenario import workload_of
from foreshade.envs.workloads.workload import Workload
from foreshade.training.cases import world_of
from foreshade.training.estimate import Estimate, paired

Purpose = Literal["train", "validate"]

#: What rules are made on and judged on; worlds of one share neither VMs nor time with those of the other.
RULE_CASES: Mapping[str, Mapping[Purpose, tuple[str, ...]]] = {
    "enterprise": {
        "train": tuple(f"enterprise:{seed}" for seed in range(100, 108)),
        "validate": tuple(f"enterprise:{seed}" for seed in range(200, 220)),
    },
    "planetlab": {
        "train": ("planetlab:20110306", "planetlab:20110309", "planetlab:20110322"),
        "validate": ("planetlab:20110303", "planetlab:20110325"),
    },
    "bitbrains": {
        "train": tuple(f"bitbrains:{part}:{day}" for day in (0, 4, 8) for part in ("first", "other")),
        "validate": tuple(
            f"bitbrains:{part}:{day}" for day in (12, 16, 20, 24) for part in ("first", "other")
        ),
    },
}
#: All of them together.
MIXED = "mixed"
#: Seeds of any other scenario.
SEEDS: Mapping[Purpose, range] = {"train": range(100, 108), "validate": range(200, 220)}

#: Figures of a run that rules are judged by, and their units.
MEASURES: Mapping[str, str] = {
    "cost": "USD",
    "energy": "kWh",
    "unmet": "%",
    "worst": "%",
    "migrations": "",
}

MakeWorld = Callable[[], SimulatedWorld]


def figures_of(metrics: RunMetrics) -> dict[str, float]:
    """What ``MEASURES`` names."""
    return {
        "cost": metrics.cost_usd,
        "energy": metrics.energy_kwh,
        "unmet": 100.0 * metrics.unmet_demand,
        "worst": 100.0 * metrics.unmet_demand_worst_vm,
        "migrations": float(metrics.migrations),
    }


@dataclass(frozen=True, slots=True)
class Played:
    """Figures of every world of a ground, in its order."""

    labels: tuple[str, ...]
    figures: tuple[Mapping[str, float], ...]

    def mean(self, measure: str) -> float:
        """Over the worlds."""
        return sum(row[measure] for row in self.figures) / len(self.figures)

    def less(self, other: Played, measure: str) -> Estimate:
        """These minus the others, world by world."""
        return paired([a[measure] for a in self.figures], [b[measure] for b in other.figures])

    def over(self, other: Played) -> Estimate:
        """The logarithm of cost over the others', world by world: a dear world counts no more than a cheap one."""
        costs = [[math.log(row["cost"]) for row in one.figures] for one in (self, other)]
        return paired(*costs)


class Ground:
    """Worlds that are kept; every play begins them anew with the same seeds."""

    def __init__(self, worlds: Mapping[str, SimulatedWorld], components: str | None = None) -> None:
        if not worlds:
            raise InputError("rules: expected at least one world to play, found none")
        self.worlds = dict(worlds)
        self._components = components

    @classmethod
    def of(
        cls, scenario: str, purpose: Purpose, *, components: str | None = None, most: int = 1000
    ) -> Ground:
        """Those of a scenario, of a YAML file, or of all that are named here (``mixed``).

        Args:
            scenario: name or file.
            purpose: what they are for.
            components: that are on, as ``load_components`` reads it.
            most: worlds at most, the first of them.

        Raises:
            InputError: there is no such scenario or data, or its workload is the same for every seed.

        """
        wants_forecasts = bool(load_components(components))
        forecast: Literal["table", "none"] = "table" if wants_forecasts else "none"
        if scenario == MIXED or scenario in RULE_CASES:
            known = RULE_CASES.values() if scenario == MIXED else (RULE_CASES[scenario],)
            cases = [case for one in known for case in one[purpose][:most]]
            plain = {case: world_of(case)() for case in cases}
            worlds = {
                case: SimulatedWorld(w.scenario, w.workload, number, forecast=forecast)
                for number, (case, w) in enumerate(plain.items())
            }
            return cls(worlds, components)
        return cls(_seeded(scenario, SEEDS[purpose][:most], forecast), components)

    def __len__(self) -> int:
        return len(self.worlds)

    def play(self, knobs: CandidateKnobs) -> Played:
        """The rules with such knobs in every world."""
        return self.play_agent(lambda: Rules(knobs, load_components(self._components)))

    def play_agent(self, make: Callable[[], Agent]) -> Played:
        """A new agent in every world."""
        rows = []
        for number, world in enumerate(self.worlds.values()):
            world.reset(number)
            rows.append(figures_of(play(world, make(), number)))
        return Played(tuple(self.worlds), tuple(rows))

    def fresh(self) -> Iterator[tuple[str, SimulatedWorld, int]]:
        """Every world at its beginning, with its label and seed."""
        for number, (label, world) in enumerate(self.worlds.items()):
            world.reset(number)
            yield label, world, number


def _seeded(
    scenario: str, seeds: Sequence[int], forecast: Literal["table", "none"]
) -> dict[str, SimulatedWorld]:
    said = load_scenario(scenario)
    if said.engine != "foreshade":
        raise InputError(f"--scenario {scenario}: expected the engine foreshade, found {said.engine}")
    worlds: dict[str, SimulatedWorld] = {}
    for seed in seeds:
        loaded = workload_of(said, None, seed)
        if not loaded.seeded or not isinstance(loaded.played, Workload):
            raise InputError(
                f"--scenario {scenario}: expected a workload that differs by seed, so that rules are judged on "
                f"another than they were made on, found {loaded.spec}; sample its VMs with ?vms=N"
            )
        worlds[f"{said.name}:{seed}"] = SimulatedWorld(said, loaded.played, seed, forecast=forecast)
    return worlds
