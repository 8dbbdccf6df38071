"""Claims about the page of a replay and its runs in MLflow."""

import pandas as pd
import pytest
from mlflow import MlflowClient
from support.pages import list_fetched
from support.replayed import contest
from support.stores import create_store

from training.policy_replay.report import PAGE, build_replay_record, write_report
from training.policy_replay.results import compute_results
from training.reporting.mlflow_tracking import log_run


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder, held = tmp_path_factory.mktemp("report"), contest()
    findings = compute_results(held)
    write_report(findings, held, folder, title="Replay of <a> world")
    return findings, held, folder


def test_the_page_says_which_policy_to_run_and_its_tables_lie_beside_it(written):
    folder = written[2]
    page = (folder / PAGE).read_text()
    assert "Run explore. " in page, "the best, and not the oracle"
    assert "83.3 % of the oracle" in page
    assert "Replay of &lt;a&gt; world" in page
    assert list_fetched(page) == []
    assert page.index("<svg") < page.index("<table")
    assert page.count("<svg") == 2
    table = pd.read_parquet(folder / "tables" / "policies.parquet")
    assert table["policy"].tolist() == ["oracle", "explore", "greedy"]
    assert (folder / "tables" / "weeks.json").read_text().startswith('{"columns":["policy","seed","week"')


def test_the_same_contest_gives_the_same_bytes(written, tmp_path):
    findings, held, folder = written
    write_report(findings, held, tmp_path, title="Replay of <a> world")
    for path in folder.rglob("*.*"):
        assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_a_replay_is_a_run_with_metrics_and_charts_by_week_of_each_policy(written, tmp_path):
    store = create_store(tmp_path)
    findings, held, folder = written
    run_id = log_run(build_replay_record(findings, held, folder, "Replay"), tracking_uri=store)
    client = MlflowClient(tracking_uri=store)
    run = client.get_run(run_id)
    assert run.data.metrics["replay/explore/found"] == 2.5
    assert run.data.metrics["replay/explore/share_of_oracle"] == pytest.approx(2.5 / 3)
    assert run.data.tags["kind"] == "replay"
    chart = client.get_metric_history(run_id, "replay/explore/found_so_far_by_week")
    assert sorted((point.step, point.value) for point in chart) == [(2, 0.5), (3, 1.5), (4, 2.5)]
    assert {artifact.path for artifact in client.list_artifacts(run_id)} == {PAGE, "tables"}


def test_a_single_policy_has_a_page_without_comparisons(tmp_path):
    held = contest({"greedy": {1: (1, 0, 1)}})
    write_report(compute_results(held), held, tmp_path, title="One")
    page = (tmp_path / PAGE).read_text()
    assert "Run greedy. " in page
    assert page.count("<figure") == page.count("<figcaption>") == page.count('role="img" aria-label="') == 2
    assert "webshop" in page
