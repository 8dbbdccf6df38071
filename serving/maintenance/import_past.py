"""Past tables become history of the log: entries without decisions, in the order of history; doing it twice adds nothing.

They are written before or beside what the service saw; each consignment that is scored later sees them. Personal fields
are encrypted and keys of history are pseudonyms, as for what comes in live.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import structlog
from msgspec import structs
from numpy.typing import NDArray

from consignments.errors import BadInput
from consignments.records import Alert, Consignment, Outcome
from consignments.timestamps import to_us
from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.history.ordering import (
    ARRIVAL,
    CANCELLATION,
    OUTCOME,
    ArrivalEvents,
    HistoryEvents,
    Outcomes,
    order_events,
)
from features.history.pseudonyms import Pseudonyms, load_data_key
from features.pipeline import Pipeline
from models.bundle import load_bundle
from serving.deployment.releases import BUNDLE_FOLDER, find_release_folder
from serving.encryption.vault import Vault
from serving.event_log.event_codec import EventCodec, EventOrigin
from serving.event_log.events import Event
from serving.event_log.log import EventLog
from serving.event_log.reader import Progress
from serving.process.clock import read_clock_us
from serving.process.settings import Settings
from serving.process.state_directory import StateLock
from serving.scoring.intake import (
    FieldError,
    check_alert,
    check_arrival,
    check_outcome,
)

if TYPE_CHECKING:
    from features.batch import Tables

IMPORT = "import"
"""Stands in the log as `asked_by`."""
CHUNK_ENTRIES = 5_000
EXCLUDED_COLUMNS = ("plain", "sealed", "keys", "features", "reasons")
MAX_LOGGED_REFUSALS = 10
ALERT = max(OUTCOME, CANCELLATION, ARRIVAL) + 1
Longs = NDArray[np.int64]
logger = structlog.get_logger("npsrisk")


@dataclass(frozen=True)
class PastEvents:
    """What is imported.

    Attributes
    ----------
    arrivals : ArrivalEvents
    outcomes : Outcomes
    alerts : list of Alert
    alert_sequence : int64 array or None
        Place in the log where the table has one.
    consignments_at, outcomes_at : callable
        Give the records of some rows of `arrivals` and `outcomes`.
    """

    arrivals: ArrivalEvents
    outcomes: Outcomes
    alerts: Sequence[Alert]
    alert_sequence: Longs | None
    consignments_at: Callable[[Longs], Sequence[Consignment]]
    outcomes_at: Callable[[Longs], Sequence[Outcome]]


class ImportCounts(NamedTuple):
    """Entries that were added, rows that were known already, and rows that were refused."""

    consignments: int
    outcomes: int
    alerts: int
    cancellations: int
    known: int
    refused: int


ReadTables = Callable[[type[Consignment]], "Tables"]
"""Reads tables with the record type of a model; columns it does not declare are dropped."""


def import_tables(read: ReadTables, settings: Settings, progress: Progress | None = None) -> dict[str, int]:
    """Append tables to the log of a state directory; the service must not be running on it.

    Parameters
    ----------
    read : callable
        Called with the record type of the model that is published.
    settings : Settings
    progress : callable, optional

    Returns
    -------
    dict
        The fields of `ImportCounts`.

    Raises
    ------
    ServiceFault
        Where the state directory is taken, or the log cannot be written.
    BundleRefused
        Where a model is published that cannot be used.
    BadInput
        If rows of a table were given and every one was refused; what was good in other tables is in the log.
    """
    with StateLock(settings.state_dir):
        data_key = load_data_key(settings.data_key_file, create=True)
        config = load_published_config(settings.state_dir)
        tables = read(config.build_record_type())
        log = EventLog.open(settings.database_url, Vault.load(settings.state_dir, data_key))
        try:
            pipeline = Pipeline(config, FittedParameters.create_empty(), Pseudonyms(data_key))
            counts = import_past(log, pipeline, build_past(tables, config.build_record_type()), progress)
        finally:
            log.close()
    return counts._asdict()


def load_published_config(state_dir: Path) -> FeatureConfig:
    """Give the columns and keys of the model that is published, or the common ones where there is none."""
    folder = find_release_folder(state_dir)
    return FeatureConfig() if folder is None else load_bundle(folder / BUNDLE_FOLDER).config


def build_past(tables: "Tables", record: type[Consignment]) -> PastEvents:
    """Take tables as `consignments.tables` reads them."""
    from consignments.tables import to_alerts, to_consignments, to_outcomes
    from features.batch import build_arrival_events, build_outcome_events, get_sequence

    told = tables.outcomes
    warned = tables.alerts
    return PastEvents(
        build_arrival_events(tables.consignments),
        build_outcome_events(told),
        [] if warned is None else to_alerts(warned),
        None if warned is None else get_sequence(warned),
        lambda rows: to_consignments(tables.consignments.iloc[rows], record),
        lambda rows: [] if told is None else to_outcomes(told.iloc[rows]),
    )


def import_past(
    log: EventLog, pipeline: Pipeline, past: PastEvents, progress: Progress | None = None
) -> ImportCounts:
    """Append what is not in the log yet, in the order of history.

    Parameters
    ----------
    log : EventLog
    pipeline : Pipeline
        Its keys of history are stored beside each consignment.
    past : PastEvents
    progress : callable, optional

    Returns
    -------
    ImportCounts

    Raises
    ------
    BadInput
        If rows of a table were given and every one was refused; what was good in other tables is in the log.
    """
    known, given = _count_known(log), Counter[bytes]()
    writer = _EntryBuilder(log, pipeline)
    added: Counter[str] = Counter()
    events = merge_events(past)
    for start in range(0, len(events.row), CHUNK_ENTRIES):
        part = slice(start, start + CHUNK_ENTRIES)
        chunk = HistoryEvents(events.what[part], events.row[part])
        fresh: list[Event] = []
        for made in writer.build_entries(past, chunk):
            if made is None:
                added["refused"] += 1
                continue
            mark = _fingerprint(made)
            given[mark] += 1
            if given[mark] <= known[mark] or (made.kind == "outcome" and given[mark] > 1):
                added["known"] += 1
                continue
            added[made.kind] += 1
            fresh.append(structs.replace(made, sequence=log.last_sequence + 1 + len(fresh)))
        if fresh:
            log.append(fresh)
        if progress is not None:
            progress("import", start + len(chunk.row), len(events.row))
    writer.refuse_total_rejection(past)
    return ImportCounts(
        added["arrival"],
        added["outcome"],
        added["alert"],
        added["cancellation"],
        added["known"],
        added["refused"],
    )


def merge_events(past: PastEvents) -> HistoryEvents:
    """Put all in the order of history: an alert just before the first event by which its moment is reached."""
    events = order_events(past.arrivals, past.outcomes)
    if not past.alerts:
        return events
    if past.alert_sequence is not None and past.arrivals.sequence is not None:
        clock = _event_column(events, past.outcomes.sequence, None, past.arrivals.sequence)
        issued = past.alert_sequence
    else:
        clock = _event_column(
            events, past.outcomes.visible_us, past.arrivals.cancelled_us, past.arrivals.received_us
        )
        issued = np.array([to_us(alert.issued_at) for alert in past.alerts], dtype=np.int64)
    order = np.argsort(issued, kind="stable")
    places = np.searchsorted(np.maximum.accumulate(clock), issued[order])
    what = np.insert(events.what.astype(np.int8), places, np.int8(ALERT))
    return HistoryEvents(what, np.insert(events.row, places, order))


def _event_column(
    events: HistoryEvents, outcome: Longs | None, cancellation: Longs | None, arrival: Longs
) -> Longs:
    """Give a number of each event from the column of its kind; a kind without numbers gets the least."""
    clock = np.full(len(events.row), np.iinfo(np.int64).min)
    for what, column in ((OUTCOME, outcome), (CANCELLATION, cancellation), (ARRIVAL, arrival)):
        mine = events.what == what
        if column is not None:
            clock[mine] = column[events.row[mine]]
    return clock


_ORIGIN = EventOrigin(0, None, IMPORT)


class _EntryBuilder:
    """Makes entries without a sequence; None for a row that is refused."""

    def __init__(self, log: EventLog, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._entries = EventCodec(log.vault, pipeline.config.build_record_type(), pipeline.kinds)
        self._keys = np.zeros(len(pipeline.kinds), dtype=np.uint64)
        self._counterparts = np.zeros_like(self._keys)
        self._now_us = read_clock_us()
        self._refused: Counter[str] = Counter()

    def build_entries(self, past: PastEvents, events: HistoryEvents) -> Iterator[Event | None]:
        """Make the entries of some events, in their order."""
        arrived = iter(past.consignments_at(events.row[events.what == ARRIVAL]))
        told = iter(past.outcomes_at(events.row[events.what == OUTCOME]))
        for what, row in zip(events.what.tolist(), events.row.tolist(), strict=True):
            if what == ARRIVAL:
                yield self._arrival(next(arrived), row)
            elif what == OUTCOME:
                yield self._outcome(next(told), row)
            elif what == ALERT:
                yield self._alert(past.alerts[row], row)
            else:
                name, at_us = past.arrivals.consignment_id[row].as_py(), int(past.arrivals.cancelled_us[row])
                yield self._entries.encode_cancellation(0, name, at_us, None, IMPORT)

    def _arrival(self, c: Consignment, row: int) -> Event | None:
        complaint = check_arrival(c, self._now_us)
        if c.received_at is None:
            complaint = FieldError("received_at", "is missing", "missing_field")
        if complaint is not None:
            self._refuse("consignments", row, complaint)
            return None
        assert c.received_at is not None
        self._pipeline.fill_keys(c, self._keys, self._counterparts)
        packed = self._entries.pack(c, to_us(c.received_at))  # the month that npsrisk forget will go by
        return self._entries.encode_arrival(_ORIGIN, c, packed, self._keys, self._counterparts)

    def _outcome(self, outcome: Outcome, row: int) -> Event | None:
        complaint = check_outcome(outcome, self._now_us)
        if complaint is not None:
            self._refuse("outcomes", row, complaint)
            return None
        return self._entries.encode_outcome(0, outcome, IMPORT)

    def _alert(self, alert: Alert, row: int) -> Event | None:
        complaint = check_alert(alert, self._now_us)
        if complaint is not None:
            self._refuse("alerts", row, complaint)
            return None
        return self._entries.encode_alert(0, alert, None, IMPORT)

    def _refuse(self, table: str, row: int, complaint: FieldError) -> None:
        self._refused[table] += 1
        if self._refused.total() <= MAX_LOGGED_REFUSALS:
            logger.warning(
                "row refused", table=table, row=row + 1, field=complaint.field, reason=complaint.reason
            )

    def refuse_total_rejection(self, past: PastEvents) -> None:
        """Raise `BadInput` if rows of a table were given and every one was refused."""
        given = {
            "consignments": len(past.arrivals.consignment_id),
            "outcomes": len(past.outcomes.consignment_id),
            "alerts": len(past.alerts),
        }
        for table, rows in given.items():
            if 0 < rows == self._refused[table]:
                raise BadInput(
                    "no row is left",
                    where=table,
                    got=f"{rows:,} of {rows:,} rows refused",
                    todo="correct them: the reasons of the first ones are above",
                )


def _count_known(log: EventLog) -> Counter[bytes]:
    """Count how often the log holds each mark: what returned to an older content stands in it twice."""
    return Counter(map(_fingerprint, log.read_events(without=EXCLUDED_COLUMNS)))


def _fingerprint(event: Event) -> bytes:
    """Tell entries apart: a consignment by content and time of arrival, a cancellation likewise, others by content."""
    kind = "arrival" if event.kind == "decision" else event.kind
    timed = kind in ("arrival", "cancellation")
    return kind[:2].encode() + event.content + (event.at_us.to_bytes(8, "big", signed=True) if timed else b"")
