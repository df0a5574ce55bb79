"""A tree read over many candidates at once, as the core reads it one by one; and decisions as they were seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foreshade.envs.features import F32, Schema
from foreshade.envs.rule_tree import RULED_KINDS, Condition, Node, Verdict, conditions_of, word_of

#: Preference of a candidate that may never be taken, as in the core.
LOWEST = -10.0
#: What the rules take stands so far above wait, what they leave so far below.
STEP = 0.7


@dataclass(frozen=True, slots=True)
class Seen:
    """Decisions as a policy saw them: the unmasked candidates of all, one after another, ``wait`` first in each."""

    rows: F32  # (n, G + F + 2): context, candidate, hour, weekday
    first: npt.NDArray[np.int64]  # (decisions + 1,) where each decision's candidates begin
    chosen: npt.NDArray[np.int64]  # (decisions,) row that the teacher takes, counted in ``rows``
    wanted: F32  # (n,) what the teacher's preference would be, on the rules' scale; wait's is 0
    weight: F32  # (decisions,) what a wrong choice may cost, by the teacher

    @property
    def decisions(self) -> int:
        """How many there are."""
        return len(self.chosen)

    @classmethod
    def joined(cls, parts: Iterable[Seen]) -> Seen:
        """One after the other."""
        found = list(parts)
        starts = np.cumsum([0, *(len(one.rows) for one in found)])
        return cls(
            np.concatenate([one.rows for one in found]),
            np.concatenate(
                [*(one.first[:-1] + at for one, at in zip(found, starts, strict=False)), starts[-1:]]
            ),
            np.concatenate([one.chosen + at for one, at in zip(found, starts, strict=False)]),
            np.concatenate([one.wanted for one in found]),
            np.concatenate([one.weight for one in found]),
        )

    def some(self, which: npt.NDArray[np.int64]) -> Seen:
        """Those decisions, as often as they are named."""
        sizes = np.diff(self.first)[which]
        first = np.concatenate([[0], np.cumsum(sizes)])
        rows = np.repeat(self.first[which] - first[:-1], sizes) + np.arange(first[-1])
        chosen = self.chosen[which] - self.first[which] + first[:-1]
        return Seen(self.rows[rows], first, chosen, self.wanted[rows], self.weight[which])


class Reader:
    """Trees over the rows of ``Seen``."""

    def __init__(self, schema: Schema, threshold: float = 0.0) -> None:
        self.threshold = threshold  # of the rules, idle host hours
        self.names = (
            *(f"site.{column.name}" for column in schema.context),
            *(column.name for column in schema.candidate),
            "hour",
            "weekday",
        )
        self._column = {name: i for i, name in enumerate(self.names)}
        for i, column in enumerate(schema.context):
            self._column.setdefault(column.name, i)
        self.preference = self._column["preference"]
        self.kinds = {kind: self._column[kind] for kind in RULED_KINDS}
        self.n_context = len(schema.context)

    def rows(self, context: F32, candidates: F32, time_s: float) -> F32:
        """(k, width) of the unmasked candidates (k, F) of one decision."""
        k = len(candidates)
        clock = np.array([time_s % 86_400 / 3600.0, time_s % 604_800 / 86_400.0], np.float32)
        return np.hstack([np.tile(context, (k, 1)), candidates, np.tile(clock, (k, 1))])

    def leaves(self, tree: Node, rows: F32) -> tuple[npt.NDArray[np.int64], list[Node]]:
        """(n,) the leaf of each row, and the leaves."""
        found = np.zeros(len(rows), np.int64)
        leaves: list[Node] = []

        def walk(node: Node, which: npt.NDArray[np.int64]) -> None:
            if node.when is None or node.then is None or node.otherwise is None:
                found[which] = len(leaves)
                leaves.append(node)
                return
            part = rows[which]
            holds = np.ones(len(which), bool)
            for condition in conditions_of(node.when):
                holds &= self._holds(condition, part)
            walk(node.then, which[holds])
            walk(node.otherwise, which[~holds])

        walk(tree, np.arange(len(rows)))
        return found, leaves

    def scored(self, rows: F32) -> F32:
        """(n,) what the preferences of candidates would be if their kinds were the rules'."""
        squashed = rows[:, self._column["score"]]
        hours = squashed / np.maximum(1.0 - np.abs(squashed) / -LOWEST, 1e-6) - self.threshold
        score = hours / (1.0 + np.abs(hours) / -LOWEST)
        return np.asarray(np.where(score > 0, STEP, -STEP) + score / -LOWEST, np.float32)

    def preferences(self, tree: Node, rows: F32) -> F32:
        """(n,) what the preferences become; ``wait`` keeps its own."""
        leaf, leaves = self.leaves(tree, rows)
        words = [word_of(node.prefer or 0.0) for node in leaves]
        if odd := [word for word in words if word.verdict not in (Verdict.ADD, Verdict.SCORE)]:
            raise ValueError(f"a tree over many candidates: expected numbers and scores, found {odd[0]}")
        by_score = np.array([word.verdict is Verdict.SCORE for word in words])[leaf]
        value = np.array([word.value for word in words], np.float32)[leaf]
        base = np.where(by_score, self.scored(rows), rows[:, self.preference])
        waits = ~np.any([rows[:, column] > 0 for column in self.kinds.values()], axis=0)
        ruled = np.clip(base + value, LOWEST, -LOWEST)
        return np.asarray(np.where(waits, rows[:, self.preference], ruled), np.float32)

    def choices(self, preferences: F32, seen: Seen) -> npt.NDArray[np.int64]:
        """(decisions,) the row with the largest preference of each, ties to the first."""
        sizes = np.diff(seen.first)
        best = np.maximum.reduceat(preferences, seen.first[:-1])
        at_best = preferences >= np.repeat(best, sizes)
        rows = np.where(at_best, np.arange(len(preferences)), len(preferences))
        return np.asarray(np.minimum.reduceat(rows, seen.first[:-1]), np.int64)

    def _holds(self, condition: Condition, rows: F32) -> npt.NDArray[np.bool_]:
        if condition.kinds:
            return np.asarray(np.any([rows[:, self.kinds[kind]] > 0 for kind in condition.kinds], axis=0))
        x = rows[:, self._column[condition.feature]]
        return np.asarray((x >= np.float32(condition.within.low)) & (x <= np.float32(condition.within.high)))
