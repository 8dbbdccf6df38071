"""Measure two services that share the offices, each with its own log, compared with one service and with two unrelated ones.

    POSTGRES_FSYNC=on .ci/with-postgres python -m benchmarks.partitions [--seconds 3] [--rounds 3]

    one       one service, one log in PostgreSQL
    plain     two services with a log in SQLite each; consignments are dealt in turn
    workers   two services with a log each in the same PostgreSQL server; the office of a consignment decides who scores it

All three run in turn, with the same consignments, one by one on 64 connections. Each service has a core of its own, which client
and PostgreSQL also use. The gain is that of `workers` over `one`, in
relation to that of `plain` over `one`. On a machine with few free cores the decisions a second say little; the CPU time of a
decision says what a further service costs.
"""

import argparse
import asyncio
import hashlib
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import msgspec
import uvloop

from benchmarks.client import closed_loop, request
from benchmarks.databases import CONNECTIONS, find_database, make_schema, serve_log
from benchmarks.deployed import deploy, grow, make_world
from benchmarks.serving import SCORES, Server, good, say
from consignments.records import Consignment

FORMS = ("one", "plain", "workers")
WARM_SECONDS, MOST_A_SECOND = 1.0, 10_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    rows = int(MOST_A_SECOND * (args.seconds + WARM_SECONDS))
    say(f"simulating {rows:,} consignments and growing the trees")
    world = make_world(rows)
    rates: dict[str, list[float]] = defaultdict(list)
    costs: dict[str, list[float]] = defaultdict(list)
    with TemporaryDirectory(prefix="npsrisk-partitions-") as folder:
        deploy(grow(world), Path(folder))
        for number in range(args.rounds):
            for form in FORMS if number % 2 == 0 else reversed(FORMS):
                rate, cost = measure(form, Path(folder), number, world.records, args.seconds)
                rates[form].append(rate)
                costs[form].append(cost)
    report(rates, costs)


def find_worker(office: str | None, workers: int) -> int:
    """Find the worker of an office: its hash decides, so that every router finds the same."""
    return int.from_bytes(hashlib.sha256((office or "").encode()).digest()[:4]) % workers


def measure(
    form: str, folder: Path, number: int, records: Sequence[Consignment], seconds: float
) -> tuple[float, float]:
    """Measure one form; return decisions a second, and CPU microseconds a decision of services and database."""
    names = [f"{form}_{number}_{worker}" for worker in range(1 if form == "one" else 2)]
    with ExitStack() as stack:
        servers = []
        for core, name in enumerate(names):
            shutil.copytree(folder / "state", folder / name)
            url = "" if form == "plain" else make_schema(name)
            servers.append(stack.enter_context(serve_log(folder / name, url, core % (os.cpu_count() or 1))))
        parts: list[list[Consignment]] = [[] for _ in servers]
        for place, c in enumerate(records):
            by_office = find_worker(c.office, len(parts)) if form == "workers" else place % len(parts)
            parts[by_office].append(c)
        bodies = [
            (request(SCORES, msgspec.json.encode(c), server.port) for c in part)
            for server, part in zip(servers, parts, strict=True)
        ]
        asyncio.run(load(servers, bodies, WARM_SECONDS))
        every = [*servers, find_database()]
        before = sum(server.cpu_seconds() for server in every)
        begun = time.perf_counter()
        decisions = asyncio.run(load(servers, bodies, seconds))
        lasted = time.perf_counter() - begun
        cpu = sum(server.cpu_seconds() for server in every) - before
    return decisions / lasted, 1e6 * cpu / decisions


async def load(servers: Sequence[Server], bodies: Sequence[Iterator[bytes]], seconds: float) -> int:
    """Keep all connections busy; return the number of decisions."""
    each = CONNECTIONS // len(servers)
    runs = await asyncio.gather(
        *(
            closed_loop(server.port, requests, each, seconds)
            for server, requests in zip(servers, bodies, strict=True)
        )
    )
    return sum(good(run) for run in runs)


def report(rates: dict[str, list[float]], costs: dict[str, list[float]]) -> None:
    """Print the medians, and the gain in relation to that of two unrelated services."""
    print("| form | decisions a second | CPU µs a decision |\n|---|---|---|")
    for form in FORMS:
        print(f"| {form} | {median(rates[form]):,.0f} | {median(costs[form]):,.0f} |")
    gains = [
        (workers / one) / (plain / one)
        for one, plain, workers in zip(*(rates[form] for form in FORMS), strict=True)
    ]
    print(
        f"\ngain of workers over that of plain services, by round: {', '.join(f'{gain:.2f}' for gain in gains)}"
    )
    by_cpu = [plain / workers for plain, workers in zip(costs["plain"], costs["workers"], strict=True)]
    print(f"the same by CPU time: {', '.join(f'{gain:.2f}' for gain in by_cpu)}")
    print(f"cores {os.cpu_count()}, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    uvloop.install()
    main()
