"""Tallies of an operation: inspections, detections and what the scores expected, by office, channel, route, week and selector."""

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from scipy.stats import norm

from consignments.records import Target
from consignments.timestamps import US_PER_DAY, get_time_column_us
from operation.inspections import CONFIDENCE, NOT_GIVEN, estimate_rate
from training.data.training_set import compute_effective_sample_size, is_positive
from training.evaluation.estimate import INTERVAL_QUANTILES, Estimate
from training.evaluation.traffic import index_office_days, select_at_capacity

DIMENSIONS = ("office", "channel", "route", "week", "selected_by")
RANK_NAMES = {None: "not scored", True: "ranked within capacity", False: "ranked low"}
MIN_KNOWN = 5  # known results from which on a part is compared with what was expected
REFERENCE_SELECTOR = "random"
DIRECT_TRIALS = 1000
"""Trials up to which a distribution is built trial by trial; longer ones are joined from halves, in n log² n steps."""


class Tally(NamedTuple):
    """Counts of one part of the selections: an office, channel, route, week or selector, or `all`.

    `rate` is positives over known, with the exact interval of Clopper and Pearson (1934). `expected` is the sum of the scores of the
    known results that have one, with the interval of the Poisson binomial distribution. The verdict compares with it: `more`, `fewer`,
    `as expected`, or `too few` below `MIN_KNOWN`.
    """

    part: str
    selected: int
    presented: int
    known: int
    positives: int
    offences: int
    rate: Estimate
    scored: int
    scored_positives: int
    expected: Estimate
    verdict: str


class SelectorComparison(NamedTuple):
    """Rate of a selector over that of random inspections, with the interval of Katz et al. (1978); NaN without detections."""

    selector: str
    ratio: Estimate


def count_inspections(inspections: pd.DataFrame, part: str = "all") -> Tally:
    """Count the rows of `operation.inspections.join_inspections`."""
    known = inspections[inspections["final"].to_numpy(bool)]
    scored = known[known["score"].notna().to_numpy(bool)]
    positives, scored_positives = int(known["positive"].sum()), int(scored["positive"].sum())
    expected = estimate_expected(scored["score"].to_numpy(float))
    return Tally(
        part=part,
        selected=len(inspections),
        presented=int(inspections["presented"].sum()),
        known=len(known),
        positives=positives,
        offences=int(known["offence"].sum()),
        rate=estimate_rate(positives, len(known)),
        scored=len(scored),
        scored_positives=scored_positives,
        expected=expected,
        verdict=_compare(scored_positives, len(scored), expected),
    )


def count_by(inspections: pd.DataFrame, dimension: str) -> list[Tally]:
    """Count each part of a dimension: weeks in their order, other parts by their selections, the largest first."""
    tallies = [count_inspections(rows, str(part)) for part, rows in inspections.groupby(dimension, sort=True)]
    return tallies if dimension == "week" else sorted(tallies, key=lambda each: (-each.selected, each.part))


def compare_selectors(tallies: list[Tally], inspections: pd.DataFrame) -> list[SelectorComparison]:
    """Compare the rate of each selector with that of random inspections; nothing without random inspections."""
    random = inspections["selected_by"].eq(REFERENCE_SELECTOR) & inspections["final"]
    if not random.any():
        return []
    reference = _weigh_random(inspections[random.to_numpy(bool)])
    others = [each for each in tallies if each.part != REFERENCE_SELECTOR and each.known]
    return [
        SelectorComparison(each.part, _estimate_ratio((each.positives, each.known), reference))
        for each in others
    ]


def estimate_expected(scores: NDArray[np.float64]) -> Estimate:
    """Estimate how many positives calibrated scores expect; NaN without any score."""
    if not len(scores):
        return Estimate(np.nan, np.nan, np.nan)
    below = np.cumsum(_compute_count_probabilities(np.clip(scores, 0.0, 1.0)))
    low, high = np.searchsorted(below, INTERVAL_QUANTILES)
    return Estimate(float(np.sum(scores)), float(low), float(min(high, len(scores))))


