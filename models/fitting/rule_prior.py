"""The rule prior: the initial log-odds of the trees, by which they learn only what the rules miss and where they are wrong."""

from dataclasses import dataclass

import numpy as np

from features.spec import Spec
from models.arrays import Floats, Rows
from models.fitting.linear_trees import StepFunction
from models.rules import Rules


@dataclass(frozen=True)
class RulePrior:
    """The log-odds of a positive as a linear function of the points of the rules; 0 per point if points do not help."""

    rules: Rules
    base: float
    per_point: float

    @classmethod
    def fit(cls, X: Rows, y: Floats, weight: Floats, spec: Spec) -> "RulePrior":
        """Fit the linear function."""
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        rules = Rules(spec)
        points = rules.compute_scores(X)
        with threadpool_limits(1):
            line = LogisticRegression().fit(points[:, None], y, sample_weight=weight / weight.mean())
        return cls(rules, float(line.intercept_[0]), max(float(line.coef_[0, 0]), 0.0))

    def predict_raw(self, X: Rows) -> Floats | None:
        """Compute the log-odds, float64 (n,); return None if points do not help."""
        return self.base + self.per_point * self.rules.compute_scores(X) if self.per_point else None

    def to_step_functions(self, X: Rows) -> list[StepFunction]:
        """Convert the prior to step functions of two steps, one per rule, the first with the base."""
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
    """Return the smallest float32 that is not below a number."""
    near = np.float32(value)
    return near if float(near) >= value else np.nextafter(near, np.float32(np.inf))
