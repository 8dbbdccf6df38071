"""The verb that monitors traffic: drift."""

from pathlib import Path
from typing import NamedTuple

import click

from cli.options import (
    PeriodOptions,
    TableOptions,
    batch_table_options,
    collect_options,
    json_option,
    model_option,
    out_option,
    period_options,
    reject_options,
    table_option,
)
from cli.output import print_result
from cli.progress import show_progress_bar
from cli.stores import open_registry, read_settings, resolve_model
from cli.table_reader import TableReader
from consignments.files.whole_files import PUBLIC_MODE, replace_file


class DriftOptions(NamedTuple):
    """The reference of the comparison: the profile of a model (None for the model of the settings), or a table."""

    model: str | None
    reference: Path | None


@click.command()
@batch_table_options
@collect_options(DriftOptions, "options")
@model_option
@table_option(
    "--reference",
    "Compare with this consignment table. Default: compare with the reference profile of the model.",
)
@period_options(
    "Check arrivals from this time on. Earlier ones are history. Default: the first arrival.",
    "Check arrivals before this time. Default: up to the last arrival.",
)
@out_option("Report page to write.", metavar="FILE.html")
@reject_options
@json_option
def drift(
    tables: TableOptions, options: DriftOptions, period: PeriodOptions, out: Path, as_json: bool
) -> None:
    """Check recent traffic for drift from the model's reference.

    Compares recent traffic with the reference profile stored in the model (its test period). It needs no labels. It checks
    scores, features, codes, new senders, missing values, units, and sources without data.

    The verdict is `stable`, `retrain`, `investigate data` or `insufficient data`, with reasons. If it is `retrain`, run
    "npsrisk train". If it is `investigate data`, first check the data source. If it is `insufficient data`, there is too little
    traffic to tell, and the notes say how much is needed.

    Writes the report page and logs a run in MLflow. Exit code 0 with every verdict.

    \b
    Example:
    npsrisk drift --consignments week.parquet --history past.parquet --outcomes outcomes.parquet --out drift.html
    """
    from training.data.splits import ArrivalWindow
    from training.monitoring.drift import MonitoredTraffic, detect_drift
    from training.monitoring.drift_report import build_drift_record, render_drift, summarize_drift
    from training.reporting.mlflow_tracking import log_run

    chosen = resolve_model(options.model)
    bundle = open_registry().fetch_bundle(chosen)
    reader = TableReader(tables)
    record = bundle.config.build_record_type()
    with show_progress_bar() as progress:
        traffic = MonitoredTraffic(
            reader.open_sources(record, progress),
            reference=reader.open_source(options.reference, record, progress),
            window=ArrivalWindow(period.parse_begin(), period.parse_end()),
        )
        found = detect_drift(bundle, traffic, progress=progress)
    page = render_drift(found, chosen.uri)
    replace_file(out, page.encode(), PUBLIC_MODE)
    run_id = log_run(
        build_drift_record(found, page, chosen), tracking_uri=read_settings().mlflow_tracking_uri
    )
    result = {
        "out": str(out),
        "run_id": run_id,
        "verdict": found.verdict,
        "reasons": found.reasons,
        "notes": found.notes,
        "metrics": found.flatten_metrics(),
    }
    print_result(result, as_json, f"{summarize_drift(found)}\n-> {out}, run {run_id}")
