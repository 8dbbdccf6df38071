"""Boosted trees without LightGBM: its model text becomes flat arrays, walked by numba kernels.

The walk equals `booster.predict(X, raw_score=True)` bit for bit; the contributions are exact Shapley values. The text
comes from a file, so every size, index and number is checked before a kernel, which checks no bounds, may see it.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numba import njit
from numpy.typing import NDArray

from consignments.errors import BundleRefused

MAX_TEXT_CHARACTERS = 64 * 1024 * 1024
MAX_TREES = 10_000
MAX_LEAVES = 4096
MAX_FEATURES = 10_000
MAX_DEPTH = 16
"""Most splits on a path: eight quadrature points are exact to sixteen distinct features."""

ZERO_THRESHOLD = float(np.float32(1e-35))
"""LightGBM takes any value this close to zero for zero (`kZeroThreshold`)."""

HEADER = {
    "version": "v4",
    "num_class": "1",
    "num_tree_per_iteration": "1",
    "label_index": "0",
    "objective": "binary sigmoid:1",
}
"""What the header must say; any other model is read by other rules than ours."""
HEADER_KEYS = {*HEADER, "max_feature_idx", "feature_names", "feature_infos", "tree_sizes"}
OPTIONAL_HEADER_KEYS = {"monotone_constraints"}
SPLIT_KEYS = ("split_feature", "threshold", "decision_type", "left_child", "right_child", "internal_count")
UNUSED_KEYS = ("split_gain", "leaf_weight", "internal_value", "internal_weight", "shrinkage")
TREE_KEYS = {*SPLIT_KEYS, *UNUSED_KEYS, "num_leaves", "num_cat", "is_linear", "leaf_value", "leaf_count"}

CATEGORICAL, DEFAULT_LEFT = 1, 2
NO_MISSING, ZERO_MISSING, NAN_MISSING = 0, 1, 2
MISSING_LEFT, ZERO_IS_MISSING = np.uint8(1), np.uint8(2)
LANES = 16
"""Pairs of row and tree that are walked side by side."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Tree(NamedTuple):
    """One tree as read: n - 1 splits over n leaves; a child is a split from 0, or a leaf as -1 - leaf."""

    feature: Ints
    threshold: Floats
    decision: Ints
    child: Ints
    rows: Ints
    leaf_value: Floats
    leaf_rows: Ints


class Trees:
    """The trees of one model.

    Parameters
    ----------
    feature_names : sequence of str
        In the order of the row.
    trees : sequence of Tree
    text : str
        The model text they came from, without its parameters.

    Attributes
    ----------
    feature_names : tuple of str
    text : str
    expected : float
        Mean raw score over the training rows, as the trees' own counts have it, in log-odds.
    """

    def __init__(self, feature_names: Sequence[str], trees: Sequence[Tree], text: str) -> None:
        self.feature_names = tuple(feature_names)
        self.text = text
        self.expected = float(sum(_compute_expected(tree) for tree in trees))
        self._nodes = _flatten(trees)
        self._steps = _build_traversal(self._nodes, np.array([_compute_depth(tree) for tree in trees]))
        self._points, self._shares = _gauss_legendre(_count_path_features(trees))
        self._paths = _merge_paths(trees, self._points)

    def __len__(self) -> int:
        return len(self._nodes.root)

    @classmethod
    def from_text(cls, text: str, *, where: str = "trees.txt") -> "Trees":
        """Read the text that LightGBM saves.

        Parameters
        ----------
        text : str
            Of a binary model with numeric splits, with or without its parameters.
        where : str
            Named in errors.

        Raises
        ------
        BundleRefused
            Where the text is damaged, or the model is of a kind that is not walked here: categorical splits, linear
            leaves, several classes, averaged output, another objective or version, paths of over `MAX_DEPTH` splits.
        """
        header, body = _split_text(text, where)
        names = _parse_feature_names(header, where)
        trees = [_read_tree(block, f"{where}, tree {i}", len(names)) for i, block in enumerate(body)]
        return cls(names, trees, strip_parameters(text))

    def predict_raw(self, X: NDArray[np.float32]) -> Floats:
        """Add up the leaves that each row falls into, tree by tree.

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
        _walk(X, *self._steps, out)
        return out

    def compute_disagreement(self, X: NDArray[np.float32], parts: int = 5) -> Floats:
        """Tell how far the trees disagree about each row: every so-many-th tree is a committee member of its own.

        Parameters
        ----------
        X : float32 array, (n, features)
        parts : int
            Members; each scores with its own trees, times `parts`.

        Returns
        -------
        float64 array, (n,)
            Standard deviation of the members' raw scores, in log-odds (query by committee, Seung et al. 1992).
        """
        X = self._check_rows(X)
        votes = np.empty((parts, len(X)))
        for part in range(parts):
            root, depth = self._steps.root[part::parts].copy(), self._steps.depth[part::parts].copy()
            _walk(X, *self._steps._replace(root=root, depth=depth), votes[part])
        return np.asarray((parts * votes).std(axis=0))

    def compute_contributions(self, X: NDArray[np.float32]) -> Floats:
        """Share each row's raw score out over its features: exact path-dependent Shapley values.

        Parameters
        ----------
        X : float32 array, (n, features)

        Returns
        -------
        float64 array, (n, features + 1)
            In log-odds; the last column is `expected`, and a row adds up to its raw score.

        Notes
        -----
        The values of Lundberg et al., "Consistent individualized feature attribution for tree ensembles" (2018). On
        the path to a leaf of value v let z_i be the share of training rows that the splits on feature i let through,
        and o_i be 1 where the row passes them, else 0. Then phi_i = (o_i - z_i) v ∫ prod_{j≠i} (t o_j + (1-t) z_j) dt
        over t in [0, 1], a polynomial that Gauss-Legendre quadrature integrates exactly.
        """
        X = self._check_rows(X)
        out = np.zeros((len(X), len(self.feature_names) + 1))
        out[:, -1] = self.expected
        _add_contributions(X, *self._nodes, *self._paths, self._points, self._shares, out)
        return out

    def _check_rows(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the rows in the one form that the kernels are compiled for."""
        if X.ndim != 2 or X.shape[1] != len(self.feature_names):
            raise ValueError(f"rows of shape {X.shape} for {len(self.feature_names)} features")
        return X if X.dtype == np.float32 and X.flags.carray else np.require(X, np.float32, ("C", "W"))


