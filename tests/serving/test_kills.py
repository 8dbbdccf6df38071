"""Killed at any moment, the service loses nothing it acknowledged, and reads what one that was never killed would read.

Callers send consignments one by one and in lists, again, amended and cancelled, and outcomes late, corrected and again; a
call that got no answer is sent again, as the inspection system's retries are. The service is killed meanwhile, also while it
writes a snapshot, and started again, sometimes over a damaged snapshot. At the end the log's chain holds, every answer is in
it, and every feature, score and key that was logged is what the batch computes (`npsrisk parity`).
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from databases import database_in, state_environment
from serving_examples import DATA_KEY, free_port, publish, settings_in, wait_until_ready

from consignments.visibility import day_of_us
from features.history import REMEMBERED_DAYS
from npsrisk import main
from serving.event_log import Event, EventLog
from serving.sealing import Vault
from serving.snapshots import Snapshots

# The service's clock runs a day in a second. Its memory holds few consignments, so that most have to be looked up.
SERVE = """
import os, signal, sys, time
import serving.snapshots as snapshots
from serving.app import serve
from serving.dossiers import Dossiers
from serving.settings import Settings

def die(*given, **named):
    if sys.argv[2] == "half":
        given[0].write(b"half of a snapshot")
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "half":
    snapshots.np.savez = die
elif sys.argv[2] == "nameless":
    snapshots.Path.replace = die
elif sys.argv[2] == "named":
    snapshots._flush_folder = die
Dossiers.__init__.__kwdefaults__["recent"] = 20
def clock_us(epoch=float(sys.argv[3])):
    return int(1e6 * ({begin} + {day} * (time.time() - epoch)))
