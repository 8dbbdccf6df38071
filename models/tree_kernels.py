"""Numba kernels of boosted trees: tree traversal and exact Shapley values.

Kernels check no bounds: `models.lightgbm_text` has checked every index, and `models.trees` the rows. Their constants are
defined here, because numba rebuilds its cache of compiled kernels only if this file changes.
"""

from typing import Any

import numpy as np
from llvmlite.ir import IntType
from numba import njit, types
from numba.extending import intrinsic

ZERO_THRESHOLD = float(np.float32(1e-35))
"""Values this close to zero count as zero, as in LightGBM (`kZeroThreshold`)."""

MISSING_LEFT, ZERO_IS_MISSING = np.uint8(1), np.uint8(2)
FEATURE_SHIFT, MISSING_SHIFT, OFFSET_MASK = 18, 16, 0xFFFF
"""Parts of the word of a node: 14 bits of feature, 2 of missing rules, 16 of the distance to its first child."""
PASSED, FAILED, FAILED_ABOVE = 0, 1, 2
"""What a row did at the splits on the feature of an edge: passed all, failed first here, or failed before."""
WORD_BITS = 64
LANES = 16
"""Number of pairs of row and tree that are traversed together."""
EXPLAINED_LANES = 64
"""Maximum number of rows that are explained side by side."""
BLOCK_ROWS = 128
"""Maximum number of rows that are scored side by side. The bits of 500 trees and 128 rows are 256 kB."""
ALL_LEAVES = np.uint64(2**64 - 1)
LOWEST_KEY, HIGHEST_KEY = np.int32(-(2**31)), np.int32(2**31 - 1)
"""Keys of missing values, below and above those of all numbers."""
INFINITY_BITS, ZERO_BITS = np.float32(np.inf).view(np.int32), np.float32(1e-35).view(np.int32)


@njit(cache=True, nogil=True)
def _goes_right(value: float, threshold: float, missing: int) -> int:
    if np.isnan(value) or (missing & ZERO_IS_MISSING and abs(value) <= ZERO_THRESHOLD):
        return 0 if missing & MISSING_LEFT else 1
    return 0 if value <= threshold else 1


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


@njit(cache=True, nogil=True)
def add_contributions(
    X: Any,
    root: Any,
    feature: Any,
    threshold: Any,
    missing: Any,
    child: Any,
    leaf: Any,
    first: Any,
    before: Any,
    ratio: Any,
    factors: Any,
    shares: Any,
    out: Any,
) -> None:
    """Add the contributions of every tree to the rows of `out`.

    Down a tree, `product` is the product of the factors t o + (1 - t) z of the features so far, one number per point t. Up
    the tree, `carried` is the sum of value times product over the leaves below each edge. These leaves contribute to the feature
    of the edge (o - z) / factor times this sum, minus their contribution by the last edge above of the same feature. After a
    failed split of a feature, only z changes, and nothing more is contributed.
    """
    most = 1
    for tree in range(root.shape[0]):
        most = max(most, first[tree + 1] - first[tree])
    product = np.empty((most, len(shares)))
    carried = np.empty((2 * most, len(shares)))
    # PASSED, FAILED here, or FAILED_ABOVE.
    state = np.empty(2 * most, dtype=np.int64)
    for row in range(X.shape[0]):
        for tree in range(root.shape[0]):
            start, end = first[tree], first[tree + 1]
            if start == end:
                continue
            for q in range(len(shares)):
                product[0, q] = shares[q]
            for node in range(start, end):
                taken = _goes_right(X[row, feature[node]], threshold[node], missing[node])
                above = before[node]
                open_ = above < 0 or state[above - 2 * start] == PASSED
                for side in range(2):
                    edge = 2 * node + side
                    here = edge - 2 * start
                    at = FAILED_ABOVE
                    if open_:
                        at = PASSED if side == taken else FAILED
                    state[here] = at
                    below = child[node, side]
                    if below >= 0:
                        for q in range(len(shares)):
                            factor = factors[edge, at, 0, q] if open_ else ratio[edge]
                            product[below - start, q] = product[node - start, q] * factor
                    else:
                        value = leaf[-1 - below]
                        for q in range(len(shares)):
                            factor = factors[edge, at, 0, q] if open_ else ratio[edge]
                            carried[here, q] = product[node - start, q] * factor * value
            for node in range(end - 1, start - 1, -1):
                owed = 0.0
                for side in range(2):
                    edge = 2 * node + side
                    here = edge - 2 * start
                    below = child[node, side]
                    if below >= 0:
                        lower = 2 * (below - start)
                        for q in range(len(shares)):
                            carried[here, q] = carried[lower, q] + carried[lower + 1, q]
                    at = state[here]
                    if at != FAILED_ABOVE:
                        for q in range(len(shares)):
                            owed += factors[edge, at, 1, q] * carried[here, q]
                out[row, feature[node]] += owed


