"""An operation of three administrations on one machine, from the key of the operation to the debriefing, by verbs and HTTP calls.

All output is written to `operation-run/`, which is replaced. Each administration has a folder, a service and an officer's key. They
share nothing but signed messages in folders, the key of the operation, and in this example the model of the largest of them.
Networks send to all three and react to seizures. Simulated time is written to a file that the services read as their clock.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmarks.exchange import SHARES, ExchangeRun, Plan, divide, format_summary, run_ways  # noqa: E402
from consignments.files.table_writers import write_table  # noqa: E402
from consignments.records import Alert, Consignment, Outcome  # noqa: E402
from consignments.tables import build_frame, check_frame, to_records  # noqa: E402
from consignments.timestamps import to_us  # noqa: E402
from consignments.visibility import get_visible_us  # noqa: E402
from features.indicators.operation_keys import OperationKey  # noqa: E402
from npsrisk import main as npsrisk_verbs  # noqa: E402
from training.policy_replay.experiment import LOOP_CONFIG  # noqa: E402
from training.policy_replay.replay import clamp_times  # noqa: E402
from training.simulation.inspection_outcomes import InspectionChoice  # noqa: E402

FOLDER = REPOSITORY / "operation-run"
OPERATION = "EXAMPLE"
SEED, PER_DAY, PAST_DAYS, OPERATION_DAYS = 1, 400, 90, 14
SCORED_DAYS = 14
WEEKS_OF_RESULTS, DAYS_PER_WEEK = 4, 7
"""Goods arrive days after their advance data, and laboratories need weeks."""
INSPECTED_SHARE, EXPLORE = 0.05, 0.1
READY_SECONDS = 120.0
COMPARED = Plan(PAST_DAYS, 28, PER_DAY, "operation", LOOP_CONFIG)
SERVE = (
    "import sys; from pathlib import Path; from operation.desk.routes import list_page_routes; "
    "from serving.http.server import serve; from serving.messages.scoring import accept_messages; from serving.process.settings import Settings; "
    "serve('127.0.0.1', int(sys.argv[1]), Settings.read(), clock=lambda: int(Path(sys.argv[2]).read_text()), "
    "further=[accept_messages, list_page_routes])"
)


class Office:
    """An administration with its folder, its tables and its service."""

    def __init__(self, name: str) -> None:
        self.name, self.folder = name, FOLDER / name
        self.folder.mkdir(parents=True)
        self.exchange = self.folder / "exchange"
        self.port, self.capacity = 0, 0.0
        self.consignments: list[pd.DataFrame] = []
        self.known: list[Outcome] = []
        self.due: list[Outcome] = []
        self.scores: list[dict[str, Any]] = []
        self.drafted = -1

    @property
    def environment(self) -> dict[str, str]:
        """Return the settings of the administration."""
        return {
            "NPSRISK_STATE_DIR": str(self.folder / "state"),
            "NPSRISK_EXCHANGE_DIR": str(self.exchange),
            "NPSRISK_ADMINISTRATION": self.name,
            "NPSRISK_APPROVERS_FILE": str(FOLDER / "approvers.toml"),
            "NPSRISK_EXCHANGE_FEEDBACK": "true",
            "MLFLOW_TRACKING_URI": f"sqlite:///{FOLDER}/mlflow.db",
        }

    def run(self, *words: object, quiet: bool = False) -> None:
        """Run a verb with these settings, and print it as a user types it."""
        typed = [str(word).replace(f"{self.folder}/", "").replace(f"{FOLDER}/", "../") for word in words]
        if not quiet:
            print(f"  {self.name} $ npsrisk {' '.join(typed)}", flush=True)
        typed_words = [str(word) for word in words]
        with use_environment(self.environment), redirect_stdout(StringIO() if quiet else sys.stdout):
            code = npsrisk_verbs.main(typed_words, prog_name="npsrisk", standalone_mode=False)
        if code:
            raise SystemExit(f"npsrisk {words[0]} ended with exit code {code}")

    def write_tables(self) -> list[object]:
        """Write what is known as tables; return the options that name them."""
        frame = pd.concat(self.consignments, ignore_index=True)
        write_table(check_frame(frame, Consignment).frame, self.folder / "consignments.parquet")
        write_table(build_frame(self.known, Outcome), self.folder / "outcomes.parquet")
        return [
            "--consignments",
            self.folder / "consignments.parquet",
            "--outcomes",
            self.folder / "outcomes.parquet",
        ]

    def call(self, path: str, body: Any) -> dict[str, Any]:
        """Call the service."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            msgspec.json.encode(body),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def take_outcomes(self, now: datetime) -> list[Outcome]:
        """Return the outcomes that are visible at a time and were not before."""
        us = to_us(now)
        seen = [outcome for outcome in self.due if get_visible_us(outcome) <= us]
        self.due = [outcome for outcome in self.due if get_visible_us(outcome) > us]
        self.known += seen
        return seen


