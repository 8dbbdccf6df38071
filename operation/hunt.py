"""Retro-hunt: what a new seizure, a warning or a changed result says of consignments that are in hand or have passed.

1 March  A arrives, is not selected and leaves
9 March  B arrives and is in hand
10 March a seizure is known whose sender's phone A and B share

A hunt on 10 March names A as passed and B as in hand. Each has the score that it had when it arrived, and the score that it would
have if it arrived now.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.errors import BadInput, UnknownName
from consignments.records import Consignment
from consignments.tables import to_alerts, to_consignments
from consignments.timestamps import to_us
from consignments.validation import SEQUENCE
from consignments.versions import select_counting_rows
from features.batch import Tables
from operation.hunting import (
    HUNT_DAYS,
    IN_HAND,
    IN_HAND_DAYS,
    NOT_INSPECTED,
    HuntMatcher,
    HuntTarget,
    build_consignment_target,
    count_shared,
)
from training.data.training_set import select_current_outcomes

HUNT_COLUMNS = (
    "consignment_id", "office", "received_at", "state", "shared", "score_then", "score_now", "rank_then", "rank_now",
)  # fmt: skip
ScoreRows = Callable[[Tables, NDArray[np.bool_], bool], NDArray[np.float64]]
"""Scores the marked rows of tables, each as of its arrival; True if they are second arrivals (`compute_feature_matrix`)."""


class HuntLimits(NamedTuple):
    """The time of a hunt and how far it goes back.

    Attributes
    ----------
    as_of : datetime
        What became known later does not count.
    days : int
        Consignments received at most this number of days before.
    in_hand_days : int
        A consignment without an outcome counts as in hand for this number of days, then as passed.
    """

    as_of: datetime
    days: int = HUNT_DAYS
    in_hand_days: int = IN_HAND_DAYS

    @property
    def begins(self) -> datetime:
        """Return the first moment that counts."""
        return self.as_of - timedelta(days=self.days)


@dataclass(frozen=True)
class Hunt:
    """The result of a hunt.

    Attributes
    ----------
    target : HuntTarget
    limits : HuntLimits
    hits : DataFrame
        `HUNT_COLUMNS`: consignments that share something with the target, in hand first, then the newest.
    in_hand : DataFrame
        `HUNT_COLUMNS`: all consignments in hand, the highest score of now first. Ranks are those of their office.
    """

    target: HuntTarget
    limits: HuntLimits
    hits: pd.DataFrame
    in_hand: pd.DataFrame

    def list_sentences(self) -> list[str]:
        """List one sentence for each kind of shared identifier, the most frequent first."""
        counts = count_shared(
            (shared.split(", "), state)
            for shared, state in zip(self.hits["shared"], self.hits["state"], strict=True)
        )
        return [
            f"{each.total} consignment{'s' if each.total > 1 else ''} of the last {self.limits.days} days "
            f"{'share' if each.total > 1 else 'shares'} its {each.name}; {each.passed} passed without an inspection"
            for each in counts
        ]

    def to_plain(self) -> dict[str, Any]:
        """Return all values as plain JSON types."""
        return {
            "target": self.target.name,
            "text": self.target.text,
            "as_of": self.limits.as_of.isoformat(),
            "days": self.limits.days,
            "sentences": self.list_sentences(),
            "hits": _to_rows(self.hits),
            "in_hand": _to_rows(self.in_hand),
        }


def find_consignment_target(tables: Tables, consignment_id: str, as_of: datetime) -> HuntTarget:
    """Build the target of a consignment, whatever its result is.

    Raises
    ------
    UnknownName
        If there is no such consignment by then.
    """
    frame = tables.consignments[select_counting_rows(tables.consignments, to_us(as_of))]
    mine = frame[frame["consignment_id"] == consignment_id]
    if not len(mine):
        raise UnknownName.from_candidates(
            consignment_id, frame["consignment_id"].tail(5000), kind="consignment"
        )
    [c] = to_consignments(mine, Consignment)
    result = _read_states(tables, as_of).get(consignment_id, "no result")
    return build_consignment_target(c, as_of, f"{consignment_id} ({result})")


def find_alert_target(tables: Tables, alert_id: str) -> HuntTarget:
    """Build the target of an alert of the alert table; `UnknownName` if there is none."""
    alerts = {} if tables.alerts is None else {each.alert_id: each for each in to_alerts(tables.alerts)}
    if alert_id not in alerts:
        raise UnknownName.from_candidates(alert_id, alerts, kind="alert")
    alert = alerts[alert_id]
    return HuntTarget(alert_id, f"{alert_id}: {alert.text}" if alert.text else alert_id, alert, None)


def hunt(tables: Tables, target: HuntTarget, limits: HuntLimits, score: ScoreRows | None = None) -> Hunt:
    """Find what shares something with a target, and rank again what is in hand.

    Parameters
    ----------
    tables : Tables
        Outcomes and alerts that became visible after `limits.as_of` are ignored.
    target : HuntTarget
    limits : HuntLimits
    score : callable, optional
        Without it there are no scores and ranks.

    Raises
    ------
    BadInput
        If no consignment was received in the period.
    """
    known = _select_known(tables, limits)
    frame = known.consignments
    received = frame["received_at"]
    others = (frame["consignment_id"] != target.name) & (received >= limits.begins)
    inside = others.to_numpy(bool) & select_counting_rows(frame)
    if not inside.any():
        raise BadInput(
            "no consignment was received in the period",
            where="--consignments",
            got=f"none from {limits.begins:%Y-%m-%d} to {limits.as_of:%Y-%m-%d}",
            expected="arrivals in this period, other than the target",
            todo="look further back with --days, or choose another --as-of",
        )
    found = frame[inside]
    states = _read_states(known, limits.as_of)
    fresh = found["received_at"] >= limits.as_of - timedelta(days=limits.in_hand_days)
    rows = pd.DataFrame(
        {
            "consignment_id": found["consignment_id"].to_numpy(),
            "office": found["office"].to_numpy() if "office" in found else None,
            "received_at": found["received_at"].to_numpy(),
            "state": [
                states.get(name, IN_HAND if is_fresh else NOT_INSPECTED)
                for name, is_fresh in zip(found["consignment_id"], fresh, strict=True)
            ],
            "shared": _find_shared(found, target, limits),
        }
    )
    wanted = ((rows["shared"] != "") | (rows["state"] == IN_HAND)).to_numpy(bool)
    rows = rows[wanted].reset_index(drop=True)
    keep = np.zeros(len(frame), dtype=bool)
    keep[np.flatnonzero(inside)[wanted]] = True
    rows["score_then"], rows["score_now"] = _score_twice(known, keep, limits, score)
    waiting = rows["state"] == IN_HAND
    for when in ("then", "now"):
        ranks = rows[waiting].groupby("office", dropna=False)[f"score_{when}"].rank("min", ascending=False)
        rows[f"rank_{when}"] = ranks.reindex(rows.index)
    return Hunt(target, limits, _order_hits(rows[rows["shared"] != ""]), _order_in_hand(rows[waiting]))


def _select_known(tables: Tables, limits: HuntLimits) -> Tables:
    """Drop what became known after the time of the hunt."""
    frame = tables.consignments
    alerts = tables.alerts
    return Tables(
        frame[frame["received_at"] < limits.as_of].reset_index(drop=True),
        tables.outcomes,
        None if alerts is None else alerts[alerts["issued_at"] <= limits.as_of],
    )


def _find_shared(found: pd.DataFrame, target: HuntTarget, limits: HuntLimits) -> list[str]:
    """Return for each consignment the names of what it shares with the target; '' for nothing."""
    matcher = HuntMatcher(target, limits.begins)
    return [
        ", ".join(map(_format_identifier, matcher.find_shared(c)))
        for c in to_consignments(found, Consignment)
    ]


def _format_identifier(name: str) -> str:
    side, _, kind = name.partition("_")
    return f"{side}'s {kind.replace('email', 'e-mail')}" if kind else name


def _read_states(tables: Tables, as_of: datetime) -> dict[str, str]:
    """Return the state of each consignment that has an outcome: its result, `pending`, or `missed`."""
    if tables.outcomes is None or not len(tables.outcomes):
        return {}
    current = select_current_outcomes(tables.outcomes, to_us(as_of))
    result = current["result"] if "result" in current else pd.Series(None, index=current.index, dtype=object)
    states = result.where(current["status"] == "inspected", "missed").fillna("pending")
    return dict(zip(current["consignment_id"], states.astype(str), strict=True))


def _score_twice(
    known: Tables, keep: NDArray[np.bool_], limits: HuntLimits, score: ScoreRows | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Score consignments as of their arrival, and each as if it arrived at the time of the hunt, while the others stay."""
    if score is None:
        nothing = np.full(int(keep.sum()), np.nan)
        return nothing, nothing
    again = _build_second_arrivals(known, keep, limits)
    is_second = np.arange(len(again.consignments)) >= len(known.consignments)
    return score(known, keep, False), score(again, is_second, True)


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
        from consignments.visibility import compute_visible_us

        outcomes = outcomes[compute_visible_us(outcomes) <= to_us(limits.as_of)]
    return Tables(pd.concat([frame, second], ignore_index=True), outcomes, known.alerts)


def _order_hits(rows: pd.DataFrame) -> pd.DataFrame:
    ordered = rows.assign(waiting=rows["state"] != IN_HAND).sort_values(
        ["waiting", "received_at"], ascending=[True, False], kind="stable"
    )
    return ordered[list(HUNT_COLUMNS)].reset_index(drop=True)


def _order_in_hand(rows: pd.DataFrame) -> pd.DataFrame:
    ordered = rows.sort_values(
        ["score_now", "received_at"], ascending=[False, False], kind="stable", na_position="last"
    )
    return ordered[list(HUNT_COLUMNS)].reset_index(drop=True)


def _to_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    def convert(value: Any) -> Any:
        if isinstance(value, pd.Timestamp):
            return value.isoformat()
        return None if value is None or value != value else value

    names: Sequence[str] = list(frame.columns)
    return [
        {name: convert(value) for name, value in zip(names, row, strict=True)}
        for row in frame.astype(object).itertuples(index=False)
    ]
