"""Texts of a run for people: its page as one self-contained HTML file, and its description in MLflow.

Both begin with what to do, then what was counted, then the estimates. Figures by the truth have their own heading.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version as installed_version
from typing import Any

from consignments.records import TARGET_NAMES
from models.formats import format_count, format_number, format_percent
from models.promotion_record import REPORT_END
from models.risk_model import RiskModel
from training.evaluation.capacity import AT_CAPACITY, SHARES
from training.evaluation.fairness import Row
from training.evaluation.metrics import Evaluation
from training.evaluation.name_invariance import MAX_LOG_ODDS_CHANGE
from training.evaluation.stored_scores import RecipeEvaluation
from training.gate.report import GateReport
from training.reporting.charts import Chart
from training.reporting.html import HEADLINE, create_environment, format_estimate, require_light
from training.runs.explanations import explain_highest_scores
from training.runs.result import TrainingResult
from training.runs.run_pictures import DEPENDENCE

VERDICT_WORDS = {
    "better": "Better than its baselines",
    "unclear": "No clear difference from its baselines",
    "worse": "Worse than a baseline",
}
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
CAPACITY_TITLES = {AT_CAPACITY: "daily capacity"} | {
    name: f"top {name.replace('pct', ' %')}" for name in SHARES
}
MAX_FEATURES = 30


def render_report(
    trained: TrainingResult,
    gate: GateReport,
    served: RiskModel,
    charts: Mapping[str, Chart],
    importance: Sequence[Mapping[str, Any]],
    fairness: Sequence[Row],
) -> str:
    """Render the page of a run as HTML that holds its style and charts."""
    recipe = trained.deployed.recipe
    figures = {name: chart.render() for name, chart in charts.items()}
    page = (
        create_environment()
        .get_template("report.html")
        .render(
            trained=trained,
            title=f"{TARGET_NAMES[trained.target].capitalize()}: model as of {trained.as_of:%Y-%m-%d}",
            target_name=TARGET_NAMES[trained.target],
            facts=_list_facts(trained),
            gate=gate,
            verdict_word=VERDICT_WORDS[trained.verdict.name],
            weeks=describe_weeks(trained),
            rival=_show_name(recipe.rival),
            is_shown=_is_shown,
            describe_support=describe_support,
            list_missing=list_missing,
            counts=build_count_rows(recipe),
            first_metrics=build_metric_rows(recipe, FIRST_METRICS, (recipe.rival,)),
            metrics=build_metric_rows(recipe, HEADLINE),
            truth_counts=build_count_rows(recipe.truth) if recipe.truth else [],
            truth_metrics=build_metric_rows(recipe.truth, HEADLINE) if recipe.truth else [],
            evaluation_fit=trained.evaluation_fit,
            evaluation_metrics=_build_rows({"value": trained.evaluation_fit}, HEADLINE),
            examples=explain_highest_scores(trained, served),
            features=importance[:MAX_FEATURES],
            fairness=[row for row in fairness if row["judged_by"] == "outcomes"],
            swaps=trained.name_swaps[0],
            swap_bound=MAX_LOG_ODDS_CHANGE,
            charts=figures,
            dependence=[figure for name, figure in figures.items() if name.startswith(DEPENDENCE)],
        )
    )
    return require_light(page)


def describe_run(trained: TrainingResult, gate: GateReport, page: str = "report.html") -> str:
    """Describe the run in Markdown, for its page in MLflow and that of the version; `page` is the address of the report."""
    recipe = trained.deployed.recipe
    lines = [
        f"**{VERDICT_WORDS[trained.verdict.name]}.** {trained.sentences[0]}",
        "",
        *(f"{sentence}\n" for sentence in trained.sentences[1:]),
        *_write_metric_table(recipe, f"estimated from inspection results, {describe_weeks(trained)}"),
        "",
    ]
    if recipe.truth is not None:
        title = "by the truth of the simulated world, which decides nothing"
        lines += [*_write_metric_table(recipe.truth, title), ""]
    lines += [
        "| period | arrivals, and the day by which labels were visible |",
        "|---|---|",
        *(
            f"| {row['period']} | {row['arrivals_from']} to {row['arrivals_until']}; {row['labels_visible_by'][:10]} |"
            for row in trained.data.split.to_rows()
        ),
        "",
        f"Read [the report]({page}): all rules of the gate, charts, explanations, slices, data used and excluded.",
    ]
    return gate.to_markdown() + REPORT_END + "\n".join(lines)


def describe_weeks(trained: TrainingResult) -> str:
    """Return the weeks on which the deployed fits were tested."""
    origins = trained.deployed.origins
    return f"{origins[-1]['from']} to {origins[0]['until']}"


def describe_support(evaluation: Evaluation) -> str:
    """Return on how many results the estimates of an evaluation rest, and how much the largest counts."""
    counts = evaluation.counts
    effective = format_count(round(counts.effective, 1), "effective result")
    return (
        f"Each estimate rests on {effective}; the largest single one counts {format_percent(counts.largest)}."
    )


def build_count_rows(recipe: RecipeEvaluation) -> list[dict[str, Any]]:
    """Build a row for each capacity: how many of the known positives the model and each baseline rank within it."""
    sides = {"model": recipe.model} | {_show_name(name): each for name, each in recipe.baselines.items()}
    return [
        {
            "title": title,
            **{name: format_number(round(each.counts.found[capacity], 1)) for name, each in sides.items()},
        }
        for capacity, title in CAPACITY_TITLES.items()
    ]


def build_metric_rows(
    recipe: RecipeEvaluation, metrics: Iterable[str], baselines: Iterable[str] | None = None
) -> list[dict[str, Any]]:
    """Build a row for each metric: `metric`, `title`, and `sides`, the name of the model and of baselines to an estimate."""
    shown = recipe.baselines if baselines is None else {name: recipe.baselines[name] for name in baselines}
    return _build_rows(
        {"model": recipe.model} | {_show_name(name): each for name, each in shown.items()}, metrics
    )


def list_missing(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """List the metrics that are shown for no side, and why."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if not _is_shown(row):
            first = next(iter(row["sides"].values()))
            reasons.setdefault(first.explain_missing(), []).append(row["title"])
    return [f"Not shown, {reason}: {'; '.join(titles)}." for reason, titles in reasons.items()]


