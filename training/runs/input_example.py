"""Invented consignments as an input example of a model; no real person is in them."""

from pathlib import Path

import msgspec
import pandas as pd

from consignments.tables import build_frame
from features.config import FeatureConfig

EXAMPLE = Path(__file__).with_suffix(".json")


def build_example_consignments(config: FeatureConfig) -> pd.DataFrame:
    """Build a table of two invented consignments as an input example of a model."""
    record = config.build_record_type()
    rows = [msgspec.convert(row, record) for row in msgspec.json.decode(EXAMPLE.read_bytes())]
    frame: pd.DataFrame = build_frame(rows, record)
    return frame
