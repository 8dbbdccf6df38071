"""How numbers are written for people, in pages, terminals and runs."""

import math
import re

import numpy as np
import pytest

from models.formats import (
    format_cell,
    format_count,
    format_figure,
    format_interval,
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


def test_what_is_too_small_to_be_shown_says_so_and_a_difference_is_zero():
    assert [format_number(value) for value in (1e-267, -1e-9)] == ["< 0.0001", "> -0.0001"]
    assert [format_number(value, "+") for value in (0.456, -1e-9)] == ["+0.456", "0"]
    assert [format_score(value) for value in (0.391, 0.0004, 0.00001)] == ["39.1 %", "0.0400 %", "< 0.01 %"]


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


def test_shares_of_a_table_are_percent_counts_have_commas_and_what_is_unknown_is_a_dash():
    figures = [format_figure(value) for value in (0.1234, 0.00042, 2e-306, 1234, np.nan, None, True)]
    assert figures == ["12.3 %", "< 0.1 %", "< 0.1 %", "1,234", "–", "–", "yes"]


def test_a_value_of_a_table_is_a_text_or_a_number_of_three_digits():
    cells = [format_cell(value) for value in (1234.56, 19.0, np.int64(3), "rules", np.nan, 0.12345)]
    assert cells == ["1,235", "19", "3", "rules", "–", "0.123"]


def test_an_interval_without_ends_is_one_dash():
    assert format_interval("1 %", "2 %") == "1 % to 2 %"
    assert format_interval("–", "–") == "–"
    assert format_interval("6.81 %", "6.81 %") == "6.81 %"
