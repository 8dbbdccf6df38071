"""A score request that its connection answers itself."""

from typing import Protocol

from consignments.records import Consignment
from serving.http.asgi import AsgiApp, CallerName, Header
from serving.http.auth import Caller
from serving.http.direct.head import ScoreHead


class ScoreSender(Protocol):
    """A connection, as its requests know it."""

    @property
    def default_headers(self) -> list[Header]:
        """Return the headers of the server, which every response has."""

    @property
    def secure(self) -> bool:
        """Return whether it has TLS."""

    def send(self, call: "DirectCall", response: bytes) -> None:
        """Send the response of a request."""

    def hand_on(self, call: "DirectCall", app: AsgiApp | None = None) -> None:
        """Answer a request by an ASGI application; by default, by that of the service."""


class NoEvent:
    """Replaces the event of an ASGI call that waits for its body or for its client's departure: nothing waits here."""

    def set(self) -> None:
        """Return at once."""


class DirectCall:
    """A score request that its connection answers itself. For uvicorn it stands in the place of an ASGI call.

    Parameters
    ----------
    connection : ScoreSender
    head : ScoreHead
    body : bytes
        What was received of the body.
    more_body : bool
        Whether a part of the body is missing.

    Attributes
    ----------
    keep_alive, response_complete, disconnected : bool
        As of uvicorn's `RequestResponseCycle`.
    headers : dict
        Those of the head.
    caller : CallerName or None
        The client once it is authenticated.
    asked_by : Caller
        The same client, with its rights.
    c : Consignment
    begun : float
        When its body was complete (`time.perf_counter`).
    arrived_us : int
        The same time of the service's clock.
    read_seconds : float
        Time to read and check the body.
    """

    __slots__ = (
        "arrived_us", "asked_by", "begun", "body", "c", "caller", "connection", "disconnected", "head", "headers",
        "keep_alive", "more_body", "read_seconds", "response_complete",
    )  # fmt: skip

    message_event = NoEvent()
    asked_by: Caller
    c: Consignment
    begun: float
    arrived_us: int
    read_seconds: float

    def __init__(
        self, connection: ScoreSender, head: ScoreHead, body: bytes = b"", *, more_body: bool = True
    ) -> None:
        self.connection, self.head, self.body, self.more_body = connection, head, body, more_body
        self.headers, self.keep_alive = head.headers, head.keep_alive
        self.response_complete = self.disconnected = False
        self.caller: CallerName | None = None

    def cancel(self, msg: object = None) -> None:
        """Return at once: uvicorn calls it when a stop waits no longer, and nothing runs here that could be stopped."""
