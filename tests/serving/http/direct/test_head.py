"""Known heads: only bytes that are exactly one request with the same head are recognized."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.http.direct.head import KnownHead, ScoreHead, read_length
from serving.http.scores import ScoreOptions

BEFORE = b"POST /v1/scores HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
AFTER = b"\r\nContent-Type: application/json\r\n\r\n"
MAX_BYTES = 1000
HEAD = ScoreHead(
    [(b"host", b"localhost"), (b"content-length", b"2"), (b"content-type", b"application/json")],
    {},
    b"",
    ScoreOptions(),
    keep_alive=True,
)


def build(body: bytes, length: bytes | None = None) -> bytes:
    return BEFORE + (b"%d" % len(body) if length is None else length) + AFTER + body


def learn(data: bytes, body: bytes, head: ScoreHead = HEAD) -> KnownHead | None:
    return KnownHead.learn(data, body, head, MAX_BYTES)


@pytest.fixture
def known() -> KnownHead:
    found = learn(build(b"{}"), b"{}")
    assert found is not None
    return found


def test_bodies_of_other_lengths_are_found(known: KnownHead) -> None:
    for body in (b"", b"{}", b"x" * 9, b"x" * 10, b"\r\n\r\n", b"x" * MAX_BYTES):
        assert known.find_body(build(body)) == body
    assert known.find_body(build(b"ab", b"002")) == b"ab"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        build(b"ab")[:-1],
        build(b"ab") + b"c",
        build(b"ab") * 2,
        build(b"x" * (MAX_BYTES + 1)),
        build(b"ab", b""),
        build(b"ab", b"+2"),
        build(b"ab", b" 2"),
        build(b"ab", b"2 "),
        build(b"ab", b"2\r\nX-Other: 1"),
        build(b"ab", b"0000000002"),
        build(b"ab").replace(b"localhost", b"LOCALHOST"),
        build(b"ab").replace(b"json", b"JSON"),
        BEFORE + b"2",
    ],
)
def test_anything_else_is_left_to_the_parser(known: KnownHead, data: bytes) -> None:
    assert known.find_body(data) is None


@given(
    data=st.one_of(
        st.binary(max_size=300),
        st.tuples(st.text("0123456789 +\r\n", max_size=12), st.binary(max_size=30)).map(
            lambda both: build(both[1], both[0].encode())
        ),
        st.binary(max_size=50).map(build),
    )
)
def test_what_is_recognized_is_one_whole_request(data: bytes) -> None:
    known = learn(build(b"{}"), b"{}")
    assert known is not None
    form = re.compile(re.escape(BEFORE) + rb"([0-9]{1,9})" + re.escape(AFTER) + rb"(.*)", re.DOTALL)
    found = form.fullmatch(data)
    whole = found is not None and int(found[1]) == len(found[2])
    assert known.find_body(data) == (found[2] if found is not None and whole else None)


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"x\r\n\r\n" + build(b"{}"), b"{}"),
        (build(b"{}").replace(b"Content-Length: ", b"Content-Length:  "), b"{}"),
        (build(b"{}").replace(b"\r\nContent-Length: 2", b""), b"{}"),
        (build(b"{}").replace(b"Host: localhost", b"Content-Length: 2"), b"{}"),
        (build(b"{}").replace(b"\r\n", b"\n"), b"{}"),
    ],
)
def test_a_head_that_did_not_come_alone_or_in_the_usual_form_is_not_learned(data: bytes, body: bytes) -> None:
    assert learn(data, body) is None


def test_a_head_that_closes_its_connection_is_not_learned() -> None:
    assert learn(build(b"{}"), b"{}", HEAD._replace(keep_alive=False)) is None


def test_the_fields_of_a_request_have_its_own_length() -> None:
    assert dict(HEAD.list_fields(77))[b"content-length"] == b"77"
    assert dict(HEAD.list_fields(77))[b"host"] == b"localhost"


@pytest.mark.parametrize(
    ("value", "length"),
    [
        (b"0", 0),
        (b"12", 12),
        (b"999999999", 999_999_999),
        (b"1000000000", None),
        (b"", None),
        (b"-1", None),
        (b"1e3", None),
    ],
)
def test_only_plain_lengths_are_read(value: bytes, length: int | None) -> None:
    assert read_length({b"content-length": value}) == length


def test_a_missing_length_is_none() -> None:
    assert read_length({}) is None
