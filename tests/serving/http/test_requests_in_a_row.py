"""Requests on one connection: answered in order, wherever they are cut, and never lost when a client leaves or the service stops."""

import re
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.examples import make_consignment
from support.listening import HEAD, Running, all_of, listening, send_for_long, status_of, until
from support.serving_examples import describe_key

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


def test_requests_in_a_row_are_answered_in_their_order_wherever_they_are_cut(shared_running: Running) -> None:
    names = ["RB1", "RB2", "alive", "RB1", "none", "RB3"]
    answered = [name.replace("none", "alive") for name in names]
    others = {"alive": GET, "none": post_body(b'{"consignments":[]}')}
    sent = b"".join(others.get(name) or post(name) for name in names)
    with shared_running.connected() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for cut in range(1, len(sent), 61):
            connection.sendall(sent[:cut])
            time.sleep(0.002)
            connection.sendall(sent[cut:])
            assert read_names(connection, len(names)) == answered, cut
        connection.sendall(post("RB4") + CLOSING_GET)
        assert read_names(connection, 2) == ["RB4", "alive"]
        assert connection.recv(1) == b""


REFUSED: list[tuple[int, bytes, str, bytes]] = [
    (401, b"?reasons=1", "", b"{}"),
    (401, b"", "unknown", b"{}"),
    (403, b"", "lab", b"{}"),
    (422, b"?reasons=11", "all", b"{}"),
    (400, b"", "all", b"{"),
    (422, b"", "all", b'{"consignment_id":"RC1","channel":"sea","pieces":"two"}'),
    (413, b"", "all", b" " * 300_000),
]


def test_a_refused_request_leaves_no_entry_and_its_connection(tmp_path: Path, bundle: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(describe_key("all") + describe_key("lab", "outcome"))
    settings = {"NPSRISK_API_KEYS_FILE": str(keys), "NPSRISK_MAX_BODY_BYTES": "200000"}
    with listening(tmp_path, bundle, **settings) as running, running.connected() as connection:
        for place, (status, query, key, body) in enumerate(REFUSED):
            head = HEAD.replace(b"/v1/scores", b"/v1/scores" + query)
            first, second = (b"Authorization: Bearer %s\r\n" % name.encode() for name in (key, "all"))
            connection.sendall(post_body(body, head + first) + post(f"RD{place}", HEAD + second))
            assert [answered for answered, _ in read_answers(connection, 2)] == [status, 200], place
        assert logged(running) == [f"RD{place}" for place in range(len(REFUSED))]


def test_only_an_idle_connection_is_closed(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.http.server.KEEP_ALIVE_SECONDS", 0.3)
    with listening(tmp_path, bundle) as running, running.connected() as connection:
        for number in range(6):
            connection.sendall(post(f"RB{number}"))
            assert read_names(connection, 1) == [f"RB{number}"]
            time.sleep(0.1)
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
