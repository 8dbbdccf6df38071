"""The verb that monitors traffic: drift."""

from datetime import datetime
from pathlib import Path

from cli.options import MODEL, out_option, table_option
from cli.stores import open_registry, read_settings, resolve_model
from cli.tables import HISTORY_TABLES, GivenTables
from cli.verb import Progress, Result, option, verb
from consignments.files.whole_files import PUBLIC_MODE, replace_file


@verb
def drift(
    progress: Progress,
    tables: GivenTables = HISTORY_TABLES,
    model: str | None = MODEL,
    reference: Path | None = table_option(
        "Compare with this consignment table. Default: compare with the reference profile of the model."
    ),
    begins: datetime | None = option(
        "Check arrivals from this time on. Earlier ones are history. Default: the first arrival.",
        name="--from",
    ),
    until: datetime | None = option("Check arrivals before this time. Default: up to the last arrival."),
    out: Path = out_option("Report page to write.", metavar="FILE.html"),
) -> Result:
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

    chosen = resolve_model(model)
    bundle = open_registry().fetch_bundle(chosen)
    record = bundle.config.build_record_type()
    traffic = MonitoredTraffic(
        tables.open_sources(record, progress),
        reference=tables.open_source(reference, record, progress),
        window=ArrivalWindow(begins, until),
    )
    found = detect_drift(bundle, traffic, progress=progress)
    page = render_drift(found, chosen.uri)
    replace_file(out, page.encode(), PUBLIC_MODE)
    logged = build_drift_record(found, page, chosen)
    run_id = log_run(logged, tracking_uri=read_settings().mlflow_tracking_uri)
    values = {
        "out": str(out),
        "run_id": run_id,
        "verdict": found.verdict,
        "reasons": found.reasons,
        "notes": found.notes,
        "metrics": found.flatten_metrics(),
    }
    return Result(values, f"{summarize_drift(found)}\n-> {out}, run {run_id}")
