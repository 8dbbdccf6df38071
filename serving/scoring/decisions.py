"""Decisions on the consignments of a client: the doubts about one, the request for one, and lists in batches."""

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path

from msgspec import structs

from consignments.doubts import Doubt, correct_consignment
from consignments.messages.quality import QUALITY_CODES
from consignments.offices import OfficeTable
from consignments.records import Consignment
from consignments.timestamps import to_datetime, to_us
from features.normalization.normal_forms import get_declared_texts
from models.reasons.ranking import Reason
from serving.event_log.events import DecisionEvent
from serving.event_log.packed_features import unpack_row
from serving.process.watched_files import WatchedFiles
from serving.scoring.active_model import ActiveModel, Offices
from serving.scoring.batching import MAX_BATCH_SIZE, split_batches, yield_to_requests
from serving.scoring.intake import NO_OFFICE, OTHER_OFFICE, FieldError, list_faults
from serving.scoring.recording import Client
from serving.scoring.scorer import ScoreRequest, ScoreResult

LOSSES = {
    "volume_in_weight_unit": "gross_weight_kg",
    "piece_count_mismatch": "pieces",
    "check_digit": "consignment_id",
    "identifier_missing": "consignment_id",
    "identifier_malformed": "consignment_id",
    "identifier_repeated": "consignment_id",
    "link_unresolved": None,
    "currency_mixed": "declared_value",
    "unit_doubtful": None,
    "number_malformed": None,
    "text_cut": None,
}
"""Quality codes of what was left out or may be wrong, with the field; the other codes say what the sender did not declare."""


def find_doubts(c: Consignment, warnings: Sequence[Doubt] = ()) -> tuple[Consignment, list[Doubt]]:
    """Return a consignment with its countries corrected, and the doubts about it, those of the reader of its message included."""
    c, doubts = correct_consignment(c)
    named = {each.code for each in warnings}
    losses = (code for code in c.quality or () if code in LOSSES and code not in named)
    others = [Doubt(code, QUALITY_CODES[code], LOSSES[code]) for code in losses]
    return c, list(dict.fromkeys([*doubts, *warnings, *others]))


def watch_offices(path: Path | None) -> WatchedFiles[OfficeTable]:
    """Read the table of offices that a setting names; without a file, it is empty."""
    if path is None:
        return WatchedFiles(list, lambda: OfficeTable({}))
    return WatchedFiles(lambda: [path], lambda: OfficeTable.read(path))


class Decider:
    """A maker of score requests, and of decisions on lists of them; `offices` has the offices of destinations."""

    def __init__(self, active: ActiveModel, offices: WatchedFiles[OfficeTable]) -> None:
        self._active, self._offices = active, offices

    async def build_request(
        self,
        c: Consignment,
        client: Client,
        office: str | None,
        reasons: int | None,
        *,
        own: bool = True,
        warnings: Sequence[Doubt] = (),
    ) -> ScoreRequest | list[FieldError]:
        """Build the score request of a consignment, or return all that is wrong with it, also that it is of another office than the client.

        One without an office keeps that of its first decision, else gets that of the request or of the client, if it is the client's `own`,
        else that of its destination. `warnings` are those of the reader of its message.
        """
        now_us = self._active.clock()
        if faults := list_faults(c, now_us):
            return faults
        received_us = now_us if c.received_at is None else to_us(c.received_at)
        if c.received_at is None:
            c = structs.replace(c, received_at=to_datetime(now_us))
        c, doubts = find_doubts(c, warnings)
        found = None
        if not c.office:
            found = (office or client.only_office) if own else None
            found = found or self._offices.content.find_office(c)
        foreign = None if client.offices is None else await self._find_foreign(c, found, client.offices)
        return [foreign] if foreign else ScoreRequest(c, received_us, client.name, reasons, found, doubts)

    async def _find_foreign(self, c: Consignment, found: str | None, offices: Offices) -> FieldError | None:
        """Return an error if a consignment, or its latest version, belongs to none of the offices that a client is bound to."""
        office = c.office or found
        if c.office and office not in offices:
            return OTHER_OFFICE
        await self._active.prefetch((c.consignment_id,))
        if self._active.is_known(c.consignment_id):
            return OTHER_OFFICE if await self._active.is_foreign(c.consignment_id, offices) else None
        if not office:
            return NO_OFFICE
        return None if office in offices else OTHER_OFFICE

    async def decide(self, asked: Sequence[ScoreRequest]) -> list[tuple[Consignment, ScoreResult]]:
        """Score at most MAX_BATCH_SIZE consignments of a list; raise the exception of one that the model fails on."""
        assert len(asked) <= MAX_BATCH_SIZE
        answers: list[tuple[Consignment, ScoreResult]] = []
        await self._active.prefetch([each.c.consignment_id for each in asked])
        for part in split_batches(asked):
            for each, answer in zip(part, self._active.score_batch(part), strict=True):
                if isinstance(answer, Exception):
                    raise answer
                answers.append((each.c, answer))
        await yield_to_requests()
        return answers

    async def look_up(
        self, c: Consignment, answer: ScoreResult, count: int
    ) -> tuple[bytes | None, list[Reason]]:
        """Look up what is not in memory: features from the log, and reasons if the model is still the same."""
        event = await asyncio.to_thread(self._active.log.read_event, answer.decision.sequence)
        if not isinstance(event, DecisionEvent) or event.features is None:
            return None, answer.reasons
        scorer, reasons = self._active.get_scorer(), answer.reasons
        if count > len(reasons) and scorer.model.sha256 == answer.decision.model_sha256:
            reasons = scorer.explain(unpack_row(event.features), count, get_declared_texts(c))
        return event.features, reasons

    def name_features(self, features: bytes | None, model_sha256: str) -> dict[str, float | None] | None:
        """Return the features of a decision by name; None if another model than the loaded one scored."""
        model = self._active.get_scorer().model
        if features is None or model.sha256 != model_sha256:
            return None
        values = zip(model.spec.names, unpack_row(features).tolist(), strict=True)
        return {name: None if math.isnan(value) else value for name, value in values}
