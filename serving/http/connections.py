"""Client connections: uvicorn's HTTP parser with limits on time, size and number, against slow or hostile clients.

A request's head must arrive within HEAD_SECONDS and MAX_HEAD_BYTES, and a response must be read within READ_SECONDS.
Above the limit on connections, a new one is refused with 503. Heads that RFC 9112 forbids are refused
(`serving.http.protocol.request_head`). An `Upgrade` header is ignored, as RFC 9110, section 7.8, allows.
"""

import asyncio
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.http.asgi import RETRY_SECONDS, SECURITY_HEADERS, build_refusing_app, generate_request_id
from serving.http.problems import MEDIA_TYPE, Refusal
from serving.http.protocol.request_head import find_head_fault, measure_head, write_head_without_upgrade

HEAD_SECONDS = 10.0
"""Maximum seconds from the connection, or from the first byte of a request, to the end of the request's head."""
MAX_HEAD_BYTES = 65_536
READ_SECONDS = 30.0
"""Maximum seconds that a client may leave a response unread, or continue a body that was already answered."""
FLUSH_SECONDS = 5.0
MAX_DISCARDED_BYTES = 128 * 1024 * 1024
"""Maximum bytes of a body that are read and discarded after its response was sent. A client that still sends would
otherwise see a closed connection instead of the response."""


class Connection(HttpToolsProtocol):
    """One client connection; `build_connection_class` sets the maximum number of connections."""

    most: int

    def connection_made(self, transport: Any) -> None:
        """Accept a connection, or refuse it with 503 if there are too many."""
        super().connection_made(transport)
        self._head_open, self._head_bytes, self._may_be_large, self._discarded = True, 0, False, 0
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        if len(self.connections) > self.most:
            self._refuse(
                Refusal(503, "Too many connections. Try again.", headers={"retry-after": str(RETRY_SECONDS)})
            )
            return
        self._start_timer(HEAD_SECONDS, self._handle_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the timers of a closed connection."""
        self._cancel_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Process received bytes; close the connection if the head is too large."""
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self._may_be_large = self._head_bytes + len(data) > MAX_HEAD_BYTES
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            self.send_400_response(_describe_framing(error))
            return
        if not self._head_open:
            if self.cycle.response_complete:
                self._limit_discarded(len(data))
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(_build_large_head_refusal())
        elif self._timer is None:
            self._start_timer(HEAD_SECONDS, self._handle_timeout)

    def on_message_begin(self) -> None:
        """Mark the start of a request's head."""
        self._head_open, self._head_bytes, self._discarded = True, 0, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Mark the end of a request's head, and refuse a head that is too large or that RFC 9112 forbids."""
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise ValueError("the service is not a proxy")
            return  # `_parse` repeats the request without the upgrade
        self._head_open = False
        self._cancel_timer()
        refusal = find_head_fault(self.headers, self.parser.get_http_version())
        if self._may_be_large and measure_head(self.url, self.headers) > MAX_HEAD_BYTES:
            refusal = _build_large_head_refusal()
        answering = self.app
        if refusal is not None:  # a refusal too has its turn among the responses to pipelined requests
            self.app = build_refusing_app(refusal)
        try:
            super().on_headers_complete()
        finally:
            self.app = answering
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

    def send_400_response(self, msg: str) -> None:
        """Answer invalid HTTP with a problem document."""
        self._refuse(Refusal(400, msg))

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

    def _limit_discarded(self, count: int) -> None:
        """Close the connection of a client that sends too much of a body that was already answered."""
        self._discarded += count
        if self._discarded > MAX_DISCARDED_BYTES:
            self.transport.abort()

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
        headers = [
            (b"content-type", MEDIA_TYPE),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", request_id),
            (b"connection", b"close"),
            *SECURITY_HEADERS,
            *((name.encode(), value.encode()) for name, value in refusal.headers.items()),
        ]
        head = [STATUS_LINE[HTTPStatus(refusal.status)], *(b"%s: %s\r\n" % each for each in headers), b"\r\n"]
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


def build_connection_class(most: int) -> type[Connection]:
    """Build a connection class with a maximum number of simultaneous connections."""
    return type("LimitedConnection", (Connection,), {"most": most})


def _describe_framing(error: httptools.HttpParserError) -> str:
    """Describe what is wrong with the framing of a request, in the parser's words, which repeat nothing of the request."""
    if isinstance(error.__context__, ValueError):
        return f"Invalid HTTP request: {error.__context__}."
    return f"Invalid HTTP request: {str(error).rstrip('.')}. Send HTTP/1.1 as RFC 9112 defines it."


def _build_large_head_refusal() -> Refusal:
    return Refusal(431, f"The request head exceeds {MAX_HEAD_BYTES} bytes.")
