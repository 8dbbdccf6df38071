"""One table of stored scores gives every figure of the deployed recipe, from memory and from its file."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from consignments.errors import BadInput
from tests.support.training_judged import QUICK, build_stored_scores
from training.evaluation.stored_scores import RecipeEvaluation, StoredScores, evaluate_recipe


@pytest.fixture(scope="module")
def stored() -> StoredScores:
    return build_stored_scores()


@pytest.fixture(scope="module")
def recipe(stored: StoredScores) -> RecipeEvaluation:
    return evaluate_recipe(stored, QUICK)


def test_figures_of_the_file_are_those_in_memory(stored: StoredScores, recipe: RecipeEvaluation) -> None:
    again = StoredScores.from_bytes(stored.content)
    assert again.content == stored.content
    found = evaluate_recipe(again, QUICK)
    assert found.flatten_metrics() == recipe.flatten_metrics()
    assert found.model.counts == recipe.model.counts


def test_the_truth_has_figures_of_its_own_and_changes_no_other(
    stored: StoredScores, recipe: RecipeEvaluation
) -> None:
    without = StoredScores(stored.frame.assign(true_positive=pd.array([None] * len(stored.frame), "boolean")))
    found = evaluate_recipe(without, QUICK)
    assert found.truth is None
    assert recipe.truth is not None
    assert recipe.truth.model["roc_auc"].value != recipe.model["roc_auc"].value
    assert replace(recipe, truth=None).flatten_metrics() == found.flatten_metrics()


def test_calibration_rests_on_the_windows_that_have_a_probability(stored: StoredScores) -> None:
    last = stored.frame["window"] == stored.frame["window"].max()
    one = StoredScores(stored.frame.assign(probability=stored.frame["probability"].where(last)))
    doubled = StoredScores(
        stored.frame.assign(probability=np.where(last, stored.frame["probability"], np.nan) * 2)
    )
    none = StoredScores(stored.frame.assign(probability=np.nan))
    ratios = [evaluate_recipe(each, QUICK).model["calibration_ratio"].value for each in (one, doubled, none)]
    assert ratios[1] == pytest.approx(2 * ratios[0])
    assert np.isnan(ratios[2])


def test_a_score_gains_over_another_what_their_own_figures_differ_by(
    stored: StoredScores, recipe: RecipeEvaluation
) -> None:
    pair = stored.compare(QUICK, base="baseline_rules")
    for name, gain in pair.gains.items():
        expected = recipe.model[name].value - recipe.baselines["rules"][name].value
        assert gain.value == pytest.approx(expected, nan_ok=True), name
    kinds = {"channel", "service", "office", "departure", "consignee"}
    assert {row["kind"] for row in pair.slices} == kinds
    mirrored = stored.compare(QUICK, score="baseline_rules", base="rank")
    assert mirrored.gains["roc_auc"].value == -pair.gains["roc_auc"].value


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda frame: frame.drop(columns="rank"), "lack a column"),
        (lambda frame: frame.assign(rank="0.5"), "do not hold what a column should"),
        (lambda frame: frame.assign(weight=np.nan), "do not hold what a column should"),
    ],
    ids=["no column", "text for a number", "a missing weight"],
)
def test_another_table_is_refused(stored: StoredScores, change, where: str) -> None:
    with pytest.raises(BadInput, match=where):
        StoredScores(change(stored.frame))


def test_another_file_is_refused() -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        StoredScores.from_bytes(b"no parquet")


def test_what_may_not_be_shown_is_null_in_the_list_and_absent_among_the_logged_metrics(
    stored: StoredScores,
) -> None:
    positive = stored.frame["positive"] & (stored.frame["positive"].cumsum() <= 4)
    few = evaluate_recipe(StoredScores(stored.frame.assign(positive=positive)), QUICK)
    listed, logged = few.list_metrics(), few.flatten_metrics()
    assert listed["deployed/recall_at_1pct"] is None
    assert "deployed/recall_at_1pct" not in logged
    assert logged["deployed/effective_results"] == pytest.approx(4, abs=0.5)
    assert listed["deployed/truth/recall_at_10pct"] == logged["deployed/truth/recall_at_10pct"]
