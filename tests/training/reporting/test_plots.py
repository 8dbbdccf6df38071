"""Claims about the charts of a run."""

from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from support.training_judged import QUICK, build_stored_scores, judged_world

from training.evaluation.fairness import compute_fairness_rows
from training.reporting.plots import (
    draw_ablation,
    draw_beeswarm,
    draw_calibration,
    draw_capacity_curves,
    draw_daily_detections,
    draw_dependence,
    draw_fairness,
    draw_importance,
)

TRAFFIC, MODEL, _ = judged_world()
VALUES = np.array([[1.0, 0.0], [np.nan, 1.0], [2.0, 1.0]], dtype=np.float32)
CURVES = draw_capacity_curves(build_stored_scores(), QUICK)
LOSS = {"left_out": "goods", "kind": "group", "worth": 0.02, "worth_low": 0.01, "worth_high": 0.03}
FAIRNESS = draw_fairness(
    compute_fairness_rows(TRAFFIC, msgspec.structs.replace(QUICK, capacity=5), "outcomes")
)


DRAWN = {
    "precision": (CURVES["precision"], ["Precision over capacity", "rules", "0.1 %", "capacity in use"]),
    "recall": (CURVES["recall"], ["Recall over capacity", "model", "95 % interval"]),
    "calibration": (draw_calibration(MODEL.calibration), ["mean score of the bin", "10 %", "1 %"]),
    "daily": (
        draw_daily_detections(TRAFFIC),
        ["Known positives by day", "in the top 1 % of its day", "04 Oct"],
    ),
    "selection rate": (FAIRNESS["fairness_selection_rate"], ["Selection rate", "postal", "air cargo", "all"]),
    "importance": (
        draw_importance([{"group": "goods", "share": 0.7}, {"group": "history", "share": 0.3}]),
        ["goods", "70 %"],
    ),
    "ablation": (draw_ablation([LOSS]), ["group goods"]),
    "beeswarm": (
        draw_beeswarm(["Sender is new", "Goods are vague"], VALUES, np.nan_to_num(VALUES).astype(float)),
        ["Sender is new", "Goods are vague"],
    ),
    "dependence": (
        draw_dependence("Service", np.array([1.0, 2.0]), np.array([-0.5, 1.0]), 0.2, ["ems", "parcel"]),
        ["ems", "parcel", "missing", "+1"],
    ),
    "dependence on a number": (
        draw_dependence("Weight", np.arange(2.0), np.arange(2.0), np.nan, ["0.1", "12"], "kg"),
        ["12", "kg, in order, not to scale"],
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_chart_has_its_labels_as_text_and_says_how_to_read_it(name):
    chart, labels = DRAWN[name]
    root = ElementTree.fromstring(chart.svg)
    assert set(labels) <= {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert "mathdefault" not in chart.svg
    assert chart.label
    assert chart.caption


def test_charts_are_narrow_enough_to_be_read_on_a_telephone():
    """At 390 pixels a chart gets 350: text of 10.5 points must stay above 10 pixels."""
    for chart, _ in DRAWN.values():
        width = float(ElementTree.fromstring(chart.svg).attrib["width"].removesuffix("pt"))
        assert 10.5 / 72 * 96 * 350 / (width / 72 * 96) >= 10


def test_ticks_of_the_calibration_do_not_cover_each_other():
    texts = ElementTree.fromstring(DRAWN["calibration"][0].svg).iter("{http://www.w3.org/2000/svg}text")
    assert 4 <= sum(text.text is not None and text.text.endswith(" %") for text in texts) <= 16
