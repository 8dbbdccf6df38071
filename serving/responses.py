"""How answers leave: status, body, and the headers that go with every one of them."""

import traceback
from http import HTTPStatus

import structlog
from starlette.types import Message, Send

from serving.problems import MEDIA_TYPE, Refusal

JSON = b"application/json"
SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
NO_CONTENT_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
FRAMES_TOLD = 3
log_line = structlog.get_logger("npsrisk")


async def respond(
    send: Send,
    status: int,
    body: bytes,
    kind: bytes = JSON,
    headers: dict[str, str] | None = None,
    policy: tuple[bytes, bytes] = NO_CONTENT_POLICY,
) -> None:
    """Send an answer whole."""
    further = [(name.encode(), value.encode()) for name, value in headers.items()] if headers else []
    start: Message = {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", kind),
            (b"content-length", b"%d" % len(body)),
            *SECURITY_HEADERS,
            policy,
            *further,
        ],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, refusal: Refusal) -> int:
    """Send a problem document; gives its status."""
    await respond(send, refusal.status, refusal.body(), MEDIA_TYPE, refusal.headers)
    return refusal.status


async def unexpected(send: Send, error: Exception) -> int:
    """Send a problem document for a fault of ours, and log where it was; its words might hold personal data."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_TOLD:]
    where = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))
    log_line.error("a call failed", error=error.__class__.__name__, where=where)
    return await refuse(
        send, Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "the service made a mistake; it is in its log")
    )
