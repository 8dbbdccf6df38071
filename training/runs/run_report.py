"""Texts of a run for people: its page as one self-contained HTML file, and its description in MLflow."""

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version as installed_version
from typing import Any

from consignments.records import TARGET_NAMES
from models.arrays import Row
from models.formats import format_number
from models.reasons.texts import name_feature
from models.risk_model import RiskModel
from training.evaluation.metrics import METRIC_TITLES, Evaluation
from training.evaluation.name_invariance import MAX_LOG_ODDS_CHANGE
from training.evaluation.stored_scores import RULES, RecipeEvaluation
from training.evaluation.traffic import AT_CAPACITY, SHARES
from training.gate.report import GateReport
from training.reporting.charts import Chart
from training.reporting.html import create_environment, render_page
from training.runs.explanations import explain_highest_scores
from training.runs.train import TrainingResult

REPORT_FILE, COMPARISON_FILE, FACTS_FILE = "report.html", "compare.html", "description.md"
"""Pages of both kinds of runs, and the facts of a run as Markdown, which follow the latest report of the gate in the descriptions in MLflow."""
REPORT_END = "\n\n---\n\n"
FIRST_METRICS = (
    *("recall_averaged", "recall_at_1pct", "recall_at_capacity", "precision_at_1pct"),
    *("precision_at_capacity", "roc_auc", "calibration_ratio"),
)
"""Metrics that the page shows first; the others unfold."""
MAX_FEATURES = 30
Sides = Mapping[str, Evaluation]


def render_report(
    trained: TrainingResult,
    gate: GateReport,
    served: RiskModel,
    charts: Mapping[str, Chart],
    importance: Sequence[Mapping[str, Any]],
    fairness: Sequence[Row],
) -> str:
    """Render the page of a run as HTML that holds its style and charts."""
    spec, daily = trained.final.model.spec, trained.deployed.recipe.model.daily_capacity
    named = {feature.name: name_feature(feature) for feature in spec.features}
    return render_page(
        REPORT_FILE,
        **_gather_texts(trained, gate),
        facts={
            "data": trained.data_sha256[:12],
            "code": installed_version("npsrisk"),
            "features": format_number(len(spec)),
            "tested traffic": format_number(trained.deployed.stored.frame["stands_for"].sum()),
        },
        all_metrics=tuple(METRIC_TITLES),
        capacities={AT_CAPACITY: f"daily capacity: {daily} in each office"}
        | {name: f"top {name.replace('pct', ' %')}" for name in SHARES},
        list_sides=_list_sides,
        examples=explain_highest_scores(trained, served),
        features=[{**row, "feature": named[row["feature"]]} for row in importance[:MAX_FEATURES]],
        fairness=fairness,
        swaps=trained.name_swaps[0],
        swap_bound=MAX_LOG_ODDS_CHANGE,
        charts={name: chart.render() for name, chart in charts.items()},
    )


def describe_run(trained: TrainingResult, gate: GateReport, page: str = REPORT_FILE) -> str:
    """Describe the run in Markdown, for its page in MLflow and that of the version; `page` is the address of the report."""
    return create_environment().get_template("report.md").render(**_gather_texts(trained, gate), page=page)


def describe_periods(trained: TrainingResult) -> dict[str, str]:
    """Return the date and the periods of a run, as parameters that MLflow compares."""
    split = trained.data.split
    named = {"training": split.train, "validation": split.validation, "test": split.test}
    return {"as_of": trained.as_of.isoformat(), "target": trained.target} | {
        f"period.{name}": f"{each.begins:%Y-%m-%d} to {each.ends:%Y-%m-%d}" for name, each in named.items()
    }


def _gather_texts(trained: TrainingResult, gate: GateReport) -> dict[str, Any]:
    target_name = TARGET_NAMES[trained.target]
    # The truth of a simulated world has the same columns.
    rivals = tuple(dict.fromkeys((RULES, trained.deployed.recipe.rival)))
    return {
        "trained": trained,
        "gate": gate,
        "target_name": target_name,
        "title": f"{target_name.capitalize()}: model as of {trained.as_of:%Y-%m-%d}",
        "weeks": trained.deployed.recipe.model.arrivals.describe(),
        "first_metrics": FIRST_METRICS,
        "first_sides": lambda recipe: _list_sides(recipe, rivals),
        "is_shown": _is_shown,
        "list_missing": _list_missing,
    }


def _list_sides(recipe: RecipeEvaluation, names: Iterable[str] = ()) -> Sides:
    """Return the model and some of its baselines, by default all."""
    names = names or recipe.baselines
    return {"model": recipe.model} | {name.replace("_", " "): recipe.baselines[name] for name in names}


def _is_shown(sides: Sides, metric: str) -> bool:
    return any(each[metric].is_shown for each in sides.values())


def _list_missing(sides: Sides, metrics: Iterable[str]) -> list[str]:
    first, reasons = next(iter(sides.values())), dict[str, list[str]]()
    for metric in metrics:
        if not _is_shown(sides, metric):
            reasons.setdefault(first[metric].explain_missing(), []).append(METRIC_TITLES[metric])
    return [f"Not shown, {reason}: {'; '.join(titles)}." for reason, titles in reasons.items()]
