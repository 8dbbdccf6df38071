"""Precision and recall from selected labels: both sides of a cut, each result weighted by what it stands for.

Hits of a side are its traffic times the weighted rate of its results (Hájek 1971). With expectations they are the
expected hits plus the weighted mean residual of the results (doubly robust). A weight that nobody logged is estimated
from the features. Those who selected may have seen more; then positives were selected more often than others, and the
estimate is too high. The certain positives are the lower bound (bounds under monotone selection, Manski and Pepper
2000). So a low end is computed with the least, and a high end with the most, of what each side may hold.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from training.evaluation.estimate import ResampledMetric

Floats = NDArray[np.float64]
Sums = Mapping[str, Floats]
"""Name to the sum of a value over one side of a cut, of the data and of each resample; built by `build_row_values`."""


def build_row_values(
    weight: Floats, sure: Floats, positive: NDArray[np.bool_], within: Floats
) -> dict[str, Floats]:
    """Build the values of each row that are summed on each side of a cut.

    Parameters
    ----------
    weight : float64 array, (n,)
        How many consignments a known result stands for; 0 for the others.
    sure : float64 array, (n,)
        Minimum number it stands for: as `weight` if its probability was logged, else 1.
    positive : bool array, (n,)
    within : float64 array, (n,)
        Consignments that each included row stands for, 0 for the others.
    """
    weight, sure = np.where(within > 0, weight, 0.0), np.where(within > 0, sure, 0.0)
    return {
        "traffic": within,
        "known": weight,
        "known_squares": weight**2,
        "hits": weight * positive,
        "hits_squares": weight**2 * positive,
        "sure_hits": sure * positive,
    }


def add_expectations(values: Sums, expected: Floats) -> dict[str, Floats]:
    """Add to the row values the model's expectation, a probability for each row, and the residuals of the results."""
    return {
        **values,
        "expected": values["traffic"] * expected,
        "surprise": values["hits"] - values["known"] * expected,
    }


def separate_certain(values: Sums, certain: NDArray[np.bool_]) -> dict[str, Floats]:
    """Add to the row values those of results that were certain to be selected; see `_estimate_drawn_hits`."""
    return {**values, "certain": values["known"] * certain, "certain_hits": values["hits"] * certain}


def compute_precision_recall(top: Sums, rest: Sums) -> dict[str, ResampledMetric]:
    """Compute `precision` and `recall` from the sums of both sides of a cut."""
    if "certain" in top:
        found, missed = _estimate_drawn_hits(top, rest), _estimate_drawn_hits(rest, top)
    else:
        found, missed = _estimate_hits(top), _estimate_hits(rest)
    least_found, least_missed = found * _compute_sure_share(top), missed * _compute_sure_share(rest)
    finds = compute_effective_size(top["hits"] + rest["hits"], top["hits_squares"] + rest["hits_squares"])
    return {
        "precision": ResampledMetric(
            divide(found, top["traffic"]),
            trials=compute_effective_size(top["known"], top["known_squares"]),
            lowest=divide(least_found, top["traffic"]),
        ),
        "recall": ResampledMetric(
            divide(found, found + missed),
            trials=finds,
            lowest=divide(least_found, least_found + missed),
            highest=divide(found, found + least_missed),
        ),
    }


def make_monotone(recalls: Sequence[ResampledMetric]) -> list[ResampledMetric]:
    """Raise recall at each capacity to at least the recall at every smaller one, in the data and in each resample.

    Both sides of a cut are estimated separately, so the estimated number of all positives differs from cut to cut, and recall may
    fall although more is inspected. A larger capacity inspects everything that a smaller one does, so the largest recall up to
    a capacity holds there too.

    Parameters
    ----------
    recalls : sequence of ResampledMetric
        In the order of rising capacity. Unknown values stay unknown.
    """
    raised: list[ResampledMetric] = []
    for recall in recalls:
        before = raised[-1] if raised else recall
        ends = (
            None if mine is None or least is None else _raise_to(mine, least)
            for mine, least in ((recall.lowest, before.lowest), (recall.highest, before.highest))
        )
        raised.append(ResampledMetric(_raise_to(recall.values, before.values), recall.trials, *ends))
    return raised


def compute_effective_size(weight: Floats, squares: Floats) -> float:
    """Compute how many equally weighted rows would be as informative as those of the data (Kish 1965)."""
    return float(weight[0] ** 2 / squares[0]) if squares[0] > 0 else 0.0


def divide(part: Floats, whole: Floats) -> Floats:
    """Divide; NaN if the denominator is zero."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 1e-9)


def _estimate_hits(side: Sums) -> Floats:
    """Estimate the hits of a side, at most all of it; NaN if it has no result, 0 if it is empty."""
    rate = divide(side.get("surprise", side["hits"]), side["known"])
    hits = side["traffic"] * rate + side.get("expected", 0.0)
    return np.where(side["traffic"] < 0.5, 0.0, np.clip(hits, 0.0, side["traffic"]))


def _estimate_drawn_hits(side: Sums, other: Sums) -> Floats:
    """Estimate the hits of a side by logged probabilities alone; NaN if it has no result, or no drawn one speaks for its rest.

    Certain results stand for themselves. The positives among the drawn ones are weighted by the inverse of their probability
    (Horvitz and Thompson 1952), and together the drawn ones of both sides stand for all traffic that was not certain. A side that
    holds little of it often has no drawn result, so that a rate of its own would not exist, or only in favourable cases.
    """
    drawn = side["known"] - side["certain"] + other["known"] - other["certain"]
    left = side["traffic"] - side["certain"] + other["traffic"] - other["certain"]
    hits = (side["hits"] - side["certain_hits"]) * divide(left, drawn)
    hits = np.where(side["traffic"] - side["certain"] < 0.5, 0.0, hits) + side["certain_hits"]
    is_known = (side["known"] > 0) | (side["traffic"] < 0.5)
    return np.where(is_known, np.clip(hits, 0.0, side["traffic"]), np.nan)


def estimate_drawn_bounds(side: Sums, other: Sums, days: int) -> tuple[float, float]:
    """Return between how many hits a side has with 95 % confidence, by logged probabilities alone.

    Only its drawn results tell of what was not certain to be selected, however many positives the certain ones have.
    """
    rest = side["traffic"] - side["certain"]
    hits = _estimate_drawn_hits(side, other) - side["certain_hits"]
    drawn = compute_effective_size(side["known"] - side["certain"], side["known_squares"] - side["certain"])
    share = ResampledMetric(np.clip(divide(hits, rest), 0.0, 1.0), trials=drawn).estimate(days)
    low, high = (share.low, share.high) if np.isfinite(share.low) else (0.0, 1.0)
    sure, left = float(side["certain_hits"][0]), max(float(rest[0]), 0.0)
    return sure + low * left, sure + high * left


def _raise_to(values: Floats, least: Floats) -> Floats:
    return np.where(np.isnan(values), np.nan, np.fmax(values, least))


def _compute_sure_share(side: Sums) -> Floats:
    """Compute the certain part of a side's hits; 0 if it has none."""
    return np.nan_to_num(divide(side["sure_hits"], side["hits"]))
