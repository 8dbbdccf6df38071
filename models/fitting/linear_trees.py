"""The linear part of a model, which adds up signs too weak for a split, written as trees: scores and reasons need no other code."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.arrays import Floats, Ints, Rows
from models.fitting.linear import LogisticRegression, apply_signed_log, sample_negatives
from models.lightgbm_text import DEFAULT_LEFT, NAN_MISSING, Tree, format_trees, parse_trees

MAX_STEPS = 16  # maximum number of steps of a step function, which is a balanced tree of four levels
MIN_SPREAD_LOG_ODDS = 1e-4  # minimum standard deviation of a step function over the training rows


@dataclass(frozen=True)
class StepFunction:
    """The step function of one feature, in log-odds, with the training rows on each step and the step of missing values."""

    feature: int
    threshold: Floats
    height: Floats
    rows: Ints
    missing: int


def fit_linear_part(X: Rows, y: Floats, weight: Floats) -> tuple[LogisticRegression, list[StepFunction]]:
    """Fit a linear model, and convert it to step functions over its training rows."""
    kept, weights = sample_negatives(y, weight)
    few = X[kept]
    linear = LogisticRegression.fit(few, y[kept], weights)
    return linear, build_step_functions(linear, few)


def blend_trees(
    boosted: Sequence[tuple[str, float]], stairs: Sequence[tuple[StepFunction, float]] = ()
) -> str:
    """Return the model text of a weighted sum of boosted trees, each given as a model text, and of step functions."""
    parsed = [(tree, share) for text, share in boosted for tree in parse_trees(text, "the new trees")[1]]
    trees = [tree._replace(leaf_value=[share * value for value in tree.leaf_value]) for tree, share in parsed]
    return format_trees(boosted[0][0], [*trees, *(_build_tree(stair, share) for stair, share in stairs)])


def build_step_functions(linear: LogisticRegression, X: Rows) -> list[StepFunction]:
    """Convert each line of a linear model to a step function over the values of rows, and drop flat ones."""
    scaler, fitted = linear.scaler, linear.regression
    slope, start = fitted.coef_[0] / scaler.scale_, float(fitted.intercept_[0])
    found: list[StepFunction] = []
    for feature in np.flatnonzero(slope):
        column, median = X[:, feature], float(linear.median[feature])
        values, rows = np.unique(column[np.isfinite(column)], return_counts=True)
        # Missing values come last.
        rows = np.append(rows, len(column) - rows.sum())
        logs = np.append(apply_signed_log(values.astype(np.float64)), median)
        line = slope[feature] * (logs - scaler.mean_[feature])
        variance = (line - line @ rows / len(column)) ** 2 @ rows / len(column)
        if np.sqrt(variance) >= MIN_SPREAD_LOG_ODDS:
            line = line if found else line + start  # the first step function includes the intercept
            found.append(_fit_step_function(int(feature), values, line, rows, median))
    return found


def _fit_step_function(feature: int, values: Rows, line: Floats, rows: Ints, median: float) -> StepFunction:
    """Split the distinct values of one feature into steps: one per value if there are few, else by ranks."""
    cut = np.arange(len(values) - 1)
    if len(values) > MAX_STEPS:
        ranks = np.linspace(0, 1, MAX_STEPS + 1)[1:-1]
        # Half of the cuts by rows, half by distinct values, so that rare high counts have separate steps.
        so_far = np.cumsum(rows[:-1])
        by_row = np.searchsorted(so_far, np.floor((so_far[-1] - 1) * ranks[::2]), side="right")
        by_value = np.floor((len(values) - 1) * ranks[1::2]).astype(np.int64)
        cut = np.intersect1d(cut, np.concatenate([by_row, by_value]))
    lower, above = values[cut].astype(np.float64), values[cut + 1].astype(np.float64)
    threshold = (lower + above) / 2
    missing = int(np.searchsorted(apply_signed_log(threshold), median))
    step = np.append(np.searchsorted(threshold, values), missing)
    counted = np.bincount(step, weights=rows, minlength=len(threshold) + 1).astype(np.int64)
    total = np.bincount(step, weights=line * rows, minlength=len(threshold) + 1)
    return StepFunction(feature, threshold, total / np.maximum(counted, 1), counted, missing)


def _build_tree(stair: StepFunction, share: float) -> Tree:
    """Build a balanced tree of a step function. Missing values go to their step."""
    tree = Tree([], [], [], [], [], (share * stair.height).tolist(), stair.rows.tolist())

    def grow(first: int, last: int) -> int:
        if first == last:
            return -1 - first
        middle = (first + last) // 2
        place = len(tree.feature)
        towards_left = DEFAULT_LEFT if first <= stair.missing <= middle else 0
        tree.feature.append(stair.feature)
        tree.threshold.append(float(stair.threshold[middle]))
        tree.decision.append(NAN_MISSING << 2 | towards_left)
        tree.rows.append(int(stair.rows[first : last + 1].sum()))
        tree.child.append((0, 0))
        tree.child[place] = grow(first, middle), grow(middle + 1, last)
        return place

    grow(0, len(stair.height) - 1)
    return tree
