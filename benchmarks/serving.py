"""Measure the service: requests and bulk rows per server CPU-second, latency, memory, start; also `mlflow models serve`
and MLServer.

    python -m benchmarks.serving [--seconds 6] [--past 200000] [--without-mlflow] [--mlserver]

The server runs on the first core, the client on the last; all servers in one run. The model has 300 trees of 31 leaves
over the real features (`benchmarks.deployed`); the consignments are simulated, distinct, and none is sent twice.
`mlflow models serve` gets the same booster without a signature, and computed features: an easier task. It is measured
with both input formats: a table with named columns (`dataframe_split`), and bare numbers in the order of the columns
(`inputs`), which are not checked; JSON has no NaN, so missing features are sent as 0. MLServer's LightGBM runtime gets the same
rows, in one process. Its requirements conflict with npsrisk's, so it is installed into .venv-mlserver.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightgbm
import mlflow
import numpy as np
import uvloop

from benchmarks.client import LoadResult, closed_loop, open_loop, request
from benchmarks.deployed import GrownModel, deploy, grow, make_world
from benchmarks.script import format_table, parse_options, say
from benchmarks.service import (
    LIST_ROWS,
    Server,
    build_lists,
    build_settings,
    count_good,
    describe_times,
    find_free_port,
    import_past,
    iterate_requests,
    serve,
)
from consignments.records import Consignment

Figures = dict[str, str]
"""Figures of a server by name."""
MLSERVER = ("mlserver==1.7.1", "mlserver-lightgbm==1.7.1")
MLSERVER_VENV = Path(".venv-mlserver")
ONE_THREAD = {"LGBM_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
CONNECTIONS = (16, 64)
OPEN_LOOP_CONNECTIONS, PER_SECOND, PEERS_PER_SECOND, NEXT_TO_LISTS_PER_SECOND = 200, 500.0, 50.0, 100.0
MOST_PER_SECOND, LISTS_PER_SECOND = 8000, 14
"""More than any server answers."""


def main() -> None:
    options = parse_options(__doc__, seconds=6.0, past=200_000, without_mlflow=False, mlserver=False)
    singles = MOST_PER_SECOND * len(CONNECTIONS) + PER_SECOND + NEXT_TO_LISTS_PER_SECOND
    fresh = int(options.seconds * (singles + LIST_ROWS * LISTS_PER_SECOND) + MOST_PER_SECOND)
    say(f"simulating {options.past + fresh:,} consignments and growing the trees")
    with TemporaryDirectory(prefix="npsrisk-bench-") as name:
        folder, world = Path(name), make_world(options.past + fresh)
        grown = grow(world)
        state_dir = deploy(grown, folder).state_dir
        import_past(world.tables.consignments.head(options.past), state_dir)
        servers = {"npsrisk": measure_service(state_dir, world.records[options.past :], options.seconds)}
        if not options.without_mlflow:
            servers |= measure_mlflow(grown, folder, options.seconds)
        if options.mlserver:
            servers["MLServer, LightGBM runtime"] = measure_mlserver(grown, folder, options.seconds)
    rows = [[name, *(each.get(name, "") for each in servers.values())] for name in servers["npsrisk"]]
    print(format_table(["measured", *servers], rows))


def measure_service(state_dir: Path, records: Sequence[Consignment], seconds: float) -> Figures:
    """Measure the service."""
    left = iter(records)
    with serve(build_settings(state_dir)) as server:
        singles = iterate_requests(left, server.port)
        figures = measure_singles(server, singles, seconds, PER_SECOND)
        lists = build_lists(left, server.port, int(LISTS_PER_SECOND * seconds))

        async def send_both() -> tuple[LoadResult, LoadResult]:
            connections = OPEN_LOOP_CONNECTIONS // 4
            return await asyncio.gather(
                closed_loop(server.port, lists, 1, seconds),
                open_loop(server.port, singles, connections, seconds, NEXT_TO_LISTS_PER_SECOND),
            )

        (bulk, run), cpu = server.load(send_both)
        rows = count_good(bulk) * LIST_ROWS + count_good(run)
        figures[f"rows per server CPU-second, {LIST_ROWS:,} a call"] = f"{rows / cpu:,.0f}"
        figures["p50 / p99 of single requests at the same time, ms"] = describe_times(run)
        return figures | {"memory at the end, MB": f"{server.read_resident_mb():.0f}"}


def measure_singles(server: Server, requests: Iterator[bytes], seconds: float, per_second: float) -> Figures:
    """Measure what all servers have in common."""
    figures = {
        "seconds to ready": f"{server.ready_seconds:.1f}",
        "memory at the start, MB": f"{server.read_resident_mb():.0f}",
    }
    server.warm(requests)
    for connections in CONNECTIONS:
        run, cpu = server.load(partial(closed_loop, server.port, requests, connections, seconds))
        name = f"requests per server CPU-second, {connections} connections"
        figures[name] = f"{count_good(run) / cpu:,.0f}"
    call = partial(open_loop, server.port, requests, OPEN_LOOP_CONNECTIONS, seconds, per_second)
    run, _ = server.load(call)
    return figures | {"p50 / p99 at a rate, ms": f"{describe_times(run)} at {per_second:,.0f} a second"}


def list_rows(grown: GrownModel) -> list[list[float]]:
    """List rows of features as JSON values."""
    rows: list[list[float]] = np.nan_to_num(grown.X[:500]).tolist()
    return rows


def measure_mlflow(grown: GrownModel, folder: Path, seconds: float) -> dict[str, Figures]:
    """Measure `mlflow models serve` of the same booster with computed features, by input format."""
    model = folder / "booster"
    booster = lightgbm.Booster(model_str=grown.risk.trees.text)
    mlflow.lightgbm.save_model(booster, str(model), pip_requirements=["lightgbm"])
    rows, names = list_rows(grown), list(grown.risk.spec.names)
    forms: dict[str, list[dict[str, Any]]] = {
        "mlflow, named columns": [{"dataframe_split": {"columns": names, "data": [row]}} for row in rows],
        "mlflow, bare numbers": [{"inputs": [row]} for row in rows],
    }
    program = str(Path(sys.executable).with_name("mlflow"))
    command = f"{program} models serve --model-uri {model} --env-manager local --host 127.0.0.1 --port {{port}} --workers 1"
    with serve(ONE_THREAD, "/ping", command.split()) as server:
        return {
            form: measure_singles(
                server,
                cycle([request("/invocations", json.dumps(body).encode(), server.port) for body in bodies]),
                seconds,
                PEERS_PER_SECOND,
            )
            for form, bodies in forms.items()
        }


def measure_mlserver(grown: GrownModel, folder: Path, seconds: float) -> Figures:
    """Measure MLServer's LightGBM runtime with the same booster and computed features, in one process."""
    program = MLSERVER_VENV.absolute() / "bin" / "mlserver"
    if not program.exists():
        say(f"installing MLServer into {MLSERVER_VENV}")
        subprocess.run([sys.executable, "-m", "venv", str(MLSERVER_VENV)], check=True)
        subprocess.run(
            [program.with_name("python"), "-m", "pip", "install", "--quiet", *MLSERVER], check=True
        )
    model = folder / "mlserver"
    model.mkdir()
    lightgbm.Booster(model_str=grown.risk.trees.text).save_model(str(model / "model.bst"))
    runtime = {"implementation": "mlserver_lightgbm.LightGBMModel", "parameters": {"uri": "./model.bst"}}
    (model / "model-settings.json").write_text(json.dumps({"name": model.name, **runtime}))
    ports = {"MLSERVER_GRPC_PORT": str(find_free_port()), "MLSERVER_METRICS_PORT": str(find_free_port())}
    alone = {"MLSERVER_HOST": "127.0.0.1", "MLSERVER_PARALLEL_WORKERS": "0", "MLSERVER_DEBUG": "false"}
    path = f"/v2/models/{model.name}"
    command = ["env", "MLSERVER_HTTP_PORT={port}", str(program), "start", str(model)]
    with serve(ONE_THREAD | ports | alone, f"{path}/ready", command) as server:
        inputs = [
            {"name": "row", "shape": [1, len(row)], "datatype": "FP32", "data": row}
            for row in list_rows(grown)
        ]
        bodies = [json.dumps({"inputs": [each]}).encode() for each in inputs]
        requests = cycle([request(f"{path}/infer", body, server.port) for body in bodies])
        return measure_singles(server, requests, seconds, PEERS_PER_SECOND)


if __name__ == "__main__":
    uvloop.install()
    main()
