"""Boosted trees without LightGBM: its model text becomes flat arrays, which numba kernels traverse.

The raw scores equal `booster.predict(X, raw_score=True)` bit for bit. The contributions are exact Shapley values.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.lightgbm_text import (
    DEFAULT_LEFT,
    NO_MISSING,
    ZERO_MISSING,
    Tree,
    compute_depths,
    parse_trees,
    strip_parameters,
)
from models.tree_kernels import (
    EXPLAINED_SPLIT,
    FEATURE_SHIFT,
    MISSING_LEFT,
    MISSING_SHIFT,
    ZERO_IS_MISSING,
    ZERO_THRESHOLD,
    add_contributions,
    score_blocks,
    walk_trees,
)

MIN_BLOCK_ROWS = 8
"""Minimum number of rows that are scored side by side. Fewer are faster one by one."""
MAX_BLOCK_LEAVES = 64
"""Maximum number of leaves of a tree whose rows are scored side by side: one bit for each. Larger trees are walked."""
HALF_WORD_LEAVES = 32
"""If all trees have at most as many leaves, the bits of a tree need half the memory."""
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Trees:
    """The boosted trees of a model.

    Parameters
    ----------
    feature_names : sequence of str
        Names in the order of the row.
    trees : sequence of Tree
    text : str
        Model text of the trees, without its parameters.

    Attributes
    ----------
    feature_names : tuple of str
    text : str
    expected : float
        Mean raw score over the training rows, from the counts of the trees, in log-odds.
    """

    def __init__(self, feature_names: Sequence[str], trees: Sequence[Tree], text: str) -> None:
        self.feature_names = tuple(feature_names)
        self.text = text
        self.expected = float(sum(_compute_expected(tree) for tree in trees))
        self._nodes = _flatten(trees)
        first = np.cumsum([0, *(len(tree.feature) for tree in trees)])
        self._packed = _pack_nodes(self._nodes, first, _compute_depths(trees))
        self._blocks = _build_blocks(self._nodes, first)
        self._trees = trees

    def __len__(self) -> int:
        return len(self._nodes.root)

    @cached_property
    def _explained(self) -> "ExplainedTrees":
        """The trees as contributions need them, built at the first use: most models of a training explain nothing."""
        return _build_explained_trees(self._trees, self._nodes, len(self.feature_names))

    @classmethod
    def from_text(cls, text: str, *, where: str = "trees.txt") -> "Trees":
        """Parse the model text of LightGBM.

        Parameters
        ----------
        text : str
            Text of a binary model with numeric splits, with or without its parameters.
        where : str
            Name of the source in errors.

        Raises
        ------
        BundleRefused
            If the text is damaged, or the model is not supported: categorical splits, linear leaves, several classes,
            averaged output, another objective or version, paths of more than `MAX_DEPTH` splits.
        """
        names, trees = parse_trees(text, where)
        return cls(names, trees, strip_parameters(text))

    def predict_raw(self, X: NDArray[np.float32]) -> Floats:
        """Compute the raw score of each row: the sum of its leaves, tree by tree.

        Parameters
        ----------
        X : float32 array, (n, features)
            NaN is missing.

        Returns
        -------
        float64 array, (n,)
            Log-odds before calibration.
        """
        X = self._check_rows(X)
        out = np.empty(len(X))
        if self._blocks is None or len(X) < MIN_BLOCK_ROWS:
            walk_trees(X, *self._packed, out)
        else:
            score_blocks(X.view(np.int32), *self._blocks, out)
        return out

    def compute_disagreement(self, X: NDArray[np.float32], parts: int = 5) -> Floats:
        """Compute the disagreement of the trees about each row. Every `parts`-th tree belongs to one committee member.

        Parameters
        ----------
        X : float32 array, (n, features)
        parts : int
            Number of members. Each scores with its trees, times `parts`.

        Returns
        -------
        float64 array, (n,)
            Standard deviation of the raw scores of the members, in log-odds (query by committee, Seung et al. 1992).
        """
        X = self._check_rows(X)
        votes = np.empty((parts, len(X)))
        for part in range(parts):
            root, depth = self._packed.root[part::parts].copy(), self._packed.depth[part::parts].copy()
            walk_trees(X, *self._packed._replace(root=root, depth=depth), votes[part])
        return np.asarray((parts * votes).std(axis=0))

    def compute_contributions(self, X: NDArray[np.float32]) -> Floats:
        """Compute the contribution of each feature to the raw score of each row: exact path-dependent Shapley values.

        Parameters
        ----------
        X : float32 array, (n, features)

        Returns
        -------
        float64 array, (n, features + 1)
            Log-odds. The last column is `expected`, and the sum of a row is its raw score.

        Notes
        -----
        The values follow Lundberg et al., "Consistent individualized feature attribution for tree ensembles" (2018). On
        the path to a leaf of value v, let z_i be the share of training rows that pass the splits on feature i,
        and let o_i be 1 if the row passes them, else 0. Then phi_i = (o_i - z_i) v ∫ prod_{j≠i} (t o_j + (1-t) z_j) dt
        over t in [0, 1], a polynomial that Gauss-Legendre quadrature integrates exactly.
        """
        X = self._check_rows(X)
        out = np.zeros((len(X), len(self.feature_names) + 1))
        out[:, -1] = self.expected
        add_contributions(X.view(np.int32), *self._explained, out)
        return out

    def _check_rows(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Convert the rows to the form for which the kernels are compiled."""
        if X.ndim != 2 or X.shape[1] != len(self.feature_names):
            raise ValueError(f"rows of shape {X.shape} for {len(self.feature_names)} features")
        return X if X.dtype == np.float32 and X.flags.carray else np.require(X, np.float32, ("C", "W"))


