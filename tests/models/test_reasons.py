"""Reasons: contributions in an officer's words."""

import numpy as np
import pytest

from features.spec import Feature, Spec
from models.reasons import ReasonRanker, format_reason

SPEC = Spec(
    [
        Feature("history.sender.arrivals_7d", "count", "sender_volume", "Sender had {value} consignments"),
        Feature("history.sender.arrivals_30d", "count", "sender_volume", "Sender had {value} in 30 days"),
        Feature("value.usd", "USD", "declared_value", "Declared value is {value} US dollars"),
        Feature("route.missing", "flag", "route_unknown", "No route is given"),
    ]
)
ROW = np.array([4, 9, 1250.4, 1], dtype=np.float32)


def told(contributions: list[float], top: int = 3, lowering: bool = False) -> list[tuple[str, str, float]]:
    ranked = ReasonRanker(SPEC).rank(ROW, np.array(contributions), top, lowering=lowering)
    return [(reason.code, reason.text, round(reason.contribution, 6)) for reason in ranked]


def test_features_of_one_meaning_are_one_reason_told_by_the_feature_that_weighs_most() -> None:
    assert told([0.5, 0.75, 0.25, 0.0]) == [
        ("sender_volume", "Sender had 9 in 30 days", 1.25),
        ("declared_value", "Declared value is 1,250 US dollars", 0.25),
    ]


def test_what_lowers_the_score_is_told_only_when_asked_for() -> None:
    contributions = [0.5, -2.0, 0.25, -0.125]
    assert [code for code, _, _ in told(contributions)] == ["declared_value"]
    assert told(contributions, 9, lowering=True) == [
        ("declared_value", "Declared value is 1,250 US dollars", 0.25),
        ("route_unknown", "No route is given", -0.125),
        ("sender_volume", "Sender had 9 in 30 days", -1.5),
    ]


def test_no_more_reasons_than_asked_for_and_equal_ones_by_their_codes() -> None:
    assert [code for code, _, _ in told([0.1, 0.1, 0.2, 0.2], 2)] == ["declared_value", "route_unknown"]
    assert told([1.0, 1.0, 1.0, 1.0], 0) == []


def test_the_expected_value_behind_the_features_is_no_reason() -> None:
    assert told([0.0, 0.0, 0.0, 0.0, 7.0], 9) == []


VALUES = [
    ("count", 3.0, "3"),
    ("count", 12345.0, "12,345"),
    ("count", 2.7182, "2.7"),
    ("days", 31.0, "31"),
    ("share", 0.125, "12.5 %"),
    ("share", 1.0, "100 %"),
    ("share", 0.00004, "0 %"),
    ("USD", 0.5, "0.50"),
    ("USD", 12345.6, "12,346"),
    ("USD/kg", 7.0, "7"),
    ("kg", 0.35, "0.35"),
    ("kg", 0.0001234, "0.000123"),
    ("kg", 1e-30, "0"),
    ("kg", 1234.5, "1,234"),
    ("code", 7.0, "7"),
    ("flag", 1.0, "yes"),
    ("flag", 0.0, "no"),
    ("log-odds", 1.25, "+1.2"),
    ("log-odds", -0.5, "-0.5"),
    ("standard deviations", 3.14, "+3.1"),
    ("a unit of tomorrow", 2.5, "2.5"),
    ("count", float("nan"), "unknown"),
    ("count", float("inf"), "without bound"),
]


@pytest.mark.parametrize(("unit", "value", "expected"), VALUES)
def test_values_are_told_in_the_manner_of_their_unit(unit: str, value: float, expected: str) -> None:
    assert format_reason(Feature("a.b", unit, "r", "It is {value}."), value) == f"It is {expected}."


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, "No route is given"),
        (0.0, "Not the case: No route is given"),
        (float("nan"), "Not known: No route is given"),
    ],
)
def test_a_flag_says_whether_its_fact_holds(value: float, expected: str) -> None:
    assert format_reason(SPEC.features[3], value) == expected


def test_a_text_without_a_value_stands_as_it_is() -> None:
    feature = Feature("category.carrier", "code", "carrier", "The carrier, compared with others")
    assert format_reason(feature, 12.0) == "The carrier, compared with others"


def test_braces_other_than_the_value_are_left_alone() -> None:
    feature = Feature("column.x{0}", "number", "x", "x{0} {names!r} is {value}")
    assert format_reason(feature, 2.0) == "x{0} {names!r} is 2"
