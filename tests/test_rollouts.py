"""Candidates played out: exactly what playing on would have cost, and nothing disturbed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foreshade.envs.batch import Batch
from foreshade.envs.native_schema import native_schema
from tests.decision_worlds import SHORT, random_valid, tiny

SAID = replace(SHORT, shaping_h=2.0)
TICKS = (3, 6)


def batch_after(steps: int, n: int = 2) -> Batch:
    """A batch in the middle of its episodes, after decisions drawn at random."""
    batch = Batch([tiny()], n, SAID, seed=5)
    batch.reset(5)
    rng = np.random.default_rng(3)
    for _ in range(steps):
        batch.step(random_valid(rng, batch.masks()))
    return batch


def played_on(batch: Batch, i: int, first: int) -> tuple[list[float], bool]:
    """Cost after each of ``TICKS`` when environment i takes ``first`` and the rules go on, unshaped."""
    cost, ticks, costs = 0.0, 0, []
    before = batch._native.sums(i)["reward"]  # the binding is the only one that tells it mid-episode
    chosen = batch.preferred()
    chosen[i] = first
    while len(costs) < len(TICKS):
        batch.step(chosen)
        ended = bool(batch.dones[i])
        sums = batch.finished(i) if ended else batch._native.sums(i)
        ticks += int(batch.discounts[i] < 1.0)
        cost = before - sums["reward"]
        if ended:
            return costs, True
        if ticks == TICKS[len(costs)] and batch.discounts[i] < 1.0:
            costs.append(cost)
        chosen = batch.preferred()
    return costs, False


@pytest.mark.parametrize("steps", [0, 7, 19])
def test_rollout_costs_what_playing_on_costs(steps: int) -> None:
    checked = 0
    for i in range(2):
        for first in np.flatnonzero(batch_after(steps).masks()[i]):
            batch = batch_after(steps)
            paid, ahead = batch.roll_out(i, np.array([first]), TICKS, [1.0], 1.0)
            costs, ended = played_on(batch, i, int(first))
            if ended:
                continue
            np.testing.assert_allclose(paid[0, 0], costs, rtol=1e-5)
            assert (ahead[0, 0] > 0).all()
            checked += 1
    assert checked > 3


def test_rollouts_leave_the_environment_as_it_is() -> None:
    alone, asked = batch_after(11), batch_after(11)
    rng = np.random.default_rng(0)
    for _ in range(60):
        rows = np.flatnonzero(asked.masks()[0])
        asked.roll_out(0, rows, TICKS, [0.9, 1.1], 0.99)
        actions = random_valid(rng, alone.masks())
        np.testing.assert_array_equal(alone.step(actions), asked.step(actions))
        np.testing.assert_array_equal(alone.rewards, asked.rewards)


def test_futures_of_more_demand_differ_and_bad_rollouts_are_refused() -> None:
    batch = batch_after(11)
    paid, _ = batch.roll_out(0, np.array([0]), TICKS, [1.0, 1.3], 1.0)
    assert paid[0, 0, -1] != paid[0, 1, -1]
    with pytest.raises(ValueError, match="ticks above 0, ascending"):
        batch.roll_out(0, np.array([0]), (6, 3), [1.0], 1.0)
    with pytest.raises(ValueError, match="indices below k"):
        batch.roll_out(0, np.array([SAID.k]), TICKS, [1.0], 1.0)
    with pytest.raises(IndexError, match="environment out of range"):
        batch.roll_out(2, np.array([0]), TICKS, [1.0], 1.0)


def test_expert_plays_the_rules_choice_first_and_every_kind() -> None:
    pytest.importorskip("stable_baselines3")
    from foreshade.training.config import RolloutConfig  # noqa: PLC0415
    from foreshade.training.rollouts import RolloutExpert  # noqa: PLC0415

    schema = native_schema(SAID.k)
    names = [column.name for column in schema.candidate]
    kinds = slice(names.index("wait"), names.index("rack_off") + 1)
    expert = RolloutExpert(schema, RolloutConfig(candidates=30))
    batch = batch_after(11)
    flat = np.asarray(batch.observations[0], np.float32)
    _, candidates, mask = schema.split(flat)
    rules = int(batch.preferred()[0])
    rows = expert.worth_playing(flat, rules, np.random.default_rng(0))
    assert rows[0] == rules
    assert 0 in rows
    assert len(set(rows.tolist())) == len(rows)
    assert (mask[rows] > 0).all()
    there = candidates[mask > 0][:, kinds].argmax(axis=1)
    assert set(candidates[rows][:, kinds].argmax(axis=1)) == set(there)
    few = RolloutExpert(schema, RolloutConfig(candidates=2))
    assert len(few.worth_playing(flat, rules, np.random.default_rng(0))) == 2
