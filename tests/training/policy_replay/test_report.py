"""Claims about the page of a replay and its runs in MLflow."""

import re

import pandas as pd
import pytest
from mlflow import MlflowClient
from support.replayed import contest
from support.stores import create_store

from training.policy_replay.report import FIGURE_TEXTS, PAGE, log_replay, write_report
from training.policy_replay.results import compute_results

# MLflow 3.17 maps its tables with a loader that SQLAlchemy 2.1 will drop.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder, held = tmp_path_factory.mktemp("report"), contest()
    findings = compute_results(held)
    write_report(findings, held, folder, title="Replay of <a> world")
    return findings, held, folder


def test_the_page_needs_nothing_else_and_shows_pictures_before_tables(written):
    page = (written[2] / PAGE).read_text()
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)""", page)
    assert page.index("<svg") < page.index("<table")
    assert page.count("<svg") == 5


def test_the_page_says_which_policy_to_run(written):
    page = (written[2] / PAGE).read_text()
    assert "Run explore. " in page
    assert "Replay of &lt;a&gt; world" in page


def test_the_same_contest_gives_the_same_bytes(written, tmp_path):
    findings, held, folder = written
    write_report(findings, held, tmp_path, title="Replay of <a> world")
    for path in folder.rglob("*.*"):
        assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_the_tables_lie_beside_the_page(written):
    table = pd.read_parquet(written[2] / "tables" / "policies.parquet")
    assert table["policy"].tolist() == ["oracle", "explore", "greedy"]
    assert (written[2] / "tables" / "weeks.json").read_text().startswith('{"columns":["policy","seed","week"')


def test_each_policy_and_seed_is_a_run_under_one_parent_with_charts_by_week(written, tmp_path):
    store = create_store(tmp_path)
    findings, held, folder = written
    parent = log_replay(findings, held, folder, title="Replay", tracking_uri=store)
    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("nps-risk")
    runs = client.search_runs([experiment.experiment_id])
    children = {run.info.run_name: run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent}
    assert sorted(children) == sorted(
        f"{p}, seed {s}" for p in ("explore", "greedy", "oracle") for s in (1, 2)
    )
    mine = children["explore, seed 1"]
    assert mine.data.metrics["replay/nps_found"] == 2
    assert mine.data.metrics["replay/share_of_oracle"] == pytest.approx(2 / 3)
    chart = client.get_metric_history(mine.info.run_id, "replay/nps_found_so_far_by_week")
    assert sorted((point.step, point.value) for point in chart) == [(2, 0), (3, 1), (4, 2)]
    assert client.get_run(parent).data.metrics["replay/explore/found"] == 2.5
    assert {artifact.path for artifact in client.list_artifacts(parent)} == {PAGE, "tables"}


def test_a_single_policy_has_a_page_without_comparisons(tmp_path):
    held = contest({"greedy": {1: (1, 0, 1)}})
    write_report(compute_results(held), held, tmp_path, title="One")
    page = (tmp_path / PAGE).read_text()
    assert "Run greedy. " in page
    assert FIGURE_TEXTS["events"][0] not in page
    assert page.count("<figure") == page.count("<figcaption>") == len(FIGURE_TEXTS) - 1
    for name in ("cumulative", "total", "weekly", "missed"):
        label, caption = FIGURE_TEXTS[name]
        assert f'role="img" aria-label="{label}"' in page
        assert caption in page
