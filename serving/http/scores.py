"""`POST /v1/scores`, a plain ASGI endpoint: an answer leaves only after its decision is on disk."""

import asyncio
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from starlette.types import Receive, Scope

from consignments.records import Consignment
from consignments.visibility import moment_of_us
from models.reasons import Reason
from serving.event_log.event_codec import Cancellation, Row, stored_features
from serving.http.asgi import Reply, respond
from serving.http.auth import Caller
from serving.http.problems import Fault, Refusal, RowFault
from serving.http.requests import Records, admit, parameters, refusal_of
from serving.http.schemas import ModelName, Score, Scores
from serving.scoring.batching import MOST_TOGETHER, Rounds, let_others_through, parts_of
from serving.scoring.intake import Complaint, complaint_about_arrival
from serving.scoring.scorer import MOST_REASONS, REASONS_DUE, Answer, Asked, Scorer
from serving.service import Service

CALL = "scores"
PARAMETERS = frozenset({"reasons", "features"})
COUNTS = frozenset(str(count) for count in range(MOST_REASONS + 1))


class Wish(NamedTuple):
    """What is asked beside the score."""

    reasons: int | None = None
    features: bool = False


class ScoresCall:
    """The endpoint.

    Parameters
    ----------
    service : Service
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._records: Records[Consignment] = Records(Consignment, "consignments")
        self._record: type[Consignment] = Consignment
        self._encode = msgspec.json.Encoder().encode
        self._rounds = Rounds(self._score_all, service.committer.when_free)
        self._read_seconds, self._log_seconds = map(service.metrics.stage, ("read", "log"))

    async def __call__(self, scope: Scope, receive: Receive, reply: Reply) -> int:
        """Send the answer to one call, and give its status."""
        await respond(reply, 200, self._encode(await self._answer(scope, receive)))
        return 200

    async def _answer(self, scope: Scope, receive: Receive) -> Score | Scores:
        service, begun = self._service, time.perf_counter()
        caller = admit(service.access, scope, "score")
        wish = read_wish(scope)
        body = await service.bodies.read_json(scope, receive)
        found = self._read(body)
        if isinstance(found, list):
            caller.spend(max(len(found), 1))
            return await self._score_list(found, caller, wish)
        caller.spend(1)
        ready = _dated(found, service.clock())
        if isinstance(ready, Complaint):
            raise refusal_of(ready)
        self._read_seconds.observe(time.perf_counter() - begun)
        await service.meet((ready.consignment_id,))
        answer = await self._rounds.ask(Asked(ready, caller.name, wish.reasons))
        if answer.group is not None:
            self._log_seconds.observe(answer.group.seconds)
        return await self._told(found.consignment_id, answer, wish)

    def _read(self, body: bytes) -> Consignment | list[msgspec.Raw]:
        try:
            return self._reader(self._service.scoring()).read(body)
        except Refusal as refusal:
            self._excuse(refusal.faults)
            raise

    def _excuse(self, faults: Sequence[Fault | RowFault]) -> None:
        """Raise `ServiceFault` where a column may be one that a model declares, and none is loaded: its time will come."""
        if self._service.degraded and any(fault.kind == "unknown_field" for fault in faults):
            raise self._service.no_model()

    async def _score_list(self, raws: list[msgspec.Raw], caller: Caller, wish: Wish) -> Scores:
        answers: list[tuple[str, Answer]] = []
        errors: list[RowFault] = []
        for start in range(0, len(raws), MOST_TOGETHER):
            good, bad = self._read_chunk(raws, start)
            self._excuse(bad)
            errors += bad
            await self._service.meet([c.consignment_id for c in good])
            for part in parts_of([Asked(c, caller.name, wish.reasons) for c in good]):
                for asked, answer in zip(part, self._score_all(part), strict=True):
                    if isinstance(answer, Exception):
                        raise answer
                    answers.append((asked.c.consignment_id, answer))
            await let_others_through()
        for error in errors:
            self._service.metrics.rejected(CALL, error.kind)
        return Scores(await self._tell_all(answers, wish), errors)

    def _read_chunk(self, raws: list[msgspec.Raw], start: int) -> tuple[list[Consignment], list[RowFault]]:
        """Read some members of a list; gives the good ones, ready to be scored, and the faults of the others."""
        good: list[Consignment] = []
        bad: list[RowFault] = []
        now_us, records = self._service.clock(), self._reader(self._service.scoring())
        for index, raw in enumerate(raws[start : start + MOST_TOGETHER], start):
            c = records.one_of(raw, index)
            ready = c if isinstance(c, RowFault) else _dated(c, now_us)
            if isinstance(ready, Complaint):
                ready = records.row_fault(ready, index)
            if isinstance(ready, RowFault):
                bad.append(ready)
            else:
                good.append(ready)
        return good, bad

    async def _tell_all(self, answers: list[tuple[str, Answer]], wish: Wish) -> list[Score]:
        """Put answers into words, once their decisions are on disk."""
        scores: list[Score] = []
        for start in range(0, len(answers), MOST_TOGETHER):
            for name, answer in answers[start : start + MOST_TOGETHER]:
                if answer.group is not None:
                    await answer.group.durable()
                scores.append(await self._told(name, answer, wish))
            await let_others_through()
        return scores

    def _score_all(self, part: Sequence[Asked]) -> list[Answer | Exception]:
        """Score what `parts_of` gives; nothing else runs until all are in the queue of the log."""
        service, last = self._service, part[-1]
        answers = service.scoring().decide_all(part)
        for answer in answers:
            if isinstance(answer, Answer):
                self._count(answer)
            else:
                service.metrics.counters["unscored"].inc()
        if last.c.cancelled_at is not None and isinstance(answers[-1], Answer):
            cancellation = Cancellation(last.c.consignment_id, last.c.cancelled_at)
            taken = service.intake.cancel(cancellation, service.clock(), last.asked_by)
            if taken is not None:
                answers[-1] = answers[-1]._replace(group=taken.group)
        return answers

    def _count(self, answer: Answer) -> None:
        metrics = self._service.metrics
        if answer.features is None:
            metrics.counters["repeats"].inc()
            return
        metrics.decided(answer.decision.band, answer.decision.score)

    async def _told(self, consignment_id: str, answer: Answer, wish: Wish) -> Score:
        decision, reasons, features = answer.decision, answer.reasons, answer.features
        count = REASONS_DUE[decision.band] if wish.reasons is None else wish.reasons
        if features is None and (wish.features or count > len(reasons)):
            features, reasons = await self._looked_up(answer, count)
        return Score(
            consignment_id,
            decision.score,
            decision.band,  # type: ignore[arg-type]
            reasons[:count],
            ModelName.of(decision.model),
            moment_of_us(decision.scored_us),
            self._service.log.decision_id(decision.sequence),
            self._named(features, decision.model_sha256) if wish.features else msgspec.UNSET,
        )

    async def _looked_up(self, answer: Answer, count: int) -> tuple[Row | None, list[Reason]]:
        """Give what was not kept in memory: features from the log; reasons, where the model still is the same."""
        event = await asyncio.to_thread(self._service.log.at, answer.decision.sequence)
        if event.emptied:
            return None, answer.reasons
        features, scorer = stored_features(event), self._service.scoring()
        same = scorer.model.sha256 == answer.decision.model_sha256
        more = count > len(answer.reasons) and same
        return features, scorer.explain(features, count) if more else answer.reasons

    def _named(self, features: Row | None, model_sha256: str) -> dict[str, float | None] | None:
        model = self._service.scoring().model
        if features is None or model.sha256 != model_sha256:
            return None
        values = features.tolist()
        return {
            name: None if math.isnan(value) else value
            for name, value in zip(model.spec.names, values, strict=True)
        }

    def _reader(self, scorer: Scorer) -> Records[Consignment]:
        """Give the reader of the loaded model's records."""
        if scorer.model.record is not self._record:
            self._record = scorer.model.record
            self._records = Records(self._record, "consignments")
        return self._records


def _dated(c: Consignment, now_us: int) -> Consignment | Complaint:
    """Give a consignment its moment of arrival, where it has none, or say what is wrong with it."""
    complaint = complaint_about_arrival(c, now_us)
    if complaint is not None:
        return complaint
    return c if c.received_at is not None else msgspec.structs.replace(c, received_at=moment_of_us(now_us))


def read_wish(scope: Scope) -> Wish:
    """Read the query of a call.

    Raises
    ------
    Refusal
        422 for what it does not know.
    """
    found = parameters(scope, PARAMETERS)
    if not found:
        return Wish()
    reasons, features = found.get("reasons"), found.get("features", "false")
    if reasons is not None and reasons not in COUNTS:
        raise Refusal(422, f"reasons must be a number from 0 to {MOST_REASONS}")
    if features not in ("true", "false"):
        raise Refusal(422, "features must be true or false")
    return Wish(None if reasons is None else int(reasons), features == "true")
