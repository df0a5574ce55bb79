"""Workloads played as ``foreshade evaluate`` plays them: whole, with forecasts in the state and with components.

Components (racks that go dark, shadows, hosts that are emptied for maintenance) are no part of a native environment.
What is learned, judged and let through the gate here is what is used: the frozen policy as ``agents.ham.agent`` plays
it, and the rules as they come with the package, both with the same components; baselines have none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from foreshade.agents.baselines.registry import AgentFiles, make_agent
from foreshade.agents.decisions import HAM, Taken
from foreshade.agents.decisions import RULES as BY_RULES
from foreshade.agents.episode import play
from foreshade.agents.ham.agent import OUT_OF_RANGE, Ham
from foreshade.agents.ham.chosen_among import candidates_of
from foreshade.agents.ham.frozen import FrozenPolicy
from foreshade.agents.managers.manager import Manager
from foreshade.agents.managers.registry import load_components
from foreshade.agents.rules.rules import Decider, load_rules
from foreshade.envs.errors import InputError
from foreshade.envs.simulated import SimulatedWorld
from foreshade.training.cases import groups_of, ham_cases, scenarios_of, world_of
from foreshade.training.evaluation import F64, RULES, Comparison, Episodes, means
from foreshade.training.seen import Seen, Sight
from foreshade.training.side_by_side import side_by_side

NATIVE, DEFAULT_COMPONENTS = "native", "default"
Asked = TypeVar("Asked")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Ran:
    """What one run came to."""

    usd: float
    terms: Mapping[str, float]  # USD
    actions: Mapping[str, int]  # decisions by kind of candidate
    decisions: int
    doubted: int  # of them left to the rules
    out_of_range: int


class WholeRuns:
    """Named workloads (``training.cases``), one run each.

    Args:
        cases: their names.
        components: ``default`` = those that are on; else as ``foreshade evaluate --components`` has it. Of the
            policy and the rules: baselines have none.
        baselines: labels of opponents beside the rules.
        processes: that play at the same time.
        world: the world of a case.

    """

    first_seed = 0  # failures are of the case's own seed

    def __init__(
        self,
        cases: Sequence[str],
        components: str,
        *,
        baselines: Sequence[str] = (),
        processes: int = 1,
        world: Callable[[str], SimulatedWorld] | None = None,
    ) -> None:
        self.cases = tuple(cases)
        self._world = world or _world
        self._components = None if components == DEFAULT_COMPONENTS else components
        load_components(self._components)  # raises where there is no such component
        self._labels = (RULES, *baselines)
        self._processes = processes
        self._opponents: dict[str, F64] | None = None

    @classmethod
    def of_scenario(
        cls, scenario: str, purpose: str, components: str, processes: int, baselines: Sequence[str] = ()
    ) -> WholeRuns:
        """The cases of a scenario, or of all (``mixed``).

        Raises:
            InputError: the scenario has no named cases, or there is no such component.

        """
        cases = ham_cases(scenario, purpose)
        if not cases:
            raise InputError(
                f"components: expected {NATIVE} for {scenario}, which has no workloads named for training, "
                f"got {components!r}"
            )
        return cls(cases, components, baselines=baselines, processes=processes)

    @property
    def groups(self) -> Sequence[int]:
        """By day, or stretch of days."""
        return groups_of(self.cases)

    @property
    def strata(self) -> Sequence[int]:
        """By scenario."""
        return scenarios_of(self.cases)

    def __len__(self) -> int:
        """Workloads."""
        return len(self.cases)

    def seen(self, policy: FrozenPolicy, first: int = 0) -> Iterator[Seen]:
        """The runs from ``first`` on under a policy that is in doubt about nothing, in the order of the cases."""
        return self._each(partial(_seen, self._world, self._components, policy), self.cases[first:])

    def opponents(self) -> Mapping[str, F64]:
        """(n,) USD of the rules and of every baseline on these workloads; played once."""
        if self._opponents is None:
            asked = [(label, case) for label in self._labels for case in self.cases]
            usd = list(self._each(partial(_cost_usd, self._world, self._components), asked))
            each = np.reshape(np.array(usd, np.float64), (len(self._labels), -1))
            self._opponents = dict(zip(self._labels, each, strict=True))
        return self._opponents

    def compare(self, policy: FrozenPolicy) -> Comparison:
        """The policy as it would be used against the rules and the baselines, run by run."""
        opponents = self.opponents()
        ours = list(self._each(partial(_ran, self._world, self._components, policy), self.cases))
        usd, of_rules = np.array([run.usd for run in ours]), opponents[RULES]
        decisions = max(1, sum(run.decisions for run in ours))
        return Comparison.of(
            Episodes(usd, means([run.terms for run in ours]), means([run.actions for run in ours])),
            opponents,
            self.groups,
            fallback_rate=sum(run.doubted for run in ours) / decisions,
            out_of_range_rate=sum(run.out_of_range for run in ours) / decisions,
            by_case=dict(zip(self.cases, zip(usd.tolist(), of_rules.tolist(), strict=True), strict=True)),
        )

    def _each(self, one: Callable[[Asked], Made], asked: Sequence[Asked]) -> Iterator[Made]:
        return side_by_side(one, asked, self._processes)


class _Watched(Decider):
    """Decides by a policy that is in doubt about nothing; keeps what it is shown."""

    def __init__(self, policy: FrozenPolicy, managers: Sequence[Manager]) -> None:
        super().__init__("ham", candidates_of(policy, load_rules()), managers)
        self.sight = Sight(policy.schema)
        self._policy, self._flat = policy, np.zeros(policy.schema.size, np.float32)

    def choose(self) -> Taken:
        self.proposer.write(self._flat)
        self.sight.add(self._flat)
        return Taken(self._policy.choose(self._flat, self.proposer.preferred).candidate, HAM)


def _world(case: str) -> SimulatedWorld:
    return world_of(case, forecast="table")()


def _seen(
    world: Callable[[str], SimulatedWorld], components: str | None, policy: FrozenPolicy, case: str
) -> Seen:
    agent = _Watched(policy, load_components(components))
    return agent.sight.seen(play(world(case), agent).cost_usd)


def _cost_usd(
    world: Callable[[str], SimulatedWorld], components: str | None, asked: tuple[str, str]
) -> float:
    label, case = asked
    return play(world(case), make_agent(label, AgentFiles(components=components))).cost_usd


def _ran(
    world: Callable[[str], SimulatedWorld], components: str | None, policy: FrozenPolicy, case: str
) -> Ran:
    agent = Ham(policy=policy, managers=load_components(components))
    metrics = play(world(case), agent)
    said = agent.tally.summary()
    kinds = {kind: int(row.get(HAM, 0) + row.get(BY_RULES, 0)) for kind, row in said.by_kind.items()}
    return Ran(
        metrics.cost_usd,
        dict(metrics.cost_terms),
        kinds,
        sum(kinds.values()),
        sum(said.doubts.values()),
        said.doubts.get(OUT_OF_RANGE, 0),
    )
