"""`POST /v1/scores`, a plain ASGI endpoint: an answer leaves only after its decision is on disk."""

import asyncio
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from starlette.types import Receive, Scope

from consignments.records import Consignment
from consignments.visibility import to_datetime
from models.reasons import Reason
from serving.event_log.event_codec import Cancellation, Row, decode_features
from serving.event_log.events import DecisionEvent
from serving.http.asgi import Reply, respond
from serving.http.auth import Caller
from serving.http.problems import RecordFault, Refusal, RowFault
from serving.http.requests import RecordReader, authorize, build_refusal, read_parameters
from serving.http.schemas import ModelName, Score, Scores
from serving.scoring.batching import MAX_BATCH_SIZE, Batcher, split_batches, yield_to_requests
from serving.scoring.intake import FieldError, check_arrival
from serving.scoring.scorer import DEFAULT_REASON_COUNTS, MAX_REASONS, Scorer, ScoreRequest, ScoreResult
from serving.service import Service

ENDPOINT_NAME = "scores"
PARAMETERS = frozenset({"reasons", "features"})
REASON_COUNTS = frozenset(str(count) for count in range(MAX_REASONS + 1))


class ScoreOptions(NamedTuple):
    """What is asked beside the score."""

    reasons: int | None = None
    features: bool = False


