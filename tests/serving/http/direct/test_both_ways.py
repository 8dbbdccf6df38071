"""Every request to `POST /v1/scores` gets the same bytes from its connection as from ASGI, and is counted alike."""

import gzip
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from support.examples import day, make_consignment
from support.listening import Running, listening
from support.ways import BY_ASGI

pytestmark = pytest.mark.skipif(BY_ASGI, reason="compares both ways itself")

KEYS = """
[[keys]]
name = "{name}"
sha256 = "{sha256}"
scopes = ["{scope}"]
{more}
"""
CHANGING = (
    (rb"date: [^\r]+", b"date: now"),
    (rb"content-length: \d+", b"content-length: checked"),
    (rb"(retry-after: |Try again in )\d+", rb"\1some"),
    (rb'"decision_id":"[^"]*?([0-9]+)"', rb'"decision_id":"\1"'),
    (rb"(x-request-id: |request_id\":\")[0-9a-f]{8}-[0-9a-f]+", rb"\1generated"),
)
"""Parts of responses that differ from one service to another."""
COUNTED = re.compile(
    r"^npsrisk_(?:answers|decisions|repeats|unscored|rejected_records|score_bucket|log_sequence|missing_values"
    r"|answer_seconds_count|stage_seconds_count)(?!\S*_created)\S* \S+",
    re.MULTILINE,
)


