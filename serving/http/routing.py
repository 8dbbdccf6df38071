"""Type of the routes of the service."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from serving.http.asgi import HttpCall

Endpoint = Callable[[HttpCall], Awaitable[int]]
"""Answers a request and returns the status; `serving.http.asgi.AsgiEndpoint` answers the errors that it raises."""


class EndpointRoute(NamedTuple):
    """A route: HTTP method, path, name of the endpoint in metrics, and endpoint."""

    method: str
    path: str
    name: str
    endpoint: Endpoint
