"""Measure the cost of reading the log back: parity, export and verification of the chain, over a log of the service.

    python -m benchmarks.parity [--rows 16000]

The service's own code processes a simulated world, arrivals and outcomes in order: a small one and a large one,
because both contain the start-up cost of a process. Reported are CPU time and peak memory, each command in its own process,
one at a time.
"""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from benchmarks.deployed import SimulatedStream, deploy, grow, make_world
from benchmarks.script import NPSRISK, format_table, parse_options
from consignments.records import Outcome
from consignments.tables import to_records
from consignments.timestamps import to_us
from features.batch import build_arrival_events, build_outcome_events
from features.history.ordering import ARRIVAL, OUTCOME, order_events
from serving.process.settings import Settings
from serving.scoring.scorer import ScoreRequest
from serving.service import Service

SMALLER = 8
DRAINED_ENTRIES = 500
RUN = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""
"""Runs a command and prints its CPU seconds and MB, from a small process, because a child starts with its parent's size."""


def main() -> None:
    rows = parse_options(__doc__, rows=16_000).rows
    world = make_world(rows)
    with TemporaryDirectory() as folder:
        sizes = rows // SMALLER, rows
        few, many = (measure(world, size, Path(folder) / str(size)) for size in sizes)
    table = []
    for verb, (seconds, small_mb) in few.items():
        more, large_mb = many[verb]
        rate = (sizes[1] - sizes[0]) / (more - seconds)
        cells = f"{seconds:.1f}", f"{more:.1f}", f"{rate:,.0f}", f"{small_mb:,.0f}", f"{large_mb:,.0f}"
        table.append([f"`npsrisk {verb}`", *cells])
    heads = ["verb", "CPU s of the small log", "of the large one", "decisions a CPU second"]
    print(format_table([*heads, "peak MB, small", "large"], table))


def measure(world: SimulatedStream, rows: int, folder: Path) -> dict[str, tuple[float, float]]:
    """Measure CPU seconds and peak memory (MB) of each command over a log of `rows` decisions."""
    folder.mkdir()
    settings = deploy(grow(world), folder)
    asyncio.run(live(settings, world, rows))
    found = {}
    for words in (("parity",), ("export", "--personal", "--out", f"{folder}/out"), ("verify-log",)):
        environment = os.environ | {"NPSRISK_STATE_DIR": str(settings.state_dir)}
        command = [sys.executable, "-c", RUN, NPSRISK, *words]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        seconds, peak_mb = map(float, done.stdout.split())
        found[words[0]] = seconds, peak_mb
    return found


async def live(settings: Settings, world: SimulatedStream, rows: int) -> None:
    """Process everything in the order of history with a service."""
    arrived, outcomes = world.records[:rows], world.tables.outcomes
    assert outcomes is not None
    results, now_us = to_records(outcomes, Outcome), 0
    events = order_events(
        build_arrival_events(world.tables.consignments.head(rows)), build_outcome_events(outcomes)
    )
    service = Service(settings, lambda: now_us)
    service.open()
    await service.start()
    last = max(to_us(c.received_at) for c in arrived if c.received_at is not None)
    for number, (what, row) in enumerate(zip(events.what.tolist(), events.row.tolist(), strict=True)):
        if what == ARRIVAL:
            c = msgspec.structs.replace(arrived[row], cancelled_at=None)
            assert c.received_at is not None
            received_us = to_us(c.received_at)
            now_us = max(now_us, received_us)
            service.active.score_batch([ScoreRequest(c, received_us, "local", 0)])
        elif what == OUTCOME and now_us < last:
            service.active.intake.record_outcome(results[row], now_us, "local")
        if number % DRAINED_ENTRIES == 0:
            await service.committer.drain()
    await service.stop()


if __name__ == "__main__":
    main()
