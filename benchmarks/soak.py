"""Run the service for half an hour under load; report errors, latency, memory, log and snapshots by minute, and a verdict.

    python -m benchmarks.soak [--minutes 30] [--past 200000] [--per-second 1000]

The server runs on the first core, an open-loop client on the last. 200,000 past consignments, which end yesterday, are
imported before: a million keys of history. The client sends the same consignments again under new identifiers, received now, in
random order, so that all of these keys are used within minutes. It also sends outcomes of earlier ones, drawn from all of
them. Every minute the other of two versions of the model is published. *Stolen* is the share of the time in which other
guests of the host used these two cores.

The verdict excludes a warm-up of a sixth of the time, at least a minute. *No error*: every consignment and outcome that
was due is answered with 200. *Memory flat*: the minimum resident memory of each minute counts, without the copy from which a
snapshot is written. The mean over the last third of the minutes may exceed that over the first third by 5 %, and by 25 bytes for
each consignment in between, because its identifier is kept for 366 days. *In time*: 99 of 100 answers within 15 ms. The
same is reported for the minutes with at most 1 % stolen.
"""

import argparse
import asyncio
import os
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec
import numpy as np
import pandas as pd
import uvloop

from benchmarks.client import LoadResult, open_loop, request
from benchmarks.deployed import deploy, grow, make_world
from benchmarks.serving import (
    CLIENT_CORE,
    SCORES,
    SERVER_CORE,
    TICKS,
    Server,
    environment,
    import_past,
    say,
    serving,
)
from consignments.records import Consignment, Outcome
from serving.process.settings import Settings

CONNECTIONS, OUTCOME_CONNECTIONS = 200, 20
OUTCOMES_PER_SECOND = 20.0
SETTLED = 10_000
"""Outcomes belong to consignments sent at least so many before, which have their answer."""
MARK = "SOAK-%012d"
"""The identifier in a prepared body."""
LOOK_SECONDS = 0.5
QUIET = 0.01
"""Maximum stolen share of a minute that measures the service, not the machine."""
MOST_P99_MS, MOST_GROWTH, IDENTIFIER_BYTES = 15.0, 0.05, 25
MB = 1024 * 1024
STOLEN = 8
"""The field of a core's line in /proc/stat."""
HEADER = (
    "minute", "model", "scores", "outcomes", "errors", "p50 ms", "p99 ms", "max ms", "RSS MB, least", "most",
    "log MB", "snapshot pause ms", "keys", "server CPU", "client CPU", "stolen",
)  # fmt: skip


class ServerStatus(NamedTuple):
    """Status of the server at the end of a minute.

    Attributes
    ----------
    model : str
        The version that scores.
    log_mb : float
        The log, including what is being written to it.
    keys : int
        Number of keys of history.
    snapshot : int
        Last entry contained in a snapshot.
    pause_ms : float
        How long calls waited for the last snapshot.
    """

    model: str
    log_mb: float
    keys: int
    snapshot: int
    pause_ms: float


class Minute(NamedTuple):
    """Results of one minute.

    Attributes
    ----------
    scores, outcomes : LoadResult
    due : int
        Requests that should have been answered.
    memory_mb : tuple of float
        Minimum and maximum resident memory of the server.
    cpu : tuple of float
        Share of their cores that server and client used.
    stolen : float
        Share of the time in which a virtual machine's host gave these cores to other guests.
    seen : ServerStatus
    wrote : bool
        True if a snapshot was written.
    """

    scores: LoadResult
    outcomes: LoadResult
    due: int
    memory_mb: tuple[float, float]
    cpu: tuple[float, float]
    stolen: float
    seen: ServerStatus
    wrote: bool

    @property
    def errors(self) -> int:
        """Number of requests that were not answered with 200."""
        answered = len(self.scores.seconds) + len(self.outcomes.seconds)
        return self.scores.faults + self.outcomes.faults + max(self.due - answered, 0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--past", type=int, default=200_000, help="past consignments imported before")
    parser.add_argument("--per-second", type=float, default=1000.0, help="consignments sent a second")
    given = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CORE})
    with TemporaryDirectory(prefix="npsrisk-soak-") as folder:
        sender, settings = prepare(Path(folder), given.past)
        minutes = soak(sender, settings, given.minutes, given.per_second)
    print("\n".join([*table(minutes), "", *verdict(minutes)]))


