"""Evidence for the gate, made of estimates that a test states."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from models.bundle import Bundle
from training.data.splits import ArrivalWindow
from training.evaluation.difference import MEASURES
from training.evaluation.estimate import Estimate
from training.evaluation.estimators import KnownFinds
from training.evaluation.leakage import BOUNDS
from training.evaluation.metrics import Evaluation, FindCounts, PairedEvaluation
from training.evaluation.stored_scores import RecipeEvaluation
from training.gate.rules import ChampionComparison, GateEvidence, RuleResult, RunFigures, ScoreSource
from training.gate.ways import Candidate, FindPace

VOUCHED = RuleResult(True, "the training run is signed by an evaluator")
REPRODUCED = RuleResult(True, "trained again on the same tables: both fits are equal, byte for byte")
NO_LEAK = {look: {"look": look, "found": 0.0, "rows": 900, "where": "hs_code"} for look in BOUNDS}
REPLACING = Candidate("1")
PACE = FindPace(4.0, 4.0, 3, 2, 3, 12)
"""Four finds a week in three windows, of which two could be calibrated."""
BEGINS = datetime(2024, 6, 1, tzinfo=UTC)
SOURCES = (ScoreSource("final", BEGINS), ScoreSource("evaluation", BEGINS))
POSTAL = {"kind": "channel", "value": "postal", "positive": 20}
SLICE = POSTAL | {"roc_auc": 0.85, "roc_auc_high": 0.9}
LOST_SLICE = POSTAL | {"difference": -0.2, "low": -0.3, "high": -0.1}
EVEN_SLICE = LOST_SLICE | {"difference": 0.0, "high": 0.1}


def estimate(value: float, low: float, high: float, finds: int = 60, *, is_share: bool = True) -> Estimate:
    """Make an estimate that rests on some equally weighted finds."""
    carried = {"effective": float(finds), "known": finds, "largest": 1 / finds}
    return Estimate(value, low, high, **carried, is_share=is_share)


def make_evaluation(
    known: int = 60, slices: Any = (SLICE,), found: float = 20.0, **metrics: Estimate
) -> Evaluation:
    """Make the evaluation of a good model, with some of its metrics changed."""
    ratio = estimate(1.1, 0.8, 1.4, known, is_share=False)
    good = {"roc_auc": estimate(0.9, 0.85, 0.95, known), "calibration_ratio": ratio}
    counts = FindCounts(known, {"1pct": found, "capacity": found / 2}, float(known), 1 / known)
    nothing = np.zeros(0)
    finds = KnownFinds(nothing, nothing, nothing, nothing.astype(np.int64), 0, {}, {}, 0.0, {}, {})
    arrivals = ArrivalWindow(BEGINS, BEGINS + timedelta(days=105))
    about = {"arrivals": arrivals, "calibrated": arrivals, "daily_capacity": 3}
    tables = {"capacity": [], "calibration": [], "slices": list(slices)}
    return Evaluation(**about, metrics=good | metrics, counts=counts, finds=finds, **tables)


def make_pair(finds: int = 60, slices: Any = (EVEN_SLICE,), **gains: Estimate) -> PairedEvaluation:
    """Make a pair whose measures differ by nothing that can be told, except the given gains."""
    even = {name: estimate(0.0, -0.04, 0.04, finds) for name in MEASURES}
    sides = (make_evaluation(finds), make_evaluation(finds, found=23.0))
    return PairedEvaluation(*sides, even | gains, list(slices))


def make_figures(**changes: Any) -> RunFigures:
    good = RunFigures(RecipeEvaluation(make_evaluation(), {}), make_pair(), PACE, NO_LEAK, 0.0)
    return replace(good, **changes)


def make_evidence(made: Bundle, **changes: Any) -> GateEvidence:
    """Make the evidence of a good first version."""
    found = {"figures": make_figures(), "verified": VOUCHED, "refit": REPRODUCED}
    return replace(GateEvidence("nps", made, "", made.sha256, **found), **changes)


def make_challenger(
    bundle: Bundle, pair: PairedEvaluation, candidate: Candidate = REPLACING, **changes: Any
) -> GateEvidence:
    """Make the evidence of a version that was compared with the champion, version 1."""
    compared = ChampionComparison("run", pair, BEGINS, SOURCES, VOUCHED)
    return make_evidence(bundle, candidate=candidate, comparison=compared, **changes)
