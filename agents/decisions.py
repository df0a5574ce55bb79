"""Who decided what among candidates, and what a run's decisions came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from foreshade import _core

HAM, RULES, PERSON = "ham", "rules", "person"


class Taken(NamedTuple):
    """One decision."""

    candidate: int  # row; 0 = wait
    by: str  # ``ham`` or ``rules``
    doubt: str = ""  # why the rules decided instead of HAM; "" = it was theirs to decide, or HAM did


def hesitation(doubt: str, out_of_range: Sequence[str], confidence: float | None) -> str:
    """Why the rules decided for HAM, in words for people.

    Args:
        doubt: of what was taken; "" = there was none, and no words.
        out_of_range: columns beyond what the policy was trained on.
        confidence: HAM's; None = it was not asked.

    """
    if not doubt:
        return ""
    if confidence is None:
        return f"HAM hands over: {doubt}"
    return f"HAM in doubt: {doubt} ({', '.join(out_of_range) or f'{confidence:.3f}'})"


@dataclass(slots=True)
class KindTally:
    """The decisions of one kind of candidate, or of those that one component offered."""

    by: Counter[str] = field(default_factory=Counter)  # decisions by who took them
    actions: int = 0  # that they put into plans
    transition_usd: float = 0.0  # migrations, boots, orders, as reckoned; a whole plan's are in its gain
    gain_usd: float = 0.0  # the scores: expected over the horizon, transitions paid


class Tally:
    """Decisions of a run, counted as they are taken."""

    def __init__(self) -> None:
        self.kinds: dict[str, KindTally] = {}
        self.components: dict[str, KindTally] = {}  # of candidates that components offered
        self.rules: Counter[str] = Counter()  # decisions for candidates whose preference a rule changed
        self.doubts: Counter[str] = Counter()  # decisions that the rules took for HAM, by why

    def count(self, taken: Taken, said: _core.CandidateDict, actions: int, rule: str = "") -> None:
        """One decision more: what it was, how many actions it put into the plan, which rule changed it."""
        if rule:
            self.rules[rule] += 1
        counted = [self.kinds.setdefault(said["kind"], KindTally())]
        if said["by"]:
            counted.append(self.components.setdefault(said["by"], KindTally()))
        for tally in counted:
            tally.by[taken.by] += 1
            tally.actions += actions
            tally.transition_usd += said["cost"]
            tally.gain_usd += said["score"]
        if taken.doubt:
            self.doubts[taken.doubt] += 1

    def summary(self) -> Decisions:
        """What was counted, by kind, the most frequent first."""
        total = sum(kind.by.total() for kind in self.kinds.values())
        return Decisions(
            _rows(self.kinds),
            dict(self.doubts),
            self.doubts.total() / total if total else 0.0,
            _rows(self.components),
            dict(self.rules.most_common()),
        )


def _rows(tallies: Mapping[str, KindTally]) -> dict[str, dict[str, float]]:
    order = sorted(tallies.items(), key=lambda item: -item[1].by.total())
    return {
        name: {
            **dict(tally.by),
            "actions": tally.actions,
            "transition_usd": tally.transition_usd,
            "gain_usd": tally.gain_usd,
        }
        for name, tally in order
    }


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a run's decisions came to."""

    #: By kind of candidate: decisions of ``ham`` and of ``rules`` (left out where none), ``actions``,
    #: ``transition_usd`` and ``gain_usd`` as in ``KindTally``.
    by_kind: Mapping[str, Mapping[str, float]]
    doubts: Mapping[str, int]  # decisions that the rules took for HAM, by why
    fallback_rate: float  # their share of all decisions
    #: Likewise by component, of the candidates that it offered; those that took none are not here.
    by_component: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    #: Decisions by the rule of the file that changed the preference of what was taken.
    by_rule: Mapping[str, int] = field(default_factory=dict)
    #: What came of actions, where a component awaited it: by kind, and the knobs that it corrected.
    outcomes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def by_ham(self) -> int:
        """Decisions that HAM took."""
        return int(sum(row.get(HAM, 0) for row in self.by_kind.values()))

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {
            "by_kind": {kind: dict(row) for kind, row in self.by_kind.items()},
            "by_component": {name: dict(row) for name, row in self.by_component.items()},
            "by_rule": dict(self.by_rule),
            "outcomes": {kind: dict(row) for kind, row in self.outcomes.items()},
            "doubts": dict(self.doubts),
        }
