"""A service that listens on a real socket in a thread of this process."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import uvloop
from anyio.from_thread import start_blocking_portal
from support.serving_examples import on_day_20, publish, settings_in

from serving.http.app import App
from serving.http.protocol.tls import Certificate
from serving.http.server import build_server, listen
from serving.process.clock import Clock
from serving.service import Service

UVLOOP = {"loop_factory": uvloop.new_event_loop}
JSON = {"content-type": "application/json"}
HEAD = b"POST /v1/scores HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = msgspec.json.encode({"consignment_id": "RB1", "channel": "postal"})


class Running:
    def __init__(self, app: App, certificate: Certificate | None, port: int) -> None:
        self.app, self.certificate, self.service, self.port = app, certificate, app.service, port

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            yield connection

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", headers=headers, trust_env=False)

    def post(self, body: bytes, **headers: str) -> httpx.Response:
        """Ask for scores; the names of headers have `_` for `-`."""
        given = JSON | {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"http://127.0.0.1:{self.port}/v1/scores"
        return httpx.post(url, content=body, headers=given, trust_env=False, timeout=30)


@contextmanager
def listening(folder: Path, bundle: Path, clock: Clock = on_day_20, **settings: Any) -> Iterator[Running]:
    if not (folder / "models").exists():
        publish(folder, bundle, "1")
    service = Service(settings_in(folder, **settings), clock)
    app, certificate = App(service), Certificate.from_settings(service.settings)
    service.open()
    server = build_server(app, certificate)
    with listen("127.0.0.1", 0) as listener, start_blocking_portal(backend_options=UVLOOP) as portal:
        done = portal.start_task_soon(server.serve, [listener])
        try:
            until(lambda: server.started or done.done())
            yield Running(app, certificate, listener.getsockname()[1])
        finally:
            server.should_exit = True
            done.result(30)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def all_of(connection: socket.socket) -> bytes:
    """Read until the other side closes."""
    found = b""
    while part := connection.recv(65_536):
        found += part
    return found


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def statuses_of(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", answers)]


def problem_of(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"x-content-type-options: nosniff" in head
    found: dict[str, Any] = msgspec.json.decode(body)
    assert found["status"] == status_of(answer)
    assert f"x-request-id: {found['request_id']}".encode() in head
    return found


def send_for_long(connection: socket.socket, data: bytes, pause_seconds: float = 0.0) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        connection.sendall(data)
        time.sleep(pause_seconds)