def main() -> None:
    """Run the operation, and print what to look at."""
    start = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    offices = [Office(name) for name in SHARES]

    step(
        "1/8  each officer has a key, the partners know it, and one of them creates the key of the operation"
    )
    share_keys(offices)

    step(f"2/8  {PAST_DAYS} days of the past: inspections by rules, with exchange")
    run = simulate_past(offices)

    step("3/8  brief: trends before the operation, for each administration")
    for each in offices:
        each.run(
            "brief",
            *each.write_tables(),
            "--alerts",
            each.folder / "alerts.parquet",
            "--out",
            each.folder / "brief.html",
        )

    step("4/8  train on the results of the largest administration, promote, and publish for all")
    publish_model(offices)

    step("5/8  plan: expected detections at the capacity of each administration")
    plan_inspections(offices, run.get_midnight(PAST_DAYS))

    step(f"6/8  the operation: {OPERATION_DAYS} days, three services, messages by folder")
    run_operation(offices, run)

    step("7/8  feedback to the authors, and the debriefing")
    close_operation(offices, run)

    step("8/8  the same world with keyed indicators, with plain sharing, and with neither")
    print(format_summary(run_ways(COMPARED, SEED)))
    print(
        f"\ndone in {time.monotonic() - start:.0f} s. What to look at: brief.html, plan.html and debrief.html in operation-run/XA, XB, XC"
    )


def step(text: str) -> None:
    """Print a heading."""
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


