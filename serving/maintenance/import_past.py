"""Import of past tables into the log, as entries without decisions, in the order of history. The import is idempotent.

Imported entries count in the history of every consignment that is scored later. Personal fields are encrypted and history
keys are pseudonyms, as for live records. Consignments are read in chunks; identifiers and times of all stay in memory.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import structlog
from msgspec import structs
from numpy.typing import NDArray

from consignments.columns import adopt_spellings
from consignments.errors import BadInput
from consignments.identifiers import normalize_identifier
from consignments.records import Alert, Consignment, Outcome
from consignments.tables import to_records
from consignments.timestamps import NO_TIME, to_datetime, to_us, to_us_if_known
from features.batch import build_arrival_events, build_outcome_events, get_sequence
from features.history.ordering import (
    ARRIVAL,
    CANCELLATION,
    OUTCOME,
    HistoryEvents,
    get_event_times,
    order_events,
    select_columns,
)
from features.streams import FeatureInputs
from serving.event_log.event_codec import Cancellation
from serving.event_log.events import IMPORTED_BY, Event
from serving.event_log.log import EventLog, load_or_create_vault
from serving.event_log.reader import Progress
from serving.event_log.verification import require_valid_chain
from serving.process.clock import read_clock_us
from serving.process.settings import Settings
from serving.process.state_directory import lock_state
from serving.scoring.intake import FieldError, is_notice, list_faults
from serving.state.history_keys import KeyReader, build_key_reader

CHUNK_ENTRIES = 5_000
EXCLUDED_FROM_FINGERPRINTS = ("plain", "sealed", "keys", "features", "reasons")
MAX_LOGGED_REFUSALS = 10
TABLES = {
    "arrival": "consignments",
    "outcome": "outcomes",
    "alert": "alerts",
    "cancellation": "cancellations",
}
"""Names of what is counted, by the kind of its entry."""
ALERT = max(OUTCOME, CANCELLATION, ARRIVAL) + 1
Longs = NDArray[np.int64]
logger = structlog.get_logger("npsrisk")


class PastEvents:
    """The past events of some tables; each consignment is read once, and those not asked for yet stay in memory."""

    def __init__(self, inputs: FeatureInputs, record: type[Consignment]) -> None:
        order = inputs.consignments.take_order()
        self._outcome_rows = outcomes = adopt_spellings(inputs.outcomes, order["consignment_id"])
        self.arrivals, self.outcomes = build_arrival_events(order), build_outcome_events(outcomes)
        self.alerts: Sequence[Alert] = [] if inputs.alerts is None else to_records(inputs.alerts, Alert)
        self.alert_sequence = None if inputs.alerts is None else get_sequence(inputs.alerts)
        self._chunks, self._record = inputs.consignments.read_chunks(record), record
        self._end, self._waiting = 0, dict[int, Consignment]()

    def read_consignments(self, rows: Longs) -> Iterator[Consignment]:
        """Read the consignments of some rows, each once and in about the order of the table, in the order of `rows`."""
        while len(rows) and self._end <= rows.max():
            records = to_records(next(self._chunks), self._record)
            self._waiting.update(enumerate(records, self._end))
            self._end += len(records)
        return map(self._waiting.pop, rows.tolist())

    def read_outcomes(self, rows: Longs) -> Iterator[Outcome]:
        """Read the outcomes of some rows, in the order of `rows`."""
        return iter([] if self._outcome_rows is None else to_records(self._outcome_rows.iloc[rows], Outcome))


def import_tables(
    read: Callable[[type[Consignment]], FeatureInputs], settings: Settings, progress: Progress | None = None
) -> dict[str, int]:
    """Append tables, read by the record type of the published model, to the log of a state directory without a service.

    Returns the numbers of added entries, of rows already `known` and `refused`, and of alerts that have only a text (`notices`). Raises
    `BadInput` if all rows of a table were rejected; the valid rows of other tables are then in the log.
    """
    with lock_state(settings.state_dir):
        vault = load_or_create_vault(settings.data_key_file, settings.state_dir, settings.database_url)
        keys = build_key_reader(settings.state_dir, vault)
        record = keys.pipeline.config.build_record_type()
        past = PastEvents(read(record), record)
        with EventLog.open(settings.database_url, vault) as log:
            require_valid_chain(log)
            return import_past(log, keys, past, progress)


def import_past(
    log: EventLog, keys: KeyReader, past: PastEvents, progress: Progress | None = None
) -> dict[str, int]:
    """Append the events that are not in the log yet, in the order of history, and return the numbers of `import_tables`."""
    # A consignment that returned to an older content has its fingerprint twice.
    known = Counter(map(_fingerprint, log.read_events(without=EXCLUDED_FROM_FINGERPRINTS)))
    given = Counter[bytes]()
    writer = _EntryBuilder(keys)
    added = Counter(dict.fromkeys((*TABLES.values(), "known", "refused"), 0))
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
            added[TABLES[made.kind]] += 1
            fresh.append(structs.replace(made, sequence=log.last_sequence + 1 + len(fresh)))
        if fresh:
            log.append(fresh)
        if progress is not None:
            progress("import", start + len(chunk.row), len(events.row))
    writer.finish(past)
    return {**added, "notices": sum(map(is_notice, past.alerts))}


def merge_events(past: PastEvents) -> HistoryEvents:
    """Merge all events in the order of history; an alert comes just before the first event at or after its time."""
    arrivals, outcomes, issued = past.arrivals, past.outcomes, past.alert_sequence
    events = order_events(arrivals, outcomes)
    is_numbered = outcomes.sequence is not None or len(outcomes.consignment_id) == 0
    if issued is not None and arrivals.sequence is not None and is_numbered:
        clock = select_columns(events, outcomes.sequence, arrivals.cancelled_sequence, arrivals.sequence)
    else:
        clock = get_event_times(events, arrivals, outcomes)
        issued = np.array([to_us(alert.issued_at) for alert in past.alerts], dtype=np.int64)
    order = np.argsort(issued, kind="stable")
    places = np.searchsorted(np.maximum.accumulate(clock), issued[order])
    what = np.insert(events.what.astype(np.int8), places, np.int8(ALERT))
    return HistoryEvents(what, np.insert(events.row, places, order))


class _EntryBuilder:
    """A builder of log entries without a sequence number; None for a rejected row."""

    def __init__(self, keys: KeyReader) -> None:
        self._pipeline, self._entries = keys.pipeline, keys.entries
        self._keys = np.zeros(keys.count, dtype=np.uint64)
        self._counterparts = np.zeros_like(self._keys)
        self._now_us = read_clock_us()
        self._refused: Counter[str] = Counter()

    def build_entries(self, past: PastEvents, events: HistoryEvents) -> Iterator[Event | None]:
        """Build the entries of some events, in order."""
        arrived = past.read_consignments(events.row[events.what == ARRIVAL])
        outcomes = past.read_outcomes(events.row[events.what == OUTCOME])
        for what, row in zip(events.what.tolist(), events.row.tolist(), strict=True):
            if what == ARRIVAL:
                c = next(arrived)
                yield None if self._is_refused("consignments", row, c) else self._encode_arrival(c)
            elif what == OUTCOME:
                outcome = next(outcomes)
                recorded_us = to_us_if_known(outcome.recorded_at)
                given_us = None if recorded_us == NO_TIME else recorded_us
                refused = self._is_refused("outcomes", row, outcome)
                yield None if refused else self._entries.outcomes.encode(0, outcome, given_us, IMPORTED_BY)
            elif what == ALERT:
                alert = past.alerts[row]
                refused = self._is_refused("alerts", row, alert)
                yield None if refused else self._entries.alerts.encode(0, alert, None, IMPORTED_BY)
            else:
                name, at_us = past.arrivals.consignment_id[row].as_py(), int(past.arrivals.cancelled_us[row])
                cancellation = Cancellation(normalize_identifier(name), to_datetime(at_us))
                yield self._entries.cancellations.encode(0, cancellation, None, IMPORTED_BY)

    def _encode_arrival(self, c: Consignment) -> Event:
        self._pipeline.fill_keys(c, self._keys, self._counterparts)
        packed = self._entries.consignments.pack_all([c], [normalize_identifier(c.consignment_id)])
        both = self._keys[None], self._counterparts[None]
        return self._entries.encode_arrivals(0, None, [c], packed, *both, [IMPORTED_BY])[0]

    def _is_refused(self, table: str, row: int, record: Consignment | Outcome | Alert) -> bool:
        """Check a row; log why the first ones are rejected."""
        faults = list_faults(record, self._now_us)
        if isinstance(record, Consignment) and record.received_at is None:
            faults = [FieldError("received_at", "is missing", "missing_field")]
        if isinstance(record, Alert) and is_notice(record):
            faults = [fault for fault in faults if fault.kind != "no_criterion"]
        for field, reason, _ in faults[:1]:
            self._refused[table] += 1
            if self._refused.total() <= MAX_LOGGED_REFUSALS:
                logger.warning("row rejected", table=table, row=row + 1, field=field, reason=reason)
        return bool(faults)

    def finish(self, past: PastEvents) -> None:
        """Log how many rows were rejected without a line of their own, and raise `BadInput` if all rows of a table were."""
        if self._refused.total() > MAX_LOGGED_REFUSALS:
            logger.warning("further rows rejected", rows=self._refused.total() - MAX_LOGGED_REFUSALS)
        given = {
            "consignments": len(past.arrivals.consignment_id),
            "outcomes": len(past.outcomes.consignment_id),
            "alerts": len(past.alerts),
        }
        for table, rows in given.items():
            if 0 < rows == self._refused[table]:
                raise BadInput(
                    "all rows were rejected",
                    where=table,
                    got=f"{rows:,} of {rows:,} rows rejected",
                    todo="correct the rows; the reasons of the first ones are above",
                )


def _fingerprint(event: Event) -> bytes:
    """Compute the identity of an entry: content, and for consignments and cancellations also the time."""
    kind = "arrival" if event.kind == "decision" else event.kind
    timed = kind in ("arrival", "cancellation")
    return kind[:2].encode() + event.content + (event.at_us.to_bytes(8, "big", signed=True) if timed else b"")
