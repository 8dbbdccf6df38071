"""Servers of the benchmarks: processes on their own core, the loads that they get, and what those cost."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pandas as pd

from benchmarks.client import LoadResult, closed_loop, request
from benchmarks.memory import read_cpu_seconds, read_resident_mb
from benchmarks.script import NPSRISK, run_verb, say
from consignments.files.table_writers import write_table
from consignments.records import Consignment

T = TypeVar("T")
SERVER_CORES, CLIENT_CORE = (0,), (os.cpu_count() or 1) - 1
SERVE = [NPSRISK, "serve", "--port", "{port}"]
READY, SCORES = "/health/ready", "/v1/scores"
LIST_ROWS = 1_000
READY_SECONDS = 600.0
WARM_CONNECTIONS, WARM_SECONDS = 16, 1.0


class Server:
    """A server process on some cores; `ready_seconds` is the time from its start to its first good answer."""

    def __init__(
        self, settings: Mapping[str, str], command: Sequence[str] = SERVE, cores: Sequence[int] = SERVER_CORES
    ) -> None:
        self.settings, self.command, self.cores, self.port = settings, command, cores, find_free_port()
        self.ready_seconds = 0.0

    def start(self, path: str = READY) -> "Server":
        """Start it, and wait for the first good answer at a path."""
        # mlflow searches its own server on the path.
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        begun = time.monotonic()
        self.process = subprocess.Popen(
            [part.format(port=self.port) for part in self.command],
            env={**os.environ, "PATH": programs, **self.settings},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, self.cores),
        )
        self.wait(path)
        self.ready_seconds = time.monotonic() - begun
        return self

    def wait(self, path: str = READY) -> None:
        """Wait for a good answer at a path."""
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise SystemExit(f"the server ended with {self.process.returncode}")
            with suppress(OSError):
                self.get(path)
                return
            time.sleep(0.02)
        raise SystemExit(f"the server was not ready after {READY_SECONDS:.0f} s")

    def get(self, path: str) -> bytes:
        """Return what it answers at a path."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            content: bytes = answer.read()
            return content

    def read_metrics(self) -> dict[str, float]:
        """Read its metrics without labels, by name."""
        lines = self.get("/metrics").decode().splitlines()
        pairs = (line.split() for line in lines if line.startswith("npsrisk_") and "{" not in line)
        return {name: float(value) for name, value in pairs}

    def read_cpu_seconds(self) -> float:
        """Read its CPU time."""
        return read_cpu_seconds(self.process.pid)

    def read_resident_mb(self) -> float:
        """Read its resident memory."""
        return read_resident_mb(self.process.pid)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it by a signal, and wait."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        self.process.wait(60)

    def load(self, call: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, float]:
        """Run a load, and return its result and the CPU time that the server spent on it."""
        before = self.read_cpu_seconds()
        found = asyncio.run(call())
        return found, self.read_cpu_seconds() - before

    def warm(self, requests: Iterator[bytes]) -> None:
        """Warm up connections, caches and the disk."""
        asyncio.run(closed_loop(self.port, requests, WARM_CONNECTIONS, WARM_SECONDS))


@contextmanager
def serve(settings: Mapping[str, str], path: str = READY, command: Sequence[str] = SERVE) -> Iterator[Server]:
    """Run a server on its core until the end of the block, and this process on the last one."""
    os.sched_setaffinity(0, {CLIENT_CORE})
    server = Server(settings, command)
    try:
        yield server.start(path)
    finally:
        server.stop()


def find_free_port() -> int:
    """Find a free port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def build_settings(state_dir: Path) -> dict[str, str]:
    """Build the settings of a server with this state directory."""
    mlflow = f"sqlite:///{state_dir.parent}/mlflow.db"
    return {"NPSRISK_STATE_DIR": str(state_dir), "MLFLOW_TRACKING_URI": mlflow}


def import_past(consignments: pd.DataFrame, state_dir: Path) -> None:
    """Import a table as past data."""
    if len(consignments):
        say(f"importing {len(consignments):,} past consignments")
        table = state_dir.parent / "past.parquet"
        write_table(consignments, table)
        run_verb(build_settings(state_dir), "import", "--consignments", str(table))


def iterate_requests(records: Iterable[Consignment], port: int) -> Iterator[bytes]:
    """Yield requests of one consignment each."""
    return (request(SCORES, msgspec.json.encode(record), port) for record in records)


def build_lists(records: Iterator[Consignment], port: int, count: int) -> Iterator[bytes]:
    """Build requests of `LIST_ROWS` consignments each."""
    lists = [[next(records) for _ in range(LIST_ROWS)] for _ in range(count)]
    return iter([request(SCORES, msgspec.json.encode({"consignments": each}), port) for each in lists])


def count_good(run: LoadResult) -> int:
    """Count the answers; exit if one is faulty."""
    if run.faults:
        raise SystemExit(f"{run.faults} of {len(run.seconds)} answers were not 200")
    return len(run.seconds)


def describe_times(run: LoadResult) -> str:
    """Describe the median and the 99th percentile."""
    count_good(run)
    return f"{run.quantile_ms(0.5):.1f} / {run.quantile_ms(0.99):.1f}"
