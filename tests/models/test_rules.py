"""The rules: points for what an officer looks for first."""

import numpy as np
import pytest
from support.described import REAL, row_with
from support.small_model import SPEC

from consignments.errors import BundleRefused
from features.history.kernels import ADDED_ARRIVALS
from features.spec import Spec
from models.rules import RULES, Rule, Rules


@pytest.mark.parametrize("rule", RULES, ids=[rule.feature for rule in RULES])
def test_every_rule_names_a_feature_that_exists(rule: Rule) -> None:
    assert rule.feature in REAL.names


def test_points_add_up() -> None:
    row = row_with(history__sender_side__nps_a_consignment=1 / 6, goods__vague_whole=1, alerts__goods=0)
    assert Rules(REAL).compute_scores(row[None]).tolist() == [5 + 1]


@pytest.mark.parametrize(("strength", "points", "codes"), [(0.8, 4, ["finds"]), (0.2, 0, [])])
def test_matching_indicators_give_points_and_a_name_alone_none(
    strength: float, points: float, codes: list[str]
) -> None:
    row = row_with(alerts__sender_indicators=2, alerts__indicator_strength=strength)
    assert Rules(REAL).compute_scores(row[None]).tolist() == [points]
    assert [reason.code for reason in Rules(REAL).explain(row)] == codes


def test_who_would_fire_on_everything_is_struck_off() -> None:
    rules = Rules(REAL)
    watched, busy = (
        row_with(history__sender_side__nps_a_consignment=1 / (consignments + ADDED_ARRIVALS))
        for consignments in (25, 26)
    )
    assert rules.compute_scores(np.stack([watched, busy])).tolist() == [5, 0]
    assert [reason.code for reason in rules.explain(watched)] == ["finds"]
    assert rules.explain(busy) == []


def test_missing_features_and_missing_values_give_no_points() -> None:
    assert Rules(REAL).compute_scores(row_with()[None]).tolist() == [0]
    assert Rules(SPEC).compute_scores(np.zeros((3, len(SPEC)), dtype=np.float32)).tolist() == [0] * 3
    assert Rules(Spec([])).score(np.zeros((2, 0), dtype=np.float32), ["postal"] * 2).shape == (2,)


def test_rules_give_scores_bands_and_reasons_where_there_is_no_model() -> None:
    rules = Rules(REAL)
    X = np.stack(
        [
            row_with(),
            row_with(goods__names_disguised=1),
            row_with(goods__names_specific=1, parties__consignee_post_box=1, value__zero_or_one=0),
        ]
    )
    score = rules.score(X, ["postal"] * 3)
    assert (0 < score[0] < score[1] < score[2] < 1).all()
    assert rules.bands.assign_all(score) == ["routine", "elevated", "high"]
    assert [reason.text for reason in rules.explain(X[2])] == [
        "Description names a known NPS",
        "Consignee's address is a post box",
    ]
    assert rules.explain(X[0]) == []


def test_rules_of_one_theme_are_one_reason() -> None:
    reasons = Rules(REAL).explain(row_with(goods__names_specific=1, goods__names_class=2), 9)
    assert [reason.code for reason in reasons] == ["goods"]
    assert reasons[0].contribution == pytest.approx(0.8 * (5 + 4))


def test_rules_refuse_other_features() -> None:
    assert Rules(REAL).replace_spec(REAL).digest() == Rules(REAL).digest()
    with pytest.raises(BundleRefused, match="trained on features that this version"):
        Rules(REAL).replace_spec(Spec(REAL.features[1:]))
