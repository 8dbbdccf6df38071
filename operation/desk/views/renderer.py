"""Rendering of the pages: each view reads its values, which fill the template of the same name."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import msgspec

from consignments.errors import ServiceFault
from operation.desk.formats import load_texts, render_template
from operation.desk.messages import DOCUMENTS, PageAnswer, PageRequest, Viewer
from operation.desk.views.alerts import view_alerts
from operation.desk.views.consignment import view_consignment
from operation.desk.views.drafts import answer_documents, view_draft
from operation.desk.views.links import view_hunt, view_links
from operation.desk.views.list_view import view_list
from operation.desk.views.sources import PageNotFound, PageSources
from operation.desk.views.traffic import view_model

View = Callable[[PageSources, PageRequest, Viewer], dict[str, Any] | None]


def view_try(_sources: PageSources, request: PageRequest, _viewer: Viewer) -> dict[str, Any]:
    """Return the values of the page of trials, which the service scored."""
    facts = request.facts
    form = defaultdict(str, facts.get("form", {}))
    return {"results": facts.get("results"), "form": form, "faults": facts.get("faults", [])}


VIEWS: dict[str, View] = {
    "list": view_list,
    "consignment": view_consignment,
    "links": view_links,
    "hunt": view_hunt,
    "draft": view_draft,
    "alerts": view_alerts,
    "model": view_model,
    "try": view_try,
}
"""The views by name. A view without values is being prepared."""


def render_page(sources: PageSources, request: PageRequest) -> PageAnswer:
    """Render a page from the event log of one service; a fault becomes a page that says what is wrong."""
    texts = load_texts()
    try:
        if request.view == DOCUMENTS:
            return answer_documents(sources, request)
        assert request.viewer is not None
        values = VIEWS[request.view](sources, request, request.viewer)
        if values is None:
            return render_template("preparing", request, {}, 200)
        return render_template(request.view, request, values, request.facts.get("status", 200))
    except PageNotFound:
        values = {"title": "error.not_found", "detail": texts("error.not_found_detail")}
        return render_template("error", request, values, 404)
    except ServiceFault as fault:
        values = {"title": "error.title_503", "detail": fault.format_public(texts("error.try_again"))}
        answer = render_template("error", request, values, 503)
        return msgspec.structs.replace(answer, error=str(fault))
