"""Scorer: computes a consignment's features with live history, its score, band and reasons, and its log entry.

A repeated consignment is recognized by its content and gets the recorded decision with the same `decision_id`.
"""

import time
from collections.abc import Sequence
from itertools import repeat

import msgspec
import numpy as np
from msgspec.structs import astuple

from consignments.doubts import Doubt
from consignments.errors import ServiceFault
from consignments.identifiers import normalize_identifier
from consignments.records import Consignment
from consignments.timestamps import NO_TIME, US_PER_DAY, to_us_if_known
from consignments.versions import is_late
from features.normalization.normal_forms import DeclaredTexts, get_declared_texts
from models.reasons.ranking import Reason
from serving.encryption.vault import PackedRecord
from serving.event_log.event_codec import Cancellation, Keys, Row, Rows
from serving.event_log.events import ArrivalEvent, DecisionEvent
from serving.event_log.group_commit import CommitGroup, Committer
from serving.event_log.packed_features import pack_rows
from serving.process.clock import Clock
from serving.scoring.intake import Intake
from serving.scoring.loaded_model import LoadedModel
from serving.state.consignment_states import NO_REASONS, ConsignmentState
from serving.telemetry.metrics import Metrics

DEFAULT_REASON_COUNTS = {"high": 3, "elevated": 3, "routine": 0}
MAX_REASONS = 10
_encode = msgspec.msgpack.Encoder().encode
_decode_reasons = msgspec.msgpack.Decoder(list[Reason]).decode
_decode_doubts = msgspec.msgpack.Decoder(list[Doubt]).decode


def decode_doubts(stored: bytes | None) -> list[Doubt]:
    """Decode the logged warnings of a decision."""
    return [] if stored is None else _decode_doubts(stored)


class ScoreResult(msgspec.Struct, frozen=True, gc=False):
    """A decision that may be sent when its group is on disk; None if it is already. That of a repeat has no features."""

    decision: DecisionEvent
    group: CommitGroup | None
    reasons: list[Reason]
    warnings: Sequence[Doubt] = ()
    repeated: bool = False
    cancelled: bool = False


class ScoreRequest(msgspec.Struct, frozen=True, gc=False):
    """A request to score a consignment whose `received_at` is set; without `reasons`, the band sets their number."""

    c: Consignment
    received_us: int
    asked_by: str
    reasons: int | None = None
    office: str | None = None
    doubts: Sequence[Doubt] = ()

    @property
    def day(self) -> int:
        """Return the UTC day on which it was received, in days since the epoch."""
        return self.received_us // US_PER_DAY


class PendingConsignment(msgspec.Struct, frozen=True, gc=False):
    """A packed consignment that is not scored yet."""

    c: Consignment
    packed: PackedRecord
    known: ConsignmentState
    asked: ScoreRequest


Judgement = tuple[DecisionEvent, list[Reason]]  # a decision that is not in the log yet, with its reasons


def _find_cancelled_us(known: ConsignmentState) -> int:
    """Find when the cancelled version of a consignment was issued; the moment of its cancellation if it did not say."""
    if known.issued_us == NO_TIME and known.cancellation is not None:
        return known.cancellation.at_us or NO_TIME
    return known.issued_us


