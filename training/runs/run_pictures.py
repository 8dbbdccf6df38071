"""Pictures of a run's page, each with a label for screen readers and a caption."""

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
from training.reporting.explanation_plots import draw_beeswarm, draw_dependence
from training.reporting.figures import Figure
from training.reporting.plots import (
    CapacityCurve,
    draw_ablation,
    draw_calibration,
    draw_daily_detections,
    draw_fairness,
    draw_gain,
    draw_importance,
    draw_lift,
    draw_precision,
    draw_scores,
)
from training.runs.explanations import SHOWN_FEATURES, ExplainedSample, compute_dependence, name_feature
from training.runs.result import TrainingResult

CURVE_SHARES = np.geomspace(0.0005, 0.2, 28)
"""Capacities of the plots."""
KNOWN_POSITIVES = "known positives"
DAILY_CAPACITY_SHARE = 0.01
"""Share of the traffic of a mean day, in the plot of positives by day."""
DEPENDENCE = "dependence_"
"""Beginning of the names of the pictures of dependence."""


def draw_pictures(
    trained: TrainingResult,
    sample: ExplainedSample,
    importance: Sequence[Mapping[str, Any]],
    fairness: Sequence[Row],
) -> dict[str, Figure]:
    """Draw the pictures of the page; name to figure, in their order."""
    pictures = _draw_capacity_pictures(trained)
    pictures["calibration"] = _draw_calibration(trained)
    pictures["daily"] = _draw_daily(trained.deployed.stored.to_period())
    pictures["scores"] = _draw_scores(trained)
    pictures["fairness"] = _draw_fairness(fairness)
    if trained.studied.ablation:
        pictures["ablation"] = Figure(
            draw_ablation(trained.studied.ablation),
            "Ablation: loss of ranking quality without each group of features",
            "Bars: loss if the model is fitted without a group of features. Lines: 95 % intervals. A bar near zero means that other groups "
            "have the same information.",
            is_wide=True,
        )
    return pictures | _draw_explanations(trained, sample, importance)


def compute_fairness(trained: TrainingResult) -> list[Row]:
    """Compute the burden of each group from inspection results and, on a simulated world, from the truth."""
    settings, stored = trained.config.evaluation, trained.deployed.stored
    capacity = compute_daily_capacity(stored.to_period(), settings)
    sources = {"outcomes": False, "truth": True} if stored.has_truth else {"outcomes": False}
    return [
        row
        for name, by_truth in sources.items()
        for row in compute_fairness_rows(stored.to_period(by_truth=by_truth), capacity, settings, name)
    ]


def select_best_labels(fairness: Sequence[Row]) -> list[Row]:
    """Select the rows by inspection results."""
    return [row for row in fairness if row["judged_by"] == "outcomes"]


def _draw_capacity_pictures(trained: TrainingResult) -> dict[str, Figure]:
    """Draw the curves of the recipe as deployed, over its weeks."""
    settings = trained.config.evaluation
    stored = trained.deployed.stored
    columns = {"model": RANK} | {name.replace("_", " "): BASELINE + name for name in stored.baselines}
    curves = {
        name: CapacityCurve(name, **compute_capacity_curve(stored.to_period(column), CURVE_SHARES, settings))
        for name, column in columns.items()
    }
    model, baselines = curves.pop("model"), list(curves.values())
    own = compute_capacity_shares(stored.to_period(), settings)
    source = "by inspection results, over all weeks after the dates of the fits"
    mark = "Dotted vertical line: share of all traffic that is inspected at the capacity in use; short ticks: each office."
    return {
        "precision": Figure(
            draw_precision(CURVE_SHARES, model, baselines, own),
            "Precision over capacity: model and baselines",
            f"Of the inspected consignments, the share that is positive, {source}. Left: only the highest scores are inspected. Shaded: 95 % interval of "
            f"the model. {mark}",
        ),
        "gain": Figure(
            draw_gain(CURVE_SHARES, model, baselines, own),
            "Recall over capacity (gain curve): model and baselines",
            f"Of all positives, the share that is detected, {source}. The model should be above the dashed baselines at your capacity.",
        ),
        "lift": Figure(
            draw_lift(CURVE_SHARES, model, baselines, own),
            "Lift over capacity: model and baselines",
            "How many times as many positives as a random selection of the same size detects.",
        ),
    }