def _is_shown(row: Mapping[str, Any]) -> bool:
    return any(estimate is not None and estimate.is_shown for estimate in row["sides"].values())


def _build_rows(sides: Mapping[str, Evaluation], metrics: Iterable[str]) -> list[dict[str, Any]]:
    # A baseline's score is no probability.
    return [
        {
            "metric": metric,
            "title": HEADLINE[metric],
            "sides": {
                name: each[metric] if place == 0 or "calibration" not in metric else None
                for place, (name, each) in enumerate(sides.items())
            },
        }
        for metric in metrics
    ]


def _write_metric_table(recipe: RecipeEvaluation, title: str) -> list[str]:
    """Write the lines of a table of the first metrics of the model and the strongest baseline."""
    rows = build_metric_rows(recipe, FIRST_METRICS, (recipe.rival,))
    lines = [f"| {title} | {' | '.join(rows[0]['sides'])} |", "|---|---|---|"]
    for row in filter(_is_shown, rows):
        cells = []
        for estimate in row["sides"].values():
            value, basis = format_estimate(estimate, row["metric"]) if estimate else ("–", "")
            cells.append(f"{value} ({basis})" if basis else value)
        lines.append(f"| {row['title']} | {' | '.join(cells)} |")
    missing = [line for sentence in list_missing(rows) for line in ("", sentence)]
    shown = [*lines, "", describe_support(recipe.model)] if len(lines) > 2 else [f"Of what is {title}:"]
    return [*shown, *missing]


def _list_facts(trained: TrainingResult) -> dict[str, str]:
    return {
        "data": trained.data_sha256[:12],
        "code": installed_version("npsrisk"),
        "features": f"{len(trained.final.model.spec)} ({trained.final.model.spec.compute_digest()[:12]})",
        "trees": str(len(trained.final.model.trees)),
        "tested traffic": format_number(trained.deployed.stored.frame["stands_for"].sum()),
    }


def _show_name(baseline: str) -> str:
    return baseline.replace("_", " ")
