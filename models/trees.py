"""Boosted trees without LightGBM: raw scores with its bits, and exact Shapley values."""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from consignments.errors import BadInput, ServiceFault
from features.fitted import UnfittedRows
from models.arrays import Floats, Ints, Rows
from models.lightgbm_text import DEFAULT_LEFT, NO_MISSING, ZERO_MISSING, Tree, measure_paths, parse_trees
from models.tree_kernels import MISSING_LEFT, ZERO_IS_MISSING, ZERO_THRESHOLD, add_contributions, walk_trees

Indices = NDArray[np.uint32]
MIN_SHARE = 1e-300  # replaces a share of 0, by which the contributions would be divided


class Trees:
    """The boosted trees of a model; `expected` is their mean raw score over the training rows, in log-odds."""

    def __init__(self, feature_names: Sequence[str], trees: Sequence[Tree], text: str) -> None:
        self.feature_names = tuple(feature_names)
        self.text = text
        self.expected = float(sum(_compute_expected(tree) for tree in trees))
        self._trees, self._nodes = trees, _flatten(trees)

    @cached_property
    def _parts(self) -> "list[tuple[FlatNodes, FeaturePaths]]":
        """The trees by the points that their contributions need, built at the first use: most models of a training explain nothing."""
        parts: dict[int, list[Tree]] = {}
        for tree in self._trees:
            parts.setdefault((measure_paths(tree)[1] + 1) // 2, []).append(tree)
        return [_trace_features(trees, points) for points, trees in parts.items() if points]

    @classmethod
    @lru_cache(maxsize=4)  # a training and a gate read the fits that they wrote or compared several times
    def from_text(cls, text: str, *, where: str = "trees.txt") -> "Trees":
        """Parse the text of a binary LightGBM model with numeric splits; raise `BundleRefused` if it is damaged or another one."""
        names, trees = parse_trees(text, where)
        return cls(names, trees, text)

    def predict_raw(self, X: Rows) -> Floats:
        """Compute the raw score of each row in log-odds, its leaves added tree by tree; `ServiceFault` if one is not finite."""
        X = self._check_rows(X)
        out = np.empty(len(X))
        walk_trees(X, self._nodes, out)
        if not np.isfinite(out).all():
            todo = "roll back to the previous version"
            raise ServiceFault("the model computed a score that is not a number", todo=todo)
        return out

    def compute_disagreement(self, X: Rows, parts: int = 5) -> Floats:
        """Compute the standard deviation of the raw scores of a committee of every `parts`-th tree (Seung et al. 1992), in log-odds."""
        X = self._check_rows(X)
        votes = np.empty((parts, len(X)))
        for part in range(parts):
            chosen = slice(part, None, parts)
            root, depth = self._nodes.root[chosen].copy(), self._nodes.depth[chosen].copy()
            walk_trees(X, self._nodes._replace(root=root, depth=depth), votes[part])
        return np.asarray((parts * votes).std(axis=0))

    def compute_contributions(self, X: Rows) -> Floats:
        """Compute the contribution of each feature to the raw score of each row: exact path-dependent Shapley values.

        The last column is `expected` (Lundberg et al., "Consistent individualized feature attribution for tree ensembles", 2018). On the
        path to a leaf of value v, let z_i be the share of training rows that pass the splits on feature i, and o_i be 1 if the row does.
        Then phi_i = (o_i - z_i) v ∫ prod_{j≠i} (t o_j + (1-t) z_j) dt over [0, 1], which Gauss-Legendre quadrature integrates exactly.
        """
        X = self._check_rows(X)
        out = np.zeros((len(X), len(self.feature_names) + 1))
        out[:, -1] = self.expected
        for nodes, paths in self._parts:
            add_contributions(X, nodes, paths, out)
        return out

    def _check_rows(self, X: Rows) -> Rows:
        """Convert the rows to the form of the kernels; `BadInput` if their features were computed without fitted parameters."""
        if isinstance(X, UnfittedRows):
            what, got = "a feature matrix without fitted parameters cannot be scored", "features without them"
            expected = "features computed with the fitted parameters of the model"
            todo = "compute them with models.batch_scoring.build_feature_parameters, or score the table with score_table"
            raise BadInput(what, where=f"features {X.shape}", got=got, expected=expected, todo=todo)
        if X.ndim != 2 or X.shape[1] != len(self.feature_names):
            raise ValueError(f"rows of shape {X.shape} for {len(self.feature_names)} features")
        return X if X.dtype == np.float32 and X.flags.carray else np.require(X, np.float32, ("C", "W"))


class FlatNodes(NamedTuple):
    """The splits of all trees, parents first, then their leaves, as flat arrays. A leaf is its own child, so a walk of `depth` steps ends in one."""

    root: Indices
    depth: Ints
    feature: Indices
    threshold: Rows
    missing: NDArray[np.uint8]
    child: Indices
    value: Floats


class FeaturePaths(NamedTuple):
    """Features along the paths, for the contributions, and the quadrature on [0, 1], exact for the path with most features."""

    above: Indices  # of a split: the node that its path reached at the last split on the same feature, else a root
    share: Floats  # of a node: the training rows that pass all splits of its path on its parent's feature
    points: Floats
    weights: Floats


def _flatten(trees: Sequence[Tree]) -> FlatNodes:
    feature = [each for tree in trees for each in tree.feature]
    threshold = np.array([each for tree in trees for each in tree.threshold], dtype=np.float64)
    decision = np.array([each for tree in trees for each in tree.decision], dtype=np.int64)
    root, child, split, leaf = [], [], 0, len(feature)
    for tree in trees:
        root.append(split if tree.feature else leaf)
        child += [each + split if each >= 0 else leaf - 1 - each for pair in tree.child for each in pair]
        split, leaf = split + len(tree.feature), leaf + len(tree.leaf_value)
    child += [leaf for leaf in range(split, leaf) for _ in range(2)]
    return FlatNodes(
        root=np.array(root, dtype=np.uint32),
        depth=np.array([measure_paths(tree)[0] for tree in trees]),
        feature=np.resize(np.array(feature, dtype=np.uint32), leaf),
        threshold=np.resize(_round_down(_snap_tiny_thresholds(threshold)), leaf),
        missing=np.resize(_build_missing_rules(threshold, decision), leaf),
        child=np.array(child, dtype=np.uint32).reshape(-1, 2),
        value=np.array([0.0] * split + [each for tree in trees for each in tree.leaf_value]),
    )


def _round_down(threshold: Floats) -> Rows:
    """Round thresholds down to float32. A value of float32 is at most the threshold if it is at most the rounded one."""
    with np.errstate(all="ignore"):
        near = threshold.astype(np.float32)
        return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)