@contextmanager
def use_environment(settings: dict[str, str]) -> Iterator[None]:
    """Set environment variables for a while."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith(("NPSRISK_", "MLFLOW_TRACKING"))]:
        del os.environ[name]
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def share_keys(offices: list[Office]) -> None:
    """Create the keys, and let each administration trust the others."""
    first = offices[0]
    first.run("exchange", "key", OPERATION)
    key = first.exchange / "keys" / f"{OPERATION}.operation"
    for each in offices:
        each.run("exchange", "trust", each.name)
        if each is not first:
            (each.exchange / "keys").mkdir(parents=True)
            shutil.copy(key, each.exchange / "keys" / key.name)
    for each in offices:
        public = read_public_key(each)
        for other in offices:
            if other is not each:
                other.run("exchange", "trust", each.name, public, quiet=True)


def read_public_key(office: Office) -> str:
    """Read the public key of an officer."""
    from models.signatures.keys import SigningKey

    return SigningKey.load(office.exchange / "officer.key").public.text


def simulate_past(offices: list[Office]) -> ExchangeRun:
    """Simulate the time before the operation, and give each administration its tables."""
    key = OperationKey.read(offices[0].exchange / "keys" / f"{OPERATION}.operation")
    plan = Plan(PAST_DAYS, OPERATION_DAYS, PER_DAY, "operation", LOOP_CONFIG, learns=False)
    (FOLDER / "keys").mkdir()
    run = ExchangeRun("exchange", plan, SEED, FOLDER / "keys", key)
    run.run_days(0, PAST_DAYS)
    begins = run.get_midnight(PAST_DAYS)
    for office, member in zip(offices, run.members, strict=True):
        office.consignments = [frame.assign(office=office.name) for frame in member.frames]
        office.due = list(member.outcomes)
        office.take_outcomes(begins)
        write_table(
            build_frame([*run.feed, *member.alerts.values()], Alert), office.folder / "alerts.parquet"
        )
    print(f"  messages exchanged so far: {dict(run.messages)}")
    return run


def publish_model(offices: list[Office]) -> None:
    """Train and promote once, and publish in each folder."""
    first = offices[0]
    first.run("keys", "create", "--name", "reviewer")
    tables = [*first.write_tables(), "--alerts", first.folder / "alerts.parquet"]
    (FOLDER / "config.toml").write_text(
        "[split]\ntest_days = 14\nvalidation_days = 14\nlabel_delay_days = 7\n[model]\ntrees = 100\n"
    )
    first.run("train", *tables, "--config", FOLDER / "config.toml", "--register")
    first.run(
        "promote", "1", "--approved-by", "reviewer", "--why", "model of the operation", *tables, "--force"
    )
    for each in offices:
        each.run("publish")
        each.run("import", *each.write_tables(), "--alerts", each.folder / "alerts.parquet")


def plan_inspections(offices: list[Office], begins: datetime) -> None:
    """Score the last days, and plan."""
    for each in offices:
        frame = pd.concat(each.consignments, ignore_index=True)
        recent = frame["received_at"] >= begins - timedelta(days=SCORED_DAYS)
        for name, rows in (("recent", recent), ("earlier", ~recent)):
            write_table(check_frame(frame[rows], Consignment).frame, each.folder / f"{name}.parquet")
        each.run(
            "score", "--consignments", each.folder / "recent.parquet", "--history", each.folder / "earlier.parquet",
            "--outcomes", each.folder / "outcomes.parquet", "--alerts", each.folder / "alerts.parquet",
            "--out", each.folder / "recent_scores.csv",
        )  # fmt: skip
        capacity = max(1, round(INSPECTED_SHARE * SHARES[each.name] * PER_DAY))
        each.run(
            "plan", "--scores", each.folder / "recent_scores.csv", "--capacity", capacity, "--operation", OPERATION,
            "--explore", EXPLORE, "--from", begins.isoformat(), "--out", each.folder / "plan.html",
        )  # fmt: skip


def run_operation(offices: list[Office], run: ExchangeRun) -> None:
    """Run the days of the operation on three services."""
    clock = FOLDER / "clock"
    set_clock(clock, run.get_midnight(PAST_DAYS))
    with ExitStack() as services:
        for each in offices:
            each.port = find_free_port()
            services.enter_context(serve(each, clock))
        for day in range(PAST_DAYS, PAST_DAYS + OPERATION_DAYS):
            now = run.get_midnight(day + 1)
            set_clock(clock, now)
            counts = run_day(offices, run, day, now)
            sent = exchange_messages(offices, now, run.get_midnight(PAST_DAYS))
            print(f"  {now:%Y-%m-%d}: {counts}; messages {sent}", flush=True)
        for week in range(1, WEEKS_OF_RESULTS + 1):
            now = run.get_midnight(PAST_DAYS + OPERATION_DAYS + DAYS_PER_WEEK * week)
            set_clock(clock, now)
            found = record_results(offices, now)
            sent = exchange_messages(offices, now, run.get_midnight(PAST_DAYS))
            print(f"  {now:%Y-%m-%d}: late results, detections known: {found}; messages {sent}", flush=True)


def run_day(offices: list[Office], run: ExchangeRun, day: int, now: datetime) -> dict[str, int]:
    """Score, select and inspect the arrivals of a day; record the results that became known."""
    frame, _ = run.world.receive_day(day)
    owners, tips = divide(run.world.arrivals.shipments.consignee), run.world.arrivals.tipped
    place = {name: row for row, name in enumerate(frame["consignment_id"])}
    picks: list[InspectionChoice] = []
    chosen: dict[str, Office] = {}
    for number, each in enumerate(offices):
        mine = frame[owners == number].assign(office=each.name)
        each.consignments.append(mine)
        each.scores += score_day(each, mine)
        each.capacity += INSPECTED_SHARE * len(mine)
        for one in select_day(each, mine, now):
            row = place[one["consignment_id"]]
            chosen[one["consignment_id"]] = each
            if not tips[row]:
                picks.append(InspectionChoice(row, one["selected_by"], one["selection_probability"]))
        chosen |= {name: each for name in mine["consignment_id"] if tips[place[name]]}
    for outcome in run.world.inspect(picks):
        chosen[outcome.consignment_id].due.append(
            msgspec.structs.replace(clamp_times(outcome, now), office=chosen[outcome.consignment_id].name)
        )
    return {"scored": len(frame), "selected": len(picks), "detections known": record_results(offices, now)}


def record_results(offices: list[Office], now: datetime) -> int:
    """Record the results that became known; return how many are detections."""
    found: Counter[str | None] = Counter()
    for each in offices:
        outcomes = each.take_outcomes(now)
        found.update(outcome.result for outcome in outcomes)
        if outcomes:
            each.call("/v1/outcomes", {"outcomes": outcomes})
    return found["nps"]


def score_day(office: Office, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Post the arrivals of a day; return rows of the score table."""
    records = to_records(check_frame(frame, Consignment).frame, Consignment)
    fields = [
        {
            name: value
            for name, value in msgspec.structs.asdict(each).items()
            if value is not None and name != "cancelled_at"
        }
        for each in records
    ]
    answer = office.call("/v1/scores?reasons=1", {"consignments": fields})
    assert not answer["errors"], answer["errors"][:1]
    received = dict(zip(frame["consignment_id"], frame["received_at"], strict=True))
    return [
        {
            "consignment_id": each["consignment_id"], "score": each["score"], "band": each["band"],
            "model_version": each["model"]["version"], "office": office.name,
            "received_at": received[each["consignment_id"]], "history": "given",
        }
        for each in answer["scores"]
    ]  # fmt: skip


