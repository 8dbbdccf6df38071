"""Numba kernels of boosted trees: tree traversal and exact Shapley values.

Kernels check no bounds: `models.lightgbm_text` has checked every index, and `models.trees` the rows. Their constants are
defined here, because numba rebuilds its cache of compiled kernels only if this file changes.
"""

from typing import Any

import numpy as np
from llvmlite.ir import Constant, DoubleType, IntType, Undefined, VectorType
from numba import njit, types
from numba.extending import intrinsic, models, register_model

ZERO_THRESHOLD = float(np.float32(1e-35))
"""Values this close to zero count as zero, as in LightGBM (`kZeroThreshold`)."""

MISSING_LEFT, ZERO_IS_MISSING = np.uint8(1), np.uint8(2)
FEATURE_SHIFT, MISSING_SHIFT, OFFSET_MASK = 18, 16, 0xFFFF
"""Parts of the word of a node: 14 bits of feature, 2 of missing rules, 16 of the distance to its first child."""
WORD_BITS = 64
LANES = 16
"""Number of pairs of row and tree that are traversed together."""
BLOCK_ROWS = 128
"""Maximum number of rows that are scored side by side. The bits of 500 trees and 128 rows are 256 kB."""
ALL_LEAVES = np.uint64(2**64 - 1)
LOWEST_KEY, HIGHEST_KEY = np.int32(-(2**31)), np.int32(2**31 - 1)
"""Keys of missing values, below and above those of all numbers."""
RULE_KINDS = 4
"""Number of combinations of missing rules."""
NUMBER_BYTES = 8
EXPLAINED_SPLIT = np.dtype(
    [
        ("given", np.int32),
        ("key", np.int32),
        ("feature", np.int32),
        ("node", np.int32),
        ("above", np.int32),
        ("left", np.int32),
        ("right", np.int32),
        ("above_share", np.float64),
        ("left_share", np.float64),
        ("left_leaf", np.float64),
        ("right_leaf", np.float64),
    ],
    align=True,
)
"""A split of a tree whose contributions are computed; see `models.trees.ExplainedTrees`. It fills a line of the cache."""
INFINITY_BITS, ZERO_BITS = np.float32(np.inf).view(np.int32), np.float32(1e-35).view(np.int32)


