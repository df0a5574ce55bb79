"""Habits in the weights of an actor: where an option is to be followed, its candidates take the rules' place.

An option is another way of something that the rules do: a sizing by which all VMs are right-sized, a packer whose
whole plan is taken. It is told by its kind and its ``way``, a column that is 0 where candidates are the rules' own.
Its habit is a linear function of the context, the saving in per cent that is expected of following it; where that is
above zero, the option's candidate stands where the rules' stood, and theirs is left: with a sizing also what shrinks
VMs one by one. Of several of a kind, the one that saves most is followed, and no other where that one has nothing to
do: a sizing that waits for its turn would undo the one that is followed.

The network (``agents.ham.network``) is two layers of rectifiers, and a step is the difference of two of them:

    encoder  flags of the kinds, steps over the way within a kind, a step over the preference of the rules' plan,
             and the context as it is, above and below zero
    joint    step(saving) where the option's marks are all set, for the option and for what it displaces;
             the score's share of a preference, so that it stands among others where the rules' own would (a
             plan is not made before it is chosen, so it has that of the rules' plan);
             a step over what another of its kind would save more, which leaves it

so what is written here is what a frozen policy does, and can be trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from foreshade.agents.ham.network import Actor
from foreshade.envs.errors import InputError
from foreshade.envs.features import F32, PREFERENCE, Schema

F64 = npt.NDArray[np.float64]
Saving = tuple[float, Mapping[str, float]]  # bias, and weights by the names of the context's columns
_LARGEST_SAVING = 500.0  # per cent; a mark that is not set closes whatever is below
_SHARP = 10.0  # slope of the step over a saving: done within a tenth of a per cent
_OF_WAY = 2.0  # slope of a step half way between two ways
_OF_PREFERENCE = 2.0  # and over a preference, which is above 0.7 or below -0.7
_OF_SCORE = 0.1  # of what the rules take, their preference holds so much of the score (docs/rules.md)
_OTHER_KIND = 256.0  # closes them for other kinds
_TAKEN = 1.42  # from what the rules leave (-0.7 and below) to what they take (above 0.7)
_LEFT = -2.5  # and from the most that they take to below waiting
_AJAR = 4.0  # closes a share of a score, which is at most one


@dataclass(frozen=True, slots=True)
class Option:
    """Another way of what the rules do."""

    name: str
    kind: str  # of its candidates: right_size or plan
    way: int  # of its candidates, above 0


@dataclass(frozen=True, slots=True)
class Habit:
    """When an option is followed: where ``bias + weights · context`` is above zero, the saving in per cent."""

    option: Option
    bias: float
    weights: Mapping[str, float]  # by the names of the context's columns

    def more_than(self, other: Habit | None) -> Saving:
        """Bias and weights of what it saves more than another, or than the rules (None)."""
        if other is None:
            return self.bias, dict(self.weights)
        names = self.weights.keys() | other.weights.keys()
        weights = {name: self.weights.get(name, 0.0) - other.weights.get(name, 0.0) for name in names}
        return self.bias - other.bias, weights

    def expected(self, columns: F64, known: Sequence[str]) -> F64:
        """(n,) of contexts (n, G), whose columns are the ``known`` ones."""
        saving: F64 = np.full(len(columns), self.bias)
        for name, weight in self.weights.items():
            saving += weight * columns[:, known.index(name)]
        return saving


def write_habits(actor: Actor, schema: Schema, habits: Sequence[Habit]) -> None:
    """Give an actor the weights that follow these habits; all others become zero.

    Raises:
        InputError: more than the network has room for, or a column that there is not.

    """
    hidden = actor.joint.in_features
    columns = {column.name: i for i, column in enumerate(schema.candidate)}
    context = {column.name: (i, column.low) for i, column in enumerate(schema.context)}
    used: list[tuple[str, float]] = []  # columns, and the sign of what a unit of theirs holds
    for name in sorted({name for habit in habits for name in habit.weights}):
        if name not in context:
            raise InputError(f"habits: expected columns of the context, got {name!r}")
        used.extend((name, sign) for sign in ((1.0, -1.0) if context[name][1] < 0 else (1.0,)))
    encoder = _Encoder(len(schema.candidate), columns)
    marks = [_marks(encoder, habit.option) for habit in habits]
    rivals = [
        [other for other in habits if other is not habit and other.option.kind == habit.option.kind]
        for habit in habits
    ]
    units = [
        unit
        for habit, (own, theirs), others in zip(habits, marks, rivals, strict=True)
        for unit in (
            *_step(own, habit.more_than(None), _TAKEN),
            *_score(own, habit.more_than(None), habit.option.kind, encoder),
            *_step(theirs, habit.more_than(None), _LEFT),
            *(one for other in others for one in _step(own, other.more_than(habit), _LEFT)),
        )
    ]
    needed = max(len(encoder.rows), len(used), len(units))
    if needed > hidden:
        raise InputError(
            f"habits: network.hidden: expected at least {needed} for {len(habits)} of them, got {hidden}"
        )
    weights = {name: np.zeros(tuple(value.shape), np.float64) for name, value in actor.state_dict().items()}
    for unit, (name, sign) in enumerate(used):
        weights["encoder.context.weight"][unit, context[name][0]] = sign
    for unit, (row, bias) in enumerate(encoder.rows):
        weights["encoder.candidate.weight"][unit] = row
        weights["encoder.candidate.bias"][unit] = bias
    for unit, one in enumerate(units):
        weights["joint.bias"][unit] = one.bias - one.closing * one.mark.need
        for feature, weight in one.mark.of_candidate.items():
            weights["joint.weight"][unit, feature] = one.closing * weight
        for feature, weight in one.of_candidate.items():
            weights["joint.weight"][unit, feature] += weight
        # The summary holds the sum over the candidates divided by their number.
        for feature, weight in one.mark.of_set.items():
            weights["summary.weight"][unit, hidden + feature] = one.closing * weight * schema.k
        for feature, weight in one.of_set.items():
            weights["summary.weight"][unit, hidden + feature] += weight * schema.k
        for of, (name, sign) in enumerate(used):
            weights["summary.weight"][unit, of] = sign * one.of_context.get(name, 0.0)
        weights["score.weight"][0, unit] = one.counts * actor.inverse_temperature
    actor.load_state_dict(
        {name: torch.as_tensor(value, dtype=torch.float32) for name, value in weights.items()}
    )


def followed(habits: Sequence[Habit], schema: Schema, flat: F32) -> F32:
    """(n, K) what the preferences (n, K) are changed by, said plainly; what ``write_habits`` is tested against."""
    context, x, mask = schema.split(flat)
    columns = {column.name: i for i, column in enumerate(schema.candidate)}
    names = [column.name for column in schema.context]
    change = np.zeros(x.shape[:2], np.float32)
    savings = [habit.expected(context.astype(np.float64), names) for habit in habits]
    plans = (x[:, :, columns["plan"]] > 0) & (x[:, :, columns[PREFERENCE]] > 0.5) & (mask > 0)
    for habit, saving in zip(habits, savings, strict=True):
        option = habit.option
        way, of_kind = x[:, :, columns["way"]], x[:, :, columns[option.kind]] > 0
        own, theirs = of_kind & (way == option.way), of_kind & (way == 0)
        score = np.where(mask > 0, np.maximum(x[:, :, columns["score"]], 0.0), 0.0)
        if option.kind == "right_size":
            theirs = theirs | (x[:, :, columns["shrink"]] > 0)
        if option.kind == "plan":
            own = own & np.asarray(plans.any(axis=1))[:, None]
            score = np.broadcast_to((score * of_kind).sum(axis=1)[:, None], own.shape)
        on = np.broadcast_to((saving > 0)[:, None], own.shape)
        share = _OF_SCORE * score
        change += np.where(on & own, _TAKEN + share, 0) + np.where(on & theirs, _LEFT, 0)
        for rival, more in zip(habits, savings, strict=True):
            if rival is not habit and rival.option.kind == option.kind:
                change += np.where(own & (more > saving)[:, None], _LEFT, 0)
    return change


@dataclass(slots=True)
class _Mark:
    """Set where the encoded candidate and the summed set, weighted, come to ``need``; one or more below otherwise."""

    need: float
    of_candidate: dict[int, float]
    of_set: dict[int, float]


class _Encoder:
    """Units of the first layer, each made once."""

    def __init__(self, n_columns: int, columns: Mapping[str, int]) -> None:
        self._n, self._columns = n_columns, columns
        self.rows: list[tuple[F32, float]] = []
        self._made: dict[tuple[object, ...], int] = {}

    def flag(self, kind: str) -> int:
        """1 for candidates of a kind."""
        return self._unit(("flag", kind), {kind: 1.0}, 0.0)

    def value(self, kind: str, column: str) -> int:
        """A column of candidates of a kind, 0 where it is below zero or another's."""
        return self._unit((kind, column), {column: 1.0, kind: _OTHER_KIND}, -_OTHER_KIND)

    def step(self, kind: str, column: str, at: float, slope: float) -> tuple[int, int]:
        """Two units whose difference is 1 for candidates of a kind whose column is above ``at``, and else 0."""
        of = {column: slope, kind: _OTHER_KIND}
        first = -_OTHER_KIND - slope * at
        return self._unit((kind, column, at, 0), of, first), self._unit(
            (kind, column, at, 1), of, first - 1.0
        )

    def _unit(self, key: tuple[object, ...], of: Mapping[str, float], bias: float) -> int:
        if key not in self._made:
            row = np.zeros(self._n, np.float32)
            for name, weight in of.items():
                row[self._columns[name]] = weight
            self._made[key] = len(self.rows)
            self.rows.append((row, bias))
        return self._made[key]


