"""Claims about who bears the inspections."""

from dataclasses import replace

import numpy as np
import pytest
from support.training_judged import make_scored_period

from features.spec import Feature, Spec
from training.config import EvaluationConfig
from training.evaluation.fairness import classify_consignee, compute_fairness_rows

DAYS, A_DAY = 10, 100
QUICK = EvaluationConfig(capacity=5, smallest_slice=5)


def world(positive=None, days=DAYS):
    """Give days of a hundred consignments of which country AA has the highest scores of ten, and BB the rest."""
    place = np.arange(days * A_DAY) % A_DAY
    found = np.zeros(len(place), dtype=bool) if positive is None else positive(place)
    departure, day = np.where(place < 10, "AA", "BB"), 20_000 + np.arange(len(place)) // A_DAY
    return make_scored_period(1.0 - place / A_DAY, found, day=day, departure=departure)


def rows_of(traffic):
    return {row["value"]: row for row in compute_fairness_rows(traffic, QUICK)}


def test_a_group_that_fills_the_list_bears_it_all():
    rows = rows_of(world(positive=lambda place: place == 0))
    assert rows["AA"]["chosen"] == 50
    assert rows["AA"]["selection_rate"] == pytest.approx(0.5)
    assert rows["AA"]["hit_rate"] == pytest.approx(0.2)
    assert rows["AA"]["false_opens_per_1000"] == pytest.approx(1000 * 40 / 100)
    assert rows["BB"]["selection_rate"] == rows["BB"]["false_opens_per_1000"] == 0
    assert np.isnan(rows["BB"]["hit_rate"])
    assert rows["all"]["selection_rate"] == pytest.approx(0.05)


@pytest.mark.parametrize(("days", "is_shown"), [(9, False), (10, True)])
def test_a_hit_rate_needs_ten_finds_of_its_own_group_as_the_metrics_of_a_slice_do(days, is_shown):
    rows = rows_of(world(positive=lambda place: np.isin(place, (0, 50)), days=days))
    assert [np.isfinite(rows[name]["hit_rate"]) for name in ("AA", "all")] == [is_shown, True]
    assert np.isnan(rows_of(world())["AA"]["hit_rate"])


def test_with_few_known_results_there_is_no_hit_rate():
    place = np.arange(DAYS * A_DAY)
    found = world(positive=lambda place: place % 10 == 0)
    for known in (0, 9):
        labelled = (found.slices["departure"] != "AA") | (place < known)
        row = rows_of(replace(found, labelled=labelled, positive=found.positive & labelled))["AA"]
        assert row["chosen"] == 50
        assert np.isnan([row["hit_rate"], row["hit_rate_high"], row["false_opens_per_1000"]]).all()


def test_a_hit_rate_that_may_be_anything_is_left_out():
    row = rows_of(world(positive=lambda place: place == 0, days=1))["AA"]
    assert np.isnan([row["hit_rate"], row["hit_rate_low"], row["hit_rate_high"]]).all()
    assert np.isnan([row["false_opens_per_1000"], row["false_opens_per_1000_high"]]).all()


def test_small_groups_are_told_together():
    names = world().slices["departure"].copy()
    names[:3], names[3:6] = "CC", "DD"
    rows = rows_of(replace(world(), slices={"departure": names}))
    assert set(rows) == {"all", "AA", "BB", "others"}
    assert rows["others"]["consignments"] == 6


KINDS = ("business", "post_box", "virtual_office")
SPEC = Spec(Feature(f"parties.consignee_{kind}", "flag", "kind", "Is it") for kind in KINDS)


@pytest.mark.parametrize(
    ("business", "post_box", "virtual_office", "kind"),
    [
        (0, 0, 0, "person"),
        (1, 0, 0, "business"),
        (0, 1, 0, "post box"),
        (1, 0, 1, "virtual office"),
        (1, 1, 1, "post box"),
        (np.nan, 0, 0, ""),
        (np.nan, np.nan, np.nan, ""),
    ],
)
def test_the_kind_of_a_consignee_is_read_from_features(business, post_box, virtual_office, kind):
    row = np.array([[business, post_box, virtual_office]], dtype=np.float32)
    assert classify_consignee(row, SPEC).tolist() == [kind]