def strip_parameters(text: str) -> str:
    """Leave out the parameters that LightGBM repeats after the trees, its number of threads among them.

    LightGBM loads the rest as before: sizes in the header speak of the trees only.
    """
    start, end = text.find("\nparameters:\n"), text.find("\nend of parameters\n")
    if start < 0 or end < start:
        return text
    return text[: start + 1] + text[end + len("\nend of parameters\n") :].lstrip("\n")


# Reading the text


def _refuse(what: str, where: str, got: object = "", expected: object = "") -> NoReturn:
    raise BundleRefused(
        what,
        where=where,
        got=str(got)[:80],
        expected=str(expected),
        todo="train the model again, or fetch its bundle again",
    )


def _split_text(text: str, where: str) -> tuple[dict[str, str], list[str]]:
    """Take header and trees apart, by the sizes that the header gives."""
    if len(text) > MAX_TEXT_CHARACTERS:
        _refuse(
            "the model text is too long", where, f"{len(text)} characters", f"at most {MAX_TEXT_CHARACTERS}"
        )
    head, blank, body = text.partition("\n\n")
    if not blank or not head.startswith("tree\n"):
        _refuse("not the text of a LightGBM model", where, repr(head[:20]), "'tree' on the first line")
    header = _parse_pairs(head.removeprefix("tree\n"), HEADER_KEYS, OPTIONAL_HEADER_KEYS, where)
    for key, value in HEADER.items():
        if header[key] != value:
            _refuse("a model of another kind", f"{where}, {key}", repr(header[key]), repr(value))
    return header, list(_split_trees(body, header["tree_sizes"], where))


def _split_trees(body: str, sizes: str, where: str) -> Iterator[str]:
    lengths = _parse_integers(sizes, None, f"{where}, tree_sizes")
    if not 1 <= len(lengths) <= MAX_TREES:
        _refuse("too many trees or none", where, len(lengths), f"1 to {MAX_TREES}")
    at = 0
    for number, length in enumerate(lengths.tolist()):
        block, title = body[at : at + max(length, 0)], f"Tree={number}\n"
        if len(block) != length or not block.startswith(title):
            _refuse("the trees do not have the sizes that the header gives", where, repr(block[:12]))
        yield block.removeprefix(title)
        at += length
    if not body.startswith("end of trees\n", at):
        _refuse("the trees do not end where the header says", where, repr(body[at : at + 12]))


