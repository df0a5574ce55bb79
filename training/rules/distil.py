"""A policy's choice distilled into a shallow tree of rules, VIPER's manner.

Bastani, Pu & Solar-Lezama, *Verifiable Reinforcement Learning via Policy Extraction*, NeurIPS 2018: the student
plays, the teacher says what it would have done in the states that the student comes to (DAgger), and states count
by what a wrong choice may cost there. Here a tree does not name an action but what to add to a candidate's
preference: CART finds where the teacher departs from the rules, by least squares on its correction, and the leaves
are then set so that the teacher's choices become the likeliest, which is convex: a conditional logit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foreshade.agents.decisions import HAM, Taken
from foreshade.agents.episode import play
from foreshade.agents.ham.agent import Ham
from foreshade.envs.candidates import CandidateKnobs
from foreshade.envs.extras import require
from foreshade.envs.features import F32
from foreshade.envs.native_schema import native_schema
from foreshade.envs.rule_tree import Node
from foreshade.training.estimate import Estimate
from foreshade.training.rules.ground import MEASURES, Ground, figures_of
from foreshade.training.rules.reading import Reader, Seen
from foreshade.training.rules.tree_fit import fitted

#: Decisions that are kept of a world each time it is played.
MOST_OF_A_WORLD = 1500


@dataclass(frozen=True, slots=True)
class Distilled:
    """A tree and how well it stands in for its teacher."""

    knobs: CandidateKnobs  # the teacher's candidates with the tree
    rounds: int
    decisions: int  # that it was fitted to
    agreement: float  # share of the teacher's decisions in held-out states that it takes too
    agreement_of_rules: float  # the same of the rules without it
    departures: float  # share of held-out decisions in which the teacher departs from the rules
    agreement_in_departures: float  # of those, the tree's; NaN where there are none
    against_rules: dict[str, Estimate]  # tree minus the untuned rules, by measure
    teacher_against_rules: dict[str, Estimate]
    against_teacher: dict[str, Estimate]  # value lost
    over_rules: Estimate  # logarithm of the tree's cost over the untuned rules'
    teacher_over_rules: Estimate  # likewise of the policy's

    @property
    def leaves(self) -> int:
        """Of the tree."""
        return self.knobs.tree.leaves() if self.knobs.tree is not None else 1

    @property
    def kept(self) -> float:
        """Share of the policy's advantage that the tree has, in logarithms of cost; NaN where it has none."""
        theirs = self.teacher_over_rules
        return self.over_rules.mean / theirs.mean if theirs.resolved and theirs.mean < 0 else math.nan

    def sentences(self) -> tuple[str, ...]:
        """In words, most important first."""
        theirs, ours, lost = (
            e["cost"] for e in (self.teacher_against_rules, self.against_rules, self.against_teacher)
        )
        said = [
            (
                f"{self.leaves} leaves; it decides as the policy in {self.agreement:.1%} of held-out states "
                f"(the rules: {self.agreement_of_rules:.1%}; the policy departs from them in {self.departures:.1%})"
            ),
            (
                f"cost over the untuned rules', geometric mean: policy {_ratio(self.teacher_over_rules)}, "
                f"tree {_ratio(self.over_rules)}"
            ),
            f"in USD a run: policy {_said(theirs)}, tree {_said(ours)}; tree against policy {_said(lost)}",
        ]
        if math.isfinite(self.kept):
            said.append(f"the tree keeps {self.kept:.0%} of the policy's advantage over the untuned rules")
        else:
            said.append("the policy has no advantage over the untuned rules that could be told from chance")
        return tuple(said)

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold."""

        def rows(estimates: dict[str, Estimate]) -> dict[str, dict[str, float | None]]:
            return {
                k: {"mean": _known(e.mean), "half_width": _known(e.half_width)} for k, e in estimates.items()
            }

        return {
            "leaves": self.leaves,
            "rounds": self.rounds,
            "decisions": self.decisions,
            "agreement": self.agreement,
            "agreement_of_rules": self.agreement_of_rules,
            "departures": self.departures,
            "agreement_in_departures": _known(self.agreement_in_departures),
            "kept": _known(self.kept),
            "cost_over_rules": math.exp(self.over_rules.mean),
            "policy_cost_over_rules": math.exp(self.teacher_over_rules.mean),
            "against_rules": rows(self.against_rules),
            "policy_against_rules": rows(self.teacher_against_rules),
            "against_policy": rows(self.against_teacher),
        }


class Witness(Ham):
    """The teacher, or a student in its place, with every decision written down as the teacher sees it."""

    def __init__(self, folder: str | Path | None, reader: Reader) -> None:
        super().__init__(folder)
        self.reader = reader
        self.student: Node | None = None  # who plays; None = the teacher
        self.time_s = 0.0
        self._parts: list[tuple[F32, int, F32, float]] = []

    def choose(self) -> Taken:
        """Ask the teacher, write down, and let whoever plays decide."""
        taken = super().choose()
        policy, flat = self.policy, self._flat
        if policy is None:
            raise RuntimeError("distil: expected a policy that verifies")
        context, candidates, mask = policy.schema.split(flat)
        allowed = np.flatnonzero(mask > 0)
        rows = self.reader.rows(context, candidates[allowed], self.time_s)
        wanted = rows[:, self.reader.preference]  # the rules', where they decide
        weight = float(wanted.max() - wanted.min())
        if taken.by == HAM:
            wanted = policy.scores(flat[None])[0][allowed] * np.float32(policy.shape.temperature)
            wanted -= wanted[0]
            weight = float(wanted.max() - wanted.min())
        chosen = int(np.flatnonzero(allowed == taken.candidate)[0])
        self._parts.append((rows, chosen, wanted, weight))
        if self.student is None:
            return taken
        liked = self.reader.preferences(self.student, rows)
        return Taken(int(allowed[int(liked.argmax())]), HAM)

    def act(self, state: Any) -> Any:
        """The actions of this tick."""
        self.time_s = state.time_s
        return super().act(state)

    def seen(self) -> Seen:
        """What was written down since the last call."""
        parts, self._parts = self._parts, []
        sizes = [len(rows) for rows, _, _, _ in parts]
        first = np.cumsum([0, *sizes]).astype(np.int64)
        floor = float(np.mean([weight for *_, weight in parts])) * 0.1 + 1e-6
        return Seen(
            np.concatenate([rows for rows, _, _, _ in parts]),
            first,
            first[:-1] + np.array([chosen for _, chosen, _, _ in parts], np.int64),
            np.concatenate([wanted for _, _, wanted, _ in parts]),
            np.array([weight + floor for *_, weight in parts], np.float32),
        )


def distil(
    folder: str | Path | None,
    untuned: CandidateKnobs,
    train: Ground,
    validate: Ground,
    *,
    leaves: int = 32,
    rounds: int = 4,
    most_decisions: int = 6000,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Distilled:
    """Fit a tree to the policy of a folder, and play rules, policy and tree on worlds that took no part.

    Args:
        folder: frozen policy; None = the one that ships.
        untuned: rules that both are compared with.
        train: worlds whose states are labelled.
        validate: worlds that agreement and value are measured on.
        leaves: at most.
        rounds: of playing and fitting; in the first the teacher plays.
        most_decisions: drawn for a fit, by what a wrong choice may cost.
        seed: of those draws.
        on_progress: told rounds done and to do.

    Raises:
        InputError: the policy does not verify.
        MissingExtraError: scikit-learn is not installed.

    """
    tree_module = require("sklearn.tree", "rules", "rules distil")
    teacher = Ham(folder)
    plain = teacher.knobs
    reader = Reader(native_schema(plain.k), plain.threshold)
    witness = Witness(folder, reader)
    rng = np.random.default_rng(seed)
    everything: list[Seen] = []
    tried: list[tuple[float, Node, int]] = []
    for number in range(rounds):
        on_progress(number, rounds)
        cost = 0.0
        for _, world, at in train.fresh():
            cost += figures_of(play(world, witness, at))["cost"]
            seen = witness.seen()
            everything.append(seen.some(np.sort(rng.permutation(seen.decisions)[:MOST_OF_A_WORLD])))
        if witness.student is not None:  # the round's play is what the last tree is worth
            tried.append((cost, witness.student, number))
        seen = Seen.joined(everything)
        odds = seen.weight.astype(np.float64)
        drawn = np.sort(rng.choice(seen.decisions, min(most_decisions, seen.decisions), p=odds / odds.sum()))
        witness.student = fitted(tree_module, reader, seen.some(drawn), leaves)
    last = witness.student or Node(prefer=0.0)
    cost = train.play(plain.model_copy(update={"tree": last})).mean("cost") * len(train)
    tried.append((cost, last, rounds))
    _, best, number = min(tried, key=lambda one: one[0])
    on_progress(rounds, rounds)
    return _judged(
        folder, plain.model_copy(update={"tree": best}), untuned, validate, reader, number, seen.decisions
    )


def _judged(
    folder: str | Path | None,
    knobs: CandidateKnobs,
    untuned: CandidateKnobs,
    validate: Ground,
    reader: Reader,
    rounds: int,
    decisions: int,
) -> Distilled:
    tree = knobs.tree or Node(prefer=0.0)
    witness = Witness(folder, reader)
    parts: list[Seen] = []
    for _, world, at in validate.fresh():
        play(world, witness, at)
        parts.append(witness.seen())
    seen = Seen.joined(parts)
    preference = seen.rows[:, reader.preference]
    ours = reader.choices(reader.preferences(tree, seen.rows), seen)
    rules = reader.choices(preference, seen)
    departs = rules != seen.chosen
    agrees = ours == seen.chosen
    base, theirs, mine = (
        validate.play(untuned),
        validate.play_agent(lambda: Ham(folder)),
        validate.play(knobs),
    )
    return Distilled(
        knobs,
        rounds,
        decisions,
        float(agrees.mean()),
        float((~departs).mean()),
        float(departs.mean()),
        float(agrees[departs].mean()) if departs.any() else float("nan"),
        {name: mine.less(base, name) for name in MEASURES},
        {name: theirs.less(base, name) for name in MEASURES},
        {name: mine.less(theirs, name) for name in MEASURES},
        mine.over(base),
        theirs.over(base),
    )


def heading(distilled: Distilled, policy: str, scenario: str, worlds: Sequence[str]) -> list[str]:
    """What stands above the file."""
    said = [f"Distilled from {policy} on {scenario}; judged on {len(worlds)} worlds that took no part."]
    return said + [f"{sentence[0].upper()}{sentence[1:]}." for sentence in distilled.sentences()]


def _said(estimate: Estimate) -> str:
    return f"{estimate.mean:+.2f} ± {estimate.half_width:.2f} USD"


def _ratio(estimate: Estimate) -> str:
    low, high = (math.exp(estimate.mean + side * estimate.half_width) for side in (-1, 1))
    return f"{math.exp(estimate.mean):.3f} ({low:.3f} to {high:.3f})"


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
