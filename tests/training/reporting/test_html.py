"""How values of tables are written in pages."""

import numpy as np

from training.reporting.html import format_cell, format_figure, format_interval, format_metric


def test_shares_are_percent_counts_have_commas_and_what_is_unknown_is_a_dash():
    figures = [format_figure(value) for value in (0.1234, 0.00042, 2e-306, 1234, np.nan, None, True)]
    assert figures == ["12.3 %", "< 0.1 %", "< 0.1 %", "1,234", "–", "–", "yes"]


def test_a_value_of_a_table_is_a_text_or_a_number_of_three_digits():
    cells = [format_cell(value) for value in (1234.56, 19.0, np.int64(3), "rules", np.nan, 0.12345)]
    assert cells == ["1,235", "19", "3", "rules", "–", "0.123"]


def test_areas_are_decimals_and_other_metrics_shares():
    assert format_metric(0.9081, "roc_auc") == "0.908"
    assert format_metric(0.9081, "recall_at_1pct") == "90.8 %"


def test_an_interval_without_ends_is_one_dash():
    assert format_interval("1 %", "2 %") == "1 % to 2 %"
    assert format_interval("–", "–") == "–"
