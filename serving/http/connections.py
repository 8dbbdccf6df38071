"""Client connections: uvicorn's HTTP parser with limits on time, size and number, against slow or hostile clients.

A request's head must arrive within HEAD_SECONDS and MAX_HEAD_BYTES, and a response must be read within READ_SECONDS.
Above the limits on connections, in all and of one address, a new one gets 503 for all but the question if the process is alive. Heads that RFC 9112 forbids are refused. An `Upgrade` header is ignored, as RFC 9110, section 7.8, allows.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.http.asgi import (
    CLOSE_HEADERS,
    RETRY_SECONDS,
    build_refusing_app,
    generate_request_id,
    list_fields,
)
from serving.http.problems import MEDIA_TYPE, Refusal
from serving.telemetry.metrics import Metrics

HEAD_SECONDS = 10.0
"""Maximum seconds from the connection, or from the first byte of a request, to the end of the request's head."""
MAX_HEAD_BYTES = 65_536
FULL_HEAD_SECONDS = 2.0  # the same for a connection above a limit, which is closed after its first response
LIVE_URL = b"/health/live"
MAX_EXCESS = 100
"""Connections above a limit that are open at once: for a further one, which may ask this, the oldest is closed."""
READ_SECONDS = 30.0
"""Maximum seconds that a client may leave a response unread, or continue a body that was already answered."""
FLUSH_SECONDS = 5.0
MAX_DISCARDED_BYTES = 128 * 1024 * 1024
"""Maximum bytes of a body that are read and discarded after its response was sent. A client that still sends would
otherwise see a closed connection instead of the response."""
FULL = Refusal(503, "Too many connections. Try again.", headers={"retry-after": str(RETRY_SECONDS)})
LARGE_HEAD = Refusal(431, f"The request head exceeds {MAX_HEAD_BYTES} bytes.", headers=CLOSE_HEADERS)


class ConnectionCounts:
    """The open connections, in all and by address, from their acceptance on, so before TLS, with their maxima."""

    def __init__(self, most: int, most_of_address: int, metrics: Metrics) -> None:
        self.total, self._most = 0, most
        self._addresses, self._most_of_address = Counter[str](), most_of_address
        self._excess: dict[asyncio.Task[Any], None] = {}
        self._metrics = metrics
        for limit in ("total", "address"):
            metrics.count("excess_connections", limit, by=0)  # `rate` needs a value before the first one

    def admits(self, address: str) -> bool:
        """Return whether an address may have a further connection: at most MAX_EXCESS above its limit."""
        admitted = self._addresses[address] < self._most_of_address + MAX_EXCESS
        if not admitted:
            self._metrics.count("excess_connections", "address")
        return admitted

    @contextmanager
    def hold(self, address: str) -> Iterator[bool]:
        """Count a connection while its task serves it, and yield whether it is above a limit; then the oldest such may be ended."""
        task = asyncio.current_task()
        assert task is not None
        self.total += 1
        self._addresses[address] += 1
        excess, limit = max(
            (self.total - self._most, "total"),
            (self._addresses[address] - self._most_of_address, "address"),
        )
        if excess > 0:
            self._metrics.count("excess_connections", limit)
            self._excess[task] = None
            if len(self._excess) > MAX_EXCESS:
                oldest = next(iter(self._excess))
                del self._excess[oldest]
                oldest.cancel()
        try:
            yield excess > 0
        finally:
            self._excess.pop(task, None)
            self.total -= 1
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]


