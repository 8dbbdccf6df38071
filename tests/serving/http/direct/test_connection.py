"""Scores answered by their connection: in order, whatever the parts that arrive, and never lost when somebody goes."""

import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.examples import make_consignment
from support.listening import HEAD, Running, all_of, listening, send_for_long, status_of, until
from support.ways import BY_ASGI

from serving.event_log.log import EventLog

only_direct = pytest.mark.skipif(BY_ASGI, reason="about the direct way")
GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
CLOSING_GET = GET[:-2] + b"Connection: close\r\n\r\n"


@pytest.fixture
def running(tmp_path: Path, bundle: Path) -> Iterator[Running]:
    with listening(tmp_path, bundle) as made:
        yield made


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the requests that connections take, those of known heads, and those that they hand on."""
    from serving.http.direct.connection import ScoresConnection
    from serving.http.direct.head import KnownHead

    found: Counter[str] = Counter()
    submit, hand_on, find_body = ScoresConnection._submit, ScoresConnection.hand_on, KnownHead.find_body

    def count_submit(connection: Any, call: Any) -> None:
        found["submitted"] += 1
        submit(connection, call)

    def count_hand_on(connection: Any, *given: Any) -> None:
        found["handed on"] += 1
        hand_on(connection, *given)

    def count_known(known: Any, data: bytes) -> bytes | None:
        body = find_body(known, data)
        found["known"] += body is not None
        return body

    monkeypatch.setattr(ScoresConnection, "_submit", count_submit)
    monkeypatch.setattr(ScoresConnection, "hand_on", count_hand_on)
    monkeypatch.setattr(KnownHead, "find_body", count_known)
    return found


def post(name: str, head: bytes = HEAD, **fields: Any) -> bytes:
    body = msgspec.json.encode(make_consignment(name, **fields))
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def read_answers(connection: socket.socket, count: int) -> list[bytes]:
    """Read the bodies of so many answers."""
    received, bodies = b"", list[bytes]()
    while len(bodies) < count:
        head, end, rest = received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if not end or length is None or len(rest) < int(length[1]):
            part = connection.recv(65_536)
            assert part, received
            received += part
            continue
        assert status_of(head) == 200, received
        bodies.append(rest[: int(length[1])])
        received = rest[int(length[1]) :]
    return bodies


def names_of(bodies: list[bytes]) -> list[str]:
    return [msgspec.json.decode(body).get("consignment_id", "alive") for body in bodies]


def logged(running: Running) -> list[str | None]:
    return [event.consignment_id for event in running.service.log.read_events()]


# Order and parts


@only_direct
def test_requests_one_after_the_other_are_answered_by_the_connection(
    running: Running, ways: Counter[str]
) -> None:
    with running.connected() as connection:
        for number in range(5):
            connection.sendall(post(f"RB{number}", description="socks" * number))
            assert names_of(read_answers(connection, 1)) == [f"RB{number}"]
    assert +ways == {"submitted": 5, "known": 4}


@only_direct
def test_heads_that_differ_each_time_are_parsed_each_time(running: Running, ways: Counter[str]) -> None:
    with running.connected() as connection:
        for number in range(8):
            connection.sendall(post(f"RB{number}", HEAD + b"X-Request-Id: %d\r\n" % number))
            head = connection.recv(65_536)
            assert b"x-request-id: %d\r\n" % number in head
            connection.sendall(GET)
            assert status_of(connection.recv(65_536)) == 200
    assert +ways == {"submitted": 8}


def test_pipelined_requests_of_all_kinds_are_answered_in_their_order(running: Running) -> None:
    lists = b'{"consignments":[]}'
    sent = [
        post("RB1"), post("RB2"), GET, post("RB1"), HEAD + b"Content-Length: %d\r\n\r\n" % len(lists) + lists, post("RB3"),
    ]  # fmt: skip
    for _ in range(3):
        with running.connected() as connection:
            connection.sendall(b"".join(sent))
            bodies = read_answers(connection, len(sent))
            assert names_of(bodies) == ["RB1", "RB2", "alive", "RB1", "alive", "RB3"]
            connection.sendall(post("RB4") + CLOSING_GET)
            assert names_of(read_answers(connection, 2)) == ["RB4", "alive"]
            assert connection.recv(1) == b""


def test_a_request_is_answered_wherever_its_parts_are_cut(running: Running) -> None:
    one, two = post("RB1"), post("RB2", description="two")
    with running.connected() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for cut in range(1, len(one + two), 17):
            connection.sendall((one + two)[:cut])
            time.sleep(0.002)
            connection.sendall((one + two)[cut:])
            assert names_of(read_answers(connection, 2)) == ["RB1", "RB2"], cut


@only_direct
def test_a_body_that_follows_at_once_is_waited_for_and_a_later_one_is_read_by_asgi(
    running: Running, ways: Counter[str]
) -> None:
    request = post("RB1")
    cut = request.index(b"\r\n\r\n") + 4
    with running.connected() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(request[:cut])
        connection.sendall(request[cut:])
        assert names_of(read_answers(connection, 1)) == ["RB1"]
        assert +ways == {"submitted": 1}
        connection.sendall(request[: cut + 9])
        until(lambda: ways["handed on"] == 1)
        connection.sendall(request[cut + 9 :])
        assert names_of(read_answers(connection, 1)) == ["RB1"]
    assert +ways == {"submitted": 1, "handed on": 1}


@only_direct
@pytest.mark.parametrize(
    ("head", "more"),
    [
        (HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"), b""),
        (HEAD.replace(b"/v1/scores", b"http://localhost/v1/scores"), b""),
        (HEAD.replace(b"/v1/scores", b"/v1/scores?reasons=3#part"), b""),
        (HEAD.replace(b"/v1/scores", b"/v1%2Fscores"), b""),
        (HEAD, b"Expect: 100-continue\r\n"),
        (HEAD, b"X-One: 1\r\nX-One: 2\r\n"),
        (HEAD, b"Content-Encoding: identity\r\n"),
    ],
)
def test_an_unusual_head_is_left_to_asgi(
    running: Running, ways: Counter[str], head: bytes, more: bytes
) -> None:
    with running.connected() as connection:
        connection.sendall(post("RB1", head + more))
        found = b""
        while b'"consignment_id"' not in found:
            found += connection.recv(65_536)
    assert +ways == {}


# Slow clients, and clients that go


@only_direct
def test_an_idle_connection_is_closed_and_a_busy_one_is_not(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.http.server.KEEP_ALIVE_SECONDS", 0.3)
    with listening(tmp_path, bundle) as running, running.connected() as connection:
        begun = time.monotonic()
        for number in range(6):
            connection.sendall(post(f"RB{number}"))
            assert names_of(read_answers(connection, 1)) == [f"RB{number}"]
            time.sleep(0.1)
        assert time.monotonic() - begun > 0.5
        assert connection.recv(1) == b""


def test_one_that_does_not_read_its_scores_is_let_go(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.http.connections.READ_SECONDS", 0.2)
    monkeypatch.setattr("serving.http.connections.FLUSH_SECONDS", 0.2)
    with running.connected() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.settimeout(1)
        head = HEAD.replace(b"/v1/scores", b"/v1/scores?features=true&reasons=10")
        with pytest.raises(OSError, match=r"reset|Broken|timed out"):
            send_for_long(connection, post("RB1", head) * 10)
        until(lambda: running.service.connections() == 0)


def test_a_request_whose_client_is_gone_is_recorded_and_the_others_get_their_answers(
    running: Running,
) -> None:
    for number in range(10):
        with running.connected() as connection:
            connection.sendall(post(f"RB{number}"))
    with running.connected() as connection:
        connection.sendall(post("RC1"))
        assert names_of(read_answers(connection, 1)) == ["RC1"]
    until(lambda: len(logged(running)) == 11)
    assert 'npsrisk_answers_total{call="scores",status="200"} 11.0' in running.metrics()


def test_a_stop_waits_for_the_answers_that_are_due(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = EventLog.append

    def append_slowly(log: EventLog, events: Any) -> None:
        time.sleep(0.5)
        append(log, events)

    with listening(tmp_path, bundle) as running:
        monkeypatch.setattr(EventLog, "append", append_slowly)
        first, second, gone = (
            socket.create_connection(("127.0.0.1", running.port), timeout=20) for _ in range(3)
        )
        first.sendall(post("RB1"))
        time.sleep(0.2)
        second.sendall(post("RB2"))  # its batch begins only after the entry of the first is on disk
        gone.sendall(post("RB3"))
        gone.close()
        time.sleep(0.1)
    answers = [all_of(each) for each in (first, second)]
    assert [status_of(answer) for answer in answers] == [200, 200]
    assert all(b"connection: close\r\n" in answer for answer in answers)
    for each in (first, second):
        each.close()
    with listening(tmp_path, bundle) as running:
        assert set(logged(running)) == {"RB1", "RB2", "RB3"}
