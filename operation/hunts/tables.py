"""Hunt in tables."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.errors import BadInput, UnknownName
from consignments.records import Alert, Consignment
from consignments.tables import to_records
from consignments.timestamps import to_us
from consignments.validation import SEQUENCE
from consignments.versions import select_counting_rows
from consignments.visibility import compute_visible_us
from features.batch import Tables
from operation.hunts.hunt import Found, Hunt, HuntLimits, HuntRow, HuntTarget, build_consignment_target, hunt
from training.data.training_set import select_current_outcomes

ScoreRows = Callable[[Tables, NDArray[np.bool_], bool], NDArray[np.float64]]
"""Scores the marked rows of tables, each as of its arrival; True if they are second arrivals (`compute_feature_matrix`)."""


def find_consignment_target(tables: Tables, consignment_id: str, limits: HuntLimits) -> HuntTarget:
    """Build the target of a consignment, whatever its result is; `UnknownName` if there is none by then."""
    frame = tables.consignments[select_counting_rows(tables.consignments, to_us(limits.as_of))]
    mine = frame[frame["consignment_id"] == consignment_id]
    if not len(mine):
        known = frame["consignment_id"].tail(5000)
        raise UnknownName.from_candidates(consignment_id, known, kind="consignment")
    [c] = to_records(mine, Consignment)
    result = _read_results(tables, limits).get(consignment_id, "no result")
    return build_consignment_target(c, limits.as_of, f"{consignment_id} ({result})")


def find_alert_target(tables: Tables, alert_id: str) -> HuntTarget:
    """Build the target of an alert of the alert table; `UnknownName` if there is none."""
    alerts = (
        {} if tables.alerts is None else {each.alert_id: each for each in to_records(tables.alerts, Alert)}
    )
    if alert_id not in alerts:
        raise UnknownName.from_candidates(alert_id, alerts, kind="alert")
    alert = alerts[alert_id]
    return HuntTarget(alert_id, f"{alert_id}: {alert.text}" if alert.text else alert_id, alert, None)


def hunt_tables(
    tables: Tables, target: HuntTarget, limits: HuntLimits, score: ScoreRows | None = None
) -> Hunt:
    """Find in tables what shares something with a target, as of the time of the hunt; `score` is optional."""
    frame, alerts = tables.consignments, tables.alerts
    frame = frame[frame["received_at"] < limits.as_of].reset_index(drop=True)
    alerts = None if alerts is None else alerts[alerts["issued_at"] <= limits.as_of]
    known = Tables(frame, tables.outcomes, alerts)
    others = (frame["consignment_id"] != target.name) & (frame["received_at"] >= limits.begins)
    inside = np.flatnonzero(others.to_numpy(bool) & select_counting_rows(frame))
    if not len(inside):
        raise BadInput(
            "no consignment was received in the period",
            where="--consignments",
            got=f"none from {limits.begins:%Y-%m-%d} to {limits.as_of:%Y-%m-%d}",
            expected="arrivals in this period, other than the target",
            todo="look further back with --days, or choose another --as-of",
        )
    results = _read_results(known, limits)
    arrivals = []
    for c in to_records(frame.iloc[inside], Consignment):
        assert c.received_at is not None
        state = limits.find_state(results.get(c.consignment_id), c.received_at)
        arrivals.append((HuntRow(c.consignment_id, c.consignment_id, c.office, c.received_at, state), c))
    places = {row.consignment_id: place for place, (row, _) in zip(inside.tolist(), arrivals, strict=True)}

    def rescore(found: list[Found]) -> tuple[list[HuntRow], str]:
        rows = [row for row, _ in found]
        if score is None or not rows:
            return rows, ""
        keep = np.zeros(len(frame), dtype=bool)
        keep[[places[row.consignment_id] for row in rows]] = True
        again = _build_second_arrivals(known, keep, limits)
        is_second = np.arange(len(again.consignments)) >= len(frame)
        scores = zip(score(known, keep, False).tolist(), score(again, is_second, True).tolist(), strict=True)
        ordered = sorted(rows, key=lambda row: places[row.consignment_id])
        return [
            row._replace(score_then=then, score_now=now)
            for row, (then, now) in zip(ordered, scores, strict=True)
        ], ""

    return hunt(target, limits, arrivals, rescore)


def _read_results(tables: Tables, limits: HuntLimits) -> dict[str, str]:
    """Return the result of each consignment that has an outcome: `pending` and `missed` too."""
    if tables.outcomes is None or not len(tables.outcomes):
        return {}
    current = select_current_outcomes(tables.outcomes, to_us(limits.as_of))
    result = current.reindex(columns=["result"])["result"].astype(object)
    states = result.where(current["status"] == "inspected", "missed").fillna("pending")
    return dict(zip(current["consignment_id"], states.astype(str), strict=True))


def _build_second_arrivals(known: Tables, keep: NDArray[np.bool_], limits: HuntLimits) -> Tables:
    """Append the kept consignments again, received at the time of the hunt, after all that was known by then."""
    frame, outcomes = known.consignments, known.outcomes
    second = frame[keep].copy()
    for name, time in (("received_at", pd.Timestamp(limits.as_of)), ("cancelled_at", pd.NaT)):
        if name in frame:
            second[name] = pd.Series(time, second.index, frame[name].dtype)
    if SEQUENCE in frame:
        ends = [
            each[SEQUENCE].max()
            for each in (frame, outcomes, known.alerts)
            if each is not None and SEQUENCE in each and len(each)
        ]
        second[SEQUENCE] = int(max(ends)) + 1 + np.arange(len(second))
    if outcomes is not None:
        outcomes = outcomes[compute_visible_us(outcomes) <= to_us(limits.as_of)]
    return Tables(pd.concat([frame, second], ignore_index=True), outcomes, known.alerts)
