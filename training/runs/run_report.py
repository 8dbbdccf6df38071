"""Page of a run as one self-contained HTML file, verdict first, and the run's description in Markdown.

The template escapes everything except the plots, which are our own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version as installed_version
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from consignments.records import Target
from consignments.timestamps import EPOCH
from features.batch import Tables
from training.evaluation.capacity import compute_daily_capacity, select_at_capacity
from training.evaluation.fairness import Row, compute_fairness_rows
from training.evaluation.metrics import Evaluation, compute_capacity_curve
from training.evaluation.name_invariance import MAX_LOG_ODDS_CHANGE
from training.evaluation.off_policy import OffPolicyEstimates
from training.evaluation.verdict import TARGET_NAMES, EvaluationVerdict
from training.reporting.html import (
    HEADLINE,
    MAX_PAGE_BYTES,
    create_environment,
    format_interval,
    format_metric,
)
from training.reporting.plots import (
    CapacityCurve,
    draw_ablation,
    draw_calibration,
    draw_capacity,
    draw_daily_detections,
    draw_fairness,
    draw_importance,
    draw_scores,
)
from training.runs.result import EvaluatedModel, TrainingResult

VERDICT_WORDS = {
    "better": "Better than its baselines",
    "unclear": "No clear difference from its baselines",
    "worse": "Worse than a baseline",
}
EXCLUDED_BASELINE_METRICS = frozenset({"calibration_error", "calibration_ratio"})
"""Excluded because a baseline's score is not a probability."""
CURVE_SHARES = np.geomspace(0.0005, 0.2, 28)
"""Capacities of the plot."""
TOP_EXAMPLES = 12
"""Number of highest scores that the page explains."""
MAX_REASONS = 3
EXPLAINED_ROWS = 400
"""Rows whose contributions give the importance of features: the highest scores and as many of all traffic."""
MAX_FEATURES = 30
DAILY_CAPACITY_SHARE = 0.01
"""Share of the traffic of a mean day, in the plot of positives by day."""

ReportRow = Mapping[str, Any]


@dataclass(frozen=True)
class RunReport:
    """Content of the page of a run.

    Attributes
    ----------
    name : str
        Of the run.
    target : str
    as_of : datetime
    facts : mapping
        Short facts in the head of the page: data hash, code version, ….
    verdict : EvaluationVerdict
    sentences : sequence of str
        Summary of the run, the most reliable figure first.
    model : Evaluation
    baselines : mapping
        Name to evaluation, of the same traffic.
    truth, truth_baselines
        The same against the truth of a simulated world, if there is one.
    pictures : mapping
        Name to SVG.
    estimates : OffPolicyEstimates
    data, split, examples, features, fairness, name_swaps, leaks, origins, ages, ablation, trials : sequence of rows
    config : mapping
        Every setting.
    """

    name: str
    target: Target
    as_of: datetime
    facts: Mapping[str, str]
    verdict: EvaluationVerdict
    sentences: Sequence[str]
    model: Evaluation
    baselines: Mapping[str, Evaluation]
    truth: Evaluation | None
    truth_baselines: Mapping[str, Evaluation]
    pictures: Mapping[str, str]
    data: Sequence[ReportRow]
    split: Sequence[ReportRow]
    examples: Sequence[ReportRow]
    features: Sequence[ReportRow]
    estimates: OffPolicyEstimates
    fairness: Sequence[ReportRow]
    name_swaps: Sequence[ReportRow]
    leaks: Sequence[ReportRow]
    origins: Sequence[ReportRow]
    ages: Sequence[ReportRow]
    ablation: Sequence[ReportRow]
    trials: Sequence[ReportRow]
    config: Mapping[str, Any]


def render_report(report: RunReport) -> str:
    """Render the page of a run.

    Returns
    -------
    str
        HTML that holds its style and pictures, under 2 MB.
    """
    page = (
        create_environment()
        .get_template("report.html")
        .render(
            report=report,
            as_of=f"{report.as_of.day} {report.as_of:%B %Y}",
            verdict_word=VERDICT_WORDS[report.verdict.name],
            target_name=TARGET_NAMES[report.target],
            figures=list(build_key_figures(report.model, report.baselines)),
            true_figures=list(build_key_figures(report.truth, report.truth_baselines))
            if report.truth
            else [],
            swaps=report.name_swaps[0],
            swap_bound=MAX_LOG_ODDS_CHANGE,
            pictures={name: Markup(picture) for name, picture in report.pictures.items()},
        )
    )
    if len(page.encode()) > MAX_PAGE_BYTES:
        raise ValueError(f"the report has {len(page.encode()):,} bytes, more than {MAX_PAGE_BYTES:,}")
    return page