class ScoresEndpoint:
    """The endpoint.

    Parameters
    ----------
    service : Service
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._records: RecordReader[Consignment] = RecordReader(Consignment, "consignments")
        self._record: type[Consignment] = Consignment
        self._encode = msgspec.json.Encoder().encode
        self._rounds = Batcher(self._score_all, service.committer.call_when_free)
        self._read_seconds, self._log_seconds = map(service.metrics.get_stage, ("read", "log"))

    async def __call__(self, scope: Scope, receive: Receive, reply: Reply) -> int:
        """Send the answer to one call, and give its status."""
        await respond(reply, 200, self._encode(await self._answer(scope, receive)))
        return 200

    async def _answer(self, scope: Scope, receive: Receive) -> Score | Scores:
        service, begun = self._service, time.perf_counter()
        caller = authorize(service.access, scope, "score")
        wish = read_options(scope)
        body = await service.bodies.read_json(scope, receive)
        found = self._read(body)
        if isinstance(found, list):
            caller.spend(max(len(found), 1))
            return await self._score_list(found, caller, wish)
        caller.spend(1)
        ready = _set_received_at(found, service.clock())
        if isinstance(ready, FieldError):
            raise build_refusal(ready)
        self._read_seconds.observe(time.perf_counter() - begun)
        await service.prefetch((ready.consignment_id,))
        answer = await self._rounds.submit(ScoreRequest(ready, caller.name, wish.reasons))
        if answer.group is not None:
            self._log_seconds.observe(answer.group.seconds)
        return await self._build_score(found.consignment_id, answer, wish)

    def _read(self, body: bytes) -> Consignment | list[msgspec.Raw]:
        try:
            return self._current_reader(self._service.get_scorer()).read(body)
        except Refusal as refusal:
            self._raise_if_degraded(refusal.faults)
            raise

    def _raise_if_degraded(self, faults: Sequence[RecordFault | RowFault]) -> None:
        """Raise `ServiceFault` where a column may be one that a model declares, and none is loaded: its time will come."""
        if self._service.degraded and any(fault.kind == "unknown_field" for fault in faults):
            raise self._service.build_no_model_fault()

    async def _score_list(self, raws: list[msgspec.Raw], caller: Caller, wish: ScoreOptions) -> Scores:
        answers: list[tuple[str, ScoreResult]] = []
        errors: list[RowFault] = []
        for start in range(0, len(raws), MAX_BATCH_SIZE):
            good, bad = self._read_chunk(raws, start)
            self._raise_if_degraded(bad)
            errors += bad
            await self._service.prefetch([c.consignment_id for c in good])
            for part in split_batches([ScoreRequest(c, caller.name, wish.reasons) for c in good]):
                for asked, answer in zip(part, self._score_all(part), strict=True):
                    if isinstance(answer, Exception):
                        raise answer
                    answers.append((asked.c.consignment_id, answer))
            await yield_to_requests()
        for error in errors:
            self._service.metrics.record_rejection(ENDPOINT_NAME, error.kind)
        return Scores(await self._build_scores(answers, wish), errors)

    def _read_chunk(self, raws: list[msgspec.Raw], start: int) -> tuple[list[Consignment], list[RowFault]]:
        """Read some members of a list; gives the good ones, ready to be scored, and the faults of the others."""
        good: list[Consignment] = []
        bad: list[RowFault] = []
        now_us, records = self._service.clock(), self._current_reader(self._service.get_scorer())
        for index, raw in enumerate(raws[start : start + MAX_BATCH_SIZE], start):
            c = records.read_member(raw, index)
            ready = c if isinstance(c, RowFault) else _set_received_at(c, now_us)
            if isinstance(ready, FieldError):
                ready = records.build_row_fault(ready, index)
            if isinstance(ready, RowFault):
                bad.append(ready)
            else:
                good.append(ready)
        return good, bad

    async def _build_scores(self, answers: list[tuple[str, ScoreResult]], wish: ScoreOptions) -> list[Score]:
        """Put answers into words, once their decisions are on disk."""
        scores: list[Score] = []
        for start in range(0, len(answers), MAX_BATCH_SIZE):
            for name, answer in answers[start : start + MAX_BATCH_SIZE]:
                if answer.group is not None:
                    await answer.group.wait_until_durable()
                scores.append(await self._build_score(name, answer, wish))
            await yield_to_requests()
        return scores

    def _score_all(self, part: Sequence[ScoreRequest]) -> list[ScoreResult | Exception]:
        """Score what `split_batches` gives; nothing else runs until all are in the queue of the log."""
        service, last = self._service, part[-1]
        answers = service.get_scorer().decide_all(part)
        for answer in answers:
            if isinstance(answer, ScoreResult):
                self._count(answer)
            else:
                service.metrics.counters["unscored"].inc()
        if last.c.cancelled_at is not None and isinstance(answers[-1], ScoreResult):
            cancellation = Cancellation(last.c.consignment_id, last.c.cancelled_at)
            taken = service.intake.record_cancellation(cancellation, service.clock(), last.asked_by)
            if taken is not None:
                answers[-1] = answers[-1]._replace(group=taken.group)
        return answers

    def _count(self, answer: ScoreResult) -> None:
        metrics = self._service.metrics
        if answer.features is None:
            metrics.counters["repeats"].inc()
            return
        metrics.record_decision(answer.decision.band, answer.decision.score)

    async def _build_score(self, consignment_id: str, answer: ScoreResult, wish: ScoreOptions) -> Score:
        decision, reasons, features = answer.decision, answer.reasons, answer.features
        count = DEFAULT_REASON_COUNTS[decision.band] if wish.reasons is None else wish.reasons
        if features is None and (wish.features or count > len(reasons)):
            features, reasons = await self._look_up(answer, count)
        return Score(
            consignment_id,
            decision.score,
            decision.band,  # type: ignore[arg-type]
            reasons[:count],
            ModelName.parse(decision.model),
            to_datetime(decision.scored_us),
            self._service.log.format_decision_id(decision.sequence),
            self._name_features(features, decision.model_sha256) if wish.features else msgspec.UNSET,
        )

    async def _look_up(self, answer: ScoreResult, count: int) -> tuple[Row | None, list[Reason]]:
        """Give what was not kept in memory: features from the log; reasons, where the model still is the same."""
        event = await asyncio.to_thread(self._service.log.read_event, answer.decision.sequence)
        if not isinstance(event, DecisionEvent) or event.redacted:
            return None, answer.reasons
        features, scorer = decode_features(event), self._service.get_scorer()
        same = scorer.model.sha256 == answer.decision.model_sha256
        more = count > len(answer.reasons) and same
        return features, scorer.explain(features, count) if more else answer.reasons

    def _name_features(self, features: Row | None, model_sha256: str) -> dict[str, float | None] | None:
        model = self._service.get_scorer().model
        if features is None or model.sha256 != model_sha256:
            return None
        values = features.tolist()
        return {
            name: None if math.isnan(value) else value
            for name, value in zip(model.spec.names, values, strict=True)
        }

    def _current_reader(self, scorer: Scorer) -> RecordReader[Consignment]:
        """Give the reader of the loaded model's records."""
        if scorer.model.record is not self._record:
            self._record = scorer.model.record
            self._records = RecordReader(self._record, "consignments")
        return self._records


def _set_received_at(c: Consignment, now_us: int) -> Consignment | FieldError:
    """Give a consignment its moment of arrival, where it has none, or say what is wrong with it."""
    complaint = check_arrival(c, now_us)
    if complaint is not None:
        return complaint
    return c if c.received_at is not None else msgspec.structs.replace(c, received_at=to_datetime(now_us))


def read_options(scope: Scope) -> ScoreOptions:
    """Read the query of a call.

    Raises
    ------
    Refusal
        422 for what it does not know.
    """
    found = read_parameters(scope, PARAMETERS)
    if not found:
        return ScoreOptions()
    reasons, features = found.get("reasons"), found.get("features", "false")
    if reasons is not None and reasons not in REASON_COUNTS:
        raise Refusal(422, f"reasons must be a number from 0 to {MAX_REASONS}")
    if features not in ("true", "false"):
        raise Refusal(422, "features must be true or false")
    return ScoreOptions(None if reasons is None else int(reasons), features == "true")
