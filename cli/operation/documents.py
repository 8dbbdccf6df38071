"""Document of an operation: a page for people, a JSON file of the same name with its numbers, and a run in MLflow if it is asked for."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cli.output import print_result
from cli.stores import read_settings
from consignments.files.whole_files import PUBLIC_MODE, replace_file

log_option = click.option(
    "--log-run", is_flag=True, help="Log the page, and its numbers as tables and metrics, as a run in MLflow."
)


def write_document(
    kind: str,
    out: Path,
    page: str,
    numbers: dict[str, Any],
    summary: str,
    *,
    log_run: bool,
    as_json: bool,
) -> None:
    """Write the page and its JSON file, log the run, and print the result."""
    beside = out.with_suffix(".json")
    replace_file(out, page.encode(), PUBLIC_MODE)
    replace_file(beside, (json.dumps(numbers, indent=1) + "\n").encode(), PUBLIC_MODE)
    found, place = log_document_run(kind, page, numbers, summary, log_run=log_run)
    print_result(
        {"out": str(out), "numbers": str(beside), **found, **numbers},
        as_json,
        f"{summary}\n-> {out}, {beside}{place}",
    )


def log_document_run(
    kind: str, page: str, numbers: Mapping[str, Any], summary: str, *, log_run: bool
) -> tuple[dict[str, str], str]:
    """Log a document in MLflow if it is asked for; return the run for the result, and for the text."""
    if not log_run:
        return {}, ""
    from training.operation.document_run import build_document_record
    from training.reporting import mlflow_tracking

    record = build_document_record(kind, page, numbers, summary)
    run_id = mlflow_tracking.log_run(record, tracking_uri=read_settings().mlflow_tracking_uri)
    return {"run_id": run_id}, f", run {run_id}"
