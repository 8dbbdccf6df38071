"""Description of a run in Markdown, for its page in MLflow and that of the version."""

from models.promotion_record import REPORT_END
from training.evaluation.estimate import Estimate
from training.gate.report import GateReport
from training.reporting.html import format_estimate
from training.runs.result import TrainingResult
from training.runs.run_report import (
    FIRST_METRICS,
    VERDICT_WORDS,
    build_key_figures,
    measure_deciding,
)


def describe_run(trained: TrainingResult, gate: GateReport) -> str:
    """Describe the run in Markdown: what to do, the gate, then verdict, key metrics and periods."""
    first, *rest = trained.sentences
    lines = [
        f"**{VERDICT_WORDS[trained.verdict.name]}.** {first}",
        "",
        *[f"{sentence}\n" for sentence in rest],
        *_build_metric_table(trained),
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
        "Read `report.html` among the artifacts: all rules of the gate, plots, explanations, slices, data used and excluded.",
    ]
    return gate.to_markdown() + REPORT_END + "\n".join(lines)


def _build_metric_table(trained: TrainingResult) -> list[str]:
    """Build the lines of the table of key metrics, the trusted source first."""
    measured = measure_deciding(trained)
    names = [f"metric, {measured.weeks}", "value (95 % interval)"]
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    for row in build_key_figures(measured, measured, FIRST_METRICS):
        cells = [
            _format(each, row["metric"]) for each in (row["trusted"], row["estimated"]) if each is not None
        ]
        lines.append(f"| {row['title']} | {' | '.join(cells)} |")
    return lines


def _format(estimate: Estimate, metric: str) -> str:
    value, interval = format_estimate(estimate, metric)
    return f"{value} ({interval})" if interval else value