# Flat arrays for the kernels


class SplitNodes(NamedTuple):
    """The splits of all trees in one array.

    Attributes
    ----------
    root : int32 array, (trees,)
        First split of each tree, or -1 - leaf if the tree has only one leaf.
    feature : int32 array, (splits,)
    threshold : float64 array, (splits,)
    missing : uint8 array, (splits,)
        `MISSING_LEFT` if missing goes left, `ZERO_IS_MISSING` if zero counts as missing.
    child : int32 array, (splits, 2)
    leaf : float64 array, (leaves,)
    """

    root: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: Floats
    missing: NDArray[np.uint8]
    child: NDArray[np.int32]
    leaf: Floats


class PackedNodes(NamedTuple):
    """The splits and leaves of all trees, 8 bytes each, for the walk. A leaf leads to itself. Siblings are neighbours.

    Attributes
    ----------
    root : int32 array, (trees,)
    depth : int64 array, (trees,)
        Number of splits on the longest path.
    threshold : float32 array, (2 * nodes,)
        Word 2 * node: the threshold, rounded down.
    rules : uint32 array, (2 * nodes,)
        The same memory. Word 2 * node + 1: feature, missing rules (see `SplitNodes`), and distance to the left child.
    value : float64 array, (nodes,)
        Value of a leaf.
    """

    root: NDArray[np.int32]
    depth: Ints
    threshold: NDArray[np.float32]
    rules: NDArray[np.uint32]
    value: Floats


class SplitBlocks(NamedTuple):
    """The splits of all trees by feature, missing rules and threshold, for rows side by side. A group has equal feature and rules.

    Attributes
    ----------
    feature : int32 array, (groups,)
    missing : uint8 array, (groups,)
        See `SplitNodes`.
    first : int64 array, (groups + 1,)
        First split of each group.
    key : int32 array, (splits,)
        Threshold, rounded down to float32, as an integer in the same order; see `models.tree_kernels.score_blocks`.
    tree : int32 array, (splits,)
    mask : uint32 or uint64 array, (splits,)
        Leaves of the tree that are not on the left of the split.
    leaf_at : int64 array, (trees,)
        First leaf of each tree.
    leaf : float64 array, (leaves,)
        From left to right.
    """

    feature: NDArray[np.int32]
    missing: NDArray[np.uint8]
    first: Ints
    key: NDArray[np.int32]
    tree: NDArray[np.int32]
    mask: NDArray[np.uint32] | NDArray[np.uint64]
    leaf_at: Ints
    leaf: Floats


