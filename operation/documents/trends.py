"""Trends before an operation: which parts of the traffic have more or fewer detections than before."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, fisher_exact
from scipy.stats.contingency import odds_ratio

from training.evaluation.estimate import Estimate

MAX_FALSE_SHARE = 0.1
"""Expected share of false ones among the trends that are called new, rising or falling (Benjamini and Hochberg 1995)."""
MIN_NEW = 2
"""Positives from which on a part without an earlier one is called new, if that is not chance, or named although it cannot be compared."""
NO_CHANGE = "no clear change"
CONFIDENCE = 0.95


class Trend(NamedTuple):
    """Recent results of one part compared with earlier ones; of a substance family, its positives among all.

    `ratio` are the odds of a positive, recent over earlier, with the exact conditional interval (Fisher). `p_value` is Fisher's exact
    test, two-sided, and `adjusted` the same for all comparisons of the brief (Benjamini and Hochberg 1995). The verdict is `new`, `rising`
    or `falling` if that is at most `MAX_FALSE_SHARE`, `nothing to compare` without an earlier result, else `no clear change`.
    """

    dimension: str
    part: str
    recent_known: int
    recent_positives: int
    earlier_known: int
    earlier_positives: int
    ratio: Estimate
    p_value: float
    adjusted: float
    verdict: str


def find_trends(results: pd.DataFrame, recent: "pd.Series[bool]", dimensions: Sequence[str]) -> list[Trend]:
    """Compare recent with earlier results for each part of each dimension that has a positive, clear trends first."""
    positives = results[results["positive"]]
    found = [
        _compare(dimension, str(part), rows["positive"], recent[rows.index])
        for dimension in dimensions
        for part, rows in results.groupby(dimension, sort=True)
        if rows["positive"].any()
    ]
    found += [
        _compare("family", str(family), positives["family"].eq(family), recent[positives.index])
        for family in sorted(set(positives["family"]))
    ]
    if not found:
        return []
    adjusted = false_discovery_control([each.p_value for each in found]).tolist()
    judged = [
        each._replace(adjusted=value, verdict=_choose_verdict(each, value))
        for each, value in zip(found, adjusted, strict=True)
    ]
    return sorted(
        judged, key=lambda each: (each.verdict == NO_CHANGE, each.p_value, each.dimension, each.part)
    )


def _compare(dimension: str, part: str, counted: "pd.Series[bool]", recent: "pd.Series[bool]") -> Trend:
    """Compare the share of the rows that are counted, recent with earlier."""
    counted_rows, new = counted.to_numpy(bool), recent.to_numpy(bool)
    now, before = int((counted_rows & new).sum()), int((counted_rows & ~new).sum())
    known, known_before = int(new.sum()), int((~new).sum())
    table = [[now, known - now], [before, known_before - before]]
    ratio, p_value = Estimate(np.nan, np.nan, np.nan), 1.0
    if known and known_before:
        found = odds_ratio(table)
        interval = found.confidence_interval(CONFIDENCE)
        ratio = Estimate(float(found.statistic), float(interval.low), float(interval.high))
        p_value = float(fisher_exact(table).pvalue)
    return Trend(dimension, part, known, now, known_before, before, ratio, p_value, 1.0, NO_CHANGE)


def _choose_verdict(trend: Trend, adjusted: float) -> str:
    if not trend.earlier_known:
        return "nothing to compare" if trend.recent_positives >= MIN_NEW else NO_CHANGE
    if adjusted > MAX_FALSE_SHARE:
        return NO_CHANGE
    if not trend.earlier_positives and trend.recent_positives >= MIN_NEW:
        return "new"
    return "rising" if trend.ratio.value > 1 else "falling"
