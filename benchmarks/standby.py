"""Measure a standby: the CPU time of an entry that it follows, and the time until it scores after the active service is gone.

    POSTGRES_FSYNC=on .ci/with-postgres python -m benchmarks.standby [--rounds 4] [--rate 300] [--seconds 4]

Consignments come one by one at a fixed rate. Then the active service is killed, or paused in every second round, and the time counts until
the other one is ready. After a pause this includes the takeover time of 10 s, in which nothing shows that the service is gone.
"""

import argparse
import asyncio
import os
import shutil
import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec
import uvloop

from benchmarks.client import open_loop, request
from benchmarks.databases import make_schema
from benchmarks.deployed import deploy, grow, make_world
from benchmarks.serving import OPEN_LOOP_CONNECTIONS, SCORES, SERVE, Server, environment, good, say, serving
from consignments.records import Consignment

READY, LIVE = "/health/ready", "/health/live"
LOOK_SECONDS, WARMING = 0.005, 2_000


class Takeover(NamedTuple):
    """One takeover: CPU microseconds an entry of both services before it, and seconds until the standby was ready."""

    active_us: float
    standby_us: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--rate", type=float, default=300.0)
    parser.add_argument("--seconds", type=float, default=4.0)
    args = parser.parse_args()
    world = make_world(int(args.rounds * (args.rate * args.seconds + WARMING)))
    bodies = iter(world.records)
    found: dict[int, list[Takeover]] = {signal.SIGKILL: [], signal.SIGSTOP: []}
    with TemporaryDirectory(prefix="npsrisk-standby-") as folder:
        deploy(grow(world), Path(folder))
        for number in range(args.rounds):
            how = signal.SIGKILL if number % 2 == 0 else signal.SIGSTOP
            found[how].append(measure(Path(folder), number, bodies, how, args.rate, args.seconds))
    print(
        "| the active service is | CPU µs an entry, active | the same, standby | s until the standby scores |\n|---|---|---|---|"
    )
    for how, name in ((signal.SIGKILL, "killed"), (signal.SIGSTOP, "paused")):
        rounds = found[how]
        seconds = ", ".join(f"{each.seconds:.2f}" for each in rounds)
        active, standby = (median(each[place] for each in rounds) for place in (0, 1))
        print(f"| {name} | {active:,.0f} | {standby:,.0f} | {seconds} |")
    print(f"load {os.getloadavg()[0]:.1f}")


def measure(
    folder: Path, number: int, bodies: Iterator[Consignment], how: int, rate: float, seconds: float
) -> Takeover:
    """Start both services on a new log, send consignments, and end the active one."""
    names = [f"one_{number}", f"two_{number}"]
    url = make_schema(names[0])
    with ExitStack() as stack:
        servers = []
        for name, path in zip(names, (READY, LIVE), strict=True):
            shutil.copytree(folder / "state", folder / name)
            settings = environment(folder / name) | {
                "NPSRISK_DATABASE_URL": url,
                "NPSRISK_STANDBY": "true",
                "NPSRISK_SNAPSHOTS_DIR": str(folder / names[0] / "snapshots"),
                "NPSRISK_DATA_KEY_FILE": str(folder / names[0] / "data.key"),
            }
            servers.append(stack.enter_context(serving(SERVE, settings, path)))
        active, standby = servers
        singles = (request(SCORES, msgspec.json.encode(c), active.port) for c in bodies)
        send(active, singles, rate, 1.0)
        before = [server.cpu_seconds() for server in servers]
        answers = send(active, singles, rate, seconds)
        active_us, standby_us = (
            1e6 * (server.cpu_seconds() - first) / answers
            for server, first in zip(servers, before, strict=True)
        )
        begun = time.monotonic()
        os.kill(active.pid, how)
        while not is_ready(standby):
            time.sleep(LOOK_SECONDS)
        lasted = time.monotonic() - begun
        os.kill(active.pid, signal.SIGKILL)
    say(f"round {number}: {lasted:.2f} s")
    return Takeover(active_us, standby_us, lasted)


def send(server: Server, singles: Iterator[bytes], rate: float, seconds: float) -> int:
    """Send consignments at a rate; return the number of answers."""
    return good(asyncio.run(open_loop(server.port, singles, OPEN_LOOP_CONNECTIONS, seconds, rate)))


def is_ready(server: Server) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{READY}", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    uvloop.install()
    main()
