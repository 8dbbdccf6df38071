"""Endpoint of `POST /v1/scores`, in plain ASGI. A response is sent only after its decision is on disk."""

import asyncio
import math
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from consignments.records import Consignment
from consignments.timestamps import to_datetime, to_us
from features.normalization.normal_forms import get_goods_text
from models.reasons.ranking import Reason
from serving.event_log.events import DecisionEvent
from serving.event_log.group_commit import CommitGroup
from serving.event_log.log import EventLog
from serving.event_log.packed_features import unpack_row
from serving.http.asgi import HttpCall, respond
from serving.http.auth import Caller
from serving.http.messages import MESSAGE_TYPES, build_records, describe_messages, read_message_body
from serving.http.problems import RecordFault, Refusal, RowFault
from serving.http.requests import (
    JSON_TYPES,
    Door,
    RecordReader,
    build_refusal,
    read_parameters,
)
from serving.http.routing import Operation
from serving.http.schemas import Score, Scores, parse_model_name
from serving.scoring.active_model import ActiveModel
from serving.scoring.batching import MAX_BATCH_SIZE, Batcher, split_batches, yield_to_requests
from serving.scoring.intake import FieldError, is_valid_arrival, list_arrival_faults
from serving.scoring.message_linking import MessageLinker
from serving.scoring.offices import OTHER_OFFICE, OfficeFinder, Offices
from serving.scoring.scorer import DEFAULT_REASON_COUNTS, MAX_REASONS, ScoreRequest, ScoreResult
from serving.telemetry.metrics import Metrics

ENDPOINT_NAME = "scores"
SCORES_PATH = "/v1/scores"
PARAMETERS = frozenset({"reasons", "features"})
JSON = "application/json"
BODY_TYPES = JSON_TYPES | MESSAGE_TYPES
MAX_BUILT_TOGETHER = 8 * MAX_BATCH_SIZE
"""Maximum number of scores of a list that are built together. They take as long as scoring one batch."""
REASON_COUNTS = frozenset(str(count) for count in range(MAX_REASONS + 1))
_get_datetime = lru_cache(maxsize=64)(to_datetime)
"""The decisions of a batch have one time."""


SCORE_PARAMETERS: tuple[dict[str, Any], ...] = (
    {
        "name": "reasons",
        "in": "query",
        "description": "number of reasons to return; default: 3 for `high` and `elevated`, 0 for `routine`",
        "schema": {"type": "integer", "minimum": 0, "maximum": MAX_REASONS},
    },
    {
        "name": "features",
        "in": "query",
        "description": "whether to return the feature values",
        "schema": {"type": "boolean", "default": False},
    },
)
SCORES = Operation(
    method="POST",
    path=SCORES_PATH,
    name=ENDPOINT_NAME,
    summary="Score one consignment, a list, or messages",
    scope="score",
    answer=Score,
    record=Consignment,
    plural="consignments",
    list_answer=Scores,
    parameters=SCORE_PARAMETERS,
    message_types=tuple(name.decode() for name in MESSAGE_TYPES),
)


class ScoreOptions(NamedTuple):
    """Query parameters of a score request."""

    reasons: int | None = None
    features: bool = False


class DecidedList(NamedTuple):
    """The decisions on the valid members of a list, which may not be on disk yet, and the faults of the others."""

    answers: list[tuple[Consignment, ScoreResult]]
    errors: list[RowFault]


