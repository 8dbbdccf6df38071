"""How answers leave: status, body, and the headers that go with every one of them; and what becomes of errors."""

import time
import traceback
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.types import Message, Receive, Scope, Send

from consignments.errors import ServiceFault
from serving.bodies import ClientGone
from serving.log_lines import log_line
from serving.metrics import Metrics
from serving.problems import MEDIA_TYPE, Refusal

JSON = b"application/json"
SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
NO_CONTENT_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
RETRY_SECONDS = 1
FRAMES_TOLD = 3


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


async def _unexpected(send: Send, error: Exception) -> int:
    """Send a problem document for a fault of ours, and log where it was; its words might hold personal data."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_TOLD:]
    where = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))
    log_line.error("a call failed", error=error.__class__.__name__, where=where)
    return await refuse(
        send, Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "the service made a mistake; it is in its log")
    )


class Call:
    """An ASGI endpoint: it answers whatever goes wrong with a problem document, and counts and times the answers.

    Parameters
    ----------
    metrics : Metrics
    name : str
    answer : callable
        Sends the answer and gives its status.
    """

    def __init__(
        self, metrics: Metrics, name: str, answer: Callable[[Scope, Receive, Send], Awaitable[int]]
    ) -> None:
        self._metrics, self._name, self._answer = metrics, name, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        start = time.perf_counter()
        try:
            status = await self._answer(scope, receive, send)
        except ClientGone:
            return
        except Refusal as refusal:
            status = await refuse(send, refusal)
        except ServiceFault as fault:
            status = await refuse(send, Refusal(503, str(fault), headers={"retry-after": str(RETRY_SECONDS)}))
        except Exception as error:
            status = await _unexpected(send, error)
        self._metrics.answered(self._name, status, time.perf_counter() - start)
