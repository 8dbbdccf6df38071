"""The folder of a model in MLflow's format: bundle, signature, input example, column table, and how to install.

In the signature only the required columns have a type: MLflow's checks refuse values that `consignments.tables` reads.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import mlflow
import msgspec
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType

from consignments.records import Consignment, get_fields
from consignments.validation import SEQUENCE_COLUMNS, list_declared_columns
from models.bundle import Bundle
from models.mlflow_model.scoring_model import MODEL_CONFIG

LOADER_MODULE = "npsrisk"  # the only module that a registered model names; its `_load_pyfunc` loads it
COLUMNS_FILE, INSTALL_FILE = "columns.json", "INSTALL.md"
ANY = AnyType()
SCORE_SCHEMA = Schema(
    [
        ColSpec(DataType.string, "consignment_id"),
        ColSpec(DataType.double, "score"),
        ColSpec(DataType.string, "band"),
        ColSpec(DataType.string, "model_version"),
        ColSpec(ANY, "office", required=False),
        ColSpec(ANY, "received_at"),
        ColSpec(DataType.string, "history"),
        ColSpec(DataType.string, "reasons", required=False),
    ]
)


def build_signature(record: type[Consignment]) -> ModelSignature:
    """Build the signature: consignment table in, score table out, and the number of reasons, 0 for that set at loading."""
    declared = list_declared_columns(record)
    columns: list[Any] = []
    for field in get_fields(record):
        kind = DataType.string if field.required and field.kind == "string" else ANY
        columns.append(ColSpec(kind, field.name, required=field.required or field.name in declared))
    columns += [ColSpec(ANY, name, required=False) for name in SEQUENCE_COLUMNS]
    params = ParamSchema([ParamSpec("reasons", DataType.long, 0)])
    return ModelSignature(inputs=Schema(columns), outputs=SCORE_SCHEMA, params=params)


def build_input_example(example: pd.DataFrame) -> pd.DataFrame:
    """Convert a consignment table to values that JSON has: times as ISO 8601, and without columns that have no value."""
    given = example.dropna(axis="columns", how="all")
    texts: dict[str, Any] = {
        name: [None if pd.isna(value) else pd.Timestamp(value).isoformat() for value in given[name]]
        for name in given.columns
        if isinstance(given[name].dtype, pd.DatetimeTZDtype)
    }
    plain: pd.DataFrame = given.assign(**texts).astype(object)
    return plain.where(plain.notna(), None)


def write_mlflow_model(
    folder: Path, bundle_dir: Path, bundle: Bundle, example: pd.DataFrame, origin: Model
) -> None:
    """Write a bundle, loaded and as its folder, and a few invented consignments as a new folder that MLflow can load."""
    record = bundle.config.build_record_type()
    kept = build_input_example(example)
    for name in list_declared_columns(record):
        kept[name] = kept.get(name)
    # MLflow says that it checks the input example, and pandas warns about MLflow's code.
    with quiet_loggers("mlflow.pyfunc"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Operation with range is deprecated", DeprecationWarning)
        mlflow.pyfunc.save_model(
            str(folder),
            loader_module=LOADER_MODULE,
            data_path=str(bundle_dir),
            mlflow_model=origin,
            signature=build_signature(record),
            input_example=kept,
            pip_requirements=[f"npsrisk=={installed_version('npsrisk')}"],
            model_config=dict(MODEL_CONFIG),
            metadata={"bundle_sha256": bundle.sha256, "spec_sha256": bundle.card.feature_spec_sha256},
        )
    columns = [asdict(field) for field in get_fields(record)]
    (folder / COLUMNS_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(columns)))
    requirements = folder / "requirements.txt"
    head = f"# npsrisk is in no public index: see {INSTALL_FILE}\n"
    requirements.write_text(head + requirements.read_text())
    text = Path(__file__).with_name(INSTALL_FILE).read_text(encoding="utf-8")
    (folder / INSTALL_FILE).write_text(text.format(version=installed_version("npsrisk")))


@contextmanager
def quiet_loggers(*names: str) -> Iterator[None]:
    """Hide messages of other packages below a warning."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
