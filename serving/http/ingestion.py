"""Endpoints for `POST` of outcomes, alerts, cancellations, actions, answers of customs and messages; a repeat is not recorded again."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from consignments.records import Alert, Outcome
from models.signatures.envelope import Envelope
from serving.event_log.event_codec import Action, Cancellation, ReportedState
from serving.event_log.group_commit import CommitGroup
from serving.event_log.log import EventLog
from serving.http.asgi import HttpCall, respond_json
from serving.http.auth import Caller, Scope
from serving.http.problems import Refusal, RowFault
from serving.http.requests import Door, RecordReader, build_refusal, format_reason
from serving.http.routing import Operation
from serving.http.schemas import (
    ActionReceipts,
    AlertReceipts,
    CancellationReceipts,
    EventReceipts,
    MessageReceipts,
    OutcomeReceipts,
)
from serving.scoring.active_model import ActiveModel
from serving.scoring.batching import MAX_BATCH_SIZE, yield_to_requests
from serving.scoring.intake import (
    FieldError,
    Intake,
    PendingReceipt,
    Receipt,
    check_action,
    check_alert,
    check_cancellation,
    check_outcome,
    check_state,
)
from serving.scoring.offices import OTHER_OFFICE, OfficeFinder
from serving.telemetry.metrics import Metrics

UNKNOWN_CONSIGNMENT = FieldError(
    "consignment_id", "no consignment with this identifier was scored or imported", "unknown_consignment"
)


def _refuse_record(fault: FieldError) -> Refusal:
    if fault is UNKNOWN_CONSIGNMENT:
        return Refusal(404, format_reason(fault))
    return Refusal(403, fault.reason) if fault is OTHER_OFFICE else build_refusal(fault)


class IngestedRecord(NamedTuple):
    """A kind of record that clients send over HTTP, one or a list under its plural name, which is answered by `receipts`.

    `check` validates what the type cannot express. `take` records it, and returns None if its consignment is unknown, or why it is
    refused.
    """

    record: type[Any]
    plural: str
    summary: str
    receipts: type[Any]
    check: Callable[[Any, int], FieldError | None]
    take: Callable[[Intake, Any, int, str], PendingReceipt | FieldError | None]
    scope: Scope = "outcome"
    refusals: tuple[int, ...] = (503,)

    @property
    def operation(self) -> Operation:
        """Return the operation that records it."""
        return Operation(
            method="POST",
            path=f"/v1/{self.plural}",
            name=self.plural,
            summary=self.summary,
            scope=self.scope,
            answer=Receipt,
            record=self.record,
            plural=self.plural,
            list_answer=self.receipts,
            refusals=self.refusals,
        )


INGESTED_RECORDS = (
    IngestedRecord(
        Outcome,
        "outcomes",
        "Record inspection outcomes",
        OutcomeReceipts,
        check_outcome,
        Intake.record_outcome,
    ),
    IngestedRecord(
        Alert, "alerts", "Record alerts of partners", AlertReceipts, check_alert, Intake.record_alert
    ),
    IngestedRecord(
        Envelope,
        "messages",
        "Record signed messages of partners",
        MessageReceipts,
        lambda _envelope, _now_us: None,  # the message in the envelope is checked when it is recorded
        Intake.record_message,
    ),
    IngestedRecord(
        Cancellation,
        "cancellations",
        "Cancel consignments: they no longer count",
        CancellationReceipts,
        check_cancellation,
        Intake.record_cancellation,
        refusals=(404, 503),
    ),
    IngestedRecord(
        Action,
        "actions",
        "Record actions of officers",
        ActionReceipts,
        check_action,
        Intake.record_action,
        "act",
        (404, 503),
    ),
    IngestedRecord(
        ReportedState,
        "events",
        "Record answers of customs, such as a hold",
        EventReceipts,
        check_state,
        Intake.record_state,
    ),
)
NAMED_RECORDS = Outcome | Cancellation | Action | ReportedState
"""Records that name a consignment."""


class IngestEndpoint:
    """An endpoint that records one record of a kind, or a list; the log holds the offices of consignments not in memory."""

    def __init__(
        self, kind: IngestedRecord, door: Door, active: ActiveModel, metrics: Metrics, log: EventLog
    ) -> None:
        self._finder = OfficeFinder(active, log)
        self._kind, self._door, self._active, self._metrics = kind, door, active, metrics
        self._records: RecordReader[Any] = RecordReader(kind.record, kind.plural)

    async def __call__(self, call: HttpCall) -> int:
        """Record one record or a list, and send the receipts after everything is on disk."""
        caller = self._door.authorize(call, self._kind.scope)
        found = self._records.read(await self._door.read_json(call))
        if isinstance(found, list):
            caller.spend(max(len(found), 1))
            return await respond_json(call, await self._take_list(found, caller))
        caller.spend(1)
        taken = await self.record(found, caller)
        if isinstance(taken, FieldError):
            raise _refuse_record(taken)
        self._count_receipt(taken.receipt)
        if taken.group is not None:
            await taken.group.wait_until_durable()
        return await respond_json(call, taken.receipt)

    async def record(
        self, record: Any, caller: Caller, check: Callable[[], FieldError | None] = lambda: None
    ) -> PendingReceipt | FieldError:
        """Record one record; the receipt may be sent once its group is durable. An error is returned, and nothing is recorded.

        `check` is called last, so nothing else is recorded between it and this record; it returns an error or None.
        """
        await self._prefetch([record])
        return await self._find_foreign(record, caller) or check() or self._take_one(record, caller)

    async def _take_list(self, raws: list[msgspec.Raw], caller: Caller) -> Any:
        receipts: list[Receipt] = []
        errors: list[RowFault] = []
        groups: list[CommitGroup] = []
        for start in range(0, len(raws), MAX_BATCH_SIZE):
            if start:
                await yield_to_requests()
            chunk = raws[start : start + MAX_BATCH_SIZE]
            records = self._records.read_members(chunk, start)
            await self._prefetch(records)
            for index, record in enumerate(records, start):
                taken = await self._take_member(record, caller)
                if isinstance(taken, FieldError):
                    taken = self._records.build_row_fault(taken, index)
                if isinstance(taken, RowFault):
                    errors.append(taken)
                    continue
                receipts.append(taken.receipt)
                self._count_receipt(taken.receipt)
                if taken.group is not None and taken.group not in groups[-1:]:
                    groups.append(taken.group)
        for group in groups:
            await group.wait_until_durable()
        for error in errors:
            self._metrics.record_rejection(self._kind.plural, error.kind)
        return self._kind.receipts(receipts, errors)

    async def _take_member(self, record: Any, caller: Caller) -> PendingReceipt | FieldError | RowFault:
        if isinstance(record, RowFault):
            return record
        return await self._find_foreign(record, caller) or self._take_one(record, caller)

    async def _find_foreign(self, record: Any, caller: Caller) -> FieldError | None:
        """Return an error if the key is bound to offices and the record belongs to another one."""
        if caller.offices is None or not isinstance(record, NAMED_RECORDS):
            return None
        if await self._finder.is_foreign(record.consignment_id, caller.offices):
            return OTHER_OFFICE
        unknown = not self._finder.is_known(record.consignment_id)
        if unknown and isinstance(record, Outcome) and record.office not in caller.offices:
            return OTHER_OFFICE
        if unknown and isinstance(record, ReportedState):
            return OTHER_OFFICE
        return None

    def _count_receipt(self, receipt: Receipt) -> None:
        if self._kind.record is Outcome and receipt.known is False and not receipt.repeated:
            self._metrics.counters["unmatched_outcomes"].inc()
        for warning in receipt.warnings or ():
            self._metrics.record_warning(self._kind.plural, warning.kind)

    def _take_one(self, record: Any, caller: Caller) -> PendingReceipt | FieldError:
        active, kind = self._active, self._kind
        active.committer.check()
        now_us = active.clock()
        if isinstance(record, Action):
            record = name_person(record, caller)
        fault = kind.check(record, now_us)
        return fault or kind.take(active.intake, record, now_us, caller.name) or UNKNOWN_CONSIGNMENT

    async def _prefetch(self, records: Sequence[Any]) -> None:
        """Load the states of the consignments that the records name into memory."""
        await self._active.prefetch(
            [record.consignment_id for record in records if isinstance(record, NAMED_RECORDS)]
        )


def name_person(action: Action, caller: Caller) -> Action:
    """Return an action with the person who decided: of the API key, else as sent, else the name of the key."""
    return msgspec.structs.replace(action, by=caller.person or action.by or caller.name)
