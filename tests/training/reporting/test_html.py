"""How figures are written for people."""

import numpy as np

from training.reporting.html import (
    format_decimal,
    format_figure,
    format_interval,
    format_metric,
    format_number,
)


def test_shares_are_percent_counts_have_commas_and_what_is_unknown_is_a_dash():
    figures = [format_figure(value) for value in (0.1234, 0.00042, 2e-306, 1234, np.nan, None, True)]
    assert figures == ["12.3 %", "0.0420 %", "0 %", "1,234", "–", "–", "true"]


def test_areas_are_decimals_and_other_metrics_shares():
    assert format_metric(0.9081, "roc_auc") == "0.908"
    assert format_metric(0.9081, "recall_at_1pct") == "90.8 %"


def test_numbers_have_a_decimal_at_most_or_three_digits_that_count():
    assert [format_number(value) for value in (1234.56, 19.0, np.nan)] == ["1,235", "19", "–"]
    assert [format_decimal(value) for value in (0.12345, 1234.5, np.nan)] == ["0.123", "1,234", "–"]


def test_an_interval_without_ends_is_one_dash():
    assert format_interval("1 %", "2 %") == "1 % to 2 %"
    assert format_interval("–", "–") == "–"
