"""Two scores of the same traffic, compared on the same resampled days."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.config import EvaluationConfig
from training.evaluation.estimate import Estimate
from training.evaluation.metrics import Evaluation, estimate_difference, evaluate
from training.evaluation.traffic import ScoredPeriod


@dataclass(frozen=True)
class PairedEvaluation:
    """Two scores on the same traffic.

    Attributes
    ----------
    a, b : Evaluation
    gains : dict
        Metric to the difference, `b` minus `a`, with its 95 % interval.
    """

    a: Evaluation
    b: Evaluation
    gains: dict[str, Estimate]


def evaluate_pair(
    a: ScoredPeriod,
    b_scores: NDArray[np.float64],
    config: EvaluationConfig,
    b_probability: NDArray[np.float64] | None = None,
) -> PairedEvaluation:
    """Evaluate two scores on the same traffic.

    Parameters
    ----------
    a : ScoredPeriod
        The traffic with the first score.
    b_scores : float64 array, (n,)
        The second score.
    config : EvaluationConfig
    b_probability : float64 array, (n,), optional
        Its probabilities, if it is a rank. Default: the score itself.
    """
    one, other = evaluate(a, config), evaluate(a.replace_score(b_scores, b_probability), config)
    gains = {name: estimate_difference(other, one, name) for name in one.resampled}
    return PairedEvaluation(one, other, gains)
