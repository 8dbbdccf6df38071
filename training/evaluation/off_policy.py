"""Off-policy evaluation: three estimates of a score's precision and recall at a capacity, from inspected consignments.

inverse propensity    each known result is weighted by the inverse of its probability of being known
doubly robust         the model's expectation over all traffic, corrected by the weighted residuals of the results
logged probabilities  only results with a logged probability, weighted by its inverse; certain selections (probability 1)
                      stand for themselves, and the drawn ones for the rest of the traffic

The doubly robust estimate is correct on average if either the expectations or the probabilities are (Robins, Rotnitzky
and Zhao 1994; Dudík, Langford and Li 2011). Its expectation is the calibrated probability of the scored model itself:
fitted on training and calibrated on validation, so no result of the test period evaluates an expectation that it made.
A model fitted on training alone would be the same one without its calibration. The third estimate needs no model. It is
correct if every consignment could be chosen with a probability that was logged, if nobody else took a part of the traffic
from the draw, and if results are not missing for a reason. On a simulated world the truth is also shown.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from training.config import EvaluationConfig
from training.evaluation.capacity import SHARES
from training.evaluation.estimate import Estimate
from training.evaluation.metrics import RankedTraffic, SumAbove
from training.evaluation.selected_labels import (
    Sums,
    add_expectations,
    build_row_values,
    compute_effective_size,
    compute_precision_recall,
    estimate_drawn_bounds,
    make_monotone,
    separate_certain,
)
from training.evaluation.traffic import ScoredPeriod

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Row = dict[str, float | str]

INVERSE_PROPENSITY, DOUBLY_ROBUST, LOGGED_PROBABILITIES = (
    "inverse propensity",
    "doubly robust",
    "logged probabilities",
)
MIN_DRAWN_POSITIVES = 20
"""Drawn positives needed to estimate their recall to about twenty percentage points."""
MIN_COVERED_SHARE = 0.5
"""Share of the traffic that drawn results must stand for. Far fewer mean that some consignments could not be drawn."""
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
TINY = 1e-300
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
        How many consignments a result with a logged probability stands for, the inverse of that; 0 for all others.
    expected : float64 array, (n,)
        Probability of a positive, 0 to 1, by a model that saw no result of the period.
    """

    traffic: ScoredPeriod
    lot: Floats
    expected: Floats

    @classmethod
    def from_scored_period(cls, traffic: ScoredPeriod, logged: Floats) -> "LoggedEvidence":
        """Build the evidence from a scored period and the logged probabilities of its results.

        Parameters
        ----------
        traffic : ScoredPeriod
            Its score is a probability.
        logged : float64 array, (n,)
            Logged probability of having been chosen under the whole policy; NaN if there is none.
        """
        known = traffic.labelled & ~np.isnan(logged)
        lot = np.divide(1.0, logged, out=np.zeros(len(logged)), where=known)
        return cls(traffic, lot, traffic.score)

    @cached_property
    def certain(self) -> Bools:
        """Results of selections with probability 1, bool (n,)."""
        return (self.lot > 0) & np.isclose(self.lot, 1.0)

    @property
    def covered_share(self) -> float:
        """Share of the traffic without the certain selections that the drawn results stand for; 1 if there is no such traffic."""
        rest = float((self.traffic.traffic * ~self.certain).sum())
        return float(self.lot[~self.certain].sum()) / rest if rest else 1.0

    def list_cautions(self) -> list[str]:
        """Return sentences on how reliable the estimates are."""
        traffic, logged = self.traffic, self.lot > 0
        results, with_probability = int(traffic.labelled.sum()), int(logged.sum())
        if traffic.complete:
            return ["Every consignment has a result. Nothing is estimated."]
        said = []
        if with_probability < results:
            said.append(
                f"{results - with_probability:,} of {results:,} results come from consignments without a logged probability. The first two "
                "estimates correct for what the declarations explain of the selection. If those who selected saw more, such as an X-ray "
                "image, precision and hits are too high, and recall may be wrong in either direction. So their intervals reach down "
                "to what is certain: a positive without a logged probability may stand for itself alone."
            )
        return [*said, self._describe_draw()]

    def _describe_draw(self) -> str:
        """Return what the third estimate rests on, and whether it can be trusted."""
        drawn = (self.lot > 0) & ~self.certain
        finds = int((drawn & self.traffic.positive).sum())
        found = f"Certain selections: {int(self.certain.sum()):,}. Drawn results: {int(drawn.sum()):,}, positives: {finds:,}."
        if self.covered_share < MIN_COVERED_SHARE:
            return (
                f"The estimate by logged probabilities is unknown outside of what was certain to be selected: the drawn results stand for "
                f"{self.covered_share:.0%} of the other traffic, so most of it was never or seldom drawn. {found}".replace(
                    "%", " %"
                )
            )
        return (
            "The estimate by logged probabilities needs no model, but that every consignment could be drawn, and that nobody else took "
            f"a part of the traffic from the draw. {found}"
            + (
                " So few drawn positives give a wide interval, and the value of recall is too high on average."
                if finds < MIN_DRAWN_POSITIVES
                else ""
            )
        )

    def build_estimator_values(self) -> dict[str, Sums]:
        """Build the values of each row that are summed, for each estimator."""
        traffic, everywhere = self.traffic, self.traffic.traffic
        corrected = build_row_values(traffic.weights, traffic.sure, traffic.positive, everywhere)
        certain = self.certain
        lot = self.lot if self.covered_share >= MIN_COVERED_SHARE else np.where(certain, self.lot, 0.0)
        logged = build_row_values(lot, lot, traffic.positive, everywhere)
        ways = {
            INVERSE_PROPENSITY: corrected,
            DOUBLY_ROBUST: add_expectations(corrected, self.expected),
            LOGGED_PROBABILITIES: separate_certain(logged, certain),
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
            top, rest = tops[capacity, way]
            shares = {name: found[capacity, way][name].estimate(ranked.days) for name in true}
            if way == LOGGED_PROBABILITIES:
                shares = _widen_to_draw(shares, top, rest, ranked.days)
            rows.append(named | _build_estimate_row(top, shares, true))
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


def _widen_to_draw(shares: dict[str, Estimate], top: Sums, rest: Sums, days: int) -> dict[str, Estimate]:
    """Widen the intervals of precision and recall to what the drawn results of both sides of the cut leave open."""
    found, missed = estimate_drawn_bounds(top, rest, days), estimate_drawn_bounds(rest, top, days)
    whole = float(top["traffic"][0])
    bounds = {
        "precision": (found[0] / whole, found[1] / whole),
        "recall": (
            found[0] / max(found[0] + missed[1], TINY),
            1.0 if missed[0] <= 0 else found[1] / (found[1] + missed[0]),
        ),
    }
    return {
        name: Estimate(
            share.value,
            float(np.minimum(share.low, bounds[name][0])),
            float(np.maximum(share.high, bounds[name][1])),
        )
        for name, share in shares.items()
    }


def _build_estimate_row(top: Sums, found: dict[str, Estimate], true: dict[str, float]) -> Row:
    """Build the row of one estimator at one capacity."""
    row: Row = {
        "consignments": round(float(top["traffic"][0])),
        "results": float(top["results"][0]),
        "finds": float(top["finds"][0]),
        "effective_results": compute_effective_size(top["known"], top["known_squares"]),
    }
    shares = {name: _fill_unknown(estimate) for name, estimate in found.items()}
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
