"""What RFC 9112 forbids is refused, what it lets us ignore is ignored, and compressed bodies stay within the limit."""

import gzip
import http.client
from pathlib import Path

import httpx
import msgspec
import pytest
from support.listening import BODY, HEAD, Running, all_of, listening, problem_of, send_for_long, status_of
from support.serving_examples import publish, serving, settings_in

GET = b"GET /health/live HTTP/1.1\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAAAAAAIAAAAA\r\n"
CLOSE = b"Connection: close\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)


@pytest.fixture
def running(shared_running: Running) -> Running:
    """One service for all: nothing here depends on what its log has."""
    return shared_running


def send(running: Running, *parts: bytes) -> bytes:
    """Send bytes part by part and read until the service closes."""
    with running.connected() as connection:
        for part in parts:
            connection.sendall(part)
        return all_of(connection)


def statuses(answers: bytes) -> list[int]:
    return [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]


# Upgrades


def test_the_first_post_of_javas_client_keeps_its_body(running: Running) -> None:
    request = HEAD + H2C + LENGTH + b"\r\n" + BODY
    last = GET + b"Host: localhost\r\n" + CLOSE + b"\r\n"
    assert statuses(send(running, request + last)) == [200, 200]
    assert b'"RB1"' in send(running, request + last)


def test_an_upgrade_is_ignored_wherever_the_parts_are_cut(running: Running) -> None:
    request = HEAD + H2C + LENGTH + b"\r\n" + BODY + GET + b"Host: localhost\r\n" + CLOSE + b"\r\n"
    for cut in range(1, len(request), 23):
        assert statuses(send(running, request[:cut], request[cut:])) == [200, 200], cut


def test_many_upgrades_in_a_row_are_all_answered(running: Running) -> None:
    request = GET + b"Host: localhost\r\n" + H2C + b"\r\n"
    last = GET + b"Host: localhost\r\n" + CLOSE + b"\r\n"
    assert statuses(send(running, request * 50 + last)) == [200] * 51


def test_a_chunked_body_after_an_upgrade_is_read(running: Running) -> None:
    chunked = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    last = GET + b"Host: localhost\r\n" + CLOSE + b"\r\n"
    assert statuses(send(running, HEAD + H2C + chunked + last)) == [200, 200]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GARBAGE\r\n\r\n", "no request begins here"),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "Content-Length"),
        (b"GET / HTTP/1.1\r\nHo st: a\r\n\r\n", "Invalid header token"),
        (b"GET / HTTP/9.9\r\n\r\n", "Invalid HTTP"),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", "Invalid character in Content-Length"),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "not a proxy"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS came to a port without TLS"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2 is not spoken"),
    ],
)
def test_a_framing_fault_says_what_it_is_and_what_to_do(running: Running, sent: bytes, reason: str) -> None:
    problem = problem_of(send(running, sent))
    assert (problem["status"], reason in problem["detail"]) == (400, True), problem


def test_the_length_of_a_body_that_is_too_short_is_named(running: Running) -> None:
    answers = send(running, HEAD + b"Content-Length: 3\r\n\r\n" + BODY)
    assert b"Content-Length is not the length of its body" in answers


# RFC 9112


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (GET, 400),
        (GET + b"Host: localhost\r\nHost: localhost\r\n", 400),
        (GET + b"Host: a b\r\n", 400),
        (GET + b"Host: localhost\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n", 400),
        (GET + b"Host: localhost\r\nTransfer-Encoding: gzip, chunked\r\n", 501),
        (b"GET /health/live HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"GET /health/live HTTP/2.0\r\nHost: localhost\r\n", 505),
        (b"GET /health/live HTTP/0.9\r\nHost: localhost\r\n", 505),
        (b"GET /health/live\r\n", 505),
    ],
)
def test_a_head_that_the_standard_forbids_is_refused_and_the_connection_closed(
    running: Running, head: bytes, status: int
) -> None:
    problem = problem_of(send(running, head + b"\r\n"))
    assert problem["status"] == status
    assert problem["detail"].endswith(".")


def test_http_1_0_needs_no_host(running: Running) -> None:
    assert status_of(send(running, b"GET /health/live HTTP/1.0\r\n\r\n")) == 200


def test_a_refusal_waits_for_the_answers_before_it(running: Running) -> None:
    answers = send(running, HEAD + LENGTH + b"\r\n" + BODY + GET + b"\r\n")
    assert answers.index(b"HTTP/1.1 200 OK") < answers.index(b"HTTP/1.1 400 Bad Request")


