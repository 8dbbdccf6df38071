"""Numba kernels of boosted trees, which check no bounds: `models.lightgbm_text` has checked every index, `models.trees` the rows.

Their constants are defined here, because numba compiles them again only if this file changes.
"""

from typing import Any

import numpy as np
from numba import njit

ZERO_THRESHOLD = float(np.float32(1e-35))  # values this close to zero count as zero, as in LightGBM
MISSING_LEFT, ZERO_IS_MISSING = 1, 2
MAX_DEPTH = 16
"""Maximum number of splits on a path: the quadrature is exact for up to sixteen distinct features."""
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(MAX_DEPTH // 2)
POINTS = (_POINTS + 1) / 2  # points of the Gauss-Legendre quadrature on [0, 1]
WEIGHTS = np.array([_WEIGHTS / 2 * (1 - POINTS) ** power for power in range(MAX_DEPTH + 1)])
"""Weight of each point, times 1 - t to each power."""


@njit(cache=True, nogil=True, inline="always")
def _goes_right(value: Any, threshold: Any, missing: Any) -> Any:
    """Return the side of a split without a branch, which the processor could not predict."""
    is_missing = np.isnan(value) | ((abs(value) <= ZERO_THRESHOLD) & (missing & ZERO_IS_MISSING != 0))
    return (is_missing & (missing & MISSING_LEFT == 0)) | (~is_missing & (value > threshold))


@njit(cache=True, nogil=True)
def walk_trees(X: Any, nodes: Any, out: Any) -> None:
    """Add the leaves that each row reaches, tree by tree."""
    for row in range(X.shape[0]):
        total = 0.0
        for tree in range(nodes.root.shape[0]):
            node = nodes.root[tree]
            while node >= 0:
                value = X[row, nodes.feature[node]]
                right = _goes_right(value, nodes.threshold[node], nodes.missing[node])
                node = nodes.child[node, np.int64(right)]
            total += nodes.leaf[-1 - node]
        out[row] = total


@njit(cache=True, nogil=True)
def add_contributions(X: Any, nodes: Any, paths: Any, out: Any) -> None:
    """Add the contributions of every leaf to the rows of `out`; the formula is that of `Trees.compute_contributions`.

    With k failed features, and z the product of their shares, the integrand of a feature that the row passed is
    v z (1 - t)^k times the factors of the other passed features. All failed features get the same: -v z times the integral of
    (1 - t)^(k - 1) times the factors of the passed ones.
    """
    feature, share, step = paths.feature, paths.share, paths.step
    right = np.empty(nodes.feature.shape[0], dtype=np.bool_)
    passed = np.empty(MAX_DEPTH, dtype=np.bool_)
    product, quotient = np.empty(len(POINTS)), np.empty(len(POINTS))
    for row in range(X.shape[0]):
        for at in range(nodes.feature.shape[0]):
            right[at] = _goes_right(X[row, nodes.feature[at]], nodes.threshold[at], nodes.missing[at])
        for leaf in range(paths.value.shape[0]):
            begin, end = paths.first[leaf], paths.first[leaf + 1]
            failed, failed_share = 0, 1.0
            product[:] = paths.value[leaf]
            for each in range(begin, end):
                passed[each - begin] = True
                for at in range(step[each], step[each + 1]):
                    passed[each - begin] &= right[paths.split[at]] == paths.side[at]
                if passed[each - begin]:
                    for point in range(len(POINTS)):
                        product[point] *= POINTS[point] + (1 - POINTS[point]) * share[each]
                else:
                    failed += 1
                    failed_share *= share[each]
            if failed_share == 0.0:
                continue
            of_failed = 0.0
            for point in range(len(POINTS)):
                product[point] *= failed_share
                of_failed -= WEIGHTS[max(failed - 1, 0), point] * product[point]
                product[point] *= WEIGHTS[failed, point]
            for each in range(begin, end):
                if not passed[each - begin]:
                    out[row, feature[each]] += of_failed
                    continue
                for point in range(len(POINTS)):
                    quotient[point] = product[point] / (POINTS[point] + (1 - POINTS[point]) * share[each])
                out[row, feature[each]] += (1 - share[each]) * quotient.sum()
