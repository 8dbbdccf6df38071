"""The gate: each rule refuses what it is there for, says what it found, and calls too few results by their name."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
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
from training.evaluation.difference import MEASURES
from training.evaluation.leakage import BOUNDS, EARLY_RESULTS, FILLED_COLUMN, LATER_CHANGES, PREDICTIVE_COLUMN
from training.evaluation.name_invariance import MAX_LOG_ODDS_CHANGE
from training.evaluation.stored_scores import RecipeEvaluation
from training.gate.report import GateReport
from training.gate.rules import (
    CHAMPION_RULES,
    MAX_CALIBRATION_FACTOR,
    MAX_SLICE_DROP,
    MAX_SLICE_LOSS,
    MIN_SLICE_POSITIVES,
    REFIT_RULE,
    RUN_RULES,
    VERIFIED_RULE,
    WITHOUT_TABLES,
    GateEvidence,
    RuleResult,
    ScoreSource,
    find_obstacles,
    run_gate,
)
from training.gate.ways import Candidate

REFIT = Candidate("1", newer_days=14, same_recipe=True)


def find_broken(evidence: GateEvidence) -> dict[str, str]:
    """Give the rules that stand against a promotion, and what they found."""
    return {name: rule.found for name, rule in find_obstacles(run_gate(evidence)).items()}


def measure(**metrics: Any) -> Any:
    """Give the figures of a run with some metrics of the deployed recipe changed."""
    return make_figures(recipe=RecipeEvaluation(make_evaluation(**metrics), {}))


def test_a_good_first_version_and_a_good_refit_pass(bundle: Bundle) -> None:
    assert find_broken(make_evidence(bundle)) == {}
    assert find_broken(make_challenger(bundle, make_pair(), REFIT)) == {}


def calibrate(value: float, low: float, high: float) -> Any:
    return measure(calibration_ratio=estimate(value, low, high, is_share=False))


WORSE_THAN_RULES = make_figures(against_rules=make_pair(recall_at_capacity=estimate(-0.1, -0.2, -0.01)))
COLLAPSED = SLICE | {"value": "air", "roc_auc": 0.5, "roc_auc_high": 0.55}
CASES: dict[str, tuple[str, Any, str]] = {
    "better than chance": (
        *("figures", measure(roc_auc=estimate(0.6, 0.5, 0.7))),
        "area under the ROC curve 0.6 (0.5 to 0.7)",
    ),
    "not worse than the rules": ("figures", WORSE_THAN_RULES, "recall at capacity -10 points (-20 to -1)"),
    "calibrated": (
        *("figures", calibrate(5.0, 3.1, 9.0)),
        "predicted positives of all traffic are 5 times the observed ones (3.1 to 9): the scores are too high",
    ),
    "no slice collapsed": (
        *("figures", measure(slices=[COLLAPSED])),
        "channel air: area 0.5, upper end 0.55, 20 positives",
    ),
    "names have no effect": ("figures", make_figures(name_swap=0.011), "at most 0.011 log-odds"),
    REFIT_RULE: ("refit", RuleResult(False, "bundle/trees.txt differs"), "bundle/trees.txt differs"),
    VERIFIED_RULE: ("verified", RuleResult(None, "the run is not signed"), "the run is not signed"),
}
"""Rule, the evidence against it, and what the rule finds."""


@pytest.mark.parametrize("rule", CASES)
def test_each_fault_is_refused_by_its_rule_alone(bundle: Bundle, rule: str) -> None:
    name, evidence, words = CASES[rule]
    broken = find_broken(make_evidence(bundle, **{name: evidence}))
    assert list(broken) == [rule]
    assert words in broken[rule]


@pytest.mark.parametrize(
    ("ratio", "rules"),
    [
        ((0.2, 0.1, 0.3), ["calibrated"]),
        *(
            (each, [])
            for each in ((0.319, 0.146, 0.842), (3.96, 0.9, 9.0), (0.05, 0.01, 0.4), (3.0, 2.0, 4.0))
        ),
    ],
)
def test_a_calibration_whose_interval_reaches_into_the_limits_holds(
    bundle: Bundle, ratio: tuple[float, float, float], rules: list[str]
) -> None:
    assert [*find_broken(make_evidence(bundle, figures=calibrate(*ratio)))] == rules


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (
            (5.35, 2.96, 36.2),
            ": the scores seem too high, but the interval reaches below 3, so this is not certain",
        ),
        (
            (0.05, 0.01, 0.4),
            ": the scores seem too low, but the interval reaches above 1/3, so this is not certain",
        ),
        ((2.9, 2.0, 4.0), ""),
    ],
)
def test_a_calibration_that_holds_beyond_the_limits_says_so(
    bundle: Bundle, ratio: tuple[float, float, float], words: str
) -> None:
    """The rule said that 5.35 holds against a limit of 3, without a word why."""
    rule = run_gate(make_evidence(bundle, figures=calibrate(*ratio)))["calibrated"]
    assert rule.held
    assert rule.found.partition(")")[2] == words


def test_calibration_is_one_ratio_on_one_screen(bundle: Bundle) -> None:
    """Two ratios that contradict each other, .319 and 3.96, once stood in one report."""
    report = GateReport.from_evidence(make_evidence(bundle, figures=calibrate(0.319, 0.146, 0.842)))
    (row,) = [row for row in report.to_rows() if "times the observed" in row["found"]]
    (fact,) = [each for each in report.recommendation.facts if "times the observed" in each]
    assert row["found"] in fact


def test_the_rows_of_results_are_not_called_results_which_the_report_counts_by_consignment(
    bundle: Bundle,
) -> None:
    """A report had 844 results known at the date of the training, and its rule 856."""
    found = run_gate(make_evidence(bundle))["results after arrivals"].found
    assert found.startswith("0 % of 900 rows of final results, of which a consignment may have several, ")


def test_too_few_results_are_undecided_and_say_how_many_more_are_needed(bundle: Bundle) -> None:
    few = estimate(0.7, 0.4, 0.95, finds=4)
    rule = run_gate(make_evidence(bundle, figures=measure(roc_auc=few)))["better than chance"]
    assert (rule.held, rule.undecided) == (False, True)
    assert rule.found == "too few results: 4 known, about 6 more needed"
    pair = make_pair(**dict.fromkeys(MEASURES, estimate(0.0, -0.4, 0.4, finds=4)))
    rule = run_gate(make_evidence(bundle, figures=make_figures(against_rules=pair)))[
        "not worse than the rules"
    ]
    assert (rule.name, rule.found.partition(": ")[0]) == ("holds", "nothing shows a loss")


@pytest.mark.parametrize(
    ("look", "rule"),
    [
        (LATER_CHANGES, "no future data"),
        (EARLY_RESULTS, "results after arrivals"),
        (PREDICTIVE_COLUMN, "no column is the result"),
        (FILLED_COLUMN, "no column reveals inspection"),
    ],
)
def test_a_leak_that_was_seen_or_not_looked_for_is_refused(bundle: Bundle, look: str, rule: str) -> None:
    def find(row: dict[str, Any] | None) -> list[str]:
        looks = NO_LEAK | ({} if row is None else {look: NO_LEAK[look] | row})
        if row is None:
            del looks[look]
        return list(find_broken(make_evidence(bundle, figures=make_figures(looks=looks))))

    assert find({"found": 1.0, "where": "value.tax"}) == find({"found": None}) == find(None) == [rule]
    assert find({"found": BOUNDS[look]}) == []


def test_a_check_with_too_few_positives_is_undecided_and_one_that_was_not_made_is_not(bundle: Bundle) -> None:
    rule = "no column is the result"
    for where, undecided, found in (
        ("3 positives", True, "3 positives"),
        ("", False, "the run did not check it"),
    ):
        looks = NO_LEAK | {PREDICTIVE_COLUMN: {"found": None, "rows": 9, "where": where}}
        result = run_gate(make_evidence(bundle, figures=make_figures(looks=looks)))[rule]
        assert (result.held, result.undecided, result.found) == (False, undecided, f"no figure: {found}")


def test_of_an_altered_or_exchanged_bundle_only_that_is_said(bundle: Bundle) -> None:
    altered = make_evidence(bundle, bundle=None, refusal="trees.txt: the file was altered")
    assert find_broken(altered) == {"checksums verified": "trees.txt: the file was altered"}
    (found,) = find_broken(make_evidence(bundle, registered_sha256="ab" * 32)).values()
    assert found.startswith("another bundle")


def test_a_run_without_stored_scores_is_refused_by_every_rule_about_figures(bundle: Bundle) -> None:
    broken = find_broken(make_evidence(bundle, figures=None))
    assert {"better than chance", "calibrated", "no future data"} < set(broken)
    assert set(broken.values()) == {f"there are no scores to compute it from: {VOUCHED.found}"}


def test_without_the_training_tables_the_refit_is_not_checked_and_does_not_refuse(bundle: Bundle) -> None:
    rules = run_gate(make_evidence(bundle, refit=WITHOUT_TABLES))
    assert [name for name, rule in rules.items() if rule.held is not True] == [REFIT_RULE]
    assert not find_obstacles(rules)


def test_a_former_champion_needs_only_its_bundle(bundle: Bundle) -> None:
    back = make_evidence(bundle, goes_back=True, figures=None, candidate=Candidate("2"), refit=WITHOUT_TABLES)
    assert list(run_gate(back)) == ["checksums verified", "self-test passed", "reasons present"]
    report = GateReport.from_evidence(back)
    assert report.recommendation.facts[-1].endswith(
        "It was approved before, so the other rules are not asked again."
    )


def test_the_same_rules_are_named_before_and_after_the_comparison(bundle: Bundle) -> None:
    """Training, gate and promotion once named 9, 21 and 13 rules."""
    compared = make_challenger(bundle, make_pair(), REFIT)
    before = replace(compared, comparison=None, verified=RuleResult(None, "not signed"), refit=WITHOUT_TABLES)
    assert list(run_gate(before)) == list(run_gate(compared))
    assert list(find_broken(before)) == [VERIFIED_RULE, "compared with the champion"]
    assert {run_gate(before)[name].held for name in CHAMPION_RULES} == {False, None}


OUT_OF_TIME, LEARNT = ScoreSource("stored scores"), ScoreSource("evaluation", BEGINS + timedelta(days=1))


@pytest.mark.parametrize(
    ("sources", "is_refused"),
    [
        ((ScoreSource("final", BEGINS), ScoreSource("evaluation", BEGINS)), False),
        ((OUT_OF_TIME, OUT_OF_TIME), False),
        ((ScoreSource("decisions"), ScoreSource("evaluation", BEGINS)), False),
        ((ScoreSource("refitted recipe"), OUT_OF_TIME), False),
        ((OUT_OF_TIME, LEARNT), True),
        ((LEARNT, OUT_OF_TIME), True),
    ],
    ids=str,
)
def test_a_comparison_is_refused_if_a_fit_learnt_from_it_but_stored_scores_are_out_of_time(
    bundle: Bundle, sources: tuple[ScoreSource, ScoreSource], is_refused: bool
) -> None:
    good = make_challenger(bundle, make_pair(), REFIT)
    assert good.comparison is not None
    broken = find_broken(replace(good, comparison=replace(good.comparison, sources=sources)))
    assert list(broken) == ["compared on unseen data"] * is_refused
    assert all(source.describe() in found for source in sources for found in broken.values())


def test_the_texts_of_the_rules_name_the_limits_that_are_checked() -> None:
    named = {
        "results after arrivals": f"{100 * BOUNDS[EARLY_RESULTS]:g} %",
        "no column is the result": f"{BOUNDS[PREDICTIVE_COLUMN]}",
        "no column reveals inspection": f"at most {100 * BOUNDS[FILLED_COLUMN]:g} percentage points",
        "calibrated": f"1/{MAX_CALIBRATION_FACTOR:g} and {MAX_CALIBRATION_FACTOR:g}",
        "no slice collapsed": f"more than {MAX_SLICE_DROP} below",
        "no slice lost": f"slice of {MIN_SLICE_POSITIVES} or more positives loses more than {MAX_SLICE_LOSS}",
        "names have no effect": f"at most {MAX_LOG_ODDS_CHANGE} log-odds",
    }
    texts = {name: rule["expected"] for name, rule in (RUN_RULES | CHAMPION_RULES).items()}
    assert [name for name, text in named.items() if text not in texts[name]] == []


def test_a_slice_lost_to_the_champion_is_refused_by_name(bundle: Bundle) -> None:
    lost = make_challenger(bundle, make_pair(slices=[LOST_SLICE]), REFIT)
    assert find_broken(lost)["no slice lost"].startswith("channel postal: area -0.2 (-0.3 to -0.1)")
    few = make_challenger(bundle, make_pair(slices=[LOST_SLICE | {"positive": 9}]), REFIT)
    assert find_broken(few) == {}


def test_the_weaker_of_two_signatures_counts(bundle: Bundle) -> None:
    good = make_challenger(bundle, make_pair(), REFIT)
    assert good.comparison is not None
    unsigned = replace(good.comparison, verified=RuleResult(None, "the comparison is not signed"))
    assert find_broken(replace(good, comparison=unsigned)) == {VERIFIED_RULE: "the comparison is not signed"}