def test_fields_of_a_trailer_are_not_those_of_the_head(running: Running) -> None:
    chunked = b"%x\r\n%s\r\n0\r\nX-Request-Id: from-the-trailer\r\n\r\n" % (len(BODY), BODY)
    answer = send(running, HEAD + b"Transfer-Encoding: chunked\r\n" + CLOSE + b"\r\n" + chunked)
    assert status_of(answer) == 200
    assert b"from-the-trailer" not in answer


def test_a_head_just_over_the_limit_is_refused_also_in_one_piece(running: Running) -> None:
    head = GET + b"Host: localhost\r\n" + CLOSE + b"X-A: " + b"a" * 66_000 + b"\r\n\r\n"
    assert problem_of(send(running, head))["status"] == 431
    within = GET + b"Host: localhost\r\n" + CLOSE + b"X-A: " + b"a" * 60_000 + b"\r\n\r\n"
    assert status_of(send(running, within)) == 200


def test_a_slash_too_many_is_an_unknown_path_and_not_a_redirect(running: Running) -> None:
    response = httpx.post(f"http://127.0.0.1:{running.port}/v1/outcomes/", json={}, trust_env=False)
    assert response.status_code == 404
    assert response.json()["detail"].startswith("There is no such path")


@pytest.mark.parametrize("megabytes", [11, 50])
def test_a_client_that_announces_a_large_body_sees_the_refusal(running: Running, megabytes: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/v1/scores", b" " * (megabytes * 1_000_000), headers)
    response = connection.getresponse()
    assert response.status == 413
    assert b"NPSRISK_MAX_BODY_BYTES" in response.read()
    connection.close()


def test_a_body_that_goes_on_past_its_refusal_is_cut(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.http.connections.MAX_DISCARDED_BYTES", 1_000_000)
    with running.connected() as connection:
        connection.sendall(HEAD + b"Content-Length: 900000000\r\n\r\n")
        with pytest.raises(OSError, match=r"reset|Broken"):
            send_for_long(connection, b" " * 1_000_000)


# Compression


def post(running: Running, body: bytes, **headers: str) -> httpx.Response:
    given = {"content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    url = f"http://127.0.0.1:{running.port}/v1/scores"
    return httpx.post(url, content=body, headers=given, trust_env=False, timeout=30)


def many(count: int) -> bytes:
    return msgspec.json.encode(
        {"consignments": [{"consignment_id": f"RB{number}", "channel": "postal"} for number in range(count)]}
    )


@pytest.mark.parametrize("count", [1, 900])
def test_a_compressed_list_is_scored_as_if_it_were_not(running: Running, count: int) -> None:
    plain = post(running, many(count)).json()
    compressed = post(running, gzip.compress(many(count)), content_encoding="gzip")
    assert compressed.status_code == 200
    assert compressed.json()["scores"] == [each | {"repeated": True} for each in plain["scores"]]


def test_a_bomb_is_refused_before_it_is_inflated(tmp_path: Path, bundle: Path) -> None:
    with listening(tmp_path, bundle, NPSRISK_MAX_BODY_BYTES="100000") as running:
        bomb = gzip.compress(b" " * 90_000_000)
        assert len(bomb) < 100_000
        assert post(running, bomb, content_encoding="gzip").status_code == 413
        assert running.app.door._held == 0
        assert post(running, gzip.compress(BODY, mtime=0), content_encoding="gzip").status_code == 200


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
def test_what_is_no_gzip_is_refused(
    running: Running, body: bytes, encoding: str, status: int, words: str
) -> None:
    response = post(running, body, content_encoding=encoding)
    assert response.status_code == status
    assert words in response.json()["detail"]


def test_a_large_answer_is_compressed_for_those_who_accept_it(running: Running) -> None:
    url = f"http://127.0.0.1:{running.port}/openapi.json"
    compressed = httpx.get(url, headers={"accept-encoding": "gzip"}, trust_env=False)
    plain = httpx.get(url, headers={"accept-encoding": "identity"}, trust_env=False)
    assert compressed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert compressed.headers["vary"] == plain.headers["vary"] == "accept-encoding"
    assert int(compressed.headers["content-length"]) * 3 < int(plain.headers["content-length"])
    assert compressed.json() == plain.json()
    assert "vary" not in post(running, BODY, accept_encoding="gzip").headers


# JSON


ONE = b'{"consignment_id":"RB1","channel":"postal"}'


def test_two_values_for_one_field_are_refused_wherever_they_are(running: Running) -> None:
    twice = post(running, ONE[:-1] + b',"channel":"air_cargo"}')
    assert twice.json()["errors"] == [
        {
            "detail": "The field `channel` occurs twice in one object. Send it once.",
            "pointer": "#/channel",
            "kind": "repeated_field",
        }
    ]
    item = ONE[:-1] + b',"items":[{"value":1}]}'
    bad = item.replace(b'"value":1', b'"value":1,"v\\u0061lue":1')
    for body, kinds in (
        (b'{"consignments":[' + item + b"," + bad + b"," + item + b"]}", ["repeated_field"]),
        (b'{"consignments":[' + ONE[:-1] + b',"pieces":1, "pieces" :2}]}', ["repeated_field"]),
        (b' { "consignments" : [' + item + b"] } \n", []),
        (b'{"c\\u006fnsignments":[' + item + b"]}", []),
    ):
        assert [each["kind"] for each in post(running, body).json()["errors"]] == kinds, body
    for body in (
        bad,
        ONE[:-1] + b',"chann\\u0065l":"air_cargo"}',
        b'{"consignments":[' + item + b'],"c\\u006fnsignments":[]}',
        b'{"consignments":5,"consignments":[' + item + b"]}",
        b'{"consignments":[' + item + b'],"consignments":[' + item + b"]}",
    ):
        assert post(running, body).status_code == 422, body


def test_all_faults_of_a_record_are_named_at_once(running: Running) -> None:
    bad = {"channel": "sea", "pieces": "two", "items": [{"value": 1}, {"value": -1, "colour": "red"}]}
    problem = post(running, msgspec.json.encode(bad)).json()
    assert {(each["pointer"], each["kind"]) for each in problem["errors"]} == {
        ("#/consignment_id", "missing_field"),
        ("#/channel", "bad_value"),
        ("#/pieces", "wrong_type"),
        ("#/items/1/value", "bad_value"),
        ("#/items/1/colour", "unknown_field"),
    }
    assert "the first of 5 faults" in problem["detail"]
    listed = post(running, msgspec.json.encode({"consignments": [bad]})).json()["errors"]
    assert len(listed) == 1
    assert len(listed[0]["errors"]) == 5
    assert listed[0]["errors"][0]["pointer"].startswith("#/consignments/0/")


def test_both_times_in_the_future_are_named(running: Running) -> None:
    bad = {
        "consignment_id": "RB1", "channel": "postal",
        "received_at": "2999-01-01T00:00:00Z", "cancelled_at": "2999-01-01T00:00:00Z",
    }  # fmt: skip
    problem = post(running, msgspec.json.encode(bad)).json()
    assert [each["pointer"] for each in problem["errors"]] == ["#/received_at", "#/cancelled_at"]


NOT_UTF_8 = b'{"consignment_id":"RB1","channel":"postal","office":"a\xff"}'
BAD_BODIES = [
    (NOT_UTF_8, 400, f"not UTF-8 at byte {NOT_UTF_8.index(0xFF)}"),
    (b'{"consignments":[' + ONE, 400, "not valid JSON: Input data was truncated"),
    (b'{"consignments":[' + ONE[:-1] + b',"pieces":NaN}]}', 400, "not valid JSON: JSON is malformed"),
    (b'{"consignments":[' + ONE + b"]} x", 400, "trailing characters"),
    (b'{"consignments":[' + ONE + b'],"sent_by":"a"}', 422, "unknown field `sent_by`"),
    (ONE[:-1] + b',"colour":1}', 422, "unknown field `colour`"),
    (b"[" + ONE + b"]", 422, 'Send a list as {"consignments": [...]}'),
    (b"", 400, "it is empty"),
    (b"\xef\xbb\xbf" + ONE, 400, "byte order mark"),
    (
        b"<HouseWaybill/>",
        400,
        "it is XML; send messages to POST /v1/scores with Content-Type: application/xml",
    ),
    (ONE[:-1] + b',"declared_value":%s}' % (b"1" * 5_000), 422, ""),
    (b"[" * 100_000, 400, ""),
    (b'{"consignments":[' + b'{"items":[' * 50_000, 400, ""),
    (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, 400, "nested too deeply"),
]


@pytest.mark.parametrize("model", [True, False])
def test_a_fault_of_a_body_is_the_senders_with_and_without_a_model(
    tmp_path: Path, bundle: Path, model: bool
) -> None:
    if model:
        publish(tmp_path, bundle, "1")
    with serving(settings_in(tmp_path)) as client:
        for body, status, words in BAD_BODIES:
            problem = client.post("/v1/scores", body).json()
            assert problem["status"] == status, (body, problem)
            assert words in problem["detail"]
        list_of_two = b'{"consignments":[' + ONE[:-1] + b',"colour":1},' + ONE + b"]}"
        told = client.post("/v1/scores", list_of_two).json()
    assert [each["consignment_id"] for each in told["scores"]] == ["RB1"]
    assert [(each["index"], each["kind"]) for each in told["errors"]] == [(0, "unknown_field")]
