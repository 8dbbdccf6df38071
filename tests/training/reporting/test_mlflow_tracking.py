"""Claims about a run in MLflow, on a store in a folder of its own."""

import json
import subprocess

import pytest
from mlflow import MlflowClient
from support.stores import create_store

from consignments.errors import BadInput
from training.reporting import mlflow_tracking
from training.reporting.tables import RunTable

METRICS = {"deployed/roc_auc": 0.8, "deployed/roc_auc_low": 0.7, "deployed/recall_at_1pct": float("nan")}
CAPACITY = RunTable([{"capacity": "1pct", "recall": 0.5}])
TAGS = {"as_of": "2024-07-01", "target": "nps", "data_sha256": "ab" * 32, "verdict": "better"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return create_store(tmp_path_factory.mktemp("store"))


def record(**changes):
    fields = {
        "name": "nps, as of 2024-07-01",
        "description": "# A run",
        "tags": TAGS,
        "params": {"split.test_days": 28},
        "metrics": METRICS,
        "tables": {"capacity": CAPACITY, "empty": RunTable([], ("capacity",))},
        "files": {"report.html": "<h1>a run</h1>"},
        "inputs": {"consignments": mlflow_tracking.InputTable(1000)},
    }
    return mlflow_tracking.RunRecord(**(fields | changes))


@pytest.fixture(scope="module")
def logged(store):
    client = MlflowClient(tracking_uri=store)
    return client, client.get_run(mlflow_tracking.log_run(record(), tracking_uri=store))


def test_the_folder_becomes_the_artifacts_beside_the_store_and_mlflow_compares_its_tables(logged, store):
    client, run = logged
    tables = json.loads(run.data.tags["mlflow.loggedArtifacts"])
    assert [each["path"] for each in tables] == ["tables/capacity.json", "tables/empty.json"]
    assert {item.path for item in client.list_artifacts(run.info.run_id)} == {"report.html", "tables"}
    assert "/mlartifacts/" in run.info.artifact_uri
    folder = store.removeprefix("sqlite:///").removesuffix("mlflow.db")
    assert run.info.artifact_uri.removeprefix("file://").startswith(folder)


def test_a_record_lists_what_it_logs_and_its_folder_comes_too(store, tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "model.json").write_text("{}")
    made = record(folder=tmp_path).add_files({"evidence.json": b"{}"})
    files = {"tables/capacity.json", "tables/empty.json", "report.html", "evidence.json"}
    assert made.list_files().keys() == files
    run_id = mlflow_tracking.log_run(made, tracking_uri=store)
    paths = {item.path for item in MlflowClient(tracking_uri=store).list_artifacts(run_id)}
    assert paths == {"tables", "report.html", "evidence.json", "bundle"}


def test_addresses_open_the_runs_the_run_and_the_version(logged, store):
    run = logged[1].info
    found = mlflow_tracking.build_addresses(store, run.run_id, "models:/nps-risk/3")
    assert found == {
        "runs": f"http://127.0.0.1:5000/#/experiments/{run.experiment_id}/runs?workflowType=machine_learning",
        "run": f"http://127.0.0.1:5000/#/experiments/{run.experiment_id}/runs/{run.run_id}",
        "version": "http://127.0.0.1:5000/#/models/nps-risk/versions/3",
    }


def test_an_interrupted_run_is_killed_and_a_fault_is_named(store):
    client = MlflowClient(tracking_uri=store)
    stopped = mlflow_tracking.open_run("stopped", TAGS, tracking_uri=store)
    with pytest.raises(KeyboardInterrupt), stopped as run:
        raise KeyboardInterrupt
    assert client.get_run(run.run_id).info.status == "KILLED"
    with pytest.raises(BadInput), mlflow_tracking.open_run("at fault", TAGS, tracking_uri=store) as run:
        raise BadInput("no positives", where="outcomes")
    assert client.get_run(run.run_id).data.tags["error"] == "outcomes: no positives"


def test_a_bound_that_means_zero_is_zero_and_the_last_bits_are_dropped(store):
    metrics = {"test/recall_at_1pct_low": 2.2e-308, "test/roc_auc_high": 1.0000000000000002}
    run_id = mlflow_tracking.log_run(record(metrics=metrics), tracking_uri=store)
    found = MlflowClient(tracking_uri=store).get_run(run_id).data.metrics
    assert found == {"test/recall_at_1pct_low": 0.0, "test/roc_auc_high": 1.0}


def test_the_experiment_says_how_to_read_it_and_keeps_a_persons_text(logged, store):
    client, run = logged
    tags = client.get_experiment(run.info.experiment_id).tags
    for words in ("How to read", "Model training", "deployed/truth/METRIC", "npsrisk publish"):
        assert words in tags["mlflow.note.content"]
    client.set_experiment_tag(run.info.experiment_id, "mlflow.note.content", "ours")
    mlflow_tracking.log_run(record(), tracking_uri=store)
    assert client.get_experiment(run.info.experiment_id).tags["mlflow.note.content"] == "ours"


def test_a_run_names_the_commit_of_a_checkout_and_none_of_a_project_around_a_wheel(tmp_path):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    commit = mlflow_tracking.read_git_commit(tmp_path)
    assert len(commit) == 40
    (tmp_path / "site-packages").mkdir()
    assert mlflow_tracking.read_git_commit(tmp_path / "site-packages") is None
    assert mlflow_tracking.describe_origin("training")["mlflow.source.name"] == "npsrisk training"