def _compute_count_probabilities(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the Poisson binomial distribution (scipy's has at most 63 trials); joined halves have an error below 1e-15."""
    if len(chances) > DIRECT_TRIALS:
        middle = len(chances) // 2
        halves = (_compute_count_probabilities(each) for each in (chances[:middle], chances[middle:]))
        joined: NDArray[np.float64] = fftconvolve(*halves)
        return joined
    probabilities = np.ones(1)
    for chance in chances:
        probabilities = np.convolve(probabilities, (1.0 - chance, chance))
    return probabilities


def _compare(positives: int, known: int, expected: Estimate) -> str:
    if known < MIN_KNOWN:
        return "too few"
    if positives > expected.high:
        return "more"
    return "fewer" if positives < expected.low else "as expected"


def _weigh_random(random: pd.DataFrame) -> tuple[float, float]:
    """Weigh random inspections by the inverse of their probability, as positives and results; NaN if one of several is missing."""
    probability = random["selection_probability"].to_numpy(np.float64)
    weight = np.ones(len(probability))
    # Without a logged probability, or with one for all, each inspection stands for the same number of consignments.
    if len(np.unique(probability[~np.isnan(probability)])) > 1:
        weight = 1.0 / probability
    rate = float((weight * random["positive"].to_numpy(bool)).sum() / weight.sum())
    size = compute_effective_sample_size(weight)
    return rate * size, size


def _estimate_ratio(*shares: tuple[float, float]) -> Estimate:
    """Estimate the ratio of two shares, each given as positives and results."""
    (positives, known), (reference, results) = shares
    if not (positives > 0 and reference > 0):
        return Estimate(np.nan, np.nan, np.nan)
    ratio = positives / known / (reference / results)
    error = sum(1 / each - 1 / size for each, size in shares) ** 0.5
    with np.errstate(over="ignore"):
        factor = float(np.exp(norm.ppf((1 + CONFIDENCE) / 2) * error))
    return Estimate(ratio, ratio / factor, ratio * factor)


HANDLINGS = {
    "ranked within capacity": "detected, and ranked within the capacity of its office and day",
    "ranked low": "detected although ranked below the capacity: another selector chose it",
    "not scored": "detected, but it had no score when it was selected",
    "not presented": "selected, but not presented to inspection",
    "inspected without detection": "inspected, but not detected (known only in a simulated world)",
    "ranked high, not selected": "ranked within the capacity, and not selected (known only in a simulated world)",
    "ranked low, not selected": "ranked below the capacity, and not selected (known only in a simulated world)",
    "not scored, not selected": "had no score, and not selected (known only in a simulated world)",
    "result pending": "inspected, and the result is not known yet",
}
"""Each way in which a positive can be handled, with its meaning."""


class Handling(NamedTuple):
    """A way in which positives were handled: how many, and up to ten identifiers, the lowest scores first."""

    name: str
    meaning: str
    positives: int
    examples: tuple[str, ...]


def rank_within_capacity(consignments: pd.DataFrame, scores: pd.DataFrame, capacity: int) -> dict[str, bool]:
    """Find which scored consignments ranked within the capacity of their office on their UTC day."""
    latest = scores.drop_duplicates("consignment_id", keep="last")
    rows = consignments.merge(latest[["consignment_id", "score"]], on="consignment_id")
    if not len(rows):
        return {}
    office = (rows["office"] if "office" in rows else pd.Series([NOT_GIVEN] * len(rows))).fillna(NOT_GIVEN)
    day = get_time_column_us(rows, "received_at") // US_PER_DAY
    cells = index_office_days(office.to_numpy(object), day)
    _, group = np.unique(-rows["score"].to_numpy(float), return_inverse=True)
    share = select_at_capacity(group.astype(np.int64), cells, capacity)
    return dict(zip(rows["consignment_id"], (share >= 0.5).tolist(), strict=True))


def classify_detections(inspections: pd.DataFrame, within: dict[str, bool]) -> list[Handling]:
    """Classify the detected positives by their rank, and count selections that were not presented."""
    positive = inspections[inspections["positive"].to_numpy(bool)]
    names = [RANK_NAMES[within.get(each)] for each in positive["consignment_id"]]
    lost = inspections[~inspections["presented"].to_numpy(bool)]
    return _collect(
        pd.concat([positive.assign(handling=names), lost.assign(handling="not presented")], ignore_index=True)
    )


def classify_truth(
    inspections: pd.DataFrame,
    consignments: pd.DataFrame,
    truth: pd.DataFrame,
    within: dict[str, bool],
    target: Target,
) -> list[Handling]:
    """Classify every true positive of a simulated world."""
    real = truth.loc[is_positive(truth["result"], target), ["consignment_id"]]
    arrived = set(consignments["consignment_id"])
    selected = set(inspections["consignment_id"])
    known = real[real["consignment_id"].isin(arrived | selected)]
    rows = known.merge(inspections, on="consignment_id", how="left")
    names = [
        _name_truth(row, row["consignment_id"] in selected, within.get(row["consignment_id"]))
        for row in rows.to_dict("records")
    ]
    return _collect(rows.assign(handling=names))


def _name_truth(row: dict[Hashable, Any], is_selected: bool, within: bool | None) -> str:
    if not is_selected:
        rank = "not scored" if within is None else "ranked high" if within else "ranked low"
        return f"{rank}, not selected"
    if not row["presented"]:
        return "not presented"
    if not row["final"]:
        return "result pending"
    return RANK_NAMES[within] if row["positive"] else "inspected without detection"


def _collect(rows: pd.DataFrame) -> list[Handling]:
    handlings = []
    for name, meaning in HANDLINGS.items():
        mine = rows[rows["handling"].eq(name).to_numpy(bool)]
        if len(mine):
            lowest = mine.sort_values(["score", "consignment_id"], kind="stable", na_position="first")
            handlings.append(Handling(name, meaning, len(mine), tuple(lowest["consignment_id"].head(10))))
    return handlings
