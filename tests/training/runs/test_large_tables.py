"""Claims about training on tables that are read in chunks, and on a sample of their traffic."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pandas as pd
import pytest
from click.testing import CliRunner

from consignments.files.table_writers import write_table
from consignments.parquet_stream import stream_table
from consignments.records import Alert, Consignment, Outcome
from consignments.tables import read_table
from features.batch import Tables
from features.streams import FeatureInputs
from models.bundle import load_bundle
from npsrisk import main
from training.config import parse_config
from training.runs.artifacts import build_reference, write_run_bundles
from training.runs.task import TrainingTask
from training.runs.train import TrainingResult, train_model
from training.simulation.operation import SimulatedTables, simulate
from training.simulation.parameters import load_parameters

SETTINGS = {
    "split": {"validation_days": 14, "test_days": 14, "label_delay_days": 10},
    "model": {"trees": 6},
    "evaluation": {"name_rows": 30, "smallest_slice": 10, "origins": 2},
}
CONFIG = parse_config(SETTINGS)
SAMPLED = msgspec.structs.replace(
    CONFIG, evaluation=msgspec.structs.replace(CONFIG.evaluation, traffic_rows=250)
)


@pytest.fixture(scope="module")
def world() -> SimulatedTables:
    busy = load_parameters().replace(prevalence={"operation": {"opened": 0.05}})
    return simulate(busy, days=90, per_day=50, prevalence="operation", seed=5)


@pytest.fixture(scope="module")
def folder(world: SimulatedTables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world as a folder of Parquet files."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "consignments").mkdir()
    for number, begin in enumerate(range(0, len(world.consignments), 3000)):
        part = world.consignments.iloc[begin : begin + 1500]
        write_table(part, folder / "consignments" / f"{number}.parquet")
    write_table(world.outcomes, folder / "outcomes.parquet")
    write_table(world.alerts, folder / "alerts.parquet")
    return folder


def open_inputs(folder: Path) -> FeatureInputs:
    return FeatureInputs(
        stream_table(folder / "consignments", Consignment, piece_rows=400),
        outcomes=read_table(folder / "outcomes.parquet", Outcome).frame,
        alerts=read_table(folder / "alerts.parquet", Alert).frame,
    )


def train_in_folder(world: SimulatedTables, folder: Path) -> TrainingResult:
    """Train on a sample of the traffic, with features that are kept in the folder `work`."""
    sources = {"consignments": str(folder / "consignments"), "outcomes": str(folder / "outcomes.parquet")}
    given = {"sources": sources, "work": folder / "work"}
    return train_model(TrainingTask(open_inputs(folder), None, "any_offence", SAMPLED, world.truth, **given))


@pytest.fixture(scope="module")
def sampled(world: SimulatedTables, folder: Path) -> TrainingResult:
    return train_in_folder(world, folder)


@pytest.fixture(scope="module")
def whole(world: SimulatedTables, folder: Path) -> TrainingResult:
    tables = Tables(
        read_table(folder / "consignments", Consignment).frame,
        read_table(folder / "outcomes.parquet", Outcome).frame,
        read_table(folder / "alerts.parquet", Alert).frame,
    )
    return train_model(TrainingTask(tables, None, "any_offence", CONFIG, world.truth))


def test_a_table_in_chunks_gives_the_bundles_of_the_same_table_in_memory(
    whole: TrainingResult, folder: Path, tmp_path: Path
) -> None:
    streamed = train_model(TrainingTask(open_inputs(folder), None, "any_offence", CONFIG), jobs=2)
    write_run_bundles(whole, tmp_path / "whole")
    write_run_bundles(streamed, tmp_path / "streamed")
    for name in ("bundle", "evaluation"):
        one, other = (load_bundle(tmp_path / which / name) for which in ("whole", "streamed"))
        assert one.sha256 == other.sha256
    assert (streamed.test_rows == whole.test_rows).all()
    assert len(streamed.data.observed.consignments) < streamed.consignments.rows


def test_a_sample_of_traffic_changes_no_label_and_no_fit(
    sampled: TrainingResult, whole: TrainingResult
) -> None:
    assert sampled.data_sha256 == whole.data_sha256
    assert sampled.evaluated.trees.text == whole.evaluated.trees.text
    assert sampled.final.trees.text == whole.final.trees.text
    assert sampled.data.report == whole.data.report
    assert sampled.test_traffic.labelled.sum() == whole.test_traffic.labelled.sum()


def test_a_sample_stands_for_all_traffic(sampled: TrainingResult, whole: TrainingResult) -> None:
    assert len(sampled.test_scores) < 0.6 * len(whole.test_scores)
    assert sampled.test_traffic.traffic.sum() == pytest.approx(len(whole.test_scores))
    assert [row["consignments"] for row in sampled.deployed.origins] == [
        row["consignments"] for row in whole.deployed.origins
    ]
    both = pd.Series(whole.test_scores, whole.test_rows)
    assert (both[sampled.test_rows].rank() == pd.Series(sampled.test_scores, sampled.test_rows).rank()).all()
    one, other = (each.deployed.recipe for each in (sampled, whole))
    assert one.truth is not None
    assert other.truth is not None
    assert one.model.counts.known == other.model.counts.known
    for metric in ("roc_auc", "recall_at_5pct", "recall_at_10pct"):
        assert one.truth.model[metric].value == pytest.approx(other.truth.model[metric].value, abs=0.15)


def test_the_reference_profile_counts_the_traffic_that_the_sample_stands_for(
    sampled: TrainingResult, whole: TrainingResult
) -> None:
    one, other = build_reference(sampled), build_reference(whole)
    assert sum(one.channels.values()) == pytest.approx(sum(other.channels.values()), rel=0.01)
    assert one.channels["postal"] == pytest.approx(other.channels["postal"], rel=0.1)
    assert one.expected_precision == pytest.approx(other.expected_precision, rel=0.4)


@pytest.mark.quick
def test_workers_of_a_cluster_give_the_model_of_one_machine(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed; run make scale")
    config = msgspec.structs.replace(
        SAMPLED, evaluation=msgspec.structs.replace(SAMPLED.evaluation, origins=0)
    )
    sources = {"consignments": str(folder / "consignments"), "outcomes": str(folder / "outcomes.parquet")}
    plain = TrainingTask(open_inputs(folder), None, "any_offence", config)
    shared = replace(
        plain, tables=open_inputs(folder), sources=sources, work=tmp_path / "work", cluster="local:2"
    )
    one, other = train_model(plain), train_model(shared)
    write_run_bundles(one, tmp_path / "one")
    write_run_bundles(other, tmp_path / "other")
    for name in ("bundle", "evaluation"):
        assert load_bundle(tmp_path / "one" / name).sha256 == load_bundle(tmp_path / "other" / name).sha256


def test_a_cluster_needs_a_folder_that_its_workers_see(folder: Path) -> None:
    tables = ["--consignments", str(folder / "consignments"), "--outcomes", str(folder / "outcomes.parquet")]
    found = CliRunner().invoke(main, ["train", *tables, "--dask", "local:2"])
    assert found.exit_code == 2
    assert "--dask needs --work" in found.output
