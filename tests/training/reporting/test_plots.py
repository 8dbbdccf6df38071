"""Claims about the charts of a run."""

from dataclasses import replace
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from matplotlib.axes import Axes
from support.training_judged import QUICK, build_stored_scores

from models.formats import format_percent
from training.evaluation.fairness import compute_fairness_rows
from training.evaluation.stored_scores import evaluate_recipe
from training.reporting import plots

STORED = build_stored_scores()
RECIPE = evaluate_recipe(STORED, QUICK)
VALUES = np.array([[1.0, 0.0], [np.nan, 1.0], [2.0, 1.0]], dtype=np.float32)
LOSS = {"left_out": "goods", "kind": "group", "worth": 0.02, "worth_low": 0.01, "worth_high": 0.03}
GROUPS = [{"group": "goods", "share": 0.7}, {"group": "history", "share": 0.3}]
LABELS = {
    "precision": ["Precision over capacity", "rules", "0.1 %", "model at the capacity of"],
    "recall": ["Recall over capacity", "model", "95 % interval"],
    "calibration": ["mean score of the bin", "10 %", "1 %"],
    "daily": ["Known finds by day", "in the top 1 % of all", "04 Oct"],
    "fairness_selection_rate": ["Selection rate", "channel: postal", "channel: air cargo", "all"],
    "importance": ["goods", "70 %"],
    "ablation": ["group goods"],
    "beeswarm": ["Sender is new", "Goods are vague"],
    "dependence": ["ems", "parcel", "missing", "+1"],
    "dependence on a number": ["12", "kg, in order, not to scale"],
}


@pytest.fixture(scope="module")
def charts():
    burden = compute_fairness_rows(STORED.to_period(), msgspec.structs.replace(QUICK, capacity=5))
    pair, flags = np.arange(2.0), np.nan_to_num(VALUES).astype(float)
    return {
        **plots.draw_capacity_curves(STORED, RECIPE),
        **plots.draw_fairness(burden),
        "calibration": plots.draw_calibration(RECIPE.model),
        "daily": plots.draw_daily_detections(RECIPE.model),
        "importance": plots.draw_importance(GROUPS),
        "ablation": plots.draw_ablation([LOSS]),
        "beeswarm": plots.draw_beeswarm(["Sender is new", "Goods are vague"], VALUES, flags),
        "dependence": plots.draw_dependence("Service", pair + 1, pair * 1.5 - 0.5, 0.2, ["ems", "parcel"]),
        "dependence on a number": plots.draw_dependence("Weight", pair, pair, np.nan, ["0.1", "12"], "kg"),
    }


@pytest.mark.parametrize("name", LABELS)
def test_a_chart_has_its_labels_as_text_says_how_to_read_it_and_fits_a_telephone(charts, name):
    """At 390 pixels a chart gets 350: text of 10.5 points must stay above 10 pixels."""
    chart = charts[name]
    root = ElementTree.fromstring(chart.svg)
    assert set(LABELS[name]) <= {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert "mathdefault" not in chart.svg
    assert chart.label
    assert chart.caption
    width = float(root.attrib["width"].removesuffix("pt"))
    assert 10.5 / 72 * 96 * 350 / (width / 72 * 96) >= 10


def test_a_curve_has_the_figure_of_the_table_at_the_capacity_of_each_office(charts):
    """At the dotted line "capacity in use" the curve said 72 %, one list of all offices, and the table 39 %, a list for each."""
    for measure in ("precision", "recall"):
        found = RECIPE.model[f"{measure}_at_capacity"]
        assert found.is_shown
        assert f">{format_percent(found.value)}<" in charts[measure].svg


def test_the_bars_of_the_days_add_up_to_the_counts_of_the_table(monkeypatch):
    heights, draw_bars = [], Axes.bar

    def record(self, places, height, **style):
        heights.append(sum(height))
        return draw_bars(self, places, height, **style)

    monkeypatch.setattr(Axes, "bar", record)
    plots.draw_daily_detections(RECIPE.model)
    counts = RECIPE.model.counts
    assert heights == pytest.approx([counts.known, counts.found["1pct"]])


def test_bins_without_a_positive_are_drawn_on_the_edge(monkeypatch):
    drawn, draw = {}, Axes.plot
    monkeypatch.setattr(
        Axes,
        "plot",
        lambda axes, *at, **style: drawn.update({style["label"]: at}) or draw(axes, *at, **style),
    )
    bins = list(RECIPE.model.calibration)
    bins[1::2] = [row | {"rate": 0.0, "rate_low": 0.0} for row in bins[1::2]]
    chart = plots.draw_calibration(replace(RECIPE.model, calibration=bins))
    scores, edge, _ = drawn["no positive in the bin"]
    assert len(scores) == len(bins) // 2
    assert 0 < min(edge) <= min(scores)
    assert RECIPE.model.describe_calibrated() in chart.caption


def test_ticks_that_would_cover_each_other_are_left_out():
    names = ["0 %", "1.20 %", "8.30 %", "38.0 %"]
    svg = plots.draw_dependence("NPS", np.arange(4.0), np.arange(4.0), 0.1, names, "share").svg
    assert [name for name in (*names, "missing") if f">{name}<" in svg] == ["0 %", "38.0 %", "missing"]


def test_ticks_of_the_calibration_do_not_cover_each_other(charts):
    texts = ElementTree.fromstring(charts["calibration"].svg).iter("{http://www.w3.org/2000/svg}text")
    assert 4 <= sum(text.text is not None and text.text.endswith(" %") for text in texts) <= 16
