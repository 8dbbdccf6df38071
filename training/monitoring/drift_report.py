"""The page of a watch, its tables, and its run in MLflow."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from markupsafe import Markup

from models.registry import ModelVersion
from training.monitoring.drift import Drift
from training.monitoring.drift_measures import Row
from training.monitoring.drift_report_pictures import draw_drift
from training.reporting.html import MAX_PAGE_BYTES, create_environment
from training.reporting.mlflow_tracking import RunRecord, log_run
from training.runs.artifacts import serialize_table

PAGE_FILE = "drift.html"
TABLE_COLUMNS = {
    "reasons": ("verdict", "text"),
    "units": ("part", "column", "median_then", "median_now", "factor"),
}
"""Columns of tables that may be empty."""
MAX_FEATURES, MAX_SHARES = 25, 25
VERDICT_ACTIONS = {
    "stable": "Nothing moved beyond its bound. The model can go on.",
    "retrain": "The world moved. Train on later results and compare.",
    "investigate data": "The data are at fault. Mend them first: what else moved may be their doing, and a model trained on "
    "them would learn the fault.",
}
"""What each verdict asks for."""


def summarize_drift(drift: Drift) -> str:
    """Say what came out, for a terminal and the run."""
    lines = [f"{drift.verdict}: {VERDICT_ACTIONS[drift.verdict]}"]
    lines += [f"- {reason.verdict}: {reason.text}" for reason in drift.reasons]
    return "\n".join([*lines, *(f"({note})" for note in drift.notes)])


def render_drift(drift: Drift, model: str) -> str:
    """Write the page: HTML that needs nothing else, verdict and pictures first.

    Parameters
    ----------
    drift : Drift
    model : str
        Address of the version that is watched.

    Returns
    -------
    str
        Under 2 MB.
    """
    page = (
        create_environment()
        .get_template(PAGE_FILE)
        .render(
            drift=drift,
            model=model,
            does=VERDICT_ACTIONS[drift.verdict],
            pictures={name: Markup(picture) for name, picture in draw_drift(drift).items()},
            precision=drift.tables["precision"],
            shares=_select_largest_changes(drift.tables["shares"]),
            features=drift.tables["features"][:MAX_FEATURES],
        )
    )
    if len(page.encode()) > MAX_PAGE_BYTES:
        raise ValueError(f"the page has {len(page.encode()):,} bytes, more than {MAX_PAGE_BYTES:,}")
    return page


def serialize_drift_tables(drift: Drift) -> dict[str, str]:
    """Give the tables as JSON, by name; the same columns in every run."""
    tables = {**drift.tables, "reasons": drift.build_reason_rows()}
    return {name: serialize_table(rows, TABLE_COLUMNS.get(name, ())) for name, rows in tables.items()}


def log_drift(drift: Drift, page: str, model: ModelVersion, tracking_uri: str) -> str:
    """Log the watch as a run of its own.

    Parameters
    ----------
    drift : Drift
    page : str
        From `render_drift`.
    model : Version
    tracking_uri : str

    Returns
    -------
    str
        The run's identifier.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tables").mkdir()
        (folder / PAGE_FILE).write_text(page, encoding="utf-8")
        for table, text in serialize_drift_tables(drift).items():
            (folder / "tables" / f"{table}.json").write_text(text, encoding="utf-8")
        record = RunRecord(
            name=f"drift {model.number}, from {drift.now.first_day}",
            description=summarize_drift(drift).replace("\n", "\n\n"),
            tags={"model": model.uri, "target": model.target, "kind": "drift", "verdict": drift.verdict},
            params=_build_params(drift),
            metrics=drift.flatten_metrics(),
            folder=folder,
        )
        return log_run(record, tracking_uri=tracking_uri)


def _build_params(drift: Drift) -> dict[str, Any]:
    return {
        "consignments": sum(drift.now.channels.values()),
        "first_day": drift.now.first_day,
        "days": drift.now.days,
        "reference_consignments": sum(drift.then.channels.values()),
        "reference_first_day": drift.then.first_day,
        "reference_days": drift.then.days,
        "capacity": drift.now.capacity,
    }


def _select_largest_changes(shares: list[Row]) -> list[Row]:
    """Give the shares that changed most."""
    known = [row for row in shares if float(row["change"]) == float(row["change"])]
    return sorted(known, key=lambda row: -abs(float(row["change"])))[:MAX_SHARES]
