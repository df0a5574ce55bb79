"""Habits in the weights of an actor: where an option is to be followed, its candidates take the rules' place.

An option is another way of something that the rules do: a sizing by which all VMs are right-sized, a packer whose
whole plan is taken. It is told by its kind and its ``way``, a column that is 0 where candidates are the rules' own.
Its habit is a linear function of the context, the saving in per cent that is expected of following it; where that is
above zero, the option's candidate stands where the rules' stood, and theirs is left: with a sizing also what shrinks
VMs one by one. Of several of a kind, the one that saves most is followed.

The network (``agents.ham.network``) is two layers of rectifiers, and a step is the difference of two of them:

    encoder  flags of the kinds, steps over the way within a kind, a step over the preference of the rules' plan,
             and the context as it is, above and below zero
    joint    step(saving) where the option's marks are all set, for the option and for what it displaces;
             a ramp over the saving, so that larger savings stand higher

so what is written here is what a frozen policy does, and can be trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from foreshade.agents.ham.network import Actor
from foreshade.envs.errors import InputError
from foreshade.envs.features import F32, PREFERENCE, Schema

F64 = npt.NDArray[np.float64]
_LARGEST_SAVING = 500.0  # per cent; a mark that is not set closes whatever is below
_SHARP = 10.0  # slope of the step over a saving: done within a tenth of a per cent
_OF_WAY = 2.0  # slope of a step half way between two ways
_OF_PREFERENCE = 2.0  # and over a preference, which is above 0.7 or below -0.7
_OTHER_KIND = 256.0  # closes them for other kinds
_TAKEN = 1.42  # from what the rules leave (-0.7 and below) to what they take (above 0.7)
_LEFT = -2.5  # and from the most that they take to below waiting
_RAMP = 0.3  # between a saving of nothing and of ten per cent
_UNITS = 6  # of the joint layer, for an option


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
    if max(len(encoder.rows), len(used), _UNITS * len(habits)) > hidden:
        raise InputError(
            f"habits: network.hidden: expected at least "
            f"{max(len(encoder.rows), len(used), _UNITS * len(habits))} for {len(habits)} of them, got {hidden}"
        )
    weights = {name: np.zeros(tuple(value.shape), np.float64) for name, value in actor.state_dict().items()}
    for unit, (row, bias) in enumerate(encoder.rows):
        weights["encoder.candidate.weight"][unit] = row
        weights["encoder.candidate.bias"][unit] = bias
    for unit, (name, sign) in enumerate(used):
        weights["encoder.context.weight"][unit, context[name][0]] = sign
    for i, (habit, (own, theirs)) in enumerate(zip(habits, marks, strict=True)):
        for pair, (mark, slope, score) in enumerate(
            ((own, _SHARP, _TAKEN), (own, 0.1, _RAMP), (theirs, _SHARP, _LEFT))
        ):
            far = _LARGEST_SAVING * slope
            for later in (0, 1):  # relu(x) - relu(x - 1): x between 0 and 1
                unit = _UNITS * i + 2 * pair + later
                weights["joint.bias"][unit] = slope * habit.bias - far * mark.need - later
                for feature, weight in mark.of_candidate.items():
                    weights["joint.weight"][unit, feature] = far * weight
                for feature, weight in mark.of_set.items():
                    # The summary holds the sum over the candidates divided by their number.
                    weights["summary.weight"][unit, hidden + feature] = far * weight * schema.k
                for of, (name, sign) in enumerate(used):
                    weights["summary.weight"][unit, of] = sign * slope * habit.weights.get(name, 0.0)
                weights["score.weight"][0, unit] = (
                    score if later == 0 else -score
                ) * actor.inverse_temperature
    actor.load_state_dict(
        {name: torch.as_tensor(value, dtype=torch.float32) for name, value in weights.items()}
    )


def followed(habits: Sequence[Habit], schema: Schema, flat: F32) -> F32:
    """(n, K) what the preferences (n, K) are changed by, said plainly; what ``write_habits`` is tested against."""
    context, x, mask = schema.split(flat)
    columns = {column.name: i for i, column in enumerate(schema.candidate)}
    names = [column.name for column in schema.context]
    change = np.zeros(x.shape[:2], np.float32)
    plans = (x[:, :, columns["plan"]] > 0) & (x[:, :, columns[PREFERENCE]] > 0.5) & (mask > 0)
    for habit in habits:
        option = habit.option
        saving = habit.expected(context.astype(np.float64), names)
        way, of_kind = x[:, :, columns["way"]], x[:, :, columns[option.kind]] > 0
        own, theirs = of_kind & (way == option.way), of_kind & (way == 0)
        if option.kind == "right_size":
            theirs = theirs | (x[:, :, columns["shrink"]] > 0)
        if option.kind == "plan":
            own = own & np.asarray(plans.any(axis=1))[:, None]
        on = np.broadcast_to((saving > 0)[:, None], own.shape)
        ramp = np.clip(0.1 * saving, 0, 1)[:, None]
        change += np.where(on & own, _TAKEN + _RAMP * ramp, 0) + np.where(on & theirs, _LEFT, 0)
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
