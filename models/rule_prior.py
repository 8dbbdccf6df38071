"""Where the trees start from: what the rules say, as log-odds.

Finds are few, and officers know more than some dozens of finds can tell. Trees that start from nothing have to find anew what
everybody knows; from the rules on they learn what these miss, and where they are wrong.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.spec import Spec
from models.linear_trees import StepFunction
from models.rules import Rules

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class RulePrior:
    """Log-odds of a find by the points of the rules: a line, fitted on training rows.

    Attributes
    ----------
    rules : Rules
    base : float
        Log-odds without a point.
    per_point : float
        At least 0. It is 0 where points tell nothing, or the contrary: then the trees start by themselves.
    """

    rules: Rules
    base: float
    per_point: float

    @classmethod
    def fit(cls, X: Rows, y: NDArray[Any], weight: Floats, spec: Spec) -> "RulePrior":
        """Fit the line.

        Parameters
        ----------
        X : float32 array, (n, features)
        y : array, (n,)
            1 positive, 0 negative; both occur, with weight.
        weight : float64 array, (n,)
        spec : Spec
        """
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        rules = Rules(spec)
        points = rules.compute_scores(X)
        with threadpool_limits(1):
            line = LogisticRegression().fit(points[:, None], y, sample_weight=weight / weight.mean())
        return cls(rules, float(line.intercept_[0]), max(float(line.coef_[0, 0]), 0.0))

    def predict_raw(self, X: Rows) -> Floats | None:
        """Give the log-odds, float64 (n,); None where the points tell nothing."""
        return self.base + self.per_point * self.rules.compute_scores(X) if self.per_point else None

    def to_step_functions(self, X: Rows) -> list[StepFunction]:
        """Give the same as stairs of two steps, a rule each, the base in the first; none where the points tell nothing.

        Parameters
        ----------
        X : float32 array, (n, features)
            The rows that stand on the steps.
        """
        if not self.per_point:
            return []
        found: list[StepFunction] = []
        for rule in self.rules.rules:
            place = self.rules.spec.get_column(rule.feature)
            at_least = _round_up_float32(rule.at_least)
            below = np.nextafter(at_least, np.float32(-np.inf))
            rows = int((X[:, place] >= at_least).sum())
            base = 0.0 if found else self.base
            found.append(
                StepFunction(
                    feature=place,
                    threshold=np.array([(float(below) + float(at_least)) / 2]),
                    height=np.array([base, base + self.per_point * rule.points]),
                    # A rule that no row meets keeps its points: a branch without rows would have no weight in reasons.
                    rows=np.maximum([len(X) - rows, rows], 1),
                    missing=0,
                )
            )
        return found


def _round_up_float32(value: float) -> np.float32:
    """Give the least float32 that is not below a number."""
    near = np.float32(value)
    return near if float(near) >= value else np.nextafter(near, np.float32(np.inf))
