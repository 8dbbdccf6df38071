"""The demo: one operation from simulated data to served scores, by the same commands that a user types.

All output is written to `demo/`, which is replaced. Each step is a verb of the command line or a call of the HTTP interface.
"""

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from consignments.files.table_writers import write_table
from consignments.records import Consignment
from consignments.tables import check_frame
from models.registry import Registry
from training.reporting.mlflow_tracking import build_addresses

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = REPOSITORY / "demo"
MESSAGE = REPOSITORY / "docs" / "samples" / "xfzb_house.xml"
NPSRISK = Path(sys.executable).with_name("npsrisk")
DAYS, PER_DAY, SEED = 150, 600, 1
READY_SECONDS = 60.0


def main() -> None:
    """Run the demo and print what to look at."""
    start = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()

    step("1/7  simulate an operation (consignments, outcomes, alerts, and the truth in a separate table)")
    npsrisk(
        "simulate",
        "--out",
        "world",
        "--prevalence",
        "operation",
        "--days",
        str(DAYS),
        "--per-day",
        str(PER_DAY),
        "--seed",
        str(SEED),
        "--until",  # history forgets a year, so the world must end today for a first call without received_at
        str(datetime.now(UTC).date() - timedelta(days=1)),
    )
    split_last_day()

    step("2/7  train on the known results, evaluate on later time, log the run, register the version")
    print("  The key signs the run, so that the gate can believe its figures without the tables.")
    npsrisk("keys", "create", "--name", "demo reviewer")
    npsrisk(
        "train", "--consignments", "past.parquet", "--outcomes", "outcomes.parquet", "--alerts", "alerts.parquet",
        "--truth", "world/truth.parquet", "--register", "--key", ".npsrisk/approver.key",
    )  # fmt: skip

    step("3/7  promote the version: the gate checks its rules, and the record is written")
    print(
        "  One key may approve in this demo. In an operation each approver has a key, and two may have to sign."
    )
    print(
        "  With the tables of the training, gate and promote also repeat it: both fits must be equal byte for byte."
    )
    npsrisk("promote", "1", "--approved-by", "demo reviewer", "--why", "first model of the operation")

    step("4/7  publish the version to the service's folder, import the past consignments as history")
    npsrisk("publish")
    npsrisk("import", "--consignments", "past.parquet", "--outcomes", "outcomes.parquet", "--alerts", "alerts.parquet")  # fmt: skip

    step("5/7  read an IATA Cargo-XML house waybill (XFZB)")
    # The message is of another year, so it is dated to the last day of the simulated world.
    npsrisk("read", str(MESSAGE), "--received-at", last_arrival(), "--out", "message.jsonl")

    step("6/7  start the service, and score the message and ten new consignments")
    port = free_port()
    with subprocess.Popen([NPSRISK, "serve", "--port", str(port)], cwd=FOLDER) as service:
        try:
            wait_until_ready(port, service)
            announced = [*rows("new.jsonl"), *rows("message.jsonl")]
            show(post(port, "/v1/scores?reasons=2", {"consignments": announced}), announced)
        finally:
            service.terminate()
            service.wait(20)

    step(f"7/7  done in {time.monotonic() - start:.0f} s. What to look at:")
    pages = build_version_addresses()
    print(f"""
  the report              {next(iter(FOLDER.rglob("report.html")), "in the run's artifacts")}
  the run in MLflow       cd demo && ../.venv/bin/mlflow ui --backend-store-uri sqlite:///mlflow.db
                          then open {pages["run"]}
  the version             {pages["version"]}
  all runs                {pages["runs"]}
                          (in MLflow: Model training, then Training runs)
  the service's page      cd demo && ../.venv/bin/npsrisk serve
                          then open http://127.0.0.1:8080
  every verb              .venv/bin/npsrisk --help
""")


def build_version_addresses() -> dict[str, str]:
    """Build the addresses of the demo's version and run in MLflow's pages."""
    store = f"sqlite:///{FOLDER / 'mlflow.db'}"
    version = Registry(store).resolve("1")
    return build_addresses(store, version.run_id, version.uri)


def step(text: str) -> None:
    """Print a heading."""
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def npsrisk(*words: str) -> None:
    """Run a verb, and print it as a user types it."""
    print("  $ npsrisk " + shlex.join(words).replace(str(REPOSITORY) + "/", ""), flush=True)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("NPSRISK_", "MLFLOW_"))
    }
    subprocess.run([NPSRISK, *words], cwd=FOLDER, check=True, env=environment)


def split_last_day() -> None:
    """Keep back ten consignments of the last day, to be scored by the service."""
    world = FOLDER / "world"
    consignments = pd.read_parquet(world / "consignments.parquet")
    outcomes = pd.read_parquet(world / "outcomes.parquet")
    last_day = consignments["received_at"].max().floor("D")
    past = consignments[consignments["received_at"] < last_day]
    known = outcomes[outcomes["consignment_id"].isin(past["consignment_id"])]
    visible = known["known_at"].fillna(known["inspected_at"]).fillna(known["selected_at"]) < last_day
    past.to_parquet(FOLDER / "past.parquet", index=False)
    known[visible].to_parquet(FOLDER / "outcomes.parquet", index=False)
    shutil.copy(world / "alerts.parquet", FOLDER / "alerts.parquet")
    new = consignments[consignments["received_at"] >= last_day].head(10)
    write_table(check_frame(new, Consignment).frame, FOLDER / "new.jsonl")


def rows(name: str) -> list[dict[str, Any]]:
    """Read consignments as JSON objects without missing fields, and without columns that the service does not take."""
    lines = (FOLDER / name).read_text().splitlines()
    known = set(Consignment.__struct_fields__)
    return [
        {key: value for key, value in json.loads(line).items() if value is not None and key in known}
        for line in lines
    ]


def last_arrival() -> str:
    """Return the time at which the last of the new consignments was received."""
    return max(str(row["received_at"]) for row in rows("new.jsonl"))


def free_port() -> int:
    """Find a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(port: int, service: "subprocess.Popen[bytes]") -> None:
    """Wait until the service has loaded its model and history."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and service.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the service did not become ready; its messages are above")


def post(port: int, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Call the service."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        parsed: dict[str, Any] = json.load(answer)
        return parsed


def show(answer: dict[str, Any], announced: list[dict[str, Any]]) -> None:
    """Print the scores as a table with their reasons."""
    goods = {row["consignment_id"]: row.get("description") or "" for row in announced}
    print(f"\n  {'consignment':26} {'score':>8}  {'band':9} {'goods':30} why")
    for score in sorted(answer["scores"], key=lambda each: -each["score"]):
        reasons = "; ".join(reason["text"] for reason in score["reasons"]) or "-"
        name = score["consignment_id"]
        print(f"  {name:26} {score['score']:8.5f}  {score['band']:9} {goods[name][:30]:30} {reasons}")
    for error in answer["errors"]:
        print(f"  not scored: {error}")


if __name__ == "__main__":
    main()
