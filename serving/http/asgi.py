"""How answers leave: status, body, the headers that go with every one of them, and what becomes of errors."""

import re
import secrets
import time
import traceback
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from itertools import count
from typing import Any

import msgspec
from starlette.types import Message, Receive, Scope, Send

from consignments.errors import ServiceFault
from serving.http.problems import MEDIA_TYPE, Refusal
from serving.process.logging import RateLimitedLogger
from serving.telemetry.metrics import Metrics

JSON = b"application/json"
SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
HSTS_HEADER = (b"strict-transport-security", b"max-age=31536000")
DENY_ALL_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
REQUEST_ID = b"x-request-id"
REQUEST_ID_PATTERN = re.compile(rb"[A-Za-z0-9._:+/=@-]{1,100}")
RETRY_SECONDS = 1
MAX_LOGGED_FRAMES = 3
_prefix, _numbers = secrets.token_hex(4).encode(), count(1)


class ClientDisconnected(Exception):
    """The client went away before its body was read; nobody waits for an answer."""


class HttpCall:
    """One request, and where its answer goes.

    Parameters
    ----------
    scope : Scope
    receive : Receive
    send : Send

    Attributes
    ----------
    headers : dict
        By name in small letters; of a repeated one the first.
    timings : list of (str, float)
        Stages and the seconds that the call spent in each.
    request_id : bytes
        Of the header `X-Request-Id` if that is a good one, else new.
    """

    __slots__ = ("headers", "receive", "request_id", "scope", "send", "timings")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.receive, self.send = scope, receive, send
        self.headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        self.timings: list[tuple[str, float]] = []
        given = self.headers.get(REQUEST_ID)
        good = given is not None and REQUEST_ID_PATTERN.fullmatch(given)
        self.request_id = given if given is not None and good else generate_request_id()


def generate_request_id() -> bytes:
    """Make an identifier."""
    return b"%s-%x" % (_prefix, next(_numbers))


async def respond(
    call: HttpCall,
    status: int,
    body: bytes,
    kind: bytes = JSON,
    headers: dict[str, str] | None = None,
    policy: tuple[bytes, bytes] = DENY_ALL_POLICY,
) -> None:
    """Send an answer whole."""
    further: list[tuple[bytes, bytes]] = [HSTS_HEADER] if call.scope["scheme"] == "https" else []
    if headers:
        further += [(name.encode(), value.encode()) for name, value in headers.items()]
    start: Message = {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", kind),
            (b"content-length", b"%d" % len(body)),
            (REQUEST_ID, call.request_id),
            *SECURITY_HEADERS,
            policy,
            *further,
        ],
    }
    await call.send(start)
    await call.send({"type": "http.response.body", "body": body})


async def respond_json(call: HttpCall, answer: Any, status: int = 200) -> int:
    """Send a value as JSON; return the status."""
    await respond(call, status, msgspec.json.encode(answer), JSON)
    return status


async def refuse(call: HttpCall, refusal: Refusal) -> int:
    """Send a problem document; gives its status."""
    body = refusal.to_json(call.request_id.decode())
    await respond(call, refusal.status, body, MEDIA_TYPE, refusal.headers)
    return refusal.status


class AsgiEndpoint:
    """An ASGI endpoint: it answers whatever goes wrong with a problem document, and counts and times the answers.

    Parameters
    ----------
    metrics : Metrics
    name : str
    answer : callable
        Sends the answer and gives its status.
    """

    def __init__(self, metrics: Metrics, name: str, answer: Callable[[HttpCall], Awaitable[int]]) -> None:
        self._metrics, self._name, self._answer = metrics, name, answer
        self._log = RateLimitedLogger()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        start = time.perf_counter()
        call = HttpCall(scope, receive, send)
        try:
            status = await self._answer(call)
        except ClientDisconnected:
            return
        except Exception as error:
            status = await self._send_error(call, error)
        self._metrics.record_answer(self._name, status, time.perf_counter() - start, call.timings)

    async def _send_error(self, call: HttpCall, error: Exception) -> int:
        """Send a problem document and log it, without words of the request: they might hold personal data."""
        if isinstance(error, Refusal):
            refusal, told = error, {}
            for fault in refusal.faults:
                self._metrics.record_rejection(self._name, fault.kind)
        elif isinstance(error, ServiceFault):
            refusal, told = _unavailable(error), {"error": error.what}
        else:
            refusal, told = (
                _internal_error(),
                {"error": error.__class__.__name__, "where": _format_location(error)},
            )
        kinds = [fault.kind for fault in refusal.faults]
        say = self._log.error if refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR else self._log.info
        say(
            "refused", call=self._name, status=refusal.status, request_id=call.request_id.decode(),
            **({"kinds": kinds} if kinds else {}), **told,
        )  # fmt: skip
        return await refuse(call, refusal)


def _unavailable(fault: ServiceFault) -> Refusal:
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(fault), headers={"retry-after": str(RETRY_SECONDS)})


def _internal_error() -> Refusal:
    return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "the service made a mistake; it is in its log")


def _format_location(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-MAX_LOGGED_FRAMES:]
    return " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))
