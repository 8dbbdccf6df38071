"""Brief before an operation: trends of the past months, alerts in force, blind spots, and the quality of the data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, fisher_exact
from scipy.stats.contingency import odds_ratio

from consignments.errors import BadInput
from consignments.records import Consignment, Target
from consignments.tables import to_records
from consignments.timestamps import get_time_column_us, to_datetime, to_us
from consignments.versions import select_counting_rows
from features.batch import Tables
from operation.inspections import (
    CONFIDENCE,
    AlertYield,
    OperationPeriod,
    compute_yields,
    fill_missing,
    find_hs_chapters,
    join_inspections,
    select_valid_alerts,
)
from training.config import LABEL_DELAY_DAYS
from training.evaluation.estimate import Estimate

DIMENSIONS = ("office", "channel", "route", "departure_country", "hs_chapter")
TRAFFIC_DIMENSIONS = ("office", "route", "departure_country", "hs_chapter")
QUALITY_COLUMNS = (
    "description", "hs_code", "sender_name", "sender_address", "sender_phone", "consignee_name", "consignee_address",
    "consignee_phone", "declared_value", "gross_weight_kg",
)  # fmt: skip
LABEL_DELAY = timedelta(days=LABEL_DELAY_DAYS)
"""Results of later arrivals than this are not compared: detections become known later than other results."""
MIN_BLIND_SHARE = 0.01
"""Share of the recent traffic from which on a part without a recent inspection is reported as blind."""
MIN_QUALITY_CHANGE = 0.1  # change of a fill rate that is reported
MIN_SOURCE_ROWS = 50
MAX_FALSE_SHARE = 0.1
"""Expected share of false ones among the trends that are called new, rising or falling (Benjamini and Hochberg 1995)."""
MIN_NEW = 2
"""Positives from which on a part without an earlier one is called new, if that is not chance, or named although it cannot be compared."""
NO_CHANGE = "no clear change"


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


class BlindSpot(NamedTuple):
    """A part of the recent traffic that nobody inspected."""

    dimension: str
    part: str
    arrivals: int
    share: float


class QualityChange(NamedTuple):
    """Fill rate of a column in the data of one office, recent and earlier; `earlier` is None without earlier data."""

    office: str
    column: str
    arrivals: int
    recent: float
    earlier: float | None


@dataclass(frozen=True)
class Brief:
    """Numbers of a brief; `unsettled` are the results of arrivals younger than `LABEL_DELAY`, which trends leave out."""

    begins: datetime
    recent_from: datetime
    ends: datetime
    target: Target
    arrivals: int
    recent_arrivals: int
    known: int
    recent_known: int
    positives: int
    recent_positives: int
    trends: list[Trend]
    unsettled: int
    blind: list[BlindSpot]
    quality: list[QualityChange]
    alerts: list[AlertYield]


def build_brief(
    tables: Tables, as_of: datetime | None = None, recent_days: int = 60, target: Target = "nps"
) -> Brief:
    """Compute the brief from what was known at a date."""
    received = get_time_column_us(tables.consignments, "received_at")
    end = as_of or (to_datetime(int(received.max()) + 1) if len(received) else None)
    if end is None or not (received < to_us(end)).any():
        raise BadInput(
            "no consignment to report",
            where="--consignments",
            got=f"no arrival before {end:%Y-%m-%d %H:%M}" if end else "no row",
            expected="arrivals before the time of the brief",
            todo="choose a later --as-of, or provide earlier consignments",
        )
    begin, recent_from = to_datetime(int(received.min())), end - timedelta(days=recent_days)
    frame = tables.consignments[select_counting_rows(tables.consignments, to_us(end))]
    seen = Tables(frame, tables.outcomes, tables.alerts)
    inspections = join_inspections(seen, None, OperationPeriod(begin, end, end), target)
    known = inspections[inspections["final"]].reset_index(drop=True)
    new, unsettled = (
        known["received_at"].ge(pd.Timestamp(time)).fillna(False).astype(bool)
        for time in (recent_from, end - LABEL_DELAY)
    )
    recent_rows = frame["received_at"] >= pd.Timestamp(recent_from)
    recent = frame[recent_rows]
    alerts = select_valid_alerts(tables.alerts, end, end + timedelta(microseconds=1))
    yields = compute_yields(alerts, to_records(recent, Consignment), inspections) if alerts else []
    return Brief(
        begins=begin,
        recent_from=recent_from,
        ends=end,
        target=target,
        arrivals=len(frame),
        recent_arrivals=len(recent),
        known=len(known),
        recent_known=int(new.sum()),
        positives=int(known["positive"].sum()),
        recent_positives=int(known.loc[new, "positive"].sum()),
        trends=find_trends(known[~unsettled], new, DIMENSIONS),
        unsettled=int(unsettled.sum()),
        blind=_find_blind_spots(recent, inspections),
        quality=_find_quality_changes(frame, recent_rows),
        alerts=yields,
    )


def _find_blind_spots(recent: pd.DataFrame, inspections: pd.DataFrame) -> list[BlindSpot]:
    """Find parts with a good share of the recent traffic and no recent inspection."""
    inspected = recent["consignment_id"].isin(inspections.loc[inspections["presented"], "consignment_id"])
    described, found = recent.assign(hs_chapter=find_hs_chapters(recent)), []
    for dimension in (name for name in TRAFFIC_DIMENSIONS if name in described):
        parts = fill_missing(described[dimension])
        counts = inspected.groupby(parts).agg(["size", "sum"])
        for part, arrivals in counts.loc[counts["sum"] == 0, "size"].items():
            if (share := arrivals / len(recent)) >= MIN_BLIND_SHARE:
                found.append(BlindSpot(dimension, str(part), int(arrivals), float(share)))
    return sorted(found, key=lambda each: (-each.share, each.dimension, each.part))


def _find_quality_changes(frame: pd.DataFrame, recent: "pd.Series[bool]") -> list[QualityChange]:
    """Find columns whose fill rate changed, or is below a half, by office."""
    if "office" not in frame:
        return []
    filled, found = frame.reindex(columns=list(QUALITY_COLUMNS)).notna(), []
    for office, rows in filled.groupby(fill_missing(frame["office"]), sort=True):
        now, before = rows[recent[rows.index]], rows[~recent[rows.index]]
        if len(now) < MIN_SOURCE_ROWS:
            continue
        for column in QUALITY_COLUMNS:
            rate = float(now[column].mean())
            earlier = None if len(before) < MIN_SOURCE_ROWS else float(before[column].mean())
            if rate < 0.5 or (earlier is not None and abs(rate - earlier) >= MIN_QUALITY_CHANGE):
                found.append(QualityChange(str(office), column, len(now), rate, earlier))
    return sorted(
        found, key=lambda each: (each.earlier is None, -abs(each.recent - (each.earlier or 0.0)), each)
    )


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
