"""Document of an operation: a page for people, a JSON file of the same name with its numbers, and a run in MLflow if it is asked for."""

import json
from pathlib import Path
from typing import Any

from cli.options import out_option
from cli.stores import read_settings
from cli.verb import Result, option
from consignments.files.whole_files import PUBLIC_MODE, replace_file

PAGE = out_option("Page to write; the same numbers go to FILE.json.", metavar="FILE.html")
LOG_RUN = option("Log the page, and its numbers as tables and metrics, as a run in MLflow.")


def write_document(
    kind: str, out: Path, page: str, numbers: dict[str, Any], summary: str, *, log_run: bool
) -> Result:
    """Write the page and its JSON file, and log the run if it is asked for."""
    beside = out.with_suffix(".json")
    replace_file(out, page.encode(), PUBLIC_MODE)
    replace_file(beside, (json.dumps(numbers, indent=1) + "\n").encode(), PUBLIC_MODE)
    run, place = {}, ""
    if log_run:
        from operation.documents.document_run import build_document_record
        from training.reporting import mlflow_tracking

        record = build_document_record(kind, page, numbers, summary)
        run_id = mlflow_tracking.log_run(record, tracking_uri=read_settings().mlflow_tracking_uri)
        run, place = {"run_id": run_id}, f", run {run_id}"
    data = {"plan" if kind == "plan" else "numbers": str(beside)}
    return Result({"out": str(out), **data, **run, **numbers}, f"{summary}\n-> {out}, {beside}{place}")
