"""Recomputation of a log's decisions in batch form, without any value that the live service computed.

Personal fields are decrypted, and history keys are computed from them again. History is folded in the order of the log, with
the alerts that were known at each entry.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from consignments.columns import TEXT
from consignments.errors import ServiceFault
from consignments.records import Alert, Consignment, Outcome
from consignments.tables import build_frame
from consignments.timestamps import NO_TIME
from consignments.validation import SEQUENCE
from features.alerts.alerts import Alerts
from features.batch import build_outcome_events
from features.history.ordering import ArrivalEvents, Outcomes, to_arrow_strings
from features.history.table_fold import TableFold
from features.pipeline import Pipeline
from serving.encryption.vault import Vault
from serving.event_log.event_codec import EventCodec, decode_issued_us, decode_keys
from serving.event_log.events import ArrivalEvent, DecisionEvent, Event, Kind
from serving.event_log.reader import LogReader
from serving.scoring.loaded_model import ScoringMethod

OUTCOME_KINDS: tuple[Kind, ...] = ("outcome", "alert", "cancellation")
CHUNK_ARRIVALS = 4_096
"""Number of arrivals recomputed together; it affects only the use of memory."""
EXCLUDED_FROM_ORDER = ("plain", "sealed", "features", "reasons")
EXCLUDED_FROM_ROWS = ("reasons",)
MISSING_SEQUENCE = -1
UNREADABLE = "its fields do not match the columns of the model"
ModelId = str
"""`NAME/VERSION`."""
Longs = NDArray[np.int64]
Keys = NDArray[np.uint64]
Row = NDArray[np.float32]


@dataclass
class OutcomeEvents:
    """The outcomes, alerts and cancellations of a log in memory, by identifier, and the entries that could not be read."""

    outcomes: Outcomes
    alerts: Alerts
    cancelled: dict[str, list[tuple[int, int]]]
    unread: list[tuple[Event, str]]

    @classmethod
    def read(cls, log: LogReader, vault: Vault, until: int) -> "OutcomeEvents":
        """Read the events of a log up to the sequence number `until`."""
        entries = EventCodec(vault, Consignment, ())
        outcomes: dict[int, Outcome] = {}
        alerts: dict[int, Alert] = {}
        cancelled: dict[str, list[tuple[int, int]]] = {}
        unread: list[tuple[Event, str]] = []
        for event in log.read_events(until=until, kinds=OUTCOME_KINDS):
            try:
                if event.kind == "outcome":
                    outcomes[event.sequence] = entries.outcomes.decode(event)
                elif event.kind == "alert":
                    alerts[event.sequence] = entries.alerts.decode(event)
                elif event.kind == "cancellation":
                    cancelled.setdefault(event.consignment_id, []).append((event.sequence, event.at_us))
            except (ServiceFault, msgspec.MsgspecError) as error:
                unread.append((event, _reason(error)))
        frame = build_frame(list(outcomes.values()), Outcome).assign(**{SEQUENCE: list(outcomes)})
        events = build_outcome_events(frame)
        named = replace(events, identity=to_arrow_strings(events.consignment_id))
        return cls(named, Alerts(alerts.values(), alerts), cancelled, unread)


def read_arrivals(log: LogReader, until: int, outcomes: OutcomeEvents) -> ArrivalEvents:
    """Read the consignments of a log up to the sequence number `until` as events of history, in the order of the log."""
    names: list[Any] = []
    times: list[Longs] = [np.empty((0, 3), dtype=np.int64)]
    rows_of = defaultdict[str, list[int]](list)
    stream = enumerate(log.read_arrivals(until=until, without=EXCLUDED_FROM_ORDER))
    while chunk := list(islice(stream, CHUNK_ARRIVALS)):
        names.append(pa.array([event.consignment_id for _, event in chunk], TEXT))
        moments = [(event.sequence, event.at_us, decode_issued_us(event)) for _, event in chunk]
        times.append(np.array(moments, dtype=np.int64))
        for row, event in chunk:
            if event.consignment_id in outcomes.cancelled:
                rows_of[event.consignment_id].append(row)
    sequence, received_us, issued_us = np.concatenate(times).T.copy()
    ids = pa.concat_arrays(names) if names else pa.array([], TEXT)
    cancelled_us = np.full(len(sequence), NO_TIME)
    cancelled_sequence = np.full(len(sequence), MISSING_SEQUENCE)
    for name, rows in rows_of.items():
        places = sequence[rows].tolist()
        # Of several cancellations after a version, the first one counts.
        for cancelled, us in reversed(outcomes.cancelled[name]):
            version = bisect_left(places, cancelled) - 1
            if version >= 0:
                cancelled_us[rows[version]], cancelled_sequence[rows[version]] = us, cancelled
    return ArrivalEvents(ids, received_us, cancelled_us, sequence, cancelled_sequence, issued_us, ids)


BundleGroup = dict[str, tuple[ScoringMethod, Pipeline]]
"""Methods with the same configuration, and so with the same features and history keys, with their pipelines by digest; never empty."""


class DecisionFilter(NamedTuple):
    """A filter of the decisions to compare, by the time of scoring in microseconds and by models, all if empty."""

    from_us: int | None = None
    until_us: int | None = None
    models: tuple[ModelId, ...] = ()

    def matches(self, event: DecisionEvent) -> bool:
        """Check whether a decision passes the filter."""
        if self.models and event.model not in self.models:
            return False
        scored_us = event.recorded_us
        return (self.from_us is None or scored_us >= self.from_us) and (
            self.until_us is None or scored_us < self.until_us
        )


class RecomputedDecision(NamedTuple):
    """A logged decision with its recomputed values."""

    logged: DecisionEvent
    features: Row
    keys: Keys
    counterparts: Keys
    score: float
    band: str


class Recomputation:
    """A recomputation of the decisions of a group of bundles; `arrivals` are those of the log that `recompute` gets."""

    def __init__(
        self, group: BundleGroup, outcomes: OutcomeEvents, arrivals: ArrivalEvents, vault: Vault
    ) -> None:
        self._group = group
        self.pipeline = next(iter(group.values()))[1]
        self.entries = EventCodec(vault, self.pipeline.config.build_record_type(), self.pipeline.kinds)
        self._fold, self._history = TableFold(arrivals, outcomes.outcomes), self.pipeline.create_history()

    def recompute(
        self, events: Sequence[ArrivalEvent], wanted: Sequence[bool]
    ) -> tuple[list[RecomputedDecision], list[tuple[Event, str]]]:
        """Recompute the wanted decisions among the next arrivals; return them, and what cannot be read with the reasons."""
        keys, counterparts = np.zeros((2, len(events), len(self.pipeline.kinds)), dtype=np.uint64)
        records, unread = self._decode(events)
        rows_of: dict[str, list[int]] = {}
        decisions: dict[int, DecisionEvent] = {}
        for place, event in enumerate(events):
            if place in records and wanted[place]:
                assert isinstance(event, DecisionEvent)
                rows_of.setdefault(event.model_sha256, []).append(len(decisions))
                decisions[place] = event
            elif place in records:
                self.pipeline.fill_keys(records[place], keys[place], counterparts[place])
            elif event.kinds == self.entries.kinds:
                keys[place], counterparts[place] = decode_keys(event)
        places = np.array(list(decisions), dtype=np.int64)
        X = np.zeros((len(places), len(self.pipeline.spec)), dtype=np.float32)
        for sha256, rows in rows_of.items():
            mine = places[rows]
            part = X[rows], keys[mine], counterparts[mine]
            consignments = [records[place] for place in mine.tolist()]
            self._group[sha256][1].fill_rows(
                consignments, *part, [events[place].sequence for place in mine.tolist()]
            )
            X[rows], keys[mine], counterparts[mine] = part
        out_rows = np.full(len(events), -1)
        out_rows[places] = np.arange(len(places))
        self._fold.process_arrivals(self._history, keys, counterparts, X, out_rows)
        found = []
        for sha256, rows in rows_of.items():
            judge, mine = self._group[sha256][0].judge, places[rows].tolist()
            scores = judge.score(X[rows], [records[place].channel for place in mine])
            for row, place, score, band in zip(
                rows, mine, scores.tolist(), judge.bands.assign_all(scores), strict=True
            ):
                found.append(
                    RecomputedDecision(
                        decisions[place], X[row], keys[place], counterparts[place], score, band
                    )
                )
        return found, unread

    def _decode(
        self, events: Sequence[ArrivalEvent]
    ) -> tuple[dict[int, Consignment], list[tuple[Event, str]]]:
        """Decode the consignments of some arrivals by their places; those without content have their keys in the log."""
        records: dict[int, Consignment] = {}
        unread: list[tuple[Event, str]] = []
        for place, event in enumerate(events):
            if event.redacted and event.kinds == self.entries.kinds:
                continue
            try:
                records[place] = self.entries.decode_consignment(event)
            except (ServiceFault, msgspec.MsgspecError) as error:
                unread.append((event, _reason(error)))
        return records, unread


def _reason(error: Exception) -> str:
    return error.what if isinstance(error, ServiceFault) else UNREADABLE


def read_chunks(log: LogReader, until: int) -> Iterator[list[ArrivalEvent]]:
    """Read the arrivals of a log up to the sequence number `until`, some thousands at a time."""
    stream = log.read_arrivals(until=until, without=EXCLUDED_FROM_ROWS)
    while events := list(islice(stream, CHUNK_ARRIVALS)):
        yield events
