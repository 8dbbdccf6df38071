"""Knowledge of an office over time: history, features of the consignments, and outcomes from the time they are visible.

Arrivals come in the order of time. Before each one all results visible by then are counted, as the service does, so that
features contain only what was known. For example, with an inspection on 5 March and a result on 14 March, neither a
parcel of the 13th nor a model trained on the 14th at midnight uses the result.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import heappop, heappush
from itertools import compress

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.records import Alert, Consignment, Outcome
from consignments.tables import build_frame, to_records
from consignments.timestamps import NO_TIME, US_PER_DAY, get_time_column_us, to_us, to_us_if_known
from consignments.visibility import get_known_us, get_visible_us, is_final
from features.alerts.alerts import Alerts
from features.batch import BATCH_KEY, FeatureMatrix
from features.config import FeatureConfig
from features.fitted import FittedParameters, UnfittedRows
from features.history.live import LiveHistory, VisibleOutcome
from features.history.pseudonyms import Pseudonyms
from features.history.states import NO_SEQUENCE
from features.pipeline import Pipeline
from features.spec import Spec
from models.arrays import Bools, Ints, Rows
from models.fitting.baselines import RandomOrder
from training.data.training_set import select_current_outcomes

Keys = NDArray[np.uint64]
MINIMAL_COLUMNS = ("consignment_id", "channel", "received_at", "cancelled_at")
"""Columns that the trainer needs of consignments without features."""
PENDING = ("consignment_id", "selected_by", "selection_probability", "selected_at", "operation", "office")
"""What is known of a chosen consignment before its inspection."""
NO_ROWS = np.empty((0, 0), dtype=np.float32)
OUTCOME, CANCELLATION = range(2)  # kinds of event, in their order at equal times


@dataclass(frozen=True)
class ObservedState:
    """Everything known at a given time: the input of a trainer."""

    as_of: datetime
    consignments: pd.DataFrame  # earlier arrivals, with `MINIMAL_COLUMNS` and the cancellations known by then
    outcomes: pd.DataFrame  # as known by then; chosen consignments without a result are `pending`
    offered: Bools  # rows whose features were kept: the inspected ones and a random share
    features: "KeptFeatures"  # the source of features of a `Recipe`


@dataclass(frozen=True)
class KeptFeatures:
    """Consignments whose features were kept as they were on arrival; each fit computes its own columns again."""

    unfitted: FeatureMatrix
    records: Sequence[Consignment]

    def get_records(self, rows: Ints) -> list[Consignment]:
        """Return the consignments at some positions of the table."""
        return [self.records[place] for place in np.searchsorted(self.unfitted.rows, rows).tolist()]


class ObservedHistory:
    """Knowledge of one office, with the features of a share of arrivals (`background`) that identifier and seed alone decide."""

    def __init__(self, config: FeatureConfig, *, background: float, seed: int) -> None:
        self._config, self._background, self._seed = config, background, seed
        self._alerts: list[Alert] = []
        self.set_fitted(FittedParameters.create_empty())
        self._ledger = LiveHistory(self._pipeline.create_history())
        self._due: list[tuple[int, str, int, int, int, int, str]] = []
        self._outcomes: list[Outcome] = []
        self._frames: list[pd.DataFrame] = []
        self._arrived = 0
        self._places: list[int] = []
        self._records: list[Consignment] = []
        self._kept: list[Rows] = []
        self._last_first, self._last_records, self._last_X = 0, list[Consignment](), NO_ROWS

    @property
    def spec(self) -> Spec:
        """Specification of the features."""
        return self._pipeline.spec

    def set_fitted(self, fitted: FittedParameters) -> None:
        """Set the fitted parameters for the features of later arrivals."""
        self._pipeline = Pipeline(self._config, fitted, Pseudonyms(BATCH_KEY), Alerts(self._alerts))

    def add_arrivals(self, frame: pd.DataFrame, alerts: Iterable[Alert], wanted: Bools) -> Rows:
        """Add a day's consignments, later than all before, to the history, and compute the features of the wanted ones; others are NaN."""
        for alert in alerts:
            self._alerts.append(alert)
            self._pipeline.alerts.add(alert)
        cancelled_us = get_time_column_us(frame, "cancelled_at")
        declared = frame.drop(columns="cancelled_at")
        records = to_records(declared, self._config.build_record_type())
        X, keys, counterparts = self._describe(records, wanted)
        received_us = get_time_column_us(frame, "received_at").tolist()
        order = sorted(range(len(records)), key=lambda at: (received_us[at], records[at].consignment_id))
        for at in order:
            record, now = records[at], received_us[at]
            self._apply_events_until(now)
            out, issued_us = X[at] if wanted[at] else None, to_us_if_known(record.issued_at)
            given = keys[at], counterparts[at], out, issued_us
            self._ledger.record_arrival(record.consignment_id, now // US_PER_DAY, *given)
            self._schedule_cancellation(record.consignment_id, int(cancelled_us[at]), now)
        self._frames.append(frame[list(MINIMAL_COLUMNS)])
        self._last_first, self._last_records, self._last_X = self._arrived, records, X
        self._arrived += len(frame)
        return X

    def _describe(self, records: list[Consignment], wanted: Bools) -> tuple[Rows, Keys, Keys]:
        """Compute the features of the wanted records, and the keys of all."""
        X = np.full((len(records), len(self.spec)), np.nan, dtype=np.float32)
        keys, counterparts = np.zeros((2, len(records), len(self._pipeline.kinds)), dtype=np.uint64)
        described = X[wanted], keys[wanted], counterparts[wanted]
        self._pipeline.fill_rows(compress(records, wanted), *described)
        X[wanted], keys[wanted], counterparts[wanted] = described
        for row in np.flatnonzero(~wanted).tolist():
            self._pipeline.fill_keys(records[row], keys[row], counterparts[row])
        return X, keys, counterparts

    def is_background(self, consignment_ids: Sequence[str]) -> Bools:
        """Return whose features are kept, inspected or not."""
        drawn: Bools = RandomOrder(self._seed).compute_scores(NO_ROWS, consignment_ids) < self._background
        return drawn

    def keep_features(self, rows: Iterable[int]) -> None:
        """Keep the features of some of the last arrivals, for which they were computed."""
        for row in sorted(rows):
            self._places.append(self._last_first + row)
            self._records.append(self._last_records[row])
            self._kept.append(self._last_X[row].copy())

    def schedule_outcomes(self, outcomes: Iterable[Outcome]) -> None:
        """Schedule outcomes; each counts from the time it is visible."""
        for outcome in outcomes:
            self._outcomes.append(outcome)
            self._schedule_result(outcome)

    def _schedule_result(self, outcome: Outcome) -> None:
        event = (get_known_us(outcome), to_us_if_known(outcome.recorded_at), NO_SEQUENCE)
        result = outcome.result or "" if outcome.status == "inspected" else ""
        heappush(self._due, (get_visible_us(outcome), outcome.consignment_id, OUTCOME, *event, result))

    def get_state(self, as_of: datetime) -> ObservedState:
        """Return everything known at a given time, present or past."""
        us = to_us(as_of)
        frame = pd.concat(self._frames, ignore_index=True)
        # Days come in order, so these are the first.
        arrived = int((get_time_column_us(frame, "received_at") < us).sum())
        frame = frame.iloc[:arrived]
        frame = frame.assign(cancelled_at=frame["cancelled_at"].where(frame["cancelled_at"] <= as_of))
        kept = int(np.searchsorted(self._places, arrived))
        offered = np.zeros(arrived, dtype=bool)
        offered[self._places[:kept]] = True
        places = np.array(self._places[:kept], dtype=np.int64)
        X = np.array(self._kept[:kept], dtype=np.float32).view(UnfittedRows)
        features = KeptFeatures(FeatureMatrix(X, places, self.spec), self._records[:kept])
        outcomes = build_frame(select_outcomes_as_of(self._outcomes, as_of), Outcome)
        return ObservedState(as_of, frame, outcomes, offered, features)

    def _apply_events_until(self, now_us: int) -> None:
        """Apply the events visible by a given time; at equal times they come before arrivals."""
        while self._due and self._due[0][0] <= now_us:
            us, name, what, known, recorded, _, result = heappop(self._due)
            if what == OUTCOME:
                self._ledger.record_outcome(name, VisibleOutcome(us, known, recorded, None, result or None))
            else:
                self._ledger.cancel(name)

    def _schedule_cancellation(self, name: str, cancelled_us: int, received_us: int) -> None:
        if NO_TIME != cancelled_us <= received_us:
            self._ledger.cancel(name)
        elif cancelled_us != NO_TIME:
            heappush(self._due, (cancelled_us, name, CANCELLATION, 0, 0, 0, ""))


def select_outcomes_as_of(outcomes: Sequence[Outcome], as_of: datetime) -> list[Outcome]:
    """Select the outcomes visible at a given time; chosen consignments without a result are pending."""
    us = to_us(as_of)
    seen = [outcome for outcome in outcomes if get_visible_us(outcome) <= us]
    known, waiting = {outcome.consignment_id for outcome in seen}, dict[str, Outcome]()
    for outcome in outcomes:
        chosen = outcome.selected_at
        if outcome.consignment_id not in known and chosen is not None and to_us(chosen) <= us:
            kept = {name: getattr(outcome, name) for name in PENDING}
            waiting.setdefault(outcome.consignment_id, Outcome(**kept, status="inspected", result="pending"))
    return [*seen, *waiting.values()]


def select_final_results(outcomes: Iterable[Outcome]) -> dict[str, str]:
    """Return the last final result of each consignment; none if the laboratory never reported one."""
    frame = build_frame([*filter(is_final, outcomes)], Outcome)
    last = select_current_outcomes(frame, np.iinfo(np.int64).max)
    return dict(zip(last["consignment_id"], last["result"], strict=True))
