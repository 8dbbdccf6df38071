"""The recommendation: each way up and each reason against it in one sentence, on the facts that decide, counts first."""

import re
from dataclasses import replace
from typing import Any

import pytest
from support.cases import read_cases
from support.gate_evidence import (
    NO_LEAK,
    estimate,
    make_challenger,
    make_evaluation,
    make_evidence,
    make_figures,
    make_pair,
)
from support.signing import sign_record

from models.bundle import Bundle
from training.config import parse_config
from training.evaluation.difference import MEASURES, state_difference
from training.evaluation.estimate import Estimate
from training.evaluation.leakage import PREDICTIVE_COLUMN
from training.evaluation.stored_scores import RecipeEvaluation
from training.gate.report import GateReport, Recommendation
from training.gate.rules import WAY_RULE, WITHOUT_TABLES, GateEvidence, RuleResult
from training.gate.ways import Candidate, FindPace, count_more_finds
from training.promotion.comparison_report import describe_difference
from training.promotion.evidence import list_overruled
from training.promotion.refit import describe_changes
from training.reporting.html import render_page

PRIMARY = MEASURES[0]
CHANGED = Candidate("1", "2024-07-15", "2024-07-01")
REFIT = CHANGED._replace(same_recipe=True)
CLEAR, HINT = estimate(0.08, 0.03, 0.13), estimate(0.08, -0.1, 0.26)
EVEN, LOSS = estimate(0.0, -0.04, 0.04), estimate(-0.1, -0.15, -0.02)
FEW = estimate(0.1, -0.3, 0.4, finds=4)


def recommend(evidence: GateEvidence) -> Recommendation:
    return GateReport.from_evidence(evidence).recommendation


UNDECIDED = ("no column is the result", "better than chance", "calibrated")
FEW_RATIO = estimate(1, 0.2, 9, finds=7, is_share=False)
FEW_RESULTS = make_evaluation(roc_auc=estimate(0.8, 0.4, 0.95, finds=6), calibration_ratio=FEW_RATIO)
FEW_LOOKS = NO_LEAK | {PREDICTIVE_COLUMN: {"found": None, "rows": 9, "where": "3 positives"}}
OPEN = make_figures(recipe=RecipeEvaluation(FEW_RESULTS, {}), looks=FEW_LOOKS)
KNOWN: dict[str, dict[str, Any]] = {
    "open": {"figures": OPEN},
    "reads names": {"figures": replace(OPEN, name_swap=1.0)},
    "not repeated": {"refit": WITHOUT_TABLES},
    "unsigned": {"verified": RuleResult(None, "the run is not signed")},
}


@pytest.mark.parametrize("given", read_cases("recommendations"))
def test_each_case_gets_its_answer_in_one_sentence(bundle: Bundle, given: dict[str, Any]) -> None:
    """Each line has a candidate, its gain, what else is known of it, and action, way and words of the answer."""
    case: dict[str, Any] = {"candidate": {}, "known": []} | given
    gains = {PRIMARY: estimate(*case["gain"])} if "gain" in case else {}
    if "lost capacity" in case["known"]:
        gains["recall_at_capacity"] = LOSS
    changes = {name: part for known in case["known"] for name, part in KNOWN.get(known, {}).items()}
    candidate = CHANGED._replace(**case["candidate"])
    found = recommend(make_challenger(bundle, make_pair(**gains), candidate, **changes))
    assert (found.action, found.way) == (case["action"], case["way"]), found.sentence
    assert case["words"] in found.sentence


def test_the_advice_to_compare_again_has_the_pace_of_the_compared_weeks(bundle: Bundle) -> None:
    pair = make_pair(**{PRIMARY: FEW})
    slow = replace(pair, b=replace(pair.b, counts=pair.b.counts._replace(known=12)))
    assert "0.8 arrive in a compared week" in recommend(make_challenger(bundle, slow, CHANGED)).sentence


