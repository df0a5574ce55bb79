"""Paired evaluation: the frozen policy and its opponents play the same episodes.

Episodes differ more than policies do, so what counts is the difference on each seed (``estimate.paired``).
The policy is judged as it would be deployed: frozen, and with the rules deciding where it is in doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import expm1, isfinite, log
from statistics import fmean
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from foreshade.agents import episode
from foreshade.agents.agent import Agent
from foreshade.agents.baselines.registry import make_baseline
from foreshade.agents.ham.frozen import FrozenPolicy
from foreshade.envs.errors import InputError
from foreshade.envs.features import F32, Schema
from foreshade.training.estimate import Estimate

F64 = npt.NDArray[np.float64]
Chooser = Callable[[F32], npt.NDArray[np.intp]]  # flat observations (n, size) to candidates (n,)

RULES = "rules"
_TRIMMED = 0.05


@dataclass(frozen=True, slots=True)
class Episodes:
    """One episode per environment: environment ``i`` played the episode of seed ``first + i``."""

    cost_usd: F64  # (n,)
    terms: Mapping[str, float]  # USD, mean of an episode
    actions: Mapping[str, float]  # number, mean of an episode


@dataclass(frozen=True, slots=True)
class Comparison:
    """A policy against its opponents."""

    episodes: Episodes
    #: cost of the policy minus that of the opponent, USD of an episode; below zero = the policy is better
    differences: Mapping[str, Estimate]
    #: what the policy saves of the opponent's cost, per cent of an episode's (``saved``)
    savings: Mapping[str, Estimate]
    means_usd: Mapping[str, float]  # mean cost of an episode under each opponent
    fallback_rate: float  # share of the decisions that the rules took over
    out_of_range_rate: float
    #: USD of the policy and of the rules by workload, where each has a name
    by_case: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        episodes: Episodes,
        opponents: Mapping[str, F64],
        groups: Sequence[int],
        *,
        fallback_rate: float,
        out_of_range_rate: float,
        by_case: Mapping[str, tuple[float, float]] | None = None,
    ) -> Comparison:
        """From the (n,) USD of each opponent on the same episodes, of which those of one group are alike."""
        ours = episodes.cost_usd
        return cls(
            episodes,
            {name: Estimate.clustered((ours - usd).tolist(), groups) for name, usd in opponents.items()},
            {name: saved(ours, usd, groups) for name, usd in opponents.items()},
            {name: float(usd.mean()) for name, usd in opponents.items()},
            fallback_rate,
            out_of_range_rate,
            by_case or {},
        )

    @property
    def passed(self) -> bool:
        """The gate: it saves against every opponent with the whole 95 % interval, and loses on no scenario."""
        return all(s.mean - s.half_width > 0 for s in self.savings.values()) and all(
            mean > 0 for mean in self.by_scenario.values()
        )

    @property
    def by_scenario(self) -> dict[str, float]:
        """Mean saved of the rules' cost, per cent, nothing trimmed; where workloads have names."""
        named: dict[str, list[float]] = {}
        for case, (ours, theirs) in self.by_case.items():
            named.setdefault(case.partition(":")[0], []).append(log(theirs / ours))
        return {scenario: _percent(fmean(each)) for scenario, each in named.items()}

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {
            "cost_usd": float(self.episodes.cost_usd.mean()),
            "episodes": len(self.episodes.cost_usd),
            "difference_usd": {
                name: {
                    **_said(d),
                    "opponent_usd": self.means_usd[name],
                }
                for name, d in self.differences.items()
            },
            "saved_percent": {name: _said(one) for name, one in self.savings.items()},
            **({"saved_percent_by_scenario": self.by_scenario} if self.by_case else {}),
            "terms_usd": dict(self.episodes.terms),
            "actions": dict(self.episodes.actions),
            "fallback_rate": self.fallback_rate,
            "out_of_range_rate": self.out_of_range_rate,
            "passed": self.passed,
            **({"by_case": {case: list(usd) for case, usd in self.by_case.items()}} if self.by_case else {}),
        }


def saved(ours_usd: F64, theirs_usd: F64, groups: Sequence[int]) -> Estimate:
    """What a policy saves in per cent, averaged as logarithms; episodes of one group count as one.

    A mean of USD, or of all per cent, is decided by the one run in a hundred in which the host with the last GPUs
    fails, and what it comes to is chance: a twentieth at either end is left out. The half-width is the interval's
    lower one, which is the wider where much is saved.
    """
    of = np.unique(np.asarray(groups), return_inverse=True)[1]
    each = np.bincount(of, np.log(theirs_usd / ours_usd)) / np.bincount(of)
    less = Estimate.trimmed(each.tolist(), _TRIMMED)
    mean = _percent(less.mean)
    return Estimate(mean, mean - _percent(less.mean - less.half_width), less.n)


def _percent(less: float) -> float:
    """Saved of a cost, per cent, where its logarithm is ``less`` smaller."""
    return -100.0 * expm1(-less)


