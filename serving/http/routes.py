"""Route table: the endpoint of each path, except `POST /v1/scores`, which `serving.http.app` handles."""

from serving.http.feed import (
    DecisionFeedEndpoint,
    EventFeedEndpoint,
    MessageFeedEndpoint,
    OpenSelectionsEndpoint,
)
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
from serving.http.officer.routes import list_page_routes
from serving.http.requests import Door
from serving.http.routing import EndpointRoute
from serving.http.selections import SelectionEndpoint
from serving.service import Service


def list_routes(service: Service, door: Door) -> list[EndpointRoute]:
    """List the routes of a service with their endpoints."""
    active = service.active
    return [
        *(
            EndpointRoute(
                "POST", f"/v1/{kind.plural}", kind.plural, IngestEndpoint(kind, door, active, service.metrics, service.log)
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
        EndpointRoute("GET", "/v1/decisions", "decisions", DecisionFeedEndpoint(door, service.log, active)),
        EndpointRoute("GET", "/v1/messages", "message_feed", MessageFeedEndpoint(door, service.log, active)),
        EndpointRoute("GET", "/v1/events", "event_feed", EventFeedEndpoint(door, service.log, active)),
        EndpointRoute("GET", "/v1/selections", "open_selections", OpenSelectionsEndpoint(door, service.log, active)),
        EndpointRoute("GET", "/v1/model", "model", ModelEndpoint(door, active, service.shadow)),
        EndpointRoute("GET", "/v1/reasons", "reasons", ReasonsEndpoint(door, active)),
        EndpointRoute("GET", "/health/live", "live", send_liveness),
        EndpointRoute("GET", "/health/ready", "ready", ReadinessEndpoint(door, service)),
        EndpointRoute("GET", "/metrics", "metrics", MetricsEndpoint(door, service)),
        EndpointRoute("GET", "/openapi.json", "openapi", InterfaceEndpoint(active)),
        EndpointRoute("GET", "/interface", "page", PageEndpoint(active)),
        *list_page_routes(service, door),
    ]  # fmt: skip
