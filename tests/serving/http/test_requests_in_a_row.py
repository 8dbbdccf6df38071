"""Requests on one connection: answered in order, wherever they are cut, and never lost when a client leaves or the service stops."""

import re
import socket
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from support.examples import day, make_consignment
from support.listening import HEAD, Running, all_of, listening, send_for_long, status_of, until
from support.serving_examples import bear, describe_key

from serving.event_log.log import EventLog

GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
CLOSING_GET = GET[:-2] + b"Connection: close\r\n\r\n"


def post(name: str, head: bytes = HEAD, **fields: Any) -> bytes:
    return post_body(msgspec.json.encode(make_consignment(name, **fields)), head)


def post_body(body: bytes, head: bytes = HEAD) -> bytes:
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def read_answers(connection: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """Read so many answers: status and body of each."""
    received, answers = b"", list[tuple[int, bytes]]()
    while len(answers) < count:
        head, end, rest = received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if not end or length is None or len(rest) < int(length[1]):
            part = connection.recv(65_536)
            assert part, received
            received += part
            continue
        answers.append((status_of(head), rest[: int(length[1])]))
        received = rest[int(length[1]) :]
    return answers


def read_names(connection: socket.socket, count: int) -> list[str]:
    """Read so many good answers: the identifier in each, or `alive`."""
    answers = read_answers(connection, count)
    assert {status for status, _ in answers} == {200}
    return [msgspec.json.decode(body).get("consignment_id", "alive") for _, body in answers]


def logged(running: Running) -> list[str | None]:
    return [event.consignment_id for event in running.service.log.read_events()]


# Order and parts


def test_pipelined_requests_of_all_kinds_are_answered_in_their_order(shared_running: Running) -> None:
    names = ["RB1", "RB2", "alive", "RB1", "none", "RB3"]
    others = {"alive": GET, "none": post_body(b'{"consignments":[]}')}
    for _ in range(3):
        with shared_running.connected() as connection:
            connection.sendall(b"".join(others.get(name) or post(name) for name in names))
            assert read_names(connection, len(names)) == [name.replace("none", "alive") for name in names]
            connection.sendall(post("RB4") + CLOSING_GET)
            assert read_names(connection, 2) == ["RB4", "alive"]
            assert connection.recv(1) == b""


def test_a_request_is_answered_wherever_its_parts_are_cut(shared_running: Running) -> None:
    one, two = post("RB1"), post("RB2", description="two")
    with shared_running.connected() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for cut in range(1, len(one + two), 17):
            connection.sendall((one + two)[:cut])
            time.sleep(0.002)
            connection.sendall((one + two)[cut:])
            assert read_names(connection, 2) == ["RB1", "RB2"], cut


# Refusals


CONSIGNMENT = make_consignment("RC1")
REFUSED: list[tuple[int, bytes, str, Any]] = [
    (401, b"?reasons=1", "", CONSIGNMENT),
    (401, b"", "unknown", CONSIGNMENT),
    (401, b"", "", CONSIGNMENT),
    (401, b"", "expired", CONSIGNMENT),
    (403, b"", "lab", CONSIGNMENT),
    (422, b"?reasons=11", "all", CONSIGNMENT),
    (422, b"?colour=red", "all", CONSIGNMENT),
    (422, b"?reasons=1&reasons=2", "all", CONSIGNMENT),
    (400, b"", "all", b"{"),
    (422, b"", "all", b"[]"),
    (400, b"", "all", b"\xff"),
    (422, b"", "all", {"consignment_id": "RC1", "channel": "sea", "pieces": "two"}),
    (422, b"", "all", b'{"consignment_id":"RC1","channel":"postal","channel":"postal"}'),
    (422, b"", "all", make_consignment("RC1", received_at=day(400))),
    (422, b"", "all", make_consignment("RC\n1")),
    (422, b"", "all", make_consignment("RC1", description="x" * 70_000)),
    (413, b"", "all", b" " * 300_000),
]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    blocks = [
        describe_key("all", more=f"expires_at = {soon}"),
        describe_key("office", more='offices = ["Incheon"]'),
        describe_key("expired", more="expires_at = 2020-01-01T00:00:00Z"),
        describe_key("lab", "outcome"),
    ]
    (tmp_path / "keys.toml").write_text("".join(blocks))
    return tmp_path / "keys.toml"


def build_head(key: str, query: bytes = b"") -> bytes:
    named = b"Authorization: Bearer %s\r\n" % key.encode() if key else b""
    return HEAD.replace(b"/v1/scores", b"/v1/scores" + query) + named


def test_a_refused_request_leaves_no_entry_and_its_connection(
    tmp_path: Path, bundle: Path, keys: Path
) -> None:
    settings = {"NPSRISK_API_KEYS_FILE": str(keys), "NPSRISK_MAX_BODY_BYTES": "200000"}
    with listening(tmp_path, bundle, **settings) as running, running.connected() as connection:
        for place, (status, query, key, body) in enumerate(REFUSED):
            content = body if isinstance(body, bytes) else msgspec.json.encode(body)
            connection.sendall(post_body(content, build_head(key, query)))
            connection.sendall(post(f"RD{place}", build_head("all")))
            answers = [answered for answered, _ in read_answers(connection, 2)]
            assert answers == [status, 200], place
        assert logged(running) == [f"RD{place}" for place in range(len(REFUSED))]


def test_the_rate_limit_counts_each_record_and_tells_the_wait(
    tmp_path: Path, bundle: Path, keys: Path
) -> None:
    one, late = make_consignment("RB1"), make_consignment("RB2", received_at=day(400))
    sent: list[tuple[int, Any, str]] = [
        (200, one, "all"),
        (422, late, "all"),
        (400, b"{", "all"),
        (200, {"consignments": [make_consignment(name) for name in ("RB3", "RB4")]}, "all"),
        (200, make_consignment("RB5"), "all"),
        (429, make_consignment("RB6"), "all"),
        (200, make_consignment("RB7"), "office"),
    ]
    settings = {"NPSRISK_API_KEYS_FILE": str(keys), "NPSRISK_RATE_LIMIT": "5/hour"}
    with listening(tmp_path, bundle, **settings) as running, httpx.Client(trust_env=False) as client:
        for status, body, key in sent:
            content = body if isinstance(body, bytes) else msgspec.json.encode(body)
            answer = client.post(
                f"http://127.0.0.1:{running.port}/v1/scores", content=content, headers=bear(key)
            )
            assert answer.status_code == status, body
            if status == 429:
                assert 710 < int(answer.headers["retry-after"]) <= 720


# Slow clients, and clients that leave


def test_only_an_idle_connection_is_closed(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.http.server.KEEP_ALIVE_SECONDS", 0.3)
    with listening(tmp_path, bundle) as running, running.connected() as connection:
        begun = time.monotonic()
        for number in range(6):
            connection.sendall(post(f"RB{number}"))
            assert read_names(connection, 1) == [f"RB{number}"]
            time.sleep(0.1)
        assert time.monotonic() - begun > 0.5
        assert connection.recv(1) == b""


def test_a_client_that_does_not_read_is_cut(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.http.connections.READ_SECONDS", 0.2)
    monkeypatch.setattr("serving.http.connections.FLUSH_SECONDS", 0.2)
    with running.connected() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.settimeout(1)
        head = HEAD.replace(b"/v1/scores", b"/v1/scores?features=true&reasons=10")
        with pytest.raises(OSError, match=r"reset|Broken|timed out"):
            send_for_long(connection, post("RB1", head) * 10)
        until(lambda: running.service.connections() == 0)


def test_a_request_whose_client_left_is_recorded_and_the_others_get_their_answers(running: Running) -> None:
    for number in range(10):
        with running.connected() as connection:
            connection.sendall(post(f"RB{number}"))
    with running.connected() as connection:
        connection.sendall(post("RC1"))
        assert read_names(connection, 1) == ["RC1"]
    until(lambda: len(logged(running)) == 11)


def test_a_stop_waits_for_due_answers(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append = EventLog.append

    def append_slowly(log: EventLog, events: Any) -> None:
        time.sleep(0.5)
        append(log, events)

    with ExitStack() as stack:
        with listening(tmp_path, bundle) as running:
            monkeypatch.setattr(EventLog, "append", append_slowly)
            first, second, gone = (stack.enter_context(running.connected()) for _ in range(3))
            first.sendall(post("RB1"))
            time.sleep(0.2)
            second.sendall(post("RB2"))  # its batch begins only after the entry of the first is on disk
            gone.sendall(post("RB3"))
            gone.close()
            time.sleep(0.1)
        for answer in map(all_of, (first, second)):
            assert (status_of(answer), b"connection: close\r\n" in answer) == (200, True)
    with listening(tmp_path, bundle) as running:
        assert set(logged(running)) == {"RB1", "RB2", "RB3"}
