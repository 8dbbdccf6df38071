"""ASGI application of the HTTP interface. `POST /v1/scores` bypasses Starlette; Starlette routes all other requests."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from serving.http.asgi import AsgiEndpoint, build_refusing_app
from serving.http.auth import Authenticator
from serving.http.openapi import ROUTES, send_page
from serving.http.problems import Refusal
from serving.http.requests import Door
from serving.http.routing import EndpointRoute
from serving.http.scores import SCORES_PATH
from serving.maintenance.access_log import AccessIntake
from serving.service import Service

ROUTE_ERROR_DETAILS = {
    404: "There is no such path. See /openapi.json for all paths.",
    405: "This path does not allow this method. See /openapi.json.",
}
FurtherRoutes = Callable[[Service, Door], list[EndpointRoute]]
"""Lists routes that do not belong to the interface: the pages for officers."""


class App:
    """The ASGI application of one service, with the routes that its composer adds."""

    def __init__(self, service: Service, *further: FurtherRoutes) -> None:
        settings, metrics = service.settings, service.metrics
        keys = Authenticator(settings.api_keys_file, settings.rate_limit, service.clock)
        self.service, self.door = service, Door(keys, settings.max_body_bytes)
        service.watch("API keys", keys.refresh)
        service.watch("accesses to personal data", AccessIntake(service).refresh)
        listed = list_routes(service, self.door)
        for each in further:
            listed += each(service, self.door)
        routes = [
            Route(path, AsgiEndpoint(metrics, name, endpoint), methods=[method])
            for method, path, name, endpoint in listed
        ]
        self._scores = routes[0].endpoint
        self._rest = Starlette(
            routes=routes, exception_handlers={HTTPException: _refuse_route}, lifespan=self._lifespan
        )
        # Behind a proxy, a redirect would name another scheme and port.
        self._rest.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; score requests bypass the framework."""
        if scope["type"] == "http":
            host = next((value for name, value in scope["headers"] if name == b"host"), None)
            if not self.door.accepts_host(host):
                refusal = Refusal(
                    421,
                    "No API keys are configured, so the service answers requests to localhost only. "
                    "Send the request to localhost, or set NPSRISK_API_KEYS_FILE.",
                )
                await build_refusing_app(refusal)(scope, receive, send)
                return
            if scope["path"] == SCORES_PATH and scope["method"] == "POST":
                await self._scores(scope, receive, send)
                return
        await self._rest(scope, receive, send)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        await self.service.start()
        # They are raised if this is not the main thread.
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.service.reload)
        yield
        await self.service.stop()


def list_routes(service: Service, door: Door) -> list[EndpointRoute]:
    """List the routes of the interface with their endpoints, scores first."""
    return [each.build_endpoint(service, door) for each in (*ROUTES, send_page)]


async def _refuse_route(_request: Request, error: Exception) -> Any:
    """Answer a request that the router refuses: unknown path, or method not allowed."""
    assert isinstance(error, HTTPException)
    detail = ROUTE_ERROR_DETAILS.get(error.status_code, error.detail)
    return build_refusing_app(Refusal(error.status_code, detail, headers=dict(error.headers or {})))
