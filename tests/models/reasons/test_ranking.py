"""Reasons: contributions in an officer's words."""

import msgspec
import numpy as np
import pytest

from features.spec import Feature, Spec
from models.reasons.ranking import Reason, ReasonRanker
from models.reasons.sentences import ReasonContext

SPEC = Spec(
    [
        Feature("history.sender.arrivals_7d", "count", "sender_volume"),
        Feature("history.sender.arrivals_30d", "count", "sender_volume"),
        Feature("value.usd", "USD", "declared_value"),
        Feature("route.missing", "flag", "route_unknown"),
    ]
)
ROW = np.array([4, 9, 1250.4, 1], dtype=np.float32)


def told(contributions: list[float], top: int = 3, lowering: bool = False) -> list[tuple[str, str, float]]:
    ranked = ReasonRanker(SPEC).rank(ROW, np.array(contributions), top, lowering=lowering)
    return [(reason.code, reason.text, round(reason.contribution, 6)) for reason in ranked]


def test_features_of_one_meaning_are_one_reason_told_by_the_feature_that_weighs_most() -> None:
    assert told([0.5, 0.75, 0.25, 0.0]) == [
        ("sender_volume", "9 consignments of this sender in the last 30 days", 1.25),
        ("declared_value", "Declared value is 1,250 USD", 0.25),
    ]


def test_what_lowers_the_score_is_told_only_when_asked_for() -> None:
    contributions = [0.5, -2.0, 0.25, -0.125]
    assert [code for code, _, _ in told(contributions)] == ["declared_value"]
    assert told(contributions, 9, lowering=True) == [
        ("declared_value", "Declared value is 1,250 USD", 0.25),
        ("route_unknown", "No route is given", -0.125),
        ("sender_volume", "9 consignments of this sender in the last 30 days", -1.5),
    ]


def test_no_more_reasons_than_asked_for_and_equal_ones_by_their_codes() -> None:
    assert [code for code, _, _ in told([0.1, 0.1, 0.2, 0.2], 2)] == ["declared_value", "route_unknown"]
    assert told([1.0, 1.0, 1.0, 1.0], 0) == []


def test_the_expected_value_behind_the_features_is_no_reason() -> None:
    assert told([0.0, 0.0, 0.0, 0.0, 7.0], 9) == []


FACTS = Spec(
    [
        Feature("history.route.arrivals_7d", "count", "route_volume"),
        Feature("history.route.arrivals_30d", "count", "route_volume"),
        Feature("history.route.days_since_last", "days", "route_volume"),
        Feature("goods.characters", "count", "text_shape"),
        Feature("goods.pretext_words", "count", "pretext_use"),
        Feature("goods.text_score", "log-odds", "text_score"),
    ]
)
USUAL = ReasonContext([60.0, 200.0, None, 20.0, 0.0, -3.0])


def rank_facts(row: list[float], contributions: list[float], **options: bool) -> list[Reason]:
    ranker = ReasonRanker(FACTS, USUAL, "en")
    return ranker.rank(np.array(row, dtype=np.float32), np.array(contributions), 9, **options)


def test_the_facts_of_one_reason_are_joined_and_no_fact_is_told_twice() -> None:
    (reason,) = rank_facts([9, 30, 2, 1, 1, 1], [0.5, 0.4, 0.3, 0, 0, 0])
    assert reason.text == (
        "9 consignments on this route in the last 7 days (usual: 60); the last consignment on this route came 2 days ago"
    )
    assert (reason.value, reason.usual, reason.direction) == (9.0, 60.0, "raises")


def test_a_fact_that_adds_next_to_nothing_is_not_told() -> None:
    (reason,) = rank_facts([9, 30, 2, 1, 1, 1], [0.5, 0, 0.05, 0, 0, 0])
    assert reason.text == "9 consignments on this route in the last 7 days; usual: 60"


def test_what_an_officer_cannot_act_on_comes_after_all_that_raises() -> None:
    reasons = rank_facts([9, 30, 2, 7, 1, -1], [0.1, 0, 0, 0.5, 0.2, 2.0])
    assert [reason.code for reason in reasons] == ["pretext_use", "route_volume", "text_score", "text_shape"]


