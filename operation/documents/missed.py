"""Positives by how the model and the operation handled them, and selections that were lost."""

from collections.abc import Hashable
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.records import Target
from consignments.timestamps import US_PER_DAY, get_time_column_us, to_us
from consignments.versions import select_counting_rows
from operation.inspections import NOT_GIVEN, OperationPeriod
from training.data.training_set import is_positive
from training.evaluation.traffic import index_office_days, select_at_capacity

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
    names = [_name_rank(within.get(each)) for each in positive["consignment_id"]]
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
    rows = real[real["consignment_id"].isin(arrived | selected)].merge(
        inspections, on="consignment_id", how="left"
    )
    names = [
        _name_truth(row, row["consignment_id"] in selected, within.get(row["consignment_id"]))
        for row in rows.to_dict("records")
    ]
    return _collect(rows.assign(handling=names))


def select_received(consignments: pd.DataFrame, until: datetime) -> pd.DataFrame:
    """Select the consignments that arrived before a time: of several versions the one that counts at this time."""
    return consignments[select_counting_rows(consignments, to_us(until))]


def select_arrivals(consignments: pd.DataFrame, period: OperationPeriod) -> pd.DataFrame:
    """Select the consignments that arrived in a period: of several versions the one that counts at its end."""
    received = select_received(consignments, period.ends)
    received_us: NDArray[np.int64] = get_time_column_us(received, "received_at")
    return received[received_us >= to_us(period.begins)]


def _name_rank(within: bool | None) -> str:
    if within is None:
        return "not scored"
    return "ranked within capacity" if within else "ranked low"


def _name_truth(row: dict[Hashable, Any], is_selected: bool, within: bool | None) -> str:
    if not is_selected:
        rank = "not scored" if within is None else "ranked high" if within else "ranked low"
        return f"{rank}, not selected"
    if not row["presented"]:
        return "not presented"
    if not row["final"]:
        return "result pending"
    return _name_rank(within) if row["positive"] else "inspected without detection"


def _collect(rows: pd.DataFrame) -> list[Handling]:
    handlings = []
    for name, meaning in HANDLINGS.items():
        mine = rows[rows["handling"].eq(name).to_numpy(bool)]
        if len(mine):
            lowest = mine.sort_values(["score", "consignment_id"], kind="stable", na_position="first")
            handlings.append(Handling(name, meaning, len(mine), tuple(lowest["consignment_id"].head(10))))
    return handlings
