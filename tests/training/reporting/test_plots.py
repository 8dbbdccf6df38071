"""Claims about the pictures."""

from math import nan
from xml.etree import ElementTree

import numpy as np
import pytest
from support.training_judged import QUICK, judged_world

from training.evaluation.capacity import ALL_OFFICES
from training.evaluation.estimate import Estimate
from training.evaluation.fairness import compute_fairness_rows
from training.evaluation.metrics import compute_capacity_curve
from training.reporting.explanation_plots import draw_beeswarm, draw_dependence
from training.reporting.figures import Figure
from training.reporting.plots import (
    BLUE,
    RED,
    CapacityCurve,
    draw_calibration,
    draw_daily_detections,
    draw_differences,
    draw_fairness,
    draw_gain,
    draw_importance,
    draw_lift,
    draw_precision,
    draw_scores,
)

TRAFFIC, MODEL, _ = judged_world()
VALUES = np.array([[1.0, 0.0], [np.nan, 1.0], [2.0, 1.0]], dtype=np.float32)
SHARES = np.array([0.001, 0.01, 0.1])


def curve(name, score):
    return CapacityCurve(name, **compute_capacity_curve(TRAFFIC.replace_score(score), SHARES, QUICK))


def over_capacity(draw):
    own = {ALL_OFFICES: 0.02, "Incheon": 0.03}
    return draw(SHARES, curve("model", TRAFFIC.score), [curve("rules", -TRAFFIC.score)], own)


def scores():
    band = np.where(TRAFFIC.score > 0.1, "high", "routine").astype(object)
    return draw_scores(TRAFFIC.score, band, TRAFFIC.positive, TRAFFIC.traffic)


DRAWN = {
    "precision": (
        lambda: over_capacity(draw_precision),
        ["capacity: share of all traffic inspected", "Precision", "rules", "0.1 %", "capacity in use"],
    ),
    "gain": (lambda: over_capacity(draw_gain), ["Recall (gain curve)", "model", "95 % interval", "100 %"]),
    "lift": (lambda: over_capacity(draw_lift), ["Lift", "times as many as random selection", "10"]),
    "calibration": (
        lambda: draw_calibration(MODEL.calibration),
        ["mean score of the bin", "observed rate of positives", "10 %", "1 %"],
    ),
    "beeswarm": (
        lambda: draw_beeswarm(
            ["Sender had … consignments", "Goods are vague"], VALUES, np.nan_to_num(VALUES).astype(float)
        ),
        ["Sender had … consignments", "Goods are vague"],
    ),
    "dependence": (
        lambda: draw_dependence(np.array([0.0, 2.5]), np.array([-0.5, 1.0]), 0.2),
        ["0", "2.5", "missing", "+1"],
    ),
    "scores": (scores, ["score", "consignments", "band high", "known positives"]),
    "daily": (
        lambda: draw_daily_detections(["1 May", "2 May"], np.array([1.0, 0.0]), np.array([2.0, 1.0])),
        ["Positives by day", "1 May"],
    ),
    "fairness": (
        lambda: draw_fairness(compute_fairness_rows(TRAFFIC, 5, QUICK, "outcomes")),
        ["Selection rate", "postal", "air_cargo", "all"],
    ),
    "differences": (
        lambda: draw_differences(
            {
                "Points": [("Recall at 1 %", Estimate(2.0, 1.0, 3.0))],
                "By slice": [("office: Port $A$ & <B> \\frac", Estimate(0.1, -0.1, 0.2))],
            }
        ),
        ["Points", "Recall at 1 %", "office: Port $A$ & <B> \\frac"],
    ),
    "importance": (lambda: draw_importance({"goods": 0.7, "history": 0.3}), ["goods", "70 %"]),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_svg_with_its_labels_as_text(name):
    draw, labels = DRAWN[name]
    root = ElementTree.fromstring(draw())
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert root.tag.endswith("svg")
    assert set(labels) <= set(texts)


@pytest.mark.parametrize("name", DRAWN)
def test_no_picture_shows_markup_of_formulas_as_text(name):
    """Ticks of logarithmic axes are formulas by default, which a browser shows as `$\\mathdefault{10^{-6}}$`."""
    drawn = DRAWN[name][0]()
    assert "mathdefault" not in drawn
    assert "mathregular" not in drawn


def test_ticks_of_the_calibration_do_not_cover_each_other():
    texts = ElementTree.fromstring(draw_calibration(MODEL.calibration)).iter(
        "{http://www.w3.org/2000/svg}text"
    )
    assert 4 <= sum(text.text is not None and text.text.endswith(" %") for text in texts) <= 16


def test_a_figure_has_a_role_a_label_and_a_caption_and_escapes_them():
    figure = Figure(
        draw_importance({"goods": 1.0}), 'Share <of> "groups"', "Read <it> so.", is_wide=True
    ).render()
    root = ElementTree.fromstring(figure)
    (picture,) = root.iter("{http://www.w3.org/2000/svg}svg")
    assert picture.attrib["role"] == "img"
    assert picture.attrib["aria-label"] == 'Share <of> "groups"'
    assert root.find("figcaption").text == "Read <it> so."
    assert root.attrib["class"] == "full"


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_values_give_the_same_bytes(name):
    draw, _ = DRAWN[name]
    assert draw() == draw()


def test_a_calibration_table_without_finds_can_be_drawn():
    table = [
        row | {"rate": 0.0, "rate_low": float("nan"), "rate_high": float("nan")} for row in MODEL.calibration
    ]
    assert "no positive in the bin" in draw_calibration(table)


def test_differences_that_can_be_told_stand_out():
    def colours(low, high):
        drawn = draw_differences({"Points": [("Recall", Estimate((low + high) / 2, low, high))]})
        return [colour for colour in (BLUE, RED) if colour.lower() in drawn]

    assert colours(1.0, 3.0) == [BLUE]
    assert colours(-3.0, -1.0) == [RED]
    assert colours(-1.0, 1.0) == []
    assert colours(nan, nan) == []
