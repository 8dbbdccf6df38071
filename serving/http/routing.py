"""Routes of the service: one declaration of an operation gives its path, its checks and its part of the OpenAPI document.

A function under `@route` is called after the API key was checked and the page was read, and its result is sent as JSON. Its docstring is
the summary of the operation, and its type of return that of the response.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar, get_type_hints

import msgspec

from serving.http.asgi import HttpCall, respond_json
from serving.http.auth import Caller, Scope
from serving.http.protocol.records import RecordReader
from serving.http.requests import Door, PageOptions, read_page_options
from serving.service import Service

Endpoint = Callable[[HttpCall], Awaitable[int]]
"""Answers a request and returns the status; `serving.http.asgi.AsgiEndpoint` answers the errors that it raises."""
Record = TypeVar("Record")


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

    async def read_records(self, reader: RecordReader[Record]) -> Record | list[msgspec.Raw]:
        """Read a JSON body of one record or a list, and count its records against the rate limit."""
        found = reader.read((await self.door.read_body(self.call))[1])
        self.caller.spend(max(len(found), 1) if isinstance(found, list) else 1)
        return found


Answer = Callable[[ApiRequest], Awaitable[Any]]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of the HTTP interface; without a `scope` it needs no API key, and a request without a body costs `cost` records.

    The body is one `record`, a list of them under `plural`, or messages of the media types `message_types`. `answer` is the type of the
    response, or its media type if it is not JSON. `refusals` are error statuses in addition to the common ones.
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
    cost: int = 1
    tag: str = "scoring"


class Route(NamedTuple):
    """An operation and the function that answers it."""

    operation: Operation
    function: Answer

    def build_endpoint(self, service: Service, door: Door) -> EndpointRoute:
        """Build the endpoint that checks a request, calls the function and sends its result, if it has not sent one itself."""
        operation, function = self

        async def answer(call: HttpCall) -> int:
            caller = None if operation.scope is None else door.authorize(call, operation.scope)
            page = read_page_options(call) if operation.paged else PageOptions()
            if caller is not None and operation.record is None:
                caller.spend(operation.cost)
            found = await function(ApiRequest(service, door, call, caller, page))
            return found if isinstance(found, int) else await respond_json(call, found)

        return EndpointRoute(operation.method, operation.path, operation.name, answer)


def describe_parameter(name: str, text: str, place: str = "query", **schema: Any) -> dict[str, Any]:
    """Describe a parameter for the OpenAPI document, with its JSON schema."""
    return {"name": name, "in": place, "description": text, "schema": schema}


def route(path: str, name: str, method: str = "GET", **declared: Any) -> Callable[[Answer], Route]:
    """Declare the operation that a function answers, with fields of `Operation`; the scope is `read` if none is given."""

    def declare(function: Answer) -> Route:
        found: dict[str, Any] = {"scope": "read", "summary": (function.__doc__ or "").partition(".")[0]}
        if "answer" not in declared:
            found["answer"] = get_type_hints(function)["return"]
        return Route(Operation(method=method, path=path, name=name, **found | declared), function)

    return declare
