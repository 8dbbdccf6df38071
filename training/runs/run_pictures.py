"""Charts of a run's page: the recipe as deployed, and what the served fit uses."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from consignments.timestamps import EPOCH
from training.evaluation.capacity import compute_capacity_shares, compute_daily_capacity, select_at_capacity
from training.evaluation.fairness import Row, compute_fairness_rows
from training.evaluation.metrics import compute_capacity_curve
from training.evaluation.stored_scores import BASELINE, RANK
from training.evaluation.traffic import ScoredPeriod
from training.reporting.charts import Chart
from training.reporting.plots import (
    CapacityCurve,
    draw_ablation,
    draw_beeswarm,
    draw_calibration,
    draw_daily_detections,
    draw_dependence,
    draw_fairness,
    draw_importance,
    draw_precision,
    draw_recall,
)
from training.runs.explanations import SHOWN_FEATURES, ExplainedSample, compute_dependence, name_feature
from training.runs.result import TrainingResult

CURVE_SHARES = np.geomspace(0.0005, 0.2, 28)
"""Capacities of the curves."""
DAILY_SHARE = 0.01
"""Share of the traffic of a mean day, in the chart of positives by day."""
DEPENDENCE = "dependence_"
"""Beginning of the names of the charts of dependence."""


def draw_charts(
    trained: TrainingResult,
    sample: ExplainedSample,
    importance: Sequence[Mapping[str, Any]],
    fairness: Sequence[Row],
) -> dict[str, Chart]:
    """Draw the charts of the page; name to chart, in their order."""
    stored, model = trained.deployed.stored, trained.deployed.recipe.model
    charts = {"daily": _draw_daily(stored.to_period())}
    if model["recall_at_1pct"].is_shown:
        charts |= _draw_curves(trained)
    if model["calibration_ratio"].is_shown:
        charts["calibration"] = draw_calibration(model.calibration)
    charts |= draw_fairness([row for row in fairness if row["judged_by"] == "outcomes"])
    if trained.studied.ablation:
        charts["ablation"] = draw_ablation(trained.studied.ablation)
    return charts | _draw_explanations(trained, sample, importance)


def _draw_curves(trained: TrainingResult) -> dict[str, Chart]:
    stored, settings = trained.deployed.stored, trained.config.evaluation
    columns = {"model": RANK} | {name.replace("_", " "): BASELINE + name for name in stored.baselines}
    curves = [
        CapacityCurve(name, **compute_capacity_curve(stored.to_period(column), CURVE_SHARES, settings))
        for name, column in columns.items()
    ]
    own = compute_capacity_shares(stored.to_period(), settings)
    return {
        "precision": draw_precision(CURVE_SHARES, curves, own),
        "recall": draw_recall(CURVE_SHARES, curves, own),
    }


def compute_fairness(trained: TrainingResult) -> list[Row]:
    """Compute the burden of each group from inspection results and, in a simulated world, from the truth."""
    stored, settings = trained.deployed.stored, trained.config.evaluation
    capacity = compute_daily_capacity(stored.to_period(), settings)
    sources = {"outcomes": False} | ({"truth": True} if stored.has_truth else {})
    return [
        row
        for name, by_truth in sources.items()
        for row in compute_fairness_rows(stored.to_period(by_truth=by_truth), capacity, settings, name)
    ]


def _draw_daily(traffic: ScoredPeriod) -> Chart:
    days, day = np.unique(traffic.day, return_inverse=True)
    capacity = max(1, round(DAILY_SHARE * float(traffic.traffic.sum()) / len(days)))
    _, group = np.unique(-traffic.score, return_inverse=True)
    taken = select_at_capacity(group, day, capacity, traffic.traffic)
    found, there = (
        np.bincount(day, weights=traffic.positive * share, minlength=len(days)).astype(np.float64)
        for share in (taken, 1.0)
    )
    names = [f"{EPOCH + pd.Timedelta(days=int(number)):%d %b}" for number in days]
    return draw_daily_detections(names, found, there)


def _draw_explanations(
    trained: TrainingResult, sample: ExplainedSample, importance: Sequence[Mapping[str, Any]]
) -> dict[str, Chart]:
    groups: dict[str, float] = {}
    for row in importance:
        groups[row["group"]] = groups.get(row["group"], 0.0) + row["share"]
    model, columns = trained.final.model, sample.rank_features()[:SHOWN_FEATURES]
    titles = [name_feature(model.spec.features[column]) for column in columns]
    charts = {
        "importance": draw_importance(groups),
        "beeswarm": draw_beeswarm(titles, sample.X[:, columns], sample.contributions[:, columns]),
    }
    for number, each in enumerate(compute_dependence(model, sample), start=1):
        charts[f"{DEPENDENCE}{number:02d}"] = draw_dependence(
            f"{number}. {each.title}",
            each.values,
            each.effect,
            each.missing,
            is_flag=each.feature.unit == "flag",
        )
    return charts
