"""Page of a run as one self-contained HTML file: what to do first, then the facts; details unfold.

The template escapes everything except the plots, which are our own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version as installed_version
from typing import Any, NamedTuple

from consignments.records import TARGET_NAMES, Target
from training.evaluation.fairness import Row
from training.evaluation.metrics import Evaluation
from training.evaluation.name_invariance import MAX_LOG_ODDS_CHANGE
from training.evaluation.verdict import EvaluationVerdict
from training.gate.recommendation import MORE_POSITIVES_FORMULA
from training.gate.report import GateReport
from training.reporting.figures import Figure
from training.reporting.html import HEADLINE, MAX_PAGE_BYTES, create_environment
from training.runs.explanations import explain_highest_scores
from training.runs.result import TrainingResult
from training.runs.run_pictures import DEPENDENCE, select_best_labels

VERDICT_WORDS = {
    "better": "Better than its baselines",
    "unclear": "No clear difference from its baselines",
    "worse": "Worse than a baseline",
}
EXCLUDED_BASELINE_METRICS = frozenset({"calibration_ratio"})
"""Excluded because a baseline's score is not a probability."""
FIRST_METRICS = (
    "recall_averaged",
    "recall_at_1pct",
    "recall_at_capacity",
    "precision_at_1pct",
    "precision_at_capacity",
    "roc_auc",
    "calibration_ratio",
)
"""Metrics that the page shows first; the others unfold."""
MAX_FEATURES = 30

ReportRow = Mapping[str, Any]


class MeasuredModel(NamedTuple):
    """Evaluations of a model and of its baselines on the same weeks.

    Attributes
    ----------
    weeks : str
        Which weeks, in words.
    trusted : Evaluation
        By the truth of a simulated world if there is one, else by inspection results.
    estimated : Evaluation or None
        By inspection results, if `trusted` is by the truth.
    baselines : mapping
        Name to evaluation, by the same labels as `trusted`.
    """

    weeks: str
    trusted: Evaluation
    estimated: Evaluation | None
    baselines: Mapping[str, Evaluation]


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
    gate : GateReport
        Every rule of the gate with its result, and the recommendation.
    verdict : EvaluationVerdict
    sentences : sequence of str
        Summary of the run, the most reliable figure first.
    deciding : MeasuredModel
        What decides: the recipe as deployed over all its weeks, or the evaluation fit on the test period.
    test : MeasuredModel
        The evaluation fit on the test period.
    model : Evaluation
        Of the evaluation fit on the test period, by inspection results.
    pictures : mapping
        Name to figure.
    data, split, examples, features, fairness, name_swaps, leaks, origins, ages, ablation, trials : sequence of rows
    config : mapping
        Every setting.
    """

    name: str
    target: Target
    as_of: datetime
    facts: Mapping[str, str]
    gate: GateReport
    verdict: EvaluationVerdict
    sentences: Sequence[str]
    deciding: "MeasuredModel"
    test: "MeasuredModel"
    model: Evaluation
    pictures: Mapping[str, Figure]
    data: Sequence[ReportRow]
    split: Sequence[ReportRow]
    examples: Sequence[ReportRow]
    features: Sequence[ReportRow]
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
    figures = {name: figure.render() for name, figure in report.pictures.items()}
    page = (
        create_environment()
        .get_template("report.html")
        .render(
            report=report,
            as_of=f"{report.as_of.day} {report.as_of:%B %Y}",
            verdict_word=VERDICT_WORDS[report.verdict.name],
            target_name=TARGET_NAMES[report.target],
            first_figures=build_key_figures(report.deciding, report.test, FIRST_METRICS),
            figures=build_key_figures(report.test, report.test, HEADLINE),
            by_truth=report.test.estimated is not None,
            rival=report.verdict.rival.replace("_", " "),
            formula=MORE_POSITIVES_FORMULA,
            swaps=report.name_swaps[0],
            swap_bound=MAX_LOG_ODDS_CHANGE,
            pictures=figures,
            dependence=[figure for name, figure in figures.items() if name.startswith(DEPENDENCE)],
        )
    )
    if len(page.encode()) > MAX_PAGE_BYTES:
        raise ValueError(f"the report has {len(page.encode()):,} bytes, more than {MAX_PAGE_BYTES:,}")
    return page


def build_key_figures(
    measured: MeasuredModel, calibrated: MeasuredModel, metrics: Iterable[str]
) -> list[dict[str, Any]]:
    """Build a row for each metric of the model and of the baselines, the trusted source first.

    Parameters
    ----------
    measured : MeasuredModel
    calibrated : MeasuredModel
        Source of the metrics of calibration. Evaluations as deployed rank only.
    metrics : iterable of str

    Returns
    -------
    list of dict
        `metric`, `title`, `trusted` and `estimated` (Estimate, None without a truth), and `baselines`: name to Estimate, None if the
        metric does not apply.
    """
    rows = []
    for metric in metrics:
        ranks = metric not in EXCLUDED_BASELINE_METRICS
        source = measured if ranks else calibrated
        rows.append(
            {
                "metric": metric,
                "title": HEADLINE[metric],
                "trusted": source.trusted[metric],
                "estimated": None if source.estimated is None else source.estimated[metric],
                "baselines": {
                    name: baseline[metric] if ranks else None for name, baseline in source.baselines.items()
                },
            }
        )
    return rows


def measure_deciding(trained: TrainingResult) -> MeasuredModel:
    """Return the evaluations that decide: the recipe as deployed, by inspection results."""
    deployed = trained.deployed
    weeks = f"as deployed, {deployed.origins[-1]['from']} to {deployed.origins[0]['until']}"
    recipe = deployed.recipe
    return MeasuredModel(weeks, recipe.model, None, _rename_baselines(recipe.baselines))


def build_report(
    trained: TrainingResult,
    gate: GateReport,
    pictures: Mapping[str, Figure],
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
            "test traffic": f"{trained.test_traffic.traffic.sum():,.0f}",
        },
        gate=gate,
        verdict=trained.verdict,
        sentences=trained.sentences,
        deciding=measure_deciding(trained),
        test=measure_deciding(trained),
        model=trained.deployed.recipe.model,
        pictures=pictures,
        fairness=select_best_labels(fairness),
        name_swaps=trained.name_swaps,
        leaks=trained.leaks,
        data=trained.data.report,
        split=list(trained.data.split.to_rows()),
        examples=explain_highest_scores(trained),
        features=list(importance[:MAX_FEATURES]),
        origins=trained.deployed.origins,
        ages=trained.deployed.ages,
        ablation=trained.studied.ablation,
        trials=trained.studied.trials,
        config=trained.config.flatten(),
    )


def _rename_baselines(baselines: Mapping[str, Evaluation]) -> dict[str, Evaluation]:
    return {name.replace("_", " "): evaluation for name, evaluation in baselines.items()}