class ExplainedTrees(NamedTuple):
    """The trees as contributions need them; see `models.tree_kernels.add_contributions`.

    The children of the n-th split of a tree are its nodes 2 n + 1 and 2 n + 2.

    Attributes
    ----------
    splits : array of EXPLAINED_SPLIT, (splits,)
        `given`: position of the feature among all features, those with the missing rules 0 first. `key`: threshold, as of `SplitBlocks`.
        `node`: node of the split in its tree. `above`: node below the last split above on the same feature, or -1; `above_share`: share of the training
        rows that pass all splits on it down to there. `left_share`: share of the training rows of the split that went to the left.
        `left`, `right`: child, or -1 for a leaf, whose value is `left_leaf` or `right_leaf`.
    first : int64 array, (trees + 1,)
        First split of each tree.
    expected : float64 array, (trees,)
        Mean of a tree of one feature; NaN for any other.
    points, weights : tuple of float
        Of the quadrature.
    """

    splits: NDArray[np.void]
    first: Ints
    expected: Floats
    points: tuple[float, ...]
    weights: tuple[float, ...]


def _flatten(trees: Sequence[Tree]) -> SplitNodes:
    splits = np.cumsum([0, *(len(tree.feature) for tree in trees)])[:-1]
    leaves = np.cumsum([0, *(len(tree.leaf_value) for tree in trees)])[:-1]
    threshold = np.concatenate([tree.threshold for tree in trees])
    decision = np.concatenate([tree.decision for tree in trees])
    child = [
        np.where(tree.child >= 0, tree.child + split, tree.child - leaf)
        for tree, split, leaf in zip(trees, splits, leaves, strict=True)
    ]
    root = [
        split if len(tree.feature) else -1 - leaf
        for tree, split, leaf in zip(trees, splits, leaves, strict=True)
    ]
    return SplitNodes(
        root=np.array(root, dtype=np.int32),
        feature=np.concatenate([tree.feature for tree in trees]).astype(np.int32),
        threshold=_snap_tiny_thresholds(threshold),
        missing=_build_missing_rules(threshold, decision),
        child=np.concatenate(child).astype(np.int32),
        leaf=np.concatenate([tree.leaf_value for tree in trees]),
    )


def _compute_depths(trees: Sequence[Tree]) -> Ints:
    counts = np.array([len(tree.feature) for tree in trees])
    return compute_depths(np.concatenate([tree.child for tree in trees]), counts)


def _pack_nodes(nodes: SplitNodes, first: Ints, depth: Ints) -> PackedNodes:
    """Pack the nodes: the children of the n-th split of a tree follow its root as the n-th pair."""
    trees, splits = len(nodes.root), len(nodes.feature)
    tree = np.repeat(np.arange(trees), np.diff(first))
    pair = 2 * np.arange(splits) + tree + 1
    root = 2 * first[:-1] + np.arange(trees)
    child, place = nodes.child.ravel(), (pair[:, None] + np.arange(2)).ravel()
    own, leaf = np.empty(splits, dtype=np.int64), np.empty(len(nodes.leaf), dtype=np.int64)
    for known, at in ((nodes.root, root), (child, place)):
        own[known[known >= 0]], leaf[-1 - known[known < 0]] = at[known >= 0], at[known < 0]
    words = np.zeros(2 * (2 * splits + trees), dtype=np.uint32)
    threshold, value = words.view(np.float32), np.zeros(2 * splits + trees)
    threshold[2 * own], threshold[2 * leaf] = _round_down(nodes.threshold), np.inf
    rules = nodes.missing.astype(np.int64) << MISSING_SHIFT
    words[2 * own + 1] = nodes.feature.astype(np.int64) << FEATURE_SHIFT | rules | (pair - own)
    # A leaf sends every value to the left, to itself.
    words[2 * leaf + 1] = int(MISSING_LEFT) << MISSING_SHIFT
    value[leaf] = nodes.leaf
    return PackedNodes(root.astype(np.int32), depth, threshold, words, value)


