"""A service process that is killed at any moment and started again, while others call it."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from support.serving_callers import Caller, calling, wait_for_answers
from support.serving_examples import environment, free_port, settings_in, wait_until_ready

from serving.state.snapshots import Snapshots

# The service's clock runs a day in a second. Its memory holds few consignments, so that most have to be looked up.
SERVE = """
import os, signal, sys, time
import serving.state.snapshots as snapshots
from serving.http.server import serve
from serving.state.consignment_states import ConsignmentStates
from serving.event_log.log import EventLog
from serving.process.settings import Settings

port, moment, epoch, after = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])

def die(*given, **named):
    if moment == "half":
        given[0].write(b"half of a snapshot")
    os.kill(os.getpid(), signal.SIGKILL)

replace = snapshots.Path.replace

def replace_or_die(part, path):
    if part.name.endswith(snapshots.PART_SUFFIX) and part.parent.name == "snapshots":
        die()
    return replace(part, path)

if moment == "half":
    assert snapshots.flush_file, "what takes its place must be called"
    snapshots.flush_file = die
elif moment == "nameless":
    snapshots.Path.replace = replace_or_die
elif moment == "named":
    assert snapshots.flush_folder, "what takes its place must be called"
    snapshots.flush_folder = die

append, writes = EventLog.append, iter(range(after))

def append_and_die(log, events):
    last = next(writes, None) is None
    if last and moment == "unwritten":
        die()
    append(log, events)
    if last and moment == "unanswered":
        die()

EventLog.append = append_and_die
ConsignmentStates.__init__.__kwdefaults__["recent"] = 20
def clock_us():
    return int(1e6 * ({begin} + {day} * (time.time() - epoch)))
serve("127.0.0.1", port, Settings.read(), clock_us)
"""
KILLED, STARTING = "", "starting"
MOMENTS = (KILLED, "half", "unanswered", KILLED, STARTING, "nameless", KILLED, "unwritten", "named", KILLED)
"""When a service dies: at any time; while it starts; while it writes a snapshot: in the middle, before it is named, after
that; before it writes entries, or when they are on disk and not yet answered."""
WHILE_IT_STARTS_MS = 3_000
CALLERS = 4
SNAPSHOT_ENTRIES = "60"
BEGIN_SECONDS, DAY_SECONDS = 1_710_000_000, 86_400
NEVER = 10**9


class Blow(NamedTuple):
    """How a service ends: at one of `MOMENTS`, after so many answers, writes or milliseconds; a snapshot may be damaged then."""

    moment: str
    after: int
    damage: bool


UNDISTURBED = Blow(KILLED, NEVER, damage=False)


def blows(count: int, answers: int, seed: int) -> list[Blow]:
    """Draw how a service ends, time after time; after so many answers on average."""
    random, drawn = np.random.default_rng(seed), []
    for number in range(count):
        moment = MOMENTS[number % len(MOMENTS)]
        most = WHILE_IT_STARTS_MS if moment == STARTING else 2 * answers
        drawn.append(Blow(moment, int(random.integers(most)), bool(random.random() < 0.3)))
    return drawn


class Service:
    """A service process that is started again and again on one directory, and one address."""

    expected_errors: tuple[str, ...] = ("model refused",)

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.epoch = folder, free_port(), time.time()
        settings_in(folder)
        self.url = f"http://127.0.0.1:{self.port}"
        self.up, self.ended = threading.Event(), False
        self.process: Any = None
        self.more_settings: dict[str, str] = {}

    @property
    def now_us(self) -> int:
        return int(1e6 * (BEGIN_SECONDS + DAY_SECONDS * (time.time() - self.epoch)))

    @property
    def is_dead(self) -> bool:
        return self.process.poll() is not None

    def start(self, blow: Blow) -> None:
        """Start it; one that is to be killed while it starts is not waited for."""
        self.launch(blow)
        if blow.moment != STARTING:
            wait_until_ready(self.process, f"{self.url}/health/ready")
            self.up.set()

    def launch(self, blow: Blow) -> None:
        kept = environment(self.folder, NPSRISK_SNAPSHOT_ENTRIES=SNAPSHOT_ENTRIES) | self.more_settings
        serve = SERVE.replace("{begin}", str(BEGIN_SECONDS)).replace("{day}", str(DAY_SECONDS))
        given = [str(self.port), blow.moment, str(self.epoch), str(blow.after)]
        with (self.folder / "service.log").open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-c", serve, *given], env=kept, stderr=log)

    def end(self, blow: Blow) -> None:
        """Let it die in its own time, or kill it; then damage what it wrote."""
        if blow.moment in (KILLED, STARTING):
            self.process.kill()
        self.up.clear()
        assert self.process.wait(30) == -signal.SIGKILL
        if blow.damage and (newest := self.list_snapshots()):
            content = bytearray(newest[0].read_bytes())
            content[len(content) // 3] ^= 255
            newest[0].write_bytes(content)

    def list_snapshots(self) -> list[Path]:
        return Snapshots(self.folder / "snapshots").list_newest_first()

    def look(self) -> None:
        """Let it look now for a new model, and whether a snapshot is due."""
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(60) == 0

    def log_lines(self) -> list[dict[str, Any]]:
        lines = (self.folder / "service.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line[:1] == "{"]


@contextmanager
def called(folder: Path, first: Blow, seed: int) -> Iterator[tuple[Service, list[Caller]]]:
    """Start a service and call it until the end of the block, where it is stopped in order."""
    service = Service(folder)
    callers = [Caller(service, number, seed) for number in range(CALLERS)]
    with calling(service, callers, partial(service.start, first)):
        yield service, callers


def live(folder: Path, plan: Sequence[Blow], seed: int) -> tuple[Service, list[Caller]]:
    """Call, kill and start again by a plan; at the end the service is stopped in order."""
    with called(folder, plan[0], seed) as (service, callers):
        for blow, next_ in zip(plan, [*plan[1:], UNDISTURBED], strict=True):
            wait_for_end(service, callers, blow)
            service.end(blow)
            service.start(next_)
        wait_for_answers(service, callers, 50)
    return service, callers


def wait_for_end(service: Service, callers: list[Caller], blow: Blow) -> None:
    """Wait for the moment at which a service is to be killed, with a snapshot if that is to be damaged, or is dead by itself."""
    if blow.moment == STARTING:
        time.sleep(blow.after / 1000)
        return
    wait_for_answers(service, callers, blow.after if blow.moment == KILLED else NEVER)
    while blow.moment == KILLED and blow.damage and not service.list_snapshots():
        wait_for_answers(service, callers, 1)
