"""What groups of features are worth."""

from support.made_origins import CONFIG, made_origins
from support.small_model import SPEC

from features.spec import Feature, Spec
from training.fitting.diagnostics import group_features, run_ablation
from training.fitting.rolling_origin import evaluate_origins

NAMES = ("goods.a", "goods.b", "goods.c", "route.a", "goods.d", *(f"history.sender.r{i}" for i in range(7)))
GROUPED = Spec(Feature(name, "count", "reason", name) for name in NAMES)


def test_groups_are_those_of_the_spec_and_within_history_its_keys() -> None:
    groups = group_features(GROUPED)
    assert groups["route"] == [3]
    assert groups["history"] == groups["history.sender"] == [*range(5, 12)]


def test_the_group_that_tells_is_worth_most_and_one_of_noise_nothing() -> None:
    assert len(GROUPED) == len(SPEC)
    origins = made_origins(spec=GROUPED)
    whole = evaluate_origins(origins, CONFIG.model, CONFIG.weights)
    told: list[int] = []
    rows = run_ablation(origins, CONFIG, whole, lambda _, done, __: told.append(done))
    by_group = {row["group"]: row for row in rows}
    assert rows[0]["group"] == "goods"
    assert by_group["goods"]["worth_low"] > 0
    assert by_group["route"]["worth_low"] < by_group["route"]["worth_high"]
    assert by_group["route"]["worth"] < 0.2 * by_group["goods"]["worth"]
    assert told == [1, 2, 3, 4]
