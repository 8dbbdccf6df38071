"""Measure the service with its event log in SQLite and in PostgreSQL, in turn: decisions a second, CPU time, commit latency.

    POSTGRES_FSYNC=on .ci/with-postgres python -m benchmarks.databases [--seconds 3] [--rounds 3]

Both services get the same consignments: one by one on 64 connections, then in lists of 1,000 on one. The server runs on the
first core, the client on the last, PostgreSQL on any. Each answer is durable: with `fsync=on` a commit waits for the disk, as in
operation. CPU time of PostgreSQL is that of all its processes.
"""

import argparse
import asyncio
import os
import shutil
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
import uvloop

from benchmarks.client import LoadResult, closed_loop, request
from benchmarks.deployed import deploy, grow, make_world
from benchmarks.serving import (
    CLIENT_CORE,
    SCORES,
    SERVE,
    SERVER_CORE,
    Server,
    environment,
    good,
    say,
    serving,
    spent,
    warm,
)
from consignments.records import Consignment

NAMES = ("SQLite", "PostgreSQL")
SERVER = sa.make_url(os.environ["NPSRISK_TEST_POSTGRES"])
CONNECTIONS, LIST_ROWS = 64, 1_000
SINGLES_PER_SECOND, LISTS_PER_SECOND, WARMING = 6_000, 12, 6_000
"""More than any current machine answers: so many consignments are prepared."""


class Costs(NamedTuple):
    """The costs of one form of load.

    Attributes
    ----------
    a_second : float
        Decisions a second of wall time.
    cpu_us, database_us : float
        CPU microseconds a decision of the service, and of PostgreSQL.
    busy : float
        Share of one core that the service used.
    commit_ms, group : float
        Mean time of a commit, and decisions in it.
    """

    a_second: float
    cpu_us: float
    database_us: float
    busy: float
    commit_ms: float
    group: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CORE})
    each = int(WARMING + args.seconds * (SINGLES_PER_SECOND + LIST_ROWS * LISTS_PER_SECOND))
    say(f"simulating {each:,} consignments and growing the trees")
    world = make_world(each)
    grown = grow(world)
    found: dict[tuple[str, str], list[Costs]] = defaultdict(list)
    with TemporaryDirectory(prefix="npsrisk-databases-") as folder:
        deploy(grown, Path(folder))
        for number in range(args.rounds):
            for name in NAMES if number % 2 == 0 else reversed(NAMES):
                state_dir = Path(folder) / f"{name}-{number}"
                shutil.copytree(Path(folder) / "state", state_dir)
                for form, costs in measure(name, state_dir, world.records, args.seconds):
                    found[form, name].append(costs)
    report(found)


def measure(
    name: str, state_dir: Path, records: Sequence[Consignment], seconds: float
) -> Iterator[tuple[str, Costs]]:
    """Measure one service on a new log; yield the form of the load with its costs."""
    url, database = (make_schema(state_dir.name), find_database()) if name == "PostgreSQL" else ("", None)
    bodies = iter(records)
    with serve_log(state_dir, url) as server:
        singles = (request(SCORES, msgspec.json.encode(c), server.port) for c in bodies)
        asyncio.run(warm(server.port, singles))
        load = partial(closed_loop, server.port, singles, CONNECTIONS, seconds)
        yield "one by one", observe(server, database, load, 1)
        lists = [
            msgspec.json.encode({"consignments": [next(bodies) for _ in range(LIST_ROWS)]})
            for _ in range(int(seconds * LISTS_PER_SECOND))
        ]
        prepared = iter([request(SCORES, each, server.port) for each in lists])
        yield (
            "in lists",
            observe(server, database, partial(closed_loop, server.port, prepared, 1, seconds), LIST_ROWS),
        )


def serve_log(state_dir: Path, url: str, core: int = SERVER_CORE) -> AbstractContextManager[Server]:
    """Run a service on a log and a core; an empty URL is that of SQLite in its state directory."""
    settings = environment(state_dir) | ({"NPSRISK_DATABASE_URL": url} if url else {})
    return serving(SERVE, settings, "/health/ready", core)


def observe(
    server: Server, database: Server | None, load: Callable[[], Coroutine[Any, Any, LoadResult]], rows: int
) -> Costs:
    """Run a load, and compute what a decision costs."""
    commits, before = read_commits(server.port), database.cpu_seconds() if database else 0.0
    run, cpu = spent(server, load)
    decisions = good(run) * rows
    database_cpu = (database.cpu_seconds() if database else 0.0) - before
    groups, entries, waited = (
        after - first for first, after in zip(commits, read_commits(server.port), strict=True)
    )
    return Costs(
        decisions / run.lasted,
        1e6 * cpu / decisions,
        1e6 * database_cpu / decisions,
        cpu / run.lasted,
        1e3 * waited / groups,
        entries / groups,
    )


def read_commits(port: int) -> tuple[float, float, float]:
    """Return the number of commits so far, their entries and their seconds."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[:1] != "#")
    names = ("npsrisk_commit_seconds_count", "npsrisk_commit_entries_sum", "npsrisk_commit_seconds_sum")
    return tuple(float(lines[name]) for name in names)  # type: ignore[return-value]


def make_schema(name: str) -> str:
    """Create a schema for a log, and return the URL of the log."""
    engine = sa.create_engine(SERVER.set(drivername="postgresql+psycopg"))
    schema = name.lower().replace("-", "_")
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    engine.dispose()
    url = SERVER.update_query_dict({"options": f"-csearch_path={schema}"})
    return url.render_as_string(hide_password=False)


def find_database() -> Server:
    """Find the processes of the PostgreSQL server, which must run on this machine."""
    engine = sa.create_engine(SERVER.set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        say("fsync " + str(connection.exec_driver_sql("SHOW fsync").scalar_one()))
        lines = connection.exec_driver_sql("SELECT pg_read_file('postmaster.pid')").scalar_one()
    engine.dispose()
    return Server(int(lines.split()[0]), 0, 0.0)


def report(found: Mapping[tuple[str, str], Sequence[Costs]]) -> None:
    """Print the medians of the rounds."""
    print(
        "| load | log | decisions a second | CPU µs, service | CPU µs, database | busy | commit ms | decisions a commit |"
    )
    print("|---" * 8 + "|")
    for (form, name), rounds in found.items():
        middle = Costs(*(median(values) for values in zip(*rounds, strict=True)))
        print(
            f"| {form} | {name} | {middle.a_second:,.0f} | {middle.cpu_us:,.0f} | {middle.database_us:,.0f} "
            f"| {middle.busy:.2f} | {middle.commit_ms:.1f} | {middle.group:.0f} |"
        )


if __name__ == "__main__":
    uvloop.install()
    main()
