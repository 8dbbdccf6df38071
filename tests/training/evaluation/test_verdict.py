"""Claims about the verdict."""

import numpy as np
import pytest
from support.training_judged import QUICK, judged_world

from training.evaluation.estimate import Estimate
from training.evaluation.metrics import evaluate
from training.evaluation.verdict import DECIDING, choose_deciding_metric, judge_model

TRAFFIC, MODEL, BASELINES = judged_world()


def verdict(model, baselines=BASELINES, positives=100, by_truth=False):
    return judge_model(model, baselines, target="nps", positives=positives, by_truth=by_truth)


def test_a_model_that_clearly_finds_more_is_better_than_the_strongest_baseline():
    found = verdict(MODEL)
    assert found.name == "better"
    assert "strongest baseline (rules)" in found.sentences[1]


def test_a_random_model_is_worse_than_a_good_baseline():
    assert verdict(BASELINES["random"], {"good": MODEL}).name == "worse"


def test_a_model_equal_to_its_baseline_is_unclear():
    assert verdict(MODEL, {"twin": MODEL}).name == "unclear"


def test_the_deciding_metric_is_the_first_with_an_interval_and_else_the_first_with_a_value():
    known, bare, unknown = (
        Estimate(*ends) for ends in ((0.1, 0.0, 0.2), (0.1, np.nan, np.nan), [np.nan] * 3)
    )
    for estimates, chosen in (
        ((known, known, known), DECIDING[0]),
        ((bare, known, known), DECIDING[1]),
        ((unknown, bare, unknown), DECIDING[1]),
        ((unknown, unknown, unknown), DECIDING[2]),
    ):
        assert choose_deciding_metric(dict(zip(DECIDING, estimates, strict=True))) == chosen


def test_few_finds_are_said_to_be_too_few():
    assert any("Only 3 positives are known" in sentence for sentence in verdict(MODEL, positives=3).sentences)
    assert any("Only 1 positive is known" in sentence for sentence in verdict(MODEL, positives=1).sentences)


def test_of_equal_baselines_the_one_that_costs_most_is_named():
    twins = {"random": BASELINES["rules"], "logistic": BASELINES["rules"]}
    assert "strongest baseline (logistic)" in verdict(MODEL, twins).sentences[1]


def test_the_share_of_the_top_that_was_opened_is_told_unless_all_was():
    opened = np.arange(len(TRAFFIC.score)) % 2 == 0
    half = type(TRAFFIC)(
        TRAFFIC.score, TRAFFIC.day, TRAFFIC.office, opened, TRAFFIC.positive & opened, opened * 2.0
    )
    found = verdict(evaluate(half, QUICK), {"random": evaluate(half.replace_score(-half.score), QUICK)})
    assert any("of the top 1 % was inspected and has a result" in sentence for sentence in found.sentences)
    assert not any("was inspected" in sentence for sentence in verdict(MODEL).sentences)


def test_the_truth_of_a_simulated_world_is_named_as_the_source():
    assert verdict(MODEL, by_truth=True).sentences[0].startswith("According to the simulated truth")


@pytest.mark.parametrize("positives", [0, 500])
def test_the_first_sentence_says_what_a_thousand_inspections_find(positives):
    assert "of 1,000 inspections" in verdict(MODEL, positives=positives).sentences[0]