@njit(cache=True, nogil=True)
def walk_trees(X: Any, root: Any, depth: Any, threshold: Any, rules: Any, value: Any, out: Any) -> None:
    """Traverse `LANES` pairs of row and tree together: a few trees of one row, or one tree of many rows.

    No pair waits for the memory of another, and there are no branches to predict: the side is computed by arithmetic, and a pair
    that has reached a leaf stays there. The trees of each row are added in order, so the bits equal those of single rows.
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
                    rule = np.int64(rules[2 * at + 1])
                    number = X[row_of[lane], rule >> FEATURE_SHIFT]
                    gone = (number != number) | (
                        ((rule & ZERO_IS_MISSING << MISSING_SHIFT) != 0) & (abs(number) <= ZERO_THRESHOLD)
                    )
                    right = (gone & ((rule & MISSING_LEFT << MISSING_SHIFT) == 0)) | (
                        ~gone & ~(number <= threshold[2 * at])
                    )
                    node[lane] = at + (rule & OFFSET_MASK) + np.int64(right)
            for lane in range(lanes):
                out[row_of[lane]] += value[node[lane]]


def _compile_trailing_zeros(typing: Any, word: Any) -> Any:  # noqa: ARG001 - the shape of an intrinsic
    """Count the zeros below the lowest bit that is set; the word must not be 0."""

    def build(_: Any, builder: Any, __: Any, values: Any) -> Any:
        zeros = builder.cttz(values[0], IntType(1)(1))
        return zeros if word.bitwidth == WORD_BITS else builder.zext(zeros, IntType(WORD_BITS))

    return types.int64(word), build


_count_trailing_zeros: Any = intrinsic(_compile_trailing_zeros)


@njit(cache=True, nogil=True)
def score_blocks(
    X: Any,
    feature: Any,
    missing: Any,
    first: Any,
    key: Any,
    tree: Any,
    mask: Any,
    leaf_at: Any,
    leaf: Any,
    out: Any,
) -> None:
    """Score up to `BLOCK_ROWS` rows side by side, split by split in the order of features and thresholds (QuickScorer).

    `bits` has a bit for each leaf of a tree and each row. A split that a row passes to the right clears the leaves on its left;
    the leaf of the row is the lowest bit that is left (Lucchese et al. 2015). The order of a split's feature is the same in all trees, so
    the splits after the first one that no row exceeds are skipped. Numbers are compared as integers in the order of floats (`key`), so
    that missing values are one number below or above all others. The trees of each row are added in order.
    """
    width = min(BLOCK_ROWS, X.shape[0])
    bits = np.empty((leaf_at.shape[0], width), dtype=mask.dtype)
    order = np.empty(width, dtype=np.int32)
    given = np.empty(width, dtype=np.int32)
    filled = np.empty(1, dtype=mask.dtype)
    filled[0] = ALL_LEAVES
    every = filled[0]
    for begin in range(0, X.shape[0], BLOCK_ROWS):
        rows = min(BLOCK_ROWS, X.shape[0] - begin)
        bits[:, :rows] = every
        for group in range(feature.shape[0]):
            column = feature[group]
            for lane in range(rows):
                order[lane] = X[begin + lane, column]
            _order_keys(order[:rows], missing[group], given[:rows])
            highest = given[0]
            for lane in range(rows):
                highest = max(highest, given[lane])
            for split in range(first[group], first[group + 1]):
                threshold = key[split]
                if highest <= threshold:
                    break
                _clear_leaves(given[:rows], threshold, mask[split], every, bits[tree[split], :rows])
        for lane in range(rows):
            out[begin + lane] = 0.0
        for place in range(leaf_at.shape[0]):
            for lane in range(rows):
                out[begin + lane] += leaf[leaf_at[place] + _count_trailing_zeros(bits[place, lane])]


# Loops over slices: only in this form are they compiled to instructions on several rows.
@njit(cache=True, nogil=True, inline="always")
def _order_keys(words: Any, missing: int, given: Any) -> None:
    """Convert the bits of float32 to integers in the same order; a missing value becomes the lowest or the highest."""
    lost = LOWEST_KEY if missing & MISSING_LEFT else HIGHEST_KEY
    small = ZERO_BITS if missing & ZERO_IS_MISSING else np.int32(-1)
    for lane in range(words.shape[0]):
        word = words[lane]
        size = word & HIGHEST_KEY
        key = word if word >= 0 else -size
        given[lane] = lost if (size > INFINITY_BITS) | (size <= small) else key


@njit(cache=True, nogil=True, inline="always")
def _clear_leaves(given: Any, threshold: Any, mask: Any, every: Any, bits: Any) -> None:
    """Clear the leaves on the left of a split for the rows that go to the right."""
    for lane in range(given.shape[0]):
        bits[lane] &= mask if given[lane] > threshold else every


class PointVector(types.Type):
    """The type of a vector of numbers at the quadrature points; the compiler computes all of them in one instruction."""

    def __init__(self, points: int) -> None:
        super().__init__(name=f"PointVector({points})")
        self.points = points


@register_model(PointVector)
class _PointVectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: PointVector) -> None:
        super().__init__(manager, kind, VectorType(DoubleType(), kind.points))  # type: ignore[no-untyped-call]


def _point_to(context: Any, builder: Any, kinds: Any, values: Any, vector: Any) -> Any:
    """Point to the vector that begins at a position of an array, the first two arguments of an intrinsic."""
    data = context.make_array(kinds[0])(context, builder, values[0]).data
    return builder.bitcast(builder.gep(data, [values[1]]), vector.as_pointer())


def _compile_spread(typing: Any, number: Any, points: Any) -> Any:  # noqa: ARG001 - the shape of an intrinsic
    """Return a vector with a number at every point; `points` is a tuple with their count."""
    vector = VectorType(DoubleType(), len(points))

    def build(_: Any, builder: Any, __: Any, values: Any) -> Any:
        one = builder.insert_element(Constant(vector, Undefined), values[0], Constant(IntType(32), 0))
        return builder.shuffle_vector(
            one, one, Constant(VectorType(IntType(32), len(points)), [0] * len(points))
        )

    return PointVector(len(points))(types.float64, points), build


def _compile_load(typing: Any, array: Any, at: Any, points: Any) -> Any:  # noqa: ARG001
    """Load a vector from a float64 array."""
    vector = VectorType(DoubleType(), len(points))

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _point_to(context, builder, signature.args, values, vector)
        return builder.load(place, align=NUMBER_BYTES)

    return PointVector(len(points))(array, types.int64, points), build


def _compile_store(typing: Any, array: Any, at: Any, numbers: Any) -> Any:  # noqa: ARG001
    """Store a vector into a float64 array."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _point_to(context, builder, signature.args, values, values[2].type)
        builder.store(values[2], place, align=NUMBER_BYTES)
        return context.get_dummy_value()

    return types.void(array, types.int64, numbers), build


def _compile_sum(typing: Any, numbers: Any) -> Any:  # noqa: ARG001
    """Add the numbers of a vector, in pairs."""

    def build(_: Any, builder: Any, __: Any, values: Any) -> Any:
        parts = [
            builder.extract_element(values[0], Constant(IntType(32), at)) for at in range(numbers.points)
        ]
        while len(parts) > 1:
            parts = [builder.fadd(*pair) for pair in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]

    return types.float64(numbers), build


def _compile_operation(name: str) -> Any:
    """Compile the operation of two vectors that the builder of LLVM has under a name."""

    def compile_(typing: Any, one: Any, other: Any) -> Any:  # noqa: ARG001
        return one(one, other), lambda _, builder, __, values: getattr(builder, name)(*values)

    return intrinsic(compile_)


