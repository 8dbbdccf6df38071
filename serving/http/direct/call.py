"""A score request that its connection answers itself."""

from typing import Any, Protocol

from consignments.records import Consignment
from serving.http.asgi import AsgiApp, CallerName, Header
from serving.http.scores import ScoreOptions


class ScoreSender(Protocol):
    """A connection, as its requests know it."""

    @property
    def default_headers(self) -> list[Header]:
        """Return the headers of the server, which every response has."""

    def send(self, call: "DirectCall", response: bytes) -> None:
        """Send the response of a request."""

    def hand_on(self, call: "DirectCall", app: AsgiApp) -> None:
        """Answer a request by an ASGI application."""


class NoEvent:
    """Replaces the event of an ASGI call that waits for its body or for its client's departure: nothing waits here."""

    def set(self) -> None:
        """Return at once."""


class DirectCall:
    """A score request that its connection answers itself. For uvicorn it stands in the place of an ASGI call.

    Parameters
    ----------
    connection : ScoreSender
    scope : dict
        Scope of an ASGI call, if one must answer it.
    headers : dict
        Header values by lower-case name.
    query : bytes
        The query string, without the question mark.
    keep_alive : bool
        Whether the connection stays open after the response.

    Attributes
    ----------
    body : bytes
        What was received of the body.
    more_body, response_complete, disconnected : bool
        As of uvicorn's `RequestResponseCycle`.
    caller : CallerName or None
        The client once it is authenticated.
    c : Consignment
    options : ScoreOptions
    begun : float
        When its body was complete (`time.perf_counter`).
    read_seconds : float
        Time to read and check it.
    """

    __slots__ = (
        "begun", "body", "c", "caller", "connection", "disconnected", "headers", "keep_alive", "more_body",
        "options", "query", "read_seconds", "response_complete", "scope",
    )  # fmt: skip

    message_event = NoEvent()
    c: Consignment
    options: ScoreOptions

    def __init__(
        self,
        connection: ScoreSender,
        scope: Any,
        headers: dict[bytes, bytes],
        query: bytes,
        *,
        keep_alive: bool,
    ) -> None:
        self.connection, self.scope, self.headers, self.query = connection, scope, headers, query
        self.keep_alive, self.body = keep_alive, b""
        self.more_body, self.response_complete, self.disconnected = True, False, False
        self.caller: CallerName | None = None
        self.begun = self.read_seconds = 0.0

    def cancel(self, msg: object = None) -> None:
        """Return at once: uvicorn calls it when a stop waits no longer, and nothing runs here that could be stopped."""
