"""Challengers and their pages: the first screen alone must say what to do, and why."""

import html
import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from support.gate_evidence import VOUCHED, estimate, make_evaluation, make_evidence
from support.signing import sign_record
from support.training_judged import build_stored_scores

from models.bundle import Bundle
from models.registry import ModelVersion
from training.config import EvaluationConfig
from training.evaluation.metrics import LOGGED_METRICS
from training.evaluation.stored_scores import StoredScores
from training.gate.report import GateReport, summarize_rules
from training.gate.rules import ChampionComparison, RuleResult, ScoreSource, build_deployed_figures, run_gate
from training.gate.ways import Candidate
from training.promotion.comparison import OTHER_RANK, Comparison
from training.promotion.comparison_report import render_comparison
from training.promotion.promote import MAX_RECORD_CHARACTERS, fit_record
from training.reporting.html import replace_gate

SETTINGS = EvaluationConfig(smallest_slice=5)
BEGINS = datetime(2030, 1, 1, tzinfo=UTC)
SOURCES = (ScoreSource("decisions"), ScoreSource("evaluation", BEGINS))
A, B = (ModelVersion("nps-risk", number, "run", {"target": "nps"}, ()) for number in "12")


def read_first_screen(page: str) -> str:
    """Read the text of a page up to the first part that unfolds."""
    shown = page[page.index("<main>") :].partition("<details")[0]
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", shown)).split())


def compare_blurred(champion: float, challenger: float, rows: int = 6_000) -> Comparison:
    """Compare two models that see the true risk with noise."""
    frame = build_stored_scores(rows).frame
    numbers = np.random.default_rng(1)
    ranks = {
        name: frame.assign(blurred=frame["probability"] * np.exp(numbers.normal(0, size, rows)))
        .groupby("window")["blurred"]
        .rank(pct=True)
        for name, size in ((OTHER_RANK, champion), ("rank", challenger))
    }
    stored = StoredScores(frame.drop(columns=["baseline_random", "baseline_rules"]).assign(**ranks))
    return Comparison(stored, SETTINGS, "nps", BEGINS, rows, SOURCES)


def render_reviewed(bundle: Bundle, found: Comparison) -> str:
    compared = ChampionComparison("", found.pair, found.begins, found.sources, VOUCHED)
    evidence = make_evidence(
        bundle, candidate=Candidate("1", "2024-07-15", "2024-07-01"), comparison=compared
    )
    page = render_comparison(found, A, B)
    return replace_gate(page, GateReport.from_evidence(evidence), {})


def test_the_page_says_promote_on_what_was_counted_or_refuse(bundle: Bundle) -> None:
    found = compare_blurred(4.0, 0.3)
    page = render_reviewed(bundle, found)
    screen = read_first_screen(page)
    assert "promote This version is better than version 1: recall averaged over capacities" in screen
    assert ", version 1 ranks " in screen
    assert "worse if the whole interval of one of the three measures of recall is below zero" in page
    assert not re.search("wait|refuse", screen)
    worse = read_first_screen(render_reviewed(bundle, compare_blurred(0.3, 4.0)))
    assert "refuse The gate does not hold (not worse than the champion" in worse


def test_fits_of_unequal_experience_are_named_with_a_warning(bundle: Bundle) -> None:
    sources = tuple(ScoreSource("evaluation", BEGINS, "2029-12-01", positives) for positives in (1, 6))
    found = replace(compare_blurred(4.0, 0.3), sources=sources)
    learnt = "trained on arrivals before 2029-12-01 (1 positive), not on any from 2030-01-01 on"
    pages = {"version 2": render_comparison(found, A, B), "this version": render_reviewed(bundle, found)}
    for other, whole in pages.items():
        page = read_first_screen(whole)
        assert page.count(f"Scores of version 1: its evaluation fit, without the last weeks, {learnt}.") == 1
        unequal = f"The compared fit of version 1 was trained on 1 positive, that of {other} on 6."
        assert page.count(unequal) == 1


def test_the_longest_record_fits_into_a_tag_of_mlflow(bundle: Bundle) -> None:
    """MLflow on PostgreSQL stores 5,000 characters; with few results each figure has its reason."""
    few = estimate(0.5, 0.0, 1.0, finds=4)
    names = [*LOGGED_METRICS]
    model = make_evaluation(known=4, **dict.fromkeys(names, few))
    rules = run_gate(make_evidence(bundle, candidate=Candidate("1")))
    record = sign_record(
        figures=build_deployed_figures(model),
        sentence=f"Forced: {summarize_rules({name: RuleResult(False, '', '') for name in rules})}",
        why="w" * 200,
        recipe_sha256="0" * 64,
        comparison="0" * 32,
    ).record
    assert len(rules) == 19
    long = RuleResult(False, "x " * 200, undecided=True)
    assert len(fit_record(record, dict.fromkeys(rules, long)).to_json()) <= MAX_RECORD_CHARACTERS == 5000
    short = fit_record(record, rules | {"calibrated": long._replace(found="so this is not certain " * 10)})
    assert short.rules["calibrated"]["found"] == ("so this is not certain " * 10).strip()