class ScoresEndpoint:
    """The endpoint of `POST /v1/scores`: the batcher scores single consignments, and the active model scores lists."""

    def __init__(
        self, door: Door, batcher: Batcher, active: ActiveModel, log: EventLog, metrics: Metrics
    ) -> None:
        self._door, self._batcher, self._active = door, batcher, active
        self._log, self._metrics = log, metrics
        self._finder = OfficeFinder(active, log)
        self._linker = MessageLinker(active, log)
        self._records: RecordReader[Consignment] = RecordReader(Consignment, "consignments")
        self._record: type[Consignment] = Consignment
        self._encode = msgspec.json.Encoder().encode

    async def __call__(self, call: HttpCall) -> int:
        """Answer one request and return the status."""
        await respond(call, 200, self._encode(await self._answer(call)))
        return 200

    async def _answer(self, call: HttpCall) -> Score | Scores:
        begun = time.perf_counter()
        caller = self._door.authorize(call, "score")
        options = _read_options(call.query)
        body = await self._door.read_body(call, BODY_TYPES)
        if body.kind != JSON:
            return await self._score_messages(body.content, caller, options)
        found = self._read(body.content)
        if isinstance(found, list):
            caller.spend(max(len(found), 1))
            decided = await self._decide_list(found, caller, options)
            return Scores(await self._build_scores(decided.answers, options), decided.errors)
        caller.spend(1)
        request = _build_request(found, self._active.clock(), caller, options)
        if isinstance(request, list):
            raise build_refusal(request)
        if caller.offices is not None and await self._is_foreign(found, caller.offices):
            raise Refusal(403, OTHER_OFFICE.reason)
        call.timings.append(("read", time.perf_counter() - begun))
        await self._active.prefetch((found.consignment_id,))
        answer = await self._batcher.submit(request)
        if answer.group is not None:
            call.timings.append(("log", answer.group.seconds))
        return await self._build_score(found, answer, options)

    async def _score_messages(self, content: bytes, caller: Caller, options: ScoreOptions) -> Scores:
        """Score the consignments that follow from messages; messages without goods are named in the response.

        Houses that a master amends are scored whatever their office; a caller sees those of its own offices.
        """
        self._current_reader()
        found = await read_message_body(content, self._active.clock())
        async with self._linker.lock:
            linked = await self._linker.link(found.entries)
            caller.spend(max(len(linked.rows), 1))
            others = build_records([row for row, own in linked.rows if not own], self._record)
            scored = await self._decide_list(others, caller, options, bound=False)
            mine = [row for row, own in linked.rows if own]
            decided = await self._decide_list(build_records(mine, self._record), caller, options)
            group = await self._linker.record(linked, caller.name)
        shown = [each for each in scored.answers if caller.may_see(each[0].office)]
        refused = [(others[fault.index], fault) for fault in scored.errors]
        notes = [_describe_refused(c, fault) for c, fault in refused if caller.may_see(c.office)]
        scores = await self._build_scores([*shown, *decided.answers], options)
        if group is not None:
            await group.wait_until_durable()
        return Scores(scores, decided.errors, describe_messages(found, linked.unused, notes))

    def _read(self, body: bytes) -> Consignment | list[msgspec.Raw]:
        """Decode a body to one consignment, or to a list of consignments that are decoded later."""
        try:
            return self._current_reader().read(body)
        except Refusal as refusal:
            self._raise_if_degraded(refusal.faults)
            raise

    def _raise_if_degraded(self, faults: Sequence[RecordFault | RowFault]) -> None:
        """Raise `ServiceFault` if no model is loaded and a field is unknown: a model may declare that column later."""
        if self._active.degraded and any(fault.kind == "unknown_field" for fault in faults):
            raise self._active.build_no_model_fault()

    async def _decide_list(
        self,
        raws: Sequence[msgspec.Raw] | Sequence[Consignment],
        caller: Caller,
        options: ScoreOptions,
        *,
        bound: bool = True,
    ) -> DecidedList:
        """Score the valid members of a list; `bound` says whether the offices of the caller limit them."""
        answers: list[tuple[Consignment, ScoreResult]] = []
        errors: list[RowFault] = []
        for start in range(0, len(raws), MAX_BATCH_SIZE):
            good, bad = self._read_chunk(raws, start, caller, options)
            if bound and caller.offices is not None:
                good, bad = await self._split_foreign(good, bad, caller.offices, start)
            self._raise_if_degraded(bad)
            errors += bad
            await self._active.prefetch([request.c.consignment_id for request in good])
            for part in split_batches(good):
                results = self._active.get_scorer().score_batch(part)
                for request, answer in zip(part, results, strict=True):
                    if isinstance(answer, Exception):
                        raise answer
                    answers.append((request.c, answer))
            await yield_to_requests()
        for error in errors:
            self._metrics.record_rejection(ENDPOINT_NAME, error.kind)
        return DecidedList(answers, errors)

    def _read_chunk(
        self,
        raws: Sequence[msgspec.Raw] | Sequence[Consignment],
        start: int,
        caller: Caller,
        options: ScoreOptions,
    ) -> tuple[list[ScoreRequest], list[RowFault]]:
        """Decode some members of a list; return the valid ones as requests, and the faults of the others."""
        good: list[ScoreRequest] = []
        bad: list[RowFault] = []
        now_us, records = self._active.clock(), self._current_reader()
        for index, c in enumerate(_read_members(records, raws, start), start):
            request = c if isinstance(c, RowFault) else _build_request(c, now_us, caller, options)
            if isinstance(request, list):
                request = records.build_row_fault(request, index)
            if isinstance(request, RowFault):
                bad.append(request)
            else:
                good.append(request)
        return good, bad

    async def _split_foreign(
        self, good: list[ScoreRequest], bad: list[RowFault], offices: Offices, start: int
    ) -> tuple[list[ScoreRequest], list[RowFault]]:
        """Move the consignments of other offices from the valid members of a chunk to the faults."""
        faulty = {fault.index for fault in bad}
        places = (place for place in range(start, start + len(good) + len(bad)) if place not in faulty)
        kept, faults, records = list[ScoreRequest](), list(bad), self._current_reader()
        for request, place in zip(good, places, strict=True):
            if await self._is_foreign(request.c, offices):
                faults.append(records.build_row_fault(OTHER_OFFICE, place))
            else:
                kept.append(request)
        return kept, sorted(faults, key=lambda fault: fault.index)

    async def _is_foreign(self, c: Consignment, offices: Offices) -> bool:
        """Check whether a consignment, or its latest version, belongs to none of some offices."""
        return c.office not in offices or await self._finder.is_foreign(c.consignment_id, offices)

    async def _build_scores(
        self, answers: list[tuple[Consignment, ScoreResult]], options: ScoreOptions
    ) -> list[Score]:
        """Build the scores of a list after their decisions are on disk."""
        scores: list[Score] = []
        durable: CommitGroup | None = None
        for start in range(0, len(answers), MAX_BUILT_TOGETHER):
            for c, answer in answers[start : start + MAX_BUILT_TOGETHER]:
                if answer.group is not None and answer.group is not durable:
                    await answer.group.wait_until_durable()
                    durable = answer.group
                scores.append(await self._build_score(c, answer, options))
            await yield_to_requests()
        return scores

    async def _build_score(self, c: Consignment, answer: ScoreResult, options: ScoreOptions) -> Score:
        """Build the score of a decision that is on disk; what is not in memory is read from the log."""
        decision, count = answer.decision, _count_reasons(answer, options)
        features, reasons = decision.features, answer.reasons
        if features is None and (options.features or count > len(reasons)):
            features, reasons = await self._look_up(answer, count, get_goods_text(c))
        return Score(
            c.consignment_id,
            decision.score,
            decision.band,  # type: ignore[arg-type]
            reasons[:count],
            parse_model_name(decision.model),
            _get_datetime(decision.recorded_us),
            self._log.format_decision_id(decision.sequence),
            answer.repeated,
            answer.cancelled,
            self._name_features(features, decision.model_sha256) if options.features else msgspec.UNSET,
        )

    async def _look_up(
        self, answer: ScoreResult, count: int, goods: str
    ) -> tuple[bytes | None, list[Reason]]:
        """Look up what is not in memory: features from the log, and reasons if the model is still the same."""
        event = await asyncio.to_thread(self._log.read_event, answer.decision.sequence)
        if not isinstance(event, DecisionEvent) or event.features is None:
            return None, answer.reasons
        scorer = self._active.get_scorer()
        same = scorer.model.sha256 == answer.decision.model_sha256
        more = count > len(answer.reasons) and same
        reasons = scorer.explain(unpack_row(event.features), count, goods) if more else answer.reasons
        return event.features, reasons

    def _name_features(self, features: bytes | None, model_sha256: str) -> dict[str, float | None] | None:
        model = self._active.get_scorer().model
        if features is None or model.sha256 != model_sha256:
            return None
        values = unpack_row(features).tolist()
        return {
            name: None if math.isnan(value) else value
            for name, value in zip(model.spec.names, values, strict=True)
        }

    def _current_reader(self) -> RecordReader[Consignment]:
        """Return the reader of the loaded model's records."""
        scorer = self._active.scorer
        if scorer is None:
            raise self._active.build_no_model_fault()
        record = scorer.model.record
        if record is not self._record:
            self._record = record
            self._records = RecordReader(record, "consignments")
        return self._records


