"""Routes of the service: one declaration of an operation gives its path, its checks and its part of the OpenAPI document.

A function under `@route` is called after the API key was checked and the page was read, and its result is sent as JSON. Its docstring is
the summary of the operation, and its type of return that of the response.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, get_type_hints

import msgspec

from serving.http.asgi import HttpCall, respond_json
from serving.http.auth import Caller, Scope
from serving.http.requests import Door, PageOptions, read_page_options
from serving.service import Service

Endpoint = Callable[[HttpCall], Awaitable[int]]
"""Answers a request and returns the status; `serving.http.asgi.AsgiEndpoint` answers the errors that it raises."""


class EndpointRoute(NamedTuple):
    """A route: HTTP method, path, name of the endpoint in metrics, and endpoint."""

    method: str
    path: str
    name: str
    endpoint: Endpoint


class ApiRequest(NamedTuple):
    """A request whose API key was checked, and the service that answers it; an operation without a scope has no caller."""

    service: Service
    door: Door
    call: HttpCall
    authenticated: Caller | None
    page: PageOptions

    @property
    def caller(self) -> Caller:
        """Return the client of an operation with a scope."""
        assert self.authenticated is not None
        return self.authenticated


Answer = Callable[[ApiRequest], Awaitable[Any]]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of the HTTP interface.

    `scope` is that of the API key; None if no key is required. `answer` is the type of the response, or its media type if it is not
    JSON, and `list_answer` the type of the response to a list. The body is one `record`, or a list of them under `plural`. A page has the
    parameters `after` and `limit`. `refusals` are error statuses in addition to the common ones, and `message_types` media types that are
    accepted in addition to JSON.
    """

    method: str
    path: str
    name: str
    summary: str
    scope: Scope | None
    answer: Any
    refusals: tuple[int, ...] = (503,)
    paged: bool = False
    record: type[Any] | None = None
    plural: str = ""
    list_answer: type[Any] | None = None
    parameters: tuple[dict[str, Any], ...] = ()
    message_types: tuple[str, ...] = ()


class ReadRoute(NamedTuple):
    """An operation with `GET`, the function that answers it, and what a request costs in records."""

    operation: Operation
    function: Answer
    cost: int


def route(
    path: str,
    name: str,
    *,
    scope: Scope | None = "read",
    answer: Any = None,
    paged: bool = False,
    refusals: tuple[int, ...] = (503,),
    cost: int = 1,
) -> Callable[[Answer], ReadRoute]:
    """Declare the operation with `GET` that a function answers; `answer` is given if the function sends the response itself."""

    def declare(function: Answer) -> ReadRoute:
        operation = Operation(
            method="GET",
            path=path,
            name=name,
            summary=(function.__doc__ or "").partition(".")[0],
            scope=scope,
            answer=answer or get_type_hints(function)["return"],
            paged=paged,
            refusals=refusals,
        )
        return ReadRoute(operation, function, cost)

    return declare


def build_read_endpoint(read: ReadRoute, service: Service, door: Door) -> EndpointRoute:
    """Build the endpoint that checks a request, calls the function and sends its result, if it has not sent one itself."""
    operation, function, cost = read

    async def answer(call: HttpCall) -> int:
        caller = None if operation.scope is None else door.authorize(call, operation.scope)
        page = read_page_options(call) if operation.paged else PageOptions()
        if caller is not None and cost:
            caller.spend(cost)
        found = await function(ApiRequest(service, door, call, caller, page))
        return found if isinstance(found, int) else await respond_json(call, found)

    return EndpointRoute(operation.method, operation.path, operation.name, answer)
