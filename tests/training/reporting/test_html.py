"""How metrics are written in pages, and how large a page may be."""

from types import SimpleNamespace

import pytest

from training.reporting.html import format_metric, render_page


def test_areas_are_decimals_and_other_metrics_shares():
    assert format_metric(0.9081, "roc_auc") == "0.908"
    assert format_metric(0.9081, "recall_at_1pct") == "90.8 %"


def test_a_page_too_heavy_to_send_is_refused():
    recommended = SimpleNamespace(action="wait", sentence="x" * 2_000_001, facts=())
    gate = SimpleNamespace(recommendation=recommended, rules={}, to_rows=list)
    with pytest.raises(ValueError, match="more than 2,000,000"):
        render_page("gate.html", gate=gate, links={})
