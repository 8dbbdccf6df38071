"""Measure the service with its event log in SQLite and in PostgreSQL, in turn: decisions a second, CPU time, commit latency.

    POSTGRES_FSYNC=on .ci/with-postgres python -m benchmarks.databases [--seconds 3] [--rounds 3]

Both services get the same consignments: one by one on 64 connections, then in lists of 1,000 on one. The server runs on the
first core, the client on the last, PostgreSQL on any. Each answer is durable: with `fsync=on` a commit waits for the disk, as in
operation. CPU time of PostgreSQL is that of all its processes.
"""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import sqlalchemy as sa
import uvloop

from benchmarks.client import closed_loop
from benchmarks.deployed import deploy, grow, make_world
from benchmarks.memory import read_cpu_seconds
from benchmarks.script import format_table, parse_options, say
from benchmarks.service import (
    LIST_ROWS,
    Server,
    build_lists,
    build_settings,
    count_good,
    iterate_requests,
    serve,
)
from consignments.records import Consignment

NAMES = ("SQLite", "PostgreSQL")
CONNECTIONS = 64
SINGLES_PER_SECOND, LISTS_PER_SECOND, WARMING = 6_000, 12, 6_000
"""More than any current machine answers: so many consignments are prepared."""
COMMITS = ("npsrisk_commit_seconds_count", "npsrisk_commit_entries_sum", "npsrisk_commit_seconds_sum")
HEADS = (
    "load",
    "log",
    "decisions a second",
    "CPU µs, service",
    "CPU µs, database",
    "busy",
    "commit ms",
    "decisions a commit",
)


def main() -> None:
    options = parse_options(__doc__, seconds=3.0, rounds=3)
    each = int(WARMING + options.seconds * (SINGLES_PER_SECOND + LIST_ROWS * LISTS_PER_SECOND))
    say(f"simulating {each:,} consignments and growing the trees")
    world = make_world(each)
    found = defaultdict[tuple[str, str], list[Sequence[float]]](list)
    with TemporaryDirectory(prefix="npsrisk-databases-") as folder:
        state = deploy(grow(world), Path(folder)).state_dir
        for number in range(options.rounds):
            for name in NAMES if number % 2 == 0 else reversed(NAMES):
                state_dir = Path(folder) / f"{name}-{number}"
                shutil.copytree(state, state_dir)
                for form, costs in measure(name, state_dir, world.records, options.seconds):
                    found[form, name].append(costs)
    rows = [
        [*key, *(f"{median(values):,.2f}" for values in zip(*rounds, strict=True))]
        for key, rounds in found.items()
    ]
    print(format_table(HEADS, rows))


def measure(
    name: str, state_dir: Path, records: Sequence[Consignment], seconds: float
) -> Iterator[tuple[str, Sequence[float]]]:
    """Measure one service on a new log; yield the form of the load with its costs, as in `HEADS`."""
    settings, database = build_settings(state_dir), 0
    if name == "PostgreSQL":
        settings["NPSRISK_DATABASE_URL"], database = make_schema(state_dir.name), find_database()
    left = iter(records)
    with serve(settings) as server:
        singles = iterate_requests(left, server.port)
        server.warm(singles)
        yield "one by one", observe(server, database, singles, CONNECTIONS, seconds, 1)
        lists = build_lists(left, server.port, int(seconds * LISTS_PER_SECOND))
        yield "in lists", observe(server, database, lists, 1, seconds, LIST_ROWS)


def observe(
    server: Server, database: int, requests: Iterator[bytes], connections: int, seconds: float, rows: int
) -> Sequence[float]:
    """Run a load, and compute what a decision costs."""
    before, database_before = server.read_metrics(), read_cpu_seconds(database) if database else 0.0
    run, cpu = server.load(partial(closed_loop, server.port, requests, connections, seconds))
    decisions = count_good(run) * rows
    database_cpu = (read_cpu_seconds(database) if database else 0.0) - database_before
    after = server.read_metrics()
    groups, entries, waited = (after[each] - before[each] for each in COMMITS)
    costs = 1e6 * cpu / decisions, 1e6 * database_cpu / decisions
    return decisions / run.lasted, *costs, cpu / run.lasted, 1e3 * waited / groups, entries / groups


def connect() -> sa.Engine:
    """Connect to the server of the tests."""
    url = sa.make_url(os.environ["NPSRISK_TEST_POSTGRES"])
    return sa.create_engine(url.set(drivername="postgresql+psycopg"))


def make_schema(name: str) -> str:
    """Create a schema for a log, and return the URL of the log."""
    schema = name.lower().replace("-", "_")
    with connect().begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    url = sa.make_url(os.environ["NPSRISK_TEST_POSTGRES"])
    return url.update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(hide_password=False)


def find_database() -> int:
    """Find the process of the PostgreSQL server, which must run on this machine."""
    with connect().connect() as connection:
        say("fsync " + str(connection.exec_driver_sql("SHOW fsync").scalar_one()))
        lines = connection.exec_driver_sql("SELECT pg_read_file('postmaster.pid')").scalar_one()
    return int(lines.split()[0])


if __name__ == "__main__":
    uvloop.install()
    main()
