"""One table of stored scores gives every figure of the deployed recipe, from memory and from its file."""

import numpy as np
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


def test_a_gain_is_the_difference_of_the_figures(stored: StoredScores, recipe: RecipeEvaluation) -> None:
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
    with pytest.raises(BadInput, match="cannot be read"):
        StoredScores.from_bytes(b"no parquet")
