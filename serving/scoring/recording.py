"""Recording of what clients send besides consignments, if it concerns their offices.

The office of a consignment is its own, else that of its first decision, else the request's, else the only one of the API key, else that of
its destination in `NPSRISK_OFFICES_FILE`.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from msgspec import structs

from consignments.doubts import Doubt, correct_record
from consignments.identifiers import normalize_identifier
from consignments.offices import OfficeTable
from consignments.records import Alert, Outcome
from models.signatures.envelope import Envelope
from serving.event_log.event_codec import Action, Cancellation, EventCodec, ReportedState
from serving.event_log.events import Event
from serving.event_log.log import EventLog
from serving.event_log.versions import find_counting_version
from serving.process.watched_files import WatchedFiles
from serving.scoring.active_model import ActiveModel
from serving.scoring.intake import FieldError, Intake, PendingReceipt, RecordWarning, WarningKind, list_faults
from serving.telemetry.metrics import Metrics

Offices = frozenset[str]


class Client(Protocol):
    """A client of the service: an API key, the person who uses it, and the offices that it is bound to, or None for all."""

    name: str
    person: str | None
    offices: Offices | None
    only_office: str | None


OTHER_OFFICE = FieldError(
    "office", "this API key is bound to other offices; use a key of this consignment's office", "other_office"
)
NO_OFFICE = FieldError(
    "office",
    "name an office: in the consignment, as ?office= or in the header X-Office; this API key is bound to several",
    "other_office",
)
EXCLUDED_FROM_OFFICES = ("sealed", "features", "reasons")


def watch_offices(path: Path | None) -> WatchedFiles[OfficeTable]:
    """Read the table of offices that a setting names; without a file, it is empty."""
    if path is None:
        return WatchedFiles(list, lambda: OfficeTable({}))
    return WatchedFiles(lambda: [path], lambda: OfficeTable.read(path))


class OfficeFinder:
    """A finder of the office of a known consignment."""

    def __init__(self, active: ActiveModel, log: EventLog) -> None:
        self._active, self._log = active, log

    async def is_foreign(self, identifier: str, offices: Offices) -> bool:
        """Check whether a consignment is known, and its version that counts belongs to none of some offices."""
        await self._active.prefetch((identifier,))
        if not self.is_known(identifier):
            return False
        return find_office(await self._read_loaded(identifier), self._active.entries) not in offices

    async def read_events(self, identifier: str) -> list[Event]:
        """Read the entries of a consignment, without personal fields; those that are not on disk yet come last."""
        await self._active.prefetch((identifier,))
        return await self._read_loaded(identifier)

    async def _read_loaded(self, identifier: str) -> list[Event]:
        """Read the entries of a consignment whose state was loaded."""
        name = normalize_identifier(identifier)
        pending = [each for each in self._active.committer.list_pending() if each.consignment_id == name]
        stored = await asyncio.to_thread(self._log.read_consignment_events, name, None, EXCLUDED_FROM_OFFICES)
        return [*stored, *pending]

    def is_known(self, identifier: str) -> bool:
        """Check whether a consignment is known; its state must have been loaded."""
        state = self._active.state
        return state.get_consignment(normalize_identifier(identifier)).version is not None


def find_office(events: Iterable[Event], entries: EventCodec) -> str | None:
    """Return the office of a consignment's version that counts; None if it has none."""
    version = find_counting_version(events)
    return None if version is None else entries.read_office(version)


UNKNOWN_CONSIGNMENT = FieldError(
    "consignment_id", "no consignment with this identifier was scored or imported", "unknown_consignment"
)
NAMED_RECORDS = Outcome | Cancellation | Action | ReportedState
"""Records that name a consignment."""


class RecordKind(NamedTuple):
    """A kind of record that clients send, with its plural name; `take` records it, and returns None if its consignment is unknown, or why it is refused."""

    record: type[Any]
    plural: str
    take: Callable[[Intake, Any, int, str], PendingReceipt | FieldError | None]
    needs_consignment: bool = False


OUTCOMES = RecordKind(Outcome, "outcomes", Intake.record_outcome)
ALERTS = RecordKind(Alert, "alerts", Intake.record_alert)
MESSAGES = RecordKind(Envelope, "messages", Intake.record_message)
CANCELLATIONS = RecordKind(Cancellation, "cancellations", Intake.record_cancellation, needs_consignment=True)
ACTIONS = RecordKind(Action, "actions", Intake.record_action, needs_consignment=True)
STATES = RecordKind(ReportedState, "events", Intake.record_state)


class Recorder:
    """A recorder of single records; the log holds the offices of consignments that are not in memory."""

    def __init__(self, active: ActiveModel, log: EventLog, metrics: Metrics) -> None:
        self._active, self._finder, self._metrics = active, OfficeFinder(active, log), metrics

    async def prefetch(self, records: Sequence[Any]) -> None:
        """Load the states of the consignments that records name into memory."""
        await self._active.prefetch(
            [each.consignment_id for each in records if isinstance(each, NAMED_RECORDS)]
        )

    async def record(
        self,
        kind: RecordKind,
        record: Any,
        client: Client,
        check: Callable[[], FieldError | None] = lambda: None,
    ) -> PendingReceipt | FieldError:
        """Record one record, whose receipt may be sent once its group is durable, or return an error; `check` is called last, so that nothing is recorded in between."""
        active = self._active
        await self.prefetch([record])
        fault = await self._find_foreign(record, client) or check()
        if fault is not None:
            return fault
        active.committer.check()
        now_us = active.clock()
        doubts: list[Doubt] = []
        if isinstance(record, Alert):
            record, doubts = correct_record(record)
        if isinstance(record, Action):  # the person of the key, else as sent, else the name of the key
            record = structs.replace(record, by=client.person or record.by or client.name)
        for fault in list_faults(record, now_us):
            return fault
        taken = kind.take(active.intake, record, now_us, client.name)
        if not isinstance(taken, PendingReceipt):
            return taken or UNKNOWN_CONSIGNMENT
        receipt = taken.receipt
        if doubts:
            warnings = [
                RecordWarning(cast("WarningKind", doubt.code), f"{doubt.field}: {doubt.text}")
                for doubt in doubts
            ]
            receipt = structs.replace(receipt, warnings=warnings)
        if kind.record is Outcome and receipt.known is False and not receipt.repeated:
            self._metrics.counters["unmatched_outcomes"].inc()
        for warning in receipt.warnings or ():
            self._metrics.hot.doubtful[kind.plural, warning.kind] += 1
        return taken._replace(receipt=receipt)

    async def _find_foreign(self, record: Any, client: Client) -> FieldError | None:
        """Return an error if the client is bound to offices and the record belongs to another one."""
        if client.offices is None or not isinstance(record, NAMED_RECORDS):
            return None
        if await self._finder.is_foreign(record.consignment_id, client.offices):
            return OTHER_OFFICE
        if self._finder.is_known(record.consignment_id):
            return None
        named = isinstance(record, Outcome) and record.office not in client.offices
        return OTHER_OFFICE if named or isinstance(record, ReportedState) else None
