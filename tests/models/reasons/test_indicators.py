"""Reasons of indicators: what an officer reads when a partner's seizure matches."""

import numpy as np
import pytest
from support.real_rows import REAL, row_with

from models.reasons.ranking import ReasonRanker
from models.rules import Rules

MATCH = {
    "alerts__sender_indicators": 2,
    "alerts__consignee_indicators": 0,
    "alerts__days_since_sender_indicator": 12,
    "alerts__indicator_strength": 0.8,
}


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
    contributions = np.zeros(len(REAL))
    contributions[REAL.get_column(feature)] = 1.5
    [reason] = ReasonRanker(REAL).rank(row_with(**MATCH), contributions, 3)
    assert (reason.code, [fact.code for fact in reason.facts], reason.text) == (
        "finds",
        ["partner_indicator"],
        text,
    )


def test_the_rules_raise_a_match_and_not_a_name_alone() -> None:
    rules = Rules(REAL)
    name_alone = MATCH | {"alerts__indicator_strength": 0.2}
    [match, name] = rules.compute_scores(np.stack([row_with(**MATCH), row_with(**name_alone)]))
    assert (match, name) == (4, 0)
    assert [reason.code for reason in rules.explain(row_with(**MATCH))] == ["finds"]