def _build_missing_rules(threshold: Floats, decision: Ints) -> NDArray[np.uint8]:
    """Build the rule of missing values per split. If a split has no missing values, LightGBM treats them as zero."""
    kind = decision >> 2
    left = np.where(kind == NO_MISSING, threshold >= 0, (decision & DEFAULT_LEFT) != 0)
    rules = np.where(left, MISSING_LEFT, 0) | np.where(kind == ZERO_MISSING, ZERO_IS_MISSING, 0)
    return rules.astype(np.uint8)


def _snap_tiny_thresholds(threshold: Floats) -> Floats:
    """Move thresholds within `ZERO_THRESHOLD` of zero to its edges, so that tiny values are split like zero."""
    moved = np.where((threshold >= 0) & (threshold < ZERO_THRESHOLD), ZERO_THRESHOLD, threshold)
    is_tiny = (threshold < 0) & (threshold >= -ZERO_THRESHOLD)
    return np.where(is_tiny, np.nextafter(-ZERO_THRESHOLD, -1.0), moved)


def _compute_expected(tree: Tree) -> float:
    """Compute the mean of a tree over its training rows, summed like LightGBM."""
    if not tree.feature:
        return tree.leaf_value[0]
    counted = zip(tree.leaf_rows, tree.leaf_value, strict=True)
    return float(sum(count / tree.rows[0] * value for count, value in counted))


def _trace_features(trees: Sequence[Tree], points: int) -> tuple[FlatNodes, FeaturePaths]:
    nodes, splits = _flatten(trees), sum(len(tree.feature) for tree in trees)
    rows = [each for tree in trees for each in tree.rows]
    rows += [each for tree in trees for each in tree.leaf_rows]
    above, share = np.full(splits, nodes.root[0]), np.ones(len(nodes.value))
    below: list[dict[int, int]] = [{} for _ in range(splits)]  # of each split: the node below each feature
    for split, children in enumerate(nodes.child[:splits].tolist()):
        feature = int(nodes.feature[split])
        above[split] = below[split].get(feature, nodes.root[0])
        both = [rows[node] for node in children]
        left = both[0] / sum(both) if sum(both) else 0.5
        for node, part in zip(children, (left, 1.0 - left), strict=True):
            share[node] = max(share[above[split]] * part, MIN_SHARE)
            if node < splits:
                below[node] = below[split] | {feature: node}
    places, weights = np.polynomial.legendre.leggauss(points)
    return nodes, FeaturePaths(above, share, (places + 1) / 2, weights / 2)
