"""Recomputation of a log's decisions in batch form, without any value that the live service computed.

Personal fields are decrypted, and history keys are computed from them again. History is folded in the order of the log, with
the alerts that were known at each entry.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
from serving.event_log.events import (
    AlertEvent,
    ArrivalEvent,
    CancellationEvent,
    DecisionEvent,
    Event,
    Kind,
    OutcomeEvent,
)
from serving.event_log.reader import LogReader
from serving.scoring.scoring_method import ScoringMethod

OUTCOME_KINDS: tuple[Kind, ...] = ("outcome", "alert", "cancellation")
CHUNK_ARRIVALS = 4_096
"""Number of arrivals recomputed together; it affects only the use of memory."""
EXCLUDED_FROM_ORDER = ("content", "plain", "sealed", "features", "reasons")
EXCLUDED_FROM_ROWS = ("content", "reasons")
MISSING_SEQUENCE = -1
UNREADABLE = "its fields do not match the columns of the model"
Longs = NDArray[np.int64]
Keys = NDArray[np.uint64]
Rows = NDArray[np.float32]


@dataclass
class OutcomeEvents:
    """The outcomes, alerts and cancellations of a log, which fit in memory.

    Attributes
    ----------
    outcomes : Outcomes
        Outcomes as events of history.
    alerts : Alerts
    cancelled : dict
        Cancellations as (sequence number, microseconds), in order, by identifier of the consignment.
    unread : list of (Event, str)
        Entries that could not be read, with the reason.
    """

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
                match event:
                    case OutcomeEvent():
                        outcomes[event.sequence] = entries.decode_outcome(event)
                    case AlertEvent():
                        alerts[event.sequence] = entries.decode_alert(event)
                    case CancellationEvent():
                        places = cancelled.setdefault(event.consignment_id, [])
                        places.append((event.sequence, event.at_us))
            except (ServiceFault, msgspec.MsgspecError) as error:
                unread.append((event, _reason(error)))
        frame = build_frame(list(outcomes.values()), Outcome).assign(**{SEQUENCE: list(outcomes)})
        events = build_outcome_events(frame)
        named = replace(events, identity=to_arrow_strings(events.consignment_id))
        return cls(named, Alerts(alerts.values(), alerts), cancelled, unread)


def read_arrivals(log: LogReader, until: int, outcomes: OutcomeEvents) -> ArrivalEvents:
    """Read the consignments of a log up to the sequence number `until` as events of history, in the order of the log.

    As in the service, they are identified by their names in the log: those of old entries are not in normal form.
    """
    names: list[Any] = []
    times: list[Longs] = [np.empty((0, 3), dtype=np.int64)]
    stream = log.read_arrivals(until=until, without=EXCLUDED_FROM_ORDER)
    while events := list(islice(stream, CHUNK_ARRIVALS)):
        names.append(pa.array([event.consignment_id for event in events], TEXT))
        moments = [(event.sequence, event.at_us, decode_issued_us(event)) for event in events]
        times.append(np.array(moments, dtype=np.int64))
    sequence, received_us, issued_us = np.concatenate(times).T.copy()
    ids = pa.concat_arrays(names) if names else pa.array([], TEXT)
    cancelled_us = np.full(len(sequence), NO_TIME)
    cancelled_sequence = np.full(len(sequence), MISSING_SEQUENCE)
    for name, rows in _find_rows(ids, list(outcomes.cancelled)).items():
        places = sequence[rows].tolist()
        for cancelled, us in reversed(
            outcomes.cancelled[name]
        ):  # of several cancellations after a version, the first one counts
            version = bisect_left(places, cancelled) - 1
            if version >= 0:
                cancelled_us[rows[version]], cancelled_sequence[rows[version]] = us, cancelled
    return ArrivalEvents(ids, received_us, cancelled_us, sequence, cancelled_sequence, issued_us, ids)


def _find_rows(ids: Any, names: list[str]) -> dict[str, list[int]]:
    """Find the rows of some consignments, in order."""
    found: dict[str, list[int]] = {}
    rows = np.flatnonzero(pc.is_in(ids, value_set=pa.array(names, TEXT)).to_numpy(zero_copy_only=False))
    for row, name in zip(rows.tolist(), ids.take(pa.array(rows)).to_pylist(), strict=True):
        found.setdefault(name, []).append(row)
    return found


class MethodPipeline(NamedTuple):
    """A scoring method with its pipeline."""

    method: ScoringMethod
    pipeline: Pipeline


BundleGroup = dict[str, MethodPipeline]
"""Methods with the same configuration, and so with the same features and history keys, by digest; never empty."""


class RecomputedChunk(NamedTuple):
    """A chunk of recomputed arrivals.

    Attributes
    ----------
    keys, counterparts : uint64 array, (n, kinds)
        History keys of all arrivals, from the decrypted fields; as logged if an entry cannot be read or has no content.
    kinds : str
        Digest of the kinds of keys.
    decisions : list of DecisionEvent, (m,)
        Decisions whose features were wanted.
    places : list of int, (m,)
        Places of these decisions among all arrivals.
    X : float32 array, (m, features)
    channels : list of str, (m,)
    unread : list of (Event, str)
        Arrivals that cannot be read, with the reason.
    """

    keys: Keys
    counterparts: Keys
    kinds: str
    decisions: list[DecisionEvent]
    places: list[int]
    X: Rows
    channels: list[str]
    unread: list[tuple[Event, str]]


class Recomputation:
    """A recomputation of the decisions of a group of bundles.

    Parameters
    ----------
    family : BundleGroup
    outcomes : OutcomeEvents
    arrivals : ArrivalEvents
        All arrivals of the log that `recompute` gets.
    vault : Vault

    Attributes
    ----------
    pipeline : Pipeline
        Pipeline of one of the bundles; features and history keys are the same for all.
    """

    def __init__(
        self, family: BundleGroup, outcomes: OutcomeEvents, arrivals: ArrivalEvents, vault: Vault
    ) -> None:
        self._family = family
        self.pipeline = next(iter(family.values())).pipeline
        self._entries = EventCodec(vault, self.pipeline.config.build_record_type(), self.pipeline.kinds)
        self._fold, self._history = TableFold(arrivals, outcomes.outcomes), self.pipeline.create_history()

    def recompute(self, events: list[ArrivalEvent], wanted: NDArray[np.bool_]) -> RecomputedChunk:
        """Recompute the next arrivals.

        Parameters
        ----------
        events : list of ArrivalEvent, (n,)
        wanted : bool array, (n,)
            Decisions of this group whose features are wanted; the other arrivals only join the history.
        """
        shape = len(events), len(self.pipeline.kinds)
        piece = RecomputedChunk(
            keys=np.zeros(shape, dtype=np.uint64),
            counterparts=np.zeros(shape, dtype=np.uint64),
            kinds=self._entries.kinds,
            decisions=[],
            places=[],
            X=np.zeros((int(wanted.sum()), len(self.pipeline.spec)), dtype=np.float32),
            channels=[],
            unread=[],
        )
        for place, event in enumerate(events):
            if event.redacted and event.kinds == self._entries.kinds:
                piece.keys[place], piece.counterparts[place] = decode_keys(event)
                continue
            try:
                c = self._entries.decode_consignment(event)
            except (ServiceFault, msgspec.MsgspecError) as error:
                piece.unread.append((event, _reason(error)))
                if event.kinds == self._entries.kinds:
                    piece.keys[place], piece.counterparts[place] = decode_keys(event)
                continue
            self._describe(piece, place, event, c, wanted=bool(wanted[place]))
        out_rows = np.full(len(events), -1)
        out_rows[piece.places] = np.arange(len(piece.places))
        self._fold.process_arrivals(self._history, piece.keys, piece.counterparts, piece.X, out_rows)
        return piece

    def _describe(
        self, piece: RecomputedChunk, place: int, event: ArrivalEvent, c: Consignment, *, wanted: bool
    ) -> None:
        """Write the history keys of an arrival and, if it is wanted, all its features except those of history."""
        keys, counterparts = piece.keys[place], piece.counterparts[place]
        if not wanted or not isinstance(event, DecisionEvent):
            self.pipeline.fill_keys(c, keys, counterparts)
            return
        row = piece.X[len(piece.decisions)]
        pipeline = self._family[event.model_sha256].pipeline
        pipeline.fill_rows([c], row[None], keys[None], counterparts[None], [event.sequence])
        piece.decisions.append(event)
        piece.places.append(place)
        piece.channels.append(c.channel)


def _reason(error: Exception) -> str:
    return error.what if isinstance(error, ServiceFault) else UNREADABLE


def read_chunks(log: LogReader, until: int) -> Iterator[list[ArrivalEvent]]:
    """Read the arrivals of a log up to the sequence number `until`, some thousands at a time."""
    stream = log.read_arrivals(until=until, without=EXCLUDED_FROM_ROWS)
    while events := list(islice(stream, CHUNK_ARRIVALS)):
        yield events
