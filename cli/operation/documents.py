"""Options of the verbs that write a document of an operation, and its result."""

from pathlib import Path
from typing import TYPE_CHECKING

from cli.options import out_option
from cli.stores import read_settings
from cli.verb import Result, option

if TYPE_CHECKING:
    from operation.documents.document import Document

PAGE = out_option("Page to write; the same numbers go to FILE.json.", metavar="FILE.html")
LOG_RUN = option("Log the page, and its numbers as tables and metrics, as a run in MLflow.")


def write_document(document: "Document", out: Path, *, log_run: bool) -> Result:
    """Write the page and its JSON file, and log the run if it is asked for."""
    beside = document.write(out)
    run, place = {}, ""
    if log_run:
        from training.reporting import mlflow_tracking

        run_id = mlflow_tracking.log_run(
            document.to_record(), tracking_uri=read_settings().mlflow_tracking_uri
        )
        run, place = {"run_id": run_id}, f", run {run_id}"
    data = {"plan" if document.kind == "plan" else "numbers": str(beside)}
    return Result(
        {"out": str(out), **data, **run, **document.numbers}, f"{document.summary}\n-> {out}, {beside}{place}"
    )
