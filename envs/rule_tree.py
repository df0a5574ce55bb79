"""Rules that a person writes and reads, over the features of docs/environment.md: a list, then a tree.

    rules:
      - name: no drains while power is cheap
        when: {kind: drain, price_6h: "< 0.8"}
        prefer: never
    tree:
      when: {source_margin: "< 1"}
      then: {prefer: +0.4}
      else: {prefer: 0}

Of the list the first whose whole ``when`` fits a candidate decides, and where none fits, the tree does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Annotated, NamedTuple, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from foreshade import _core

#: Kinds that rules may name: `wait` is what all others are measured by.
_KINDS = tuple(_core.candidate_kinds())
RULED_KINDS = _KINDS[1:]

#: What may be added to a preference at most: from one end of the scale to wait.
MOST_ADDED = 10.0

Said: TypeAlias = str | int | float | tuple[str, ...]  # a condition as it is written
Prefer: TypeAlias = float | str  # a number is added to the preference


class Verdict(IntEnum):
    """What a node does, natively."""

    TEST = 0
    ADD = 1
    NEVER = 2  # wait is always better
    SCORE = 3  # as though its kind were preferred: above wait where its score is above the threshold
    FIRST = 4  # before all that no rule puts first


class Feature(NamedTuple):
    """What a rule may test."""

    column: int  # natively
    low: float  # least and most value that it has
    high: float
    doc: str


class Word(NamedTuple):
    """What a leaf does to a preference."""

    verdict: Verdict
    value: float = 0.0


class Range(NamedTuple):
    """Closed, of float32: what is written as ``> 1`` begins at the next number above 1."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition."""

    feature: str  # or ``kind``
    within: Range
    kinds: frozenset[str] = frozenset()  # of ``kind``


@cache
def features() -> Mapping[str, Feature]:
    """What rules may test beside ``kind``, by name; ``site.NAME`` where context and candidate share a name."""
    context, candidate, beside = _core.context_columns(), _core.candidate_columns(), _core.rule_columns()
    found: dict[str, Feature] = {}
    for i, (name, _, low, high, doc) in enumerate(context):
        found[name] = found[f"site.{name}"] = Feature(i, low, high, doc)
    for i, (name, _, low, high, doc) in enumerate((*candidate, *beside), start=len(context)):
        if name not in _KINDS:
            found[name] = Feature(i, low, high, doc)
    return found


def condition_of(feature: str, said: Said) -> Condition:
    """A condition as it is written: ``> 1``, ``0.2..0.8``, a number, or the kinds of ``kind``.

    Raises ValueError where it is none, or no value of the feature fits it.
    """
    if feature == "kind":
        kinds = said if isinstance(said, tuple) else (said,)
        for kind in kinds:
            if kind not in RULED_KINDS:
                raise ValueError(f"kind: expected kinds of {', '.join(RULED_KINDS)}, found {kind!r}")
        return Condition("kind", Range(0.0, 0.0), frozenset(str(kind) for kind in kinds))
    known = features().get(feature)
    if known is None:
        raise ValueError(
            f"expected kind or a feature of docs/environment.md, found {feature!r}{_near(feature)}"
        )
    within = _range(feature, said)
    if within.low > known.high or within.high < known.low:
        raise ValueError(
            f"{feature}: expected a condition that can hold between {known.low:g} and {known.high:g}, found {said!r}"
        )
    bare = feature.removeprefix("site.")
    return Condition(bare if features()[bare] == known else feature, within)


def conditions_of(when: Mapping[str, Said]) -> tuple[Condition, ...]:
    """The conditions of a ``when``."""
    return tuple(condition_of(feature, said) for feature, said in when.items())


_SCORE = re.compile(r"score\s*(?:([+-])\s*(\d+(?:\.\d*)?))?")


def word_of(prefer: Prefer) -> Word:
    """What ``prefer`` says: a number, ``never``, ``first``, ``score`` or ``score + 0.3``.

    Raises ValueError where it is none of them.
    """
    if isinstance(prefer, str):
        if prefer in ("never", "first"):
            return Word(Verdict[prefer.upper()])
        if said := _SCORE.fullmatch(prefer.strip()):
            return Word(Verdict.SCORE, float(f"{said[1]}{said[2]}") if said[1] else 0.0)
    elif abs(prefer) <= MOST_ADDED:
        return Word(Verdict.ADD, prefer)
    raise ValueError(
        f"expected a number from {-MOST_ADDED:g} to {MOST_ADDED:g}, never, first, score, or score + 0.3, "
        f"found {prefer!r}"
    )


