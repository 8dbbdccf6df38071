"""Operation `POST /v1/scores`: one consignment, a list, or messages. A response is sent only after its decisions are on disk."""

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from consignments.doubts import Doubt
from consignments.messages.parsed import StateRow
from consignments.offices import MAX_OFFICE_CHARACTERS
from consignments.records import Consignment, Time, about
from consignments.timestamps import to_datetime
from models.bands import Band
from models.reasons.ranking import Reason
from serving.event_log.group_commit import CommitGroup
from serving.http.asgi import HttpCall
from serving.http.problems import Refusal, RowFault
from serving.http.protocol.records import RecordReader, build_refusal, get_reader
from serving.http.requests import JSON_TYPES, read_parameters
from serving.http.routing import ApiRequest, describe_parameter, route
from serving.scoring.batching import MAX_BATCH_SIZE, yield_to_requests
from serving.scoring.intake import OTHER_OFFICE, FieldError
from serving.scoring.scorer import DEFAULT_REASON_COUNTS, MAX_REASONS, ScoreRequest, ScoreResult

SCORES_PATH = "/v1/scores"
OFFICE_HEADER = b"x-office"
MESSAGE_TYPES = {
    b"application/xml": "Cargo-XML, ICS2 or another message in XML",
    b"text/xml": "the same",
    b"text/plain": "Cargo-IMP, EDIFACT or CSV",
    b"application/ld+json": "ONE Record or another message in JSON",
}
"""Media types of messages, which `serving.messages` reads."""
MAX_BUILT_TOGETHER = 8 * MAX_BATCH_SIZE
"""Maximum number of scores of a list that are built together. They take as long as scoring one batch."""
REASON_COUNTS = frozenset(str(count) for count in range(MAX_REASONS + 1))
OFFICE_SCHEMA: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": MAX_OFFICE_CHARACTERS}
OFFICE_TEXT = "customs office of the consignments that name none; the same as the header X-Office"
REASONS_TEXT = "number of reasons to return; default: 3 for `high` and `elevated`, 0 for `routine`"
PARAMETERS = (
    describe_parameter("reasons", REASONS_TEXT, type="integer", minimum=0, maximum=MAX_REASONS),
    describe_parameter("features", "whether to return the feature values", type="boolean", default=False),
    describe_parameter("office", OFFICE_TEXT, **OFFICE_SCHEMA),
    describe_parameter("X-Office", OFFICE_TEXT, "header", **OFFICE_SCHEMA),
)
QUERY_NAMES = frozenset(each["name"] for each in PARAMETERS if each["in"] == "query")


class ModelName(msgspec.Struct, frozen=True):
    """Name and version of a registered model."""

    name: str
    version: str


@lru_cache(maxsize=64)
def parse_model_name(text: str) -> ModelName:
    """Parse the text `NAME/VERSION`; most responses repeat the same few names."""
    name, _, version = text.rpartition("/")
    return ModelName(name, version)


class Score(msgspec.Struct, frozen=True):
    """The score of one consignment."""

    consignment_id: str
    score: Annotated[float, about("calibrated probability", ge=0, le=1)]
    band: Annotated[Band, about("risk band; its share of traffic is set in training")]
    reasons: Annotated[list[Reason], about("reasons of the score, strongest first")]
    model: Annotated[ModelName, about("model that scored; a score of `rules` is not calibrated")]
    scored_at: Time
    decision_id: str
    repeated: Annotated[bool, about("true if the latest version is equal, and this is its decision")]
    cancelled: Annotated[bool, about("true if the consignment is cancelled")]
    warnings: Annotated[Sequence[Doubt], about("what was doubtful, or read otherwise than sent")]
    quality: Annotated[Sequence[str] | UnsetType, about("quality codes of a message's declaration")] = UNSET
    features: Annotated[
        dict[str, float | None] | UnsetType | None,
        about("values used; null if the loaded model did not score"),
    ] = UNSET


class MessageResult(msgspec.Struct, frozen=True):
    """Contents of messages other than goods."""

    events: Annotated[list[StateRow], about("answers of customs")]
    ignored: Annotated[list[str], about("messages without goods, and why; masters kept for their houses")]
    notes: Annotated[list[str], about("what was odd")]
    rejected: Annotated[list[str], about("unreadable messages: place, identifier, why; after 20 only places")]


class Scores(msgspec.Struct, frozen=True):
    """The response to a list of consignments or to messages: scores in their order, and the rejected records."""

    scores: list[Score]
    errors: list[RowFault]
    messages: Annotated[MessageResult | UnsetType, about("what messages held besides goods")] = UNSET


class ScoreOptions(NamedTuple):
    """Query parameters of a score request, and its office."""

    reasons: int | None = None
    features: bool = False
    office: str | None = None


@route(
    SCORES_PATH,
    "scores",
    "POST",
    scope="score",
    record=Consignment,
    plural="consignments",
    answer=Score,
    list_answer=Scores,
    parameters=PARAMETERS,
    message_types=tuple(name.decode() for name in MESSAGE_TYPES),
)
async def score_body(request: ApiRequest) -> Score | Scores:
    """Score one consignment, a list, or messages."""
    begun = time.perf_counter()
    call, messages = request.call, request.service.messages
    scoring = ScoreCall(request, _read_options(call))
    kinds = JSON_TYPES if messages is None else JSON_TYPES | MESSAGE_TYPES
    kind, content = await request.door.read_body(call, kinds)
    if messages is not None and kind != "application/json":
        scores: Scores = await messages.score(scoring, content)
        return scores
    found = scoring.reader.read(content)
    if isinstance(found, list):
        request.caller.spend(max(len(found), 1))
        answers, errors = await scoring.decide_list(found)
        return Scores(await scoring.build_scores(answers), errors)
    request.caller.spend(1)
    return await scoring.score_one(found, begun)


