"""Route table: the endpoint of each path, except `POST /v1/scores`, which `serving.http.app` handles."""

from serving.http.ingestion import INGESTED_RECORDS, IngestEndpoint
from serving.http.landing_page import send_page
from serving.http.officer.routes import list_page_routes
from serving.http.openapi import READ_ROUTES
from serving.http.requests import Door
from serving.http.routing import Endpoint, EndpointRoute, Operation, build_read_endpoint
from serving.http.selections import SELECTIONS, SelectionEndpoint
from serving.service import Service


def list_routes(service: Service, door: Door) -> list[EndpointRoute]:
    """List the routes of a service with their endpoints."""
    active, log = service.active, service.log
    recording: list[tuple[Operation, Endpoint]] = [
        (kind.operation, IngestEndpoint(kind, door, active, service.metrics, log))
        for kind in INGESTED_RECORDS
    ]
    recording.append((SELECTIONS, SelectionEndpoint(door, active, log)))
    return [
        *(EndpointRoute(each.method, each.path, each.name, endpoint) for each, endpoint in recording),
        *(build_read_endpoint(each, service, door) for each in (*READ_ROUTES, send_page)),
        *list_page_routes(service, door),
    ]
