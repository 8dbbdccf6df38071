"""Compare the CPU time of two versions of npsrisk, served at once and loaded in turn, on a machine that is never quiet.

    git worktree add ../before REVISION
    python -m benchmarks.paired ../before [--rounds 8] [--past 100000]

Both servers run on the first core, the client on the last. A load of about a second goes to one, then to the other, then
in the reverse order, so that other activity of the machine affects both. For each load it prints the CPU time of a consignment
(the median over the rounds), the ratio of the two (median and quartiles over the pairs), and quantiles of the latencies.
"""

import argparse
import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec
import numpy as np
import uvloop
from tqdm import trange

from benchmarks.client import LoadResult, closed_loop, open_loop, request
from benchmarks.deployed import deploy, grow, make_world
from benchmarks.serving import (
    BULK_ROWS,
    CLIENT_CORE,
    CONNECTIONS,
    OPEN_LOOP_CONNECTIONS,
    OPEN_LOOP_PER_SECOND,
    SCORES,
    Server,
    environment,
    good,
    import_past,
    say,
    serving,
    spent,
    warm,
)

SECONDS = 1.0
ROUND_CONSIGNMENTS = 14_000
"""More than any server processes in one round of all loads."""
QUANTILES = (0.5, 0.95, 0.99)
LISTS = 2
BEFORE = "state-before"


class Side(NamedTuple):
    """One of the two versions: its server, and the bodies that were not yet sent."""

    server: Server
    bodies: Iterator[bytes]

    def requests(self) -> Iterator[bytes]:
        """Return requests of one consignment."""
        return (request(SCORES, body, self.server.port) for body in self.bodies)

    def lists(self, calls: int) -> Iterator[bytes]:
        """Yield requests of many consignments."""
        for _ in range(calls):
            members = b",".join(next(self.bodies) for _ in range(BULK_ROWS))
            yield request(SCORES, b'{"consignments":[' + members + b"]}", self.server.port)


class Cost(NamedTuple):
    """Cost of a load: CPU time of a consignment in microseconds, and the latencies."""

    cpu_us: float
    run: LoadResult


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path, help="source tree of another version of npsrisk")
    parser.add_argument("--rounds", type=int, default=8, help="pairs of each load")
    parser.add_argument("--past", type=int, default=100_000, help="past consignments imported before")
    args = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CORE})
    trees = (args.other.absolute(), Path(__file__).resolve().parent.parent)
    with TemporaryDirectory(prefix="npsrisk-bench-") as folder, ExitStack() as stack:
        bodies = prepare(Path(folder), args.past, args.rounds)
        sides = [
            Side(stack.enter_context(served(tree, Path(folder), name)), iter(bodies))
            for tree, name in zip(trees, ("state-0", "state-1"), strict=True)
        ]
        for side in sides:
            asyncio.run(warm(side.server.port, side.requests()))
        costs = measure(sides, args.rounds)
    print("| load | before, µs | now, µs | now / before (quartiles) | before, ms: p50, p95, p99 | now, ms |")
    print("|---" * 6 + "|")
    for load, (before, now) in costs.items():
        print(f"| {load} | {told(before, now)} |")


def prepare(folder: Path, past: int, rounds: int) -> list[bytes]:
    """Create a state directory with a model and past data, and bodies of later consignments."""
    say("simulating and growing the trees")
    world = make_world(past + ROUND_CONSIGNMENTS * (rounds + 1))
    settings = deploy(grow(world), folder)
    import_past(world.tables.consignments.head(past), settings.state_dir)
    settings.state_dir.rename(folder / BEFORE)
    return [msgspec.json.encode(c) for c in world.records[past:]]


def served(tree: Path, folder: Path, name: str) -> AbstractContextManager[Server]:
    """Serve a version from its own copy of the state directory."""
    state = folder / name
    shutil.copytree(folder / BEFORE, state)
    command = [sys.executable, "-m", "npsrisk", "serve", "--port", "{port}"]
    only_this = {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
    return serving(command, environment(state) | only_this, "/health/ready")


def measure(sides: Sequence[Side], rounds: int) -> dict[str, list[list[Cost]]]:
    """Measure both in turn; returns for each load the costs of each side, pair by pair."""
    costs: dict[str, list[list[Cost]]] = {load: [[] for _ in sides] for load in LOADS}
    for number in trange(rounds, desc="rounds", unit="round"):
        for load, put in LOADS.items():
            for place in (0, 1) if number % 2 == 0 else (1, 0):
                costs[load][place].append(put(sides[place]))
    return costs


def busy(connections: int, side: Side) -> Cost:
    """Keep connections busy with single consignments."""
    run, cpu = spent(
        side.server, partial(closed_loop, side.server.port, side.requests(), connections, SECONDS)
    )
    return Cost(1e6 * cpu / good(run), run)


def at_a_rate(side: Side) -> Cost:
    """Send single consignments at fixed times."""
    load = partial(
        open_loop, side.server.port, side.requests(), OPEN_LOOP_CONNECTIONS, SECONDS, OPEN_LOOP_PER_SECOND
    )
    run, cpu = spent(side.server, load)
    return Cost(1e6 * cpu / good(run), run)


def in_lists(side: Side) -> Cost:
    """Send lists, one after the other."""
    run, cpu = spent(side.server, partial(closed_loop, side.server.port, side.lists(LISTS), 1, SECONDS))
    return Cost(1e6 * cpu / (good(run) * BULK_ROWS), run)


LOADS: dict[str, Callable[[Side], Cost]] = {
    **{f"{connections} connections": partial(busy, connections) for connections in CONNECTIONS},
    f"{OPEN_LOOP_PER_SECOND:,.0f} a second": at_a_rate,
    f"lists of {BULK_ROWS:,}": in_lists,
}


def told(before: Sequence[Cost], now: Sequence[Cost]) -> str:
    """Format the pairs of one load as the cells of its row."""
    cpu = np.array([[cost.cpu_us for cost in side] for side in (before, now)])
    low, ratio, high = np.quantile(cpu[1] / cpu[0], (0.25, 0.5, 0.75))
    cells = [
        *(f"{median:.0f}" for median in np.median(cpu, axis=1)),
        f"{ratio:.2f} ({low:.2f} to {high:.2f})",
    ]
    for side in (before, now):
        seconds = np.concatenate([cost.run.seconds for cost in side])
        cells.append(", ".join(f"{1e3 * each:.1f}" for each in np.quantile(seconds, QUANTILES)))
    return " | ".join(cells)


if __name__ == "__main__":
    uvloop.install()
    main()
