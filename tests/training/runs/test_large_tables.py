"""Claims about training on tables that are read in chunks, and on a sample of their traffic."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pandas as pd
import pytest
from click.testing import CliRunner
from support.trained_run import CONFIG, TARGET, SharedRun

from consignments.files.table_writers import write_table
from consignments.parquet_stream import stream_table
from consignments.records import Alert, Consignment, Outcome
from consignments.tables import read_table
from features.streams import FeatureInputs
from models.bundle import MANIFEST, load_bundle
from npsrisk import main
from training.config import TrainConfig
from training.data.data_hash import hash_tables
from training.runs.artifacts import build_reference, write_run_bundles
from training.runs.task import TrainingTask
from training.runs.train import TrainingResult, train_model


def sample_traffic(**evaluation: int) -> TrainConfig:
    few = msgspec.structs.replace(CONFIG.evaluation, traffic_rows=500, **evaluation)
    return msgspec.structs.replace(CONFIG, evaluation=few)


@pytest.fixture(scope="module")
def whole(shared_run: SharedRun) -> TrainingResult:
    return shared_run.run.trained


@pytest.fixture(scope="module")
def folder(shared_run: SharedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of the shared run as Parquet files."""
    return write_tables(shared_run, tmp_path_factory.mktemp("world"))


def write_tables(shared: SharedRun, folder: Path) -> Path:
    (folder / "consignments").mkdir()
    rows = shared.world.consignments
    for number, begin in enumerate(range(0, len(rows), 1500)):
        write_table(rows.iloc[begin : begin + 1500], folder / "consignments" / f"{number}.parquet")
    write_table(shared.world.outcomes, folder / "outcomes.parquet")
    write_table(shared.world.alerts, folder / "alerts.parquet")
    return folder


def open_inputs(folder: Path) -> FeatureInputs:
    return FeatureInputs(
        stream_table(folder / "consignments", Consignment, piece_rows=400),
        outcomes=read_table(folder / "outcomes.parquet", Outcome).frame,
        alerts=read_table(folder / "alerts.parquet", Alert).frame,
    )


def name_sources(folder: Path) -> dict[str, str]:
    return {"consignments": str(folder / "consignments"), "outcomes": str(folder / "outcomes.parquet")}


def read_fits(folder: Path) -> dict[str, object]:
    """Read the files of both fits, of the card without the hash of the data."""
    files = [path for name in ("bundle", "evaluation") for path in (folder / name).iterdir()]
    fits: dict[str, object] = {f"{each.parent.name}/{each.name}": each.read_bytes() for each in files}
    for name in ("bundle", "evaluation"):
        del fits[f"{name}/{MANIFEST}"]
        fits[f"{name}/model.json"] = json.loads(fits[f"{name}/model.json"]) | {"data_sha256": ""}
    return fits


def test_neither_chunks_nor_jobs_nor_what_came_after_the_date_change_a_fit_or_a_score(
    shared_run: SharedRun, whole: TrainingResult, tmp_path: Path
) -> None:
    world, as_of = shared_run.world, pd.Timestamp(shared_run.as_of)
    last = world.consignments.tail(50)
    later = last.assign(
        consignment_id=[f"later-{n}" for n in range(50)],
        received_at=last["received_at"] + pd.Timedelta(days=200),
    )
    visible = world.outcomes[world.outcomes["known_at"] <= as_of]
    corrected = visible.assign(result="nps", known_at=as_of + pd.Timedelta(days=1))
    more = replace(
        world,
        consignments=pd.concat([world.consignments, later], ignore_index=True),
        outcomes=pd.concat([world.outcomes, corrected], ignore_index=True),
    )
    folder = write_tables(replace(shared_run, world=more), tmp_path)
    task = TrainingTask(open_inputs(folder), shared_run.as_of, TARGET, CONFIG)
    streamed = train_model(task, jobs=2)
    write_run_bundles(streamed, tmp_path)
    assert read_fits(tmp_path) == read_fits(shared_run.folder)
    assert (streamed.test_rows == whole.test_rows).all()
    assert (streamed.test_scores == whole.test_scores).all()
    assert streamed.data_sha256 != whole.data_sha256
    assert len(streamed.data.observed.consignments) < streamed.consignments.rows


@pytest.fixture(scope="module")
def sampled(shared_run: SharedRun, folder: Path) -> TrainingResult:
    """The shared run again on a sample of the traffic, with features that are kept in the folder `work`."""
    given = {"sources": name_sources(folder), "work": folder / "work"}
    truth = shared_run.world.truth
    return train_model(TrainingTask(open_inputs(folder), None, TARGET, sample_traffic(), truth, **given))


def test_a_sample_of_traffic_changes_no_hash_no_label_and_no_fit(
    sampled: TrainingResult, whole: TrainingResult, folder: Path
) -> None:
    frame, inputs = read_table(folder / "consignments", Consignment).frame, open_inputs(folder)
    tables = {"consignments": frame, "outcomes": inputs.outcomes, "alerts": inputs.alerts}
    assert sampled.data_sha256 == hash_tables(tables)
    assert sampled.evaluated.trees.text == whole.evaluated.trees.text
    assert sampled.final.trees.text == whole.final.trees.text
    assert sampled.data.report == whole.data.report
    assert sampled.test_traffic.labelled.sum() == whole.test_traffic.labelled.sum()


def test_a_sample_stands_for_all_traffic(sampled: TrainingResult, whole: TrainingResult) -> None:
    assert len(sampled.test_scores) < 0.6 * len(whole.test_scores)
    assert sampled.test_traffic.traffic.sum() == pytest.approx(len(whole.test_scores))
    counts, expected = ([row["consignments"] for row in each.deployed.origins] for each in (sampled, whole))
    assert counts == expected
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
    plain = TrainingTask(open_inputs(folder), None, TARGET, sample_traffic(origins=0))
    given = {"sources": name_sources(folder), "work": tmp_path / "work"}
    shared = replace(plain, tables=open_inputs(folder), cluster="local:2", **given)
    one, other = train_model(plain), train_model(shared)
    for trained, name in ((one, "one"), (other, "other")):
        write_run_bundles(trained, tmp_path / name)
    for name in ("bundle", "evaluation"):
        assert load_bundle(tmp_path / "one" / name).sha256 == load_bundle(tmp_path / "other" / name).sha256


def test_a_cluster_needs_a_folder_that_its_workers_see(folder: Path) -> None:
    tables = [word for name, path in name_sources(folder).items() for word in (f"--{name}", path)]
    found = CliRunner().invoke(main, ["train", *tables, "--dask", "local:2"])
    assert found.exit_code == 2
    assert "--dask needs --work" in found.output
