"""The tables of texts: every feature, at every kind of value, in every language, says something an officer can read."""

import re

import numpy as np
import pytest

from consignments.errors import BadSetting, UnknownName
from features.config import ExtraColumns, FeatureConfig, HistoryKeys
from features.fitted import FittedParameters
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from features.spec import Feature, Spec
from models.reasons.ranking import CHANNEL_FEATURE, ReasonRanker
from models.reasons.sentences import ReasonContext, build_sentences, format_number
from models.reasons.texts import LANGUAGES, ReasonTemplate, get_language, get_template, load_text_table

CONFIG = FeatureConfig(
    ExtraColumns(numeric=("tax_rate",), category=("tax_type",)),
    HistoryKeys((("hs_code", "departure_country"), ("office",), ("tax_type", "carrier", "payment"))),
)
SPEC = Pipeline(CONFIG, FittedParameters.create_empty(), Pseudonyms(bytes(32))).spec
LEARNT = ["kr", "small_packet", "2939", "usd", "abc", "def", "ghi", "jkl"]
CODED = (
    "channel",
    "service",
    "nature",
    "payment",
    "carrier",
    "declarant",
    "office",
    "currency",
    "departure_country",
)
CODED += ("destination_country", "origin_country", "hs_chapter", "hs_heading", "hs6", "tax_type")
VALUES = (float("nan"), 0.0, 1.0, 2.0, 7.5, 0.3, 1.02, -3.0, 12345.0, 3.4e38, float("inf"))
USUAL = (None, float("nan"), 0.0, 1.0, 2.0, 60.0)
REFUSED = re.compile(
    r"unknown|halved|standard deviation|\(s\)|[{}_]|\bnan\b|\bNone\b|: (yes|no)\b|  |\binf\b|\be\+"
    r"|(?<![\d.,])1 (consignments|days|times|legs|words|digits|items|pieces|kinds|places|countries|names)"
    r"|(?<![\d.,])1 (different|inspections|offences|alerts|characters|respects)"
    r"|[a-z]\.[a-z]",
    re.IGNORECASE,
)


def render(language: str, usual: float | None, channel: str = "") -> dict[tuple[str, float], str]:
    """Say every feature at every value, each alone in a row."""
    medians = [usual] * len(SPEC)
    vocabularies = {**dict.fromkeys(CODED, LEARNT), "channel": ["air_cargo", "postal"]}
    context = ReasonContext(medians, vocabularies, None, {channel: medians})
    ranker = ReasonRanker(Spec(SPEC.features), context, language)
    said = {}
    for at, name in enumerate(SPEC.names):
        contributions = np.zeros(len(SPEC))
        contributions[at] = 1.0
        for value in VALUES:
            row = np.full(len(SPEC), np.nan, dtype=np.float32)
            row[at] = value
            if channel and name != CHANNEL_FEATURE:
                row[SPEC.get_column(CHANNEL_FEATURE)] = vocabularies["channel"].index(channel) + 1
            (reason,) = ranker.rank(row, contributions, 1)
            said[name, value] = reason.text
    return said


@pytest.mark.parametrize("usual", USUAL)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_feature_reads_well_at_every_value(language: str, usual: float | None) -> None:
    for said in (render(language, usual), render(language, usual, "postal")):
        assert {key: text for key, text in said.items() if REFUSED.search(text) or not text.strip()} == {}
        assert {key: text for key, text in said.items() if text[0].islower()} == {}


@pytest.mark.parametrize("feature", SPEC.features, ids=SPEC.names)
def test_every_feature_has_a_text_for_every_case(feature: Feature) -> None:
    template = load_text_table("en").find_template(feature.name)
    assert template is not None
    assert template.missing
    if template.steps:
        assert [bound for bound, _ in template.steps] == sorted(bound for bound, _ in template.steps)
        assert template.steps[-1][0] == float("inf")
    elif feature.unit == "flag" or template.true:
        assert template.true
        assert template.false
    elif feature.unit == "code":
        assert "{value}" in template.other
        assert template.zero
    else:
        assert "{value}" in template.other
        assert feature.unit not in ("count", "days") or (template.zero and template.one)


def test_only_columns_and_texts_of_the_table_are_in_it() -> None:
    """A text that no feature has would never be translated in vain."""
    table = load_text_table("en")
    known = {feature.name for feature in SPEC}
    assert set(table.feature) <= known
    assert {f"parties.sender_{what}" for what in table.side} <= known
    assert {f"history.sender.{reading}" for reading in table.reading} <= known
    assert {f"history.{kind}.new" for kind in table.key if kind != "declared"} <= known


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
def test_another_language_has_the_fields_and_values_of_english(language: str) -> None:
    table, english = load_text_table(language), load_text_table("en")
    assert table.needs_review
    own = [name for name in SPEC.names if table.find_template(name) is not None]
    assert len({SPEC.features[SPEC.get_column(name)].reason for name in own}) >= 40
    for name in own:
        mine, theirs = table.find_template(name), english.find_template(name)
        assert mine is not None
        assert theirs is not None
        assert (mine.codes, mine.cap, mine.compare, mine.fact, mine.rank) == (
            theirs.codes, theirs.cap, theirs.compare, theirs.fact, theirs.rank,
        )  # fmt: skip
        assert [bound for bound, _ in mine.steps] == [bound for bound, _ in theirs.steps]
        assert bool(mine.other) == bool(theirs.other)
        assert ("{value}" in mine.other) == ("{value}" in theirs.other)


