"""Recording of what clients send besides consignments, if it concerns their offices."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, cast

from msgspec import structs

from consignments.doubts import Doubt, correct_record
from consignments.records import Alert, Outcome
from models.signatures.envelope import Envelope
from serving.event_log.event_codec import Action, Cancellation, ReportedState
from serving.scoring.active_model import ActiveModel, Offices
from serving.scoring.intake import (
    OTHER_OFFICE,
    FieldError,
    Intake,
    PendingReceipt,
    RecordWarning,
    WarningKind,
    list_faults,
)
from serving.telemetry.metrics import Metrics


class Client(Protocol):
    """A client of the service: an API key, the person who uses it, and the offices that it is bound to, or None for all."""

    name: str
    person: str | None
    offices: Offices | None
    only_office: str | None


UNKNOWN_CONSIGNMENT = FieldError(
    "consignment_id", "no consignment with this identifier was scored or imported", "unknown_consignment"
)
NAMED_RECORDS = Outcome | Cancellation | Action | ReportedState


class RecordKind(NamedTuple):
    """A kind of record that clients send; `take` records it, and returns None or why it is refused."""

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
    """A recorder of single records."""

    def __init__(self, active: ActiveModel, metrics: Metrics) -> None:
        self._active, self._metrics = active, metrics

    async def prefetch(self, records: Sequence[Any]) -> None:
        """Load the states of the consignments that records name into memory."""
        names = [each.consignment_id for each in records if isinstance(each, NAMED_RECORDS)]
        await self._active.prefetch(names)

    async def record(
        self,
        kind: RecordKind,
        record: Any,
        client: Client,
        check: Callable[[], FieldError | None] = lambda: None,
    ) -> PendingReceipt | FieldError:
        """Record one record, or return an error; `check` is called last, so that nothing is recorded in between."""
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
            self._metrics.count("unmatched_outcomes")
        for warning in receipt.warnings or ():
            self._metrics.count("doubtful_records", kind.plural, warning.kind)
        return taken._replace(receipt=receipt)

    async def _find_foreign(self, record: Any, client: Client) -> FieldError | None:
        """Return an error if the client is bound to offices and the record belongs to another one."""
        if client.offices is None or not isinstance(record, NAMED_RECORDS):
            return None
        if await self._active.is_foreign(record.consignment_id, client.offices):
            return OTHER_OFFICE
        if self._active.is_known(record.consignment_id):
            return None
        named = isinstance(record, Outcome) and record.office not in client.offices
        return OTHER_OFFICE if named or isinstance(record, ReportedState) else None
