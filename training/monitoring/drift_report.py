"""The page of a watch, its tables, and its run in MLflow."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from markupsafe import Markup

from models.registry import Version
from training.monitoring.drift import Drift
from training.monitoring.drift_measures import Row
from training.monitoring.drift_report_pictures import draw
from training.reporting.html import LARGEST_BYTES, environment
from training.reporting.mlflow_tracking import RunRecord, log_run
from training.runs.artifacts import table_json

PAGE = "drift.html"
COLUMNS = {"reasons": ("verdict", "text"), "units": ("part", "column", "median_then", "median_now", "factor")}
"""Columns of tables that may be empty."""
MOST_FEATURES, MOST_SHARES = 25, 25
DOES = {
    "stable": "Nothing moved beyond its bound. The model can go on.",
    "retrain": "The world moved. Train on later results and compare.",
    "investigate data": "The data are at fault. Mend them first: what else moved may be their doing, and a model trained on "
    "them would learn the fault.",
}
"""What each verdict asks for."""


def sentence_of(drift: Drift) -> str:
    """Say what came out, for a terminal and the run."""
    lines = [f"{drift.verdict}: {DOES[drift.verdict]}"]
    lines += [f"- {reason.verdict}: {reason.text}" for reason in drift.reasons]
    return "\n".join([*lines, *(f"({note})" for note in drift.notes)])


def render(drift: Drift, model: str) -> str:
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
        environment()
        .get_template(PAGE)
        .render(
            drift=drift,
            model=model,
            does=DOES[drift.verdict],
            pictures={name: Markup(picture) for name, picture in draw(drift).items()},
            precision=drift.tables["precision"],
            shares=_risen_most(drift.tables["shares"]),
            features=drift.tables["features"][:MOST_FEATURES],
        )
    )
    if len(page.encode()) > LARGEST_BYTES:
        raise ValueError(f"the page has {len(page.encode()):,} bytes, more than {LARGEST_BYTES:,}")
    return page


def tables_of(drift: Drift) -> dict[str, str]:
    """Give the tables as JSON, by name; the same columns in every run."""
    tables = {**drift.tables, "reasons": drift.reason_rows()}
    return {name: table_json(rows, COLUMNS.get(name, ())) for name, rows in tables.items()}


def log_drift(drift: Drift, page: str, model: Version, tracking_uri: str) -> str:
    """Log the watch as a run of its own.

    Parameters
    ----------
    drift : Drift
    page : str
        From `render`.
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
        (folder / PAGE).write_text(page, encoding="utf-8")
        for table, text in tables_of(drift).items():
            (folder / "tables" / f"{table}.json").write_text(text, encoding="utf-8")
        record = RunRecord(
            name=f"drift {model.number}, from {drift.now.first_day}",
            description=sentence_of(drift).replace("\n", "\n\n"),
            tags={"model": model.uri, "target": model.target, "kind": "drift", "verdict": drift.verdict},
            params=_params(drift),
            metrics=drift.flat(),
            folder=folder,
        )
        return log_run(record, tracking_uri=tracking_uri)


def _params(drift: Drift) -> dict[str, Any]:
    return {
        "consignments": sum(drift.now.channels.values()),
        "first_day": drift.now.first_day,
        "days": drift.now.days,
        "reference_consignments": sum(drift.then.channels.values()),
        "reference_first_day": drift.then.first_day,
        "reference_days": drift.then.days,
        "capacity": drift.now.capacity,
    }


def _risen_most(shares: list[Row]) -> list[Row]:
    """Give the shares that changed most."""
    known = [row for row in shares if float(row["change"]) == float(row["change"])]
    return sorted(known, key=lambda row: -abs(float(row["change"])))[:MOST_SHARES]
