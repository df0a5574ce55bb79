"""Which rules can be reached: the values that are left to each, as boxes, exactly.

A box holds a range for each feature that was tested on the way and the kinds that are left; ranges are of float32,
so that what lies beside ``> 1`` ends at 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from foreshade.envs.rule_tree import (
    RULED_KINDS,
    Condition,
    Node,
    Range,
    Rule,
    Said,
    conditions_of,
    features,
    written,
)
from foreshade.envs.yaml_document import Path

#: Boxes beyond which the question is left open: rules over so many features are let pass.
MOST_BOXES = 4096


@dataclass(frozen=True, slots=True)
class Box:
    """What is left: all of a feature that is not named."""

    ranges: Mapping[str, Range]
    kinds: frozenset[str]

    def of(self, feature: str) -> Range:
        """What is left of a feature."""
        known = features()[feature]
        return self.ranges.get(feature, Range(known.low, known.high))


def unreachable(rules: tuple[Rule, ...], tree: Node | None) -> tuple[Path, str] | None:
    """The first rule or branch that no candidate can come to: where it stands, and why; None = there is none."""
    left = [Box({}, frozenset(RULED_KINDS))]
    for number, rule in enumerate(rules):
        tests = conditions_of(rule.when)
        if not _fitting(left, tests):
            name = f" of {rule.name!r}" if rule.name else ""
            return ("rules", number, "when"), f"unreachable{name}: {_why(left, rule.when)}"
        left = _beside(left, tests)
        if len(left) > MOST_BOXES:
            return None
    return None if tree is None else _in_tree(tree, left, ("tree",))


def _in_tree(node: Node, left: list[Box], path: Path) -> tuple[Path, str] | None:
    if node.when is None or node.then is None or node.otherwise is None:
        return None if left else (path, "unreachable: the rules before it take every candidate")
    tests = conditions_of(node.when)
    inside, beside = _fitting(left, tests), _beside(left, tests)
    if not inside:
        return (*path, "then"), f"unreachable: {_why(left, node.when)}"
    if not beside:
        return (*path, "else"), f"unreachable: {written(node.when)} always holds here"
    if max(len(inside), len(beside)) > MOST_BOXES:
        return None
    return _in_tree(node.then, inside, (*path, "then")) or _in_tree(node.otherwise, beside, (*path, "else"))


def _fitting(left: list[Box], tests: tuple[Condition, ...]) -> list[Box]:
    for test in tests:
        left = [box for whole in left if (box := _cut(whole, test)) is not None]
    return left


def _beside(left: list[Box], tests: tuple[Condition, ...]) -> list[Box]:
    """What of the boxes fits not all of the tests, in boxes that do not overlap."""
    out: list[Box] = []
    for test in tests:
        for box in left:
            out += _outside(box, test)
        left = [kept for whole in left if (kept := _cut(whole, test)) is not None]
    return out


def _cut(box: Box, test: Condition) -> Box | None:
    if test.kinds:
        kinds = box.kinds & test.kinds
        return Box(box.ranges, kinds) if kinds else None
    low, high = box.of(test.feature)
    within = Range(max(low, test.within.low), min(high, test.within.high))
    return Box({**box.ranges, test.feature: within}, box.kinds) if within.low <= within.high else None


def _outside(box: Box, test: Condition) -> list[Box]:
    if test.kinds:
        kinds = box.kinds - test.kinds
        return [Box(box.ranges, kinds)] if kinds else []
    low, high = box.of(test.feature)
    below = Range(low, min(high, float(np.nextafter(np.float32(test.within.low), np.float32(-np.inf)))))
    above = Range(max(low, float(np.nextafter(np.float32(test.within.high), np.float32(np.inf)))), high)
    return [Box({**box.ranges, test.feature: r}, box.kinds) for r in (below, above) if r.low <= r.high]


def _why(left: list[Box], when: Mapping[str, Said]) -> str:
    for test in conditions_of(when):
        if _fitting(left, (test,)) or not left:
            continue
        if test.kinds:
            kinds = sorted(frozenset().union(*(box.kinds for box in left)))
            return f"kind {' or '.join(sorted(test.kinds))} cannot come here, what can is {', '.join(kinds)}"
        ranges = [box.of(test.feature) for box in left]
        low, high = min(r.low for r in ranges), max(r.high for r in ranges)
        said = written({test.feature: when[test.feature]})
        return f"{said} cannot hold, {test.feature} is {low:g} to {high:g} here"
    return "every candidate that fits is decided before it"
