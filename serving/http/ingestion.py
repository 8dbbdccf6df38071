"""Operations with `POST` that record outcomes, alerts, cancellations, actions, answers of customs and messages, each once."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import msgspec

from consignments.doubts import Doubt, correct_record
from consignments.records import Alert, Outcome
from models.signatures.envelope import Envelope
from serving.event_log.event_codec import Action, Cancellation, ReportedState
from serving.event_log.group_commit import CommitGroup
from serving.http.auth import Caller, Scope
from serving.http.problems import Refusal, RowFault
from serving.http.protocol.records import RecordReader, build_refusal, format_reason
from serving.http.routing import ApiRequest, Route, route
from serving.scoring.batching import MAX_BATCH_SIZE, yield_to_requests
from serving.scoring.intake import (
    FieldError,
    Intake,
    PendingReceipt,
    Receipt,
    RecordWarning,
    WarningKind,
    check_action,
    check_alert,
    check_cancellation,
    check_outcome,
    check_state,
)
from serving.scoring.offices import OTHER_OFFICE, OfficeFinder
from serving.service import Service

UNKNOWN_CONSIGNMENT = FieldError(
    "consignment_id", "no consignment with this identifier was scored or imported", "unknown_consignment"
)
NAMED_RECORDS = Outcome | Cancellation | Action | ReportedState
"""Records that name a consignment."""


class RecordKind(NamedTuple):
    """A kind of record that clients send over HTTP, one or a list under its plural name.

    `check` validates what the type cannot express. `take` records it, and returns None if its consignment is unknown, or why it is
    refused.
    """

    record: type[Any]
    plural: str
    summary: str
    check: Callable[[Any, int], FieldError | None]
    take: Callable[[Intake, Any, int, str], PendingReceipt | FieldError | None]
    scope: Scope = "outcome"
    refusals: tuple[int, ...] = (503,)


def check_envelope(_envelope: Envelope, _now_us: int) -> None:
    """Accept an envelope: its message is checked when it is recorded."""


UNKNOWN_STATUSES = (404, 503)
RECORD_KINDS = (
    RecordKind(Outcome, "outcomes", "Record inspection outcomes", check_outcome, Intake.record_outcome),
    RecordKind(Alert, "alerts", "Record alerts of partners", check_alert, Intake.record_alert),
    RecordKind(
        Envelope, "messages", "Record signed messages of partners", check_envelope, Intake.record_message
    ),
    RecordKind(
        Cancellation,
        "cancellations",
        "Cancel consignments: they no longer count",
        check_cancellation,
        Intake.record_cancellation,
        refusals=UNKNOWN_STATUSES,
    ),
    RecordKind(
        Action,
        "actions",
        "Record actions of officers",
        check_action,
        Intake.record_action,
        "act",
        UNKNOWN_STATUSES,
    ),
    RecordKind(ReportedState, "events", "Record answers of customs", check_state, Intake.record_state),
)


def declare_ingestion(kind: RecordKind) -> Route:
    """Declare the operation that records one kind."""
    reader: RecordReader[Any] = RecordReader(kind.record, kind.plural)
    receipts = msgspec.defstruct(
        f"{kind.plural.capitalize()[:-1]}Receipts",
        [(kind.plural, list[Receipt]), ("errors", list[RowFault])],
        namespace={"__doc__": f"The response to a list of {kind.plural}."},
        frozen=True,
    )

    @route(
        f"/v1/{kind.plural}",
        kind.plural,
        "POST",
        scope=kind.scope,
        summary=kind.summary,
        answer=Receipt,
        record=kind.record,
        plural=kind.plural,
        list_answer=receipts,
        refusals=kind.refusals,
        tag="results" if issubclass(kind.record, NAMED_RECORDS) else "partners",
    )
    async def record_body(request: ApiRequest) -> Any:
        found = await request.read_records(reader)
        if isinstance(found, list):
            return receipts(*await _record_list(request, kind, reader, found))
        taken = await record_one(request.service, kind, found, request.caller)
        if isinstance(taken, FieldError):
            raise _refuse_record(taken)
        if taken.group is not None:
            await taken.group.wait_until_durable()
        return taken.receipt

    return record_body


async def record_one(
    service: Service,
    kind: RecordKind,
    record: Any,
    caller: Caller,
    check: Callable[[], FieldError | None] = lambda: None,
) -> PendingReceipt | FieldError:
    """Record one record; the receipt may be sent once its group is durable. An error is returned, and nothing is recorded.

    `check` is called last, so nothing else is recorded between it and this record; it returns an error or None.
    """
    active = service.active
    if isinstance(record, NAMED_RECORDS):
        await active.prefetch([record.consignment_id])
    fault = await _find_foreign(service, record, caller) or check()
    if fault is not None:
        return fault
    active.committer.check()
    now_us = active.clock()
    doubts: list[Doubt] = []
    if isinstance(record, Alert):
        record, doubts = correct_record(record)
    if isinstance(record, Action):  # the person of the key, else as sent, else the name of the key
        record = msgspec.structs.replace(record, by=caller.person or record.by or caller.name)
    taken = kind.check(record, now_us) or kind.take(active.intake, record, now_us, caller.name)
    if not isinstance(taken, PendingReceipt):
        return taken or UNKNOWN_CONSIGNMENT
    receipt = taken.receipt
    if doubts:
        warnings = [
            RecordWarning(cast("WarningKind", doubt.code), f"{doubt.field}: {doubt.text}") for doubt in doubts
        ]
        receipt = msgspec.structs.replace(receipt, warnings=warnings)
    if kind.record is Outcome and receipt.known is False and not receipt.repeated:
        service.metrics.counters["unmatched_outcomes"].inc()
    for warning in receipt.warnings or ():
        service.metrics.record_warning(kind.plural, warning.kind)
    return taken._replace(receipt=receipt)


async def _record_list(
    request: ApiRequest, kind: RecordKind, reader: RecordReader[Any], raws: list[msgspec.Raw]
) -> tuple[list[Receipt], list[RowFault]]:
    """Record the valid members of a list, and wait until they are on disk."""
    service, receipts, errors = request.service, list[Receipt](), list[RowFault]()
    groups: dict[CommitGroup, None] = {}
    for start in range(0, len(raws), MAX_BATCH_SIZE):
        if start:
            await yield_to_requests()
        records = reader.read_members(raws[start : start + MAX_BATCH_SIZE], start)
        await service.active.prefetch([c.consignment_id for c in records if isinstance(c, NAMED_RECORDS)])
        for index, record in enumerate(records, start):
            taken = record
            if not isinstance(record, RowFault):
                taken = await record_one(service, kind, record, request.caller)
            if isinstance(taken, PendingReceipt):
                receipts.append(taken.receipt)
                if taken.group is not None:
                    groups[taken.group] = None
            else:
                errors.append(
                    reader.build_row_fault(taken, index) if isinstance(taken, FieldError) else taken
                )
    for group in groups:
        await group.wait_until_durable()
    for error in errors:
        service.metrics.record_rejection(kind.plural, error.kind)
    return receipts, errors


async def _find_foreign(service: Service, record: Any, caller: Caller) -> FieldError | None:
    """Return an error if the key is bound to offices and the record belongs to another one."""
    if caller.offices is None or not isinstance(record, NAMED_RECORDS):
        return None
    finder = OfficeFinder(service.active, service.log)
    if await finder.is_foreign(record.consignment_id, caller.offices):
        return OTHER_OFFICE
    if finder.is_known(record.consignment_id):
        return None
    named = isinstance(record, Outcome) and record.office not in caller.offices
    return OTHER_OFFICE if named or isinstance(record, ReportedState) else None


def _refuse_record(fault: FieldError) -> Refusal:
    if fault is UNKNOWN_CONSIGNMENT:
        return Refusal(404, format_reason(fault))
    return Refusal(403, fault.reason) if fault is OTHER_OFFICE else build_refusal(fault)


INGESTION_ROUTES = tuple(map(declare_ingestion, RECORD_KINDS))
