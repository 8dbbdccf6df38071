"""Trial scores: a consignment is scored with the history of now. Nothing is recorded, and history does not count it."""

from typing import NamedTuple

import msgspec

from consignments.records import Consignment
from consignments.timestamps import convert_us_to_day, to_us
from features.normalization.normal_forms import get_declared_texts
from serving.scoring.scorer import Scorer

REASONS = 5


class TrialScore(NamedTuple):
    """The score that a consignment would get now."""

    consignment_id: str
    score: float
    band: str
    reasons: list[str]


def score_trial(scorer: Scorer, c: Consignment) -> TrialScore:
    """Score a consignment as if it arrived now, without recording it."""
    model, state, received_at = scorer.model, scorer.state, c.received_at
    assert received_at is not None
    if type(c) is not model.record:
        c = msgspec.convert(c, model.record, from_attributes=True)
    row, keys, counterparts = model.describe(c, scorer.committer.next_sequence)
    state.read_arrival(convert_us_to_day(to_us(received_at)), keys, counterparts, row)
    score = model.score_row(row, c.channel)
    reasons = [each.text for each in model.risk.explain(row, REASONS, declared=get_declared_texts(c))]
    return TrialScore(c.consignment_id, score, model.risk.bands.assign(score), reasons)
