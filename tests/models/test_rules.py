"""The rules: points for what an officer looks for first."""

from typing import Any

import numpy as np
import pytest
from support.cases import read_cases
from support.described import REAL, row_with
from support.small_model import SPEC, small_model

from consignments.errors import BundleRefused
from features.spec import Spec
from models.risk_model import RiskModel
from models.rules import RULES, Rule, Rules


@pytest.mark.parametrize("rule", RULES, ids=[rule.feature for rule in RULES])
def test_every_rule_names_a_feature_that_exists(rule: Rule) -> None:
    assert rule.feature in REAL.names


@pytest.mark.parametrize("case", read_cases("rule_points"))
def test_points_of_a_row_give_its_band_and_its_reasons(case: dict[str, Any]) -> None:
    """Each line has a claim, the features that are not missing, the points, the band, and code, contribution and text of each reason."""
    rules, row = Rules(REAL), row_with(**{name.replace(".", "__"): x for name, x in case["values"].items()})
    assert rules.compute_scores(row[None]).tolist() == [case["points"]]
    score = rules.score(row[None], ["postal"])
    assert (0 < score < 1).all()
    assert rules.bands.assign_all(score) == [case["band"]]
    found = [[each.code, pytest.approx(each.contribution), each.text] for each in rules.explain(row)]
    assert found == case["reasons"]


def test_missing_features_give_no_points() -> None:
    assert Rules(SPEC).compute_scores(np.zeros((3, len(SPEC)), dtype=np.float32)).tolist() == [0] * 3
    assert Rules(Spec([])).score(np.zeros((2, 0), dtype=np.float32), ["postal"] * 2).shape == (2,)


@pytest.mark.parametrize("judge", [Rules(SPEC), small_model()])
def test_rules_and_a_model_refuse_other_features(judge: Rules | RiskModel) -> None:
    assert Rules(REAL).replace_spec(REAL).digest() == Rules(REAL).digest()
    with pytest.raises(BundleRefused, match="trained on features that this version"):
        judge.replace_spec(Spec(SPEC.features[1:]))
