"""Measure the service: requests and bulk rows per server CPU-second, latency, memory, start; also `mlflow models serve`
and MLServer.

    python -m benchmarks.serving [--seconds 6] [--past 200000] [--without-mlflow] [--mlserver]

The server runs on the first core, the client on the last; all servers in one run. The model has 300 trees of 31 leaves
over the real features (`benchmarks.deployed`); the consignments are simulated, distinct, and none is sent twice.
`mlflow models serve` gets the same booster without a signature, and computed features: an easier task. It is measured
with both input formats: a table with named columns (`dataframe_split`), and bare numbers in the order of the columns
(`inputs`), which are not checked; JSON has no NaN, so missing features are sent as 0. MLServer's LightGBM runtime gets the same
rows, in one process. Its requirements conflict with npsrisk's, so it is installed into a separate virtual environment.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

import lightgbm
import mlflow
import msgspec
import numpy as np
import pandas as pd
import uvloop

from benchmarks.client import LoadResult, closed_loop, open_loop, request
from benchmarks.deployed import GrownModel, deploy, grow, make_world
from benchmarks.memory import tree
from consignments.files.table_writers import write_table
from consignments.records import Consignment

T = TypeVar("T")
Figures = dict[str, dict[str, str]]
"""Name of the measured server to the figures by name."""
Beside = Callable[[GrownModel, Path, float], Figures]
"""Measures another server of the same booster, in a folder, for some seconds each."""
MLSERVER = ("mlserver==1.7.1", "mlserver-lightgbm==1.7.1")
SERVER_CORE, CLIENT_CORE = 0, (os.cpu_count() or 1) - 1
TICKS = os.sysconf("SC_CLK_TCK")
CONNECTIONS = (16, 64)
OPEN_LOOP_PER_SECOND, OPEN_LOOP_CONNECTIONS = 500.0, 200
MLFLOW_CONNECTIONS, MLFLOW_PER_SECOND = 8, 50.0
BULK_ROWS = 1000
WARM_SECONDS, MOST_PER_SECOND, BULK_CALLS_PER_SECOND = 1.0, 8000, 14
"""More than any current machine answers: so many consignments are prepared."""
PER_CPU_SECOND = "requests per server CPU-second, {} connections"
OPEN_LOOP = f"p50 / p99 at {OPEN_LOOP_PER_SECOND:,.0f} a second, ms"
SINGLES_BESIDE_BULK_PER_SECOND = 100.0
READY_SECONDS = 120.0
SCORES = "/v1/scores"
SERVE = [str(Path(sys.executable).with_name("npsrisk")), "serve", "--port", "{port}"]


class Server(NamedTuple):
    """A server process.

    Attributes
    ----------
    pid, port : int
    ready_seconds : float
        From its start to its first good answer.
    """

    pid: int
    port: int
    ready_seconds: float

    def cpu_seconds(self) -> float:
        """Return the CPU time of the process and of its children."""
        return sum(_cpu_seconds(pid) for pid in tree(self.pid))

    def resident_mb(self) -> float:
        """Return the resident memory of the process and of its children."""
        return sum(_resident_mb(pid) for pid in tree(self.pid))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=6.0, help="duration of each measurement")
    parser.add_argument(
        "--past", type=int, default=0, help="past consignments imported before: 200,000 make 1 M keys"
    )
    parser.add_argument("--without-mlflow", action="store_true", help="do not measure mlflow models serve")
    parser.add_argument(
        "--mlserver", type=Path, nargs="?", const=Path(".venv-mlserver"), metavar="VENV",
        help="also measure MLServer; it is installed into VENV (default: .venv-mlserver) if it is not there yet",
    )  # fmt: skip
    args = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CORE})
    with TemporaryDirectory(prefix="npsrisk-bench-") as folder:
        others = [] if args.without_mlflow else [measure_mlflow]
        if args.mlserver is not None:
            others.append(partial(measure_mlserver, installed(args.mlserver.absolute())))
        measure(Path(folder), args.seconds, args.past, others)


def measure(folder: Path, seconds: float, past: int, others: Sequence[Beside]) -> None:
    """Measure all servers, and print a table."""
    singles = MOST_PER_SECOND * len(CONNECTIONS) + OPEN_LOOP_PER_SECOND + SINGLES_BESIDE_BULK_PER_SECOND
    fresh = int(seconds * (singles + BULK_ROWS * BULK_CALLS_PER_SECOND) + MOST_PER_SECOND * WARM_SECONDS)
    say(f"simulating {past + fresh:,} consignments and growing the trees")
    world = make_world(past + fresh)
    grown = grow(world)
    settings = deploy(grown, folder)
    if past:
        import_past(world.tables.consignments.head(past), settings.state_dir)
    ours = measure_service(environment(settings.state_dir), world.records[past:], seconds)
    peers: Figures = {}
    for measure_other in others:
        peers |= measure_other(grown, folder, seconds)
    print(" | ".join(["| measured", "npsrisk", *peers]) + " |")
    print("|---" * (2 + len(peers)) + "|")
    for name, measured in ours.items():
        print(" | ".join([f"| {name}", measured, *(peer.get(name, "") for peer in peers.values())]) + " |")


def measure_service(
    environment: dict[str, str], records: Sequence[Consignment], seconds: float
) -> dict[str, str]:
    """Measure the service, and return the figures by name."""
    bodies = iter(records)
    measured: dict[str, str] = {}
    with serving(SERVE, environment, "/health/ready") as server:
        measured["seconds to ready"] = f"{server.ready_seconds:.1f}"
        measured["memory at the start, MB"] = f"{server.resident_mb():.0f}"
        singles = (request(SCORES, msgspec.json.encode(c), server.port) for c in bodies)
        asyncio.run(warm(server.port, singles))
        for connections in CONNECTIONS:
            run, cpu = spent(server, partial(closed_loop, server.port, singles, connections, seconds))
            measured[PER_CPU_SECOND.format(connections)] = f"{good(run) / cpu:,.0f}"
        run, _ = spent(
            server,
            partial(open_loop, server.port, singles, OPEN_LOOP_CONNECTIONS, seconds, OPEN_LOOP_PER_SECOND),
        )
        measured[OPEN_LOOP] = times(run)
        (bulk, run), cpu = spent(server, partial(bulk_beside_singles, server.port, bodies, seconds))
        rows = good(bulk) * BULK_ROWS + good(run)
        measured[f"rows per server CPU-second, {BULK_ROWS:,} a call"] = f"{rows / cpu:,.0f}"
        measured["p50 / p99 of single requests at the same time, ms"] = times(run)
        measured["memory at the end, MB"] = f"{server.resident_mb():.0f}"
    return measured


async def bulk_beside_singles(
    port: int, bodies: Iterator[Consignment], seconds: float
) -> tuple[LoadResult, LoadResult]:
    """Send lists on one connection and single consignments on others, at the same time."""
    calls = int(BULK_CALLS_PER_SECOND * seconds)
    lists = iter([
        request(SCORES, msgspec.json.encode({"consignments": [next(bodies) for _ in range(BULK_ROWS)]}), port)
        for _ in range(calls)
    ])  # fmt: skip
    singles = (request(SCORES, msgspec.json.encode(c), port) for c in bodies)
    return await asyncio.gather(
        closed_loop(port, lists, 1, seconds),
        open_loop(port, singles, OPEN_LOOP_CONNECTIONS // 4, seconds, SINGLES_BESIDE_BULK_PER_SECOND),
    )


async def warm(port: int, requests: Iterator[bytes]) -> None:
    """Warm up connections, caches and the disk."""
    await closed_loop(port, requests, CONNECTIONS[0], WARM_SECONDS)


def measure_mlflow(grown: GrownModel, folder: Path, seconds: float) -> Figures:
    """Measure `mlflow models serve` of the same booster with computed features; returns figures by input format."""
    model = folder / "booster"
    booster = lightgbm.Booster(model_str=grown.risk.trees.text)
    mlflow.lightgbm.save_model(booster, str(model), pip_requirements=["lightgbm"])
    rows, names = ready_rows(grown), list(grown.risk.spec.names)
    forms = {
        "mlflow, named columns": [{"dataframe_split": {"columns": names, "data": [row]}} for row in rows],
        "mlflow, bare numbers": [{"inputs": [row]} for row in rows],
    }
    command = [
        str(Path(sys.executable).with_name("mlflow")), "models", "serve", "--model-uri", str(model),
        "--env-manager", "local", "--host", "127.0.0.1", "--port", "{port}", "--workers", "1",
    ]  # fmt: skip
    measured: dict[str, dict[str, str]] = {}
    with serving(command, {"LGBM_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}, "/ping") as server:
        for form, bodies in forms.items():
            requests = cycle(
                [request("/invocations", json.dumps(body).encode(), server.port) for body in bodies]
            )
            measured[form] = {
                "seconds to ready": f"{server.ready_seconds:.1f}",
                "memory at the start, MB": f"{server.resident_mb():.0f}",
                **measure_peer(server, requests, seconds),
            }
    return measured


def ready_rows(grown: GrownModel) -> list[list[float]]:
    """Return rows of features as JSON values."""
    rows: list[list[float]] = np.nan_to_num(grown.X[:500]).tolist()
    return rows


def installed(venv: Path) -> Path:
    """Install MLServer and its LightGBM runtime into a virtual environment if needed, and return its program."""
    program = venv / "bin" / "mlserver"
    if not program.exists():
        say(f"installing MLServer into {venv}")
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *MLSERVER], check=True)
    return program


def measure_mlserver(program: Path, grown: GrownModel, folder: Path, seconds: float) -> Figures:
    """Measure MLServer's LightGBM runtime with the same booster and computed features, in one process."""
    model = folder / "mlserver"
    model.mkdir()
    lightgbm.Booster(model_str=grown.risk.trees.text).save_model(str(model / "model.bst"))
    runtime = {"implementation": "mlserver_lightgbm.LightGBMModel", "parameters": {"uri": "./model.bst"}}
    (model / "model-settings.json").write_text(json.dumps({"name": model.name, **runtime}))
    command = [
        "env", "MLSERVER_HTTP_PORT={port}", f"MLSERVER_GRPC_PORT={free_port()}", f"MLSERVER_METRICS_PORT={free_port()}",
        "MLSERVER_HOST=127.0.0.1", "MLSERVER_PARALLEL_WORKERS=0", "MLSERVER_DEBUG=false", str(program), "start", str(model),
    ]  # fmt: skip
    inputs = [
        {"name": "row", "shape": [1, len(row)], "datatype": "FP32", "data": row} for row in ready_rows(grown)
    ]
    path = f"/v2/models/{model.name}"
    with serving(command, {"LGBM_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}, f"{path}/ready") as server:
        bodies = [json.dumps({"inputs": [each]}).encode() for each in inputs]
        requests = cycle([request(f"{path}/infer", body, server.port) for body in bodies])
        measured = {
            "seconds to ready": f"{server.ready_seconds:.1f}",
            "memory at the start, MB": f"{server.resident_mb():.0f}",
            **measure_peer(server, requests, seconds),
        }
    return {"MLServer, LightGBM runtime": measured}


def measure_peer(server: Server, requests: Iterator[bytes], seconds: float) -> dict[str, str]:
    """Measure what both servers have in common."""
    asyncio.run(warm(server.port, requests))
    measured = {}
    for connections in CONNECTIONS:
        run, cpu = spent(server, partial(closed_loop, server.port, requests, connections, seconds))
        measured[PER_CPU_SECOND.format(connections)] = f"{good(run) / cpu:,.0f}"
    run, _ = spent(
        server, partial(open_loop, server.port, requests, OPEN_LOOP_CONNECTIONS, seconds, MLFLOW_PER_SECOND)
    )
    measured[OPEN_LOOP] = f"{times(run)} (at {MLFLOW_PER_SECOND:,.0f} a second)"
    return measured


def spent(server: Server, call: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, float]:
    """Run a call, and return its result and the CPU time that the server spent on it."""
    before = server.cpu_seconds()
    found = asyncio.run(call())
    return found, server.cpu_seconds() - before


def good(run: LoadResult) -> int:
    """Count the answers; exit if one is faulty."""
    if run.faults:
        raise SystemExit(f"{run.faults} of {len(run.seconds)} answers were not 200")
    return len(run.seconds)


def times(run: LoadResult) -> str:
    """Format the median and the 99th percentile."""
    good(run)
    return f"{run.quantile_ms(0.5):.1f} / {run.quantile_ms(0.99):.1f}"


@contextmanager
def serving(
    command: list[str], environment: dict[str, str], path: str, core: int = SERVER_CORE
) -> Iterator[Server]:
    """Run a server on its core until the end of the block."""
    port = free_port()
    # mlflow searches its own server on the path.
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    began = time.monotonic()
    process = subprocess.Popen(
        [part.format(port=port) for part in command],
        env={**os.environ, "PATH": programs, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    try:
        wait_until_ready(process, f"http://127.0.0.1:{port}{path}")
        yield Server(process.pid, port, time.monotonic() - began)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def wait_until_ready(process: "subprocess.Popen[bytes]", url: str) -> None:
    """Wait for the first successful answer."""
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise SystemExit(f"the server ended with {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"the server was not ready after {READY_SECONDS:.0f} s")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def environment(state_dir: Path) -> dict[str, str]:
    """Return the settings of a server with this state directory."""
    return {
        "NPSRISK_STATE_DIR": str(state_dir),
        "MLFLOW_TRACKING_URI": f"sqlite:///{state_dir.parent}/mlflow.db",
    }


def import_past(consignments: pd.DataFrame, state_dir: Path) -> None:
    """Import a table as past data."""
    say(f"importing {len(consignments):,} past consignments")
    table = state_dir.parent / "past.parquet"
    write_table(consignments, table)
    npsrisk(environment(state_dir), "import", "--consignments", str(table))


def npsrisk(environment: dict[str, str], *arguments: str) -> None:
    """Run a verb."""
    command = [str(Path(sys.executable).with_name("npsrisk")), *arguments]
    subprocess.run(command, env={**os.environ, **environment}, check=True, stdout=subprocess.DEVNULL)


def say(what: str) -> None:
    print(f"{what} …", file=sys.stderr, flush=True)


def _cpu_seconds(pid: int) -> float:
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / TICKS


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    uvloop.install()
    main()
