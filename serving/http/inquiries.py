"""Read endpoints: the history of a consignment, the model in use, health, metrics and the OpenAPI document."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from importlib.metadata import version as installed_version

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
from serving.event_log.log import EventLog
from serving.http import schemas
from serving.http.asgi import HttpCall, respond, respond_json
from serving.http.landing_page import build_policy, render_page
from serving.http.openapi import build_document
from serving.http.problems import Refusal
from serving.http.requests import Door, read_page_options
from serving.scoring.active_model import ActiveModel
from serving.scoring.offices import find_office
from serving.service import Service
from serving.shadow.supervisor import ShadowProcess
from serving.state.consignment_states import NO_REASONS

EXCLUDED_FROM_ANSWERS = ("features",)
HIDDEN = "details need an API key with the scope read"
METRICS_MEDIA_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class ConsignmentEndpoint:
    """Endpoint of `GET /v1/consignments/{id}`: every decision and outcome recorded for a consignment, in pages."""

    def __init__(self, door: Door, log: EventLog, active: ActiveModel) -> None:
        self._door, self._log, self._active = door, log, active

    async def __call__(self, call: HttpCall) -> int:
        """Answer one request."""
        caller = self._door.authorize(call, "read")
        caller.spend(1)
        page = read_page_options(call)
        identifier = call.scope["path_params"]["consignment_id"]
        events = await asyncio.to_thread(
            self._log.read_consignment_events, normalize_identifier(identifier), None, EXCLUDED_FROM_ANSWERS
        )
        foreign = (
            caller.offices is not None and find_office(events, self._active.entries) not in caller.offices
        )
        if not events or foreign:
            raise Refusal(404, "Nothing is recorded for this consignment. Check its consignment_id.")
        shown = [event for event in events if event.sequence > page.after][: page.limit]
        history = build_history(identifier, shown, self._log.format_decision_id, self._active.entries)
        if shown and shown[-1] is not events[-1]:
            history = msgspec.structs.replace(history, next=shown[-1].sequence)
        return await respond_json(call, history)


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


class ModelEndpoint:
    """Endpoint of `GET /v1/model`: the model in use."""

    def __init__(self, door: Door, active: ActiveModel, shadow: ShadowProcess) -> None:
        self._door, self._active, self._shadow = door, active, shadow

    async def __call__(self, call: HttpCall) -> int:
        """Answer one request."""
        self._door.authorize(call, "read").spend(1)
        model = self._active.model
        card, release = model.card, model.release
        if card is None or release is None or release.record is None:
            raise self._active.build_no_model_fault()
        figures = release.record.figures
        info = schemas.ModelInfo(
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
            self._build_shadow_info(),
        )
        return await respond_json(call, info)

    def _build_shadow_info(self) -> schemas.ShadowModelInfo | None:
        release = self._shadow.release
        if release is None:
            return None
        return schemas.ShadowModelInfo(release.name, release.version, release.record is not None)


class ReasonsEndpoint:
    """Endpoint of `GET /v1/reasons`: all reason codes with their texts."""

    def __init__(self, door: Door, active: ActiveModel) -> None:
        self._door, self._active = door, active

    async def __call__(self, call: HttpCall) -> int:
        """Answer one request, for the model that scores now."""
        self._door.authorize(call, "read").spend(1)
        scorer = self._active.get_scorer()
        ranker, name = scorer.model.risk.reasons, schemas.parse_model_name(scorer.model.name)
        return await respond_json(call, schemas.ReasonCodes(ranker.language, name, ranker.list_codes()))


async def send_liveness(call: HttpCall) -> int:
    """Answer `GET /health/live`."""
    return await respond_json(call, schemas.Liveness(live=True))


class ReadinessEndpoint:
    """Endpoint of `GET /health/ready`: whether the service can score, and what is wrong."""

    def __init__(self, door: Door, service: Service) -> None:
        self._door, self._service = door, service

    async def __call__(self, call: HttpCall) -> int:
        """Answer one request; the status is 503 if the service cannot score."""
        service, active = self._service, self._service.active
        reasons, warnings = service.explain_unready(), service.list_warnings()
        if not self._door.may_read(call):  # they name files and databases
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
        return await respond_json(call, health, status)


class MetricsEndpoint:
    """Endpoint of `GET /metrics`, for Prometheus."""

    def __init__(self, door: Door, service: Service) -> None:
        self._door, self._service = door, service

    async def __call__(self, call: HttpCall) -> int:
        """Answer one request."""
        self._door.authorize(call, "read")
        body = self._service.metrics.render(self._service.read_gauges())
        await respond(call, 200, body, METRICS_MEDIA_TYPE)
        return 200


class InterfaceEndpoint:
    """Endpoint of `GET /openapi.json`, with the columns that the loaded model declares."""

    def __init__(self, active: ActiveModel) -> None:
        self._active = active

    async def __call__(self, call: HttpCall) -> int:
        """Answer one request."""
        return await respond_json(
            call, build_document(self._active.model.record, installed_version("npsrisk"))
        )


class PageEndpoint:
    """Endpoint of `GET /interface`: the page that lists the calls."""

    def __init__(self, active: ActiveModel) -> None:
        self._active = active

    async def __call__(self, call: HttpCall) -> int:
        """Answer one request."""
        model = self._active.model
        body = render_page(installed_version("npsrisk"), model.name, loaded=model.release is not None)
        await respond(call, 200, body, b"text/html; charset=utf-8", policy=build_policy())
        return 200
