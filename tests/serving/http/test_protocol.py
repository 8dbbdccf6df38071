"""What RFC 9112 forbids is refused, what it lets us ignore is ignored, and compressed bodies stay within the limit."""

import gzip
import http.client
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.cases import read_cases
from support.listening import (
    BODY,
    HEAD,
    JSON,
    Running,
    all_of,
    listening,
    problem_of,
    send_for_long,
    status_of,
    statuses_of,
)

GET = b"GET /health/live HTTP/1.1\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAAAAAAIAAAAA\r\n"
CLOSE = b"Connection: close\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
IN_CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)


def send(running: Running, *parts: bytes) -> bytes:
    with running.connected() as connection:
        for part in parts:
            connection.sendall(part)
        return all_of(connection)


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        (HEAD + H2C + LENGTH + b"\r\n" + BODY, 1),  # the first request of Java's client
        (HEAD + H2C + CHUNKED + b"\r\n" + IN_CHUNKS, 1),
        (50 * (GET + b"Host: localhost\r\n" + H2C + b"\r\n"), 50),
    ],
    ids=["a body", "a chunked body", "fifty in a row"],
)
def test_an_upgrade_is_ignored_wherever_it_is_cut(shared_running: Running, sent: bytes, answers: int) -> None:
    request = sent + GET + b"Host: localhost\r\n" + CLOSE + b"\r\n"
    for cut in range(1, len(request), 23 if answers == 1 else 4_000):
        told = send(shared_running, request[:cut], request[cut:])
        assert (statuses_of(told), told.count(b'"RB1"')) == ([200] * (answers + 1), int(answers == 1)), cut


@pytest.mark.parametrize("case", read_cases("raw_requests"))
def test_a_head_is_read_as_the_standard_says(shared_running: Running, case: dict[str, Any]) -> None:
    """Each line has what is sent, maybe with a field as long as its padding, the status and words of the answer."""
    sent = case["sent"].replace("{padding}", "a" * case.get("padding", 0))
    answer = send(shared_running, sent.encode("latin-1"))
    assert status_of(answer) == case["status"]
    if case["status"] != 200:
        detail = problem_of(answer)["detail"]
        assert (case.get("words", "") in detail, detail[-1:]) == (True, "."), detail


def test_a_refusal_waits_for_the_answers_before_it(shared_running: Running) -> None:
    one = HEAD + LENGTH + b"\r\n" + BODY
    assert statuses_of(send(shared_running, one + GET + b"\r\n")) == [200, 400]
    answers = send(shared_running, one.replace(LENGTH, b"Content-Length: 3\r\n"))
    assert b"Content-Length is not the length of its body" in answers


def test_fields_of_a_trailer_are_not_those_of_the_head(shared_running: Running) -> None:
    trailer = b"X-Request-Id: from-the-trailer\r\n\r\n"
    answer = send(shared_running, HEAD + CHUNKED + CLOSE + b"\r\n" + IN_CHUNKS[:-2] + trailer)
    assert status_of(answer) == 200
    assert b"from-the-trailer" not in answer


@pytest.mark.parametrize("start", [b"0\r\nx: ", b"1;x="], ids=["trailer", "extension of a chunk"])
def test_what_surrounds_a_body_may_be_no_larger_than_a_head(
    shared_running: Running, monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    monkeypatch.setattr("serving.http.requests.BODY_SECONDS", 60.0)
    with shared_running.connected() as connection:
        connection.sendall(HEAD + CHUNKED + b"\r\n1\r\n{\r\n" + start)
        with pytest.raises(OSError, match=r"reset|Broken"):
            send_for_long(connection, b"x" * 10_000, pause_seconds=0.01)


@pytest.mark.parametrize("is_announced", [True, False])
def test_the_sender_of_a_large_body_sees_its_refusal(shared_running: Running, is_announced: bool) -> None:
    body = [b" " * 1_000_000] * 20
    connection = http.client.HTTPConnection("127.0.0.1", shared_running.port, timeout=30)
    connection.request("POST", "/v1/scores", b"".join(body) if is_announced else iter(body), JSON)
    response = connection.getresponse()
    assert (response.status, b"NPSRISK_MAX_BODY_BYTES" in response.read()) == (413, True)
    connection.close()


def test_a_body_without_an_end_is_cut(shared_running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.http.connections.MAX_DISCARDED_BYTES", 1_000_000)
    with shared_running.connected() as connection:
        connection.sendall(HEAD + b"Content-Length: 900000000\r\n\r\n")
        with pytest.raises(OSError, match=r"reset|Broken"):
            send_for_long(connection, b" " * 1_000_000)


@pytest.mark.parametrize("count", [1, 900])
def test_a_compressed_list_is_scored_as_if_it_were_not(shared_running: Running, count: int) -> None:
    rows = [{"consignment_id": f"RB{number}", "channel": "postal"} for number in range(count)]
    body = msgspec.json.encode({"consignments": rows})
    plain = shared_running.post(body).json()["scores"]
    compressed = shared_running.post(gzip.compress(body), content_encoding="gzip").json()["scores"]
    assert compressed == [each | {"repeated": True} for each in plain]


def test_a_bomb_is_refused_before_it_is_inflated(tmp_path: Path, bundle: Path) -> None:
    with listening(tmp_path, bundle, NPSRISK_MAX_BODY_BYTES="100000") as running:
        bomb = gzip.compress(b" " * 90_000_000)
        assert len(bomb) < 100_000
        assert running.post(bomb, content_encoding="gzip").status_code == 413
        assert running.app.door._held == 0
        assert running.post(gzip.compress(BODY, mtime=0), content_encoding="gzip").status_code == 200


@pytest.mark.parametrize(
    ("body", "encoding", "status", "words"),
    [
        (BODY, "gzip", 400, "not valid gzip: it is damaged"),
        (gzip.compress(BODY, mtime=0)[:-4], "gzip", 400, "it is cut off"),
        (gzip.compress(BODY, mtime=0) + b"x", "gzip", 400, "bytes follow"),
        (BODY, "br", 415, "Content-Encoding must be gzip"),
        (BODY, "gzip, gzip", 415, "Content-Encoding must be gzip"),
    ],
)
def test_bad_gzip_is_refused(
    shared_running: Running, body: bytes, encoding: str, status: int, words: str
) -> None:
    response = shared_running.post(body, content_encoding=encoding)
    assert response.status_code == status
    assert words in response.json()["detail"]


def test_a_large_answer_is_compressed_for_those_who_accept_it(shared_running: Running) -> None:
    accepting = [{"accept-encoding": kind} for kind in ("gzip", "identity")]
    compressed, plain = (shared_running.get("/openapi.json", **each) for each in accepting)
    assert [each.headers.get("content-encoding") for each in (compressed, plain)] == ["gzip", None]
    assert compressed.headers["vary"] == plain.headers["vary"] == "accept-encoding"
    assert int(compressed.headers["content-length"]) * 3 < int(plain.headers["content-length"])
    assert compressed.json() == plain.json()
    assert "vary" not in shared_running.post(BODY, accept_encoding="gzip").headers
