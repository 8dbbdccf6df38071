"""The verdict of a run rests on results, and begins with what was counted."""

import pytest
from support.training_judged import QUICK, build_stored_scores

from training.evaluation.difference import MEASURES, describe_gain
from training.evaluation.estimate import Estimate
from training.evaluation.stored_scores import BASELINE, StoredScores, evaluate_recipe, judge_recipe

STORED = build_stored_scores()


@pytest.mark.parametrize(
    ("columns", "word"),
    [
        ({}, "better"),
        ({"rank": "baseline_random"}, "worse"),
        ({BASELINE + "rules": "rank"}, "no clear difference"),
    ],
    ids=["finds more than the rules", "random", "equal to the rules"],
)
def test_the_word_is_that_of_the_paired_difference_after_the_counts(columns, word):
    frame = STORED.frame.assign(**{name: STORED.frame[of] for name, of in columns.items()})
    found = judge_recipe(evaluate_recipe(StoredScores(frame), QUICK), "nps")
    assert found.name == word
    counted, estimated = found.sentences
    assert "the fixed rules rank " in counted
    assert "effective results" in estimated


def test_few_finds_give_no_number_and_no_word_but_that():
    positive = STORED.frame["positive"] & (STORED.frame["positive"].cumsum() <= 3)
    found = judge_recipe(evaluate_recipe(StoredScores(STORED.frame.assign(positive=positive)), QUICK), "nps")
    assert found.name == "too few results"
    assert found.sentences[0].startswith("Of 3 known NPS among arrivals from ")
    assert "too few results: 3 known" in found.sentences[1]
    assert found.sentences[1].count("more needed") == 1
    assert "%" not in found.sentences[1].replace("5 % of traffic", "")


@pytest.mark.parametrize(("finds", "rival"), [(1000, "logistic"), (8, "rules")], ids=["shown", "counted"])
def test_the_strongest_baseline_is_best_by_what_decides_or_by_counts_if_that_is_not_shown(finds, rival):
    known = STORED.frame["positive"] & (STORED.frame["positive"].cumsum() <= finds)
    first = STORED.frame["positive"].cumsum().mod(4).eq(1) & known
    frame = STORED.frame.assign(baseline_rules=STORED.frame["rank"].where(~known, 0.9), positive=known)
    frame["baseline_logistic"] = frame["rank"].where(~first, 1.0).where(~known | first, 0.0)
    recipe = evaluate_recipe(StoredScores(frame), QUICK)
    rules, logistic = (sum(recipe.baselines[name].counts.found.values()) for name in ("rules", "logistic"))
    assert (rules > logistic, recipe.rival) == (True, rival)


def test_of_equal_baselines_the_one_that_costs_most_is_named():
    frame = STORED.frame.assign(baseline_logistic=STORED.frame["baseline_rules"])
    found = judge_recipe(evaluate_recipe(StoredScores(frame), QUICK), "nps")
    assert "the strongest baseline (logistic)" in found.sentences[1]


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        ((-0.0000816, -0.046, 0.046), "-0.01 points (-4.6 to +4.6)"),
        ((0.0188, -0.0113, 0.048), "+1.88 points ("),
    ],
)
def test_a_difference_far_below_its_interval_has_few_digits(gain, said):
    assert said in describe_gain(MEASURES[0], Estimate(*gain, known=60))
