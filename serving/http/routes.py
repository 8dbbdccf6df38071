"""The calls beside scores: what was found, warned of and cancelled comes in; what is known goes out."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from importlib.metadata import version as installed_version
from typing import Any

import msgspec
from starlette.types import Receive, Scope

from consignments.records import Alert, Outcome
from consignments.visibility import to_datetime
from models.reasons import Reason
from serving.event_log.event_codec import Cancellation, EventCodec
from serving.event_log.events import (
    DecisionEvent,
    Event,
    OutcomeEvent,
    SelectionEvent,
)
from serving.event_log.group_commit import CommitGroup
from serving.http import landing_page as page
from serving.http import openapi
from serving.http import schemas as answers
from serving.http.asgi import JSON, Reply, respond
from serving.http.auth import Caller
from serving.http.problems import Refusal, RowFault
from serving.http.requests import RecordReader, SingleRecordReader, authorize, build_refusal
from serving.http.selections import SelectionRequest, build_selection_list, check_request
from serving.scoring.batching import MAX_BATCH_SIZE, yield_to_requests
from serving.scoring.intake import (
    FieldError,
    PendingReceipt,
    Receipt,
    check_alert,
    check_cancellation,
    check_outcome,
)
from serving.service import Service
from serving.state.consignment_states import NO_REASONS

SELECTION_READER = SingleRecordReader(SelectionRequest)
METRICS_MEDIA_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
UNKNOWN_CONSIGNMENT = FieldError("consignment_id", "was neither scored nor imported", "unknown_consignment")
Endpoint = Callable[[Service, Scope, Receive, Reply], Awaitable[int]]
"""Answers a call and gives its status; what it raises is answered by `serving.http.asgi.AsgiEndpoint`."""


class IngestEndpoint:
    """`POST` of outcomes, alerts or cancellations: one, or a list under the plural name."""

    def __init__(
        self,
        record: type[Any],
        plural: str,
        list_answer: type[Any],
        complain: Callable[[Any, int], FieldError | None],
        take: Callable[[Service, Any, int, Caller], PendingReceipt | None],
    ) -> None:
        self._records: RecordReader[Any] = RecordReader(record, plural)
        self._list_answer, self._complain, self._take = list_answer, complain, take

    async def __call__(self, service: Service, scope: Scope, receive: Receive, reply: Reply) -> int:
        """Take one record or a list; the receipts leave once all is on disk."""
        caller = authorize(service.access, scope, "outcome")
        found = self._records.read(await service.bodies.read_json(scope, receive))
        if isinstance(found, list):
            caller.spend(max(len(found), 1))
            return await _send_json(reply, await self._ingest_list(service, found, caller))
        caller.spend(1)
        await _prefetch(service, [found])
        taken = self._ingest_one(service, found, caller)
        if isinstance(taken, FieldError):
            raise build_refusal(taken) if taken is not UNKNOWN_CONSIGNMENT else Refusal(404, taken.reason)
        if taken.group is not None:
            await taken.group.wait_until_durable()
        return await _send_json(reply, taken.receipt)

    async def _ingest_list(self, service: Service, raws: list[msgspec.Raw], caller: Caller) -> Any:
        receipts: list[Receipt] = []
        errors: list[RowFault] = []
        groups: list[CommitGroup] = []
        for start in range(0, len(raws), MAX_BATCH_SIZE):
            if start:
                await yield_to_requests()
            chunk = raws[start : start + MAX_BATCH_SIZE]
            records = [self._records.read_member(raw, index) for index, raw in enumerate(chunk, start)]
            await _prefetch(service, records)
            for index, record in enumerate(records, start):
                taken = record if isinstance(record, RowFault) else self._ingest_one(service, record, caller)
                if isinstance(taken, FieldError):
                    taken = self._records.build_row_fault(taken, index)
                if isinstance(taken, RowFault):
                    errors.append(taken)
                    continue
                receipts.append(taken.receipt)
                if taken.group is not None and taken.group not in groups[-1:]:
                    groups.append(taken.group)
        for group in groups:
            await group.wait_until_durable()
        for error in errors:
            service.metrics.record_rejection(self._records.plural, error.kind)
        return self._list_answer(receipts, errors)

    def _ingest_one(self, service: Service, record: Any, caller: Caller) -> PendingReceipt | FieldError:
        service.committer.check()
        now_us = service.clock()
        complaint = self._complain(record, now_us)
        return complaint or self._take(service, record, now_us, caller) or UNKNOWN_CONSIGNMENT


async def _prefetch(service: Service, records: Sequence[Any]) -> None:
    """Let the service bring into memory what it knows of the consignments that records tell of."""
    await service.prefetch(
        [record.consignment_id for record in records if isinstance(record, Outcome | Cancellation)]
    )


async def _post_selections(service: Service, scope: Scope, receive: Receive, reply: Reply) -> int:
    caller = authorize(service.access, scope, "score")
    request = SELECTION_READER.read(await service.bodies.read_json(scope, receive))
    caller.spend(1)
    now_us = service.clock()
    complaint = check_request(request, now_us)
    if complaint is not None:
        raise build_refusal(complaint)
    return await _send_json(reply, await build_selection_list(service, request, now_us, caller))


async def _get_consignment(service: Service, scope: Scope, _receive: Receive, reply: Reply) -> int:
    authorize(service.access, scope, "read").spend(1)
    name = scope["path_params"]["consignment_id"]
    events = await asyncio.to_thread(service.log.read_consignment_events, name)
    if not events:
        raise Refusal(404, "nothing is recorded for this consignment")
    return await _send_json(
        reply, build_history(name, events, service.log.format_decision_id, service.entries)
    )


def build_history(
    name: str, events: list[Event], decision_id: Callable[[int], str], entries: EventCodec
) -> answers.ConsignmentHistory:
    """Sort the entries of a consignment by what they tell; nothing personal is among it."""
    return answers.ConsignmentHistory(
        name,
        decisions=[
            _past_decision(event, decision_id) for event in events if isinstance(event, DecisionEvent)
        ],
        outcomes=[entries.decode_outcome(event) for event in events if isinstance(event, OutcomeEvent)],
        imported=[to_datetime(event.at_us) for event in events if event.kind == "arrival"],
        cancellations=[to_datetime(event.at_us) for event in events if event.kind == "cancellation"],
        selections=[entries.decode_selection(event) for event in events if isinstance(event, SelectionEvent)],
    )


def _past_decision(event: DecisionEvent, decision_id: Callable[[int], str]) -> answers.PastDecision:
    return answers.PastDecision(
        decision_id(event.sequence),
        to_datetime(event.at_us),
        to_datetime(event.recorded_us),
        event.score,
        event.band,
        msgspec.msgpack.decode(event.reasons or NO_REASONS, type=list[Reason]),
        answers.ModelName.parse(event.model),
        event.asked_by,
    )


async def _get_model(service: Service, scope: Scope, _receive: Receive, reply: Reply) -> int:
    authorize(service.access, scope, "read").spend(1)
    model = service.model
    card, release = model.card, model.release
    if card is None or release is None or release.record is None:
        raise service.build_no_model_fault()
    told = answers.ModelInfo(
        release.name,
        release.version,
        card.target,
        card.as_of,
        release.bundle_sha256,
        card.feature_spec_sha256,
        card.code_version,
        card.metrics,
        release.record.approved_by,
        release.record.approved_at,
        model.loaded_at,
        _shadow_model_info(service),
    )
    return await _send_json(reply, told)


def _shadow_model_info(service: Service) -> answers.ShadowModelInfo | None:
    release = service.shadow.release
    if release is None:
        return None
    return answers.ShadowModelInfo(release.name, release.version, release.record is not None)


async def _get_liveness(_service: Service, _scope: Scope, _receive: Receive, reply: Reply) -> int:
    return await _send_json(reply, answers.Liveness(live=True))


async def _get_readiness(service: Service, _scope: Scope, _receive: Receive, reply: Reply) -> int:
    reasons = service.explain_unready()
    told = answers.Health(
        not reasons,
        reasons,
        service.list_warnings(),
        service.degraded,
        answers.ModelName.parse(service.model.name) if service.scorer else None,
        service.log.last_sequence,
    )
    return await _send_json(reply, told, HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK)


async def _get_metrics(service: Service, scope: Scope, _receive: Receive, reply: Reply) -> int:
    authorize(service.access, scope, "read")
    await respond(reply, 200, service.metrics.render(service), METRICS_MEDIA_TYPE)
    return 200


async def _get_openapi(service: Service, _scope: Scope, _receive: Receive, reply: Reply) -> int:
    return await _send_json(reply, openapi.build_document(service.model.record, installed_version("npsrisk")))


async def _get_page(service: Service, _scope: Scope, _receive: Receive, reply: Reply) -> int:
    body = page.render_page(
        installed_version("npsrisk"), service.model.name, loaded=service.model.release is not None
    )
    await respond(reply, 200, body, b"text/html; charset=utf-8", policy=page.build_policy())
    return 200


ROUTES: tuple[tuple[str, str, str, Endpoint], ...] = (
    (
        "POST", "/v1/outcomes", "outcomes",
        IngestEndpoint(Outcome, "outcomes", answers.OutcomeReceipts, check_outcome,
               lambda service, record, now_us, caller: service.intake.record_outcome(record, now_us, caller.name)),
    ),
    (
        "POST", "/v1/alerts", "alerts",
        IngestEndpoint(Alert, "alerts", answers.AlertReceipts, check_alert,
               lambda service, record, now_us, caller: service.intake.record_alert(record, now_us, caller.name)),
    ),
    (
        "POST", "/v1/cancellations", "cancellations",
        IngestEndpoint(Cancellation, "cancellations", answers.CancellationReceipts, check_cancellation,
               lambda service, record, now_us, caller: service.intake.record_cancellation(record, now_us, caller.name)),
    ),
    ("POST", "/v1/selections", "selections", _post_selections),
    ("GET", "/v1/consignments/{consignment_id:path}", "consignment", _get_consignment),
    ("GET", "/v1/model", "model", _get_model),
    ("GET", "/health/live", "live", _get_liveness),
    ("GET", "/health/ready", "ready", _get_readiness),
    ("GET", "/metrics", "metrics", _get_metrics),
    ("GET", "/openapi.json", "openapi", _get_openapi),
    ("GET", "/", "page", _get_page),
)  # fmt: skip


async def _send_json(reply: Reply, answer: Any, status: int = 200) -> int:
    await respond(reply, status, msgspec.json.encode(answer), JSON)
    return status
