"""Summary, page and run of a comparison, with the gate's report on the version that may replace the champion."""

from functools import partial
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
from training.gate.rules import describe_deployed, describe_sources, warn_of_unequal_fits
from training.promotion.compared_versions import NOBODY
from training.promotion.comparison import COMPARED, DISAGREEMENT_COLUMNS, REASON_SEPARATOR, Comparison
from training.promotion.evidence import COMPARED_SCORES, EvidenceOptions, review_version
from training.reporting.charts import BLUE, GREY, ORANGE, Chart, draw_rows, open_chart
from training.reporting.html import create_environment, render_page
from training.reporting.mlflow_tracking import InputTable, RunRecord, log_run
from training.reporting.tables import RunTable
from training.runs.evidence import Evidence, hash_files
from training.runs.registered_run import write_review
from training.runs.run_report import COMPARISON_FILE, FACTS_FILE, REPORT_END

SLICE_ENDS = ("difference", "low", "high")
SIGN_COLORS = {1: BLUE, 0: GREY, -1: ORANGE}


def summarize_comparison(found: Comparison, a: str, b: str) -> str:
    """Summarize a comparison of two versions by their titles: the counted finds first, then the estimated difference."""
    counted = describe_counts({a: found.pair.a, b: found.pair.b}, found.target)
    difference = state_difference(found.pair.gains[PRIMARY_MEASURE], a, b, FROM_COMPARED)
    deployed = describe_deployed(found.pair, found.deployed, found.target, a, b)
    return f"{counted} {difference} {deployed}".rstrip()


def describe_difference(gain: Estimate, metric: str) -> str:
    """Return a difference with its interval; how many more finds decide it is said by the gate alone."""
    if not gain.is_shown:
        return f"too few results: {gain.known or 0:,} known"
    return describe_estimate(round_gain(gain), partial(format_gain, metric=metric))


def build_difference_rows(pair: PairedEvaluation) -> list[dict[str, Any]]:
    """Build for each compared metric a row with both sides and the difference; `why` says why one is not shown."""
    rows = []
    for name in COMPARED:
        gain: dict[str, Any] = {**pair.gains[name].to_row()}
        row: dict[str, Any] = {"metric": name, "title": METRIC_TITLES[name]}
        row |= {"a": pair.a[name].shown, "b": pair.b[name].shown, "difference": gain.pop("value")}
        rows.append(row | gain)
    return rows


def describe_comparison(found: Comparison, a: str, b: str) -> str:
    """Describe the facts of a comparison in Markdown, for the page of its run, where they follow its summary or what the gate says of `b`."""
    template = create_environment().get_template("compare.md")
    known = {"found": found, "a": a, "b": b, "basis": describe_basis(found, b), "metrics": COMPARED}
    return template.render(known, differing=describe_difference, page=COMPARISON_FILE)


def describe_basis(found: Comparison, b: str) -> str:
    """Return when the comparison was made, on which arrivals and results it rests, and which capacity it has."""
    arrivals = f"{found.consignments:,} {found.pair.b.arrivals.describe()}, without cancelled ones"
    capacity = f"The capacity of {found.pair.b.daily_capacity} a day in each office is that of the training run of {b}."
    return f"Compared on {found.compared_at:%Y-%m-%d}: {arrivals}, with {found.labelled:,} known results. {capacity}"


def describe_scores(found: Comparison, a: str, b: str) -> str:
    """Return from which scores of each version its ranks come, and their level; a report of the gate says both too."""
    scores = describe_sources(found.sources, a, b)
    known = filter(None, (warn_of_unequal_fits(found.sources, a, b), found.level))
    return " ".join((f"{scores} Neither learnt from the compared arrivals.", *known))


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


def render_comparison(found: Comparison, a: ModelVersion, b: ModelVersion) -> str:
    """Render the page of a comparison as self-contained HTML, with its summary where a report of the gate on `b` takes its place."""
    return render_page(
        COMPARISON_FILE,
        gained=format_gain,
        differing=describe_difference,
        found=found,
        a=a,
        b=b,
        parts={"By inspection results": found.pair} | ({"By the truth": found.truth} if found.truth else {}),
        metrics=COMPARED,
        sentence=summarize_comparison(found, a.title, b.title),
        basis=describe_basis(found, b.title),
        scores=describe_scores(found, a.title, b.title),
        pictures=[chart.render() for chart in draw_comparison(found, a.title, b.title)],
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
    run_id = log_run(_build_record(found, a, b, key), tracking_uri=registry.tracking_uri)
    if champion is None or champion.number != a.number:
        return run_id, None
    report = review_version(registry, b, EvidenceOptions(approvers))
    write_review(registry, b, report, run_id)
    return run_id, report


def _build_record(found: Comparison, a: ModelVersion, b: ModelVersion, key: SigningKey | None) -> RunRecord:
    tables = {
        "differences": RunTable(build_difference_rows(found.pair)),
        "disagreements": RunTable(found.disagreements, DISAGREEMENT_COLUMNS),
        "slices": RunTable(found.pair.slices, SLICE_COLUMNS),
        "gate": RunTable([], GATE_COLUMNS),
    }
    if found.truth is not None:
        tables["truth"] = RunTable(build_difference_rows(found.truth))
    facts = describe_comparison(found, a.title, b.title)
    summary, scores = (each(found, a.title, b.title) for each in (summarize_comparison, describe_scores))
    record = RunRecord(
        name=f"compare {a.number} and {b.number}, {a.target}",
        description=f"**{summary}**\n\n{scores}{REPORT_END}{facts}",
        tags={
            "kind": "comparison",
            "verdict": found.verdict,
            "target": a.target,
            "a": a.uri,
            "b": b.uri,
            "begins": found.begins.isoformat(),
            "compared_at": f"{found.compared_at:%Y-%m-%d %H:%M} UTC",
            "truth": "shown" if found.truth is not None else "none",
            "data_sha256": found.data_sha256,
        },
        params={"consignments": found.consignments}
        | {f"scores.{name}": source.describe() for name, source in zip("ab", found.sources, strict=True)},
        metrics=found.flatten_metrics(),
        tables=tables,
        files={
            COMPARISON_FILE: render_comparison(found, a, b),
            FACTS_FILE: facts,
            COMPARED_SCORES: found.stored.content,
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
        sources=(found.sources[0].kind, found.sources[1].kind),
    )
    return record.add_files(evidence.to_files(key))