class Connection(HttpToolsProtocol):
    """One client connection, until `closed` is set; one that is `full`, above a limit, is closed after its first response."""

    def __init__(self, *args: Any, full: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self.closed, self._full = asyncio.Event(), full
        self._head_open, self._head_bytes, self._may_be_large = True, 0, False
        self._framing_bytes = self._discarded = 0
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._start_timer(FULL_HEAD_SECONDS if self._full else HEAD_SECONDS, self._handle_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the timers of a closed connection."""
        self.closed.set()
        self._cancel_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Process received bytes; close the connection if the head is too large."""
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self._may_be_large = self._head_bytes + len(data) > MAX_HEAD_BYTES
        self._framing_bytes += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            self._refuse(Refusal(400, _describe_framing(error, data)))
            return
        if not self._head_open:
            if self.cycle.response_complete:
                self._discarded += len(data)
            if self._discarded > MAX_DISCARDED_BYTES or self._framing_bytes > MAX_HEAD_BYTES:
                self.transport.abort()
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(LARGE_HEAD)
        elif self._timer is None:
            self._start_timer(HEAD_SECONDS, self._handle_timeout)

    def on_message_begin(self) -> None:
        """Mark the start of a request's head."""
        self._head_open, self._head_bytes, self._discarded = True, 0, 0
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """Receive a part of a body; between two, and after the last one, only as much may come as in a head."""
        self._framing_bytes = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """Mark the end of a request's head, and refuse a head that is too large or that RFC 9112 forbids."""
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise ValueError("the service is not a proxy")
            return  # `_parse` repeats the request without the upgrade
        self._head_open, self._framing_bytes = False, 0
        self._cancel_timer()
        refusal = find_head_fault(self.headers, self.parser.get_http_version())
        if self._may_be_large:
            fields = sum(len(name) + len(value) + FIELD_LINE_BYTES for name, value in self.headers)
            if len(self.url) + fields > MAX_HEAD_BYTES:
                refusal = LARGE_HEAD
        if self._full and self.url != LIVE_URL:
            refusal = refusal or FULL
        answering = self.app
        if refusal is not None:  # a refusal too has its turn among the responses to pipelined requests
            self.app = build_refusing_app(refusal)
        try:
            super().on_headers_complete()
        finally:
            self.app = answering
        if self._full:
            self.cycle.keep_alive = False
        self.headers = []  # fields of a trailer are not those of the head

    def on_message_complete(self) -> None:
        """Mark the end of a request's body."""
        if self.parser.should_upgrade():
            return
        self._cancel_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Limit the time to complete a body if the response was sent before the body was received."""
        super().on_response_complete()
        if self.cycle.more_body and not self.transport.is_closing():
            self._start_timer(READ_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        """Start the timer of a client that does not read its response."""
        super().pause_writing()
        self._unread = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the timer of a client that reads its response again."""
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, even if its client has not read the response."""
        self._close()

    def _parse(self, data: bytes) -> None:
        """Parse received bytes; a request that wants another protocol is read as if it had not asked for it."""
        rest = memoryview(data)
        while True:
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as upgrade:
                # The parser stopped after the head, and has dropped the body.
                rest = rest[upgrade.args[0] :]
                head = write_head_without_upgrade(
                    self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers
                )
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                self.parser.feed_data(head)

    def _handle_timeout(self) -> None:
        """Close a connection whose head did not arrive in time; answer with 408 if part of it arrived."""
        if self._head_bytes:
            self._refuse(Refusal(408, f"The request head did not arrive within {HEAD_SECONDS:.0f} seconds."))
        else:
            self._close()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer outside of any ASGI call, and close the connection."""
        self._cancel_timer()
        request_id = generate_request_id()
        body = refusal.to_json(request_id.decode())
        fields = list_fields(body, MEDIA_TYPE, request_id, {**refusal.headers, **CLOSE_HEADERS})
        head = [STATUS_LINE[HTTPStatus(refusal.status)], *(b"%s: %s\r\n" % each for each in fields), b"\r\n"]
        self.transport.write(b"".join(head) + body)
        self._close()

    def _close(self) -> None:
        """Close the connection; discard what the client does not read within FLUSH_SECONDS."""
        if not self.transport.is_closing():
            self.transport.close()
            self.loop.call_later(FLUSH_SECONDS, self.transport.abort)

    def _start_timer(self, seconds: float, then: Any) -> None:
        self._cancel_timer()
        self._timer = self.loop.call_later(seconds, then)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


TLS_START = b"\x16\x03"
FRAMING_FAULTS = {
    "Invalid method encountered": "no request begins here; if one came before, Content-Length is not the length of its body",
    "Pause on PRI/Upgrade": "no request begins here; HTTP/2 is not spoken, and Content-Length must be the length of a body",
}


def _describe_framing(error: httptools.HttpParserError, data: bytes) -> str:
    """Describe what is wrong with the framing of a request, in words that repeat nothing of the request."""
    if data.startswith(TLS_START):
        return "TLS came to a port without TLS. Use http://, or set NPSRISK_TLS_CERT_FILE for the service."
    words = FRAMING_FAULTS.get(str(error).rstrip("."))
    if words is not None:
        return f"Invalid HTTP request: {words}."
    if isinstance(error.__context__, ValueError):
        return f"Invalid HTTP request: {error.__context__}."
    return f"Invalid HTTP request: {str(error).rstrip('.')}. Send HTTP/1.1 as RFC 9112 defines it."


Headers = list[tuple[bytes, bytes]]  # header fields in their order, with lower-case names
HOST_FORM = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]*|\[[0-9A-Fa-f:.]+\])(?::\d*)?")
"""Form of the header `Host`: `uri-host [ ":" port ]` of RFC 9112, section 3.2."""
SINGLE_FIELDS = (
    "host",
    "authorization",
    "content-type",
    "content-encoding",
    "content-length",
    "transfer-encoding",
)
"""Fields that may occur only once: with two, a proxy and the service could each obey another one."""
FIELD_LINE_BYTES = len(": \r\n")