def build_key_figures(model: Evaluation, baselines: Mapping[str, Evaluation]) -> Sequence[ReportRow]:
    """Build rows with the key metrics of a model and of the baselines.

    Returns
    -------
    sequence of dict
        `metric`, `title`, `estimate`, and `baselines`: name to value, NaN if the metric does not apply.
    """
    return [
        {
            "metric": metric,
            "title": title,
            "estimate": model[metric],
            "baselines": {
                name: np.nan if metric in EXCLUDED_BASELINE_METRICS else baseline[metric].value
                for name, baseline in baselines.items()
            },
        }
        for metric, title in HEADLINE.items()
    ]


def build_report(
    trained: TrainingResult,
    tables: Tables,
    pictures: dict[str, str],
    importance: Sequence[dict[str, Any]],
    fairness: Sequence[Row],
) -> RunReport:
    """Collect the content of the page."""
    return RunReport(
        name=f"{TARGET_NAMES[trained.target].capitalize()}: model as of {trained.as_of:%Y-%m-%d}",
        target=trained.target,
        as_of=trained.as_of,
        facts={
            "data": trained.data_sha256[:12],
            "code": installed_version("npsrisk"),
            "features": f"{len(trained.model.spec)} ({trained.model.spec.compute_digest()[:12]})",
            "trees": str(len(trained.model.trees)),
            "test traffic": f"{len(trained.test_scores):,}",
        },
        verdict=trained.verdict,
        sentences=trained.sentences,
        model=trained.test.model,
        baselines=_rename_baselines(trained.test),
        truth=trained.truth.model if trained.truth else None,
        truth_baselines=_rename_baselines(trained.truth) if trained.truth else {},
        pictures=pictures,
        fairness=_select_best_labels(trained, fairness),
        estimates=trained.estimates,
        name_swaps=trained.name_swaps,
        leaks=trained.leaks,
        data=trained.data.report,
        split=list(trained.data.split.to_rows()),
        examples=explain_highest_scores(trained, tables),
        features=list(importance[:MAX_FEATURES]),
        origins=trained.deployed.origins if trained.deployed else [],
        ages=trained.deployed.ages if trained.deployed else [],
        ablation=trained.studied.ablation,
        trials=trained.studied.trials,
        config=trained.config.flatten(),
    )


def explain_highest_scores(trained: TrainingResult, tables: Tables) -> list[dict[str, Any]]:
    """Explain the highest scores of the test period; no personal data."""
    highest = np.argsort(-trained.test_scores, kind="stable")[:TOP_EXAMPLES]
    rows = trained.test_matrix_rows
    frame = tables.consignments.iloc[trained.test_rows[highest]]
    bands = trained.model.assign_bands(trained.test_scores[highest])
    return [
        {
            "consignment_id": str(frame["consignment_id"].iloc[place]),
            "score": float(trained.test_scores[at]),
            "band": bands[place],
            "channel": str(frame["channel"].iloc[place]),
            "result": _describe_result(trained, int(at)),
            "reasons": [
                reason.text for reason in trained.model.explain(trained.matrix.X[rows[at]], MAX_REASONS)
            ],
        }
        for place, at in enumerate(highest)
    ]


def describe_run(trained: TrainingResult) -> str:
    """Describe the run in Markdown, for its page in MLflow and that of the version."""
    first, *rest = trained.sentences
    lines = [
        f"**{VERDICT_WORDS[trained.verdict.name]}.** {first}",
        "",
        *[f"{sentence}\n" for sentence in rest],
        "| metric on the test period | value (95 % interval) |",
        "|---|---|",
        *[_format_figure_row(row) for row in build_key_figures(trained.test.model, {})],
        "",
        "Periods of arrivals, and the labels used:",
        "",
        "| period | arrivals, and the day by which labels were visible |",
        "|---|---|",
        *[
            f"| {row['period']} | {row['arrivals_from']} to {row['arrivals_until']}; {row['labels_visible_by'][:10]} |"
            for row in trained.data.split.to_rows()
        ],
        "",
        "Read `report.html` among the artifacts: plots, slices, reasons, data used and excluded.",
    ]
    return "\n".join(lines)