def test_a_reason_that_lowers_says_so_and_stands_behind() -> None:
    reasons = rank_facts([9, 30, 2, 7, 1, -1], [-0.1, 0, 0, 0.5, 0.2, 2.0], lowering=True)
    assert [reason.direction for reason in reasons] == ["raises", "raises", "raises", "lowers"]
    assert sum(reason.contribution for reason in reasons) == pytest.approx(2.6)


def test_a_missing_value_is_null_and_is_told_alone() -> None:
    (reason,) = rank_facts([np.nan, np.nan, np.nan, 1, 1, 1], [0.5, 0.4, 0.3, 0, 0, 0])
    assert (reason.text, reason.value, reason.usual) == ("No route is given", None, 60.0)


def test_values_are_those_of_the_row_without_digits_of_their_storage() -> None:
    (reason,) = rank_facts([0.1, 0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0, 0])
    assert reason.value == 0.1


def test_two_codes_that_say_the_same_are_one_reason() -> None:
    spec = Spec([Feature("route.missing", "flag", "a"), Feature("history.route.new", "flag", "b")])
    row, contributions = np.array([1, np.nan], dtype=np.float32), np.array([0.2, 0.1])
    ranker = ReasonRanker(spec, language="en")
    assert [reason.text for reason in ranker.rank(row, contributions, 9)] == ["No route is given"]
    assert len(ranker.rank(row, contributions, 9, lowering=True)) == 2


def test_a_reason_of_an_older_log_decodes() -> None:
    old = msgspec.msgpack.encode(
        {"code": "route_volume", "text": "Route had 9 consignments", "contribution": 0.5}
    )
    reason = msgspec.msgpack.decode(old, type=Reason)
    assert (reason.text, reason.value, reason.usual, reason.direction) == (
        "Route had 9 consignments", None, None, "raises",
    )  # fmt: skip
    assert list(msgspec.to_builtins(reason)) == [
        "code",
        "text",
        "value",
        "usual",
        "contribution",
        "direction",
    ]


def test_all_codes_are_listed_with_their_texts() -> None:
    listed = {each.code: each for each in ReasonRanker(FACTS, USUAL, "en").list_codes()}
    assert listed["text_score"].last
    assert not listed["route_volume"].last
    assert [feature.name for feature in listed["route_volume"].features] == list(FACTS.names[:3])
    assert listed["pretext_use"].features[0].texts["one"].startswith("Description has a use")


CHANNELS = ReasonContext(
    [1.0, 3.0], {"channel": ["air_cargo", "postal"]}, channel_medians={"postal": [60.0, None]}
)


@pytest.mark.parametrize(
    ("code", "text", "usual"),
    [
        (2.0, "9 consignments on this route in the last 7 days; usual for postal items: 60", 60.0),
        (1.0, "9 consignments on this route in the last 7 days; usual: 1", 1.0),
        (0.0, "9 consignments on this route in the last 7 days; usual: 1", 1.0),
        (np.nan, "9 consignments on this route in the last 7 days; usual: 1", 1.0),
    ],
)
def test_usual_is_of_the_channel_if_its_traffic_is_known(code: float, text: str, usual: float) -> None:
    spec = Spec(
        [
            Feature("history.route.arrivals_7d", "count", "route_volume"),
            Feature("category.channel", "code", "channel"),
        ]
    )
    row = np.array([9, code], dtype=np.float32)
    (reason,) = ReasonRanker(spec, CHANNELS, "en").rank(row, np.array([1.0, 0.0]), 3)
    assert (reason.text, reason.usual) == (text, usual)


KEYS = Spec(
    [
        Feature("history.sender.nps_ever", "count", "sender_finds"),
        Feature("history.sender.arrivals_ever", "count", "sender_volume"),
        Feature("history.sender_phone.nps_ever", "count", "sender_phone_finds"),
        Feature("history.sender_phone.arrivals_ever", "count", "sender_phone_volume"),
        Feature("history.consignee_phone.nps_ever", "count", "consignee_phone_finds"),
        Feature("history.consignee_phone.arrivals_ever", "count", "consignee_phone_volume"),
        Feature("history.sender_side.nps_a_consignment", "share", "sender_side_finds"),
        Feature("history.either_side.nps_a_consignment", "share", "either_finds"),
    ]
)