def _build_blocks(nodes: SplitNodes, first: Ints) -> SplitBlocks | None:
    """Sort the splits by feature and threshold; None if no tree has a split or one has too many leaves."""
    leaves = np.diff(first) + 1
    if leaves.max() == 1 or leaves.max() > MAX_BLOCK_LEAVES:
        return None
    tree = np.repeat(np.arange(len(leaves)), leaves - 1)
    begin, middle, order = _number_leaves(nodes)
    left = [((1 << end - start) - 1) << start for start, end in zip(begin, middle, strict=True)]
    mask = ~np.array(left, dtype=np.uint64)
    key = _order_as_integers(_round_down(nodes.threshold))
    by = np.lexsort((key, nodes.missing, nodes.feature))
    feature, missing = nodes.feature[by], nodes.missing[by]
    ends = np.flatnonzero((np.diff(feature) != 0) | (np.diff(missing) != 0)) + 1
    groups = np.concatenate([[0], ends])
    return SplitBlocks(
        feature=feature[groups],
        missing=missing[groups],
        first=np.concatenate([groups, [len(by)]]).astype(np.int64),
        key=key[by],
        tree=tree[by].astype(np.int32),
        mask=mask[by] if leaves.max() > HALF_WORD_LEAVES else mask[by].astype(np.uint32),
        leaf_at=np.cumsum([0, *leaves[:-1]]),
        leaf=nodes.leaf[order],
    )


def _number_leaves(nodes: SplitNodes) -> tuple[list[int], list[int], list[int]]:
    """Number the leaves of each tree from left to right.

    Returns
    -------
    begin, middle : list of int, (splits,)
        First leaf below each split, and first leaf below its right child.
    order : list of int, (leaves,)
        Position of each leaf, tree by tree from left to right.
    """
    children: list[tuple[int, int]] = nodes.child.tolist()
    below = [0] * len(children)
    for split in range(len(children) - 1, -1, -1):
        below[split] = sum(below[child] if child >= 0 else 1 for child in children[split])
    begin, middle, order = [0] * len(children), [0] * len(children), [0] * len(nodes.leaf)
    at_tree = 0
    for root in nodes.root.tolist():
        if root < 0:
            order[at_tree] = -1 - root
            at_tree += 1
            continue
        waiting = [(root, 0)]
        while waiting:
            node, start = waiting.pop()
            if node < 0:
                order[at_tree + start] = -1 - node
                continue
            left, right = children[node]
            begin[node] = start
            middle[node] = start + (below[left] if left >= 0 else 1)
            waiting += [(left, start), (right, middle[node])]
        at_tree += below[root]
    return begin, middle, order


def _round_down(threshold: Floats) -> NDArray[np.float32]:
    """Round thresholds down to float32. A value of float32 is at most the threshold if it is at most the rounded one."""
    with np.errstate(all="ignore"):
        near = threshold.astype(np.float32)
        return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)


def _order_as_integers(numbers: NDArray[np.float32]) -> NDArray[np.int32]:
    """Convert float32 to integers in the same order; both zeros become 0."""
    words = numbers.view(np.int32)
    return np.where(words >= 0, words, -(words & np.int32(2**31 - 1)))


def _build_missing_rules(threshold: Floats, decision: Ints) -> NDArray[np.uint8]:
    """Build the rule of missing values per split. If a split has no missing values, LightGBM treats them as zero."""
    kind = decision >> 2
    left = np.where(kind == NO_MISSING, threshold >= 0, (decision & DEFAULT_LEFT) != 0)
    rules = np.where(left, MISSING_LEFT, 0) | np.where(kind == ZERO_MISSING, ZERO_IS_MISSING, 0)
    return rules.astype(np.uint8)


