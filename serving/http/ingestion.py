"""Operations with `POST` that record outcomes, alerts, cancellations, actions, answers of customs and messages, each once."""

from typing import Any

import msgspec

from serving.event_log.group_commit import CommitGroup
from serving.http.auth import Scope
from serving.http.problems import Refusal, RowFault
from serving.http.protocol.records import RecordReader, build_refusal, format_reason
from serving.http.routing import ApiRequest, Route, route
from serving.scoring.batching import MAX_BATCH_SIZE, yield_to_requests
from serving.scoring.intake import FieldError, Receipt
from serving.scoring.recording import (
    ACTIONS,
    ALERTS,
    CANCELLATIONS,
    MESSAGES,
    NAMED_RECORDS,
    OUTCOMES,
    STATES,
    UNKNOWN_CONSIGNMENT,
    RecordKind,
)


def declare_ingestion(kind: RecordKind, summary: str, scope: Scope = "outcome") -> Route:
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
        scope=scope,
        summary=summary,
        answer=Receipt,
        record=kind.record,
        plural=kind.plural,
        list_answer=receipts,
        refusals=(404, 503) if kind.needs_consignment else (503,),
        tag="results" if issubclass(kind.record, NAMED_RECORDS) else "partners",
    )
    async def record_body(request: ApiRequest) -> Any:
        found = await request.read_records(reader)
        if isinstance(found, list):
            return receipts(*await _record_list(request, kind, reader, found))
        taken = await request.service.recorder.record(kind, found, request.caller)
        if isinstance(taken, FieldError):
            is_unknown = taken is UNKNOWN_CONSIGNMENT
            raise Refusal(404, format_reason(taken)) if is_unknown else build_refusal([taken])
        if taken.group is not None:
            await taken.group.wait_until_durable()
        return taken.receipt

    return record_body


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
        await service.recorder.prefetch(records)
        for index, record in enumerate(records, start):
            if isinstance(record, RowFault):
                errors.append(record)
                continue
            taken = await service.recorder.record(kind, record, request.caller)
            if isinstance(taken, FieldError):
                errors.append(reader.build_row_fault([taken], index))
                continue
            receipts.append(taken.receipt)
            if taken.group is not None:
                groups[taken.group] = None
    for group in groups:
        await group.wait_until_durable()
    for error in errors:
        service.metrics.count("rejected_records", kind.plural, error.kind)
    return receipts, errors


INGESTION_ROUTES = (
    declare_ingestion(OUTCOMES, "Record inspection outcomes"),
    declare_ingestion(ALERTS, "Record alerts of partners", "alert"),
    declare_ingestion(MESSAGES, "Record signed messages of partners", "alert"),
    declare_ingestion(CANCELLATIONS, "Cancel consignments: they no longer count"),
    declare_ingestion(ACTIONS, "Record actions of officers", "act"),
    declare_ingestion(STATES, "Record answers of customs"),
)
