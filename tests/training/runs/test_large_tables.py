"""Claims about training on a sample of the traffic of large tables, and on a cluster."""

from dataclasses import replace

import msgspec
import pandas as pd
import pytest
from support.trained_run import CONFIG, TARGET, open_inputs, write_tables

from consignments.records import Consignment
from consignments.tables import read_table
from models.bundle import load_bundle
from training.data.data_hash import hash_tables
from training.runs.artifacts import build_reference, write_run_bundles
from training.runs.task import TrainingTask
from training.runs.train import train_model


def sample_traffic(**evaluation):
    few = msgspec.structs.replace(CONFIG.evaluation, traffic_rows=500, **evaluation)
    return msgspec.structs.replace(CONFIG, evaluation=few)


@pytest.fixture(scope="module")
def folder(shared_run, tmp_path_factory):
    return write_tables(shared_run.world, tmp_path_factory.mktemp("world"))


def name_sources(folder):
    return {"consignments": str(folder / "consignments"), "outcomes": str(folder / "outcomes.parquet")}


@pytest.fixture(scope="module")
def sampled(shared_run, folder):
    """The shared run again on a sample of the traffic, with features that are kept in the folder `work`."""
    given = {"sources": name_sources(folder), "work": folder / "work"}
    truth = shared_run.world.truth
    return train_model(TrainingTask(open_inputs(folder), None, TARGET, sample_traffic(), truth, **given))


@pytest.mark.slow
def test_a_sample_of_traffic_changes_no_fit(sampled, trained, folder):
    frame, inputs = read_table(folder / "consignments", Consignment).frame, open_inputs(folder)
    tables = {"consignments": frame, "outcomes": inputs.outcomes, "alerts": inputs.alerts}
    assert sampled.data_sha256 == hash_tables(tables)
    assert sampled.evaluated.trees.text == trained.evaluated.trees.text
    assert sampled.final.trees.text == trained.final.trees.text
    assert sampled.data.report == trained.data.report
    assert sampled.test_traffic.labelled.sum() == trained.test_traffic.labelled.sum()


@pytest.mark.slow
def test_a_sample_stands_for_all_traffic(sampled, trained):
    assert len(sampled.test_traffic.score) < 0.6 * len(trained.test_traffic.score)
    assert sampled.test_traffic.traffic.sum() == pytest.approx(len(trained.test_traffic.score))
    counts, expected = ([row["consignments"] for row in each.deployed.origins] for each in (sampled, trained))
    assert counts == expected
    mine, whole = (pd.Series(each.test_traffic.score, each.test_rows) for each in (sampled, trained))
    assert (whole[sampled.test_rows].rank() == mine.rank()).all()
    one, other = (each.deployed.recipe for each in (sampled, trained))
    assert one.model.counts.known == other.model.counts.known
    for metric in ("roc_auc", "recall_at_5pct", "recall_at_10pct"):
        assert one.truth.model[metric].value == pytest.approx(other.truth.model[metric].value, abs=0.15)


@pytest.mark.slow
def test_the_reference_profile_counts_all_traffic(sampled, trained):
    one, other = build_reference(sampled), build_reference(trained)
    assert sum(one.channels.values()) == pytest.approx(sum(other.channels.values()), rel=0.01)
    assert one.channels["postal"] == pytest.approx(other.channels["postal"], rel=0.1)
    assert one.expected_precision == pytest.approx(other.expected_precision, rel=0.4)


@pytest.mark.quick
def test_workers_of_a_cluster_give_the_model_of_one_machine(folder, tmp_path):
    pytest.importorskip("distributed", reason="Dask is not installed; run make scale")
    plain = TrainingTask(open_inputs(folder), None, TARGET, sample_traffic(origins=0))
    given = {"sources": name_sources(folder), "work": tmp_path / "work"}
    shared = replace(plain, tables=open_inputs(folder), cluster="local:2", **given)
    one, other = train_model(plain), train_model(shared)
    for made, name in ((one, "one"), (other, "other")):
        write_run_bundles(made, tmp_path / name)
    for name in ("bundle", "evaluation"):
        assert load_bundle(tmp_path / "one" / name).sha256 == load_bundle(tmp_path / "other" / name).sha256