def _said(estimate: Estimate) -> dict[str, float | None]:
    return {
        "mean": estimate.mean,
        "half_width": estimate.half_width if isfinite(estimate.half_width) else None,
    }


def preferred(schema: Schema) -> Chooser:
    """The rules: the unmasked candidate of the highest preference."""

    def choose(flat: F32) -> npt.NDArray[np.intp]:
        _, candidates, mask = schema.split(flat)
        best: npt.NDArray[np.intp] = np.where(mask > 0, candidates[:, :, 0], -np.inf).argmax(axis=1)
        return best

    return choose


def play(env: VecEnv, choose: Chooser, first_seed: int) -> Episodes:
    """Play one episode in every environment; after ``seed(s)``, ``reset()`` gives ``i`` that of ``s + i``."""
    env.seed(first_seed)
    observation = env.reset()
    ended: dict[int, dict[str, Any]] = {}
    while len(ended) < env.num_envs:
        chosen = choose(np.asarray(observation, np.float32))
        observation, _, dones, infos = env.step(chosen)
        for i in np.flatnonzero(dones):
            ended.setdefault(int(i), infos[i])
    said = [ended[i] for i in range(env.num_envs)]
    return Episodes(
        np.array([sum(info["terms"].values()) for info in said], np.float64),
        means([info["terms"] for info in said]),
        means([info["actions"] for info in said]),
    )


def play_by_ticks(env: VecEnv, agent: Agent, first_seed: int) -> F64:
    """(n,) USD of an agent that decides tick by tick on the episodes that ``play`` plays, one after the other."""
    usd = []
    for i in range(env.num_envs):
        world, end_tick = cast(Any, env).episode(i, first_seed + i)
        usd.append(episode.play(world, agent, end_tick=end_tick).cost_usd)
    return np.array(usd, np.float64)


class Judge(Protocol):
    """Compares policies with the rules and with baselines on episodes that it holds."""

    first_seed: int

    def compare(self, policy: FrozenPolicy) -> Comparison:
        """The policy, with the rules where it is in doubt, against the opponents on the same episodes."""
        ...


class Evaluator:
    """Plays frozen policies on held-out episodes of one environment; opponents are played once.

    Args:
        env: of the contract in ``docs/ham.md``; it has ``episode`` where there are baselines.
        first_seed: environment ``i`` plays the episode of this plus ``i``.
        baselines: labels of opponents beside the rules.

    Raises:
        InputError: there is no such baseline, or none can play in this environment.

    """

    def __init__(self, env: VecEnv, first_seed: int, baselines: Sequence[str] = ()) -> None:
        if baselines and not hasattr(env, "episode"):
            raise InputError(
                "evaluation.baselines: expected [], as baselines cannot play in these environments, "
                f"got {', '.join(baselines)}"
            )
        self.env = env
        self.first_seed = first_seed
        self._baselines = {label: make_baseline(label) for label in baselines}
        self._rules: Chooser = preferred(cast(Schema, cast(Any, env).schema))
        self._opponents: dict[str, F64] | None = None

    def opponents(self) -> Mapping[str, F64]:
        """(n,) USD of the rules and of every baseline on these episodes."""
        if self._opponents is None:
            self._opponents = {RULES: play(self.env, self._rules, self.first_seed).cost_usd}
            for label, agent in self._baselines.items():
                self._opponents[label] = play_by_ticks(self.env, agent, self.first_seed)
        return self._opponents

    @property
    def groups(self) -> Sequence[int]:
        """(n,) by episode: those of one number count as one.

        The seeds of a workload change failures alone: what a policy gains on it it gains on all of them, so that
        they are no evidence of their own. No more are draws of one day of a trace.
        """
        n, n_worlds = self.env.num_envs, int(getattr(self.env, "n_worlds", 1))
        if n_worlds == 1:
            return range(n)
        groups = getattr(self.env, "groups", range(n_worlds))
        return [groups[i % n_worlds] for i in range(n)]

    def compare(self, policy: FrozenPolicy) -> Comparison:
        """The policy, with the rules where it is in doubt, against the opponents on the same seeds."""
        opponents = self.opponents()
        counted = np.zeros(3, np.int64)  # decisions, of them in doubt, of them out of range

        def choose(flat: F32) -> npt.NDArray[np.intp]:
            choices = policy.choose_batch(flat)
            doubtful = policy.doubtful(choices)
            counted[:] += len(flat), int(doubtful.sum()), int(choices.out_of_range.sum())
            return np.where(doubtful, self._rules(flat), choices.candidate)

        episodes = play(self.env, choose, self.first_seed)
        return Comparison.of(
            episodes,
            opponents,
            self.groups,
            fallback_rate=float(counted[1] / counted[0]),
            out_of_range_rate=float(counted[2] / counted[0]),
        )


def means(said: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """By name; what one does not say counts as nothing."""
    names = {name: None for one in said for name in one}
    return {name: float(np.mean([one.get(name, 0.0) for one in said])) for name in names}