def select_day(office: Office, frame: pd.DataFrame, now: datetime) -> Iterable[dict[str, Any]]:
    """Ask for the inspection list of a day; parts of an inspection are carried over."""
    count = int(office.capacity)
    office.capacity -= count
    if not count:
        return []
    asked = {
        "office": office.name, "capacity": count, "explore": EXPLORE,
        "from": frame["received_at"].min().floor("D").isoformat(), "until": now.isoformat(),
    }  # fmt: skip
    listed: list[dict[str, Any]] = office.call("/v1/selections", asked)["selections"]
    return listed


def exchange_messages(offices: list[Office], now: datetime, begins: datetime) -> int:
    """Draft, approve and carry the messages of each administration, and give them to the services of the others."""
    carried = 0
    for each in offices:
        confirmed = sum(outcome.result == "nps" for outcome in each.known)
        if confirmed == each.drafted:
            continue
        each.drafted = confirmed
        outbox = list_outbox(each)
        period = ("--since", begins.isoformat(), "--at", now.isoformat())
        each.run("exchange", "draft", *each.write_tables(), *period, quiet=True)
        each.run("exchange", "export", "--at", now.isoformat(), quiet=True)
        carried += carry(each, offices, list_outbox(each) - outbox)
    for each in offices:
        if any((each.exchange / "inbox").glob("*.json")):
            each.run(
                "exchange",
                "import",
                "--service",
                f"http://127.0.0.1:{each.port}",
                "--at",
                now.isoformat(),
                quiet=True,
            )
    return carried


def list_outbox(office: Office) -> set[Path]:
    """List the messages that an administration has sent."""
    return set((office.exchange / "outbox").glob("*.json"))


def carry(author: Office, offices: list[Office], paths: set[Path]) -> int:
    """Carry messages to the others; return how many there were."""
    for other in offices:
        if other is not author:
            inbox = other.exchange / "inbox"
            inbox.mkdir(parents=True, exist_ok=True)
            for path in paths:
                shutil.copy(path, inbox / f"{author.name}-{path.name}")
    return len(paths)


def close_operation(offices: list[Office], run: ExchangeRun) -> None:
    """Export what the services recorded, send feedback, and write the debriefing of each administration."""
    begins, ends = run.get_midnight(PAST_DAYS), run.get_midnight(PAST_DAYS + OPERATION_DAYS + 1)
    known = run.get_midnight(PAST_DAYS + OPERATION_DAYS + DAYS_PER_WEEK * WEEKS_OF_RESULTS)
    for each in offices:
        each.run("export", "--personal", "--out", each.folder / "exported", quiet=True)
        tables = [*each.write_tables(), "--alerts", each.folder / "exported" / "alerts.parquet"]
        outbox = list_outbox(each)
        each.run("exchange", "feedback", *tables, "--from", begins.isoformat(), "--at", known.isoformat())
        carry(each, offices, list_outbox(each) - outbox)
        write_table(pd.DataFrame(each.scores), each.folder / "scores.csv")
        each.run(
            "debrief", *tables, "--scores", each.folder / "scores.csv", "--plan", each.folder / "plan.json",
            "--from", begins.isoformat(), "--until", ends.isoformat(), "--out", each.folder / "debrief.html",
        )  # fmt: skip
    for each in offices:
        alerts = each.folder / "exported" / "alerts.parquet"
        each.run("exchange", "import", "--alerts", alerts, "--at", known.isoformat())


def set_clock(path: Path, now: datetime) -> None:
    """Set the time that the services read."""
    part = path.with_suffix(".part")
    part.write_text(str(to_us(now)))
    part.replace(path)


@contextmanager
def serve(office: Office, clock: Path) -> Iterator[None]:
    """Run the service of an administration."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NPSRISK_")}
    command = [sys.executable, "-c", SERVE, str(office.port), str(clock)]
    with (office.folder / "service.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment | office.environment, stdout=log, stderr=log
        )
        try:
            wait_until_ready(office, process)
            yield
        finally:
            process.terminate()
            process.wait(60)


def wait_until_ready(office: Office, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a service scores."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{office.port}/health/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"the service of {office.name} did not become ready: {office.folder / 'service.log'}")


def find_free_port() -> int:
    """Find a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
