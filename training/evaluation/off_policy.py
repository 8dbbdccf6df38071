"""What a score would find at a capacity, estimated from the consignments that were opened, in three ways side by side.

inverse propensity    each known result stands for as many as its probability of being known says
doubly robust         what the model expects of all traffic, put right by the results, each for as many as it stands for
random inspections    only what was opened by lot, by its logged probability: nothing is assumed, and few tell little

The second is right on average where either the expectations or the probabilities are (Robins, Rotnitzky and Zhao 1994;
Dudík, Langford and Li 2011). What it expects is the calibrated probability of the scored model itself: fitted on training
and calibrated on validation, so no result of the test period judges an expectation that it made. A model fitted on
training alone would be the same one without its calibration. On a simulated world the truth stands beside.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.config import EvaluationConfig
from training.evaluation.intervals import Estimate, ResampledMetric
from training.evaluation.metrics import RankedTraffic, SumAbove
from training.evaluation.selected_labels import (
    Sums,
    add_expectations,
    build_row_values,
    compute_effective_size,
    compute_precision_recall,
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
"""By lot, for their recall to be told to within some twenty points."""
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
"""Of the table, in every run; `_off` is the estimate minus the truth of a simulated world, empty elsewhere."""
UNKNOWN_SHARE = Estimate(np.nan, 0.0, 1.0)
"""What nothing known says of a share."""


@dataclass(frozen=True)
class LoggedEvidence:
    """What is known of a period's traffic, and how it came to be known.

    Attributes
    ----------
    traffic : ScoredPeriod
        With a weight for each known result, whoever chose it: the inverse of its probability, logged or estimated.
    lot : float64 array, (n,)
        How many consignments the result of a random inspection stands for, the inverse of its logged probability; 0
        for all others.
    expected : float64 array, (n,)
        Probability of a find, 0 to 1, by a model that saw no result of the period.
    """

    traffic: ScoredPeriod
    lot: Floats
    expected: Floats

    @classmethod
    def from_scored_period(
        cls, traffic: ScoredPeriod, selected_by: NDArray[np.object_], logged: Floats
    ) -> "LoggedEvidence":
        """Take what a scored model expects, and the results of random inspections.

        Parameters
        ----------
        traffic : ScoredPeriod
            Its score is a probability.
        selected_by : object array of str, (n,)
        logged : float64 array, (n,)
            Logged probability of having been chosen; NaN where there is none.
        """
        drawn = traffic.labelled & (selected_by == "random") & ~np.isnan(logged)
        lot = np.divide(1.0, logged, out=np.zeros(len(logged)), where=drawn)
        return cls(traffic, lot, traffic.score)

    def list_cautions(self) -> list[str]:
        """Say in sentences how far the estimates can be believed."""
        traffic, drawn = self.traffic, self.lot > 0
        results, by_lot = int(traffic.labelled.sum()), int(drawn.sum())
        finds = int((drawn & traffic.positive).sum())
        if traffic.complete:
            return ["Every consignment has a result: nothing is estimated."]
        said = []
        if by_lot < results:
            said.append(
                f"{results - by_lot:,} of {results:,} results were not drawn by lot. The first two estimates correct for what "
                "the declarations show of why these were opened; where those who chose saw more, as an X-ray picture, "
                "precision and hits come out too high, and recall is off either way. So their intervals reach down to what is "
                "sure: a find whose probability nobody logged may stand for itself alone."
            )
        said.append(
            f"The random inspections stand whatever guided the others: {by_lot:,} results, with a find in {finds:,} of them."
            + (" So few finds tell little." if finds < MIN_RANDOM_POSITIVES else "")
        )
        return said

    def build_estimator_values(self) -> dict[str, Sums]:
        """Give what is to be summed of each row, for each estimator."""
        traffic, everywhere = self.traffic, np.ones(len(self.lot))
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
    """Estimates at every capacity, and how far they can be believed.

    Attributes
    ----------
    rows : list of dict
        With `TABLE_COLUMNS`.
    cautions : list of str
    """

    rows: list[Row]
    cautions: list[str]

    @classmethod
    def from_evidence(
        cls, evidence: LoggedEvidence, config: EvaluationConfig, truth: Bools | None = None
    ) -> "OffPolicyEstimates":
        """Estimate, as `estimate_rows`."""
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
        Which consignments hold it, on a simulated world.

    Returns
    -------
    list of dict
        With `TABLE_COLUMNS`: for each capacity one row for each estimator. `results`, `finds`: those above the cut that the
        estimator looks at; `effective_results`: how many equally weighted ones would tell as much.
    """
    ranked, ways = RankedTraffic(evidence.traffic, config), evidence.build_estimator_values()
    rows = []
    for capacity, above in ranked.above.items():
        true = _compute_true_shares(ranked, above, truth)
        for way, values in ways.items():
            top, rest = ranked.sum_both_sides(above, values)
            named: Row = {"capacity": capacity, "estimator": way}
            rows.append(
                named | _build_estimate_row(top, compute_precision_recall(top, rest), ranked.days, true)
            )
    return rows


def _compute_true_shares(ranked: RankedTraffic, above: SumAbove, truth: Bools | None) -> dict[str, float]:
    """Give precision and recall where every consignment is known; NaN where they are not."""
    if truth is None:
        return {"precision": np.nan, "recall": np.nan}
    everything = np.ones(len(truth))
    values = build_row_values(everything, everything, truth, everything)
    found = compute_precision_recall(*ranked.sum_both_sides(above, values))
    return {name: float(measured.values[0]) for name, measured in found.items()}


def _build_estimate_row(
    top: Sums, found: dict[str, ResampledMetric], days: int, true: dict[str, float]
) -> Row:
    """Give the figures of one estimator at one capacity."""
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
    """Say what an unknown share may be: anything."""
    return estimate if np.isfinite(estimate.value) else UNKNOWN_SHARE