def _parse_pairs(lines: str, required: set[str], optional: set[str], where: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for line in lines.split("\n"):
        key, equals, value = line.partition("=")
        if not equals or key in pairs or key not in required | optional:
            _refuse("a line that is not understood", where, repr(line), "one of the keys of version v4, once")
        pairs[key] = value
    if absent := sorted(required - set(pairs)):
        _refuse("lines are missing", where, expected=", ".join(absent))
    return pairs


def _parse_feature_names(header: dict[str, str], where: str) -> list[str]:
    names = header["feature_names"].split(" ")
    highest = int(_parse_integers(header["max_feature_idx"], 1, f"{where}, max_feature_idx")[0])
    if highest + 1 != len(names) or len(names) > MAX_FEATURES:
        _refuse("the feature names do not fit the number of features", where, len(names), highest + 1)
    return names


def _read_tree(block: str, where: str, features: int) -> Tree:
    pairs = _parse_pairs(block.rstrip("\n"), TREE_KEYS, set(), where)
    if pairs["num_cat"] != "0" or pairs["is_linear"] != "0":
        _refuse("categorical splits and linear leaves are not walked here", where, expected="numeric splits")
    leaves = int(_parse_integers(pairs["num_leaves"], 1, where)[0])
    if not 1 <= leaves <= MAX_LEAVES:
        _refuse("too many leaves or none", where, leaves, f"1 to {MAX_LEAVES}")
    splits = leaves - 1
    feature, decision, left, right, rows = (
        _parse_integers(pairs[key], splits, f"{where}, {key}")
        for key in ("split_feature", "decision_type", "left_child", "right_child", "internal_count")
    )
    tree = Tree(
        feature=feature,
        # All values but missing ones are below a threshold of infinity.
        threshold=_parse_numbers(pairs["threshold"], splits, f"{where}, threshold", infinite=True),
        decision=decision,
        child=np.stack([left, right], axis=1),
        rows=rows,
        leaf_value=_parse_numbers(pairs["leaf_value"], leaves, f"{where}, leaf_value"),
        leaf_rows=_parse_integers(pairs["leaf_count"], leaves, f"{where}, leaf_count"),
    )
    _check_tree(tree, where, features)
    return tree


def _check_tree(tree: Tree, where: str, features: int) -> None:
    splits = len(tree.feature)
    if ((tree.feature < 0) | (tree.feature >= features)).any():
        _refuse("a split on a feature that is not there", where, expected=f"0 to {features - 1}")
    missing = tree.decision >> 2
    if ((tree.decision & CATEGORICAL) != 0).any() or ((missing < NO_MISSING) | (missing > NAN_MISSING)).any():
        _refuse("a kind of split that is not walked here", where, expected="numeric splits")
    if (tree.rows < 0).any() or (tree.leaf_rows < 0).any() or (splits and tree.rows[0] == 0):
        _refuse("counts of training rows that cannot be", where, expected="0 or more, and some in all")
    # Each leaf and each split but the first has one parent, and a split follows its parent: so there is no cycle.
    if splits and sorted(tree.child.ravel().tolist()) != [*range(-splits - 1, 0), *range(1, splits)]:
        _refuse("children that do not make a tree", where, expected="each split and each leaf once")
    if ((tree.child >= 0) & (tree.child <= np.arange(splits)[:, None])).any():
        _refuse("children that do not make a tree", where, expected="each split after its parent")
    if (deepest := _compute_depth(tree)) > MAX_DEPTH:
        _refuse("the tree is too deep", where, f"{deepest} splits on a path", f"at most {MAX_DEPTH}")


def _parse_integers(text: str, count: int | None, where: str) -> Ints:
    if not re.fullmatch(r"(-?[0-9]{1,12}( -?[0-9]{1,12})*)?", text):
        _refuse("not whole numbers", where, repr(text))
    values = np.array([int(part) for part in text.split()], dtype=np.int64)
    if count is not None and len(values) != count:
        _refuse("a list of the wrong length", where, len(values), count)
    return values


def _parse_numbers(text: str, count: int, where: str, *, infinite: bool = False) -> Floats:
    """Read plain numbers; Python alone would also take underscores, `nan` and other spellings."""
    if not re.fullmatch(r"[-+.e0-9 ]*", text.replace("inf", "") if infinite else text):
        _refuse("not numbers", where, repr(text))
    try:
        values = np.array([float(part) for part in text.split()], dtype=np.float64)
    except ValueError:
        _refuse("not numbers", where, repr(text))
    if len(values) != count:
        _refuse("a list of the wrong length", where, len(values), count)
    if not infinite and not np.isfinite(values).all():
        _refuse("numbers out of range", where, repr(text))
    return values


def _compute_depth(tree: Tree) -> int:
    depth = [1] * len(tree.feature)
    for node, children in enumerate(tree.child.tolist()):
        for child in children:
            if child >= 0:
                depth[child] = depth[node] + 1
    return max(depth, default=0)


# Flat arrays for the kernels


class SplitNodes(NamedTuple):
    """The splits of all trees in one row.

    Attributes
    ----------
    root : int32 array, (trees,)
        First split of each tree, or -1 - leaf where the tree has one leaf only.
    feature : int32 array, (splits,)
    threshold : float64 array, (splits,)
    missing : uint8 array, (splits,)
        `MISSING_LEFT` where missing goes left, `ZERO_IS_MISSING` where zero counts as missing.
    child : int32 array, (splits, 2)
    leaf : float64 array, (leaves,)
    """

    root: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: Floats
    missing: NDArray[np.uint8]
    child: NDArray[np.int32]
    leaf: Floats


class TraversalNodes(NamedTuple):
    """Splits and leaves of all trees in one row: what the walk needs. A leaf leads to itself; its threshold is its value.

    Attributes
    ----------
    root : int32 array, (trees,)
    depth : int64 array, (trees,)
        Splits on the longest path.
    feature : int32 array, (splits + leaves,)
    threshold : float64 array, (splits + leaves,)
    missing : uint8 array, (splits + leaves,)
        As of `SplitNodes`.
    child : int32 array, (2 * (splits + leaves),)
        Left and right of each.
    """

    root: NDArray[np.int32]
    depth: Ints
    feature: NDArray[np.int32]
    threshold: Floats
    missing: NDArray[np.uint8]
    child: NDArray[np.int32]


class FeaturePaths(NamedTuple):
    """What contributions need besides; edge 2 * split + side leads from a split to its left (0) or right (1) child.

    Attributes
    ----------
    first : int64 array, (trees + 1,)
        First split of each tree.
    before : int64 array, (splits,)
        The last edge above the split that belongs to the same feature, or -1.
    cover : float64 array, (2 * splits,)
        Share of training rows that the splits on this feature, down to the edge, let through (z).
    ratio : float64 array, (2 * splits,)
        The same of this one split.
    inverse : float64 array, (2 * splits, points)
        1 / (t + (1 - t) z) at each quadrature point t.
    """

    first: Ints
    before: Ints
    cover: Floats
    ratio: Floats
    inverse: Floats


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


def _build_traversal(nodes: SplitNodes, depth: Ints) -> TraversalNodes:
    splits, leaves = len(nodes.feature), len(nodes.leaf)
    root, child = (
        np.where(place >= 0, place, splits - 1 - place).astype(np.int32)
        for place in (nodes.root, nodes.child)
    )
    selves = np.repeat(np.arange(splits, splits + leaves, dtype=np.int32), 2)
    return TraversalNodes(
        root=root,
        depth=depth,
        feature=np.concatenate([nodes.feature, np.zeros(leaves, dtype=np.int32)]),
        threshold=np.concatenate([nodes.threshold, nodes.leaf]),
        missing=np.concatenate([nodes.missing, np.zeros(leaves, dtype=np.uint8)]),
        child=np.concatenate([child.ravel(), selves]),
    )


def _build_missing_rules(threshold: Floats, decision: Ints) -> NDArray[np.uint8]:
    """Settle where a missing value goes; where the split knows no missing values, LightGBM takes it for zero."""
    kind = decision >> 2
    left = np.where(kind == NO_MISSING, threshold >= 0, (decision & DEFAULT_LEFT) != 0)
    rules = np.where(left, MISSING_LEFT, 0) | np.where(kind == ZERO_MISSING, ZERO_IS_MISSING, 0)
    return rules.astype(np.uint8)


def _snap_tiny_thresholds(threshold: Floats) -> Floats:
    """Move thresholds within `ZERO_THRESHOLD` of zero to its edges, so that tiny values are split as zero is."""
    moved = np.where((threshold >= 0) & (threshold < ZERO_THRESHOLD), ZERO_THRESHOLD, threshold)
    return np.where(
        (threshold < 0) & (threshold >= -ZERO_THRESHOLD), np.nextafter(-ZERO_THRESHOLD, -1.0), moved
    )


def _merge_paths(trees: Sequence[Tree], points: tuple[float, ...]) -> FeaturePaths:
    first = np.cumsum([0, *(len(tree.feature) for tree in trees)])
    parts = [_merge_path(tree) for tree in trees]
    before = [np.where(part >= 0, part + 2 * at, -1) for (part, _, _), at in zip(parts, first, strict=False)]
    cover = np.concatenate([cover for _, cover, _ in parts])
    t = np.array(points)
    return FeaturePaths(
        first=first,
        before=np.concatenate(before),
        cover=cover,
        ratio=np.concatenate([ratio for _, _, ratio in parts]),
        inverse=1.0 / (t + (1.0 - t) * cover[:, None]),
    )


def _merge_path(tree: Tree) -> tuple[Ints, Floats, Floats]:
    """Find the edges of one tree that belong to one feature, and multiply their shares."""
    splits = len(tree.feature)
    before, ratio, cover = np.full(splits, -1), np.zeros(2 * splits), np.zeros(2 * splits)
    last: list[dict[int, int]] = [{} for _ in range(splits)]
    features, both, rows, leaf_rows = (
        each.tolist() for each in (tree.feature, tree.child, tree.rows, tree.leaf_rows)
    )
    for node, (feature, children) in enumerate(zip(features, both, strict=True)):
        above = before[node] = last[node].get(feature, -1)
        for side, child in enumerate(children):
            edge = 2 * node + side
            ratio[edge] = _compute_share(rows[child] if child >= 0 else leaf_rows[-1 - child], rows[node])
            cover[edge] = ratio[edge] * (cover[above] if above >= 0 else 1.0)
            if child >= 0:
                last[child] = last[node] | {feature: edge}
    return before, cover, ratio


def _compute_share(rows: int, of: int) -> float:
    """Give the share of a split's training rows that went to a child; halves where there were none."""
    return rows / of if of else 0.5


def _compute_expected(tree: Tree) -> float:
    """Give the mean of a tree over its training rows, added up as LightGBM does."""
    if not len(tree.feature):
        return float(tree.leaf_value[0])
    values, rows, all_rows = tree.leaf_value.tolist(), tree.leaf_rows.tolist(), int(tree.rows[0])
    return float(sum(count / all_rows * value for count, value in zip(rows, values, strict=True)))


def _count_path_features(trees: Sequence[Tree]) -> int:
    """Count the distinct features on the path that has most of them."""
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


# Kernels


def _gauss_legendre(features: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give points and weights on [0, 1] that are exact for paths of so many distinct features.

    As tuples of four, six or eight: their length is part of the kernel's type, so that its inner loops are unrolled.
    """
    points, weights = np.polynomial.legendre.leggauss(max(4, 2 * -(-features // 4)))
    return tuple(((points + 1) / 2).tolist()), tuple((weights / 2).tolist())


@njit(cache=True, nogil=True)
def _goes_right(value: float, threshold: float, missing: int) -> int:
    if np.isnan(value) or (missing & ZERO_IS_MISSING and abs(value) <= ZERO_THRESHOLD):
        return 0 if missing & MISSING_LEFT else 1
    return 0 if value <= threshold else 1


@njit(cache=True, nogil=True)
def _walk(
    X: Any, root: Any, depth: Any, feature: Any, threshold: Any, missing: Any, child: Any, out: Any
) -> None:
    """Walk `LANES` pairs of row and tree side by side: a few trees of one row, or one tree of many rows.

    No pair waits for another's split to be fetched, and no branch has to be guessed: which side is arithmetic, and who
    has come to a leaf stays there. Each row's trees are added up in their order, so the bits are those of one by one.
    """
    node = np.empty(LANES, dtype=np.int64)
    row_of = np.empty(LANES, dtype=np.int64)
    for begin in range(0, X.shape[0], LANES):
        rows = min(LANES, X.shape[0] - begin)
        together = LANES // rows
        for lane in range(rows * together):
            row_of[lane] = begin + lane % rows
        for row in range(begin, begin + rows):
            out[row] = 0.0
        for first in range(0, root.shape[0], together):
            lanes = rows * min(together, root.shape[0] - first)
            steps = 0
            for lane in range(lanes):
                tree = first + lane // rows
                node[lane] = root[tree]
                steps = max(steps, depth[tree])
            for _ in range(steps):
                for lane in range(lanes):
                    at = node[lane]
                    value = X[row_of[lane], feature[at]]
                    rules = missing[at]
                    gone = (value != value) | (
                        ((rules & ZERO_IS_MISSING) != 0) & (abs(value) <= ZERO_THRESHOLD)
                    )
                    right = (gone & ((rules & MISSING_LEFT) == 0)) | (~gone & ~(value <= threshold[at]))
                    node[lane] = child[2 * at + np.int64(right)]
            for lane in range(lanes):
                out[row_of[lane]] += threshold[node[lane]]


@njit(cache=True, nogil=True)
def _add_contributions(
    X: Any,
    root: Any,
    feature: Any,
    threshold: Any,
    missing: Any,
    child: Any,
    leaf: Any,
    first: Any,
    before: Any,
    cover: Any,
    ratio: Any,
    inverse: Any,
    points: Any,
    shares: Any,
    out: Any,
) -> None:
    """Add the contributions of every tree to the rows of `out`.

    Down a tree, `product` takes up the factors t o + (1 - t) z of the features so far, one number for each point t; up
    the tree, `carried` adds up value times product over the leaves below each edge. Those leaves owe the edge's feature
    (o - z) / factor times that sum, less what they would have owed by the last edge above of the same feature.
    """
    most = 1
    for tree in range(root.shape[0]):
        most = max(most, first[tree + 1] - first[tree])
    product = np.empty((most, len(points)))
    carried = np.empty((2 * most, len(points)))
    passed = np.empty(2 * most, dtype=np.bool_)
    for row in range(X.shape[0]):
        for tree in range(root.shape[0]):
            start, end = first[tree], first[tree + 1]
            if start == end:
                continue
            for q in range(len(points)):
                product[0, q] = shares[q]
            for node in range(start, end):
                taken = _goes_right(X[row, feature[node]], threshold[node], missing[node])
                _descend(
                    node,
                    start,
                    taken,
                    child,
                    leaf,
                    before,
                    cover,
                    ratio,
                    inverse,
                    points,
                    product,
                    carried,
                    passed,
                )
            for node in range(end - 1, start - 1, -1):
                owed = _ascend(node, start, child, before, cover, inverse, points, carried, passed)
                out[row, feature[node]] += owed


# Inlined, since the call would cost as much as the work; for the same reason no tuple of arrays is handed on.
@njit(cache=True, nogil=True, inline="always")
def _descend(
    node: int,
    start: int,
    taken: int,
    child: Any,
    leaf: Any,
    before: Any,
    cover: Any,
    ratio: Any,
    inverse: Any,
    points: Any,
    product: Any,
    carried: Any,
    passed: Any,
) -> None:
    """Multiply a split's factor into the product of each side, and at a leaf its value."""
    above = before[node]
    still_passed = above < 0 or passed[above - 2 * start]
    for side in range(2):
        edge = 2 * node + side
        below = child[node, side]
        passed[edge - 2 * start] = still_passed and side == taken
        for q in range(len(points)):
            # Once failed, the feature's factor is (1 - t) z, above and here: only z changes.
            factor = ratio[edge]
            if still_passed:
                factor = (1.0 - points[q]) * cover[edge] + (points[q] if side == taken else 0.0)
                factor *= inverse[above, q] if above >= 0 else 1.0
            if below >= 0:
                product[below - start, q] = product[node - start, q] * factor
            else:
                carried[edge - 2 * start, q] = product[node - start, q] * factor * leaf[-1 - below]


@njit(cache=True, nogil=True, inline="always")
def _ascend(
    node: int,
    start: int,
    child: Any,
    before: Any,
    cover: Any,
    inverse: Any,
    points: Any,
    carried: Any,
    passed: Any,
) -> float:
    """Collect what the leaves below carry, and give what they owe the split's feature.

    (o - z) / factor is (1 - z) / (t + (1 - t) z) for a feature that passed and -1 / (1 - t) for one that failed,
    whatever its z: so failing again owes nothing more, and z = 0 needs no care (its leaves carry zero).
    """
    above = before[node]
    still_passed = above < 0 or passed[above - 2 * start]
    owed = 0.0
    for side in range(2):
        edge = 2 * node + side
        here = edge - 2 * start
        below = child[node, side]
        if below >= 0:
            first = 2 * (below - start)
            for q in range(len(points)):
                carried[here, q] = carried[first, q] + carried[first + 1, q]
        if still_passed:
            for q in range(len(points)):
                rate = (1.0 - cover[edge]) * inverse[edge, q] if passed[here] else -1.0 / (1.0 - points[q])
                if above >= 0:
                    rate -= (1.0 - cover[above]) * inverse[above, q]
                owed += rate * carried[here, q]
    return owed
