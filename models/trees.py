"""Boosted trees without LightGBM: raw scores with its bits, and exact Shapley values."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from consignments.errors import BadInput, ServiceFault
from features.fitted import UnfittedRows
from models.arrays import Bools, Floats, Ints, Rows
from models.lightgbm_text import DEFAULT_LEFT, NO_MISSING, ZERO_MISSING, Tree, parse_trees
from models.tree_kernels import MISSING_LEFT, ZERO_IS_MISSING, ZERO_THRESHOLD, add_contributions, walk_trees


class Trees:
    """The boosted trees of a model; `expected` is their mean raw score over the training rows, in log-odds."""

    def __init__(self, feature_names: Sequence[str], trees: Sequence[Tree], text: str) -> None:
        self.feature_names = tuple(feature_names)
        self.text = text
        self.expected = float(sum(_compute_expected(tree) for tree in trees))
        self._trees, self._nodes = trees, _flatten(trees)

    @cached_property
    def _paths(self) -> "LeafPaths":
        """The paths to the leaves, built at the first use: most models of a training explain nothing."""
        return _list_paths(self._trees)

    @classmethod
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
            raise ServiceFault(
                "the model computed a score that is not a number", todo="roll back to the previous version"
            )
        return out

    def compute_disagreement(self, X: Rows, parts: int = 5) -> Floats:
        """Compute the standard deviation of the raw scores of a committee of every `parts`-th tree (Seung et al. 1992), in log-odds."""
        X = self._check_rows(X)
        votes = np.empty((parts, len(X)))
        for part in range(parts):
            walk_trees(X, self._nodes._replace(root=self._nodes.root[part::parts].copy()), votes[part])
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
        add_contributions(X, self._nodes, self._paths, out)
        return out

    def _check_rows(self, X: Rows) -> Rows:
        """Convert the rows to the form of the kernels; `BadInput` if their features were computed without fitted parameters."""
        if isinstance(X, UnfittedRows):
            raise BadInput(
                "a feature matrix without fitted parameters cannot be scored",
                where=f"features {X.shape}",
                got="features computed without fitted parameters",
                expected="features computed with the fitted parameters of the model",
                todo="compute them with models.batch_scoring.build_feature_parameters(bundle, pseudonyms), "
                "or score the table with score_table",
            )
        if X.ndim != 2 or X.shape[1] != len(self.feature_names):
            raise ValueError(f"rows of shape {X.shape} for {len(self.feature_names)} features")
        return X if X.dtype == np.float32 and X.flags.carray else np.require(X, np.float32, ("C", "W"))


class FlatNodes(NamedTuple):
    """The splits and leaves of all trees as flat arrays: a root or child is a split, or -1 - leaf."""

    root: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: Rows
    missing: NDArray[np.uint8]
    child: NDArray[np.int32]
    leaf: Floats


class LeafPaths(NamedTuple):
    """The paths to the leaves: the first feature of each path, the first step of each feature, and the share of rows that pass them."""

    value: Floats
    first: Ints
    feature: NDArray[np.int32]
    share: Floats
    step: Ints
    split: NDArray[np.int32]
    side: Bools


class _Passed(NamedTuple):
    """The splits on one feature that a path passes, each with its side, and the share of the training rows that pass them."""

    share: float = 1.0
    steps: tuple[tuple[int, bool], ...] = ()


def _flatten(trees: Sequence[Tree]) -> FlatNodes:
    root, child, splits, leaves = [], [], 0, 0
    for tree in trees:
        root.append(splits if tree.feature else -1 - leaves)
        child += [each + splits if each >= 0 else each - leaves for pair in tree.child for each in pair]
        splits, leaves = splits + len(tree.feature), leaves + len(tree.leaf_value)
    threshold = np.array([each for tree in trees for each in tree.threshold], dtype=np.float64)
    decision = np.array([each for tree in trees for each in tree.decision], dtype=np.int64)
    return FlatNodes(
        root=np.array(root, dtype=np.int32),
        feature=np.array([each for tree in trees for each in tree.feature], dtype=np.int32),
        threshold=_round_down(_snap_tiny_thresholds(threshold)),
        missing=_build_missing_rules(threshold, decision),
        child=np.array(child, dtype=np.int32).reshape(-1, 2),
        leaf=np.array([each for tree in trees for each in tree.leaf_value]),
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
    return np.where(
        (threshold < 0) & (threshold >= -ZERO_THRESHOLD), np.nextafter(-ZERO_THRESHOLD, -1.0), moved
    )


def _compute_expected(tree: Tree) -> float:
    """Compute the mean of a tree over its training rows, summed like LightGBM."""
    if not tree.feature:
        return tree.leaf_value[0]
    counted = zip(tree.leaf_rows, tree.leaf_value, strict=True)
    return float(sum(count / tree.rows[0] * value for count, value in counted))


def _list_paths(trees: Sequence[Tree]) -> LeafPaths:
    values, ends, features, shares, step_ends, steps = [], [0], [], [], [0], []
    splits = 0
    for tree in trees:
        for value, path in _follow_paths(tree):
            values.append(value)
            for feature, passed in path.items():
                features.append(feature)
                shares.append(passed.share)
                steps += [(splits + split, side) for split, side in passed.steps]
                step_ends.append(len(steps))
            ends.append(len(features))
        splits += len(tree.feature)
    return LeafPaths(
        value=np.array(values, dtype=np.float64),
        first=np.array(ends, dtype=np.int64),
        feature=np.array(features, dtype=np.int32),
        share=np.array(shares, dtype=np.float64),
        step=np.array(step_ends, dtype=np.int64),
        split=np.array([split for split, _ in steps], dtype=np.int32),
        side=np.array([side for _, side in steps], dtype=np.bool_),
    )


def _follow_paths(tree: Tree) -> Iterator[tuple[float, dict[int, _Passed]]]:
    """Yield the value of each leaf below a split, and what its path passes, by feature."""
    waiting: list[tuple[int, dict[int, _Passed]]] = [(0, {})] if tree.feature else []
    while waiting:
        node, path = waiting.pop()
        if node < 0:
            yield tree.leaf_value[-1 - node], path
            continue
        feature, children = tree.feature[node], tree.child[node]
        rows = [tree.rows[each] if each >= 0 else tree.leaf_rows[-1 - each] for each in children]
        left = rows[0] / sum(rows) if sum(rows) else 0.5
        above = path.get(feature, _Passed())
        for side, part in ((True, 1.0 - left), (False, left)):
            passed = _Passed(above.share * part, (*above.steps, (node, side)))
            waiting.append((children[side], path | {feature: passed}))
