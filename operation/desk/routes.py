"""Routes of the pages for officers, which `npsrisk serve` adds to those of the service."""

from functools import partial
from typing import Any

from consignments.identifiers import normalize_identifier
from operation.day_list import FILTERS
from operation.desk.acting import decide, try_consignment
from operation.desk.formats import TEMPLATES
from operation.desk.model_facts import collect_model_facts
from operation.desk.pages import OfficerPages, PageAnswerer, Visit, build_endpoint
from operation.desk.sending import approve
from serving.http.asgi import HttpCall, respond
from serving.http.requests import Door, read_parameters
from serving.http.routing import EndpointRoute
from serving.maintenance.access_log import record_look
from serving.service import Service

PARAMETERS: dict[str, frozenset[str]] = {
    "list": frozenset(("day", "office", "capacity", "page", *FILTERS)),
    "consignment": frozenset(("id", "personal", "list", "done")),
    "links": frozenset(("id",)),
    "hunt": frozenset(("id", "alert")),
    "draft": frozenset(("id", "operation")),
    "alerts": frozenset(("personal",)),
    "model": frozenset(),
    "try": frozenset(),
}
"""The pages, with the parameters of each."""
STYLE = (TEMPLATES / "style.css").read_bytes()


def list_page_routes(service: Service, door: Door) -> list[EndpointRoute]:
    """List the routes of the pages with their endpoints."""
    pages = OfficerPages(door, service)
    forms: dict[str, PageAnswerer] = {
        "consignment": partial(decide, pages),
        "draft": partial(approve, pages),
        "try": partial(try_consignment, pages),
        "logout": pages.sign_out,
    }
    signed_in: list[tuple[str, str, str, PageAnswerer]] = [
        *(("GET", "page", name, partial(show_view, pages, name)) for name in PARAMETERS),
        *(("POST", "form", name, answer) for name, answer in forms.items()),
    ]
    routes = []
    for method, kind, name, answer in signed_in:
        path, endpoint = "/" if name == "list" else f"/{name}", build_endpoint(pages, signed_in=answer)
        routes.append(EndpointRoute(method, path, f"{kind}_{name}", endpoint))
    sign_in = {"GET": ("page_login", pages.show_sign_in), "POST": ("form_login", pages.sign_in)}
    for method, (name, show) in sign_in.items():
        routes.append(EndpointRoute(method, "/login", name, build_endpoint(pages, everybody=show)))
    return [*routes, EndpointRoute("GET", "/style.css", "style", send_style)]


async def show_view(pages: OfficerPages, view: str, call: HttpCall, visit: Visit) -> int:
    """Send a page that the page process reads from the log."""
    query = read_parameters(call.query, PARAMETERS[view])
    facts: dict[str, Any] = {"model": collect_model_facts(pages.service)} if view == "model" else {}
    if query.get("personal") == "1" and visit.caller.may("personal"):
        facts = {"personal": await record_page_look(pages, visit, view, query.get("id"))}
    return await pages.show(call, view, visit, query, facts)


async def record_page_look(pages: OfficerPages, visit: Visit, view: str, identifier: str | None) -> bool:
    """Record a look at personal fields before they are shown; return False if there is no such consignment for this person."""
    active, name = pages.service.active, None
    if identifier is not None:
        events = await active.read_entries(identifier)
        if not events or not visit.caller.may_see(active.entries.find_office(events)):
            return False
        name = normalize_identifier(identifier)
    await record_look(active, visit.caller.name, visit.person, view, name)
    return True


async def send_style(call: HttpCall) -> int:
    """Send the style sheet of the pages."""
    await respond(call, 200, STYLE, b"text/css; charset=utf-8")
    return 200