def _snap_tiny_thresholds(threshold: Floats) -> Floats:
    """Move thresholds within `ZERO_THRESHOLD` of zero to its edges, so that tiny values are split like zero."""
    moved = np.where((threshold >= 0) & (threshold < ZERO_THRESHOLD), ZERO_THRESHOLD, threshold)
    return np.where(
        (threshold < 0) & (threshold >= -ZERO_THRESHOLD), np.nextafter(-ZERO_THRESHOLD, -1.0), moved
    )


def _build_explained_trees(trees: Sequence[Tree], nodes: SplitNodes, features: int) -> ExplainedTrees:
    first = np.cumsum([0, *(len(tree.feature) for tree in trees)])
    splits = np.zeros(len(nodes.feature), dtype=EXPLAINED_SPLIT)
    splits["feature"] = nodes.feature
    splits["given"] = nodes.missing.astype(np.int64) * features + nodes.feature
    splits["key"] = _order_as_integers(_round_down(nodes.threshold))
    for side, names in enumerate((("left", "left_leaf"), ("right", "right_leaf"))):
        child = nodes.child[:, side]
        splits[names[0]] = np.maximum(child, -1)
        splits[names[1]] = np.where(child < 0, nodes.leaf[-1 - np.minimum(child, -1)], 0.0)
    for tree, begin, end in zip(trees, first, first[1:], strict=False):
        _follow_features(tree, splits[begin:end])
    points, weights = _gauss_legendre(_count_path_features(trees))
    expected = [_compute_expected(tree) if len(set(tree.feature.tolist())) == 1 else np.nan for tree in trees]
    return ExplainedTrees(splits, first, np.array(expected), points, weights)


def _follow_features(tree: Tree, splits: NDArray[np.void]) -> None:
    """Set where the splits of a tree are, the shares of their rows, and what is above them on the same feature."""
    features, both, leaf_rows, rows = (
        each.tolist() for each in (tree.feature, tree.child, tree.leaf_rows, tree.rows)
    )
    passed: list[dict[int, tuple[int, float]]] = [{} for _ in features]
    for at, (feature, children) in enumerate(zip(features, both, strict=True)):
        above, above_share = passed[at].get(feature, (-1, 1.0))
        left, right = (rows[child] if child >= 0 else leaf_rows[-1 - child] for child in children)
        share = left / (left + right) if left + right else 0.5
        for name, value in (("above", above), ("above_share", above_share), ("left_share", share)):
            splits[name][at] = value
        for node, child, part in zip((2 * at + 1, 2 * at + 2), children, (share, 1.0 - share), strict=True):
            if child >= 0:
                splits["node"][child] = node
                passed[child] = passed[at] | {feature: (node, above_share * part)}


def _compute_expected(tree: Tree) -> float:
    """Compute the mean of a tree over its training rows, summed like LightGBM."""
    if not len(tree.feature):
        return float(tree.leaf_value[0])
    values, rows, all_rows = tree.leaf_value.tolist(), tree.leaf_rows.tolist(), int(tree.rows[0])
    return float(sum(count / all_rows * value for count, value in zip(rows, values, strict=True)))


def _count_path_features(trees: Sequence[Tree]) -> int:
    """Count the distinct features on the path with the most of them."""
    most = 0
    for tree in trees:
        seen: list[frozenset[int]] = [frozenset()] * len(tree.feature)
        for node, (feature, children) in enumerate(
            zip(tree.feature.tolist(), tree.child.tolist(), strict=True)
        ):
            here = seen[node] | {feature}
            most = max(most, len(here))
            for child in children:
                if child >= 0:
                    seen[child] = here
    return most


def _gauss_legendre(features: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compute points and weights on [0, 1] that are exact for paths of a number of distinct features.

    They are tuples of four or eight: the length is part of the type of the kernel, whose vectors have it.
    """
    points, weights = np.polynomial.legendre.leggauss(4 if features <= 2 * 4 else 8)
    return tuple(((points + 1) / 2).tolist()), tuple((weights / 2).tolist())
