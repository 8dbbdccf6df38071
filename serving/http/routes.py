"""Which endpoint answers which path; scores do not pass through this list (`serving.http.app`)."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from serving.http.asgi import HttpCall
from serving.http.ingestion import INGESTED_RECORDS, IngestEndpoint
from serving.http.inquiries import (
    ConsignmentEndpoint,
    InterfaceEndpoint,
    MetricsEndpoint,
    ModelEndpoint,
    PageEndpoint,
    ReadinessEndpoint,
    ReasonsEndpoint,
    send_liveness,
)
from serving.http.requests import Door
from serving.http.selections import SelectionEndpoint
from serving.service import Service

Endpoint = Callable[[HttpCall], Awaitable[int]]
"""Answers a call and returns its status; what it raises is answered by `serving.http.asgi.GuardedEndpoint`."""


class EndpointRoute(NamedTuple):
    """A path, the method it is called by, the name under which its answers are counted, and what answers."""

    method: str
    path: str
    name: str
    endpoint: Endpoint


def list_routes(service: Service, door: Door) -> list[EndpointRoute]:
    """List the routes of a service, each with an endpoint that holds what it uses."""
    active = service.active
    return [
        *(
            EndpointRoute(
                "POST", f"/v1/{kind.plural}", kind.plural, IngestEndpoint(kind, door, active, service.metrics)
            )
            for kind in INGESTED_RECORDS
        ),
        EndpointRoute(
            "POST", "/v1/selections", "selections", SelectionEndpoint(door, active, service.log)
        ),
        EndpointRoute(
            "GET", "/v1/consignments/{consignment_id:path}", "consignment",
            ConsignmentEndpoint(door, service.log, active),
        ),
        EndpointRoute("GET", "/v1/model", "model", ModelEndpoint(door, active, service.shadow)),
        EndpointRoute("GET", "/v1/reasons", "reasons", ReasonsEndpoint(door, active)),
        EndpointRoute("GET", "/health/live", "live", send_liveness),
        EndpointRoute("GET", "/health/ready", "ready", ReadinessEndpoint(service)),
        EndpointRoute("GET", "/metrics", "metrics", MetricsEndpoint(door, service)),
        EndpointRoute("GET", "/openapi.json", "openapi", InterfaceEndpoint(active)),
        EndpointRoute("GET", "/", "page", PageEndpoint(active)),
    ]  # fmt: skip
