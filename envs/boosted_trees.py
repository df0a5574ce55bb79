"""LightGBM's own model files, evaluated without LightGBM.

Trees are grown with LightGBM (extra ``forecast``) and stored as the text that its boosters write
(``Booster.model_to_string``). ``BoostedTrees`` gives the same numbers in NumPy (a test holds them to 1e-9) at
about 60 ns per row, tree and level: for the disks of a site. ``tree_sums`` hands small trees without
categories to the native core, for every series of a site at every tick.

The text format is LightGBM's ``v4`` tree dump: per split ``decision_type`` bit 0 = categorical, bit 1 =
missing goes left, bits 2-3 = what counts as missing (0 nothing, 1 zero, 2 NaN); a child below 0 is the leaf
``~child``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from foreshade._core import GrownTree, TreeSums
from foreshade.envs.errors import InputError

_CATEGORICAL = 1
_DEFAULT_LEFT = 2
_ZERO = 1
_NAN = 2
_ZERO_BAND = 1e-35  # LightGBM's kZeroThreshold
_UNSUPPORTED = ("is_linear=1",)


@dataclass(frozen=True, slots=True)
class _Tree:
    """One tree, a row per split; a stump has no splits and one leaf."""

    feature: npt.NDArray[np.int32]  # (n_splits,)
    threshold: npt.NDArray[np.float64]  # (n_splits,) a number, or the index of a category set
    decision: npt.NDArray[np.int32]  # (n_splits,) bits as in the module's docstring
    left: npt.NDArray[np.int32]  # (n_splits,)
    right: npt.NDArray[np.int32]  # (n_splits,)
    leaf: npt.NDArray[np.float64]  # (n_leaves,)
    member: npt.NDArray[np.bool_]  # (n_sets, widest) whether a category goes left

    def add_to(self, total: npt.NDArray[np.float64], x: npt.NDArray[np.float64]) -> None:
        """Add each row's leaf to ``total``."""
        if self.feature.size == 0:
            total += self.leaf[0]
            return
        node = np.zeros(len(x), np.int32)
        active = np.arange(len(x))
        while active.size:
            at = node[active]
            node[active] = np.where(
                self._goes_left(at, x[active, self.feature[at]]), self.left[at], self.right[at]
            )
            active = active[node[active] >= 0]
        total += self.leaf[~node]

    def _goes_left(self, at: npt.NDArray[np.int32], value: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        decision = self.decision[at]
        missing = decision >> 2
        nan = np.isnan(value)
        number = np.where(nan & (missing != _NAN), 0.0, value)
        absent = ((missing == _NAN) & nan) | ((missing == _ZERO) & (np.abs(number) <= _ZERO_BAND))
        with np.errstate(invalid="ignore"):
            left = np.where(absent, (decision & _DEFAULT_LEFT) > 0, number <= self.threshold[at])
        category = (decision & _CATEGORICAL) > 0
        if category.any():
            # Missing, negative and never-seen categories go right, whatever the other bits say.
            code = np.where(nan | (value < 0) | (value >= self.member.shape[1]), -1, value).astype(np.int64)
            sets = np.where(category, self.threshold[at], 0).astype(np.int64)
            left = np.where(category, (code >= 0) & self.member[sets, code], left)
        return left


@dataclass(frozen=True, slots=True)
class BoostedTrees:
    """A sum of trees over ``feature_names``: the raw score, before any link function."""

    feature_names: tuple[str, ...]
    trees: tuple[_Tree, ...]

    def raw_score(self, x: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Sum of leaves of each row of ``(n, n_features)``.

        Raises:
            InputError: another number of columns.

        """
        if x.ndim != 2 or x.shape[1] != len(self.feature_names):
            raise InputError(f"boosted trees: expected (n, {len(self.feature_names)}), got {x.shape}")
        table = np.asarray(x, np.float64)
        total = np.zeros(len(table))
        for tree in self.trees:
            tree.add_to(total, table)
        return total


def read_trees(text: str, where: str) -> BoostedTrees:
    """Read a model file.

    Raises:
        InputError: not such a file, or it uses what is not read here (linear leaves, several classes).

    """
    head, *blocks = text.partition("end of trees")[0].split("\nTree=")
    header = _fields(head)
    if not head.startswith("tree") or "feature_names" not in header:
        raise InputError(f"{where}: expected a LightGBM model text, got {text[:20]!r}")
    if header.get("num_tree_per_iteration", "1") != "1" or "average_output" in head:
        raise InputError(f"{where}: expected one boosted output, got classes or a random forest")
    for mark in _UNSUPPORTED:
        if mark in text:
            raise InputError(f"{where}: expected constant leaves, got {mark}")
    try:
        trees = tuple(_tree(_fields(block)) for block in blocks)
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(f"{where}: expected complete trees ({error!r})") from error
    return BoostedTrees(tuple(header["feature_names"].split()), trees)


def tree_sums(outputs: Sequence[BoostedTrees]) -> TreeSums:
    """The native evaluator of several boosters over the same features, one output each.

    Raises:
        InputError: categories, zeros that count as missing, too many leaves, or other features.

    """
    sums = TreeSums(len(outputs[0].feature_names))
    for booster in outputs:
        if booster.feature_names != outputs[0].feature_names:
            raise InputError("boosted trees: expected boosters over the same features")
        try:
            sums.add_output([_grown(tree) for tree in booster.trees])
        except ValueError as error:
            raise InputError(f"boosted trees: {error}") from error
    return sums


def _grown(tree: _Tree) -> GrownTree:
    missing = tree.decision >> 2
    if bool(((tree.decision & _CATEGORICAL) > 0).any() or (missing == _ZERO).any()):
        raise InputError("boosted trees: expected numbers alone, got categories or zeros that are missing")
    # where nothing counts as missing, LightGBM takes NaN for 0
    nan_left = np.where(missing == _NAN, (tree.decision & _DEFAULT_LEFT) > 0, tree.threshold >= 0)
    return GrownTree(
        tree.feature.tolist(),
        tree.threshold.tolist(),
        nan_left.astype(np.uint8).tolist(),
        tree.left.tolist(),
        tree.right.tolist(),
        tree.leaf.tolist(),
    )


def _fields(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _tree(fields: dict[str, str]) -> _Tree:
    def numbers(key: str, dtype: type) -> npt.NDArray[Any]:
        return np.array(fields.get(key, "").split(), dtype)

    leaf = np.array(fields["leaf_value"].split(), np.float64)
    edges = numbers("cat_boundaries", np.int64)
    words = numbers("cat_threshold", np.uint32)
    width = 32 * int(np.diff(edges).max(initial=1))
    member = np.zeros((max(len(edges) - 1, 1), width), bool)
    for row, (start, stop) in enumerate(pairwise(edges.tolist())):
        bits = np.unpackbits(words[start:stop].view(np.uint8), bitorder="little")
        member[row, : bits.size] = bits
    return _Tree(
        feature=numbers("split_feature", np.int32),
        threshold=numbers("threshold", np.float64),
        decision=numbers("decision_type", np.int32),
        left=numbers("left_child", np.int32),
        right=numbers("right_child", np.int32),
        leaf=leaf,
        member=member,
    )
