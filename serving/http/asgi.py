"""ASGI calls and responses: status, body, common headers, and the conversion of errors to problem documents."""

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from itertools import count
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from consignments.errors import ServiceFault
from serving.http.problems import MEDIA_TYPE, Refusal
from serving.http.protocol.compression import GZIP, MIN_COMPRESSED_BYTES, accepts_gzip, deflate
from serving.process.logging import RateLimitedLogger, format_location
from serving.telemetry.metrics import Metrics

Header = tuple[bytes, bytes]
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
CLOSE_HEADERS = {"connection": "close"}
MAX_BLOCKING_BYTES = 65_536  # maximum size of a response that is compressed in the thread of the event loop
_prefix, _numbers = secrets.token_hex(4).encode(), count(1)


class ClientDisconnected(Exception):
    """The client disconnected before its body was read; no answer is sent."""


class HttpCall:
    """One HTTP request with the channel for its response; `refused` has details if the endpoint answers a refusal itself."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.receive, self.send = scope, receive, send
        self.query: bytes = scope["query_string"]
        self.headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        self.timings: list[tuple[str, float]] = []
        self.caller: tuple[str, str | None] | None = None
        self.refused: dict[str, Any] | None = None
        self.at_end: Callable[[], None] | None = None
        given = self.headers.get(REQUEST_ID)
        valid = given is not None and REQUEST_ID_PATTERN.fullmatch(given)
        self.request_id = given if given is not None and valid else generate_request_id()


def generate_request_id() -> bytes:
    """Generate a request identifier that is unique in this process."""
    return b"%s-%x" % (_prefix, next(_numbers))


def list_fields(body: bytes, kind: bytes, request_id: bytes, headers: dict[str, str]) -> list[Header]:
    """List the header fields that every response has, and further ones."""
    return [
        (b"content-type", kind),
        (b"content-length", b"%d" % len(body)),
        (REQUEST_ID, request_id),
        *SECURITY_HEADERS,
        *((name.encode(), value.encode()) for name, value in headers.items()),
    ]


async def respond(
    call: HttpCall,
    status: int,
    body: bytes,
    kind: bytes = JSON,
    headers: dict[str, str] | None = None,
    policy: Header = DENY_ALL_POLICY,
) -> None:
    """Send a complete response; compress a large one if the client accepts gzip."""
    further: list[Header] = []
    if len(body) >= MIN_COMPRESSED_BYTES:
        further.append((b"vary", b"accept-encoding"))
        if accepts_gzip(call.headers.get(b"accept-encoding")):
            further.append((b"content-encoding", GZIP))
            body = deflate(body) if len(body) < MAX_BLOCKING_BYTES else await asyncio.to_thread(deflate, body)
    fields = [
        *list_fields(body, kind, call.request_id, headers or {}),
        policy,
        *((HSTS_HEADER,) if call.scope["scheme"] == "https" else ()),
        *further,
    ]
    await call.send({"type": "http.response.start", "status": status, "headers": fields})
    await call.send({"type": "http.response.body", "body": body})


async def respond_json(call: HttpCall, answer: Any, status: int = 200) -> int:
    """Send a value as JSON and return the status."""
    await respond(call, status, msgspec.json.encode(answer), JSON)
    return status


async def refuse(call: HttpCall, refusal: Refusal) -> int:
    """Send a problem document and return its status."""
    body = refusal.to_json(call.request_id.decode())
    await respond(call, refusal.status, body, MEDIA_TYPE, refusal.headers)
    return refusal.status


AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


def build_refusing_app(refusal: Refusal) -> AsgiApp:
    """Build an ASGI application that answers every request with a refusal."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await refuse(HttpCall(scope, receive, send), refusal)

    return answer


class AsgiEndpoint:
    """An ASGI endpoint: `answer` sends the response and returns its status, and every error becomes a problem document."""

    def __init__(self, metrics: Metrics, name: str, answer: Callable[[HttpCall], Awaitable[int]]) -> None:
        self._metrics, self._name, self._answer = metrics, name, answer
        self._log = RateLimitedLogger()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        call, start = HttpCall(scope, receive, send), time.perf_counter()
        try:
            status = await self._answer(call)
        except ClientDisconnected:
            return
        except Exception as error:
            status = await self._send_error(call, error)
        else:
            if call.refused is not None:
                self._log_refusal(call, status, call.refused)
        finally:
            if call.at_end is not None:
                call.at_end()
        self._metrics.record_answer(self._name, status, time.perf_counter() - start, call.timings)

    async def _send_error(self, call: HttpCall, error: Exception) -> int:
        """Send a problem document and log it."""
        if isinstance(error, Refusal):
            refusal, details = error, {}
            for fault in refusal.faults[:1]:  # records are counted, not faults
                self._metrics.count("rejected_records", self._name, fault.kind)
        elif isinstance(error, ServiceFault):
            refusal, details = build_unavailable_refusal(error), {"error": str(error)}
        else:
            words = "Internal error. See the service log (request_id in this response)."
            refusal = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, words)
            details = {"error": error.__class__.__name__, "where": format_location(error)}
        kinds = [fault.kind for fault in refusal.faults]
        self._log_refusal(call, refusal.status, {"kinds": kinds} | details if kinds else details)
        return await refuse(call, refusal)

    def _log_refusal(self, call: HttpCall, status: int, details: dict[str, Any]) -> None:
        """Log a refusal and who called. The log holds no text of the request, which may contain personal data."""
        client = call.scope.get("client") or (None,)
        named = zip(("client", "key", "person"), (client[0], *(call.caller or ())), strict=False)
        caller = {name: value for name, value in named if value is not None}
        self._log.write(
            "refused", is_error=status >= HTTPStatus.INTERNAL_SERVER_ERROR, call=self._name, status=status, request_id=call.request_id.decode(),
            **caller, **details,
        )  # fmt: skip


def build_unavailable_refusal(fault: ServiceFault) -> Refusal:
    """Build the refusal of a request because of a fault."""
    headers = {"retry-after": str(RETRY_SECONDS)}
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, fault.format_public(), headers=headers)
