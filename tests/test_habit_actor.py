"""Habits in an actor's weights do what they say, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from foreshade.agents.ham.network import Actor
from foreshade.envs.errors import InputError
from foreshade.envs.features import F32
from foreshade.envs.native_schema import native_schema
from foreshade.training.habit_actor import Habit, Option, followed, write_habits

K = 12
SCHEMA = native_schema(K)
COLUMNS = {column.name: i for i, column in enumerate(SCHEMA.candidate)}
CONTEXT = [column.name for column in SCHEMA.context]
TIGHT = Option("tight", "right_size", 1)
LOOSE = Option("loose", "right_size", 2)
CALM = Option("calm", "plan", 1)
HABITS = (
    Habit(TIGHT, -2.0, {"memory_of_flavour": 10.0}),
    Habit(LOOSE, 4.0, {"memory_of_flavour": -20.0, "new_peaks": 30.0}),
    Habit(CALM, 1.0, {"jitter": -0.5, "growth": 3.0}),
)


def observations(n: int, seed: int = 0) -> F32:
    """Sets with every option, the rules' own beside it, and others; some masked, as the environment writes them."""
    rng = np.random.default_rng(seed)
    flat = np.zeros((n, SCHEMA.size), np.float32)
    context, x, mask = SCHEMA.split(flat)
    context[:] = rng.uniform(0, 1, context.shape)
    context[:, CONTEXT.index("jitter")] = rng.uniform(0, 6, n)
    context[:, CONTEXT.index("growth")] = rng.uniform(-1, 1, n)
    mask[:, 0], x[:, 0, COLUMNS["wait"]] = 1, 1
    rows = (
        ("plan", 0, True), ("plan", 1, False), ("plan", 2, False), ("right_size", 1, False),
        ("right_size", 0, True), ("right_size", 2, False), ("migrate", 0, True), ("shrink", 0, True),
    )  # fmt: skip
    for row, (kind, way, taken) in enumerate(rows, start=1):
        mask[:, row] = rng.random(n) < 0.7
        x[:, row, COLUMNS[kind]], x[:, row, COLUMNS["way"]] = 1, way
        score = rng.uniform(0, 10, n)
        if kind == "plan" and not taken:  # not made before it is chosen
            score = np.zeros(n)
        x[:, row, COLUMNS["score"]] = score
        x[:, row, 0] = 0.7 + score / 10 if taken else -0.7
        x[:, row, COLUMNS["source_margin"]] = rng.uniform(-10, 10, n)
    return flat


def actor() -> Actor:
    return Actor(SCHEMA, 32, 0.125, attention=False)


def logits(of: Actor, flat: F32) -> F32:
    context, x, mask = (torch.from_numpy(np.ascontiguousarray(part)) for part in SCHEMA.split(flat))
    with torch.no_grad():
        said: F32 = of(context, x, mask > 0).numpy()
    return said


def test_weights_follow_the_habits_and_change_nothing_else() -> None:
    made = actor()
    write_habits(made, SCHEMA, HABITS)
    flat = observations(4000)
    _, x, mask = SCHEMA.split(flat)
    changed = logits(made, flat) * 0.125 - x[:, :, 0]
    expected = followed(HABITS, SCHEMA, flat)
    savings = np.stack(
        [
            habit.bias + sum(flat[:, CONTEXT.index(name)] * w for name, w in habit.weights.items())
            for habit in HABITS
        ]
    )
    apart = np.abs(savings[0] - savings[1]) > 0.2
    clear = ((np.abs(savings) > 0.2).all(axis=0) & apart)[:, None] & (mask > 0)
    assert clear.mean() > 0.4
    np.testing.assert_allclose(changed[clear], expected[clear], atol=0.01)
    assert (expected[:, 7] == 0).all()
    np.testing.assert_array_equal(expected[:, 8] < 0, expected[:, 5] < 0)  # VMs shrink by what is followed
    for row in (2, 4, 6):  # each option is followed somewhere, and somewhere left
        assert 0.05 < (expected[:, row] > 0).mean() < 0.95
    assert (expected[mask[:, 1] == 0, 2] == 0).all()  # no plan where the rules have none


def test_option_stands_where_the_rules_stood() -> None:
    made = actor()
    write_habits(made, SCHEMA, (Habit(TIGHT, 5.0, {}),))
    flat = observations(200)
    _, x, mask = SCHEMA.split(flat)
    mask[:, 1:] = 0
    mask[:, [4, 5, 7]] = 1
    x[:, 7, 0] = -0.7  # what the rules leave stays left
    assert (logits(made, flat).argmax(axis=1) == 4).all()
    mask[:, 4] = 0  # and what they would do by their own way is not done instead
    assert (logits(made, flat).argmax(axis=1) == 0).all()


def test_option_that_saves_less_does_not_take_its_turn_where_the_best_has_nothing_to_do() -> None:
    made = actor()
    write_habits(made, SCHEMA, (Habit(TIGHT, 4.0, {}), Habit(LOOSE, 5.0, {})))
    flat = observations(200)
    _, _, mask = SCHEMA.split(flat)
    mask[:, 1:] = 0
    mask[:, [4, 6]] = 1
    assert (logits(made, flat).argmax(axis=1) == 6).all()
    mask[:, 6] = 0
    assert (logits(made, flat).argmax(axis=1) == 0).all()


def test_other_options_are_left_alone() -> None:
    made = actor()
    flat = observations(500)
    _, x, _ = SCHEMA.split(flat)
    write_habits(made, SCHEMA, (Habit(TIGHT, 5.0, {}),))
    said = logits(made, flat) * 0.125 - x[:, :, 0]
    _, _, mask = SCHEMA.split(flat)
    np.testing.assert_allclose(said[mask[:, 6] > 0, 6], 0.0, atol=0.01)
    assert (said[mask[:, 4] > 0, 4] > 1).all()


@pytest.mark.parametrize(
    ("habits", "said"),
    [
        ((Habit(TIGHT, 0.0, {"moon": 1.0}),), "'moon'"),
        ((Habit(TIGHT, 0.0, {}),) * 6, "network.hidden: expected at least 42"),
    ],
)
def test_habits_that_cannot_be_written_are_refused(habits: tuple[Habit, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        write_habits(actor(), SCHEMA, habits)
