"""The gate: each rule refuses what it is there for, says what it found, and calls too few results by their name."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.cases import read_cases
from support.gate_evidence import (
    BEGINS,
    LOST_SLICE,
    NO_LEAK,
    SLICE,
    VOUCHED,
    estimate,
    make_challenger,
    make_evaluation,
    make_evidence,
    make_figures,
    make_pair,
)

from models.bundle import Bundle
from models.promotion_record import BROKEN, HOLDS, UNDECIDED
from training.data.splits import ArrivalWindow
from training.evaluation.estimate import Estimate
from training.evaluation.leakage import BOUNDS, EARLY_RESULTS, FILLED_COLUMN, LATER_CHANGES, PREDICTIVE_COLUMN
from training.evaluation.name_invariance import MAX_LOG_ODDS_CHANGE
from training.evaluation.stored_scores import RecipeEvaluation
from training.gate import rules
from training.gate.report import GateReport
from training.gate.ways import Candidate

REFIT = Candidate("1", "2024-07-15", "2024-07-01", same_recipe=True)
LEAKS = {
    LATER_CHANGES: "no future data",
    EARLY_RESULTS: "results after arrivals",
    PREDICTIVE_COLUMN: "no column is the result",
    FILLED_COLUMN: "no column reveals inspection",
}
FOUND_BY_A_LOOK: list[tuple[str, str, Any]] = [
    (BROKEN, "", {"found": 1.0}),
    (BROKEN, "no figure: the run did not check it", None),
    (UNDECIDED, "no figure: 3 positives", {"found": None, "where": "3 positives"}),
]
LOOKS = [
    {"rule": rule, "result": result, "words": words, "look": {check: row}}
    for check, rule in LEAKS.items()
    for result, words, row in [*FOUND_BY_A_LOOK, (HOLDS, "", {"found": BOUNDS[check]})]
]


def find_broken(evidence: rules.GateEvidence) -> dict[str, str]:
    return {name: rule.found for name, rule in rules.find_obstacles(rules.run_gate(evidence)).items()}


def read_estimates(given: dict[str, list[Any]]) -> dict[str, Estimate]:
    return {name: estimate(*values, is_share=name != "calibration_ratio") for name, values in given.items()}


def read_figures(case: dict[str, Any]) -> rules.RunFigures:
    """Read the figures of a good run, with the changes of a case."""
    slices = [SLICE | case.get("slice", {})] + [SLICE | each for each in case.get("more_slices", [])]
    model = make_evaluation(slices=slices, **read_estimates(case.get("metrics", {})))
    if "calibrated_from_day" in case:
        begins = BEGINS + timedelta(days=case["calibrated_from_day"])
        model = replace(model, calibrated=ArrivalWindow(begins, model.arrivals.ends))
    rows = NO_LEAK | {check: row and NO_LEAK[check] | row for check, row in case.get("look", {}).items()}
    return make_figures(
        recipe=RecipeEvaluation(model, {}),
        against_rules=make_pair(**read_estimates(case.get("against_rules", {}))),
        looks={check: row for check, row in rows.items() if row is not None},
        name_swap=case.get("name_swap", 0.0),
    )


def read_evidence(bundle: Bundle, case: dict[str, Any]) -> rules.GateEvidence:
    """Read the evidence of a good version, with the changes of a case; one with a pair has a champion."""
    results = {name: rules.RuleResult(*case[name]) for name in ("refit", "verified") if name in case}
    given = {"figures": read_figures(case), **results}
    if "pair_slice" in case:
        return make_challenger(bundle, make_pair(slices=[LOST_SLICE | case["pair_slice"]]), REFIT, **given)
    if "gains" in case:
        return make_challenger(bundle, make_pair(**read_estimates(case["gains"])), REFIT, **given)
    return make_evidence(bundle, **given)


@pytest.mark.parametrize("case", [*read_cases("gate_rules"), *LOOKS])
def test_each_rule_finds_its_fault_alone_and_says_what_it_could_not_check(
    bundle: Bundle, case: dict[str, Any]
) -> None:
    """Each line has a rule, its result, words of what it found, and what differs from the evidence of a good version."""
    evidence, rule, result = read_evidence(bundle, case), case["rule"], case["result"]
    found = rules.run_gate(evidence)
    assert (found[rule].name, case["words"] in found[rule].found) == (result, True), found[rule].found
    stands_against = result in (BROKEN, UNDECIDED) or rule == rules.VERIFIED_RULE
    assert list(find_broken(evidence)) == [rule] * stands_against
    assert {name for name, each in found.items() if each.name != HOLDS} <= {rule}


def test_too_few_finds_decide_neither_the_order_nor_that_no_column_knows_the_result(bundle: Bundle) -> None:
    few: dict[str, Any] = {"metrics": {"roc_auc": [0.7, 0.4, 0.95, 4]}}
    found = find_broken(read_evidence(bundle, few))
    told = "too few results: 4 known, about 6 more needed"
    assert found == dict.fromkeys(("no column is the result", "better than chance"), told)
    leaky = read_evidence(bundle, few | {"look": {PREDICTIVE_COLUMN: {"found": 1.0}}})
    assert "at least 1.000" in find_broken(leaky)["no column is the result"]


def test_calibration_is_one_ratio_on_one_screen(bundle: Bundle) -> None:
    low = {"metrics": {"calibration_ratio": [0.319, 0.146, 0.842]}}
    report = GateReport.from_evidence(read_evidence(bundle, low))
    (row,) = [row for row in report.to_rows() if "times the observed" in row["found"]]
    (fact,) = [each for each in report.recommendation.facts if "times the observed" in each]
    assert row["found"] in fact


def test_of_an_altered_or_exchanged_bundle_only_that_is_said(bundle: Bundle) -> None:
    altered = make_evidence(bundle, bundle=None, refusal="trees.txt: the file was altered")
    assert find_broken(altered) == {"checksums verified": "trees.txt: the file was altered"}
    assert "Until a version is promoted" not in GateReport.from_evidence(altered).recommendation.sentence
    (found,) = find_broken(make_evidence(bundle, registered_sha256="ab" * 32)).values()
    assert found.startswith("another bundle")


def test_a_run_without_stored_scores_is_refused_by_every_rule_about_figures(bundle: Bundle) -> None:
    broken = find_broken(make_evidence(bundle, figures=None))
    assert {"better than chance", "calibrated", "no future data"} < set(broken)
    assert set(broken.values()) == {f"there are no scores to compute it from: {VOUCHED.found}"}


def test_a_former_champion_needs_only_its_bundle(bundle: Bundle) -> None:
    again = {"goes_back": True, "figures": None, "refit": rules.WITHOUT_TABLES}
    back = make_evidence(bundle, candidate=Candidate("2"), **again)
    assert list(rules.run_gate(back)) == ["checksums verified", "self-test passed", "reasons present"]
    said = "It was approved before, so the other rules are not asked again."
    assert GateReport.from_evidence(back).recommendation.facts[-1].endswith(said)


def test_the_same_rules_are_named_before_and_after_the_comparison(bundle: Bundle) -> None:
    compared = make_challenger(bundle, make_pair(), REFIT)
    unsigned = rules.RuleResult(None, "not signed")
    before = replace(compared, comparison=None, verified=unsigned, refit=rules.WITHOUT_TABLES)
    assert list(rules.run_gate(before)) == list(rules.run_gate(compared))
    assert list(find_broken(before)) == [rules.VERIFIED_RULE, "compared with the champion"]
    assert {rules.run_gate(before)[name].held for name in rules.CHAMPION_RULES} == {False, None}


OUT_OF_TIME = rules.ScoreSource("stored scores")
LEARNT = rules.ScoreSource("evaluation", BEGINS + timedelta(days=1))


@pytest.mark.parametrize(
    ("sources", "is_refused"),
    [
        ((rules.ScoreSource("final", BEGINS), rules.ScoreSource("evaluation", BEGINS)), False),
        ((OUT_OF_TIME, OUT_OF_TIME), False),
        ((rules.ScoreSource("decisions"), rules.ScoreSource("evaluation", BEGINS)), False),
        ((rules.ScoreSource("refitted recipe"), OUT_OF_TIME), False),
        ((OUT_OF_TIME, LEARNT), True),
        ((LEARNT, OUT_OF_TIME), True),
    ],
    ids=str,
)
def test_a_comparison_is_refused_if_a_fit_learnt_from_it_but_stored_scores_are_out_of_time(
    bundle: Bundle, sources: tuple[rules.ScoreSource, rules.ScoreSource], is_refused: bool
) -> None:
    good = make_challenger(bundle, make_pair(), REFIT)
    broken = find_broken(replace(good, comparison=replace(good.comparison, sources=sources)))
    assert list(broken) == ["compared on unseen data"] * is_refused
    assert all(source.describe() in found for source in sources for found in broken.values())


def test_the_texts_of_the_rules_name_the_limits_that_are_checked() -> None:
    named = {
        "results after arrivals": f"{100 * BOUNDS[EARLY_RESULTS]:g} %",
        "no column is the result": f"{BOUNDS[PREDICTIVE_COLUMN]}",
        "no column reveals inspection": f"at most {100 * BOUNDS[FILLED_COLUMN]:g} percentage points",
        "calibrated": f"1/{rules.MAX_CALIBRATION_FACTOR:g} and {rules.MAX_CALIBRATION_FACTOR:g}",
        "no slice collapsed": f"more than {rules.MAX_SLICE_DROP} below",
        "no slice lost": f"slice of {rules.MIN_SLICE_POSITIVES} or more positives loses more than {rules.MAX_SLICE_LOSS}",
        "names have no effect": f"at most {MAX_LOG_ODDS_CHANGE} log-odds",
    }
    texts = {name: rule["expected"] for name, rule in (rules.RUN_RULES | rules.CHAMPION_RULES).items()}
    assert [name for name, text in named.items() if text not in texts[name]] == []


def test_the_weaker_of_two_signatures_counts(bundle: Bundle) -> None:
    good = make_challenger(bundle, make_pair(), REFIT)
    told = "the comparison is not signed"
    unsigned = replace(good.comparison, verified=rules.RuleResult(None, told))
    assert find_broken(replace(good, comparison=unsigned)) == {rules.VERIFIED_RULE: told}
