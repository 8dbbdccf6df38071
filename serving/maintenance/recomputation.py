"""Recomputation of a log's decisions in batch form, without any value that the live service computed.

Personal fields are decrypted, and history keys are computed from them again. History is folded in the order of the log, with
the alerts that were known at each entry.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from serving.event_log.event_codec import EventCodec, Keys, Row, decode_issued_us, decode_keys
from serving.event_log.events import ArrivalEvent, DecisionEvent, Event, Kind
from serving.event_log.reader import LogReader
from serving.scoring.loaded_model import ScoringMethod

OUTCOME_KINDS: tuple[Kind, ...] = ("outcome", "alert", "cancellation")
CHUNK_ARRIVALS = 4_096  # number of arrivals recomputed together; it affects only the use of memory
EXCLUDED_FROM_ORDER = ("plain", "sealed", "features", "reasons")
EXCLUDED_FROM_ROWS = ("reasons",)
MISSING_SEQUENCE = -1
UNREADABLE = "its fields do not match the columns of the model"
ModelId = str  # `NAME/VERSION`
Longs = NDArray[np.int64]


@dataclass
class LoggedHistory:
    """The events of a log up to an entry that history reads, in memory and in the order of the log, and what could not be read."""

    arrivals: ArrivalEvents
    outcomes: Outcomes
    alerts: Alerts
    unread: list[tuple[Event, str]]

    @classmethod
    def read(cls, log: LogReader, vault: Vault, until: int) -> "LoggedHistory":
        """Read the history of a log up to the sequence number `until`."""
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
        return cls(_read_arrivals(log, until, cancelled), named, Alerts(alerts.values(), alerts), unread)


def _read_arrivals(
    log: LogReader, until: int, cancelled: Mapping[str, Sequence[tuple[int, int]]]
) -> ArrivalEvents:
    """Read the consignments of a log as events of history, given the entries and times of cancellations by identifier."""
    names: list[Any] = []
    times: list[Longs] = [np.empty((0, 3), dtype=np.int64)]
    rows_of = defaultdict[str, list[int]](list)
    stream = enumerate(log.read_arrivals(until=until, without=EXCLUDED_FROM_ORDER))
    while chunk := list(islice(stream, CHUNK_ARRIVALS)):
        names.append(pa.array([event.consignment_id for _, event in chunk], TEXT))
        moments = [(event.sequence, event.at_us, decode_issued_us(event)) for _, event in chunk]
        times.append(np.array(moments, dtype=np.int64))
        for row, event in chunk:
            if event.consignment_id in cancelled:
                rows_of[event.consignment_id].append(row)
    sequence, received_us, issued_us = np.concatenate(times).T.copy()
    ids = pa.concat_arrays(names) if names else pa.array([], TEXT)
    cancelled_us = np.full(len(sequence), NO_TIME)
    cancelled_sequence = np.full(len(sequence), MISSING_SEQUENCE)
    for name, rows in rows_of.items():
        places = sequence[rows].tolist()
        # Of several cancellations after a version, the first one counts.
        for entry, us in reversed(cancelled[name]):
            version = bisect_left(places, entry) - 1
            if version >= 0:
                cancelled_us[rows[version]], cancelled_sequence[rows[version]] = us, entry
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
        is_early = self.from_us is not None and event.recorded_us < self.from_us
        is_late = self.until_us is not None and event.recorded_us >= self.until_us
        return not (is_early or is_late) and (not self.models or event.model in self.models)


class RecomputedDecision(NamedTuple):
    """A logged decision with its recomputed values."""

    logged: DecisionEvent
    features: Row
    keys: Keys
    counterparts: Keys
    score: float
    band: str


class RecomputedChunk(NamedTuple):
    """Some arrivals of a log in order, which of them were wanted, their decisions by model, and what cannot be read with the reasons."""

    events: Sequence[ArrivalEvent]
    wanted: Sequence[bool]
    decisions: list[RecomputedDecision]
    unread: list[tuple[Event, str]]


class Recomputation:
    """A recomputation of the decisions of a log by a group of bundles, from its history up to the entry `until`."""

    def __init__(
        self, log: LogReader, history: LoggedHistory, until: int, group: BundleGroup, vault: Vault
    ) -> None:
        self._log, self._until, self._group = log, until, group
        self.pipeline = next(iter(group.values()))[1]
        self.entries = EventCodec(vault, self.pipeline.config.build_record_type(), self.pipeline.kinds)
        self._fold = TableFold(history.arrivals, history.outcomes)
        self._history = self.pipeline.create_history()

    def run(self, is_wanted: Callable[[DecisionEvent], bool]) -> Iterator[RecomputedChunk]:
        """Recompute the wanted decisions, and yield the arrivals with them, some thousands at a time."""
        for events in read_chunks(self._log, self._until):
            wanted = [isinstance(event, DecisionEvent) and is_wanted(event) for event in events]
            yield self._recompute(events, wanted)

    def _recompute(self, events: Sequence[ArrivalEvent], wanted: Sequence[bool]) -> RecomputedChunk:
        """Recompute the wanted decisions among the next arrivals, and count all of them in history."""
        keys, counterparts = np.zeros((2, len(events), len(self.pipeline.kinds)), dtype=np.uint64)
        X = np.zeros((len(events), len(self.pipeline.spec)), dtype=np.float32)
        records, unread = self._decode(events)
        places_of = defaultdict[str, list[int]](list)
        decisions: dict[int, DecisionEvent] = {}
        for place, event in enumerate(events):
            if place in records and wanted[place] and isinstance(event, DecisionEvent):
                places_of[event.model_sha256].append(place)
                decisions[place] = event
            elif place in records:
                self.pipeline.fill_keys(records[place], keys[place], counterparts[place])
            elif event.kinds == self.entries.kinds:
                keys[place], counterparts[place] = decode_keys(event)
        out_rows = np.full(len(events), -1)
        for sha256, places in places_of.items():
            part = X[places], keys[places], counterparts[places]
            sequences = [decisions[place].sequence for place in places]
            self._group[sha256][1].fill_rows([records[place] for place in places], *part, sequences)
            X[places], keys[places], counterparts[places] = part
            out_rows[places] = places
        self._fold.process_arrivals(self._history, keys, counterparts, X, out_rows)
        found = []
        for sha256, places in places_of.items():
            judge = self._group[sha256][0].judge
            scores = judge.score(X[places], [records[place].channel for place in places])
            bands = judge.bands.assign_all(scores)
            for place, score, band in zip(places, scores.tolist(), bands, strict=True):
                values = X[place], keys[place], counterparts[place], score, band
                found.append(RecomputedDecision(decisions[place], *values))
        return RecomputedChunk(events, wanted, found, unread)

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