def _read_members(
    records: RecordReader[Consignment], raws: Sequence[msgspec.Raw] | Sequence[Consignment], start: int
) -> Sequence[Consignment | RowFault]:
    """Return a chunk of a list; members that came in messages are decoded already."""
    chunk: Sequence[Any] = raws[start : start + MAX_BATCH_SIZE]
    return records.read_members(chunk, start) if isinstance(chunk[0], msgspec.Raw) else chunk


def _describe_refused(c: Consignment, fault: RowFault) -> str:
    """Describe why a consignment of an earlier request is not changed as these messages say."""
    return f"{c.consignment_id}: these messages change it, and its record is refused: {fault.detail}"


def _count_reasons(answer: ScoreResult, options: ScoreOptions) -> int:
    return DEFAULT_REASON_COUNTS[answer.decision.band] if options.reasons is None else options.reasons


def _build_request(
    c: Consignment, now_us: int, caller: Caller, options: ScoreOptions
) -> ScoreRequest | list[FieldError]:
    """Build the score request of a consignment, or return all that is wrong with it.

    A consignment without `received_at` is received now.
    """
    received_us = now_us if c.received_at is None else to_us(c.received_at)
    if not is_valid_arrival(c, received_us, now_us) and (faults := list_arrival_faults(c, now_us)):
        return faults
    if c.received_at is None:
        c = msgspec.structs.replace(c, received_at=to_datetime(now_us))
    return ScoreRequest(c, received_us, caller.name, options.reasons)


def _read_options(query: bytes) -> ScoreOptions:
    """Read the parameters of the query string of a score request."""
    if not query:
        return ScoreOptions()
    found = read_parameters(query, PARAMETERS)
    reasons, features = found.get("reasons"), found.get("features", "false")
    if reasons is not None and reasons not in REASON_COUNTS:
        raise Refusal(422, f"Query parameter reasons must be an integer from 0 to {MAX_REASONS}.")
    if features not in ("true", "false"):
        raise Refusal(422, "Query parameter features must be true or false.")
    return ScoreOptions(None if reasons is None else int(reasons), features == "true")