def test_a_page_with_too_few_finds_names_one_need(bundle: Bundle) -> None:
    pair = make_pair(**dict.fromkeys(MEASURES, FEW))
    said = GateReport.from_evidence(make_challenger(bundle, pair, CHANGED)).to_markdown()
    assert re.findall(r"[Aa]bout [0-9,]+ more", said) == ["About 150 more"]
    assert "more" not in describe_difference(pair.gains[PRIMARY], PRIMARY)


@pytest.mark.parametrize("case", read_cases("advice_after_training"))
def test_figures_of_a_run_change_only_with_a_new_training(bundle: Bundle, case: dict[str, Any]) -> None:
    """Each line has the finds of two figures, the pace at which finds come, action and end of the answer."""
    metrics = {"calibration_ratio": estimate(1, 0.2, 9, finds=case["calibration"], is_share=False)}
    if "area" in case:
        metrics["roc_auc"] = estimate(0.8, 0.4, 0.95, finds=case["area"])
    recipe = RecipeEvaluation(make_evaluation(**metrics), {})
    figures = make_figures(recipe=recipe, pace=FindPace(*case["pace"]))
    found = recommend(make_evidence(bundle, figures=figures))
    rules = ", ".join(UNDECIDED) if "area" in case else "calibrated"
    begin = f"Too few results were known when it was trained ({rules}), and its figures stay"
    assert found.sentence.startswith(begin)
    assert (found.action, found.sentence.endswith(case["ending"])) == (case["action"], True), found.sentence
    assert len(re.findall(r"more finds? ", found.sentence)) == 1


FORMER = {"goes_back": True, "figures": None}


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({}, ("promote", "first", "There is no champion, and no rule is broken.")),
        ({"candidate": CHANGED}, ("wait", "", "First compare it with the champion")),
        (FORMER, ("promote", "goes back", "It was champion before, ")),
        (FORMER | {"is_champion": True}, ("promoted", "goes back", "It is champion, ")),
        (KNOWN["unsigned"], ("wait", "", "No approver or evaluator signed")),
    ],
)
def test_a_version_without_a_comparison(
    bundle: Bundle, changes: dict[str, Any], answer: tuple[str, str, str]
) -> None:
    found = recommend(make_evidence(bundle, **changes))
    assert found[:2] == answer[:2]
    assert found.sentence.startswith(answer[2])
    assert "signed" not in found.sentence or found.sentence.endswith("(--key). The run is not signed.")


def test_the_facts_begin_with_what_was_counted(bundle: Bundle) -> None:
    challenger = make_challenger(bundle, make_pair(recall_at_capacity=LOSS), REFIT)
    counted, difference, scores, calibration, rules, as_of = recommend(challenger).facts
    arrivals = "arrivals from 2024-06-01 until before 2024-09-14"
    ranked = f"Of 60 known NPS among {arrivals}, version 1 ranks 10 within the capacity of 3 a day in each office, this version ranks 11.5"
    assert counted.startswith(f"{ranked} (top 1 %: 20 and 23).")
    found = "recall averaged over capacities 0 points (-4 to +4), with 95 % certainty at least -3.36 points"
    assert difference == f"This version is neither clearly better nor clearly worse than version 1: {found}."
    first = "Scores of version 1: its final fit, which is served, trained on arrivals before 2024-06-01."
    assert scores.startswith(f"{first} Scores of this")
    ratio = "predicted positives of all traffic are 1.1 times the observed ones (0.8 to 1.4)"
    assert calibration == f"As deployed, on {arrivals}, {ratio}."
    assert rules == "18 of 19 rules hold; does not hold: not worse than the champion."
    assert re.fullmatch(r"The gate as of 20\d\d-\d\d-\d\d \d\d:\d\d UTC\.", as_of)


@pytest.mark.parametrize(
    ("gain", "more"),
    [
        (estimate(0.02, -0.08, 0.12, finds=40), 92),
        (estimate(0.02, -0.01, 0.05, finds=40), 0),
        (estimate(0.02, -0.01, 0.05, finds=4), 150),
    ],
)
def test_the_finds_needed_follow_from_the_width_of_the_interval(gain: Any, more: int) -> None:
    assert count_more_finds(gain) == more


