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
each consignment in between, because its identifier is kept for 366 days. *In time*: 99 of 100 answers within 15 ms.
"""

import asyncio
import sys
import time
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
from benchmarks.memory import TICKS
from benchmarks.script import format_table, parse_options, say
from benchmarks.service import CLIENT_CORE, SCORES, SERVER_CORES, Server, build_settings, import_past, serve
from consignments.records import Consignment, Outcome

CONNECTIONS, OUTCOME_CONNECTIONS = 200, 20
OUTCOMES_PER_SECOND = 20.0
SETTLED = 10_000
"""Outcomes belong to consignments sent at least so many before, which have their answer."""
MARK = b"SOAK-000000000000"
"""The identifier in a prepared body."""
LOOK_SECONDS, MINUTE_SECONDS = 0.5, 60.0
MOST_P99_MS, MOST_GROWTH, IDENTIFIER_BYTES = 15.0, 0.05, 25
MB = 1024 * 1024
STOLEN = 8
"""The field of a core's line in /proc/stat."""
HEADS = (
    "minute", "model", "scores", "errors", "p50 ms", "p99 ms", "max ms", "RSS MB, least", "most", "log MB",
    "snapshot pause ms", "keys", "server CPU", "stolen",
)  # fmt: skip


class Minute(NamedTuple):
    """Results of one minute: errors, versions that scored, memory of the server, and cells for the rest of the table."""

    scores: LoadResult
    errors: int
    model: str
    memory_mb: Sequence[float]
    rest: Sequence[str]

    def list_cells(self, number: int) -> list[str]:
        """List the cells of its row."""
        times = [f"{self.scores.quantile_ms(share):.1f}" for share in (0.5, 0.99, 1.0)]
        memory = [f"{mb:.0f}" for mb in (min(self.memory_mb), max(self.memory_mb))]
        counts = f"{len(self.scores.seconds):,}", f"{self.errors:,}"
        return [str(number), self.model, *counts, *times, *memory, *self.rest]


def main() -> None:
    options = parse_options(__doc__, minutes=30, past=200_000, per_second=1000.0)
    say(f"simulating {options.past:,} consignments and growing the trees")
    world = make_world(options.past)
    past = world.tables.consignments.head(options.past)
    until_yesterday = pd.Timestamp.now(tz="UTC").floor("s") - pd.Timedelta(days=1) - past["received_at"].max()
    moved = {name: past[name] + until_yesterday for name in ("received_at", "cancelled_at")}
    with TemporaryDirectory(prefix="npsrisk-soak-") as folder:
        state_dir = deploy(grow(world), Path(folder), versions=2).state_dir
        import_past(past.assign(**moved), state_dir)
        sender, minutes = Sender(world.records[: options.past]), list[Minute]()
        with serve(build_settings(state_dir)) as server:
            for number in range(1, options.minutes + 1):
                swap_models(state_dir / "models")
                minutes.append(asyncio.run(send_minute(server, sender, state_dir, options.per_second)))
                print(" | ".join(minutes[-1].list_cells(number)), file=sys.stderr, flush=True)
    print(format_table(HEADS, [minute.list_cells(number) for number, minute in enumerate(minutes, start=1)]))
    print("\n".join(["", *judge(minutes)]))


class Sender:
    """Generator of requests from prepared bodies, in random order, into which a new identifier is inserted."""

    def __init__(self, records: Sequence[Consignment]) -> None:
        rng = np.random.default_rng(1)
        mark = MARK.decode()
        self._bodies = [
            msgspec.json.encode(
                msgspec.structs.replace(records[place], consignment_id=mark, received_at=None)
            )
            for place in rng.permutation(len(records)).tolist()
        ]
        self._random, self.sent, self.concluded = rng, 0, 0

    def build(self, path: str, body: bytes, number: int) -> bytes:
        """Build a request of the consignment with a number."""
        return request(path, body.replace(MARK, b"SOAK-%012d" % number), 0)

    def iterate_scores(self) -> Iterator[bytes]:
        """Yield consignments that were never sent before."""
        while True:
            self.sent += 1
            yield self.build(SCORES, self._bodies[self.sent % len(self._bodies)], self.sent)

    def iterate_outcomes(self) -> Iterator[bytes]:
        """Yield outcomes of any consignment that was sent before."""
        while True:
            self.concluded += 1
            now = datetime.now(UTC) - timedelta(seconds=5)
            outcome = Outcome(
                MARK.decode(), "model", "inspected", inspected_at=now, known_at=now, selection_probability=1.0,
                result="nps" if self._random.random() < 0.05 else "clear",
            )  # fmt: skip
            number = int(self._random.integers(1, max(self.sent - SETTLED, 1) + 1))
            yield self.build("/v1/outcomes", msgspec.json.encode(outcome), number)


