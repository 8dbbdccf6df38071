"""Claims about the features of the kept rows of tables of any length."""

import numpy as np
import pyarrow.parquet as parquet
import pytest
from support.trained_run import open_inputs, write_tables

from consignments.files.part_folder import PartFolder
from features.batch import ComputeOptions, Tables
from features.config import FeatureConfig
from features.streams import FeatureInputs, compute_feature_matrix
from training.data import table_features
from training.data.table_features import TableFeatures
from training.simulation.operation import simulate


def test_an_interrupted_computation_continues_after_its_last_part(tmp_path, monkeypatch):
    made = simulate(days=25, per_day=30, prevalence="operation", seed=3)
    keep = np.random.default_rng(1).random(len(made.consignments)) < 0.3
    expected = compute_feature_matrix(Tables(made.consignments, made.outcomes, made.alerts), keep=keep).X
    inputs = FeatureInputs.to_repeatable(open_inputs(write_tables(made, tmp_path)))
    monkeypatch.setattr("consignments.files.part_folder.PART_ROW_GROUPS", 1)
    monkeypatch.setattr("consignments.files.table_writers.ROW_GROUP_ROWS", 50)
    stream, wanted = table_features.stream_features, []

    def end_early(*given, **options):
        wanted.append(int(options["wanted"].sum()))
        for number, chunk in enumerate(stream(*given, piece_rows=64, **options)):
            if len(wanted) == 1 and number == 8:
                raise KeyboardInterrupt
            yield chunk

    monkeypatch.setattr(table_features, "stream_features", end_early)

    def compute():
        with PartFolder.open(tmp_path / "work", {"made": "by a test"}) as folder:
            given = inputs, FeatureConfig(), np.flatnonzero(keep), ComputeOptions(), folder
            return TableFeatures.compute(*given).unfitted.X.tobytes()

    with pytest.raises(KeyboardInterrupt):
        compute()
    assert compute() == expected.tobytes()
    assert compute() == expected.tobytes()
    assert len(wanted) == 2, "a finished folder is only read"
    assert 0 < wanted[1] < wanted[0] == keep.sum()
    files = (tmp_path / "work").glob("*.parquet")
    assert "consignment_id" not in {name for path in files for name in parquet.read_schema(path).names}
