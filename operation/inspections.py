"""Inspections of an operation as they are known at a date: one row for each selected consignment, with its score."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from consignments.errors import BadInput
from consignments.records import Alert, Consignment, Target
from consignments.tables import to_records
from consignments.timestamps import NO_TIME, get_time_column_us, to_datetime, to_us
from consignments.validation import SEQUENCE
from consignments.versions import select_counting_rows
from features.batch import Tables
from operation.yields import InspectionResult, MatchCounter, YieldCounts
from training.data.training_set import find_last_visible_time, is_positive, select_current_outcomes
from training.evaluation.estimate import Estimate

NOT_GIVEN = "not given"
CONFIDENCE = 0.95
HS_CHAPTER_DIGITS = 2
CONSIGNMENT_COLUMNS = ("office", "channel", "route", "departure_country", "hs_code", "received_at")
OUTCOME_COLUMNS = (
    "consignment_id", "office", "channel", "selected_by", "selection_probability", "status", "result", "substance_family",
    "quantity_g",
)  # fmt: skip


@dataclass(frozen=True)
class OperationPeriod:
    """Selections from `begins` until before `ends`, with the results that were visible by `as_of`."""

    begins: datetime
    ends: datetime
    as_of: datetime

    def __post_init__(self) -> None:
        """Check the order of the dates."""
        if not self.begins < self.ends:
            raise BadInput(
                "the operation ends before it begins",
                where="--from and --until",
                got=f"{self.begins:%Y-%m-%d %H:%M} to {self.ends:%Y-%m-%d %H:%M}",
                expected="an end after the beginning",
                todo="correct one of the dates",
            )


def find_period(
    tables: Tables, begins: datetime | None, ends: datetime | None, as_of: datetime | None
) -> OperationPeriod:
    """Build the period; what is not given follows from the tables."""
    assert tables.outcomes is not None
    if not len(tables.consignments) or not len(tables.outcomes):
        raise BadInput(
            "no operation to report",
            where="--consignments and --outcomes",
            got=f"consignments: {len(tables.consignments)}, outcomes: {len(tables.outcomes)}",
            expected="rows in both tables",
            todo="provide the tables of the operation",
        )
    arrivals = get_time_column_us(tables.consignments, "received_at")
    last = max(int(arrivals.max()), int(_find_selection_times(tables.outcomes).max()))
    begins, ends = begins or to_datetime(int(arrivals.min())), ends or to_datetime(last + 1)
    return OperationPeriod(begins, ends, as_of or find_last_visible_time(tables.outcomes))


def join_inspections(
    tables: Tables, scores: pd.DataFrame | None, period: OperationPeriod, target: Target
) -> pd.DataFrame:
    """Join the selections of a period with their consignments, results (`final`: known; `positive`: the target), and scores at arrival."""
    assert tables.outcomes is not None
    known = select_current_outcomes(tables.outcomes, to_us(period.as_of))
    selected_us = _find_selection_times(known)
    inside = (selected_us >= to_us(period.begins)) & (selected_us < to_us(period.ends))
    rows = known[inside].reindex(columns=list(OUTCOME_COLUMNS)).reset_index(drop=True)
    arrived = tables.consignments[select_counting_rows(tables.consignments)]
    arrived = arrived.drop_duplicates("consignment_id", keep="last").set_index("consignment_id")
    described = arrived.reindex(columns=list(CONSIGNMENT_COLUMNS)).reindex(rows["consignment_id"])
    described = described.reset_index(drop=True)
    presented = rows["status"].eq("inspected").to_numpy(bool)
    final = presented & (rows["result"].notna() & rows["result"].ne("pending")).to_numpy(bool)
    days = pd.to_datetime(selected_us[inside], unit="us", utc=True).normalize()
    mondays = days - pd.to_timedelta(days.day_of_week, unit="D")
    score = np.full(len(rows), np.nan)
    if scores is not None:
        latest = scores.drop_duplicates("consignment_id", keep="last").set_index("consignment_id")
        score = latest["score"].reindex(rows["consignment_id"]).to_numpy(np.float64)
    return pd.DataFrame(
        {
            "consignment_id": rows["consignment_id"],
            "office": fill_missing(described["office"], rows["office"]),
            "channel": fill_missing(described["channel"], rows["channel"]),
            "route": fill_missing(described["route"]),
            "departure_country": fill_missing(described["departure_country"]),
            "hs_chapter": fill_missing(find_hs_chapters(described)),
            "received_at": described["received_at"],
            "week": [f"{day:%Y-%m-%d}" for day in mondays],
            "selected_by": rows["selected_by"],
            "selection_probability": rows["selection_probability"].astype(np.float64),
            "presented": presented,
            "final": final,
            "positive": final & is_positive(rows["result"], target),
            "offence": final & is_positive(rows["result"], "any_offence"),
            "family": fill_missing(rows["substance_family"]),
            "quantity_g": rows["quantity_g"],
            "score": score,
        }
    )


def estimate_rate(positives: int, known: int) -> Estimate:
    """Estimate a share with its exact interval; NaN without any result."""
    if not known:
        return Estimate(np.nan, np.nan, np.nan)
    interval = binomtest(positives, known).proportion_ci(CONFIDENCE, method="exact")
    return Estimate(positives / known, float(interval.low), float(interval.high))


def find_hs_chapters(consignments: pd.DataFrame) -> "pd.Series[str]":
    """Find the HS chapter of each consignment that has a code."""
    codes = consignments.get("hs_code", pd.Series(None, index=consignments.index, dtype="object"))
    return codes.astype("string").str[:HS_CHAPTER_DIGITS]


def fill_missing(*columns: pd.Series) -> "pd.Series[str]":
    """Choose the first given text of each row, else `not given`."""
    first, *others = (column.astype("object") for column in columns)
    for other in others:
        first = first.where(first.notna(), other)
    return first.where(first.notna(), NOT_GIVEN).astype(str)


def _find_selection_times(outcomes: pd.DataFrame) -> NDArray[np.int64]:
    """Find when each consignment was selected, in microseconds: else when it was inspected, else when its result was known."""
    times = np.full(len(outcomes), NO_TIME)
    for name in ("known_at", "inspected_at", "selected_at"):
        given = get_time_column_us(outcomes, name)
        times = np.where(given == NO_TIME, times, given)
    return times


class AlertYield(NamedTuple):
    """Yield of one alert: its counts in a period, and the rate of positives among the known results."""

    alert_id: str
    operation: str | None
    text: str | None
    counts: YieldCounts
    rate: Estimate


def select_valid_alerts(alerts: pd.DataFrame | None, begins: datetime, until: datetime) -> list[Alert]:
    """Select the alerts that were valid at any time of a period: of several versions of an alert, the last issued before its end."""
    if alerts is None:
        return []
    ordered = alerts.sort_values(SEQUENCE, kind="stable") if SEQUENCE in alerts else alerts
    last = {each.alert_id: each for each in to_records(ordered, Alert) if each.issued_at < until}
    return [each for each in last.values() if each.expires_at is None or each.expires_at > begins]


def compute_yields(
    alerts: Iterable[Alert], consignments: Iterable[Consignment], inspections: pd.DataFrame
) -> list[AlertYield]:
    """Compute the yield of each alert, the most positives first."""
    counter = MatchCounter()
    for alert in alerts:
        counter.add_alert(alert)
    for c in consignments:
        counter.record(c)
    presented = inspections[inspections["presented"].to_numpy(bool)]
    flags = presented[["final", "positive", "offence"]].to_numpy(bool).tolist()
    found = zip(presented["consignment_id"], flags, strict=True)
    results = {name: InspectionResult(*each) for name, each in found}
    yields = [build_yield(alert, counter.count(alert.alert_id, results)) for alert in counter.alerts.values()]
    return sorted(yields, key=lambda each: (-each.counts.positives, -each.counts.matched, each.alert_id))


def build_yield(alert: Alert, counts: YieldCounts) -> AlertYield:
    """Build the yield of an alert from its counts."""
    rate = estimate_rate(counts.positives, counts.known)
    return AlertYield(alert.alert_id, alert.operation, alert.text, counts, rate)
