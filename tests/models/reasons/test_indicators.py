"""Reasons of indicators: what an officer reads when a partner's seizure matches."""

import numpy as np
import pytest

from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from models.reasons.ranking import ReasonRanker
from models.rules import Rules

SPEC = Pipeline(FeatureConfig(), FittedParameters.create_empty(), Pseudonyms(b"key")).spec
MATCH = {
    "alerts.sender_indicators": 2,
    "alerts.consignee_indicators": 0,
    "alerts.days_since_sender_indicator": 12,
    "alerts.indicator_strength": 0.8,
}


def make_row(values: dict[str, float]) -> np.ndarray:
    row = np.full(len(SPEC), np.nan, dtype=np.float32)
    for name, value in values.items():
        row[SPEC.get_column(name)] = value
    return row


@pytest.mark.parametrize(
    ("feature", "text"),
    [
        (
            "alerts.days_since_sender_indicator",
            "Sender matches a partner's seizure or warning of 12 days ago",
        ),
        ("alerts.sender_indicators", "2 identifiers of the sender are among the indicators of partners"),
        ("alerts.indicator_strength", "Sender or consignee matches a partner's seizure or warning"),
    ],
)
def test_an_officer_reads_which_seizure_matches(feature: str, text: str) -> None:
    contributions = np.zeros(len(SPEC))
    contributions[SPEC.get_column(feature)] = 1.5
    [reason] = ReasonRanker(SPEC).rank(make_row(MATCH), contributions, 3)
    assert (reason.code, reason.text) == ("partner_indicator", text)


def test_the_rules_raise_a_match_and_not_a_name_alone() -> None:
    rules = Rules(SPEC)
    name_alone = MATCH | {"alerts.indicator_strength": 0.2}
    [match, name] = rules.compute_scores(np.stack([make_row(MATCH), make_row(name_alone)]))
    assert (match, name) == (4, 0)
    assert [reason.code for reason in rules.explain(make_row(MATCH))] == ["partner_indicator"]
