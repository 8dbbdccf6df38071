"""One connection of a client: HTTP by uvicorn's parser, with the bounds that keep a slow or hostile client from holding anything.

A head must come within HEAD_SECONDS and HEAD_BYTES, an answer must be read within READ_SECONDS, and past a number of
connections the next one is told to come again.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.http.asgi import RETRY_SECONDS, SECURITY_HEADERS, generate_request_id
from serving.http.problems import MEDIA_TYPE, Refusal

HEAD_SECONDS = 10.0
"""How long a client may take from its connection, or the first byte of a request, to the end of the request's head."""
MAX_HEAD_BYTES = 65_536
READ_SECONDS = 30.0
"""How long a client may leave an answer unread, or go on sending a body that was answered already."""
FLUSH_SECONDS = 5.0


class Connection(HttpToolsProtocol):
    """A connection; `limit_connections` makes the class that the server uses."""

    most = 1_000
    """Connections there may be at once."""

    def connection_made(self, transport: Any) -> None:
        """Take a connection, or tell its client to come again."""
        super().connection_made(transport)
        self._head_open, self._head_bytes = True, 0
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        if len(self.connections) > self.most:
            self._refuse(
                Refusal(503, "too many connections; try again", headers={"retry-after": str(RETRY_SECONDS)})
            )
            return
        self._start_timer(HEAD_SECONDS, self._handle_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._cancel_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; a head that takes too long, or has no end, ends the connection."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if not self._head_open:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(Refusal(431, f"the head of the request is larger than {MAX_HEAD_BYTES} bytes"))
        elif self._timer is None:
            self._start_timer(HEAD_SECONDS, self._handle_timeout)

    def on_message_begin(self) -> None:
        """Begin the head of a request."""
        self._head_open, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """End it."""
        self._head_open = False
        self._cancel_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End the body of a request."""
        if self._timer is not None:
            self._cancel_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Let a client that was answered before its body was there have a little time to end it."""
        super().on_response_complete()
        if self.cycle.more_body and not self.transport.is_closing():
            self._start_timer(READ_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        """Note that a client does not read its answer."""
        super().pause_writing()
        self._unread = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Note that it reads."""
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that is not used, whether its client has read the answer or not."""
        self._close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        self._refuse(Refusal(400, msg))

    def _handle_timeout(self) -> None:
        """End a connection whose head did not come; one on which nothing came is closed without a word."""
        if self._head_bytes:
            self._refuse(
                Refusal(408, f"the head of the request did not come within {HEAD_SECONDS:.0f} seconds")
            )
        else:
            self._close()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer outside of any call, and close."""
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
        """Close; what the client does not read within a little time is lost."""
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
    """Make the class of connections of which there may be so many."""
    return type("Connection", (Connection,), {"most": most})
