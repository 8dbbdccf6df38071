"""The page of a comparison, its sentence, and its run in MLflow."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from markupsafe import Markup

from models.registry import ModelVersion
from training.evaluation.intervals import Estimate
from training.evaluation.verdict import format_percent_range
from training.promotion.comparison import DISAGREEMENT_COLUMNS, SLICE_COLUMNS, Comparison
from training.reporting.html import AREA_METRICS, HEADLINE, create_environment, format_interval, format_metric
from training.reporting.mlflow_tracking import RunRecord, log_run
from training.reporting.plots import draw_differences
from training.reporting.tables import serialize_table


def build_difference_rows(found: Comparison) -> list[dict[str, Any]]:
    """Give each compared metric with both sides, the difference and its interval."""
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
    """Say what came out, in one sentence.

    Parameters
    ----------
    found : Comparison
    a, b : str
        What the two are called.
    """
    name = found.find_deciding_metric()
    gain = found.gains[name]
    words = {
        "better": f"{b} is better than {a}",
        "worse": f"{b} is worse than {a}",
        "no difference": f"No difference between {b} and {a} can be told",
    }
    return (
        f"{words[found.verdict()]}: {HEADLINE[name].lower()} {format_percent_range(gain)}, on {found.consignments:,} consignments "
        f"with {found.positive:,} finds."
    )


def describe_comparison(found: Comparison, a: str, b: str) -> str:
    """Describe the comparison in Markdown, for the page of its run.

    Parameters
    ----------
    found : Comparison
    a, b : str
        What the two are called.
    """
    lines = [
        f"**{summarize_comparison(found, a, b)}**",
        "",
        f"Compared is the {found.fits[0]} fit of {a} with the {found.fits[1]} fit of {b}. "
        f"Arrivals from {found.begins:%Y-%m-%d} on, of which neither has learnt; {found.labelled:,} results are known; judged by "
        f"{'the truth of the simulated world' if found.by_truth else 'what was found'}.",
        "",
        f"| figure | {a} | {b} | difference (95 % interval) |",
        "|---|---|---|---|",
        *(
            f"| {row['title']} | {format_metric(row['a'], row['metric'])} | {format_metric(row['b'], row['metric'])} "
            f"| {format_difference(row['difference'], row['metric'])} ({format_difference_interval(row)}) |"
            for row in build_difference_rows(found)
        ),
        "",
        "The page `compare.html` among the artifacts has slices, and examples of where the two disagree.",
    ]
    return "\n".join(lines)


def draw_comparison(found: Comparison, a: str, b: str) -> str:
    """Draw the differences and their intervals: of all traffic in points, of the slices in area under the ROC curve."""
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
    panels = {f"{b} minus {a}, points": points, "Area under the ROC curve": slices}
    return draw_differences({title: rows for title, rows in panels.items() if rows})


def format_difference(value: float, metric: str) -> str:
    """Write the difference of a metric: areas as decimals, shares in percentage points; a dash where it is unknown.

    Examples
    --------
    >>> format_difference(0.0471, "precision_at_1pct"), format_difference(-0.0179, "roc_auc"), format_difference(float("nan"), "roc_auc")
    ('+4.7 points', '-0.018', '–')
    """
    if not np.isfinite(value):
        return "–"
    return f"{value:+.3f}" if metric in AREA_METRICS else f"{100 * value:+.1f} points"


def format_difference_interval(row: Mapping[str, Any]) -> str:
    """Write the interval of a difference."""
    metric = str(row["metric"])
    low, high = (
        format_difference(float(row[end]), metric).removesuffix(" points") for end in ("low", "high")
    )
    return format_interval(low, high)


def render_comparison(found: Comparison, a: ModelVersion, b: ModelVersion) -> str:
    """Write the page of a comparison: HTML that needs nothing else."""
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
        picture=Markup(draw_comparison(found, a.title, b.title)),
    )


def log_comparison(found: Comparison, a: ModelVersion, b: ModelVersion, tracking_uri: str) -> str:
    """Log the comparison as a run of its own, found by the gate through its tags `a` and `b`.

    Returns
    -------
    str
        The run's identifier.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tables").mkdir()
        (folder / "compare.html").write_text(render_comparison(found, a, b), encoding="utf-8")
        (folder / "tables" / "differences.json").write_text(
            serialize_table(list(build_difference_rows(found)))
        )
        (folder / "tables" / "disagreements.json").write_text(
            serialize_table(found.disagreements, DISAGREEMENT_COLUMNS)
        )
        (folder / "tables" / "slices.json").write_text(serialize_table(found.slices, SLICE_COLUMNS))
        record = RunRecord(
            name=f"compare {a.number} and {b.number}, {a.target}",
            description=describe_comparison(found, a.title, b.title),
            tags={
                "kind": "comparison",
                "verdict": found.verdict(),
                "target": a.target,
                "a": a.uri,
                "b": b.uri,
                "begins": found.begins.isoformat(),
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
