"""Reasons: themes whose contributions are exact, with facts in an officer's words and in an order that helps."""

import json
import math
from typing import Any

import numpy as np
import pytest
from support.cases import DATA, read_cases
from support.described import REAL, row_with

from features.normalization.normal_forms import DeclaredTexts
from features.spec import Feature, Spec
from models.reasons.ranking import NO_TEXTS, Reason, ReasonRanker
from models.reasons.sentences import ReasonContext

CHANNEL = "category.channel"
KNOWN = json.loads((DATA / "usual_values.json").read_text())
CONTEXT = ReasonContext(KNOWN["usual"], KNOWN["names"])
Facts = dict[str, tuple[float, float]]
POSTAL = {CHANNEL: 2.0}


def rank(
    facts: Facts,
    top: int = 9,
    declared: DeclaredTexts = NO_TEXTS,
    context: ReasonContext = CONTEXT,
    **options: bool,
) -> list[Reason]:
    """Rank features that are given as value and contribution; a value of NaN is a missing one."""
    values = {name: value for name, (value, _) in facts.items()}
    row = row_with(**{name.replace(".", "__"): value for name, value in (POSTAL | values).items()})
    contributions = np.zeros(len(REAL))
    for name, (_, contribution) in facts.items():
        contributions[REAL.get_column(name)] = contribution
    return ReasonRanker(REAL, context).rank(row, contributions, top, declared=declared, **options)


PRETEXT = {"goods.pretext_words": (1.0, 0.6), "goods.names_specific": (0.0, 0.0)}


def test_a_reason_is_a_theme_with_the_exact_sum_of_its_features() -> None:
    (reason,) = rank(PRETEXT | {"goods.text_family": (0.0, -0.125), "goods.cover_plant": (1.0, 0.25)})
    assert (reason.code, reason.contribution, reason.direction) == ("goods", 0.725, "raises")
    assert [fact.code for fact in reason.facts] == ["pretext_use", "cover_goods"]
    assert (reason.text, reason.value, reason.usual) == (
        reason.facts[0].text, reason.facts[0].value, reason.facts[0].usual,
    )  # fmt: skip


def test_all_themes_add_up_whatever_is_missing() -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        row = rng.integers(0, 4, len(REAL)).astype(np.float32)
        row[rng.random(len(REAL)) < 0.3] = np.nan
        contributions = rng.normal(size=len(REAL) + 1)
        reasons = ReasonRanker(REAL, CONTEXT).rank(row, contributions, 99, lowering=True)
        assert math.fsum(each.contribution for each in reasons) == pytest.approx(contributions[:-1].sum())
        texts = [fact.text for each in reasons for fact in each.facts]
        assert len(texts) == len(set(texts))
        assert all((each.direction == "raises") == (each.contribution > 0) for each in reasons)


def show(reason: Reason) -> list[Any]:
    return [reason.code, round(reason.contribution, 9), reason.text, [fact.code for fact in reason.facts]]


@pytest.mark.parametrize("case", read_cases("reason_texts"))
def test_what_an_officer_reads(case: dict[str, Any]) -> None:
    """Each line has features with value and contribution, the declaration, and all texts, themes, or reasons, in their order."""
    facts = {name: (math.nan if value is None else value, of) for name, (value, of) in case["facts"].items()}
    context = CONTEXT._replace(usual=case.get("usual", CONTEXT.usual))
    declared, lowering = DeclaredTexts(**case.get("declared", {})), case.get("lowering", False)
    reasons = rank(facts, declared=declared, context=context, lowering=lowering)
    if "codes" in case:
        assert [reason.code for reason in reasons] == case["codes"]
    elif "texts" in case:
        assert [fact.text for reason in reasons for fact in reason.facts] == case["texts"]
    else:
        assert [show(reason) for reason in reasons] == case["reasons"]


def test_no_more_reasons_than_asked_for_and_none_without_a_contribution() -> None:
    two = PRETEXT | {"route.via_hub": (1.0, 0.5)}
    assert [len(rank(two, top)) for top in (0, 1, 2, 9)] == [0, 1, 2, 2]
    assert rank({"goods.pretext_words": (1.0, 0.0)}) == []


def test_all_themes_are_listed_with_the_texts_of_their_features() -> None:
    listed = {each.code: each for each in ReasonRanker(REAL).list_codes()}
    assert sum(len(each.features) for each in listed.values()) == len(REAL)
    assert "_ties" not in str(listed["links"])
    (pretext,) = (each for each in listed["goods"].features if each.name == "goods.pretext_words")
    assert (pretext.fact, pretext.texts["one"][:21]) == ("pretext_use", "Description names goo")


def test_a_feature_of_a_declared_column_is_a_fact_of_the_goods() -> None:
    spec = Spec([Feature("column.tax_rate", "number", "goods")])
    (reason,) = ReasonRanker(spec).rank(np.array([8.0], np.float32), np.array([0.5]), 3)
    assert (reason.code, reason.text) == ("goods", "Tax rate: 8")