class ScoreCall:
    """One request for scores: the batcher scores a single consignment, and the active model lists."""

    def __init__(self, request: ApiRequest, options: ScoreOptions) -> None:
        self._request, self.caller, self._options = request, request.caller, options
        self._service, self._active = request.service, request.service.active
        self._decider = request.service.decider
        if options.office is not None and not self.caller.may_see(options.office):
            raise build_refusal([OTHER_OFFICE])

    @property
    def reader(self) -> RecordReader[Consignment]:
        """Return the reader of the loaded model's records."""
        return get_reader(self._active.get_scorer().model.record, "consignments")

    async def score_one(self, c: Consignment, begun: float) -> Score:
        """Score a consignment that is decoded since `begun`."""
        asked = await self._build_request(c)
        if isinstance(asked, list):
            raise build_refusal(asked)
        timings = self._request.call.timings
        timings.append(("read", time.perf_counter() - begun))
        await self._active.prefetch((c.consignment_id,))
        answer = await self._service.batcher.submit(asked)
        if answer.group is not None:
            timings.append(("log", answer.group.seconds))
        return await self._build_score(c, answer)

    async def decide_list(
        self,
        raws: Sequence[msgspec.Raw] | Sequence[Consignment],
        warnings: Sequence[Sequence[Doubt]] = (),
        *,
        own: bool = True,
    ) -> tuple[list[tuple[Consignment, ScoreResult]], list[RowFault]]:
        """Score the valid members of a list, with the warnings of each if it came in a message."""
        answers, errors = list[tuple[Consignment, ScoreResult]](), list[RowFault]()
        for start in range(0, len(raws), MAX_BATCH_SIZE):
            chunk: Sequence[Any] = raws[start : start + MAX_BATCH_SIZE]
            reader, good = self.reader, list[ScoreRequest]()
            is_json = isinstance(chunk[0], msgspec.Raw)
            for index, c in enumerate(reader.read_members(chunk, start) if is_json else chunk, start):
                if isinstance(c, RowFault):
                    errors.append(c)
                    continue
                asked = await self._build_request(c, warnings[index] if warnings else (), own=own)
                if isinstance(asked, list):
                    named = UNSET if is_json else c.consignment_id
                    errors.append(reader.build_row_fault(asked, index, named))
                else:
                    good.append(asked)
            answers += await self._decider.decide(good)
        for error in errors:
            self._service.metrics.count("rejected_records", "scores", error.kind)
        return answers, errors

    async def _build_request(
        self, c: Consignment, warnings: Sequence[Doubt] = (), *, own: bool = True
    ) -> ScoreRequest | list[FieldError]:
        office, reasons = self._options.office, self._options.reasons
        return await self._decider.build_request(c, self.caller, office, reasons, own=own, warnings=warnings)

    async def build_scores(
        self, answers: list[tuple[Consignment, ScoreResult]], *, quality: bool = False
    ) -> list[Score]:
        """Build the scores of a list after their decisions are on disk, with the `quality` of messages."""
        scores: list[Score] = []
        durable: CommitGroup | None = None
        for start in range(0, len(answers), MAX_BUILT_TOGETHER):
            for c, answer in answers[start : start + MAX_BUILT_TOGETHER]:
                if answer.group is not None and answer.group is not durable:
                    await answer.group.wait_until_durable()
                    durable = answer.group
                scores.append(await self._build_score(c, answer, quality=quality))
            await yield_to_requests()
        return scores

    async def _build_score(self, c: Consignment, answer: ScoreResult, *, quality: bool = False) -> Score:
        """Build the score of a decision that is on disk; what is not in memory is read from the log."""
        decision, options = answer.decision, self._options
        count = DEFAULT_REASON_COUNTS[decision.band] if options.reasons is None else options.reasons
        features, reasons = decision.features, answer.reasons
        if features is None and (options.features or count > len(reasons)):
            features, reasons = await self._decider.look_up(c, answer, count)
        return Score(
            c.consignment_id,
            decision.score,
            decision.band,  # type: ignore[arg-type]
            reasons[:count],
            parse_model_name(decision.model),
            to_datetime(decision.recorded_us),
            self._service.log.format_decision_id(decision.sequence),
            answer.repeated,
            answer.cancelled,
            answer.warnings,
            c.quality or () if quality else UNSET,
            self._decider.name_features(features, decision.model_sha256) if options.features else UNSET,
        )


def _read_options(call: HttpCall) -> ScoreOptions:
    """Read the query parameters of a score request, and its header X-Office."""
    header = call.headers.get(OFFICE_HEADER)
    if not call.query and header is None:
        return ScoreOptions()
    found = read_parameters(call.query, QUERY_NAMES)
    reasons, features = found.get("reasons"), found.get("features", "false")
    if reasons is not None and reasons not in REASON_COUNTS:
        raise Refusal(422, f"Query parameter reasons must be an integer from 0 to {MAX_REASONS}.")
    if features not in ("true", "false"):
        raise Refusal(422, "Query parameter features must be true or false.")
    office = found.get("office") if header is None else header.decode("utf-8", "replace").strip()
    if found.get("office", office) != office:
        raise Refusal(422, "Query parameter office and header X-Office name two offices. Send one.")
    if office is not None and not (0 < len(office) <= MAX_OFFICE_CHARACTERS and office.isprintable()):
        raise Refusal(422, f"The office must have 1 to {MAX_OFFICE_CHARACTERS} printable characters.")
    return ScoreOptions(None if reasons is None else int(reasons), features == "true", office)
