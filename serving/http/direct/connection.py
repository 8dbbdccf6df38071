"""Connections that answer scores of single consignments themselves, and hand all else on to ASGI calls."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from serving.http.asgi import AsgiApp, Header
from serving.http.connections import Connection
from serving.http.direct.call import DirectCall
from serving.http.direct.head import KnownHead
from serving.http.direct.scores import DirectScores
from serving.http.scores import SCORES_PATH

GRACE_SECONDS = 0.05
"""Maximum seconds that the rest of a small body may take; a slower one is received by an ASGI call, with its time limit."""
MAX_LEARNED_HEADS = 4
"""Maximum number of heads that a connection learns: the heads of some clients differ each time."""


class ScoresConnection(Connection):
    """One client connection; `build_connection_class` builds the class that the server uses."""

    scores: DirectScores
    cycle: Any
    """The last request: an ASGI call, or a `DirectCall`."""

    def connection_made(self, transport: Any) -> None:
        """Accept a connection."""
        self._incomplete: DirectCall | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._idle_since: float | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._known: KnownHead | None = None
        self._learned = 0
        super().connection_made(transport)
        self.secure = self.scheme == "https"

    def connection_lost(self, exc: Exception | None) -> None:
        """Release what belongs to a closed connection."""
        self._end_grace()
        if self._idle is not None:
            self._idle.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Process received bytes: a request with a known head at once, others through the parser."""
        body = None if self._known is None or not self._is_free() else self._known.find_body(data)
        if body is not None:
            assert self._known is not None
            self._idle_since = None
            self.cycle = DirectCall(self, self._known.head, body, more_body=False)
            self._submit(self.cycle)
            return
        alone = self._learned < MAX_LEARNED_HEADS and (self._is_free() or self._is_first())
        super().data_received(data)
        if self._incomplete is not None and self._grace is None and not self.transport.is_closing():
            self._grace = self.loop.call_later(GRACE_SECONDS, self._hand_incomplete_on)
        elif alone:
            self._learn(data)

    def start_request(self) -> None:
        """Start the answer to a request whose head is accepted."""
        call = self._begin_call()
        if call is None:
            super().start_request()
        else:
            self.cycle = self._incomplete = call

    def on_body(self, body: bytes) -> None:
        """Keep a part of a body."""
        if self._incomplete is None:
            super().on_body(body)
        else:
            self._incomplete.body += body

    def on_message_complete(self) -> None:
        """Mark the end of a request's body, and submit it."""
        super().on_message_complete()
        call = self._end_grace()
        if call is not None:
            self._submit(call)

    @property
    def default_headers(self) -> list[Header]:
        """Return the headers of the server, which every response has."""
        return self.server_state.default_headers

    def send(self, call: DirectCall, response: bytes) -> None:
        """Send the response of a request, unless its client is gone, and go on with the next request."""
        self.tasks.discard(call)
        call.response_complete = True
        if self.transport.is_closing():
            return
        self.transport.write(response)
        if not call.keep_alive:
            self.transport.close()
        if self.pipeline or not call.keep_alive:
            self.on_response_complete()
        else:
            self.server_state.total_requests += 1
            self._wait_for_next()

    def hand_on(self, call: DirectCall, app: AsgiApp | None = None) -> None:
        """Answer a request by an ASGI application; by default, by that of the service."""
        self.tasks.discard(call)
        cycle = RequestResponseCycle(
            scope=self._build_scope(call),
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=call.keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.body += call.body
        cycle.more_body, cycle.disconnected = call.more_body, self.transport.is_closing()
        cycle.message_event.set()
        if self.cycle is call:
            self.cycle = cycle
        self._start_asgi_task(cycle, app or self.app)  # type: ignore[arg-type]

    def _build_scope(self, call: DirectCall) -> Any:
        """Build the scope of an ASGI call as uvicorn does."""
        head, body = call.head, call.body
        return {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": "POST",
            "root_path": self.root_path,
            "path": SCORES_PATH,
            "raw_path": SCORES_PATH.encode(),
            "query_string": head.query,
            "headers": head.fields if call.more_body else head.list_fields(len(body)),
            "state": self.app_state.copy(),
        }

    def _is_free(self) -> bool:
        """Check that the next bytes begin a request, that no earlier one is unanswered, and that the client reads."""
        last = self.cycle
        return (
            last is not None
            and last.response_complete
            and not last.more_body
            and not self._head_open
            and not self.flow.write_paused
            and not self.transport.is_closing()
        )

    def _is_first(self) -> bool:
        return self.cycle is None and not self._head_bytes

    def _begin_call(self) -> DirectCall | None:
        """Begin a request that may be answered directly; return None if its head is another, or if earlier ones wait."""
        if (
            (self.cycle is not None and not self.cycle.response_complete)
            or self.flow.write_paused
            or self.expect_100_continue
            or self.parser.get_method() != b"POST"
            or self.parser.get_http_version() != "1.1"
        ):
            return None
        keep_alive = self.parser.should_keep_alive()
        head = self.scores.accept(self.url, self.headers, self.head_check.fields, keep_alive=keep_alive)
        return None if head is None else DirectCall(self, head)

    def _submit(self, call: DirectCall) -> None:
        self.tasks.add(call)  # type: ignore[arg-type]  # so that a stop waits for it, even if its client is gone
        if not self.scores.submit(call):
            self.hand_on(call)

    def _learn(self, data: bytes) -> None:
        """Learn the head of the request that the bytes began, if it is answered directly and nothing follows."""
        call = self.cycle
        if isinstance(call, DirectCall) and not call.more_body and data.endswith(call.body):
            self._known = KnownHead.learn(data, call.body, call.head, self.scores.max_bytes)
            self._learned += 1

    def _hand_incomplete_on(self) -> None:
        call = self._end_grace()
        if call is not None:
            self.hand_on(call)

    def _end_grace(self) -> DirectCall | None:
        """Stop waiting for the rest of a body; return its request if there is one."""
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        call, self._incomplete = self._incomplete, None
        return call

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None
        super()._unset_keepalive_if_required()

    def _wait_for_next(self) -> None:
        """Close the connection if no request follows in time. One timer serves many requests, because timers cost time."""
        self._idle_since = self.loop.time()
        if self._idle is None:
            self._idle = self.loop.call_later(self.timeout_keep_alive, self._handle_idle)

    def _handle_idle(self) -> None:
        self._idle = None
        if self._idle_since is None:
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._idle = self.loop.call_later(left, self._handle_idle)
        else:
            self.timeout_keep_alive_handler()


def build_connection_class(scores: DirectScores, most: int) -> type[ScoresConnection]:
    """Build a connection class with a limit on simultaneous connections."""
    return type("Connection", (ScoresConnection,), {"scores": scores, "most": most})
