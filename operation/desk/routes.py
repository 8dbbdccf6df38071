"""Routes of the pages for officers."""

from operation.desk.acting import DecideEndpoint, TryEndpoint
from operation.desk.model_facts import collect_model_facts
from operation.desk.pages import (
    OfficerPages,
    PageAnswerer,
    SignedInEndpoint,
    SignedOutEndpoint,
    SignInEndpoint,
    ViewEndpoint,
    send_style,
)
from operation.desk.sending import SendEndpoint
from serving.http.requests import Door
from serving.http.routing import EndpointRoute
from serving.service import Service

LIST_PARAMETERS = frozenset(
    ("day", "office", "capacity", "channel", "route", "family", "band", "state", "page")
)


def list_page_routes(service: Service, door: Door) -> list[EndpointRoute]:
    """List the routes of the pages with their endpoints."""
    pages = OfficerPages(door, service)
    sign_in = SignInEndpoint(pages)
    views: dict[str, PageAnswerer] = {
        "": ViewEndpoint(pages, "list", LIST_PARAMETERS),
        "consignment": ViewEndpoint(pages, "consignment", frozenset(("id", "personal"))),
        "links": ViewEndpoint(pages, "links", frozenset(("id",))),
        "hunt": ViewEndpoint(pages, "hunt", frozenset(("id", "alert"))),
        "draft": ViewEndpoint(pages, "draft", frozenset(("id", "operation"))),
        "alerts": ViewEndpoint(pages, "alerts", frozenset(("personal",))),
        "model": ViewEndpoint(pages, "model", collect=lambda: {"model": collect_model_facts(service)}),
        "try": ViewEndpoint(pages, "try"),
    }
    forms: dict[str, PageAnswerer] = {
        "consignment": DecideEndpoint(pages, service),
        "draft": SendEndpoint(pages, service),
        "try": TryEndpoint(pages, service),
        "logout": sign_in.sign_out,
    }
    return [
        *(
            EndpointRoute("GET", f"/{name}", f"page_{name or 'list'}", SignedInEndpoint(pages, answer))
            for name, answer in views.items()
        ),
        *(
            EndpointRoute("POST", f"/{name}", f"form_{name}", SignedInEndpoint(pages, answer))
            for name, answer in forms.items()
        ),
        EndpointRoute("GET", "/login", "page_login", SignedOutEndpoint(pages, sign_in.show)),
        EndpointRoute("POST", "/login", "form_login", SignedOutEndpoint(pages, sign_in.sign_in)),
        EndpointRoute("GET", "/style.css", "style", send_style),
    ]
