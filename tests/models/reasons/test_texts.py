"""The tables of texts: every feature, at every kind of value, says something an officer can read."""

import re
from typing import Any

import numpy as np
import pytest
from support.cases import read_cases

from features.config import ExtraColumns, FeatureConfig, HistoryKeys
from features.fitted import FittedParameters
from features.history.pseudonyms import Pseudonyms
from features.normalization.normal_forms import DeclaredTexts
from features.pipeline import Pipeline
from features.spec import Feature
from models.reasons.row_view import RowView
from models.reasons.sentences import ReasonContext, Sentence
from models.reasons.texts import ReasonTemplate, find_template, get_template, load_text_table
from models.reasons.usual import Usual

CONFIG = FeatureConfig(
    ExtraColumns(numeric=("tax_rate",), category=("tax_type",)),
    HistoryKeys((("hs_code", "departure_country"), ("office",), ("tax_type", "carrier", "payment"))),
)
SPEC = Pipeline(CONFIG, FittedParameters.create_empty(), Pseudonyms(bytes(32))).spec
LEARNT = ["kr", "small_packet", "2939", "usd", "abc", "def", "ghi", "jkl"]
CODED = [
    *("channel", "service", "nature", "payment", "carrier", "declarant", "office", "currency", "hs6"),
    *("departure_country", "destination_country", "origin_country", "hs_chapter", "hs_heading", "tax_type"),
]
VALUES = (float("nan"), 0.0, 1.0, 2.0, 7.5, 0.3, 1.02, -3.0, 12345.0, 3.4e38, float("inf"))
USUAL = (None, *(Usual("category.channel", 2, *[middle] * 3) for middle in (0.0, 1.0, 2.0, 60.0)))
REFUSED = re.compile(
    r"unknown|halved|standard deviation|\(s\)|[{}_]|\bnan\b|(?-i:\bNone\b)|: (yes|no)\b|  |\binf\b|\be\+"
    r"|(?<![\d.,])1 (consignments|days|times|legs|words|digits|items|pieces|kinds|places|countries|names)"
    r"|(?<![\d.,])1 (different|inspections|offences|alerts|characters|respects)"
    r"|[a-z]\.[a-z]",
    re.IGNORECASE,
)


VOCABULARIES = {**dict.fromkeys(CODED, LEARNT), "channel": ["air_cargo", "postal"]}
CONTEXT = ReasonContext({}, VOCABULARIES)
DECLARED = DeclaredTexts("4-CMC", "293299", "PEK>ICN", "CN", "KR", "IN", "US", "JP")


@pytest.mark.parametrize("declared", [DeclaredTexts(), DECLARED], ids=["unquoted", "quoted"])
def test_every_feature_reads_well_at_every_value(declared: DeclaredTexts) -> None:
    sentences, said = {feature.name: Sentence(feature, CONTEXT) for feature in SPEC}, set()
    for at, (name, sentence) in enumerate(sentences.items()):
        row = np.full(len(SPEC), np.nan, dtype=np.float32)
        for value in VALUES:
            row[at] = value
            view = RowView(row.copy(), declared, sentences, CONTEXT)
            said.add(view.describe(name).text)
            said |= {view.fill(sentence.describe(value, usual).text) for usual in USUAL}
    assert [text for text in said if REFUSED.search(text) or not text.strip()] == []
    assert [text for text in said if text[0].islower()] == []


def is_whole(feature: Feature, template: ReasonTemplate | None) -> bool:
    """Whether a feature has its own text for each kind of value."""
    if template is None or not template.missing:
        return False
    if template.steps:
        bounds = [bound for bound, _ in template.steps]
        return bounds == sorted(bounds) and bounds[-1] == float("inf")
    if feature.unit == "flag" or template.true:
        return bool(template.true and template.false)
    few = feature.unit not in ("count", "days") or bool(template.zero and template.one)
    return "{value}" in template.other and few and (feature.unit != "code" or bool(template.zero))


def test_every_feature_has_a_text_for_every_case() -> None:
    assert [each.name for each in SPEC if not is_whole(each, find_template(each.name))] == []


def test_only_columns_and_texts_of_the_table_are_in_it() -> None:
    """A text that no feature has would never be translated in vain."""
    table = load_text_table()
    known = {feature.name for feature in SPEC}
    assert set(table.feature) <= known
    assert {f"history.sender.{reading}" for reading in table.reading} <= known
    assert {f"history.{kind}.new" for kind in table.key if kind != "declared"} <= known


def test_a_feature_that_no_table_has_is_told_in_its_own_words() -> None:
    assert get_template(Feature("made.number_of", "count", "r")).other == "made number of: {value}"


@pytest.mark.parametrize("case", read_cases("feature_texts"))
def test_what_some_features_say(case: dict[str, Any]) -> None:
    """Each line has a feature, its value, and its text where 60 is usual; null is a missing value."""
    sentences = {feature.name: Sentence(feature, CONTEXT) for feature in SPEC}
    view = RowView(np.full(len(SPEC), np.nan, np.float32), DeclaredTexts(), sentences, CONTEXT)
    value = np.nan if case["value"] is None else case["value"]
    said = sentences[case["name"]].describe(value, Usual("category.channel", 2, 50, 60, 70))
    assert view.fill(said.text) == case["text"]


@pytest.mark.parametrize(
    ("value", "high", "said", "is_notable"),
    [(4.0, 1.0, "1 or fewer", True), (2.0, 1.0, "1 or fewer", False), (1.0, 0.0, "none", True)],
)
def test_what_most_do_not_have_is_compared_with_the_high_value(
    value: float, high: float, said: str, is_notable: bool
) -> None:
    sentence = Sentence(Feature("a.count", "count", "goods", text="{value} made up"), CONTEXT)
    usual = Usual("category.channel", 2, 0, 0, high)
    assert sentence.describe(value, usual).text == f"{value:g} made up; usual for postal items: {said}"
    assert sentence.stands_out(value, usual) == is_notable


def test_flags_and_codes_have_no_usual_value() -> None:
    features = [Feature("a.flag", "flag", "goods"), Feature("a.count", "count", "goods")]
    usual = Usual("category.channel", 2, 1, 1, 1)
    sentences = [Sentence(feature, CONTEXT) for feature in features]
    assert [each.describe(0.0, usual).usual for each in sentences] == [None, 1]