@njit(cache=True, nogil=True)
def add_block_contributions(
    X: Any,
    root: Any,
    feature: Any,
    threshold: Any,
    missing: Any,
    child: Any,
    leaf: Any,
    first: Any,
    before: Any,
    ratio: Any,
    factors: Any,
    shares: Any,
    out: Any,
) -> None:
    """Add the same contributions for `EXPLAINED_LANES` rows side by side; every number of a row is computed in the same order."""
    most = 1
    for tree in range(root.shape[0]):
        most = max(most, first[tree + 1] - first[tree])
    width = min(EXPLAINED_LANES, X.shape[0])
    product = np.empty((most, len(shares), width))
    carried = np.empty((2 * most, len(shares), width))
    state = np.empty((2 * most, width), dtype=np.int64)
    sums = np.empty((out.shape[1], width))
    taken, owed = np.empty(width, dtype=np.int64), np.empty(width)
    always = np.zeros(width, dtype=np.int64)
    for begin in range(0, X.shape[0], EXPLAINED_LANES):
        lanes = min(EXPLAINED_LANES, X.shape[0] - begin)
        sums[:] = 0.0
        for tree in range(root.shape[0]):
            start, end = first[tree], first[tree + 1]
            if start == end:
                continue
            for q in range(len(shares)):
                product[0, q] = shares[q]
            for node in range(start, end):
                for lane in range(lanes):
                    taken[lane] = _goes_right(X[begin + lane, feature[node]], threshold[node], missing[node])
                above = before[node]
                passed = always if above < 0 else state[above - 2 * start]
                for side in range(2):
                    edge = 2 * node + side
                    here = edge - 2 * start
                    below = child[node, side]
                    _set_states(passed[:lanes], taken[:lanes], side, state[here, :lanes])
                    for q in range(len(shares)):
                        hit, miss = factors[edge, PASSED, 0, q], factors[edge, FAILED, 0, q]
                        if below >= 0:
                            _multiply(
                                product[node - start, q, :lanes],
                                state[here, :lanes],
                                hit,
                                miss,
                                ratio[edge],
                                product[below - start, q, :lanes],
                            )
                        else:
                            _multiply(
                                product[node - start, q, :lanes],
                                state[here, :lanes],
                                hit,
                                miss,
                                ratio[edge],
                                carried[here, q, :lanes],
                            )
                            for lane in range(lanes):
                                carried[here, q, lane] *= leaf[-1 - below]
            for node in range(end - 1, start - 1, -1):
                owed[:] = 0.0
                for side in range(2):
                    edge = 2 * node + side
                    here = edge - 2 * start
                    below = child[node, side]
                    for q in range(len(shares)):
                        if below >= 0:
                            lower = 2 * (below - start)
                            _add(
                                carried[lower, q, :lanes],
                                carried[lower + 1, q, :lanes],
                                carried[here, q, :lanes],
                            )
                        _owe(
                            carried[here, q, :lanes],
                            state[here, :lanes],
                            factors[edge, PASSED, 1, q],
                            factors[edge, FAILED, 1, q],
                            owed[:lanes],
                        )
                for lane in range(lanes):
                    sums[feature[node], lane] += owed[lane]
        for column in range(out.shape[1]):
            for lane in range(lanes):
                out[begin + lane, column] += sums[column, lane]


@njit(cache=True, nogil=True, inline="always")
def _set_states(passed: Any, taken: Any, side: int, state: Any) -> None:
    for lane in range(passed.shape[0]):
        here = PASSED if taken[lane] == side else FAILED
        state[lane] = here if passed[lane] == PASSED else FAILED_ABOVE


@njit(cache=True, nogil=True, inline="always")
def _multiply(numbers: Any, state: Any, hit: float, miss: float, ratio: float, out: Any) -> None:
    for lane in range(numbers.shape[0]):
        factor = miss if state[lane] == FAILED else ratio
        out[lane] = numbers[lane] * (hit if state[lane] == PASSED else factor)


@njit(cache=True, nogil=True, inline="always")
def _add(one: Any, other: Any, out: Any) -> None:
    for lane in range(one.shape[0]):
        out[lane] = one[lane] + other[lane]


@njit(cache=True, nogil=True, inline="always")
def _owe(numbers: Any, state: Any, hit: float, miss: float, owed: Any) -> None:
    for lane in range(numbers.shape[0]):
        more = owed[lane] + (hit if state[lane] == PASSED else miss) * numbers[lane]
        owed[lane] = owed[lane] if state[lane] == FAILED_ABOVE else more
