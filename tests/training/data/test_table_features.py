"""Claims about the features of the kept rows of tables of any length."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from consignments.files.part_folder import PartFolder
from consignments.files.table_writers import write_table
from consignments.parquet_stream import stream_table
from consignments.records import Consignment
from features.batch import ComputeOptions, Tables
from features.config import FeatureConfig
from features.streams import FeatureInputs, compute_feature_matrix
from training.data import table_features
from training.data.table_features import TableFeatures
from training.simulation.operation import simulate

CONFIG = FeatureConfig()


@pytest.fixture(scope="module")
def tables() -> Tables:
    made = simulate(days=25, per_day=30, prevalence="operation", seed=3)
    return Tables(made.consignments, made.outcomes, made.alerts)


@pytest.fixture(scope="module")
def rows(tables: Tables) -> NDArray[np.int64]:
    return np.flatnonzero(np.random.default_rng(1).random(len(tables.consignments)) < 0.3)


@pytest.fixture(scope="module")
def expected(tables: Tables, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    keep = np.zeros(len(tables.consignments), dtype=bool)
    keep[rows] = True
    return np.asarray(compute_feature_matrix(tables, keep=keep).X)


@pytest.fixture
def inputs(tables: Tables, tmp_path: Path) -> FeatureInputs:
    """The tables as a folder of Parquet files, read in chunks of 64 rows."""
    folder = tmp_path / "consignments"
    folder.mkdir()
    for number, begin in enumerate(range(0, len(tables.consignments), 200)):
        write_table(tables.consignments.iloc[begin : begin + 200], folder / f"{number}.parquet")
    stream = stream_table(folder, Consignment, piece_rows=64)
    return FeatureInputs.to_repeatable(FeatureInputs(stream, (), tables.outcomes, tables.alerts))


def test_an_interrupted_computation_continues_after_its_last_part(
    inputs: FeatureInputs,
    rows: NDArray[np.int64],
    expected: NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("consignments.files.part_folder.PART_ROW_GROUPS", 1)
    monkeypatch.setattr("consignments.files.table_writers.ROW_GROUP_ROWS", 50)
    stream, wanted = table_features.stream_features, []

    def end_early(*given: Any, **options: Any) -> Iterator[Any]:
        wanted.append(int(options["wanted"].sum()))
        for number, chunk in enumerate(stream(*given, piece_rows=64, **options)):
            if len(wanted) == 1 and number == 8:
                raise KeyboardInterrupt
            yield chunk

    monkeypatch.setattr(table_features, "stream_features", end_early)

    def compute() -> NDArray[np.float32]:
        with PartFolder.open(tmp_path / "work", {"made": "by a test"}) as folder:
            return TableFeatures.compute(inputs, CONFIG, rows, ComputeOptions(), folder).X

    with pytest.raises(KeyboardInterrupt):
        compute()
    assert compute().tobytes() == expected.tobytes()
    assert compute().tobytes() == expected.tobytes()
    assert len(wanted) == 2, "a finished folder is only read"
    assert 0 < wanted[1] < wanted[0] == len(rows)
    names = {column for path in (tmp_path / "work").glob("*.parquet") for column in read_columns(path)}
    assert "consignment_id" not in names


def read_columns(path: Path) -> list[str]:
    import pyarrow.parquet as parquet

    names: list[str] = parquet.read_schema(path).names
    return names
