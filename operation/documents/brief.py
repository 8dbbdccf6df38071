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
from operation.inspections import NOT_GIVEN, OperationPeriod, join_inspections
from operation.yields import AlertYield, compute_yields, select_valid_alerts
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
HS_CHAPTER_DIGITS = 2


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
    frame = _describe(tables.consignments[select_counting_rows(tables.consignments, to_us(end))])
    seen = Tables(frame, tables.outcomes, tables.alerts)
    inspections = join_inspections(seen, None, OperationPeriod(begin, end, end), target)
    recent_rows = frame["received_at"] >= pd.Timestamp(recent_from)
    known = _describe_results(inspections, frame)
    new, unsettled = (_received_from(known, each) for each in (recent_from, end - LABEL_DELAY))
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


def _describe(frame: pd.DataFrame) -> pd.DataFrame:
    """Add the HS chapter."""
    codes = frame["hs_code"] if "hs_code" in frame else pd.Series([None] * len(frame), index=frame.index)
    chapter = codes.astype("object").map(
        lambda code: code[:HS_CHAPTER_DIGITS] if isinstance(code, str) else None
    )
    return frame.assign(hs_chapter=chapter)


def _describe_results(inspections: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Select the known results with the parts of their consignments."""
    added = [name for name in ("departure_country", "hs_chapter", "received_at") if name in frame]
    known = inspections[inspections["final"].to_numpy(bool)].merge(
        frame[["consignment_id", *added]], on="consignment_id", how="left"
    )
    for name in ("departure_country", "hs_chapter"):
        given = (
            known[name].astype("object") if name in known else pd.Series([None] * len(known), dtype="object")
        )
        known[name] = given.where(given.notna(), NOT_GIVEN)
    return known


def _received_from(known: pd.DataFrame, time: datetime) -> "pd.Series[bool]":
    """Check which results are of consignments that were received at a time or later; not those without a consignment."""
    return known["received_at"].ge(pd.Timestamp(time)).fillna(False).astype(bool)


def _find_blind_spots(recent: pd.DataFrame, inspections: pd.DataFrame) -> list[BlindSpot]:
    """Find parts with a good share of the recent traffic and no recent inspection."""
    inspected = recent["consignment_id"].isin(
        set(inspections.loc[inspections["presented"], "consignment_id"])
    )
    found = []
    for dimension in TRAFFIC_DIMENSIONS:
        if dimension not in recent:
            continue
        parts = recent[dimension].astype("object").fillna(NOT_GIVEN)
        counts = pd.DataFrame(
            {"arrivals": parts.groupby(parts).size(), "inspected": inspected.groupby(parts).sum()}
        )
        for part, row in counts.iterrows():
            share = row["arrivals"] / max(len(recent), 1)
            if not row["inspected"] and share >= MIN_BLIND_SHARE:
                found.append(BlindSpot(dimension, str(part), int(row["arrivals"]), float(share)))
    return sorted(found, key=lambda each: (-each.share, each.dimension, each.part))


def _find_quality_changes(frame: pd.DataFrame, recent: "pd.Series[bool]") -> list[QualityChange]:
    """Find columns whose fill rate changed, or is below a half, by office."""
    offices = frame["office"].astype("object").fillna(NOT_GIVEN) if "office" in frame else None
    if offices is None:
        return []
    found = []
    for office, rows in frame.groupby(offices, sort=True):
        now, before = rows[recent[rows.index]], rows[~recent[rows.index]]
        if len(now) < MIN_SOURCE_ROWS:
            continue
        for column in QUALITY_COLUMNS:
            rate = float(now[column].notna().mean()) if column in now else 0.0
            earlier = (
                None
                if len(before) < MIN_SOURCE_ROWS
                else float(before[column].notna().mean())
                if column in before
                else 0.0
            )
            changed = earlier is not None and abs(rate - earlier) >= MIN_QUALITY_CHANGE
            if changed or rate < 0.5:
                found.append(QualityChange(str(office), column, len(now), rate, earlier))
    return sorted(
        found,
        key=lambda each: (
            each.earlier is None,
            -abs(each.recent - (each.earlier or 0.0)),
            each.office,
            each.column,
        ),
    )
