"""Summary, page and run of a comparison, with the gate's report on the version that may replace the champion."""

from datetime import UTC, datetime
from typing import Any

import numpy as np

from models.registry import BUNDLE_TAG, ModelVersion, Registry
from models.signatures.key_holders import Approvers
from models.signatures.keys import SigningKey
from training.config import hash_settings
from training.evaluation.difference import FROM_COMPARED, format_gain, round_gain, state_difference
from training.evaluation.estimate import Estimate, describe_estimate
from training.evaluation.metrics import (
    AREA_METRICS,
    METRIC_TITLES,
    PRIMARY_MEASURE,
    SLICE_COLUMNS,
    PairedEvaluation,
    describe_counts,
)
from training.gate.report import GATE_COLUMNS, GateReport
from training.gate.rules import (
    ChampionComparison,
    RuleResult,
    describe_deployed,
    describe_sources,
    warn_of_unequal_fits,
)
from training.promotion.compared_versions import NOBODY
from training.promotion.comparison import COMPARED, DISAGREEMENT_COLUMNS, REASON_SEPARATOR, Comparison
from training.promotion.evidence import COMPARED_SCORES, EvidenceOptions, review_version
from training.reporting.charts import BLUE, GREY, ORANGE, Chart, draw_rows, open_chart
from training.reporting.html import format_metric, render_page
from training.reporting.mlflow_tracking import InputTable, RunRecord, log_run
from training.reporting.tables import RunTable
from training.runs.evidence import Evidence, hash_files
from training.runs.registered_run import write_review

UNSIGNED = RuleResult(None, "the comparison is not signed")
SLICE_ENDS = ("difference", "low", "high")
SIGN_COLORS = {1: BLUE, 0: GREY, -1: ORANGE}


def summarize_comparison(found: Comparison, a: str, b: str) -> str:
    """Summarize a comparison of two versions by their titles: the counted finds first, then the estimated difference."""
    counted = describe_counts({a: found.pair.a, b: found.pair.b}, found.target)
    difference = state_difference(found.pair.gains[PRIMARY_MEASURE], a, b, FROM_COMPARED)
    return (
        f"{counted} {difference} {describe_deployed(found.pair, found.deployed, found.target, a, b)}".rstrip()
    )


def describe_difference(gain: Estimate, metric: str) -> str:
    """Return a difference with its interval; how many more finds decide it is said by the gate alone."""
    if not gain.is_shown:
        return f"too few results: {gain.known or 0:,} known"
    return describe_estimate(round_gain(gain), lambda value: format_gain(value, metric))


def build_difference_rows(pair: PairedEvaluation) -> list[dict[str, Any]]:
    """Build for each compared metric a row with both sides and the difference; `why` says why one is not shown."""
    rows = []
    for name in COMPARED:
        gain: dict[str, Any] = {**pair.gains[name].to_row()}
        row: dict[str, Any] = {"metric": name, "title": METRIC_TITLES[name]}
        row |= {"a": pair.a[name].shown, "b": pair.b[name].shown, "difference": gain.pop("value")}
        rows.append(row | gain)
    return rows


def describe_comparison(found: Comparison, a: str, b: str, gate: GateReport | None = None) -> str:
    """Describe the comparison in Markdown, for the page of its run, after the gate's report on `b` if `a` is the champion."""
    truth = [] if found.truth is None else [_tabulate(found.truth, a, b)]
    parts = [
        f"**{summarize_comparison(found, a, b)}**" if gate is None else gate.to_markdown(),
        describe_basis(found, a, b, gate),
        *found.notes,
        _tabulate(found.pair, a, b),
        *(f"By the truth of the simulated world, which decides nothing:\n\n{table}" for table in truth),
        "The page `compare.html` among the artifacts shows slices, and examples of consignments that the two rank differently.",
    ]
    return "\n\n".join(parts)


def describe_basis(found: Comparison, a: str, b: str, gate: GateReport | None = None) -> str:
    """Return on which arrivals the comparison rests, and on which scores of each version unless a report of the gate says it."""
    arrivals = found.pair.b.arrivals.describe()
    compared = f"Compared on {found.consignments:,} {arrivals}, with {found.labelled:,} known results."
    if gate is not None:
        return compared
    scores = describe_sources(found.sources, a, b)
    warning = warn_of_unequal_fits(found.sources, a, b)
    return f"{compared} {scores} Neither learnt from the compared arrivals. {warning}".rstrip()


