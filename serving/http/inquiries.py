"""Read endpoints: the history of a consignment, the model in use, health, metrics and the OpenAPI document."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType, structs

from consignments.doubts import Doubt
from consignments.identifiers import normalize_identifier
from consignments.records import Outcome, Time, about
from consignments.timestamps import to_datetime
from models.promotion_record import Figure
from models.reasons.ranking import Reason, ReasonCode
from serving.event_log.event_codec import (
    CustomsState,
    EntryCodec,
    EventCodec,
    R,
    RecordedAction,
    Selection,
    get_spelling,
)
from serving.event_log.events import DecisionEvent, Event, Kind, RecordEvent
from serving.http.asgi import respond, respond_json
from serving.http.problems import Refusal
from serving.http.routing import ApiRequest, route
from serving.http.scores import ModelName, parse_model_name
from serving.scoring.scorer import decode_doubts
from serving.state.consignment_states import NO_REASONS

EXCLUDED_FROM_ANSWERS = ("features",)
HIDDEN = "details need an API key with the scope read"
METRICS_MEDIA_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class PastDecision(msgspec.Struct, frozen=True):
    """A decision recorded in the event log."""

    decision_id: str
    received_at: Time
    scored_at: Time
    score: float
    band: str
    reasons: list[Reason]
    model: ModelName
    asked_by: str
    warnings: Annotated[list[Doubt], about("what was doubtful in the consignment")]


class RecordedOutcome(Outcome, frozen=True):
    """An outcome as it was recorded."""

    recorded_by: Annotated[str, about("name of the API key that sent it")] = ""


class ConsignmentHistory(msgspec.Struct, frozen=True):
    """All events recorded for a consignment, each list in the order of the log."""

    consignment_id: str
    decisions: list[PastDecision]
    outcomes: list[RecordedOutcome]
    imported: Annotated[list[Time], about("when it was received, if it was imported")]
    cancellations: Annotated[list[Time], about("when it was cancelled")]
    selections: list[Selection]
    actions: Annotated[list[RecordedAction], about("actions of officers")]
    events: Annotated[list[CustomsState], about("answers of customs")]
    next: Annotated[int | UnsetType, about("`after` of the next page; missing on the last one")] = UNSET


class ShadowModelInfo(ModelName, frozen=True):
    """A model in shadow: `npsrisk shadow` reports what it would have answered."""

    approved: Annotated[bool, about("whether a promotion record names it")]


class ModelInfo(msgspec.Struct, frozen=True):
    """The model that scores, with its approval and what was measured of it."""

    name: str
    version: str
    target: str
    as_of: Annotated[str, about("the model was trained on what was known at this time")]
    bundle_sha256: str
    feature_spec_sha256: str
    code_version: str
    metrics: Annotated[dict[str, Figure], about("estimates of the recipe as deployed, with 95 % intervals")]
    known_finds: Annotated[int | None, about("known finds in the metrics; null if nothing was measured")]
    effective_finds: Annotated[float | None, about("equally weighted finds that would tell as much")]
    found: Annotated[dict[str, float], about("known finds in the top `1pct` of the traffic, `capacity`, …")]
    approved_by: str
    approved_at: Time
    loaded_at: Time
    challenger: Annotated[ShadowModelInfo | None, about("the model in shadow")]


class ReasonCodes(msgspec.Struct, frozen=True):
    """The themes of reasons, with the texts of the features of the loaded model."""

    model: ModelName
    codes: list[ReasonCode]


class Health(msgspec.Struct, frozen=True):
    """Readiness of the service."""

    ready: bool
    reasons: Annotated[list[str], about("why the service cannot score now")]
    warnings: Annotated[list[str], about("problems that do not prevent scoring")]
    degraded: Annotated[bool, about("true if the rules score because no model is loaded")]
    model: Annotated[ModelName | None, about("model that scores, or `rules`; null if nothing can score")]
    log_sequence: Annotated[int, about("sequence number of the last durable log entry")]
    role: Annotated[Literal["active", "standby"], about("whether this service scores, or waits")]


class Liveness(msgspec.Struct, frozen=True):
    """Liveness of the process."""

    live: bool


@route("/v1/consignments/{consignment_id:path}", "consignment", paged=True, refusals=(404, 503))
async def read_consignment(request: ApiRequest) -> ConsignmentHistory:
    """Return every decision and outcome recorded for a consignment."""
    log, entries, page = request.service.log, request.service.active.entries, request.page
    identifier = request.call.scope["path_params"]["consignment_id"]
    name = normalize_identifier(identifier)
    events = await asyncio.to_thread(log.read_consignment_events, name, None, EXCLUDED_FROM_ANSWERS)
    offices = request.caller.offices
    if not events or (offices is not None and entries.find_office(events) not in offices):
        raise Refusal(404, "Nothing is recorded for this consignment. Check its consignment_id.")
    shown = [event for event in events if event.sequence > page.after][: page.limit]
    history = build_history(identifier, shown, log.format_decision_id, entries)
    if shown and shown[-1] is not events[-1]:
        history = structs.replace(history, next=shown[-1].sequence)
    return history


def build_history(
    name: str, events: list[Event], decision_id: Callable[[int], str], entries: EventCodec
) -> ConsignmentHistory:
    """Group the events of a consignment by kind; the result has no personal fields."""

    def decode_all(codec: EntryCodec[R, RecordEvent], kind: Kind) -> list[R]:
        found = [event for event in events if isinstance(event, RecordEvent) and event.kind == kind]
        return [structs.replace(codec.decode(each), consignment_id=get_spelling(each)) for each in found]

    clients = [event.asked_by for event in events if event.kind == "outcome"]
    outcomes = zip(decode_all(entries.outcomes, "outcome"), clients, strict=True)
    return ConsignmentHistory(
        name,
        [build_past_decision(event, decision_id) for event in events if isinstance(event, DecisionEvent)],
        [RecordedOutcome(**structs.asdict(each), recorded_by=client) for each, client in outcomes],
        imported=[to_datetime(event.at_us) for event in events if event.kind == "arrival"],
        cancellations=[to_datetime(event.at_us) for event in events if event.kind == "cancellation"],
        selections=decode_all(entries.selections, "selection"),
        actions=decode_all(entries.actions, "action"),
        events=decode_all(entries.states, "state"),
    )


def build_past_decision(event: DecisionEvent, decision_id: Callable[[int], str]) -> PastDecision:
    """Build the answer's form of a logged decision."""
    return PastDecision(
        decision_id(event.sequence),
        to_datetime(event.at_us),
        to_datetime(event.recorded_us),
        event.score,
        event.band,
        msgspec.msgpack.decode(event.reasons or NO_REASONS, type=list[Reason]),
        parse_model_name(event.model),
        event.asked_by,
        decode_doubts(event.warnings),
    )


