"""How numbers are written for people, in pages, terminals and runs."""

import math
import re

import pytest

from models.formats import (
    format_count,
    format_number,
    format_percent,
    format_points,
    format_rate,
    format_score,
)

TINY = (1e-267, 1.99e-9, 7.22e-6, 6.84e-8)


@pytest.mark.parametrize("write", [format_number, format_percent, format_score, format_points, format_rate])
def test_no_number_is_written_with_an_exponent(write):
    for value in (*TINY, *(1 - each for each in TINY), 0.999999):
        assert not re.search(r"\de[+-]?\d", write(value))
    assert [format_number(value) for value in (1e9, 123456.7)] == ["1,000,000,000", "123,457"]


def test_a_share_below_a_tenth_of_a_percent_says_so():
    assert [format_percent(value) for value in (*TINY, 0.00099)] == ["< 0.1 %"] * 5
    assert [format_percent(value) for value in (0.001, 0.0, 1.0, 0.4531)] == [
        "0.100 %",
        "0 %",
        "100 %",
        "45.3 %",
    ]


def test_rare_things_are_one_in_so_many():
    assert [format_rate(value) for value in (1 / 12_000, 1 / 2_314, 0.0)] == [
        "1 in 12,000",
        "1 in 2,310",
        "none",
    ]


def test_what_is_unknown_is_a_dash():
    for write in (format_number, format_percent, format_score, format_points, format_rate):
        assert [write(None), write(math.nan)] == ["–", "–"]


def test_a_difference_has_its_sign_and_its_unit():
    assert [format_points(value) for value in (0.0796, -0.709, 0.0)] == [
        "+7.96 points",
        "-70.9 points",
        "0 points",
    ]


def test_one_is_singular():
    assert [format_count(n, "country", "countries") for n in (1, 2, 1500)] == [
        "1 country",
        "2 countries",
        "1,500 countries",
    ]
