"""Connections that answer scores of single consignments themselves, and hand all else on to ASGI calls."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from serving.http.asgi import AsgiApp, Header
from serving.http.connections import Connection
from serving.http.direct.call import DirectCall
from serving.http.direct.scores import DirectScores
from serving.http.scores import SCORES_PATH

GRACE_SECONDS = 0.05
"""Maximum seconds that the rest of a small body may take; a slower one is received by an ASGI call, with its time limit."""


class ScoresConnection(Connection):
    """One client connection; `build_connection_class` builds the class that the server uses."""

    scores: DirectScores
    cycle: Any
    """The last request: an ASGI call, or a `DirectCall`."""

    def connection_made(self, transport: Any) -> None:
        """Accept a connection."""
        self._incomplete: DirectCall | None = None
        self._grace: asyncio.TimerHandle | None = None
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release what belongs to a closed connection."""
        self._end_grace()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Process received bytes; give the rest of a small body some time."""
        super().data_received(data)
        if self._incomplete is not None and self._grace is None and not self.transport.is_closing():
            self._grace = self.loop.call_later(GRACE_SECONDS, self._hand_incomplete_on)

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
        if call is None:
            return
        if self.scores.submit(call):
            self.tasks.add(call)  # type: ignore[arg-type]  # so that a stop waits for it, even if its client is gone
        else:
            self.hand_on(call, self.app)

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
        self.on_response_complete()

    def hand_on(self, call: DirectCall, app: AsgiApp) -> None:
        """Answer a request by an ASGI application."""
        self.tasks.discard(call)
        call.scope.update(
            method="POST", path=SCORES_PATH, raw_path=SCORES_PATH.encode(), query_string=call.query
        )
        cycle = RequestResponseCycle(
            scope=call.scope,
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
        self._start_asgi_task(cycle, app)  # type: ignore[arg-type]

    def _begin_call(self) -> DirectCall | None:
        """Begin a request that may be answered directly; return None if its head is another, or if earlier ones wait."""
        headers = self.head_check.fields
        path, _, query = self.url.partition(b"?")
        if (
            (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and not self.expect_100_continue
            and b"#" not in query
            and len(headers) == len(self.headers)  # none is repeated
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and self.scores.accepts(path, headers)
        ):
            keep_alive: bool = self.parser.should_keep_alive()
            return DirectCall(self, self.scope, headers, query, keep_alive=keep_alive)
        return None

    def _hand_incomplete_on(self) -> None:
        call = self._end_grace()
        if call is not None:
            self.hand_on(call, self.app)

    def _end_grace(self) -> DirectCall | None:
        """Stop waiting for the rest of a body; return its request if there is one."""
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        call, self._incomplete = self._incomplete, None
        return call


def build_connection_class(scores: DirectScores, most: int) -> type[ScoresConnection]:
    """Build a connection class with a limit on simultaneous connections."""
    return type("Connection", (ScoresConnection,), {"scores": scores, "most": most})