def compute_feature_importance(trained: TrainingResult) -> list[dict[str, Any]]:
    """Compute each feature's share of the mean absolute contribution, largest first.

    Returns
    -------
    list of dict
        `feature`, `group`, `reason`, `share` (0 to 1).
    """
    rows = trained.test_matrix_rows
    highest = np.argsort(-trained.test_scores, kind="stable")[: EXPLAINED_ROWS // 2]
    evenly = np.linspace(0, len(rows) - 1, min(len(rows), EXPLAINED_ROWS // 2)).astype(np.int64)
    X = trained.matrix.X[rows[np.unique(np.concatenate([highest, evenly]))]]
    size = np.abs(trained.model.trees.compute_contributions(X)[:, :-1]).mean(axis=0)
    share = size / max(float(size.sum()), 1e-300)
    features = trained.model.spec.features
    return [
        {
            "feature": features[place].name,
            "group": features[place].group,
            "reason": features[place].reason,
            "share": float(share[place]),
        }
        for place in np.argsort(-share, kind="stable")
    ]


def compute_fairness(trained: TrainingResult) -> list[Row]:
    """Compute the burden of each group from inspection results and, on a simulated world, from the truth."""
    settings = trained.config.evaluation
    capacity = compute_daily_capacity(trained.test.traffic, settings)
    judged = {"outcomes": trained.test, "truth": trained.truth}
    return [
        row
        for name, each in judged.items()
        if each is not None
        for row in compute_fairness_rows(each.traffic, capacity, settings, name)
    ]


def draw_pictures(
    trained: TrainingResult, importance: Sequence[dict[str, Any]], fairness: Sequence[Row]
) -> dict[str, str]:
    """Draw the plots of the page; name to SVG, in their order."""
    judged = trained.truth or trained.test
    finds = "known positives" if trained.truth is None else "true positives"
    band = np.array(trained.model.assign_bands(trained.test_scores), dtype=object)
    groups: dict[str, float] = {}
    for row in importance:
        groups[row["group"]] = groups.get(row["group"], 0.0) + row["share"]
    pictures = {"capacity": _draw_capacity_curves(trained, trained.test)}
    if trained.truth is not None:
        pictures["capacity_truth"] = _draw_capacity_curves(trained, trained.truth)
    if trained.studied.ablation:
        pictures["ablation"] = draw_ablation(trained.studied.ablation)
    return pictures | {
        "calibration": draw_calibration(judged.model.calibration, _describe_labels(trained, judged)),
        "scores": draw_scores(trained.test_scores, band, judged.traffic.positive, finds),
        "daily": _draw_daily(judged, finds),
        "fairness": draw_fairness(_select_best_labels(trained, fairness)),
        "importance": draw_importance(groups),
    }


def _select_best_labels(trained: TrainingResult, fairness: Sequence[Row]) -> list[Row]:
    """Select the rows with labels from the truth if there is one, else from inspection results."""
    wanted = "outcomes" if trained.truth is None else "truth"
    return [row for row in fairness if row["judged_by"] == wanted]


def _draw_capacity_curves(trained: TrainingResult, judged: EvaluatedModel) -> str:
    settings = trained.config.evaluation
    curves = {
        name: CapacityCurve(
            name, **compute_capacity_curve(judged.traffic.replace_score(score), CURVE_SHARES, settings)
        )
        for name, score in {"model": judged.traffic.score, **_rename_baseline_scores(judged)}.items()
    }
    return draw_capacity(
        CURVE_SHARES, curves.pop("model"), list(curves.values()), _describe_labels(trained, judged)
    )


def _describe_labels(trained: TrainingResult, judged: EvaluatedModel) -> str:
    return "by the truth" if judged is trained.truth else "by inspection results"


def _draw_daily(judged: EvaluatedModel, finds: str) -> str:
    traffic = judged.traffic
    days, day = np.unique(traffic.day, return_inverse=True)
    capacity = max(1, round(DAILY_CAPACITY_SHARE * len(day) / len(days)))
    _, group = np.unique(-traffic.score, return_inverse=True)
    taken = select_at_capacity(group, day, capacity)
    found = np.bincount(day, weights=traffic.positive * taken, minlength=len(days)).astype(np.float64)
    there = np.bincount(day, weights=traffic.positive, minlength=len(days)).astype(np.float64)
    names = [f"{EPOCH + pd.Timedelta(days=int(number)):%d %b}" for number in days]
    return draw_daily_detections(names, found, there, finds)


def _rename_baselines(judged: EvaluatedModel) -> dict[str, Evaluation]:
    return {name.replace("_", " "): evaluation for name, evaluation in judged.baselines.items()}


def _rename_baseline_scores(judged: EvaluatedModel) -> dict[str, NDArray[np.float64]]:
    return {name.replace("_", " "): score for name, score in judged.scores.items()}


def _describe_result(trained: TrainingResult, at: int) -> str:
    if trained.test.traffic.positive[at]:
        return "positive"
    result = "negative" if trained.test.traffic.labelled[at] else "not inspected"
    holds = trained.truth is not None and trained.truth.traffic.positive[at]
    return f"{result}, but positive by the truth" if holds else result


def _format_figure_row(row: Any) -> str:
    estimate, metric = row["estimate"], row["metric"]
    value, low, high = (format_metric(each, metric) for each in (estimate.value, estimate.low, estimate.high))
    return f"| {row['title']} | {value} ({format_interval(low, high)}) |"
