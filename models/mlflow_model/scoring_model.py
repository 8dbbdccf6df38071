"""The registered model as MLflow loads it: consignment table in, score table out."""

import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from consignments.errors import BadInput
from consignments.records import Alert, Outcome
from consignments.tables import check_frame, read_table
from features.batch import BATCH_KEY, Tables
from features.history.pseudonyms import Pseudonyms
from features.streams import FeatureInputs
from models.batch_scoring import ScoreColumns, build_feature_parameters, score_table
from models.bundle import UNREGISTERED, Bundle, load_bundle

MODEL_CONFIG = {"history": "", "outcomes": "", "alerts": "", "as_of": "", "reasons": 0, "data_key": ""}
"""Options of the registered model at loading: paths of the history tables, a time, the number of reasons."""
WITHOUT_HISTORY = (
    "scored without history: every sender and consignee looks new, and scores differ from those of the service; "
    "load the model with model_config={'history': PATH} of past consignments"
)


class ScoringModel:
    """The registered model as MLflow loads it, with options as in `MODEL_CONFIG`; without past consignments it warns."""

    def __init__(self, bundle: Bundle, version: str, config: dict[str, Any]) -> None:
        self.bundle = bundle
        self.version = version
        self.reasons = int(config["reasons"])
        self.as_of = _read_time(config["as_of"]) if config["as_of"] else None
        key = Path(config["data_key"]).read_bytes() if config["data_key"] else BATCH_KEY
        self.pseudonyms = Pseudonyms(key)
        # A model of other features is refused at loading, not at the first request.
        bundle.model.replace_spec(build_feature_parameters(bundle, self.pseudonyms).build_pipeline().spec)
        record = bundle.config.build_record_type()
        self.history = _read_past(config["history"], record)
        self.outcomes = _read_past(config["outcomes"], Outcome)
        self.alerts = _read_past(config["alerts"], Alert)

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Score a consignment table, each score with `reasons` of `params` (0: as set at loading); `BadInput` if a row is invalid."""
        given = check_frame(model_input, self.bundle.config.build_record_type(), strict=True).frame
        tables = Tables(given, self.outcomes, self.alerts)
        inputs = FeatureInputs.from_tables(tables, self.history, self.as_of)
        if not inputs.has_history:
            warnings.warn(WITHOUT_HISTORY, stacklevel=2)
        reasons = int((params or {}).get("reasons") or self.reasons)
        return score_table(self.bundle, inputs, self.pseudonyms, columns=ScoreColumns(reasons, self.version))


def _read_time(text: str) -> pd.Timestamp:
    """Read a time, in UTC if it has no zone."""
    try:
        return pd.to_datetime(datetime.fromisoformat(str(text)), utc=True)
    except ValueError as error:
        expected = "ISO 8601, for example 2024-03-04T09:00:00Z"
        raise BadInput("bad time", where="model_config as_of", got=repr(text), expected=expected) from error


def _read_past(path: str, record: type[msgspec.Struct]) -> pd.DataFrame | None:
    """Read a history table; return None if no path is given. Warn of invalid rows, which are left out."""
    if not path:
        return None
    table, todo = read_table(path, record), "correct the rows, or see each with npsrisk features --rejects"
    table.report.refuse_total_rejection(todo=todo)
    if table.rejects:
        warnings.warn(table.report.to_text(), stacklevel=2)
    return table.frame


def load_scoring_model(data_path: str, model_config: dict[str, Any] | None = None) -> ScoringModel:
    """Load the registered model from the folder of its bundle, with options as in `MODEL_CONFIG`."""
    folder, config = Path(data_path), MODEL_CONFIG | (model_config or {})
    return ScoringModel(load_bundle(folder), _read_version_number(folder), config)


def _read_version_number(data_path: Path) -> str:
    """Read the version that MLflow stores with a model from the registry; `unregistered` if there is none."""
    for folder in data_path.parents[:2]:
        note = folder / "registered_model_meta"
        if note.exists():
            lines = dict(line.split(": ", 1) for line in note.read_text().splitlines() if ": " in line)
            return lines["model_version"].strip("'\"")
    return UNREGISTERED
