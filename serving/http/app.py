"""The HTTP interface as an ASGI application: scores on a path of their own, everything else by Starlette."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from serving.http.asgi import AsgiEndpoint, HttpCall, refuse
from serving.http.problems import Refusal
from serving.http.requests import Door
from serving.http.routes import list_routes
from serving.http.scores import ENDPOINT_NAME, ScoresEndpoint
from serving.service import Service

SCORES_PATH = "/v1/scores"
LOCAL_HOSTS = {b"localhost", b"127.0.0.1", b"[::1]"}


class App:
    """The ASGI application of one service.

    Parameters
    ----------
    service : Service
        It watches the file of API keys from now on.

    Raises
    ------
    BadSetting
        The file of API keys cannot be used.
    """

    def __init__(self, service: Service) -> None:
        self.service, self.door = service, Door.from_settings(service.settings, service.clock)
        service.watch("API keys", self.door.authenticator.refresh)
        self._local_only = self.door.authenticator.open
        scores = ScoresEndpoint(self.door, service.batcher, service.active, service.log, service.metrics)
        self._scores = AsgiEndpoint(service.metrics, ENDPOINT_NAME, scores)
        self._rest = Starlette(
            routes=[
                Route(SCORES_PATH, self._scores, methods=["POST"]),
                *(
                    Route(path, AsgiEndpoint(service.metrics, name, endpoint), methods=[method])
                    for method, path, name, endpoint in list_routes(service, self.door)
                ),
            ],
            exception_handlers={HTTPException: _refuse_route},
            lifespan=self._lifespan,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call; scores do not pass through the framework."""
        if scope["type"] == "http":
            if self._local_only and not names_this_machine(scope):
                refusal = Refusal(421, "without API keys this service answers on localhost only")
                await refuse(HttpCall(scope, receive, send), refusal)
                return
            if scope["path"] == SCORES_PATH and scope["method"] == "POST":
                await self._scores(scope, receive, send)
                return
        await self._rest(scope, receive, send)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        await self.service.start()
        with contextlib.suppress(
            NotImplementedError, ValueError, RuntimeError
        ):  # in another thread than the main one
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.service.wake)
        yield
        await self.service.stop()


def names_this_machine(scope: Scope) -> bool:
    """Check that a request names no other host: without keys, a page in a browser must not reach the service.

    A name of the attacker that resolves to 127.0.0.1 would get past the browser's rule of one origin.
    """
    host = next((value for name, value in scope["headers"] if name == b"host"), None)
    name = host if host is None or host.endswith(b"]") else host.rpartition(b":")[0] or host
    return name is None or name.lower() in LOCAL_HOSTS


async def _refuse_route(_request: Request, error: Exception) -> Any:
    """Answer what the router refuses: no such path, or another method."""
    assert isinstance(error, HTTPException)
    refusal = Refusal(error.status_code, error.detail, headers=dict(error.headers or {}))

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await refuse(HttpCall(scope, receive, send), refusal)

    return answer
