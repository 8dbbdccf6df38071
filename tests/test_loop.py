"""The whole loop by its own commands: simulate, train, promote, publish, import, serve; and one score four ways."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from support.serving_examples import free_port, wait_until_ready
from support.stores import create_store

from consignments.files.table_writers import write_table
from consignments.records import Consignment
from consignments.tables import check_frame
from models.registry import Registry
from models.signatures.key_holders import Approvers
from npsrisk import main
from training.gate.rules import REFIT_RULE
from training.runs.evidence import fetch_evidence

Answers = dict[str, tuple[float, str]]
"""Score and reasons of each consignment; the reasons as they were written."""
NPSRISK = Path(sys.executable).with_name("npsrisk")
CONFIG = """
[split]
validation_days = 14
test_days = 14
label_delay_days = 10
[model]
trees = 5
[columns]
numeric = ["shelf"]
[evaluation]
origins = 0
name_rows = 30
"""


class Answer(msgspec.Struct):
    """What of an answer is compared."""

    consignment_id: str
    score: float
    reasons: msgspec.Raw


class Bulk(msgspec.Struct):
    """The answers to a list."""

    scores: list[Answer]
    errors: list[object]


class Loop:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ours = ("NPSRISK_", "MLFLOW_", "PYTHON")
        self.environment = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
        self.environment["MLFLOW_TRACKING_URI"] = create_store(folder)
        self.environment["PATH"] = f"{NPSRISK.parent}{os.pathsep}{os.environ['PATH']}"

    def run(self, *words: str) -> Result:
        with contextlib.chdir(self.folder):
            return CliRunner(env=self.environment).invoke(main, words)

    def npsrisk(self, *words: str) -> str:
        done = self.run(*words)
        assert done.exit_code == 0, done.output[-3000:]
        return done.stdout

    def json(self, *words: str) -> dict[str, Any]:
        return json.loads(self.npsrisk(*words, "--json").splitlines()[-1])

    def run_apart(self, threads: int, *words: str) -> None:
        """Run a verb in a process with so many threads and an order of sets of its own."""
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "PYTHONHASHSEED")
        own = self.environment | dict.fromkeys(names, str(threads))
        done = subprocess.run([NPSRISK, *words], cwd=self.folder, env=own, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]

    def name_history(self) -> dict[str, str]:
        files = {"history": "past", "outcomes": "outcomes", "alerts": "alerts"}
        return {option: str(self.folder / f"{name}.parquet") for option, name in files.items()}


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """A loop up to the published model and imported history."""
    loop = Loop(tmp_path_factory.mktemp("loop"))
    (loop.folder / "config.toml").write_text(CONFIG)
    (loop.folder / "lane.toml").write_text("[prevalence.operation]\nnps = 0.04\nopened = 0.15\n")
    size = ("--days=70", "--per-day=50", "--prevalence=operation", "--world=lane.toml")
    loop.npsrisk("simulate", "--out", "world", *size)
    world = loop.folder / "world"
    consignments = pd.read_parquet(world / "consignments.parquet")
    outcomes = pd.read_parquet(world / "outcomes.parquet")
    last_day = consignments["received_at"].max().floor("D")
    known = outcomes["known_at"].fillna(outcomes["inspected_at"]).fillna(outcomes["selected_at"]) < last_day
    past = consignments[consignments["received_at"] < last_day]
    # What is withdrawn later is not known yet, as what is found later is not.
    past = past.assign(cancelled_at=past["cancelled_at"].where(past["cancelled_at"] < last_day))
    past.assign(shelf=range(len(past))).to_parquet(loop.folder / "past.parquet", index=False)
    outcomes[known].to_parquet(loop.folder / "outcomes.parquet", index=False)
    shutil.copy(world / "alerts.parquet", loop.folder / "alerts.parquet")
    new = consignments[consignments["received_at"] >= last_day].head(25)
    write_table(check_frame(new, Consignment).frame.assign(shelf=7.0), loop.folder / "new.jsonl")
    loop.npsrisk("keys", "create", "--name", "a test")
    assert loop.json(*TRAIN, "--key", ".npsrisk/approver.key")["version"] == "1"
    approved = ("--approved-by", "a test", "--why", "to try the loop")
    # The gate repeats the training, in another process with other threads and another order of sets.
    loop.run_apart(2, "promote", "1", *approved, "--force", *TABLES)
    loop.npsrisk("publish")
    loop.npsrisk("import", *TABLES)
    return loop


TABLES = ("--consignments", "past.parquet", "--outcomes", "outcomes.parquet", "--alerts", "alerts.parquet")
TRAIN = ("train", *TABLES, "--truth", "world/truth.parquet", "--config", "config.toml", "--register")
HISTORY = ("--history", "past.parquet", "--outcomes", "outcomes.parquet", "--alerts", "alerts.parquet")


@pytest.fixture(scope="module")
def batch(loop: Loop) -> Answers:
    options = ("--reasons", "4", "--out", "scores.parquet")
    loop.npsrisk("score", "--consignments", "new.jsonl", *HISTORY, *options)
    return read_answers(pd.read_parquet(loop.folder / "scores.parquet"))


def read_answers(table: pd.DataFrame) -> Answers:
    both = zip(table["score"], table["reasons"], strict=True)
    return dict(zip(table["consignment_id"], both, strict=True))


@pytest.fixture(scope="module")
def service(loop: Loop) -> Iterator[httpx.Client]:
    url = f"http://127.0.0.1:{free_port()}"
    command = [NPSRISK, "serve", "--port", url.split(":")[-1]]
    given: dict[str, Any] = {"cwd": loop.folder, "env": loop.environment, "start_new_session": True}
    with (
        (loop.folder / "server.log").open("ab") as log,
        subprocess.Popen(command, **given, stdout=log, stderr=log) as process,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        try:
            wait_until_ready(process, f"{url}/health/ready")
            yield client
        finally:
            if process.poll() is None:
                os.killpg(process.pid, 15)


def announced(loop: Loop) -> list[dict[str, Any]]:
    """The new consignments as an inspection system sends them."""
    lines = (loop.folder / "new.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if value is not None} for line in lines]


def test_the_service_agrees_with_the_batch(loop: Loop, batch: Answers, service: httpx.Client) -> None:
    rows, path = announced(loop), "/v1/scores?reasons=4"
    rows.sort(key=lambda row: (row["received_at"], row["consignment_id"]))
    single = service.post(path, json=rows[0]).content
    bulk = msgspec.json.decode(service.post(path, json={"consignments": rows[1:]}).content, type=Bulk)
    assert bulk.errors == []
    answers = [msgspec.json.decode(single, type=Answer), *bulk.scores]
    assert {each.consignment_id: (each.score, bytes(each.reasons).decode()) for each in answers} == batch
    assert len({reasons for _, reasons in batch.values()}) > 2


def test_the_registered_model_agrees_with_the_batch_to_the_bit(loop: Loop, batch: Answers) -> None:
    import mlflow

    mlflow.set_tracking_uri(loop.environment["MLFLOW_TRACKING_URI"])
    config = loop.name_history() | {"reasons": 4}
    model = mlflow.pyfunc.load_model("models:/nps-risk@champion", model_config=config)
    table = model.predict(pd.DataFrame(announced(loop)))
    assert read_answers(table) == batch
    assert set(table["model_version"]) == {"1"}


def test_import_is_refused_beside_a_running_service(loop: Loop, service: httpx.Client) -> None:
    refused = loop.run("import", *TABLES)
    assert refused.exit_code == 2
    assert "another process uses this state directory" in refused.stderr


def test_equal_tables_give_an_equal_bundle_elsewhere_and_others_are_told_by_their_hash(loop: Loop) -> None:
    (signed,) = Registry(loop.environment["MLFLOW_TRACKING_URI"]).list_signed_records("nps-risk")
    assert signed.record.rules[REFIT_RULE]["held"] is True
    pd.read_parquet(loop.folder / "outcomes.parquet").iloc[:-1].to_parquet(loop.folder / "fewer.parquet")
    fewer = [word.replace("outcomes.parquet", "fewer.parquet") for word in TABLES]
    rule = json.loads(loop.run("gate", "1", *fewer, "--json").stdout.splitlines()[-1])["rules"][REFIT_RULE]
    assert rule["held"] is False
    assert rule["found"].startswith("the tables are not those it was trained on: hash ")


def test_a_training_run_with_a_key_signs_its_tables_and_bundles(loop: Loop) -> None:
    registry = Registry(loop.environment["MLFLOW_TRACKING_URI"])
    version = registry.resolve("champion")
    approvers = Approvers.read(loop.folder / ".npsrisk" / "approvers.toml")
    about = {"bundle": registry.fetch_bundle(version).sha256}
    trusted = {"approvers": approvers, "at": datetime.now(UTC)}
    found = fetch_evidence(registry, version.run_id, about, kind="training", **trusted)
    assert (found.signer, found.doubt) == ("a test", "")
    assert {"config.json", "tables/leaks.json"} <= found.files.keys()
    assert found.evidence.data_sha256 == version.tags["data_sha256"]


def test_later_traffic_is_watched_with_a_verdict_a_page_and_a_run(loop: Loop) -> None:
    import mlflow

    last = pd.read_parquet(loop.folder / "past.parquet", columns=["received_at"])["received_at"].max()
    begins = f"{last - pd.Timedelta(days=10):%Y-%m-%d}"
    watched = loop.json("drift", *TABLES, "--from", begins, "--out", "drift.html")
    assert (watched["verdict"], watched["reasons"]) == ("insufficient data", []), "all days were learnt from"
    assert "<svg" in (loop.folder / "drift.html").read_text()
    client = mlflow.MlflowClient(loop.environment["MLFLOW_TRACKING_URI"])
    tags = client.get_run(watched["run_id"]).data.tags
    expected = ("drift", watched["verdict"], "models:/nps-risk/1")
    assert (tags["kind"], tags["verdict"], tags["model"]) == expected
    assert "drift.html" in {item.path for item in client.list_artifacts(watched["run_id"])}


def test_what_the_service_logged_is_computed_anew_and_exported(loop: Loop, service: httpx.Client) -> None:
    proven = loop.json("parity")
    assert proven["equal"]
    assert proven["compared"] == proven["decisions"] == len(announced(loop))
    exported = loop.json("export", "--out", "exported", "--personal")
    walked = loop.json("verify-log", "--head", exported["head"])
    assert (walked["fault"], walked["kept_at"]) == ("", exported["last_sequence"])


@pytest.mark.slow
def test_an_export_scores_to_the_same_bits_and_trains(loop: Loop, service: httpx.Client) -> None:
    assert service.post("/v1/scores", json={"consignments": announced(loop)}).status_code == 200
    loop.npsrisk("export", "--out", "whole", "--personal")
    tables = [f"--{name}=whole/{name}.parquet" for name in ("consignments", "outcomes", "alerts")]
    loop.npsrisk("score", *tables, "--without-history", "--out", "again.parquet")
    logged = pd.read_parquet(loop.folder / "whole" / "decisions.parquet").set_index("sequence")["score"]
    again = pd.read_parquet(loop.folder / "again.parquet")
    again.index = pd.Index(pd.read_parquet(loop.folder / "whole" / "consignments.parquet")["sequence"])
    assert len(logged) == len(announced(loop))
    assert again["score"].loc[logged.index].tolist() == logged.tolist()
    trained = loop.json("train", *tables, "--config", "config.toml")
    assert trained["run_id"] in {folder.name for folder in loop.folder.rglob("*")}, "its artifacts"