def swap_models(models: Path) -> None:
    """Set the other version as the current one, as the publisher does in its last step."""
    current = msgspec.json.decode((models / "current.json").read_bytes())["folder"]
    (other,) = (path.name for path in models.iterdir() if path.is_dir() and path.name != current)
    part = models / "current.part"
    part.write_bytes(msgspec.json.encode({"folder": other}))
    part.replace(models / "current.json")


async def send_minute(server: Server, sender: Sender, state_dir: Path, per_second: float) -> Minute:
    """Send for a minute, and monitor the server."""
    memory: list[float] = []

    async def watch() -> None:
        while True:
            memory.append(server.read_resident_mb())
            await asyncio.sleep(LOOK_SECONDS)

    watching = asyncio.create_task(watch())
    already, before = sender.sent + sender.concluded, server.read_metrics()
    begun, cpu, stolen = time.monotonic(), server.read_cpu_seconds(), read_stolen_seconds()
    scores, outcomes = await asyncio.gather(
        open_loop(server.port, sender.iterate_scores(), CONNECTIONS, MINUTE_SECONDS, per_second),
        open_loop(
            server.port, sender.iterate_outcomes(), OUTCOME_CONNECTIONS, MINUTE_SECONDS, OUTCOMES_PER_SECOND
        ),
    )
    lasted = time.monotonic() - begun
    used, stolen = server.read_cpu_seconds() - cpu, read_stolen_seconds() - stolen
    watching.cancel()
    after = server.read_metrics()
    wrote = after["npsrisk_snapshot_sequence"] != before["npsrisk_snapshot_sequence"]
    due = sender.sent + sender.concluded - already - 2  # the last of each was too late to be sent
    answered = len(scores.seconds) + len(outcomes.seconds)
    rest = [
        f"{sum(path.stat().st_size for path in state_dir.glob('events.db*')) / MB:,.0f}",
        f"{1e3 * after['npsrisk_snapshot_pause_seconds']:.0f}" if wrote else "",
        f"{after['npsrisk_history_keys']:,.0f}", f"{used / lasted:.0%}", f"{stolen / lasted:.1%}",
    ]  # fmt: skip
    errors = scores.faults + outcomes.faults + max(due - answered, 0)
    return Minute(scores, errors, msgspec.json.decode(server.get("/v1/model"))["version"], memory, rest)


def read_stolen_seconds() -> float:
    """Read how long the cores of server and client, on average, were given to other guests (proc_stat(5))."""
    lines = [line.split() for line in Path("/proc/stat").read_text(encoding="ascii").splitlines()]
    ours = [line for line in lines if line[0] in {f"cpu{core}" for core in (*SERVER_CORES, CLIENT_CORE)}]
    return sum(int(each[STOLEN]) for each in ours) / len(ours) / TICKS


def judge(minutes: Sequence[Minute]) -> Iterator[str]:
    """Yield what holds after the warm-up, as described at the top of this file."""
    kept = minutes[max(1, len(minutes) // 6) :]
    errors = sum(minute.errors for minute in minutes)
    yield f"- {describe(errors == 0)}: errors: {errors:,}, all minutes counted"
    if not kept:
        return
    swapped = all(a.model != b.model for a, b in pairwise(minutes))
    yield f"- {describe(swapped)}: each minute the other version of the model scored"
    third = -(-len(kept) // 3)
    first, last = (np.mean([min(each.memory_mb) for each in part]) for part in (kept[:third], kept[-third:]))
    between = (len(kept) - third) * np.mean([len(each.scores.seconds) for each in kept])
    allowed = first * (1 + MOST_GROWTH) + IDENTIFIER_BYTES * between / MB
    memory = f"memory: {first:.0f} MB, later {last:.0f} MB; flat means at most {allowed:.0f} MB"
    yield f"- {describe(bool(last <= allowed))}: {memory}"
    p99 = 1e3 * float(np.quantile(np.concatenate([each.scores.seconds for each in kept]), 0.99))
    worst = max(each.scores.quantile_ms(0.99) for each in kept)
    times = f"p99 {p99:.1f} ms, at most {MOST_P99_MS:.0f}; of the worst minute {worst:.1f} ms"
    yield f"- {describe(p99 <= MOST_P99_MS)}: {times}"


def describe(holds: bool) -> str:
    return "holds" if holds else "MISSED"


if __name__ == "__main__":
    uvloop.install()
    main()
