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
from numpy.typing import NDArray

from consignments.records import Alert, Consignment, Outcome
from consignments.visibility import to_us
from features.config import FeatureConfig
from features.fitted import Fitted
from features.history.ordering import ARRIVAL, CANCELLATION, OUTCOME, Arrivals, Events, Outcomes, order_events
from features.history.pseudonyms import Pseudonyms, load_data_key
from features.pipeline import Pipeline
from models.bundle import load_bundle
from serving.deployment.releases import current_folder, read_release
from serving.encryption.vault import Vault
from serving.event_log.event_codec import Entries
from serving.event_log.events import Event
from serving.event_log.log import EventLog
from serving.process.clock import clock_us
from serving.process.lock import StateLock
from serving.process.settings import Settings
from serving.scoring.intake import (
    Complaint,
    complaint_about_alert,
    complaint_about_arrival,
    complaint_about_outcome,
)
from serving.state.rebuild import Progress

if TYPE_CHECKING:
    from features.batch import Tables

IMPORT = "import"
"""Stands in the log as `asked_by`."""
CHUNK_ENTRIES = 5_000
COLUMNS_NOT_NEEDED = ("plain", "sealed", "keys", "features", "reasons")
REFUSALS_TOLD = 10
ALERT = max(OUTCOME, CANCELLATION, ARRIVAL) + 1
Longs = NDArray[np.int64]
log_line = structlog.get_logger("npsrisk")


@dataclass(frozen=True)
class Past:
    """What is imported.

    Attributes
    ----------
    arrivals : Arrivals
    outcomes : Outcomes
    alerts : list of Alert
    alert_sequence : int64 array or None
        Place in the log where the table has one.
    consignments_at, outcomes_at : callable
        Give the records of some rows of `arrivals` and `outcomes`.
    """

    arrivals: Arrivals
    outcomes: Outcomes
    alerts: Sequence[Alert]
    alert_sequence: Longs | None
    consignments_at: Callable[[Longs], Sequence[Consignment]]
    outcomes_at: Callable[[Longs], Sequence[Outcome]]


class Counts(NamedTuple):
    """Entries that were added, rows that were known already, and rows that were refused."""

    consignments: int
    outcomes: int
    alerts: int
    cancellations: int
    known: int
    refused: int


ReadTables = Callable[[Path, Path | None, Path | None, type[Consignment]], "Tables"]