class Sent(NamedTuple):
    """A request: its body, and what is unusual about its head."""

    body: Any
    query: str = ""
    key: str | None = "all"
    headers: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        body = self.body if isinstance(self.body, bytes) else msgspec.json.encode(self.body)
        lines = [
            f"POST /v1/scores{self.query} HTTP/1.1",
            "Host: localhost",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *([] if self.key is None else [f"Authorization: Bearer {self.key}"]),
            *self.headers,
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body


GOOD = [
    Sent(make_consignment("RB1")),
    Sent(make_consignment("RB1")),
    Sent(make_consignment("RB2", description="research chemical powder"), headers=("X-Request-Id: mine",)),
    Sent(make_consignment("RB2", description="research chemical powder"), "?reasons=10"),
    Sent(make_consignment("RB3", description="research chemical powder"), "?reasons=10&features=true"),
    Sent(make_consignment("RB3", description="research chemical powder"), "?features=true"),
    Sent(make_consignment("RB4"), "?features=true", headers=("Accept-Encoding: gzip",)),
    Sent(make_consignment(" rb 123 456 785 gb")),
    Sent(make_consignment("RB123456785GB", gross_weight_kg=7.0)),
    Sent(make_consignment("RB5", cancelled_at=day(19))),
    Sent({"consignment_id": "RB6", "channel": "postal"}),
    Sent(make_consignment("RB7"), key="office"),
    Sent(make_consignment("RB8", office="Busan"), key="office"),
    Sent({"consignments": [make_consignment("RB9"), {"consignment_id": "RB10"}]}),
    Sent({"consignments": []}),
    Sent(make_consignment("RB11"), headers=("Connection: close",)),
]
REFUSED = [
    Sent(make_consignment("RC1"), key=None),
    Sent(make_consignment("RC1"), key="unknown"),
    Sent(make_consignment("RC1"), key="expired"),
    Sent(make_consignment("RC1"), key="lab"),
    Sent(make_consignment("RC1"), "?reasons=11"),
    Sent(make_consignment("RC1"), "?colour=red"),
    Sent(make_consignment("RC1"), "?reasons=1&reasons=2"),
    Sent(b""),
    Sent(b"{"),
    Sent(b"[]"),
    Sent(b"\xff"),
    Sent(b'{"consignment_id":"RC1","channel":"sea","pieces":"two"}'),
    Sent(b'{"consignment_id":"RC1","channel":"postal","channel":"postal"}'),
    Sent(make_consignment("RC1", received_at=day(400))),
    Sent(make_consignment("RC\n1")),
    Sent(make_consignment("RC1", description="x" * 70_000)),
    Sent(b" " * 300_000),
    Sent(make_consignment("RC1"), headers=("Content-Encoding: br",)),
    Sent(make_consignment("RC1"), headers=("X-Request-Id: b", "X-Request-Id: c")),
]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.toml"
    more = {"office": 'offices = ["Incheon"]', "expired": "expires_at = 2020-01-01T00:00:00Z"}
    path.write_text(
        "".join(
            KEYS.format(
                name=name,
                sha256=hashlib.sha256(name.encode()).hexdigest(),
                scope="outcome" if name == "lab" else "score",
                more=more.get(name, ""),
            )
            for name in ("all", "office", "expired", "lab")
        )
        + KEYS.format(name="reader", sha256=hashlib.sha256(b"reader").hexdigest(), scope="read", more="")
    )
    return path


class Exchanged(NamedTuple):
    """What a service answered to some requests, what it counted, and how many requests its connections answered."""

    answers: list[bytes]
    counted: list[str]
    direct: int


def exchange(running: Running, requests: Sequence[Sent], *, direct: bool) -> Exchanged:
    """Send requests one after the other on one connection, each twice if it is refused; `direct` opens the direct way."""
    done = 0
    send = type(running.app.direct)._answer

    def count(call: Any, result: Any) -> None:
        nonlocal done
        done += 1
        send(running.app.direct, call, result)

    running.app.direct._answer = count  # type: ignore[method-assign]
    if not direct:
        running.app.direct.accept = lambda *_, **__: None  # type: ignore[method-assign]
    answers = []
    with running.connected() as connection:
        for request in requests:
            connection.sendall(request.to_bytes())
            answer = b""
            while not is_whole(answer):
                part = connection.recv(1_000_000)
                assert part, answer
                answer += part
            answers.append(hide_changing(answer))
    return Exchanged(answers, sorted(COUNTED.findall(read_metrics(running))), done)


def read_metrics(running: Running) -> str:
    with running.connected() as connection:
        connection.sendall(
            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer reader\r\nConnection: close\r\n\r\n"
        )
        found = b""
        while part := connection.recv(1_000_000):
            found += part
    return found.decode()


def is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return bool(end) and length is not None and len(body) == int(length[1])


def hide_changing(answer: bytes) -> bytes:
    """Replace what differs from one service to another; the length of the body was checked."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"content-encoding: gzip" in head:
        body = gzip.decompress(body)
    answer = head + b"\r\n\r\n" + body
    for pattern, text in CHANGING:
        answer = re.sub(pattern, text, answer)
    return answer


@pytest.fixture
def both(tmp_path: Path, bundle: Path, keys: Path) -> Any:
    def run(requests: Sequence[Sent], **settings: str) -> tuple[Exchanged, Exchanged]:
        found = []
        for direct in (True, False):
            folder = tmp_path / f"direct-{direct}"
            with listening(folder, bundle, NPSRISK_API_KEYS_FILE=str(keys), **settings) as running:
                found.append(exchange(running, requests, direct=direct))
        return found[0], found[1]

    return run


def test_good_requests_get_the_same_bytes(both: Any) -> None:
    direct, asgi = both(GOOD)
    assert direct.answers == asgi.answers
    assert direct.counted == asgi.counted
    assert all(
        answer.startswith(b"HTTP/1.1 200 OK\r\n") for i, answer in enumerate(direct.answers) if i != 12
    )
    assert (direct.direct, asgi.direct) == (12, 0)


def test_refused_requests_get_the_same_bytes_and_leave_the_connection_usable(both: Any) -> None:
    requests = [each for request in REFUSED for each in (request, Sent(make_consignment("RD1")))]
    direct, asgi = both(requests, NPSRISK_MAX_BODY_BYTES="200000")
    assert direct.answers == asgi.answers
    assert direct.counted == asgi.counted
    statuses = {int(answer[9:12]) for answer in direct.answers}
    assert statuses == {200, 400, 401, 403, 413, 415, 422}
    assert (direct.direct, asgi.direct) == (len(REFUSED), 0)


def test_the_rate_limit_counts_each_request_once(both: Any) -> None:
    requests = [
        Sent(make_consignment("RB1")),
        Sent(make_consignment("RB2", received_at=day(400))),
        Sent(b"{"),
        Sent({"consignments": [make_consignment("RB3"), make_consignment("RB4")]}),
        Sent(make_consignment("RB5")),
        Sent(make_consignment("RB6")),
        Sent(make_consignment("RB7"), key="office"),
    ]
    direct, asgi = both(requests, NPSRISK_RATE_LIMIT="5/hour")
    assert [answer[9:12] for answer in direct.answers] == [
        b"200",
        b"422",
        b"400",
        b"200",
        b"200",
        b"429",
        b"200",
    ]
    assert direct.answers == asgi.answers
    assert direct.counted == asgi.counted
