"""Summary, page and MLflow run of a comparison."""

from collections.abc import Mapping, Sequence
from typing import Any

from models.formats import format_number, format_points
from models.registry import BUNDLE_TAG, ModelVersion
from models.signatures.keys import SigningKey
from training.config import hash_settings
from training.evaluation.estimate import Estimate
from training.evaluation.metrics import PRIMARY_MEASURE, SLICE_COLUMNS, PairedEvaluation, describe_counts
from training.gate.report import GATE_COLUMNS, GateReport
from training.promotion.comparison import COMPARED, TOO_FEW, Comparison
from training.promotion.disagreements import DISAGREEMENT_COLUMNS, REASON_SEPARATOR
from training.reporting.charts import BLUE, GREY, ORANGE, Chart, format_signed_tick, set_rows
from training.reporting.html import AREA_METRICS, HEADLINE, format_metric, render_page
from training.reporting.mlflow_tracking import InputTable, RunRecord
from training.reporting.tables import RunTable
from training.runs.evidence import Evidence, hash_files

SIGN_COLORS = {1: BLUE, 0: GREY, -1: ORANGE}
WORDS = {
    "better": "is better than",
    "worse": "is worse than",
    "no difference": "does not differ clearly from",
}
ROW_INCHES = 0.42


def summarize_comparison(found: Comparison, a: str, b: str) -> str:
    """Summarize a comparison: the counted finds first, then the estimated difference.

    Parameters
    ----------
    found : Comparison
    a, b : str
        Titles of the two versions.
    """
    counted = describe_counts({a: found.pair.a.counts, b: found.pair.b.counts}, found.target)
    gain = found.pair.gains[PRIMARY_MEASURE]
    if found.verdict == TOO_FEW:
        return f"{counted} The difference cannot be decided: {gain.explain_missing()}."
    return (
        f"{counted} {b[0].upper()}{b[1:]} {WORDS[found.verdict]} {a}: {HEADLINE[PRIMARY_MEASURE].lower()} "
        f"{describe_difference(gain, PRIMARY_MEASURE)}."
    )


def describe_difference(gain: Estimate, metric: str) -> str:
    """Return a difference with its interval and what it rests on; else why it is not shown."""
    if not gain.is_shown:
        return gain.explain_missing()
    value, low, high = (format_difference(each, metric) for each in (gain.value, gain.low, gain.high))
    rests = f"{format_number(round(gain.effective))} effective results, the largest counts {gain.largest:.0%}"
    return f"{value} ({low.removesuffix(' points')} to {high.removesuffix(' points')}; {rests.replace('%', ' %')})"


def format_difference(value: float, metric: str) -> str:
    """Format the difference of a metric: areas as decimals, shares in percentage points; a dash if it is unknown.

    Examples
    --------
    >>> format_difference(0.0471, "precision_at_1pct"), format_difference(-0.0179, "roc_auc"), format_difference(float("nan"), "roc_auc")
    ('+4.71 points', '-0.0179', '–')
    """
    return format_number(value, "+") if metric in AREA_METRICS else format_points(value)


def build_difference_rows(pair: PairedEvaluation) -> list[dict[str, Any]]:
    """Build for each compared metric a row with both sides and the difference; `why` says why one is not shown."""
    rows = []
    for name in COMPARED:
        row = {"metric": name, "title": HEADLINE[name], "a": pair.a[name].shown, "b": pair.b[name].shown}
        gain = pair.gains[name].to_row()
        rows.append(
            row | {("difference" if column == "value" else column): value for column, value in gain.items()}
        )
    return rows


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
        describe_basis(found, a, b),
        "",
        *(f"{note}\n" for note in found.notes),
        *_tabulate(found.pair, a, b),
        "",
        *([] if found.truth is None else ["By the truth of the simulated world, which decides nothing:", ""]),
        *([] if found.truth is None else [*_tabulate(found.truth, a, b), ""]),
        "The page `compare.html` among the artifacts shows slices, and examples of consignments that the two rank differently.",
    ]
    return "\n".join(lines)


def describe_basis(found: Comparison, a: str, b: str) -> str:
    """Return on which arrivals and which scores of each version the comparison rests."""
    return (
        f"Compared on {found.consignments:,} arrivals from {found.begins:%Y-%m-%d} on, with {found.labelled:,} known results. "
        f"Scores of {a}: {found.sources[0]}. Scores of {b}: {found.sources[1]}. Neither learnt from the compared arrivals."
    )


def _tabulate(pair: PairedEvaluation, a: str, b: str) -> list[str]:
    """Return the compared metrics as a table in Markdown."""
    return [
        f"| metric | {a} | {b} | difference (95 % interval) |",
        "|---|---|---|---|",
        *(
            f"| {row['title']} | {format_metric(row['a'], row['metric'])} | {format_metric(row['b'], row['metric'])} "
            f"| {describe_difference(pair.gains[row['metric']], row['metric'])} |"
            for row in build_difference_rows(pair)
        ),
    ]


