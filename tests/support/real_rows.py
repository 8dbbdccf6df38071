"""Rows of the real features, given by the few that matter to a test."""

import numpy as np

from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline

REAL = Pipeline(FeatureConfig(), FittedParameters.create_empty(), Pseudonyms(bytes(32))).spec


def row_with(**values: float) -> np.ndarray:
    """Give a row of the real features, all missing but these; a double underscore stands for a point."""
    row = np.full(len(REAL), np.nan, dtype=np.float32)
    for name, value in values.items():
        row[REAL.get_column(name.replace("__", "."))] = value
    return row
