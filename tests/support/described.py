"""The features of one consignment, as the kernels write them, by name; and rows of the features, given by the few that matter to a test."""

from dataclasses import replace
from typing import Any

import numpy as np

from consignments.records import Consignment
from features.alerts.alerts import Alerts
from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.history.pseudonyms import Pseudonyms
from features.normalization.normal_forms import normalize_consignment
from features.pipeline import Pipeline

PSEUDONYMS = Pseudonyms(b"a key for tests")
PLAIN = FeatureConfig()


def build_pipeline(config: FeatureConfig = PLAIN, **fitted: Any) -> Pipeline:
    """Build a pipeline with some fitted parameters: `vocabularies`, `norms`, `rates` or `text_weights`."""
    return Pipeline(config, replace(FittedParameters.create_empty(), **fitted), PSEUDONYMS)


def describe_by_name(pipeline: Pipeline, c: Consignment) -> dict[str, float]:
    """Return all features but history."""
    X = np.full((1, pipeline.history_at), -9, np.float32)
    keys = np.zeros((2, 1, len(pipeline.kinds)), np.uint64)
    pipeline.fill_rows([c], X, *keys)
    return dict(zip(pipeline.spec.names, X[0].tolist(), strict=False))


def describe_group(group: str, pipeline: Pipeline, c: Consignment) -> dict[str, float]:
    """Return the features of a group, without its name."""
    found, prefix = describe_by_name(pipeline, c), f"{group}."
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}


def describe_alerts(alerts: Alerts, c: Consignment, sequence: int | None = None) -> dict[str, float]:
    """Return the features of alerts, at a place in the log, without the name of their group."""
    names = [feature.name.removeprefix("alerts.") for feature in alerts.features]
    return dict(zip(names, alerts.compute(c, normalize_consignment(c), sequence), strict=True))


REAL = build_pipeline().spec


def row_with(**values: float) -> np.ndarray:
    """Give a row of the features, all missing but these; a double underscore stands for a point."""
    row = np.full(len(REAL), np.nan, dtype=np.float32)
    for name, value in values.items():
        row[REAL.get_column(name.replace("__", "."))] = value
    return row