class Sender:
    """Generator of requests from prepared bodies, into which a new identifier is inserted.

    Parameters
    ----------
    records : sequence of Consignment
        Sent one after the other, in random order, repeatedly.

    Attributes
    ----------
    sent, concluded : int
        Consignments and outcomes so far.
    """

    def __init__(self, records: Sequence[Consignment]) -> None:
        rng = np.random.default_rng(1)
        self._bodies = [
            _pieces(SCORES, msgspec.structs.replace(records[place], consignment_id=MARK, received_at=None))
            for place in rng.permutation(len(records)).tolist()
        ]
        self._random, self.sent, self.concluded = rng, 0, 0

    def scores(self) -> Iterator[bytes]:
        """Yield consignments that were never sent before."""
        while True:
            head, tail = self._bodies[self.sent % len(self._bodies)]
            self.sent += 1
            yield b"%s%s%s" % (head, (MARK % self.sent).encode(), tail)

    def outcomes(self) -> Iterator[bytes]:
        """Yield outcomes of any consignment that was sent before."""
        while True:
            self.concluded += 1
            now = datetime.now(UTC) - timedelta(seconds=5)
            result = "nps" if self._random.random() < 0.05 else "clear"
            outcome = Outcome(
                MARK, "model", "inspected", inspected_at=now, known_at=now, result=result,
                selection_probability=1.0,
            )  # fmt: skip
            head, tail = _pieces("/v1/outcomes", outcome)
            number = int(self._random.integers(1, max(self.sent - SETTLED, 1) + 1))
            yield head + (MARK % number).encode() + tail


def _pieces(path: str, record: Consignment | Outcome) -> tuple[bytes, bytes]:
    """Split a request before and after the identifier, which has another length than its mark."""
    body = msgspec.json.encode(record).replace(MARK.encode(), (MARK % 0).encode())
    head, _, tail = request(path, body, 0).partition((MARK % 0).encode())
    return head, tail


def prepare(folder: Path, past: int) -> tuple[Sender, Settings]:
    """Deploy two versions of the model, and import a past that ends yesterday."""
    say(f"simulating {past:,} consignments and growing the trees")
    world = make_world(past)
    settings = deploy(grow(world), folder, versions=2)
    import_past(until_yesterday(world.tables.consignments.head(past)), settings.state_dir)
    return Sender(world.records[:past]), settings


def until_yesterday(consignments: pd.DataFrame) -> pd.DataFrame:
    """Shift all times so that the last consignment arrived a day ago."""
    later = pd.Timestamp.now(tz="UTC").floor("s") - pd.Timedelta(days=1) - consignments["received_at"].max()
    return consignments.assign(
        **{name: consignments[name] + later for name in ("received_at", "cancelled_at")}
    )


def soak(sender: Sender, settings: Settings, minutes: int, per_second: float) -> list[Minute]:
    """Serve and send for some minutes, and print each."""
    command = [str(Path(sys.executable).with_name("npsrisk")), "serve", "--port", "{port}"]
    done: list[Minute] = []
    with serving(command, environment(settings.state_dir), "/health/ready") as server:
        before = see(server, settings.state_dir)
        for number in range(minutes):
            swap(settings.state_dir)
            done.append(asyncio.run(one_minute(server, sender, settings.state_dir, per_second, before)))
            before = done[-1].seen
            print(row(number + 1, done[-1]), file=sys.stderr, flush=True)
    return done


def swap(state_dir: Path) -> None:
    """Set the other version as the current one, as the publisher does in its last step."""
    models = state_dir / "models"
    current = msgspec.json.decode((models / "current.json").read_bytes())["folder"]
    (other,) = (path.name for path in models.iterdir() if path.is_dir() and path.name != current)
    part = models / "current.part"
    part.write_bytes(msgspec.json.encode({"folder": other}))
    part.replace(models / "current.json")


async def one_minute(
    server: Server,
    sender: Sender,
    state_dir: Path,
    per_second: float,
    before: ServerStatus,
    seconds: float = 60.0,
) -> Minute:
    """Send for a minute, and monitor the server."""
    memory: list[float] = []
    watching = asyncio.create_task(watch(server, memory))
    already = sender.sent + sender.concluded
    began, cpu, own_cpu, stolen = (
        time.monotonic(),
        server.cpu_seconds(),
        time.process_time(),
        stolen_seconds(),
    )
    scores, outcomes = await asyncio.gather(
        open_loop(server.port, sender.scores(), CONNECTIONS, seconds, per_second),
        open_loop(server.port, sender.outcomes(), OUTCOME_CONNECTIONS, seconds, OUTCOMES_PER_SECOND),
    )
    lasted = time.monotonic() - began
    used = ((server.cpu_seconds() - cpu) / lasted, (time.process_time() - own_cpu) / lasted)
    stolen_share = (stolen_seconds() - stolen) / lasted
    watching.cancel()
    seen = see(server, state_dir)
    due = sender.sent + sender.concluded - already - 2  # the last of each was too late to be sent
    return Minute(
        scores, outcomes, due, (min(memory), max(memory)), used, stolen_share, seen,
        seen.snapshot != before.snapshot,
    )  # fmt: skip


