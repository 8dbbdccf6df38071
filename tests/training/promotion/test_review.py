"""Three challengers, and their pages: the first screen alone must say what to do, and why."""

from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from support.serving_examples import make_bundle
from support.training_judged import judged_world

from features.config import FeatureConfig
from models.bundle import Bundle, load_bundle
from models.registry import ModelVersion
from training.config import EvaluationConfig
from training.evaluation.leakage import BOUNDS
from training.evaluation.metrics import estimate_difference, evaluate
from training.evaluation.traffic import ScoredPeriod
from training.gate.recommendation import DecidingFacts, recommend
from training.gate.report import GateReport
from training.gate.rules import ChampionComparison, GateEvidence, run_gate
from training.promotion.comparison import COMPARED, Comparison
from training.promotion.comparison_report import render_comparison

SETTINGS = EvaluationConfig(resamples=60, smallest_slice=5)
BEGINS = datetime(2030, 1, 1, tzinfo=UTC)
A, B = (ModelVersion("nps-risk", number, "run", {"target": "nps"}, ()) for number in "12")
LUCKY = 22
"""Seed by which the challenger has a higher recall, although it is no better."""
LUCKIER = 5
"""Seed by which the same challenger even passes the gate."""
RUN = {
    "deployed/roc_auc": 0.9,
    "deployed/roc_auc_low": 0.8,
    "deployed/roc_auc_high": 0.95,
    "deployed/average_precision": 0.2,
    "deployed/average_precision_high": 0.3,
    "deployed/calibration_ratio": 1.1,
    "deployed/calibration_ratio_low": 0.8,
    "deployed/calibration_ratio_high": 1.4,
    "test/name_swap_95pct": 0.0,
}
NO_LEAK = {look: {"found": 0.0, "rows": 900, "where": ""} for look in BOUNDS}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder: Path = tmp_path_factory.mktemp("review")
    return load_bundle(make_bundle(folder / "bundle", FeatureConfig(), 1))


class Words(HTMLParser):
    """Collect the text of a page up to the first part that unfolds."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.is_open = True

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.is_open = self.is_open and tag != "details"

    def handle_data(self, data: str) -> None:
        if self.is_open:
            self.words += data.split()


def read_first_screen(page: str) -> str:
    parser = Words()
    parser.feed(page[page.index("<main>") :])
    return " ".join(parser.words)


def compare_scores(traffic: ScoredPeriod, champion: np.ndarray) -> Comparison:
    """Compare the score of the traffic with that of a champion."""
    one, other = (evaluate(each, SETTINGS) for each in (traffic.replace_score(champion), traffic))
    row = {
        "consignment_id": "RB1", "channel": "postal", "goods": "research <chemical>", "route": "CN → KR", "weight": "0.500 kg",
        "value": "12.0 USD", "rank_a": 900, "rank_b": 3, "score_a": 0.001, "score_b": 0.4,
        "reasons_a": "", "reasons_b": "Sender is new; usual: 3\nGoods are vague", "result": "positive",
    }  # fmt: skip
    return Comparison(
        one, other, {name: estimate_difference(other, one, name) for name in COMPARED}, [row], [], BEGINS,
        len(traffic.score), len(traffic.score), int(traffic.positive.sum()), False, "ab", {},
    )  # fmt: skip


def build_page(bundle: Bundle, traffic: ScoredPeriod, champion: np.ndarray, **run: float) -> str:
    found = compare_scores(traffic, champion)
    compared = ChampionComparison("", found.flatten_metrics(), found.begins)
    evidence = GateEvidence(
        bundle, "", bundle.sha256, RUN | {f"deployed/{name}": value for name, value in run.items()}, NO_LEAK, champion="1",
        comparison=compared,
    )  # fmt: skip
    rules = run_gate(evidence)
    facts = DecidingFacts(
        found.gains["recall_at_1pct"], "version 1, the champion", True, found.positive, found.b["calibration_ratio"],
        "inspection results",
    )  # fmt: skip
    return render_comparison(found, A, B, GateReport(rules, recommend(rules, facts)))


def blur(score: np.ndarray, size: float, seed: int = 1) -> np.ndarray:
    return np.minimum(score * np.exp(np.random.default_rng(seed).normal(0, size, len(score))), 0.99)


def make_lucky(seed: int) -> tuple[ScoredPeriod, np.ndarray]:
    """Make a challenger that is no better than the champion: both are the true risk with noise of the same size."""
    traffic, _, _ = judged_world(1_000)
    return traffic.replace_score(blur(traffic.score, 0.8, seed)), blur(traffic.score, 0.8, seed + 1)


def test_the_page_of_a_better_challenger_says_promote(bundle: Bundle) -> None:
    traffic, _, _ = judged_world(20_000)
    screen = read_first_screen(build_page(bundle, traffic, blur(traffic.score, 3.0)))
    assert "promote Every checked rule of the gate holds, and the model is better than version 1" in screen
    assert "wait" not in screen
    assert "refuse" not in screen


def test_the_page_of_a_luckier_challenger_says_wait_and_how_long(bundle: Bundle) -> None:
    screen = read_first_screen(build_page(bundle, *make_lucky(LUCKY)))
    assert "wait Wait for about" in screen
    assert (
        "more positives. A difference of five points at 1\xa0% of traffic can then be distinguished"
        not in screen
    )
    assert "more positives. A difference of five points at 1 % of traffic can then be distinguished" in screen
    assert "undecided" in screen


def test_the_page_of_another_lucky_seed_says_wait_although_every_checked_rule_holds(bundle: Bundle) -> None:
    screen = read_first_screen(build_page(bundle, *make_lucky(LUCKIER)))
    assert "Gate: 20 of 21 rules hold; not checked: training reproduced" in screen
    assert "wait Wait for about 37 more positives" in screen
    assert "promote" not in screen


def test_the_page_of_a_challenger_with_broken_calibration_says_refuse(bundle: Bundle) -> None:
    traffic, _, _ = judged_world(20_000)
    broken = replace(traffic, score=np.minimum(12 * traffic.score, 0.999))
    ratio = {"calibration_ratio": 11.0, "calibration_ratio_low": 8.0, "calibration_ratio_high": 15.0}
    screen = read_first_screen(build_page(bundle, broken, blur(traffic.score, 3.0), **ratio))
    assert screen.count("Do not read a score as a probability") == 1
    assert "refuse The gate does not hold (calibrated); the scores are not probabilities" in screen


def test_a_disagreement_has_goods_route_both_reasons_and_the_result(bundle: Bundle) -> None:
    traffic, _, _ = judged_world(2_000)
    page = build_page(bundle, traffic, blur(traffic.score, 0.8))
    for text in (
        "research &lt;chemical&gt;",
        "CN → KR",
        "0.500 kg",
        "<li>Sender is new; usual: 3</li>",
        "<li>Goods are vague</li>",
        "<b>positive</b>",
    ):
        assert text in page
