"""Page and summary of a comparison, and its run in MLflow."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from models.formats import format_number
from models.registry import BUNDLE_TAG, ModelVersion
from models.signatures.keys import SigningKey
from training.config import EvaluationConfig
from training.evaluation.estimate import Estimate
from training.evaluation.verdict import format_percent_range
from training.gate.recommendation import MORE_POSITIVES_FORMULA
from training.gate.report import GATE_COLUMNS, GateReport
from training.gate.rules import RESULTS_SOURCE, TRUTH_SOURCE
from training.promotion.comparison import SLICE_COLUMNS, Comparison
from training.promotion.disagreements import DISAGREEMENT_COLUMNS, REASON_SEPARATOR
from training.reporting.figures import Figure, draw_differences
from training.reporting.html import AREA_METRICS, HEADLINE, create_environment, format_interval, format_metric
from training.reporting.mlflow_tracking import RunRecord, log_run
from training.reporting.tables import serialize_table
from training.runs.evidence import Evidence, hash_run_files, hash_settings, write_evidence


def build_difference_rows(found: Comparison) -> list[dict[str, Any]]:
    """Build for each compared metric a row with both sides, the difference and its interval."""
    return [
        {
            "metric": name,
            "title": HEADLINE[name],
            "a": found.a[name].value,
            "b": found.b[name].value,
            "difference": gain.value,
            "low": gain.low,
            "high": gain.high,
        }
        for name, gain in found.gains.items()
    ]


def summarize_comparison(found: Comparison, a: str, b: str) -> str:
    """Summarize the result of the comparison in one sentence.

    Parameters
    ----------
    found : Comparison
    a, b : str
        Titles of the two versions.
    """
    name = found.find_deciding_metric()
    gain = found.gains[name]
    words = {
        "better": f"{b} is better than {a}",
        "worse": f"{b} is worse than {a}",
        "no difference": f"No significant difference between {a} and {b}",
    }
    return (
        f"{words[found.verdict()]}: {HEADLINE[name].lower()} {format_percent_range(gain)}, on {found.consignments:,} consignments "
        f"with {found.positive:,} positives."
    )


def describe_comparison(found: Comparison, a: str, b: str, gate: GateReport | None = None) -> str:
    """Describe the comparison in Markdown, for the page of its run.

    Parameters
    ----------
    found : Comparison
    a, b : str
        Titles of the two versions.
    gate : GateReport, optional
        Of `b`, if `a` is the champion.
    """
    lines = [
        *([] if gate is None else [gate.to_markdown(), "", "---", ""]),
        f"**{summarize_comparison(found, a, b)}**",
        "",
        f"Compares the {found.fits[0]} fit of {a} with the {found.fits[1]} fit of {b}, on arrivals from {found.begins:%Y-%m-%d} on. "
        f"Neither fit was trained on them. {found.labelled:,} results are known. Evaluated against "
        f"{'the truth of the simulated world' if found.by_truth else 'inspection results'}.",
        "",
        *(f"{note}\n" for note in found.notes),
        f"| metric | {a} | {b} | difference (95 % interval) |",
        "|---|---|---|---|",
        *(
            f"| {row['title']} | {format_metric(row['a'], row['metric'])} | {format_metric(row['b'], row['metric'])} "
            f"| {format_difference(row['difference'], row['metric'])} ({format_difference_interval(row)}) |"
            for row in build_difference_rows(found)
        ),
        "",
        "The page `compare.html` among the artifacts shows slices, and examples of consignments that the two rank differently.",
    ]
    return "\n".join(lines)


def draw_comparison(found: Comparison, a: str, b: str) -> str:
    """Draw the differences with intervals: all traffic in percentage points, slices as area under the ROC curve."""
    points = [
        (HEADLINE[name], Estimate(*(100 * end for end in (gain.value, gain.low, gain.high))))
        for name, gain in found.gains.items()
        if name.startswith(("precision", "recall"))
    ]
    slices = [
        (
            f"{row['kind']}: {row['value']}",
            Estimate(*(float(row[end]) for end in ("difference", "low", "high"))),
        )
        for row in found.slices
    ]
    panels = {f"{b} minus {a}, percentage points": points, "Area under the ROC curve, difference": slices}
    return draw_differences({title: rows for title, rows in panels.items() if rows})


def _draw_figure(found: Comparison, a: str, b: str) -> Figure:
    return Figure(
        draw_comparison(found, a, b),
        f"Differences between {b} and {a}, with 95 % intervals",
        f"Points right of zero: {b} is better. Lines: 95 % intervals. Blue: significantly better, orange: significantly worse, grey: not significant. "
        "About one in twenty is significant by chance.",
        is_wide=True,
    )


def format_difference(value: float, metric: str) -> str:
    """Format the difference of a metric: areas as decimals, shares in percentage points; a dash if it is unknown.

    Examples
    --------
    >>> format_difference(0.0471, "precision_at_1pct"), format_difference(-0.0179, "roc_auc"), format_difference(float("nan"), "roc_auc")
    ('+4.71 points', '-0.0179', '–')
    """
    if not np.isfinite(value):
        return "–"
    if metric in AREA_METRICS:
        return format_number(value, "+")
    return f"{format_number(100 * value, '+')} points"


def format_difference_interval(row: Mapping[str, Any]) -> str:
    """Format the interval of a difference."""
    metric = str(row["metric"])
    low, high = (
        format_difference(float(row[end]), metric).removesuffix(" points") for end in ("low", "high")
    )
    return format_interval(low, high)


def render_comparison(
    found: Comparison, a: ModelVersion, b: ModelVersion, gate: GateReport | None = None
) -> str:
    """Render the page of a comparison as self-contained HTML.

    Parameters
    ----------
    found : Comparison
    a, b : ModelVersion
    gate : GateReport, optional
        Of `b`, if `a` is the champion.
    """
    pages = create_environment()
    pages.filters["gained"] = format_difference
    pages.globals["gained_between"] = format_difference_interval
    template = pages.get_template("compare.html")
    return template.render(
        found=found,
        a=a,
        b=b,
        rows=build_difference_rows(found),
        sentence=summarize_comparison(found, a.title, b.title),
        picture=_draw_figure(found, a.title, b.title).render(),
        gate=gate,
        formula=MORE_POSITIVES_FORMULA,
        separator=REASON_SEPARATOR,
    )


def log_comparison(
    found: Comparison,
    a: ModelVersion,
    b: ModelVersion,
    tracking_uri: str,
    gate: GateReport | None = None,
    key: SigningKey | None = None,
) -> str:
    """Log the comparison as a separate run, which the gate finds through its tags `a` and `b`.

    Parameters
    ----------
    found : Comparison
    a, b : ModelVersion
    tracking_uri : str
    gate : GateReport, optional
        Of `b`, if `a` is the champion.
    key : SigningKey, optional
        Of an approver or evaluator, who signs the evidence of the run.

    Returns
    -------
    str
        The run's identifier.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tables").mkdir()
        (folder / "compare.html").write_text(render_comparison(found, a, b, gate), encoding="utf-8")
        (folder / "tables" / "differences.json").write_text(
            serialize_table(list(build_difference_rows(found)))
        )
        (folder / "tables" / "disagreements.json").write_text(
            serialize_table(found.disagreements, DISAGREEMENT_COLUMNS)
        )
        (folder / "tables" / "slices.json").write_text(serialize_table(found.slices, SLICE_COLUMNS))
        if gate is not None:
            (folder / "tables" / "gate.json").write_text(serialize_table(gate.to_rows(), GATE_COLUMNS))
        evidence = Evidence(
            kind="comparison",
            target=a.target,
            bundles={"a": a.tags[BUNDLE_TAG], "b": b.tags[BUNDLE_TAG]},
            files=hash_run_files(folder),
            data_sha256=found.data_sha256,
            settings_sha256=hash_settings(EvaluationConfig()),
            begins=found.begins,
            by_truth=found.by_truth,
        )
        write_evidence(folder, evidence, key)
        record = RunRecord(
            name=f"compare {a.number} and {b.number}, {a.target}",
            description=describe_comparison(found, a.title, b.title, gate),
            tags={
                "kind": "comparison",
                "verdict": found.verdict(),
                "target": a.target,
                "a": a.uri,
                "b": b.uri,
                "begins": found.begins.isoformat(),
                "judged_by": TRUTH_SOURCE if found.by_truth else RESULTS_SOURCE,
                "data_sha256": found.data_sha256,
            },
            params={
                "judged_by": "truth" if found.by_truth else "outcomes",
                "consignments": found.consignments,
            },
            metrics=found.flatten_metrics(),
            folder=folder,
            inputs=found.inputs,
        )
        return log_run(record, tracking_uri=tracking_uri)