@pytest.mark.parametrize(
    ("counts", "side", "either"),
    [
        (
            [1, 20, 2, 4, 0, 9],
            "NPS was found in 2 of 4 earlier consignments with this sender's telephone number",
            "NPS was found in 2 of 4 earlier consignments with this sender's telephone number",
        ),
        (
            [1, 20, 0, 4, 1, 1],
            "NPS was found in 1 of 20 earlier consignments of this sender",
            "NPS was found in the only earlier consignment with this consignee's telephone number",
        ),
        (
            [0, 20, np.nan, np.nan, 0, 1],
            "NPS was found in up to 20 % of consignments with this sender's name, address, phone, e-mail or account",
            "NPS was found in up to 20 % of consignments with the sender's or the consignee's name, address, phone or e-mail",
        ),
    ],
)
def test_the_key_that_had_the_detections_is_named(counts: list[float], side: str, either: str) -> None:
    ranker = ReasonRanker(KEYS, language="en")
    row = np.array([*counts, 0.2, 0.2], dtype=np.float32)
    texts = {
        reason.code: reason.text
        for reason in ranker.rank(row, np.array([0, 0, 0, 0, 0, 0, 1.0, 0.5]), 9, lowering=True)
    }
    assert (texts["sender_side_finds"], texts["either_finds"]) == (side, either)


def test_the_detections_of_a_named_key_are_not_given_twice() -> None:
    ranker, row = ReasonRanker(KEYS, language="en"), np.array([0, 3, 2, 4, 0, 9, 0.2, 0.2], dtype=np.float32)
    contributions = np.array([0, 0, 0.8, 0, 0, 0, 1.0, 0])
    assert [each.code for each in ranker.rank(row, contributions, 9)] == ["sender_side_finds"]
    assert len(ranker.rank(row, contributions, 9, lowering=True)) == len({each.reason for each in KEYS})


def test_a_word_is_quoted_once_in_an_answer() -> None:
    spec = Spec(
        [
            Feature("goods.names_specific", "count", "substance_named"),
            Feature("goods.names_disguised", "count", "name_disguised"),
        ]
    )
    ranker, row = ReasonRanker(spec, language="en"), np.ones(2, dtype=np.float32)
    texts = [each.text for each in ranker.rank(row, np.array([2.0, 1.0]), 9, goods="pure 4 - C M C")]
    assert texts == [
        "Description names a known NPS (“4 - C M C”)",
        "A substance name is written in disguise: spaced out, or with digits or letters of other scripts",
    ]


def test_the_words_of_the_goods_are_quoted_if_they_are_at_hand() -> None:
    spec = Spec([Feature("goods.names_specific", "count", "substance_named")])
    ranker, row = ReasonRanker(spec, language="en"), np.array([1], dtype=np.float32)
    (named,) = ranker.rank(row, np.array([1.0]), 3, goods="pure 4-CMC crystals")
    (plain,) = ranker.rank(row, np.array([1.0]), 3)
    assert (named.text, plain.text) == (
        "Description names a known NPS (“4-CMC”)",
        "Description names a known NPS",
    )
    (nothing,) = ranker.rank(np.zeros(1, dtype=np.float32), np.array([1.0]), 3, goods="cotton socks")
    assert nothing.text == "Description names no known NPS"


def test_that_a_sender_is_new_is_said_once_in_an_answer() -> None:
    spec = Spec(
        [
            Feature("history.sender.days_since_first", "days", "sender_new"),
            Feature("history.sender.arrivals_365d", "count", "sender_volume"),
            Feature("history.sender.counterparts", "count", "sender_counterparts"),
            Feature("history.consignee.arrivals_365d", "count", "consignee_volume"),
        ]
    )
    ranker, row = ReasonRanker(spec, language="en"), np.array([np.nan, 0, 0, 0], dtype=np.float32)
    contributions = np.array([0.4, 0.3, 0.2, 0.1])
    assert [each.text for each in ranker.rank(row, contributions, 9)] == [
        "No earlier consignment of this sender is known",
        "No consignment to this consignee in the last 365 days",
    ]
    assert len(ranker.rank(row, contributions, 9, lowering=True)) == 4
