"""The native sums of trees against LightGBM's own answers and against the evaluator in NumPy."""

import numpy as np
import pytest

from foreshade.envs.boosted_trees import read_trees, tree_sums
from foreshade.envs.errors import InputError


@pytest.fixture(scope="module")
def grown():
    """Two boosters on features with gaps and rounded values, and the table they saw."""
    lightgbm = pytest.importorskip("lightgbm", reason="THE EXTRA forecast IS MISSING: trees are not compared")
    rng = np.random.default_rng(0)
    table = np.round(rng.normal(size=(4000, 6)), 2).astype(np.float32)
    table[rng.random(table.shape) < 0.1] = np.nan
    table[:, 5] = np.arange(4000) % 3  # no gap here: missing is nothing special to its splits
    target = np.nan_to_num(table[:, 0]) * table[:, 5] + rng.normal(0, 0.2, 4000)
    settings = {"objective": "quantile", "num_leaves": 31, "verbose": -1, "num_threads": 1, "seed": 1}
    boosters = [
        lightgbm.train({**settings, "alpha": alpha}, lightgbm.Dataset(table, target), 30)
        for alpha in (0.1, 0.9)
    ]
    probe = np.concatenate([table[:777], np.full((1, 6), np.nan, np.float32)])
    return boosters, [read_trees(b.model_to_string(), "test") for b in boosters], probe


def test_native_sums_are_those_of_lightgbm(grown):
    boosters, read, probe = grown
    expected = np.stack([booster.predict(probe, num_threads=1) for booster in boosters], axis=1)
    np.testing.assert_allclose(tree_sums(read).predict(probe), expected, atol=1e-12)


def test_native_sums_are_those_of_numpy_to_the_last_bit(grown):
    _, read, probe = grown
    expected = np.stack([trees.raw_score(probe) for trees in read], axis=1)
    np.testing.assert_array_equal(tree_sums(read).predict(probe), expected)


def test_what_the_native_sums_cannot_hold_is_refused(grown):
    lightgbm = pytest.importorskip("lightgbm")
    _, read, probe = grown
    rng = np.random.default_rng(1)
    wide = lightgbm.train(
        {"num_leaves": 40, "min_data_in_leaf": 1, "verbose": -1, "num_threads": 1},
        lightgbm.Dataset(rng.normal(size=(2000, 6)), rng.normal(size=2000)), 2,
    )  # fmt: skip
    with pytest.raises(InputError, match="at most 32 leaves"):
        tree_sums([read_trees(wide.model_to_string(), "test")])
    with pytest.raises(ValueError, match="rows of every feature"):
        tree_sums(read).predict(probe[:, :5])