@dataclass(frozen=True, slots=True)
class _Unit:
    """One of the joint layer: a rectifier of ``bias``, candidate and context where its mark is set, else shut."""

    mark: _Mark
    closing: float
    bias: float
    of_context: Mapping[str, float]  # by the names of the context's columns
    counts: float  # in the preference
    of_candidate: Mapping[int, float] = field(default_factory=dict)
    of_set: Mapping[int, float] = field(default_factory=dict)  # likewise of the set


def _step(mark: _Mark, saving: Saving, counts: float) -> tuple[_Unit, _Unit]:
    """What counts where a mark is set and a saving is above zero: relu(x) - relu(x - 1)."""
    bias, of = _SHARP * saving[0], {name: _SHARP * weight for name, weight in saving[1].items()}
    far = _SHARP * _LARGEST_SAVING
    return _Unit(mark, far, bias, of, counts), _Unit(mark, far, bias - 1.0, of, -counts)


def _score(mark: _Mark, saving: Saving, kind: str, encoder: _Encoder) -> tuple[_Unit, _Unit, _Unit]:
    """A share of the score there: relu(y) - relu(y - x) + relu(-x), y where x is far above zero, 0 below it."""
    bias, of = -_SHARP * saving[0], {name: -_SHARP * weight for name, weight in saving[1].items()}
    far, share = _SHARP * _LARGEST_SAVING, {encoder.value(kind, "score"): _OF_SCORE}
    own, plans = ({}, share) if kind == "plan" else (share, {})  # of plans the rules' alone has one
    return (
        _Unit(mark, _AJAR, 0.0, {}, 1.0, own, plans),
        _Unit(mark, far, bias, of, -1.0, own, plans),
        _Unit(mark, far, bias, of, 1.0),
    )


def _marks(encoder: _Encoder, option: Option) -> tuple[_Mark, _Mark]:
    """The marks of an option's candidates, and of the rules' own."""
    own, theirs = (_of_way(encoder, option.kind, way) for way in (option.way, 0))
    if option.kind == "right_size":
        theirs.of_candidate[encoder.flag("shrink")] = 1.0
    if option.kind == "plan":  # where the rules take theirs, and not at every tick
        above, beyond = encoder.step("plan", PREFERENCE, 0.0, _OF_PREFERENCE)
        own.need += 1.0
        own.of_set = {above: 1.0, beyond: -1.0}
    return own, theirs


def _of_way(encoder: _Encoder, kind: str, way: int) -> _Mark:
    """Candidates of a kind that are of this way."""
    mark = _Mark(1.0, {encoder.flag(kind): 1.0}, {})
    above, beyond = encoder.step(kind, "way", way + 0.5, _OF_WAY)
    mark.of_candidate |= {above: -1.0, beyond: 1.0}  # it must not be above the border to the next
    if way > 0:
        above, beyond = encoder.step(kind, "way", way - 0.5, _OF_WAY)
        mark.of_candidate |= {above: 1.0, beyond: -1.0}
        mark.need += 1.0
    return mark