serve("127.0.0.1", int(sys.argv[1]), Settings.read(), clock_us)
"""
MOMENTS = ("", "half", "", "nameless", "", "named")
"""When a service dies: at any time, or while it writes a snapshot: in the middle, before it is named, after that."""
CALLERS = 3
SNAPSHOT_ENTRIES = "60"
BEGIN_SECONDS, DAY_SECONDS = 1_710_000_000, 86_400
UNKNOWN = 404


class Blow(NamedTuple):
    """How a service ends, after how many more answers, and whether the newest snapshot is damaged then."""

    moment: str
    answers: int
    damage: bool


def blows(count: int, answers: int, seed: int) -> list[Blow]:
    random = np.random.default_rng(seed)
    return [
        Blow(
            MOMENTS[number % len(MOMENTS)],
            int(random.integers(answers // 2, 2 * answers)),
            bool(random.random() < 0.3),
        )
        for number in range(count)
    ]


class Service:
    """A service process that is killed and started again on one directory, and one address."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.epoch = folder, free_port(), time.time()
        settings_in(folder)
        self.up = threading.Event()
        self.ended = False
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def now_us(self) -> int:
        """The service's clock."""
        return int(1e6 * (BEGIN_SECONDS + DAY_SECONDS * (time.time() - self.epoch)))

    def start(self, moment: str) -> None:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("NPSRISK_", "MLFLOW_"))
        }
        kept |= state_environment(self.folder, NPSRISK_SNAPSHOT_ENTRIES=SNAPSHOT_ENTRIES)
        serve = SERVE.replace("{begin}", str(BEGIN_SECONDS)).replace("{day}", str(DAY_SECONDS))
        with (self.folder / "service.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", serve, str(self.port), moment, str(self.epoch)], env=kept, stderr=log
            )
        wait_until_ready(self.process, self.url)
        self.up.set()

    def end(self, blow: Blow) -> None:
        """Let it die in its own time, or kill it; then damage what it wrote."""
        assert self.process is not None
        self.up.clear()
        if not blow.moment:
            self.process.kill()
        assert self.process.wait(30) == -signal.SIGKILL
        newest = Snapshots(self.folder / "snapshots").newest_first()
        if blow.damage and newest:
            content = bytearray(newest[0].read_bytes())
            content[len(content) // 3] ^= 255
            newest[0].write_bytes(content)

    def log_lines(self) -> list[dict[str, Any]]:
        return [
            json.loads(line)
            for line in (self.folder / "service.log").read_text().splitlines()
            if line[:1] == "{"
        ]


class Caller(threading.Thread):
    """Sends what an inspection system sends; keeps every answer.

    Attributes
    ----------
    told : list
        (decision_id, consignment_id, score) of every answer.
    unknown : list
        (consignment_id, moment) of each that the service did not know any more.
    done : Counter
        What it did.
    """

    def __init__(self, service: Service, number: int, seed: int) -> None:
        super().__init__()
        self.service, self.number = service, number
        self.random = np.random.default_rng((seed, number))
        self.told: list[tuple[str, str, float]] = []
        self.sent: list[dict[str, Any]] = []
        self.unknown: list[tuple[str, int]] = []
        self.done: Counter[str] = Counter()
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            with httpx.Client(base_url=self.service.url, timeout=30) as client:
                while not self.service.ended:
                    self.act(client)
        except BaseException as fault:
            self.fault = fault

    def act(self, client: httpx.Client) -> None:
        draw = self.random.random()
        if draw < 0.55 or not self.sent:
            self.score(client, [self.consignment()])
        elif draw < 0.65:
            self.score(client, [self.consignment() for _ in range(int(self.random.integers(2, 30)))])
        elif draw < 0.90:
            outcomes = [self.outcome() for _ in range(int(self.random.integers(1, 5)))]
            for receipt in self.send(client, "/v1/outcomes", {"outcomes": outcomes})["outcomes"]:
                self.done["outcome repeated" if receipt["repeated"] else "outcome"] += 1
        else:
            name = self.any_sent()["consignment_id"]
            found = self.send(client, "/v1/cancellations", {"consignment_id": name})
            self.done["cancellation"] += 1
            if found.get("status") == UNKNOWN:
                self.unknown.append((name, self.service.now_us))

    def score(self, client: httpx.Client, rows: list[dict[str, Any]]) -> None:
        if len(rows) == 1:
            answers = [self.send(client, "/v1/scores", rows[0])]
        else:
            found = self.send(client, "/v1/scores", {"consignments": rows})
            assert found["errors"] == []
            answers = found["scores"]
        self.told += [(each["decision_id"], each["consignment_id"], each["score"]) for each in answers]
        self.sent += rows

    def consignment(self) -> dict[str, Any]:
        """A new one mostly; else one that was sent, as it was or amended."""
        draw = self.random.random()
        if draw < 0.10 and self.sent:
            self.done["repeat"] += 1
            return self.any_sent()
        goods = ("socks", "cotton t-shirts", "research chemical powder")[self.random.integers(3)]
        sender, consignee = self.random.integers(40), self.random.integers(200)
        name = f"RB{self.number}-{len(self.sent)}-{self.done['new']}"
        if draw < 0.20 and self.sent:
            self.done["amendment"] += 1
            name = self.any_sent()["consignment_id"]
        else:
            self.done["new"] += 1
        return {
            "consignment_id": name,
            "channel": "postal",
            "sender_name": f"Sender {sender}",
            "sender_address": f"{sender} Harbour Road",
            "consignee_name": f"Consignee {consignee}",
            "description": goods,
            "office": "Incheon",
            "hs_code": "610910",
            "gross_weight_kg": float(self.random.integers(1, 50)) / 10,
        }

    def outcome(self) -> dict[str, Any]:
        """Of a consignment sent lately or long ago, corrected or sent again now and then; a few of unknown ones."""
        if self.random.random() < 0.05:
            name = f"RB{self.number}-unknown-{self.done['outcome']}"
        else:
            name = self.any_sent()["consignment_id"]
        return {
            "consignment_id": name,
            "selected_by": "model",
            "status": "inspected",
            "inspected_at": "2024-03-01T00:00:00Z",
            "known_at": f"2024-03-0{self.random.integers(2, 5)}T00:00:00Z",
            "result": ("nps", "clear", "clear", "pending")[self.random.integers(4)],
        }

    def any_sent(self) -> dict[str, Any]:
        return self.sent[int(self.random.integers(len(self.sent)))]

    def send(self, client: httpx.Client, path: str, body: Any) -> dict[str, Any]:
        """Send until there is an answer."""
        while True:
            self.service.up.wait()
            try:
                response = client.post(path, json=body)
            except httpx.HTTPError:
                self.done["no answer"] += 1
                time.sleep(0.01)
                continue
            assert response.status_code in (200, UNKNOWN), response.text
            found: dict[str, Any] = response.json()
            return found


def live(folder: Path, plan: list[Blow], seed: int) -> tuple[Service, list[Caller]]:
    """Call, kill and start again by a plan; at the end the service is stopped in order."""
    service = Service(folder)
    service.start(plan[0].moment)
    callers = [Caller(service, number, seed) for number in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        for blow, next_ in zip(plan, [*plan[1:], Blow("", 0, damage=False)], strict=True):
            wait_for_answers(service, callers, blow)
            service.end(blow)
            service.start(next_.moment)
        wait_for_answers(service, callers, plan[0]._replace(moment=""))
    finally:
        service.ended = True
        service.up.set()
        for caller in callers:
            caller.join(60)
        assert service.process is not None
        service.process.terminate()
        assert service.process.wait(60) == 0
    return service, callers


def wait_for_answers(service: Service, callers: list[Caller], blow: Blow) -> None:
    """Wait for so many further answers or, where the service is to die while it writes a snapshot, for its end."""
    assert service.process is not None
    before = sum(len(caller.told) for caller in callers)
    end = time.monotonic() + 300
    while sum(len(caller.told) for caller in callers) < before + blow.answers or blow.moment:
        if service.process.poll() is not None:
            return
        for caller in callers:
            if caller.fault is not None:
                raise caller.fault
        assert time.monotonic() < end, "too few answers"
        service.process.send_signal(signal.SIGHUP)  # look now whether a snapshot is due
        time.sleep(0.02)


def check(folder: Path, service: Service, callers: list[Caller]) -> Counter[str]:
    """Hold the answers and the batch against the log; give what was done."""
    for caller in callers:
        assert caller.fault is None
    log = EventLog.open(database_in(folder), Vault(DATA_KEY))
    assert log.verify().broken_at is None
    decisions = {log.decision_id(event.sequence): event for event in log.events() if event.kind == "decision"}
    for name, now_us in itertools.chain(*(caller.unknown for caller in callers)):
        assert not was_known(log.of(name), now_us)
    last = log.last_sequence
    log.close()
    for caller in callers:
        for decision_id, name, score in caller.told:
            assert (decisions[decision_id].consignment_id, decisions[decision_id].score) == (name, score)
    check_parity(folder, len(decisions))
    lines = service.log_lines()
    assert not [line for line in lines if line["level"] == "error"]
    taken = [line for line in lines if line["event"] == "snapshot taken"]
    told = Counter(line["event"] for line in lines) + sum((caller.done for caller in callers), Counter[str]())
    told["decisions"], told["entries"] = len(decisions), last
    told["replayed"] = sum(line["entries_since"] for line in taken)
    return told


def was_known(events: Sequence[Event], now_us: int) -> bool:
    """Whether a consignment was scored since it was last unmet for so long that it was forgotten."""
    met_on, scored = -REMEMBERED_DAYS, False
    for event in events:
        day = day_of_us(event.recorded_us or 0)
        if (event.recorded_us or 0) <= now_us:
            scored = event.kind == "decision" or (scored and day - met_on <= REMEMBERED_DAYS)
            met_on = day
    return scored and day_of_us(now_us) - met_on <= REMEMBERED_DAYS


def check_parity(folder: Path, decisions: int) -> None:
    """Compute every decision anew by the batch form, as operations do each night."""
    done = CliRunner().invoke(main, ["parity", "--json"], env=state_environment(folder))
    found = json.loads(done.output.splitlines()[-1])
    assert (done.exit_code, found["equal"], found["differing"]) == (0, True, 0), done.output
    assert found["compared"] == decisions


@pytest.fixture
def folder(tmp_path: Path, bundle: Path) -> Path:
    publish(tmp_path, bundle, "1")
    return tmp_path


def test_ten_kills_lose_nothing_and_change_nothing(folder: Path) -> None:
    service, callers = live(folder, blows(10, 250, seed=3), seed=3)
    told = check(folder, service, callers)
    assert told["decisions"] > 1_500
    for what in ("repeat", "amendment", "outcome", "outcome repeated", "cancellation", "no answer"):
        assert told[what] >= 5, what
    assert told["snapshot taken"] >= 6
    assert told["snapshot refused"] >= 1
    assert told["replayed"] > 100


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_many_kills_lose_nothing_and_change_nothing(folder: Path, seed: int) -> None:
    service, callers = live(folder, blows(40, 2_000, seed), seed)
    told = check(folder, service, callers)
    assert told["decisions"] > 30_000
    assert told["snapshot refused"] >= 3