def import_tables(
    read: ReadTables,
    consignments: Path,
    outcomes: Path | None,
    alerts: Path | None,
    settings: Settings,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Append tables to the log of a state directory; the service must not be running on it.

    Parameters
    ----------
    read : callable
        Reads the tables with the record type of the model that is published; columns it does not declare are dropped.
    consignments, outcomes, alerts : Path or None
    settings : Settings
    progress : callable, optional

    Returns
    -------
    dict
        The fields of `Counts`.

    Raises
    ------
    ServiceFault
        Where the state directory is taken, or the log cannot be written.
    BundleRefused
        Where a model is published that cannot be used.
    """
    with StateLock(settings.state_dir):
        data_key = load_data_key(settings.data_key_file, create=True)
        config = published_config(settings.state_dir)
        tables = read(consignments, outcomes, alerts, config.record_type())
        log = EventLog.open(settings.database_url, Vault.of(settings.state_dir, data_key))
        try:
            pipeline = Pipeline(config, Fitted.nothing(), Pseudonyms(data_key))
            counts = import_past(log, pipeline, past_of_tables(tables, config.record_type()), progress)
        finally:
            log.close()
    return counts._asdict()


def published_config(state_dir: Path) -> FeatureConfig:
    """Give the columns and keys of the model that is published, or the common ones where there is none."""
    folder = current_folder(state_dir)
    return FeatureConfig() if folder is None else load_bundle(read_release(folder).bundle_dir).config


def past_of_tables(tables: "Tables", record: type[Consignment]) -> Past:
    """Take tables as `consignments.tables` reads them."""
    from consignments.tables import alerts_of, consignments_of, outcomes_of
    from features.batch import arrivals_of, outcome_events_of, sequence_of

    told = tables.outcomes
    warned = tables.alerts
    return Past(
        arrivals_of(tables.consignments),
        outcome_events_of(told),
        [] if warned is None else alerts_of(warned),
        None if warned is None else sequence_of(warned),
        lambda rows: consignments_of(tables.consignments.iloc[rows], record),
        lambda rows: [] if told is None else outcomes_of(told.iloc[rows]),
    )


def import_past(log: EventLog, pipeline: Pipeline, past: Past, progress: Progress | None = None) -> Counts:
    """Append what is not in the log yet, in the order of history.

    Parameters
    ----------
    log : EventLog
    pipeline : Pipeline
        Its keys of history are stored beside each consignment.
    past : Past
    progress : callable, optional

    Returns
    -------
    Counts
    """
    known, given = _known(log), Counter[bytes]()
    writer = _Writer(log, pipeline)
    added: Counter[str] = Counter()
    events = in_order(past)
    for start in range(0, len(events.row), CHUNK_ENTRIES):
        part = slice(start, start + CHUNK_ENTRIES)
        chunk = Events(events.what[part], events.row[part])
        fresh: list[Event] = []
        for made in writer.entries_of(past, chunk):
            if made is None:
                added["refused"] += 1
                continue
            mark = _mark(made)
            given[mark] += 1
            if given[mark] <= known[mark] or (made.kind == "outcome" and given[mark] > 1):
                added["known"] += 1
                continue
            added[made.kind] += 1
            fresh.append(made._replace(sequence=log.last_sequence + 1 + len(fresh)))
        if fresh:
            log.append(fresh)
        if progress is not None:
            progress("import", start + len(chunk.row), len(events.row))
    return Counts(
        added["arrival"],
        added["outcome"],
        added["alert"],
        added["cancellation"],
        added["known"],
        added["refused"],
    )


def in_order(past: Past) -> Events:
    """Put all in the order of history: an alert just before the first event by which its moment is reached."""
    events = order_events(past.arrivals, past.outcomes)
    if not past.alerts:
        return events
    if past.alert_sequence is not None and past.arrivals.sequence is not None:
        clock = _columns(events, past.outcomes.sequence, None, past.arrivals.sequence)
        issued = past.alert_sequence
    else:
        clock = _columns(
            events, past.outcomes.visible_us, past.arrivals.cancelled_us, past.arrivals.received_us
        )
        issued = np.array([to_us(alert.issued_at) for alert in past.alerts], dtype=np.int64)
    order = np.argsort(issued, kind="stable")
    places = np.searchsorted(np.maximum.accumulate(clock), issued[order])
    what = np.insert(events.what.astype(np.int8), places, np.int8(ALERT))
    return Events(what, np.insert(events.row, places, order))


def _columns(events: Events, outcome: Longs | None, cancellation: Longs | None, arrival: Longs) -> Longs:
    """Give a number of each event from the column of its kind; a kind without numbers gets the least."""
    clock = np.full(len(events.row), np.iinfo(np.int64).min)
    for what, column in ((OUTCOME, outcome), (CANCELLATION, cancellation), (ARRIVAL, arrival)):
        mine = events.what == what
        if column is not None:
            clock[mine] = column[events.row[mine]]
    return clock


class _Writer:
    """Makes entries without a sequence; None for a row that is refused."""

    def __init__(self, log: EventLog, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._entries = Entries(log.vault, pipeline.config.record_type(), pipeline.kinds)
        self._keys = np.zeros(len(pipeline.kinds), dtype=np.uint64)
        self._counterparts = np.zeros_like(self._keys)
        self._now_us = clock_us()
        self._told = 0

    def entries_of(self, past: Past, events: Events) -> Iterator[Event | None]:
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
                yield self._entries.cancellation(0, name, at_us, None, IMPORT)

    def _arrival(self, c: Consignment, row: int) -> Event | None:
        complaint = complaint_about_arrival(c, self._now_us)
        if c.received_at is None:
            complaint = Complaint("received_at", "is missing", "missing_field")
        if complaint is not None:
            self._refuse("consignments", row, complaint)
            return None
        assert c.received_at is not None
        self._pipeline.key(c, self._keys, self._counterparts)
        packed = self._entries.pack(c, to_us(c.received_at))  # the month that npsrisk forget will go by
        return self._entries.arrival(
            0, c, packed, self._keys, self._counterparts, asked_by=IMPORT, recorded_us=None
        )

    def _outcome(self, outcome: Outcome, row: int) -> Event | None:
        complaint = complaint_about_outcome(outcome, self._now_us)
        if complaint is not None:
            self._refuse("outcomes", row, complaint)
            return None
        return self._entries.outcome(0, outcome, IMPORT)

    def _alert(self, alert: Alert, row: int) -> Event | None:
        complaint = complaint_about_alert(alert, self._now_us)
        if complaint is not None:
            self._refuse("alerts", row, complaint)
            return None
        return self._entries.alert(0, alert, None, IMPORT)

    def _refuse(self, table: str, row: int, complaint: Complaint) -> None:
        self._told += 1
        if self._told <= REFUSALS_TOLD:
            log_line.warning(
                "row refused", table=table, row=row + 1, field=complaint.field, reason=complaint.reason
            )


def _known(log: EventLog) -> Counter[bytes]:
    """Count how often the log holds each mark: what returned to an older content stands in it twice."""
    return Counter(map(_mark, log.events(without=COLUMNS_NOT_NEEDED)))


def _mark(event: Event) -> bytes:
    """Tell entries apart: a consignment by content and time of arrival, a cancellation likewise, others by content."""
    kind = "arrival" if event.kind == "decision" else event.kind
    timed = kind in ("arrival", "cancellation")
    return kind[:2].encode() + event.content + (event.at_us.to_bytes(8, "big", signed=True) if timed else b"")