def _draw_calibration(trained: TrainingResult) -> Figure:
    return Figure(
        draw_calibration(trained.deployed.recipe.model.calibration, "by inspection results"),
        "Calibration: observed rate of positives over the mean score, bin by bin",
        "Points on the dashed line: the score is a probability. Below the line: scores are too high. Above: too low. Bars: 95 % intervals.",
    )


def _draw_scores(trained: TrainingResult) -> Figure:
    band = np.array(trained.model.assign_bands(trained.test_scores), dtype=object)
    traffic, finds = trained.test_traffic, KNOWN_POSITIVES
    return Figure(
        draw_scores(trained.test_scores, band, traffic.positive, traffic.traffic, finds),
        "Distribution of the scores, by band",
        f"Number of consignments by score. The dark line has the {finds}: they should be on the right.",
    )


def _draw_daily(traffic: ScoredPeriod) -> Figure:
    finds = KNOWN_POSITIVES
    days, day = np.unique(traffic.day, return_inverse=True)
    arrived = traffic.traffic
    capacity = max(1, round(DAILY_CAPACITY_SHARE * float(arrived.sum()) / len(days)))
    _, group = np.unique(-traffic.score, return_inverse=True)
    taken = select_at_capacity(group, day, capacity, arrived)
    positive = traffic.positive * arrived
    found = np.bincount(day, weights=positive * taken, minlength=len(days)).astype(np.float64)
    there = np.bincount(day, weights=positive, minlength=len(days)).astype(np.float64)
    names = [f"{EPOCH + pd.Timedelta(days=int(number)):%d %b}" for number in days]
    return Figure(
        draw_daily_detections(names, found, there, finds),
        "Positives by day, and how many of them are in the top 1 % of the day",
        f"Grey: {finds}. Blue: those within the top 1 % of their day. A run of days without blue is a campaign that the model does not recognize.",
        is_wide=True,
    )


def _draw_fairness(fairness: Sequence[Row]) -> Figure:
    return Figure(
        draw_fairness(select_best_labels(fairness)),
        "Selection rate, hit rate and unsuccessful inspections of each group",
        "Points: the group's figure. Lines: 95 % intervals. Dashed vertical line: all traffic.",
        is_wide=True,
    )


def _draw_explanations(
    trained: TrainingResult, sample: ExplainedSample, importance: Sequence[Mapping[str, Any]]
) -> dict[str, Figure]:
    groups: dict[str, float] = {}
    for row in importance:
        groups[row["group"]] = groups.get(row["group"], 0.0) + row["share"]
    columns = sample.rank_features()[:SHOWN_FEATURES]
    titles = [name_feature(trained.model.spec.features[column]) for column in columns]
    pictures = {
        "importance": Figure(
            draw_importance(groups),
            "Contribution of each group of features to the score",
            "Mean size of the contributions of all features of a group, as a share of the total.",
            is_wide=True,
        ),
        "beeswarm": Figure(
            draw_beeswarm(titles, sample.X[:, columns], sample.contributions[:, columns]),
            "Contributions of the ten strongest features to single scores",
            "One point for each consignment of a sample (the highest scores and all traffic). Right of zero: the feature raises the score. "
            "Orange: high value of the feature, blue: low value, empty: missing.",
            is_wide=True,
        ),
    }
    for number, each in enumerate(compute_dependence(trained.model, sample), start=1):
        pictures[f"{DEPENDENCE}{number:02d}"] = Figure(
            draw_dependence(each.values, each.effect, each.missing, is_flag=each.feature.unit == "flag"),
            f"Dependence of the score on: {each.title}",
            f"{number}. {each.title}",
        )
    return pictures