class _When(BaseModel):
    """What has conditions and says what is preferred."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @field_validator("prefer", check_fields=False)
    @classmethod
    def _said(cls, prefer: Prefer | None) -> Prefer | None:
        if prefer is not None:
            word_of(prefer)
        return prefer

    @field_validator("when", check_fields=False)
    @classmethod
    def _conditions(cls, when: Mapping[str, Said] | None) -> Mapping[str, Said] | None:
        if when is not None:
            if not when:
                raise ValueError("expected at least one condition, found none")
            conditions_of(when)
        return when


class Rule(_When):
    """One rule of the list."""

    name: str = ""  # for people: what explanations and reports call it
    why: str = ""  # evidence, for people
    when: Mapping[str, Said]  # all must hold
    prefer: Prefer


class Node(_When):
    """A leaf of the tree, ``prefer``; or a branch, ``when``, ``then``, ``else``."""

    name: str = ""
    why: str = ""
    prefer: Prefer | None = None
    when: Mapping[str, Said] | None = None
    then: Node | None = None
    otherwise: Annotated[Node | None, Field(alias="else")] = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Node:
        branch = (self.when, self.then, self.otherwise)
        if (self.prefer is None) == all(part is None for part in branch) or (
            self.prefer is None and any(part is None for part in branch)
        ):
            raise ValueError("expected either prefer, or when, then and else")
        return self

    def leaves(self) -> int:
        """How many leaves there are."""
        if self.then is None or self.otherwise is None:
            return 1
        return self.then.leaves() + self.otherwise.leaves()


class Compiled(NamedTuple):
    """Rules as the native core walks them."""

    nodes: list[_core.RuleNode]
    labels: tuple[str, ...]  # what people call each rule and leaf


def compiled(rules: tuple[Rule, ...], tree: Node | None) -> Compiled:
    """A graph of tests that leads forwards; nothing where there are no rules."""
    nodes: list[_core.RuleNode] = []
    labels: list[str] = []

    def leaf(prefer: Prefer, label: str) -> None:
        node = _core.RuleNode()
        node.verdict, node.value = word_of(prefer)
        if label:
            node.rule = len(labels)
            labels.append(label)
        nodes.append(node)

    def conditions(when: Mapping[str, Said]) -> list[_core.RuleNode]:
        tests = []
        for test in conditions_of(when):
            node = _core.RuleNode()
            node.verdict = int(Verdict.TEST)
            if test.kinds:
                node.kinds = sum(1 << _KINDS.index(kind) for kind in test.kinds)
            else:
                node.feature = features()[test.feature].column
                node.low, node.high = test.within
            nodes.append(node)
            node.then = len(nodes)
            tests.append(node)
        return tests

    def walk(node: Node, path: tuple[str, ...]) -> None:
        if node.when is None or node.then is None or node.otherwise is None:
            leaf(node.prefer or 0.0, node.name or ", ".join(path) or "the tree")
            return
        tests = conditions(node.when)
        said = written(node.when)
        walk(node.then, (*path, node.then.name or said))
        for test in tests:
            test.otherwise = len(nodes)
        walk(node.otherwise, (*path, node.otherwise.name or f"not {said}"))

    for number, rule in enumerate(rules):
        tests = conditions(rule.when)
        leaf(rule.prefer, rule.name or f"rule {number + 1}")
        for test in tests:
            test.otherwise = len(nodes)
    if tree is not None:
        walk(tree, ())
    elif rules:
        leaf(0.0, "")
    return Compiled(nodes, tuple(labels))


def written(when: Mapping[str, Said]) -> str:
    """Conditions in a line."""
    parts = []
    for feature, said in when.items():
        text = " or ".join(said) if isinstance(said, tuple) else str(said)
        sign = " " if text[0] in "<>" or feature == "kind" else " = "
        parts.append(f"{feature}{sign}{text}")
    return " and ".join(parts)


_SIDE = re.compile(r"\s*(>=|>|<=|<)\s*(\S+)\s*")
_BETWEEN = re.compile(r"\s*(\S+?)\s*\.\.\s*(\S+)\s*")


def _range(feature: str, said: Said) -> Range:
    if isinstance(said, int | float):  # one that float32 does not have stands for the nearest that it has
        return Range(float(np.float32(said)), float(np.float32(said)))
    text = said if isinstance(said, str) else " ".join(said)
    if side := _SIDE.fullmatch(text):
        x = _number(feature, side[2], said)
        if side[1].startswith(">"):
            return Range(_up(x, strict=side[1] == ">"), np.inf)
        return Range(-np.inf, _down(x, strict=side[1] == "<"))
    if between := _BETWEEN.fullmatch(text):
        low, high = (_number(feature, part, said) for part in between.groups())
        if low > high:
            raise ValueError(
                f"{feature}: expected a range from the smaller to the larger number, found {said!r}"
            )
        return Range(_up(low), _down(high))
    raise ValueError(f"{feature}: expected '> 1', '>= 1', '< 1', '<= 1', '1..2' or a number, found {said!r}")


def _number(feature: str, text: str, said: Said) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise ValueError(f"{feature}: expected a number in {said!r}, found {text!r}")
    return value


def _up(x: float, *, strict: bool = False) -> float:
    """The least float32 that is at least, or above, ``x``."""
    near = np.float32(x)
    if near < x or (strict and near <= x):
        near = np.nextafter(near, np.float32(np.inf))
    return float(near)


def _down(x: float, *, strict: bool = False) -> float:
    near = np.float32(x)
    if near > x or (strict and near >= x):
        near = np.nextafter(near, np.float32(-np.inf))
    return float(near)


def _near(feature: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415  of errors alone

    near = get_close_matches(feature, [*features(), "kind"], n=1)
    return f"; did you mean {near[0]}?" if near else ""