_spread: Any = intrinsic(_compile_spread)
_load: Any = intrinsic(_compile_load)
_store: Any = intrinsic(_compile_store)
_sum: Any = intrinsic(_compile_sum)
_add, _subtract, _multiply, _divide = map(_compile_operation, ("fadd", "fsub", "fmul", "fdiv"))


@njit(cache=True, nogil=True, error_model="numpy")
def add_contributions(
    X: Any, splits: Any, first: Any, expected: Any, points: Any, weights: Any, out: Any
) -> None:
    """Add the contributions of every tree to the rows of `out`.

    A tree of one feature contributes its leaf minus what is `expected` of it. In any other, a row takes one side of each split, and
    `share` of the training rows went to the other. With t at one quadrature point, D the product of the factors t o + (1 - t) z of the features
    above a split, and U the sum over the leaves below of their values times the factors below (U_taken and U_other below its sides):

        gap = share (U_taken - U_other),  U = U_taken - g gap,  D_other = g share D,  D_taken = D - D_other,

    and the split contributes the sum of h D gap over the points to its feature. If the feature occurs first here, g = 1 - t and h = 1. If the row passed all
    splits on it above, which the share z of the rows passed, g = (1 - t) z / f and h = z / f² with f = t + (1 - t) z. If it failed one of them, g = 1 and h = 0.
    """
    most = 0
    for tree in range(expected.shape[0]):
        most = max(most, first[tree + 1] - first[tree])
    size = len(points)
    # By node: D and U. By split: g and h D.
    sums, terms = np.empty(2 * size * (2 * most + 1)), np.empty(2 * size * most)
    passed, sides = np.empty(2 * most + 1, dtype=np.uint8), np.empty(most, dtype=np.uint8)
    given = np.empty(RULE_KINDS * X.shape[1], dtype=np.int32)
    corner = np.array(points + weights)
    at_points, at_start = _load(corner, 0, points), _load(corner, size, points)
    always, never = _spread(1.0, points), _spread(0.0, points)
    rest = _subtract(always, at_points)
    for row in range(X.shape[0]):
        for kind in range(RULE_KINDS):
            _order_keys(X[row], kind, given[kind * X.shape[1] : (kind + 1) * X.shape[1]])
        total = out[row]
        for tree in range(expected.shape[0]):
            begin, end = first[tree], first[tree + 1]
            if not np.isnan(expected[tree]):
                # In place, not in a function: arguments that are arrays are counted with each call.
                at, leaf = begin, 0.0
                while at >= 0:
                    split = splits[np.uint64(at)]
                    right = given[np.uint64(split.given)] > split.key
                    leaf = split.right_leaf if right else split.left_leaf
                    at = split.right if right else split.left
                total[np.uint64(splits[begin].feature)] += leaf - expected[tree]
                continue
            _store(sums, 0, at_start)
            for at in range(end - begin):
                split = splits[np.uint64(begin + at)]
                side = np.int64(given[np.uint64(split.given)] > split.key)
                taken, other = 2 * at + 1 + side, 2 * at + 2 - side
                sides[np.uint64(at)] = side
                before = _load(sums, 2 * size * split.node, points)
                share = _spread(abs(1.0 - side - split.left_share), points)
                passed[np.uint64(other)] = 0
                if split.above < 0:
                    passed[np.uint64(taken)] = 1
                    g, h = rest, before
                elif passed[np.uint64(split.above)]:
                    passed[np.uint64(taken)] = 1
                    above = _spread(split.above_share, points)
                    factor = _add(at_points, _multiply(rest, above))
                    ratio = _divide(above, factor)
                    g, h = _multiply(rest, ratio), _multiply(before, _divide(ratio, factor))
                else:
                    passed[np.uint64(taken)] = 0
                    g, h = always, never
                left_out = _multiply(before, _multiply(g, share))
                _store(sums, 2 * size * other, left_out)
                _store(sums, 2 * size * taken, _subtract(before, left_out))
                _store(terms, 2 * size * at, g)
                _store(terms, 2 * size * at + size, h)
                _store(sums, 2 * size * (2 * at + 1) + size, _spread(split.left_leaf, points))
                _store(sums, 2 * size * (2 * at + 2) + size, _spread(split.right_leaf, points))
            for at in range(end - begin - 1, -1, -1):
                split, side = splits[np.uint64(begin + at)], np.int64(sides[np.uint64(at)])
                taken, other = 2 * at + 1 + side, 2 * at + 2 - side
                share = _spread(abs(1.0 - side - split.left_share), points)
                below = _load(sums, 2 * size * taken + size, points)
                gap = _multiply(_subtract(below, _load(sums, 2 * size * other + size, points)), share)
                g, h = (
                    _load(terms, 2 * size * at, points),
                    _load(terms, 2 * size * at + size, points),
                )
                _store(sums, 2 * size * split.node + size, _subtract(below, _multiply(g, gap)))
                total[np.uint64(split.feature)] += _sum(_multiply(h, gap))
