"""Read endpoints: the history of a consignment, the model in use, health, metrics and the OpenAPI document."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

import msgspec

from consignments.identifiers import normalize_identifier
from consignments.timestamps import to_datetime
from models.reasons.ranking import Reason
from serving.event_log.event_codec import CustomsState, EventCodec, get_spelling
from serving.event_log.events import (
    ActionEvent,
    CustomsStateEvent,
    DecisionEvent,
    Event,
    OutcomeEvent,
    SelectionEvent,
)
from serving.http import schemas
from serving.http.asgi import respond, respond_json
from serving.http.problems import Refusal
from serving.http.routing import ApiRequest, route
from serving.scoring.offices import find_office
from serving.state.consignment_states import NO_REASONS

EXCLUDED_FROM_ANSWERS = ("features",)
HIDDEN = "details need an API key with the scope read"
METRICS_MEDIA_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


@route("/v1/consignments/{consignment_id:path}", "consignment", paged=True, refusals=(404, 503))
async def read_consignment(request: ApiRequest) -> schemas.ConsignmentHistory:
    """Return every decision and outcome recorded for a consignment."""
    log, entries, page = request.service.log, request.service.active.entries, request.page
    identifier = request.call.scope["path_params"]["consignment_id"]
    events = await asyncio.to_thread(
        log.read_consignment_events, normalize_identifier(identifier), None, EXCLUDED_FROM_ANSWERS
    )
    offices = request.caller.offices
    if not events or (offices is not None and find_office(events, entries) not in offices):
        raise Refusal(404, "Nothing is recorded for this consignment. Check its consignment_id.")
    shown = [event for event in events if event.sequence > page.after][: page.limit]
    history = build_history(identifier, shown, log.format_decision_id, entries)
    if shown and shown[-1] is not events[-1]:
        history = msgspec.structs.replace(history, next=shown[-1].sequence)
    return history


def build_history(
    name: str, events: list[Event], decision_id: Callable[[int], str], entries: EventCodec
) -> schemas.ConsignmentHistory:
    """Group the events of a consignment by kind; the result has no personal fields."""
    return schemas.ConsignmentHistory(
        name,
        decisions=[
            build_past_decision(event, decision_id) for event in events if isinstance(event, DecisionEvent)
        ],
        outcomes=[
            msgspec.structs.replace(entries.outcomes.decode(event), consignment_id=get_spelling(event))
            for event in events
            if isinstance(event, OutcomeEvent)
        ],
        imported=[to_datetime(event.at_us) for event in events if event.kind == "arrival"],
        cancellations=[to_datetime(event.at_us) for event in events if event.kind == "cancellation"],
        selections=[
            msgspec.structs.replace(entries.selections.decode(event), consignment_id=get_spelling(event))
            for event in events
            if isinstance(event, SelectionEvent)
        ],
        actions=[
            msgspec.structs.replace(entries.actions.decode(event), consignment_id=get_spelling(event))
            for event in events
            if isinstance(event, ActionEvent)
        ],
        events=[
            build_customs_state(event, entries) for event in events if isinstance(event, CustomsStateEvent)
        ],
    )


def build_customs_state(event: CustomsStateEvent, entries: EventCodec) -> CustomsState:
    """Build the answer's form of a logged answer of customs."""
    return msgspec.structs.replace(entries.states.decode(event), consignment_id=get_spelling(event))


def build_past_decision(event: DecisionEvent, decision_id: Callable[[int], str]) -> schemas.PastDecision:
    """Build the answer's form of a logged decision."""
    return schemas.PastDecision(
        decision_id(event.sequence),
        to_datetime(event.at_us),
        to_datetime(event.recorded_us),
        event.score,
        event.band,
        msgspec.msgpack.decode(event.reasons or NO_REASONS, type=list[Reason]),
        schemas.ModelName.parse(event.model),
        event.asked_by,
    )


@route("/v1/model", "model")
async def read_model(request: ApiRequest) -> schemas.ModelInfo:
    """Return the model that scores."""
    active, shadow = request.service.active, request.service.shadow.release
    model = active.model
    card, release = model.card, model.release
    if card is None or release is None or release.record is None:
        raise active.build_no_model_fault()
    figures = release.record.figures
    return schemas.ModelInfo(
        release.name,
        release.version,
        card.target,
        card.as_of,
        release.bundle_sha256,
        card.feature_spec_sha256,
        card.code_version,
        {} if figures is None else figures.metrics,
        None if figures is None else figures.known,
        None if figures is None else figures.effective,
        {} if figures is None else figures.found,
        release.record.approved_by,
        release.record.approved_at,
        model.loaded_at,
        None
        if shadow is None
        else schemas.ShadowModelInfo(shadow.name, shadow.version, shadow.record is not None),
    )


@route("/v1/reasons", "reasons")
async def list_reasons(request: ApiRequest) -> schemas.ReasonCodes:
    """Return all reason codes with their texts."""
    model = request.service.active.get_scorer().model
    ranker, name = model.risk.reasons, schemas.parse_model_name(model.name)
    return schemas.ReasonCodes(ranker.language, name, ranker.list_codes())


@route("/health/live", "live", scope=None, refusals=())
async def read_liveness(_request: ApiRequest) -> schemas.Liveness:
    """Check that the process responds."""
    return schemas.Liveness(live=True)


@route("/health/ready", "ready", scope=None, answer=schemas.Health, refusals=())
async def send_readiness(request: ApiRequest) -> int:
    """Check whether the service can score, and if not, why."""
    service, active = request.service, request.service.active
    reasons, warnings = service.explain_unready(), service.list_warnings()
    if not request.door.may_read(request.call):  # they name files and databases
        reasons, warnings = ([HIDDEN] if found else [] for found in (reasons, warnings))
    health = schemas.Health(
        not reasons,
        reasons,
        warnings,
        active.degraded,
        schemas.ModelName.parse(active.model.name) if active.scorer else None,
        service.log.last_sequence,
        service.role.name,
    )
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    return await respond_json(request.call, health, status)


@route("/metrics", "metrics", answer="text/plain", refusals=(), cost=0)
async def send_metrics(request: ApiRequest) -> int:
    """Return metrics for Prometheus."""
    body = request.service.metrics.render(request.service.read_gauges())
    await respond(request.call, 200, body, METRICS_MEDIA_TYPE)
    return 200