def _tabulate(pair: PairedEvaluation, a: str, b: str) -> str:
    rows = [("metric", a, b, "difference (95 % interval)"), ("---",) * 4]
    for name in COMPARED:
        one, other = (format_metric(side[name].shown, name) for side in (pair.a, pair.b))
        rows.append((METRIC_TITLES[name], one, other, describe_difference(pair.gains[name], name)))
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", pair.b.counts.describe_support()])


def draw_comparison(found: Comparison, a: str, b: str) -> list[Chart]:
    """Draw the shown differences with their intervals: all traffic in percentage points, slices as area under the ROC curve."""
    points = {
        METRIC_TITLES[name].removesuffix(" of traffic"): [100 * end for _, end in gain.list_ends()]
        for name in COMPARED
        if name not in AREA_METRICS and (gain := found.pair.gains[name]).is_shown
    }
    slices = {
        f"{row['kind']}: {row['value']}".replace("_", " "): [float(row[end]) for end in SLICE_ENDS]
        for row in found.pair.slices
        if row["shown"]
    }
    panels = {"Difference in percentage points": points, "Difference of the area under the ROC curve": slices}
    charts = []
    for title, rows in panels.items():
        if rows:
            chart = open_chart("differences", len(rows), title=f"{title}: {b} minus {a}", b=b)
            colors = [SIGN_COLORS[Estimate(*ends).sign] for ends in rows.values()]
            charts.append(draw_rows(chart, list(rows), list(np.array([*rows.values()]).T), 0.0, colors))
    return charts


def render_comparison(
    found: Comparison, a: ModelVersion, b: ModelVersion, gate: GateReport | None = None
) -> str:
    """Render the page of a comparison as self-contained HTML, with the gate's report on `b` if `a` is the champion."""
    return render_page(
        "compare.html",
        gained=format_gain,
        differing=describe_difference,
        found=found,
        a=a,
        b=b,
        parts={"By inspection results": found.pair} | ({"By the truth": found.truth} if found.truth else {}),
        rows=build_difference_rows,
        sentence=summarize_comparison(found, a.title, b.title),
        basis=describe_basis(found, a.title, b.title, gate),
        pictures=[chart.render() for chart in draw_comparison(found, a.title, b.title)],
        gate=gate,
        separator=REASON_SEPARATOR,
    )


def log_comparison(
    registry: Registry,
    found: Comparison,
    a: ModelVersion,
    b: ModelVersion,
    key: SigningKey | None = None,
    approvers: Approvers = NOBODY,
) -> tuple[str, GateReport | None]:
    """Log a comparison, signed if a key is given, and write the gate's report on `b` if `a` is the champion; return run and report."""
    champion = registry.find_champion(b.target)
    report = None
    if champion is not None and champion.number == a.number:
        signer, verified = None if key is None else approvers.find(key.public.key_id), UNSIGNED
        if signer is not None and (signer.until is None or datetime.now(UTC) < signer.until):
            verified = RuleResult(True, f"the comparison is signed by {signer.name}")
        about = found.pair, found.begins, found.sources, verified
        measured = ChampionComparison("", *about, deployed=found.deployed)
        report = review_version(registry, b, EvidenceOptions(approvers, measured=measured))
    run_id = log_run(_build_record(found, a, b, report, key), tracking_uri=registry.tracking_uri)
    if report is not None:
        write_review(registry, b, report._replace(comparison_run=report.comparison_run or run_id))
    return run_id, report


def _build_record(
    found: Comparison, a: ModelVersion, b: ModelVersion, gate: GateReport | None, key: SigningKey | None
) -> RunRecord:
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
        tags={
            "kind": "comparison",
            "verdict": found.verdict,
            "target": a.target,
            "a": a.uri,
            "b": b.uri,
            "begins": found.begins.isoformat(),
            "truth": "shown" if found.truth is not None else "none",
            "data_sha256": found.data_sha256,
        },
        params={"consignments": found.consignments}
        | {f"scores.{name}": source.describe() for name, source in zip("ab", found.sources, strict=True)},
        metrics=found.flatten_metrics(),
        tables=tables,
        files={"compare.html": render_comparison(found, a, b, gate), COMPARED_SCORES: found.stored.content},
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
        sources=(found.sources[0].kind, found.sources[1].kind),
    )
    return record.add_files(evidence.to_files(key))