def test_what_the_recommendation_says_is_not_said_again_by_its_rule(bundle: Bundle) -> None:
    report = GateReport.from_evidence(make_challenger(bundle, make_pair(**{PRIMARY: EVEN}), CHANGED))
    assert report.recommendation.action == "refuse"
    for said in (report.to_markdown(), render_page("gate.html", gate=report, links={})):
        assert said.count("is neither clearly better nor clearly worse than version 1") == 1
        assert "as said above" in said
    (row,) = [each for each in report.to_rows() if each["rule"] == WAY_RULE]
    assert row["found"] in report.recommendation.sentence


@pytest.mark.parametrize(
    ("gain", "deployed", "basis"),
    [
        (CLEAR, LOSS, ", which lack the results of the last weeks."),
        (CLEAR, FEW, ", which lack the results of the last weeks."),
        (FEW, LOSS, " alone, so this does not decide."),
    ],
)
def test_a_comparison_says_how_both_recipes_differ_as_deployed(
    bundle: Bundle, gain: Estimate, deployed: Estimate, basis: str
) -> None:
    challenger = make_challenger(bundle, make_pair(**{PRIMARY: gain}), CHANGED)
    compared = replace(challenger.comparison, deployed=make_pair(**{PRIMARY: deployed}), level="The level.")
    found = recommend(replace(challenger, comparison=compared))
    (fact,) = [each for each in found.facts if "the recipes as deployed: " in each]
    assert state_difference(deployed, "version 1", "this version", " from the reports") in fact
    assert fact.endswith(f" The gate decides by the compared fits{basis}")
    assert ("is not known from the compared arrivals" in found.sentence) == (gain is FEW)
    assert found.sentence.endswith(" The level.") == (found.action == "promote") == (gain is CLEAR)


def test_a_refit_says_what_is_open_and_against_what_its_champion_was_forced(bundle: Bundle) -> None:
    few = make_figures(recipe=RecipeEvaluation(make_evaluation(roc_auc=FEW, calibration_ratio=FEW), {}))
    overruled = frozenset({"calibrated", "no slice lost"})
    refit = REFIT._replace(overruled=overruled)
    said = recommend(make_challenger(bundle, make_pair(), refit, figures=few)).sentence
    assert "; undecided: no column is the result, better than chance, calibrated." in said
    assert (
        "so none is shown. Version 1, or one that it is a refit of, was forced against what is still open: calibrated."
        in said
    )
    assert "No drift run of version 1 was made." in said
    good = recommend(make_challenger(bundle, make_pair(), REFIT._replace(drift="stable"))).sentence
    assert "reproduced byte for byte. This version is neither clearly better nor clearly worse than" in good


def test_a_forced_rule_stays_open_in_refits_until_it_holds() -> None:
    steps = [
        ("1", None, "forced", False),
        ("2", "1", "routine refit", None),
        ("3", "2", "routine refit", True),
        ("2", "3", "goes back", None),
        ("4", "2", "better", None),
    ]
    records = []
    for version, replaces, way, held in steps:
        about = {"version": version, "replaces": replaces, "way": way, "forced": way == "forced"}
        records.append(sign_record(**about, rules={"calibrated": {"held": held, "found": ""}}).record)
    assert [version for version, rules in list_overruled(records).items() if rules] == ["1", "2"]


def test_a_refit_with_other_settings_is_told_which(bundle: Bundle) -> None:
    usual, other = parse_config({}), parse_config({"evaluation": {"origins": 4}, "model": {"trees": 70}})
    changed = describe_changes(usual, other)
    assert changed == " (model trees 60 in place of 70, evaluation origins 3 in place of 4)"
    found = recommend(make_challenger(bundle, make_pair(), CHANGED._replace(changed=changed)))
    assert f"its configuration is not that of the champion{changed}." in found.sentence
    assert describe_changes(usual, None) == describe_changes(usual, usual) == ""