@route("/v1/model", "model")
async def read_model(request: ApiRequest) -> ModelInfo:
    """Return the model that scores."""
    active, shadow = request.service.active, request.service.find_challenger()
    model = active.model
    card, release = model.card, model.release
    if card is None or release is None or release.record is None:
        raise active.build_no_model_fault()
    figures = release.record.figures
    return ModelInfo(
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
        None if shadow is None else ShadowModelInfo(shadow.name, shadow.version, shadow.record is not None),
    )


@route("/v1/reasons", "reasons")
async def list_reasons(request: ApiRequest) -> ReasonCodes:
    """Return all themes of reasons with their texts."""
    model = request.service.active.get_scorer().model
    return ReasonCodes(parse_model_name(model.name), model.risk.reasons.list_codes())


@route("/health/live", "live", tag="service", scope=None, refusals=())
async def read_liveness(_request: ApiRequest) -> Liveness:
    """Check that the process responds."""
    return Liveness(live=True)


@route("/health/ready", "ready", tag="service", scope=None, answer=Health, refusals=())
async def send_readiness(request: ApiRequest) -> int:
    """Check whether the service can score, and if not, why."""
    service, active = request.service, request.service.active
    reasons, warnings = service.explain_unready(), service.list_warnings()
    if not request.door.may_read(request.call):  # they name files and databases
        reasons, warnings = ([HIDDEN] if found else [] for found in (reasons, warnings))
    health = Health(
        not reasons,
        reasons,
        warnings,
        active.degraded,
        parse_model_name(active.model.name) if active.scorer else None,
        service.log.last_sequence,
        service.role.name,
    )
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    return await respond_json(request.call, health, status)


@route("/metrics", "metrics", tag="service", scope="metrics", answer="text/plain", refusals=(), cost=0)
async def send_metrics(request: ApiRequest) -> int:
    """Return metrics for Prometheus."""
    body = request.service.metrics.render(request.service.read_gauges())
    await respond(request.call, 200, body, METRICS_MEDIA_TYPE)
    return 200
