"""What groups of features, and single ones, are worth."""

from support.made_origins import CONFIG, made_origins
from support.small_model import SPEC

from features.spec import Feature, Spec
from training.fitting.diagnostics import run_ablation

NAMES = ("goods.a", "goods.b", "goods.c", "route.a", "goods.d", *(f"history.sender.r{i}" for i in range(7)))
GROUPED = Spec(Feature(name, "count", "parties", name) for name in NAMES)


def test_the_group_or_feature_that_tells_is_worth_most_and_one_of_noise_nothing():
    assert len(GROUPED) == len(SPEC)
    origins, told = made_origins(spec=GROUPED), list[int]()
    rows = run_ablation(origins, CONFIG, progress=lambda _, done, __: told.append(done))
    by_group = {row["left_out"]: row for row in rows}
    sizes = {"goods": 4, "route": 1, "history": 7, "history.sender": 7}
    assert {name: row["features"] for name, row in by_group.items()} == sizes
    assert rows[0]["left_out"] == "goods"
    assert by_group["goods"]["worth_low"] > 0
    assert by_group["route"]["worth_low"] < by_group["route"]["worth_high"]
    assert by_group["route"]["worth"] < 0.2 * by_group["goods"]["worth"]
    assert told == [1, 2, 3, 4]
    feature, group = run_ablation(origins, CONFIG, ("route", "goods.a"))
    assert (feature["left_out"], feature["kind"], feature["features"]) == ("goods.a", "feature", 1)
    assert group == by_group["route"]
