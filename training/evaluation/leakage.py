"""Leakage checks: four tests of whether later data leaked into a model or its metrics, on the rows of the evaluation."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from consignments.records import Consignment, get_fields
from consignments.timestamps import get_time_column_us, to_datetime, to_us
from consignments.validation import CANCELLED_SEQUENCE, SEQUENCE
from consignments.visibility import FINAL_RESULTS, compute_visible_us
from features.batch import ComputeOptions, FeatureMatrix, FeatureParameters, get_sequence
from features.streams import FeatureInputs, SelectedRows, stream_features
from models.arrays import Bools, Floats, Ints, Row, Rows
from models.formats import format_count
from models.reasons.texts import name_feature

PROBE_ROWS = 1000  # maximum rows of the test period that are recomputed from tables cut at their time
MIN_POSITIVES = 5  # with fewer positives a column may rank them well by chance
MAX_COMPARED_ROWS = 20_000  # maximum inspected rows for the comparison of columns with results
CONFIDENCE = 1.96  # standard errors below the value at the lower end of a 95 % interval

BOUNDS = {
    "features changed by later data": 0.0,
    "results known on arrival": 0.01,
    "one column predicts the result": 0.98,
    "filled only for inspected": 0.5,
}
"""Check to the largest value without leakage: shares of rows, then areas and differences."""
LATER_CHANGES, EARLY_RESULTS, PREDICTIVE_COLUMN, FILLED_COLUMN = BOUNDS


def get_inputs_as_of(
    inputs: FeatureInputs, cut_us: int, last: int | None = None
) -> tuple[FeatureInputs, Bools]:
    """Return the tables as they were at a time, arrivals and results of that time included; `last`: its position in a log."""
    frame, outcomes, alerts = inputs.consignments.take_order(), inputs.outcomes, inputs.alerts
    kept = _select_until(frame, get_time_column_us(frame, "received_at"), cut_us, last)
    seen = frame[kept]
    if "cancelled_at" in seen:
        withdrawn = get_time_column_us(seen, "cancelled_at") <= cut_us
        if last is not None and CANCELLED_SEQUENCE in seen:
            place = seen[CANCELLED_SEQUENCE].fillna(-1).to_numpy(np.int64)
            withdrawn = np.where(place < 0, withdrawn, place <= last)
        seen = seen.assign(cancelled_at=seen["cancelled_at"].where(withdrawn))
    if outcomes is not None:
        outcomes = outcomes[_select_until(outcomes, compute_visible_us(outcomes), cut_us, last)]
    if alerts is not None:
        alerts = alerts[_select_until(alerts, get_time_column_us(alerts, "issued_at"), cut_us, last)]
    # The cut already hides later data, so no date is set.
    return FeatureInputs(SelectedRows(inputs.consignments, seen, kept), (), outcomes, alerts), kept


def _select_until(frame: pd.DataFrame, moment_us: Ints, cut_us: int, last: int | None) -> Bools:
    place = get_sequence(frame)
    there: Bools = moment_us <= cut_us
    return there if place is None or last is None else place <= last


def check_later_changes(
    inputs: FeatureInputs,
    rows: Ints,
    look_up: Callable[[Ints], Rows],
    parameters: FeatureParameters,
    options: ComputeOptions | None = None,
) -> Row:
    """Recompute some of the given rows from tables cut at the time of the last of them; `look_up` returns their features, which must be equal bit for bit."""
    frame, options = inputs.consignments.take_order(), options or ComputeOptions()
    place = get_sequence(frame) if inputs.outcomes is None or SEQUENCE in inputs.outcomes else None
    received = get_time_column_us(frame, "received_at")
    order = np.argsort((received if place is None else place)[rows], kind="stable")
    probes = np.sort(order[: len(order) // 2 + 1][-PROBE_ROWS:])
    last = rows[order[len(order) // 2]]
    cut_us = int(received[last])
    known, kept = get_inputs_as_of(inputs, cut_us, None if place is None else int(place[last]))
    wanted = np.zeros(len(frame), dtype=bool)
    wanted[rows[probes]] = True

    def report(what: str, done: int, total: int) -> None:
        if options.progress is not None and what in ("features", "history"):
            options.progress("checking for leakage", done, total)

    renamed = replace(options, progress=report)
    chunks = stream_features(known, parameters, options=renamed, wanted=wanted[kept])
    again = np.concatenate([chunk.X for chunk in chunks]).view(np.uint32)
    differs = again != np.ascontiguousarray(look_up(probes)).view(np.uint32)
    where = f"tables cut at {to_datetime(cut_us):%Y-%m-%d %H:%M}"
    if differs.any():
        where = name_feature(parameters.build_pipeline().spec.features[int(differs.sum(axis=0).argmax())])
    return _build_row(LATER_CHANGES, float(differs.any(axis=1).mean()), len(probes), where)


def check_early_results(frame: pd.DataFrame, outcomes: pd.DataFrame, as_of: datetime) -> Row:
    """Check how many of the results visible at a date were visible when their consignment arrived, or before."""
    outcomes = outcomes[compute_visible_us(outcomes) <= to_us(as_of)]
    inspected = frame["consignment_id"].isin(outcomes["consignment_id"]).to_numpy(dtype=bool)
    ids = frame["consignment_id"].to_numpy()[inspected]
    received = pd.Series(get_time_column_us(frame, "received_at")[inspected]).groupby(ids)
    mine = received.min().reindex(outcomes["consignment_id"])
    final = (outcomes["status"] == "inspected") & outcomes["result"].isin(FINAL_RESULTS)
    known = final.to_numpy(dtype=bool, na_value=False) & mine.notna().to_numpy()
    early = compute_visible_us(outcomes)[known] <= mine.to_numpy()[known]
    first = outcomes["consignment_id"].to_numpy()[known][early]
    share = float(early.mean()) if known.any() else np.nan
    return _build_row(EARLY_RESULTS, share, int(known.sum()), *first[:1])


def check_predictive_column(inspected: FeatureMatrix, positives: Bools) -> Row:
    """Find the column that alone best separates positives from other results; a missing value ranks first or last."""
    finds, others = np.flatnonzero(positives), np.flatnonzero(~positives)
    if min(len(finds), len(others)) < MIN_POSITIVES:
        return _build_row(PREDICTIVE_COLUMN, np.nan, len(positives), format_count(len(finds), "positive"))
    room = max(MAX_COMPARED_ROWS - len(finds), MIN_POSITIVES)
    rows = np.concatenate([finds, others[:: -(-len(others) // room)]])
    positive = np.arange(len(rows)) < len(finds)
    forms = [np.nan_to_num(inspected.X[rows], nan=end, posinf=end, neginf=-end) for end in (3e38, -3e38)]
    areas = np.array([_compute_areas(form, positive) for form in forms])
    form, column = np.unravel_index(np.abs(areas - 0.5).argmax(), areas.shape)
    score = forms[form][:, column].astype(np.float64) * np.sign(areas[form, column] - 0.5)
    # The lower end of the area, from the share of the others below each find.
    sides = [np.searchsorted(np.sort(score[~positive]), score[positive], side) for side in ("left", "right")]
    below = (sides[0] + sides[1]) / (2 * int((~positive).sum()))
    low = float(below.mean() - CONFIDENCE * below.std(ddof=1) / np.sqrt(len(below)))
    return _build_row(PREDICTIVE_COLUMN, low, len(rows), name_feature(inspected.spec.features[column]))


def _compute_areas(X: Rows, positive: Bools) -> Floats:
    finds, others = int(positive.sum()), int((~positive).sum())
    ranks = rankdata(X, axis=0)[positive].sum(axis=0)
    return np.asarray((ranks - finds * (finds + 1) / 2) / (finds * others))


def check_filled_columns(frame: pd.DataFrame, opened: Bools, record: type[Consignment]) -> Row:
    """Find the column whose filled share differs most between inspected and other consignments of a channel, by its lower end."""
    names = [field.name for field in get_fields(record) if not field.required and field.name in frame]
    names = [name for name in names if name != "cancelled_at"]
    filled = frame[names].notna().to_numpy()
    worst, where = -1.0, ""
    for channel in sorted(set(frame["channel"])):
        mine = (frame["channel"] == channel).to_numpy()
        few = min(int((mine & opened).sum()), int((mine & ~opened).sum()))
        if few and names:
            gap = np.abs(filled[mine & opened].mean(axis=0) - filled[mine & ~opened].mean(axis=0))
            low = float(gap.max() - 1 / np.sqrt(few))  # two standard errors at their maximum
            if low > worst:
                worst, where = low, f"{names[int(gap.argmax())]} in {channel}".replace("_", " ")
    return _build_row(FILLED_COLUMN, max(worst, 0.0), int(opened.sum()), where)


def _build_row(look: str, found: float, rows: int, where: str = "") -> Row:
    return {"look": look, "found": found, "bound": BOUNDS[look], "rows": rows, "where": where}