class Scorer:
    """A scorer of consignments, one after the other, in a single thread; the state of `intake` includes the whole log."""

    def __init__(
        self, model: LoadedModel, intake: Intake, committer: Committer, clock: Clock, metrics: Metrics
    ) -> None:
        self.model, self.committer, self.clock = model, committer, clock
        self.state, self._intake, self._metrics = intake.state, intake, metrics
        self._traffic = metrics.traffic
        self._timings: list[tuple[str, float]] = []
        self._width, self._kinds = len(model.spec), len(model.pipeline.kinds)
        model.pipeline.alerts = self.state.alerts

    def score_batch(self, asked: Sequence[ScoreRequest]) -> list[ScoreResult | Exception]:
        """Score a batch from `split_batches` and add all entries to the log's queue, without yielding in between."""
        answers = self._decide(asked)
        self._count_answers(answers)
        last = asked[-1]
        if last.c.cancelled_at is not None and isinstance(answers[-1], ScoreResult):
            cancellation = Cancellation(last.c.consignment_id, last.c.cancelled_at)
            taken = self._intake.record_cancellation(cancellation, self.clock(), last.asked_by)
            if taken is not None:
                answers[-1] = msgspec.structs.replace(answers[-1], group=taken.group, cancelled=True)
        return answers

    def _decide(self, asked: Sequence[ScoreRequest]) -> list[ScoreResult | Exception]:
        """Score consignments together; one after the other, if together an error occurs before they are counted."""
        if len(asked) > 1 and not self.state.history.has_room(len(asked)):
            return self._decide_singly(asked)
        try:
            self.committer.check()
            now_us = self.clock()
            arriving = self._pack_or_repeat(asked)
            fresh = [each for each in arriving if isinstance(each, PendingConsignment)]
            counted = self._compute_features(fresh) if fresh else None
        except Exception as fault:
            return [fault] if len(asked) == 1 else self._decide_singly(asked)
        decided = iter(self._score_and_log(fresh, now_us, *counted) if counted else ())
        return [next(decided) if isinstance(each, PendingConsignment) else each for each in arriving]

    def _decide_singly(self, asked: Sequence[ScoreRequest]) -> list[ScoreResult | Exception]:
        return [answer for each in asked for answer in self._decide([each])]

    def _count_answers(self, answers: Sequence[ScoreResult | Exception]) -> None:
        """Count new decisions, repeats and failures."""
        results = [answer for answer in answers if isinstance(answer, ScoreResult)]
        fresh = [answer.decision for answer in results if not answer.repeated]
        for code in (doubt.code for answer in results if not answer.repeated for doubt in answer.warnings):
            self._metrics.count("doubtful_records", "scores", code)
        bands, scores = [each.band for each in fresh], [each.score for each in fresh]
        self._metrics.record_batch(self._timings, bands, scores)
        self._timings.clear()
        nowhere = sum(each.office is None for each in fresh)
        others = {
            "without_office": nowhere,
            "repeats": len(results) - len(fresh),
            "unscored": len(answers) - len(results),
        }
        for name, count in others.items():
            self._metrics.count(name, by=count)

    def explain(self, features: Row, count: int, declared: DeclaredTexts) -> list[Reason]:
        """Compute the reasons of a row of this model's features, with words of its declaration."""
        return list(self.model.risk.explain(np.array(features, dtype=np.float32), count, declared=declared))

    def _pack_or_repeat(self, asked: Sequence[ScoreRequest]) -> list[PendingConsignment | ScoreResult]:
        """Pack consignments; for one that equals its latest version return the recorded decision."""
        names = [normalize_identifier(each.c.consignment_id) for each in asked]
        consignments = [self._complete(each, name) for each, name in zip(asked, names, strict=True)]
        packed = self.model.entries.consignments.pack_all(consignments, names)
        return list(map(self._find_repeat, asked, consignments, packed))

    def _complete(self, asked: ScoreRequest, name: str) -> Consignment:
        """Return a consignment in the model's type, with the office of its first decision or that of the request if it has none."""
        c = asked.c
        if type(c) is not self.model.record:  # it was decoded before another model was loaded
            c = msgspec.convert(c, self.model.record, from_attributes=True)
        if c.office:
            return c
        decision = self.state.get_consignment(name).decision
        office = (None if decision is None else decision.office) or asked.office
        return c if office is None else msgspec.structs.replace(c, office=office)

    def _find_repeat(
        self, asked: ScoreRequest, c: Consignment, packed: PackedRecord
    ) -> PendingConsignment | ScoreResult:
        """Return the recorded decision of a consignment if it equals its latest version, or its latest late one."""
        known = self.state.get_consignment(packed.name)
        cancelled, issued_us = known.cancellation is not None, to_us_if_known(c.issued_at)
        # A cancelled consignment counts again by a version that was issued later than the cancelled one.
        renewed = cancelled and is_late(_find_cancelled_us(known), issued_us)
        recorded = (known.version, known.late) if known.is_late(issued_us) else (known.version,)
        equal = (each for each in recorded if each is not None and each.content == packed.content)
        decision = None if renewed else next(equal, None)
        if isinstance(decision, DecisionEvent):
            group = self.committer.find_group(decision.sequence)
            reasons = _decode_reasons(decision.reasons or NO_REASONS)
            doubts = decode_doubts(decision.warnings)
            return ScoreResult(decision, group, reasons, doubts, repeated=True, cancelled=cancelled)
        # A state with an entry that is not on disk yet is never dropped from memory.
        known.sequence = self.committer.next_sequence
        return PendingConsignment(c, packed, known, asked)

    def _score_and_log(
        self, arriving: Sequence[PendingConsignment], now_us: int, X: Rows, keys: Keys, counterparts: Keys
    ) -> list[ScoreResult | Exception]:
        """Score consignments that history has counted, and add them to the log, even if the model fails."""
        begun = time.perf_counter()
        arrivals = self.model.entries.encode_arrivals(
            self.committer.next_sequence,
            now_us,
            [each.c for each in arriving],
            [each.packed for each in arriving],
            keys,
            counterparts,
            [each.asked.asked_by for each in arriving],
        )
        judged = self._judge_all(arriving, arrivals, X)
        events = [
            arrival if isinstance(found, Exception) else found[0]
            for arrival, found in zip(arrivals, judged, strict=True)
        ]
        group = self.committer.add(events)
        for each in arriving:
            if each.known.version is None and each.known.outcomes:
                self._metrics.count("joined_outcomes", by=len(each.known.outcomes))
        self.state.record_versions(events, [each.known for each in arriving])
        self._timings.append(("score", time.perf_counter() - begun))
        return [
            found
            if isinstance(found, Exception)
            else ScoreResult(found[0], group, found[1], each.asked.doubts)
            for each, found in zip(arriving, judged, strict=True)
        ]

    def _compute_features(self, arriving: Sequence[PendingConsignment]) -> tuple[Rows, Keys, Keys]:
        """Compute the features of consignments of one day and count them in history, one after the other."""
        begun, day, consignments = time.perf_counter(), arriving[0].asked.day, [each.c for each in arriving]
        X = np.zeros((len(arriving), self._width), dtype=np.float32)
        keys, counterparts = np.zeros((2, len(arriving), self._kinds), dtype=np.uint64)
        self.model.pipeline.fill_rows(
            consignments, X, keys, counterparts, repeat(self.committer.next_sequence)
        )
        issued_us = [to_us_if_known(c.issued_at) for c in consignments]
        self.state.record_arrivals([each.known for each in arriving], day, keys, counterparts, X, issued_us)
        self._timings.append(("features", time.perf_counter() - begun))
        self._traffic.record(consignments, X)
        return X, keys, counterparts

    def _judge_all(
        self, arriving: Sequence[PendingConsignment], arrivals: Sequence[ArrivalEvent], X: Rows
    ) -> list[Judgement | Exception]:
        """Score consignments, and compute bands and reasons; return the exception for one that the model fails on."""
        try:
            scores = self.model.risk.score(X, [each.c.channel for each in arriving]).tolist()
            return [*map(self._judge, arriving, arrivals, X, pack_rows(X), scores)]
        except Exception as fault:
            if len(X) == 1:
                return [fault]
        parts = [slice(at, at + 1) for at in range(len(X))]
        return [each for at in parts for each in self._judge_all(arriving[at], arrivals[at], X[at])]

    def _judge(
        self, pending: PendingConsignment, arrival: ArrivalEvent, row: Row, packed: bytes, score: float
    ) -> Judgement:
        model, risk, c = self.model, self.model.risk, pending.c
        if not 0.0 <= score <= 1.0:
            raise ServiceFault(
                "the model's score is not a probability",
                where=model.name,
                got=repr(score),
                expected="a number from 0 to 1",
                todo="publish another model",
            )
        band = risk.bands.assign(score)
        count = max(DEFAULT_REASON_COUNTS[band], pending.asked.reasons or 0)
        reasons = list(risk.explain(row, count, declared=get_declared_texts(c))) if count else []
        stored = _encode(reasons) if reasons else NO_REASONS
        made_by = model.name, model.sha256, model.spec_sha256
        # The fields of an arrival are the first of a decision's.
        doubts = _encode(pending.asked.doubts) if pending.asked.doubts else None
        # Its history includes the entry before it, so it has no `history_sequence`.
        last = None, c.office or None, doubts
        decision = DecisionEvent(*(*astuple(arrival), packed, score, band, stored, *made_by, *last))
        return decision, reasons
