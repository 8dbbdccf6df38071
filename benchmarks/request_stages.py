"""Measure where the CPU time of a request goes in the service's main thread: the stages, in process.

    python -m benchmarks.request_stages [--requests 8000] [--connections 64] [--past 20000] [--lists]

Bytes go into the connections of the service without sockets, so the system's share and the client are left out; with `--lists`,
lists of 1,000 go into its application, one after the other. Each stage is timed with the clock of its thread. The timing itself costs
up to 1 µs a stage and call. Stages are indented below those that call them.
"""

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import httpx
import msgspec
import uvloop

from benchmarks.client import request
from benchmarks.deployed import deploy, grow, make_world
from benchmarks.serving import BULK_ROWS, SCORES, import_past, say
from serving.http.app import App
from serving.http.connections import build_connection_class
from serving.http.server import build_server, tune_interpreter
from serving.process.settings import Settings
from serving.service import Service

CONNECTION_STAGE = "connection: head"
PORT = 80
"""Stands in the header `Host`."""


class Stage(NamedTuple):
    """A stage: its name with the depth of its call, and the method that does it."""

    name: str
    owner: Any
    method: str


class Spent:
    """The CPU seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    def watch(self, stage: Stage) -> None:
        """Time a method of an object from now on."""
        call, clock = getattr(stage.owner, stage.method), time.thread_time

        def timed(*given: Any, **named: Any) -> Any:
            begun = clock()
            try:
                return call(*given, **named)
            finally:
                self.seconds[stage.name] += clock() - begun

        setattr(stage.owner, stage.method, timed)


class Wire:
    """A transport without a socket; it calls `answered` when the body of a response is written, after its head."""

    def __init__(self, answered: Callable[[], None]) -> None:
        self._answered = answered

    def write(self, data: bytes) -> None:
        """Check the status in the head of a response."""
        if not data.startswith(b"HTTP/"):
            self._answered()
        elif data[9:12] != b"200":
            raise SystemExit(f"a request was answered with {data!r}")

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        raise SystemExit("a connection was closed")

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ARG002 - the shape of a transport
        return default


class Load:
    """Connections that send their next request when they have their answer.

    Parameters
    ----------
    app : App
    requests : iterator of bytes
    connections : int
    """

    def __init__(self, app: App, requests: Iterator[bytes], connections: int) -> None:
        self._requests, self._over = requests, asyncio.Event()
        self._ready: list[Any] = []
        self._open = connections
        self.spent = Spent()
        self.spent.watch(Stage(CONNECTION_STAGE, self, "_receive"))
        server = build_server(app)
        server.config.load()
        connection_class = build_connection_class(connections, connections)
        for _ in range(connections):
            made = connection_class(server.config, server.server_state, {})
            made.connection_made(Wire(lambda made=made: self._answered(made)))
            self._ready.append(made)

    async def run(self) -> None:
        """Send all requests."""
        self._send()
        await self._over.wait()

    def _answered(self, connection: Any) -> None:
        self._ready.append(connection)
        if len(self._ready) == 1:
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        ready, self._ready = self._ready, []
        for connection in ready:
            data = next(self._requests, None)
            if data is None:
                self._open -= 1
            else:
                self._receive(connection, data)
        if not self._open:
            self._over.set()

    def _receive(self, connection: Any, data: bytes) -> None:
        connection.data_received(data)


async def send_lists(app: App, bodies: Sequence[bytes]) -> None:
    """Send consignments as lists of `BULK_ROWS`, one after the other."""
    headers = {"content-type": "application/json"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        for start in range(0, len(bodies), BULK_ROWS):
            members = b",".join(bodies[start : start + BULK_ROWS])
            answer = await client.post(
                SCORES, content=b'{"consignments":[' + members + b"]}", headers=headers
            )
            answer.raise_for_status()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=8_000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--past", type=int, default=20_000, help="past consignments imported before")
    parser.add_argument("--lists", action="store_true", help="send lists instead of single consignments")
    args = parser.parse_args()
    with TemporaryDirectory(prefix="npsrisk-bench-") as folder:
        say("simulating and growing the trees")
        world = make_world(args.past + args.requests)
        settings = deploy(grow(world), Path(folder))
        import_past(world.tables.consignments.head(args.past), settings.state_dir)
        bodies = [msgspec.json.encode(c) for c in world.records[args.past : args.past + args.requests]]
        uvloop.install()
        asyncio.run(measure(settings, bodies, 0 if args.lists else args.connections))


async def measure(settings: Settings, bodies: Sequence[bytes], connections: int) -> None:
    """Serve the requests, and print the CPU time of each stage of a consignment; without connections as lists."""
    service = Service(settings)
    service.open()
    app = App(service)
    await service.start()
    tune_interpreter()
    load = Load(app, iter([request(SCORES, body, PORT) for body in bodies]), connections)
    stages = list_stages(app, service)
    for stage in stages:
        load.spent.watch(stage)
    process, thread = time.process_time(), time.thread_time()
    await (load.run() if connections else send_lists(app, bodies))
    process, thread = time.process_time() - process, time.thread_time() - thread
    seconds = Counter({"process": process, "main thread": thread}) + load.spent.seconds
    for name in ("process", "main thread", CONNECTION_STAGE, *(stage.name for stage in stages)):
        print(f"{1e6 * seconds[name] / len(bodies):8.1f} µs  {name}")
    await service.stop()


def list_stages(app: App, service: Service) -> list[Stage]:
    """List the stages of a request."""
    scorer, endpoint = service.active.get_scorer(), app._scores._answer
    return [
        Stage("body: decode", endpoint, "_read"),
        Stage("list: read and check members", endpoint, "_read_chunk"),
        Stage("batch", scorer, "score_batch"),
        Stage("  pack and seal", scorer, "_pack_or_repeat"),
        Stage("  features and history", scorer, "_compute_features"),
        Stage("    features", scorer.model.pipeline, "fill_rows"),
        Stage("    history", scorer.state, "record_arrivals"),
        Stage("    counters of missing fields", service.metrics.hot.traffic, "record"),
        Stage("  score, band, reasons, entry", scorer, "_score_and_log"),
        Stage("    score", scorer, "_compute_scores"),
        Stage("    entry", scorer.model.entries, "encode_arrivals"),
        Stage("other thread: commit", service.log, "append"),
        Stage("  database", service.log, "_write"),
    ]


if __name__ == "__main__":
    main()
