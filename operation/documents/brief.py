"""Brief before an operation: trends of the past months, alerts in force, blind spots, and the quality of the data."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import pandas as pd

from consignments.errors import BadInput
from consignments.records import Consignment, Target
from consignments.tables import to_consignments
from consignments.timestamps import get_time_column_us, to_datetime, to_us
from consignments.versions import select_counting_rows
from features.batch import Tables
from operation.documents.trends import Trend, find_trends
from operation.inspections import (
    AlertYield,
    OperationPeriod,
    compute_yields,
    fill_missing,
    find_hs_chapters,
    join_inspections,
    select_valid_alerts,
)
from training.config import LABEL_DELAY_DAYS

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
MIN_QUALITY_CHANGE = 0.1
"""Change of a fill rate that is reported."""
MIN_SOURCE_ROWS = 50


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
    """Numbers of a brief: earlier results lie between `begins` and `recent_from`, recent ones between it and `ends`.

    Trends leave out the results of arrivals younger than `LABEL_DELAY`, of which `unsettled` is the number.
    """

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
    yields = compute_yields(alerts, to_consignments(recent, Consignment), inspections) if alerts else []
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
