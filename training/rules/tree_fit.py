"""A tree fitted to a teacher's decisions: where it departs from the rules, and what its leaves say.

CART (Breiman et al., *Classification and Regression Trees*, 1984) by least squares on what the teacher adds to the
preference and to the score; then the leaves' values by a conditional logit (McFadden 1974), whose likelihood is
concave; then branches that rounding has left nothing to, and leaves that say the same, go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from foreshade.envs.extras import require
from foreshade.envs.features import F32
from foreshade.envs.rule_reach import unreachable
from foreshade.envs.rule_tree import Node, word_of
from foreshade.training.rules.reading import Reader, Seen

#: Sharpness of the choice that leaves are fitted by, in units of preference: what the rules take is 0.7 above wait.
TEMPERATURE = 0.1
#: How much the leaves are drawn to the teacher's mean correction, in decisions.
PRIOR_DECISIONS = 1.0
#: What stands so far above or below wait is clear: how far does not matter.
CLEAR = 2.5
#: Leaves that differ by less are one.
SAME_LEAF = 0.02


def fitted(tree_module: Any, reader: Reader, seen: Seen, leaves: int) -> Node:
    """CART on the corrections, then leaves by conditional logit, then leaves that are alike made one."""
    sizes = np.diff(seen.first)
    ours = np.ones(len(seen.rows), bool)
    ours[seen.first[:-1]] = False  # wait has no leaf
    # What is near the top decides: the teacher's best, the rules' best, and little of the rest.
    liked, scored = seen.rows[:, reader.preference], reader.scored(seen.rows)
    wanted = np.clip(seen.wanted, -CLEAR, CLEAR)
    weight = 1.0 / np.repeat(sizes, sizes) + _odds(liked, seen) + _odds(wanted, seen)
    corrections = np.stack([wanted - liked, wanted - scored], axis=1)
    cart = tree_module.DecisionTreeRegressor(
        max_leaf_nodes=leaves, min_weight_fraction_leaf=0.002, random_state=0
    ).fit(seen.rows[ours], corrections[ours], sample_weight=weight[ours])
    grown = reachable(_node(cart.tree_, 0, reader))
    leaf, nodes = reader.leaves(grown, seen.rows)
    # A leaf adds to the preference or to the score, whichever leaves less of the correction open.
    n = len(nodes)
    total = np.maximum(np.bincount(leaf[ours], weight[ours], n), 1e-9)
    means = [np.bincount(leaf[ours], weight[ours] * one, n) / total for one in corrections[ours].T]
    open_ = [
        np.bincount(leaf[ours], weight[ours] * (one - mean[leaf[ours]]) ** 2, n)
        for one, mean in zip(corrections[ours].T, means, strict=True)
    ]
    by_score = open_[1] < open_[0] - 1e-6 * total
    start = np.where(by_score, means[1], means[0])
    fit = _leaf_values(seen, np.where(by_score[leaf], scored, liked), leaf, start)
    trees = [
        merged(_with_leaves(grown, iter(zip(by_score.tolist(), values.tolist(), strict=True))))
        for values in (start, fit)
    ]
    # Likelier choices need not be more of the teacher's: a teacher that is the rules wants nothing moved.
    agree = [
        (reader.choices(reader.preferences(tree, seen.rows), seen) == seen.chosen).sum() for tree in trees
    ]
    return trees[int(np.argmax(agree))]


def _odds(liked: F32, seen: Seen) -> F32:
    """(n,) softmax of the preferences of each decision."""
    sizes = np.diff(seen.first)
    top = np.repeat(np.maximum.reduceat(liked, seen.first[:-1]), sizes)
    odds = np.exp((liked - top) / TEMPERATURE)
    return np.asarray(odds / np.repeat(np.add.reduceat(odds, seen.first[:-1]), sizes), np.float32)


def _leaf_values(
    seen: Seen, liked: F32, leaf: npt.NDArray[np.int64], start: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """What the leaves add so that the teacher's choices are the likeliest."""
    optimize = require("scipy.optimize", "rules", "rules distil")
    n, sizes = len(start), np.diff(seen.first)
    waits = seen.first[:-1]
    alive = np.ones(len(leaf))
    alive[waits] = 0.0

    def loss(values: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        z = (liked + alive * values[leaf]) / TEMPERATURE
        top = np.maximum.reduceat(z, seen.first[:-1])
        odds = np.exp(z - np.repeat(top, sizes))
        total = np.add.reduceat(odds, seen.first[:-1])
        odds /= np.repeat(total, sizes)
        odds[seen.chosen] -= 1.0
        error = (top + np.log(total) - z[seen.chosen]).sum()
        pull = values - start
        slope = np.bincount(leaf, weights=odds * alive, minlength=n) / TEMPERATURE
        return float(error + PRIOR_DECISIONS * (pull**2).sum()), slope + 2.0 * PRIOR_DECISIONS * pull

    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(-9.0, 9.0)] * n)
    return np.asarray(found.x, np.float64)


def _node(tree: Any, at: int, reader: Reader) -> Node:
    left, right = int(tree.children_left[at]), int(tree.children_right[at])
    if left < 0:
        return Node(prefer=0.0)  # set once all leaves are known
    name, threshold = reader.names[int(tree.feature[at])], float(tree.threshold[at])
    low, high = _node(tree, left, reader), _node(tree, right, reader)
    if name in reader.kinds:
        return Node(when={"kind": name}, then=high, otherwise=low)
    bare = name.removeprefix("site.")
    shown = name if bare in reader.names else bare
    return Node(when={shown: f"<= {threshold:.4g}"}, then=low, otherwise=high)


def reachable(tree: Node) -> Node:
    """Without branches that rounding a threshold has left no candidate to."""
    while (found := unreachable((), tree)) is not None:
        path = found[0][1:]  # behind the tree itself
        tree = _without(tree, tuple(str(part) for part in path))
    return tree


def _without(node: Node, path: tuple[str, ...]) -> Node:
    """The branch at ``path`` gives way to its sibling."""
    if node.then is None or node.otherwise is None or not path:
        return node
    if len(path) == 1:
        return node.otherwise if path[0] == "then" else node.then
    part = "then" if path[0] == "then" else "otherwise"
    below = node.then if path[0] == "then" else node.otherwise
    return node.model_copy(update={part: _without(below, path[1:])})


def _short(value: float) -> float:
    return round(min(max(value, -9.0), 9.0), 3) + 0.0  # no minus zero


def _with_leaves(node: Node, leaves: Iterator[tuple[bool, float]]) -> Node:
    """The same tree with other leaves, in the order in which they are read."""
    if node.then is None or node.otherwise is None:
        by_score, value = next(leaves)
        added = _short(value)
        if not by_score:
            return Node(prefer=added)
        return Node(prefer=f"score {'+' if added > 0 else '-'} {abs(added):g}" if added else "score")
    then = _with_leaves(node.then, leaves)
    return node.model_copy(update={"then": then, "otherwise": _with_leaves(node.otherwise, leaves)})


def merged(node: Node) -> Node:
    """Branches whose leaves say the same are one leaf."""
    if node.then is None or node.otherwise is None:
        return node
    then, otherwise = merged(node.then), merged(node.otherwise)
    if then.prefer is not None and otherwise.prefer is not None:
        a, b = word_of(then.prefer), word_of(otherwise.prefer)
        if a.verdict is b.verdict and abs(a.value - b.value) < SAME_LEAF:
            return then
    return node.model_copy(update={"then": then, "otherwise": otherwise})