def find_head_fault(headers: Headers, http_version: str) -> Refusal | None:
    """Return the refusal of a head that RFC 9112 forbids, or None; `http_version` is that of the request line."""
    if http_version not in ("1.0", "1.1"):
        return _refuse_head(505, f"HTTP/{http_version} is not supported. Send HTTP/1.1.")
    fields = dict(headers)
    if len(fields) < len(headers):
        names = [name.decode("latin-1") for name, _ in headers]
        repeated = [name for name in SINGLE_FIELDS if names.count(name) > 1]
        if repeated:
            return _refuse_head(400, f"The request has more than one header {repeated[0].title()}. Send one.")
    host = fields.get(b"host")
    if host is None and http_version == "1.1":
        return _refuse_head(400, "The header Host is missing. HTTP/1.1 requires it.")
    if host is not None and not HOST_FORM.fullmatch(host):
        return _refuse_head(400, "The header Host is invalid. Expected a host name, with or without a port.")
    coding = fields.get(b"transfer-encoding")
    if coding is not None and http_version == "1.0":
        return _refuse_head(400, "HTTP/1.0 has no header Transfer-Encoding. Send HTTP/1.1.")
    if coding is not None and coding.strip().lower() != b"chunked":
        return _refuse_head(
            501, "Only Transfer-Encoding: chunked is supported. Compress with Content-Encoding: gzip."
        )
    return None


def _refuse_head(status: int, detail: str) -> Refusal:
    return Refusal(HTTPStatus(status), detail, headers=CLOSE_HEADERS)


def write_head_without_upgrade(method: bytes, url: bytes, http_version: str, headers: Headers) -> bytes:
    """Write the head of a request again, without the request for another protocol."""
    lines = [b"%s %s HTTP/%s" % (method, url, http_version.encode())]
    for name, value in headers:
        if name == b"upgrade":
            continue
        if name == b"connection":
            tokens = [token.strip() for token in value.split(b",")]
            value = b", ".join(token for token in tokens if token.lower() != b"upgrade")
        lines.append(b"%s: %s" % (name, value))
    return b"\r\n".join([*lines, b"", b""])
