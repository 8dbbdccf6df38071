"""Numba kernels of boosted trees, which check no bounds: `models.lightgbm_text` has checked every index, `models.trees` the rows.

Indices are unsigned, because numba checks each signed one for a negative value.
"""

from typing import Any

import numpy as np
from numba import njit

ZERO_THRESHOLD = float(np.float32(1e-35))  # values this close to zero count as zero, as in LightGBM
MISSING_LEFT, ZERO_IS_MISSING = 1, 2
BLOCK_ROWS = 32
"""Rows that walk a tree together: the processor takes the steps of one while those of another wait for memory."""


@njit(cache=True, nogil=True, inline="always")
def _goes_right(value: Any, threshold: Any, missing: Any) -> Any:
    """Return the side of a split without a branch, which the processor could not predict."""
    is_missing = np.isnan(value) | ((abs(value) <= ZERO_THRESHOLD) & (missing & ZERO_IS_MISSING != 0))
    return (is_missing & (missing & MISSING_LEFT == 0)) | (~is_missing & (value > threshold))


@njit(cache=True, nogil=True)
def walk_trees(X: Any, nodes: Any, out: Any) -> None:
    """Add the values of the leaves that each row reaches, tree by tree."""
    reached = np.empty(BLOCK_ROWS, dtype=np.uint32)
    out[:] = 0.0
    for begin in range(0, X.shape[0], BLOCK_ROWS):
        rows, sums = X[begin : begin + BLOCK_ROWS], out[begin : begin + BLOCK_ROWS]
        for tree in range(nodes.root.shape[0]):
            reached[:] = nodes.root[tree]
            for _ in range(nodes.depth[tree]):
                for row in range(rows.shape[0]):
                    at = reached[row]
                    right = _goes_right(rows[row, nodes.feature[at]], nodes.threshold[at], nodes.missing[at])
                    reached[row] = nodes.child[at, np.uint8(right)]
            for row in range(rows.shape[0]):
                sums[row] += nodes.value[reached[row]]


@njit(cache=True, nogil=True, error_model="numpy")
def add_contributions(X: Any, nodes: Any, paths: Any, out: Any) -> None:
    """Add the contributions to each row of `out`; the formula is that of `Trees.compute_contributions`.

    At a point t, the factor of feature i below a split on it is f = t o_i + (1 - t) z_i, and its integrand the sum of the leaves below times
    their factors, times (o_i - z_i) / f. A later split on i replaces an earlier one, so it adds only the difference.
    """
    child, feature, value = nodes.child, nodes.feature, nodes.value
    above, share, splits = paths.above, paths.share, paths.above.shape[0]
    passed, slope, inverse, product = np.ones((4, share.shape[0]))
    for row in range(X.shape[0]):
        for split in range(splits):
            to_right = _goes_right(X[row, feature[split]], nodes.threshold[split], nodes.missing[split])
            passed[child[split, np.uint8(to_right)]] = passed[above[split]]
            passed[child[split, np.uint8(not to_right)]] = 0.0
        for point in range(paths.points.shape[0]):
            t, weight = paths.points[point], paths.weights[point]
            for node in range(share.shape[0]):
                inverse[node] = 1.0 / (t * passed[node] + (1.0 - t) * share[node])
                slope[node] = weight * (passed[node] - share[node]) * inverse[node]
            product[nodes.root] = 1.0
            for split in range(splits):
                others = product[split] * inverse[above[split]]
                left, right = child[split, 0], child[split, 1]
                product[left] = others * (t * passed[left] + (1.0 - t) * share[left])
                product[right] = others * (t * passed[right] + (1.0 - t) * share[right])
            for leaf in range(splits, share.shape[0]):
                product[leaf] *= value[leaf]
            for split in range(splits - 1, -1, -1):
                left, right = child[split, 0], child[split, 1]
                gain = product[left] * (slope[left] - slope[above[split]])
                gain += product[right] * (slope[right] - slope[above[split]])
                out[row, feature[split]] += gain
                product[split] = product[left] + product[right]
