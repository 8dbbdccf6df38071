"""Responses with a score, as bytes: the same as `serving.http.asgi.respond` sends for them."""

from collections.abc import Sequence

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from serving.http.asgi import JSON, Header, list_headers

SIZE, REQUEST = b"\x00", b"\x01"
"""Stand for the values of a response in its prepared head; no header contains them."""
CLOSE_LINE = b"connection: close\r\n"


class ResponseWriter:
    """A writer of responses with status 200, which prepares what all have in common.

    Parameters
    ----------
    secure : bool
        Whether the connection has TLS.
    """

    def __init__(self, *, secure: bool) -> None:
        self._secure = secure
        self._defaults: Sequence[Header] | None = None

    def write(self, body: bytes, request_id: bytes, defaults: Sequence[Header], *, keep_alive: bool) -> bytes:
        """Return a response; `defaults` are the headers of the server, which change each second."""
        if defaults is not self._defaults:
            self._prepare(defaults)
        end = self._open_end if keep_alive else self._close_end
        return b"".join((self._start, b"%d" % len(body), self._middle, request_id, end, body))

    def _prepare(self, defaults: Sequence[Header]) -> None:
        headers = [*defaults, *list_headers(JSON, SIZE, REQUEST, secure=self._secure)]
        head = STATUS_LINE[200] + b"".join(b"%s: %s\r\n" % header for header in headers)
        self._start, rest = head.split(SIZE)
        self._middle, end = rest.split(REQUEST)
        self._open_end, self._close_end = end + b"\r\n", end + CLOSE_LINE + b"\r\n"
        self._defaults = defaults
