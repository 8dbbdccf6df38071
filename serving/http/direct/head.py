"""Heads of score requests that a connection may answer itself, and the recognition of a head that it sent before.

The clients of an inspection system send the same head with each request; only the length of the body differs. Such a head
is not parsed again: equal bytes have equal meaning.
"""

import re
from typing import NamedTuple

from serving.http.asgi import Header
from serving.http.scores import ScoreOptions

BLANK_LINE = b"\r\n\r\n"
LINE_END = b"\r\n"
LENGTH_NAME = b"content-length"
LENGTH_FIELD = re.compile(rb"\r\ncontent-length: ?(\d+)(?=\r\n)", re.IGNORECASE)
MAX_LENGTH_DIGITS = 9


class ScoreHead(NamedTuple):
    """The head of a score request that the connection may answer itself.

    Attributes
    ----------
    fields : list of (bytes, bytes)
        Header fields in their order, with lower-case names; none is repeated.
    headers : dict
        The same fields by name.
    query : bytes
        The query string, without the question mark.
    options : ScoreOptions
        Its parameters.
    keep_alive : bool
        Whether the connection stays open after the response.
    """

    fields: list[Header]
    headers: dict[bytes, bytes]
    query: bytes
    options: ScoreOptions
    keep_alive: bool

    def list_fields(self, length: int) -> list[Header]:
        """List the header fields of a request with a body of a length."""
        return [(name, b"%d" % length if name == LENGTH_NAME else value) for name, value in self.fields]


def read_length(headers: dict[bytes, bytes]) -> int | None:
    """Return the length of a body; None if it is not given, or too large to be read as a number."""
    return _read_number(headers.get(LENGTH_NAME, b""))


def _read_number(digits: bytes) -> int | None:
    return int(digits) if digits.isdigit() and len(digits) <= MAX_LENGTH_DIGITS else None


class KnownHead(NamedTuple):
    """The bytes of an accepted head, without the digits of its length.

    Attributes
    ----------
    before, after : bytes
        The bytes before and after the digits.
    head : ScoreHead
    max_bytes : int
        Maximum length of a body.
    """

    before: bytes
    after: bytes
    head: ScoreHead
    max_bytes: int

    @classmethod
    def learn(cls, data: bytes, body: bytes, head: ScoreHead, max_bytes: int) -> "KnownHead | None":
        """Learn a head from received bytes; return None if they are not just this head and its body."""
        sent = data[: len(data) - len(body)]
        lengths = list(LENGTH_FIELD.finditer(sent))
        if not head.keep_alive or sent.find(BLANK_LINE) != len(sent) - len(BLANK_LINE) or len(lengths) != 1:
            return None
        begin, end = lengths[0].span(1)
        return cls(sent[:begin], sent[end:], head, max_bytes)

    def find_body(self, data: bytes) -> bytes | None:
        """Return the body if the bytes are exactly one request with this head, else None."""
        if not data.startswith(self.before):
            return None
        end = data.find(LINE_END, len(self.before))
        length, begin = _read_number(data[len(self.before) : end]), end + len(self.after)
        if (
            length is None
            or length > self.max_bytes
            or len(data) != begin + length
            or not data.startswith(self.after, end)
        ):
            return None
        return data[begin:]