def draw_comparison(found: Comparison, a: str, b: str) -> list[Chart]:
    """Draw the shown differences with their intervals: all traffic in percentage points, slices as area under the ROC curve."""
    points = [
        (HEADLINE[name], Estimate(*(100 * end for end in (gain.value, gain.low, gain.high))))
        for name in COMPARED
        if name not in AREA_METRICS and (gain := found.pair.gains[name]).is_shown
    ]
    slices = [
        (
            f"{row['kind']}: {row['value']}",
            Estimate(*(float(row[end]) for end in ("difference", "low", "high"))),
        )
        for row in found.pair.slices
    ]
    panels = {"Difference in percentage points": points, "Difference of the area under the ROC curve": slices}
    return [_draw_differences(title, rows, a, b) for title, rows in panels.items() if rows]


def _draw_differences(title: str, rows: Sequence[tuple[str, Estimate]], a: str, b: str) -> Chart:
    chart = Chart(
        f"{title}: {b} minus {a}, with 95 % intervals",
        f"Points right of zero: {b} is better. Lines: 95 % intervals. Blue: clearly better, orange: clearly worse, grey: not clear. "
        "About one in twenty is clear by chance.",
        title=f"{title}: {b} minus {a}",
        x_format=format_signed_tick,
        height=1.2 + ROW_INCHES * len(rows),
        grid="x",
    )
    with chart.draw() as axes:
        axes.axvline(0, color=GREY, linewidth=1)
        for place, (_, gain) in enumerate(rows):
            color = SIGN_COLORS[gain.sign]
            axes.plot([gain.low, gain.high], [place, place], color=color)
            axes.plot([gain.value], [place], "o", color=color)
        set_rows(axes, range(len(rows)), [name for name, _ in rows])
    return chart


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
    return render_page(
        "compare.html",
        gained=format_difference,
        differing=describe_difference,
        found=found,
        a=a,
        b=b,
        parts=[
            part for part in (("By inspection results", found.pair), ("By the truth", found.truth)) if part[1]
        ],
        rows=build_difference_rows,
        sentence=summarize_comparison(found, a.title, b.title),
        basis=describe_basis(found, a.title, b.title),
        pictures=[chart.render() for chart in draw_comparison(found, a.title, b.title)],
        gate=gate,
        separator=REASON_SEPARATOR,
    )


def build_comparison_record(
    found: Comparison,
    a: ModelVersion,
    b: ModelVersion,
    gate: GateReport | None = None,
    key: SigningKey | None = None,
) -> RunRecord:
    """Build the record of a comparison, which the gate finds through its tags `a` and `b`; a key signs its evidence.

    `gate` is the report on `b`, if `a` is the champion.
    """
    tables = {
        "differences": RunTable(build_difference_rows(found.pair)),
        "disagreements": RunTable(found.disagreements, DISAGREEMENT_COLUMNS),
        "slices": RunTable(found.pair.slices, SLICE_COLUMNS),
    }
    if found.truth is not None:
        tables["truth"] = RunTable(build_difference_rows(found.truth))
    if gate is not None:
        tables["gate"] = RunTable(gate.to_rows(), GATE_COLUMNS)
    record = RunRecord(
        name=f"compare {a.number} and {b.number}, {a.target}",
        description=describe_comparison(found, a.title, b.title, gate),
        tags=_tag(found, a, b),
        params={
            "consignments": found.consignments,
            "scores.a": found.sources[0],
            "scores.b": found.sources[1],
        },
        metrics=found.flatten_metrics(),
        tables=tables,
        files={
            "compare.html": render_comparison(found, a, b, gate),
            "scores/compared.parquet": found.stored.content,
        },
        inputs={name: InputTable(rows) for name, rows in found.inputs.items()},
    )
    evidence = Evidence(
        kind="comparison",
        target=found.target,
        bundles={"a": a.tags[BUNDLE_TAG], "b": b.tags[BUNDLE_TAG]},
        files=hash_files(record.list_files()),
        data_sha256=found.data_sha256,
        settings_sha256=hash_settings(found.settings),
        begins=found.begins,
    )
    return record.add_files(evidence.to_files(key))


def _tag(found: Comparison, a: ModelVersion, b: ModelVersion) -> Mapping[str, str]:
    return {
        "kind": "comparison",
        "verdict": found.verdict,
        "target": a.target,
        "a": a.uri,
        "b": b.uri,
        "begins": found.begins.isoformat(),
        "truth": "shown" if found.truth is not None else "none",
        "data_sha256": found.data_sha256,
    }
