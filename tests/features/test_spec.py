"""The spec: its digest names what a model was trained on, and no word that an officer reads."""

from dataclasses import replace

import pytest

from consignments.errors import BundleRefused
from features.spec import Feature, Spec

ARRIVALS = Feature("history.sender.arrivals_7d", "count", "sender_pace", "{value} consignments in a week")
SCORE = Feature("goods.text_score", "log-odds", "text_score", "Words speak for it: {value}", fitted=True)
SPEC = Spec([ARRIVALS, SCORE])


def test_another_text_or_theme_leaves_the_digest_and_is_accepted() -> None:
    reworded = Spec([replace(ARRIVALS, text="In the last week: {value} consignments", theme="links"), SCORE])
    assert reworded.compute_digest() == SPEC.compute_digest()
    SPEC.require(reworded)


OTHERS = {
    "name": [replace(ARRIVALS, name="history.sender.arrivals_8d"), SCORE],
    "unit": [replace(ARRIVALS, unit="days"), SCORE],
    "fitted": [ARRIVALS, replace(SCORE, fitted=False)],
    "order": [SCORE, ARRIVALS],
    "fewer": [ARRIVALS],
}


@pytest.mark.parametrize("features", OTHERS.values(), ids=OTHERS)
def test_another_meaning_or_order_is_refused(features: list[Feature]) -> None:
    other = Spec(features)
    assert other.compute_digest() != SPEC.compute_digest()
    for refused in (other, Spec(SPEC.features, version=1)):
        with pytest.raises(BundleRefused, match="trained on features that this version"):
            SPEC.require(refused)


def test_the_digest_is_the_one_that_cards_and_logs_hold() -> None:
    """If this fails, no bundle of the version before can be served: its features have another meaning."""
    assert SPEC.compute_digest()[:16] == "3b9b027cc91344c8"
