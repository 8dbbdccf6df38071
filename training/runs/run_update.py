"""Updates of a version and its training run after a comparison: descriptions, the page, and links."""

from models.promotion_record import REPORT_END
from models.registry import ModelVersion, Registry
from training.gate.report import GATE_COLUMNS, GateReport
from training.reporting.html import replace_gate
from training.reporting.mlflow_tracking import build_addresses, read_artifact, read_note, rewrite_run
from training.reporting.tables import serialize_table
from training.runs.artifacts import REPORT_FILE


def write_review(registry: Registry, version: ModelVersion, report: GateReport, comparison_run: str) -> None:
    """Write the gate's report after a comparison to the version, its training run and the page of that run."""
    address = build_addresses(registry.tracking_uri, comparison_run)["run"]
    text = f"{report.to_markdown()}\n\n[The comparison: run {comparison_run}](#{address.partition('#')[2]})"
    registry.write_description(version, _replace_head(registry.read_description(version), text))
    note = _replace_head(read_note(registry.tracking_uri, version.run_id), text)
    files = {"tables/gate.json": serialize_table(report.to_rows(), GATE_COLUMNS)}
    page = read_artifact(registry.tracking_uri, version.run_id, REPORT_FILE)
    if page:
        files[REPORT_FILE] = replace_gate(page, report, {"The comparison in MLflow": address})
    rewrite_run(registry.tracking_uri, version.run_id, note, files)


def _replace_head(description: str, text: str) -> str:
    """Replace the report of the gate at the beginning of a description."""
    _, _, rest = description.rpartition(REPORT_END)
    return f"{text}{REPORT_END}{rest}"
