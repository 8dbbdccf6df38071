"""Client connections: uvicorn's HTTP parser with limits on time, size and number, against slow or hostile clients.

A request's head must arrive within HEAD_SECONDS and MAX_HEAD_BYTES, and a response must be read within READ_SECONDS.
Above the limit on connections, a new one is refused with 503.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.http.asgi import RETRY_SECONDS, SECURITY_HEADERS, generate_request_id
from serving.http.problems import MEDIA_TYPE, Refusal

HEAD_SECONDS = 10.0
"""Maximum seconds from the connection, or from the first byte of a request, to the end of the request's head."""
MAX_HEAD_BYTES = 65_536
READ_SECONDS = 30.0
"""Maximum seconds that a client may leave a response unread, or continue a body that was already answered."""
FLUSH_SECONDS = 5.0


class Connection(HttpToolsProtocol):
    """One client connection; `limit_connections` builds the class that the server uses."""

    most = 1_000
    """Maximum number of simultaneous connections."""

    def connection_made(self, transport: Any) -> None:
        """Accept a connection, or refuse it with 503 if there are too many."""
        super().connection_made(transport)
        self._head_open, self._head_bytes = True, 0
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
        super().data_received(data)
        if not self._head_open:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(Refusal(431, f"The request head exceeds {MAX_HEAD_BYTES} bytes."))
        elif self._timer is None:
            self._start_timer(HEAD_SECONDS, self._handle_timeout)

    def on_message_begin(self) -> None:
        """Mark the start of a request's head."""
        self._head_open, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Mark the end of a request's head."""
        self._head_open = False
        self._cancel_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Mark the end of a request's body."""
        if self._timer is not None:
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


def limit_connections(most: int) -> type[Connection]:
    """Build a connection class with a limit on simultaneous connections."""
    return type("Connection", (Connection,), {"most": most})