def test_a_feature_that_no_table_has_is_told_in_its_own_words() -> None:
    assert get_template(Feature("made.up", "flag", "r", "It is made up"), "en") == ReasonTemplate(
        true="It is made up", false="Not the case: It is made up", missing="Not known: It is made up"
    )
    assert get_template(Feature("made.number_of", "count", "r"), "en").other == "made number of: {value}"


@pytest.mark.parametrize(
    ("name", "value", "usual", "expected"),
    [
        ("history.route.arrivals_7d", 9.0, 60.0, "9 consignments on this route in the last 7 days; usual: 60"),
        ("history.route.arrivals_7d", 0.0, 60.0, "No consignment on this route in the last 7 days; usual: 60"),
        ("history.route.arrivals_7d", 60.0, 60.0, "60 consignments on this route in the last 7 days"),
        ("history.sender.decayed_7d", 3.0, 1.0, "About 3 consignments of this sender in recent days; usual: 1"),
        ("history.sender_phone.nps_ever", np.nan, 0.0, "No telephone number of the sender is given"),
        ("history.hs_code+departure_country.nps_365d", 1.0, 0.0,
         "NPS was found in 1 consignment with this HS code and country of departure in the last 365 days; usual: 0"),
        ("history.consignee_address.counterparts", 9.0, 2.0,
         "So far 9 or more different senders in consignments to this consignee's address; usual: 2"),
        ("value.usd", 12.5, 35.0, "Declared value is 12.50 USD; usual: 35 USD"),
        ("value.usd_z", -2.2, 0.1, "Declared value is far below what is usual for this product"),
        ("goods.hs_family", 3.0, 5.0, "The HS code belongs to plants, herbs or seeds"),
        ("goods.name_family", 3.0, None, "The substance named belongs to the cathinones"),
        ("goods.vague_share", 0.125, 0.5, "12.5 % of the words in the description are vague; usual: 50 %"),
        ("goods.text_score", -0.1, -2.0,
         "Wording of the description resembles earlier positive consignments more than usual"),
        ("category.departure_country", 1.0, 3.0, "Country of departure: KR"),
        ("category.tax_type", 0.0, None, "The tax type is rarely seen"),
        ("column.tax_rate", 8.0, 10.0, "Tax rate: 8; usual: 10"),
        ("parties.consignee_post_box", 0.0, 1.0, "Consignee's address is no post box"),
    ],
)  # fmt: skip
def test_what_some_features_say(name: str, value: float, usual: float | None, expected: str) -> None:
    context = ReasonContext([usual] * len(SPEC), dict.fromkeys(CODED, LEARNT))
    contributions, row = np.zeros(len(SPEC)), np.full(len(SPEC), np.nan, dtype=np.float32)
    contributions[SPEC.get_column(name)], row[SPEC.get_column(name)] = 1.0, value
    assert ReasonRanker(SPEC, context, "en").rank(row, contributions, 1)[0].text == expected


def test_a_value_in_the_currency_of_the_declaration_names_it() -> None:
    context = ReasonContext((), {"currency": ["usd", "krw"]})
    contributions, row = np.zeros(len(SPEC)), np.full(len(SPEC), np.nan, dtype=np.float32)
    contributions[SPEC.get_column("value.per_kg")] = 1.0
    row[SPEC.get_column("value.per_kg")], row[SPEC.get_column("category.currency")] = 1500.0, 2.0
    assert (
        ReasonRanker(SPEC, context, "en").rank(row, contributions, 1)[0].text
        == "Declared value is 1,500 KRW/kg"
    )


NUMBERS = [
    (3.0, "3"),
    (12345.0, "12,345"),
    (0.35, "0.35"),
    (0.0001234, "0.000123"),
    (1e-30, "0"),
    (1234.5, "1,234"),
]


@pytest.mark.parametrize(("value", "expected"), NUMBERS)
def test_numbers_have_three_digits_that_count(value: float, expected: str) -> None:
    assert format_number(value) == expected


def test_flags_and_codes_have_no_usual_value() -> None:
    features = [
        Feature("a.flag", "flag", "a"),
        Feature("a.code", "code", "b"),
        Feature("a.count", "count", "c"),
    ]
    sentences = build_sentences(features, ReasonContext([1.0, 2.0, 3.0]), "en")
    assert [sentence.usual for sentence in sentences] == [None, None, 3.0]


def test_the_language_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPSRISK_LANGUAGE", LANGUAGES[-1])
    assert get_language() == LANGUAGES[-1]
    monkeypatch.setenv("NPSRISK_LANGUAGE", "klingon")
    with pytest.raises(BadSetting, match="NPSRISK_LANGUAGE"):
        get_language()
    monkeypatch.delenv("NPSRISK_LANGUAGE")
    assert get_language() == "en"
    with pytest.raises(UnknownName):
        load_text_table("klingon")
