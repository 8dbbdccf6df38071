"""Inspections of an operation as they are known at a date: one row for each selected consignment, with its score."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from consignments.errors import BadInput
from consignments.records import Target
from consignments.timestamps import NO_TIME, get_time_column_us, to_datetime, to_us
from consignments.versions import select_counting_rows
from features.batch import Tables
from training.data.training_set import find_last_visible_time, is_positive, select_current_outcomes
from training.evaluation.estimate import Estimate

NOT_GIVEN = "not given"
CONFIDENCE = 0.95
INSPECTION_COLUMNS = (
    "consignment_id", "office", "channel", "route", "week", "selected_by", "selection_probability", "presented",
    "final", "positive", "offence", "family", "quantity_g", "score",
)  # fmt: skip
CONSIGNMENT_COLUMNS = ("office", "channel", "route")


@dataclass(frozen=True)
class OperationPeriod:
    """Selections from `begins` until before `ends`, with the results that were visible by `as_of`."""

    begins: datetime
    ends: datetime
    as_of: datetime

    def check(self) -> None:
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
    visible = find_last_visible_time(tables.outcomes)
    last = max(int(arrivals.max()), int(_find_selection_times(tables.outcomes).max()))
    return OperationPeriod(
        begins or to_datetime(int(arrivals.min())), ends or to_datetime(last + 1), as_of or visible
    )


def join_inspections(
    tables: Tables, scores: pd.DataFrame | None, period: OperationPeriod, target: Target
) -> pd.DataFrame:
    """Join the selections of a period with their consignments, results, and scores at arrival, one row for each.

    `presented`: it was inspected; `final`: its result is known; `positive`, `offence`: the target, and any offence, was found.
    """
    period.check()
    assert tables.outcomes is not None
    known = select_current_outcomes(tables.outcomes, to_us(period.as_of))
    selected_us = _find_selection_times(known)
    inside = (selected_us >= to_us(period.begins)) & (selected_us < to_us(period.ends))
    rows, selected_us = known[inside].reset_index(drop=True), selected_us[inside]
    consignments = tables.consignments[select_counting_rows(tables.consignments)]
    consignments = consignments.drop_duplicates("consignment_id", keep="last")
    described = rows[["consignment_id"]].merge(
        consignments[["consignment_id", *(name for name in CONSIGNMENT_COLUMNS if name in consignments)]],
        on="consignment_id", how="left",
    )  # fmt: skip
    result = rows["result"] if "result" in rows else pd.Series([None] * len(rows))
    final = (result.notna() & result.ne("pending") & rows["status"].eq("inspected")).to_numpy(bool)
    found = pd.DataFrame(
        {
            "consignment_id": rows["consignment_id"],
            "office": _fill(described, rows, "office"),
            "channel": _fill(described, rows, "channel"),
            "route": _fill(described, rows, "route"),
            "week": _find_weeks(selected_us),
            "selected_by": rows["selected_by"],
            "selection_probability": rows.get("selection_probability", pd.Series(np.nan, index=rows.index)),
            "presented": rows["status"].eq("inspected").to_numpy(bool),
            "final": final,
            "positive": final & is_positive(result, target),
            "offence": final & is_positive(result, "any_offence"),
            "family": _fill(rows, rows, "substance_family"),
            "quantity_g": rows.get("quantity_g", pd.Series(np.nan, index=rows.index)),
        }
    )
    return _add_scores(found, scores)[list(INSPECTION_COLUMNS)]


def estimate_rate(positives: int, known: int) -> Estimate:
    """Estimate a share with its exact interval; NaN without any result.

    Examples
    --------
    >>> [round(each, 3) for each in (estimate_rate(1, 10).low, estimate_rate(1, 10).high)]
    [0.003, 0.445]
    """
    if not known:
        return Estimate(np.nan, np.nan, np.nan)
    interval = binomtest(positives, known).proportion_ci(CONFIDENCE, method="exact")
    return Estimate(positives / known, float(interval.low), float(interval.high))


def _add_scores(found: pd.DataFrame, scores: pd.DataFrame | None) -> pd.DataFrame:
    if scores is None:
        return found.assign(score=np.nan)
    latest = scores.drop_duplicates("consignment_id", keep="last")[["consignment_id", "score"]]
    return found.merge(latest, on="consignment_id", how="left")


def _find_selection_times(outcomes: pd.DataFrame) -> NDArray[np.int64]:
    """Find when each consignment was selected, in microseconds: else when it was inspected, else when its result was known."""
    times = np.full(len(outcomes), NO_TIME)
    for name in ("known_at", "inspected_at", "selected_at"):
        given = get_time_column_us(outcomes, name)
        times = np.where(given == NO_TIME, times, given)
    return times


def _find_weeks(times_us: NDArray[np.int64]) -> list[str]:
    """Find the Monday of each time's UTC week, as ISO date."""
    days = pd.to_datetime(times_us, unit="us", utc=True).normalize()
    return [str(day.date()) for day in days - pd.to_timedelta(days.day_of_week, unit="D")]


def _fill(first: pd.DataFrame, second: pd.DataFrame, name: str) -> pd.Series:
    """Choose a text from the first table, else from the second, else `not given`."""
    nothing = pd.Series([None] * len(second), dtype="object")
    values = [
        frame[name].astype("object").reset_index(drop=True) if name in frame else nothing
        for frame in (first, second)
    ]
    return values[0].where(values[0].notna(), values[1]).fillna(NOT_GIVEN).astype(str)
