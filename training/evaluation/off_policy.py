"""Off-policy evaluation: three estimates of a score's precision and recall at a capacity, from inspected consignments.

inverse propensity    each known result is weighted by the inverse of its probability of being known
doubly robust         the model's expectation over all traffic, corrected by the weighted residuals of the results
random inspections    only random selections, by their logged probability: no assumption, but few results

The doubly robust estimate is correct on average if either the expectations or the probabilities are (Robins, Rotnitzky
and Zhao 1994; Dudík, Langford and Li 2011). Its expectation is the calibrated probability of the scored model itself:
fitted on training and calibrated on validation, so no result of the test period evaluates an expectation that it made.
A model fitted on training alone would be the same one without its calibration. On a simulated world the truth is also
shown.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.config import EvaluationConfig
from training.evaluation.capacity import SHARES
from training.evaluation.intervals import Estimate, ResampledMetric
from training.evaluation.metrics import RankedTraffic, SumAbove
from training.evaluation.selected_labels import (
    Sums,
    add_expectations,
    build_row_values,
    compute_effective_size,
    compute_precision_recall,
    make_monotone,
)
from training.evaluation.traffic import ScoredPeriod

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Row = dict[str, float | str]

INVERSE_PROPENSITY, DOUBLY_ROBUST, RANDOM_INSPECTIONS = (
    "inverse propensity",
    "doubly robust",
    "random inspections",
)
MIN_RANDOM_POSITIVES = 20
"""Randomly selected positives needed to estimate their recall to about twenty percentage points."""
MEASURES = ("precision", "hits_per_1000", "recall")
COLUMNS = (
    "capacity",
    "estimator",
    "consignments",
    "results",
    "finds",
    "effective_results",
    *(f"{measure}{end}" for measure in MEASURES for end in ("", "_low", "_high")),
    *(f"{measure}_{end}" for measure in ("precision", "recall") for end in ("true", "off")),
)
"""Columns of the table, the same in every run; `_off` is the estimate minus the simulated truth, else empty."""
UNKNOWN_SHARE = Estimate(np.nan, 0.0, 1.0)
"""Estimate of a share of which nothing is known."""


@dataclass(frozen=True)
class LoggedEvidence:
    """Known results of a period's traffic, and how they came to be known.

    Attributes
    ----------
    traffic : ScoredPeriod
        With a weight for each known result: the inverse of its probability, logged or estimated.
    lot : float64 array, (n,)
        How many consignments the result of a random inspection stands for, the inverse of its logged probability; 0
        for all others.
    expected : float64 array, (n,)
        Probability of a positive, 0 to 1, by a model that saw no result of the period.
    """

    traffic: ScoredPeriod
    lot: Floats
    expected: Floats

    @classmethod
    def from_scored_period(
        cls, traffic: ScoredPeriod, selected_by: NDArray[np.object_], logged: Floats
    ) -> "LoggedEvidence":
        """Build the evidence from a scored period and the results of random inspections.

        Parameters
        ----------
        traffic : ScoredPeriod
            Its score is a probability.
        selected_by : object array of str, (n,)
        logged : float64 array, (n,)
            Logged probability of having been chosen; NaN if there is none.
        """
        drawn = traffic.labelled & (selected_by == "random") & ~np.isnan(logged)
        lot = np.divide(1.0, logged, out=np.zeros(len(logged)), where=drawn)
        return cls(traffic, lot, traffic.score)

    def list_cautions(self) -> list[str]:
        """Return sentences on how reliable the estimates are."""
        traffic, drawn = self.traffic, self.lot > 0
        results, by_lot = int(traffic.labelled.sum()), int(drawn.sum())
        finds = int((drawn & traffic.positive).sum())
        if traffic.complete:
            return ["Every consignment has a result. Nothing is estimated."]
        said = []
        if by_lot < results:
            said.append(
                f"{results - by_lot:,} of {results:,} results come from consignments that were not randomly selected. The first two "
                "estimates correct for what the declarations explain of the selection. If those who selected saw more, such as an X-ray "
                "image, precision and hits are too high, and recall may be wrong in either direction. So their intervals reach down "
                "to what is certain: a positive without a logged probability may stand for itself alone."
            )
        said.append(
            "The estimate from random inspections does not depend on how the others were selected. "
            f"Results: {by_lot:,}, positives: {finds:,}."
            + (" So few positives give a wide interval." if finds < MIN_RANDOM_POSITIVES else "")
        )
        return said

    def build_estimator_values(self) -> dict[str, Sums]:
        """Build the values of each row that are summed, for each estimator."""
        traffic, everywhere = self.traffic, self.traffic.traffic
        corrected = build_row_values(traffic.weights, traffic.sure, traffic.positive, everywhere)
        ways = {
            INVERSE_PROPENSITY: corrected,
            DOUBLY_ROBUST: add_expectations(corrected, self.expected),
            RANDOM_INSPECTIONS: build_row_values(self.lot, self.lot, traffic.positive, everywhere),
        }
        counted = {way: (values["known"] > 0).astype(np.float64) for way, values in ways.items()}
        return {
            way: {**values, "results": counted[way], "finds": counted[way] * traffic.positive}
            for way, values in ways.items()
        }


@dataclass(frozen=True)
class OffPolicyEstimates:
    """Estimates at every capacity, and sentences on how reliable they are.

    Attributes
    ----------
    rows : list of dict
        With `COLUMNS`.
    cautions : list of str
    """

    rows: list[Row]
    cautions: list[str]

    @classmethod
    def from_evidence(
        cls, evidence: LoggedEvidence, config: EvaluationConfig, truth: Bools | None = None
    ) -> "OffPolicyEstimates":
        """Estimate as `estimate_rows` does, and add the cautions."""
        return cls(estimate_rows(evidence, config, truth), evidence.list_cautions())


def estimate_rows(
    evidence: LoggedEvidence, config: EvaluationConfig, truth: Bools | None = None
) -> list[Row]:
    """Estimate precision, hits and recall at every capacity in the three ways.

    Parameters
    ----------
    evidence : LoggedEvidence
    config : EvaluationConfig
    truth : bool array, (n,), optional
        Which consignments are positive, on a simulated world.

    Returns
    -------
    list of dict
        With `COLUMNS`: for each capacity one row for each estimator. `results`, `finds`: those above the cut that the
        estimator uses; `effective_results`: how many equally weighted ones would be as informative.
    """
    ranked, ways = RankedTraffic(evidence.traffic, config), evidence.build_estimator_values()
    tops = {
        (capacity, way): ranked.sum_both_sides(above, values)
        for capacity, above in ranked.above.items()
        for way, values in ways.items()
    }
    found = {key: compute_precision_recall(top, rest) for key, (top, rest) in tops.items()}
    for way in ways:
        recalls = make_monotone([found[capacity, way]["recall"] for capacity in SHARES])
        for capacity, recall in zip(SHARES, recalls, strict=True):
            found[capacity, way]["recall"] = recall
    rows = []
    for capacity, above in ranked.above.items():
        true = _compute_true_shares(ranked, above, truth, evidence.traffic.traffic)
        for way in ways:
            named: Row = {"capacity": capacity, "estimator": way}
            top, _ = tops[capacity, way]
            rows.append(named | _build_estimate_row(top, found[capacity, way], ranked.days, true))
    return rows


def _compute_true_shares(
    ranked: RankedTraffic, above: SumAbove, truth: Bools | None, traffic: Floats
) -> dict[str, float]:
    """Compute precision and recall if the truth of every consignment is known; else NaN."""
    if truth is None:
        return {"precision": np.nan, "recall": np.nan}
    values = build_row_values(traffic, traffic, truth, traffic)
    found = compute_precision_recall(*ranked.sum_both_sides(above, values))
    return {name: float(measured.values[0]) for name, measured in found.items()}


def _build_estimate_row(
    top: Sums, found: dict[str, ResampledMetric], days: int, true: dict[str, float]
) -> Row:
    """Build the row of one estimator at one capacity."""
    row: Row = {
        "consignments": round(float(top["traffic"][0])),
        "results": float(top["results"][0]),
        "finds": float(top["finds"][0]),
        "effective_results": compute_effective_size(top["known"], top["known_squares"]),
    }
    shares = {name: _fill_unknown(found[name].estimate(days)) for name in true}
    for name, share, scale in (
        ("precision", shares["precision"], 1),
        ("hits_per_1000", shares["precision"], 1000),
        ("recall", shares["recall"], 1),
    ):
        row |= {
            name: scale * share.value,
            f"{name}_low": scale * share.low,
            f"{name}_high": scale * share.high,
        }
    for name, share in shares.items():
        row |= {f"{name}_true": true[name], f"{name}_off": share.value - true[name]}
    return row


def _fill_unknown(estimate: Estimate) -> Estimate:
    """Replace an unknown estimate by the whole range of a share."""
    return estimate if np.isfinite(estimate.value) else UNKNOWN_SHARE
