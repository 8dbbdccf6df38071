"""The recommendation: three challengers must get three answers, each with the facts that decide."""

from math import inf, nan

import pytest

from models.promotion_record import REPORT_END
from training.evaluation.estimate import Estimate
from training.gate.recommendation import (
    MIN_NEWER_DAYS,
    DecidingFacts,
    estimate_more_positives,
    read_facts,
    recommend,
)
from training.gate.report import GateReport, replace_report
from training.gate.rules import COMPARISON_RULE, RESULTS_SOURCE, RuleResult

HELD = RuleResult(True, "fine", "fine")
BROKEN = RuleResult(False, "calibration ratio 9", "at most 3")
UNDECIDED = RuleResult(False, "-1 point (-8 to +6)", "-2 or above", undecided=True)
GOOD_RATIO = Estimate(1.1, 0.7, 1.5)


def facts(difference=(0.08, 0.03, 0.13), ratio=GOOD_RATIO, positives=60, is_champion=True, newer_days=0):
    rival = "version 1, the champion" if is_champion else "the strongest baseline (rules)"
    return DecidingFacts(
        Estimate(*difference), rival, is_champion, positives, ratio, RESULTS_SOURCE, newer_days
    )


def test_a_better_challenger_is_promoted():
    found = recommend({"a": HELD, "b": RuleResult(None, "", "")}, facts())
    assert found.action == "promote"
    assert "better than version 1" in found.sentence
    assert "+8 points (+3 to +13), on 60 positives" in found.facts[0]
    assert found.facts[2] == "Gate: 1 of 2 rules hold; not checked: b."


def test_a_luckier_challenger_has_to_wait_and_the_page_says_for_how_many_positives():
    found = recommend({"a": UNDECIDED}, facts((0.06, -0.06, 0.18), positives=20))
    assert found.action == "wait"
    assert found.more_positives == 96
    assert "about 96 more positives" in found.sentence


def test_if_five_points_would_show_already_the_margin_of_the_gate_says_how_long_to_wait():
    found = recommend({"a": UNDECIDED}, facts((0.0, -0.04, 0.04), positives=40))
    assert (found.action, found.more_positives) == ("wait", 120)
    assert "within the two points that the gate allows" in found.sentence
    found = recommend({"a": HELD}, facts((0.0, -0.04, 0.04), positives=40, is_champion=False))
    assert (found.action, found.more_positives) == ("wait", 0)


def test_a_challenger_that_chance_may_have_made_better_waits_although_the_gate_holds():
    found = recommend({"a": HELD}, facts((0.03, -0.01, 0.07), positives=60))
    assert found.action == "wait"
    assert "of 100 positives the model would detect from 1 fewer to 7 more" in found.sentence
    assert found.more_positives == 47
    for hopeless in ((0.0, -0.01, 0.01), (0.001, -0.01, 0.012)):
        found = recommend({"a": HELD}, facts(hopeless, positives=60))
        assert (found.action, found.more_positives) == ("wait", None)
        assert "train again on newer results" in found.sentence


def test_a_challenger_that_is_not_worse_is_promoted_if_it_has_learnt_from_newer_results():
    for days, action in ((MIN_NEWER_DAYS, "promote"), (MIN_NEWER_DAYS - 1, "wait")):
        assert recommend({"a": HELD}, facts((0.01, -0.01, 0.03), newer_days=days)).action == action
    found = recommend({"a": HELD}, facts((0.01, -0.01, 0.03), newer_days=28))
    assert (
        "An improvement is not proven, but the model has learnt from results that are 28 days newer"
        in found.sentence
    )
    undecided = recommend({"a": UNDECIDED}, facts((0.01, -0.03, 0.05), newer_days=28))
    assert undecided.action == "wait"


def test_a_challenger_with_broken_calibration_is_refused():
    found = recommend({"calibrated": BROKEN}, facts(ratio=Estimate(9.0, 5.0, 14.0)))
    assert found.action == "refuse"
    assert "calibrated" in found.sentence
    assert "Do not read a score as a probability" in found.facts[1]


def test_broken_calibration_by_the_truth_is_refused_even_if_the_gate_that_reads_estimates_holds():
    assert recommend({"calibrated": HELD}, facts(ratio=Estimate(4.3, 3.2, 6.3))).action == "refuse"
    assert recommend({"calibrated": HELD}, facts(ratio=Estimate(4.3, 2.2, 6.3))).action == "promote"


def test_without_a_comparison_with_the_champion_comparing_comes_first():
    found = recommend({COMPARISON_RULE: UNDECIDED}, facts())
    assert (found.action, found.more_positives) == ("wait", None)
    assert "npsrisk compare" in found.sentence


@pytest.mark.parametrize(
    ("difference", "positives", "action"),
    [
        ((0.1, 0.02, 0.18), 40, "promote"),
        ((0.1, -0.02, 0.22), 40, "wait"),
        ((0.1, 0.02, 0.18), 9, "wait"),
        ((nan, nan, nan), 40, "wait"),
        ((-0.1, -0.18, -0.02), 40, "refuse"),
    ],
)
def test_without_a_champion_the_model_must_be_better_than_the_strongest_baseline(
    difference, positives, action
):
    assert recommend({"a": HELD}, facts(difference, positives=positives, is_champion=False)).action == action


def test_the_number_of_positives_follows_from_the_width_of_the_interval():
    """Half a width of ten points with 40 positives: half of that needs four times as many."""
    assert estimate_more_positives(Estimate(0.0, -0.1, 0.1), 40) == 120
    assert estimate_more_positives(Estimate(0.0, -0.05, 0.05), 40) == 0
    assert estimate_more_positives(Estimate(0.0, 0.0, 0.0), 4) == 6
    assert estimate_more_positives(Estimate(0.0, -0.123, 0.123), 1000) == 5100
    for unknown in (Estimate(nan, nan, nan), Estimate(0.0, -inf, inf)):
        assert estimate_more_positives(unknown, 40) is None
    assert estimate_more_positives(Estimate(0.0, -0.1, 0.1), 0) is None


def test_facts_are_read_again_from_their_table():
    before = facts(is_champion=False)
    assert read_facts(before.to_rows()) == before
    unknown = facts((nan, nan, nan), is_champion=False).to_rows()
    as_read = [{key: None if value != value else value for key, value in row.items()} for row in unknown]
    assert recommend({"a": HELD}, read_facts(as_read)).action == "wait"
    assert read_facts([]) is None


def test_a_report_names_broken_rules_first_and_replaces_an_older_report_in_a_description():
    rules = {"a": HELD, "b | c": BROKEN, "d": UNDECIDED}
    report = GateReport(rules, recommend(rules, facts()))
    assert [row["result"] for row in report.to_rows()] == ["does not hold", "undecided", "holds"]
    text = report.to_markdown()
    assert text.startswith("**REFUSE.** ")
    assert "| b \\| c | does not hold | calibration ratio 9 | at most 3 |" in text
    first = f"{text}{REPORT_END}The rest."
    passed = GateReport({"a": HELD}, recommend({"a": HELD}, facts()))
    again = replace_report(first, passed)
    assert again.startswith("**PROMOTE.**")
    assert again.endswith("The rest.")
    assert "REFUSE" not in again
    assert replace_report("Old text.", passed).endswith(f"{REPORT_END}Old text.")