def stolen_seconds() -> float:
    """Return how long the cores of server and client, on average, were given to other guests (proc_stat(5))."""
    lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    ours = [line.split() for line in lines if line.split()[0] in {f"cpu{SERVER_CORE}", f"cpu{CLIENT_CORE}"}]
    return sum(int(each[STOLEN]) for each in ours) / len(ours) / TICKS


async def watch(server: Server, memory_mb: list[float]) -> None:
    """Record the server's memory, until cancelled."""
    while True:
        memory_mb.append(server.resident_mb())
        await asyncio.sleep(LOOK_SECONDS)


def see(server: Server, state_dir: Path) -> ServerStatus:
    """Read the status from the server's metrics."""
    lines = _get(server, "/metrics").decode().splitlines()
    metrics = dict(line.split() for line in lines if line.startswith("npsrisk_") and "{" not in line)
    model = msgspec.json.decode(_get(server, "/v1/model"))["version"]
    log_mb = sum(path.stat().st_size for path in state_dir.glob("events.db*")) / MB
    numbers = [
        float(metrics[f"npsrisk_{name}"])
        for name in ("history_keys", "snapshot_sequence", "snapshot_pause_seconds")
    ]
    return ServerStatus(model, log_mb, int(numbers[0]), int(numbers[1]), 1e3 * numbers[2])


def _get(server: Server, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=30) as answer:
        content: bytes = answer.read()
        return content


def table(minutes: Sequence[Minute]) -> list[str]:
    """Return all minutes as a table in Markdown."""
    head = ["| " + " | ".join(HEADER) + " |", "|---" * len(HEADER) + "|"]
    return head + [row(number, minute) for number, minute in enumerate(minutes, start=1)]


def row(number: int, minute: Minute) -> str:
    """Return one line of the table."""
    run, seen = minute.scores, minute.seen
    cells = [
        f"{number}", seen.model, f"{len(run.seconds):,}", f"{len(minute.outcomes.seconds):,}", f"{minute.errors:,}",
        *(f"{run.quantile_ms(share):.1f}" for share in (0.5, 0.99, 1.0)),
        *(f"{mb:.0f}" for mb in minute.memory_mb), f"{seen.log_mb:,.0f}",
        f"{seen.pause_ms:.0f}" if minute.wrote else "", f"{seen.keys:,}", *(f"{share:.0%}" for share in minute.cpu),
        f"{minute.stolen:.1%}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def verdict(minutes: Sequence[Minute]) -> list[str]:
    """Return what holds after the warm-up, as described at the top of this file."""
    kept = minutes[max(1, len(minutes) // 6) :]
    errors, models = sum(minute.errors for minute in minutes), [minute.seen.model for minute in minutes]
    if not kept:
        return [f"- errors: {errors}; too short for a verdict on memory and times"]
    p99, worst = p99_ms(kept), max(minute.scores.quantile_ms(0.99) for minute in kept)
    quiet = [minute for minute in kept if minute.stolen <= QUIET]
    first, last, allowed = growth(kept)
    return [
        _line(errors == 0, f"errors: {errors:,}, all minutes counted"),
        _line(all(a != b for a, b in pairwise(models)), "each minute the other version of the model scored"),
        _line(last <= allowed, f"memory: {first:.0f} MB, later {last:.0f} MB; flat means at most {allowed:.0f} MB"),
        _line(p99 <= MOST_P99_MS, f"p99 {p99:.1f} ms, at most {MOST_P99_MS:.0f}; of the worst minute {worst:.1f} ms"),
        f"- minutes of {len(kept)} with at most {QUIET:.0%} stolen: {len(quiet)}, their p99 {p99_ms(quiet):.1f} ms",
    ]  # fmt: skip


def p99_ms(minutes: Sequence[Minute]) -> float:
    """Compute the 99th percentile of the latencies, in milliseconds; NaN without minutes."""
    if not minutes:
        return float("nan")
    return float(np.quantile(np.concatenate([minute.scores.seconds for minute in minutes]), 0.99) * 1e3)


def growth(minutes: Sequence[Minute]) -> tuple[float, float, float]:
    """Compute the memory of the first third, of the last third, and the maximum allowed, in MB."""
    third = -(-len(minutes) // 3)
    first, last = (
        float(np.mean([minute.memory_mb[0] for minute in part]))
        for part in (minutes[:third], minutes[-third:])
    )
    between = (len(minutes) - third) * np.mean([len(minute.scores.seconds) for minute in minutes])
    return first, last, first * (1 + MOST_GROWTH) + IDENTIFIER_BYTES * float(between) / MB


def _line(holds: bool, text: str) -> str:
    return f"- {'holds' if holds else 'MISSED'}: {text}"


if __name__ == "__main__":
    uvloop.install()
    main()
