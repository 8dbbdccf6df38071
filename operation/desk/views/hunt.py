"""Hunt of a page: read in the background, without consignments of offices that the viewer may not see."""

from typing import Any

from features.links.trace import LinkedConsignment
from operation.desk.messages import PageRequest, Viewer
from operation.desk.views.consignment import read_view
from operation.desk.views.links import find_foreign, find_trace
from operation.desk.views.sources import PageSources
from operation.hunts.hunt import HUNT_DAYS, IN_HAND_DAYS, Hunt

MAX_HITS, MAX_IN_HAND = 200, 50
"""Maximum numbers of consignments that a page shows."""


def view_hunt(sources: PageSources, request: PageRequest, viewer: Viewer) -> dict[str, Any] | None:
    """Return the values of the page of a hunt; None while it is read."""
    alert, now_us = request.query.get("alert", ""), request.now_us
    name = alert or read_view(sources, request.query.get("id", ""), viewer).name
    reading = sources.hunts.start(
        (name, bool(alert)),
        lambda: sources.hunter.hunt(name, sources.load_entries(), now_us, alert=bool(alert)),
    )
    found = None if reading is None else reading.get()
    if reading is None or (found is None and not reading.complete):
        return None
    linked, hidden = (
        ([], set()) if alert or found is None else _list_linked(sources, name, found, now_us, viewer)
    )
    hits, in_hand = (
        [row for row in rows if viewer.may_see(row.office)]
        for rows in (([], []) if found is None else (found.hits, found.in_hand))
    )
    return {
        "name": name,
        "alert": bool(alert),
        "linked": linked,
        "hidden": hidden,
        "hunt": found,
        "counts": [] if found is None else found.count_shared(),
        "days": HUNT_DAYS,
        "in_hand_days": IN_HAND_DAYS,
        "hits": hits[:MAX_HITS],
        "foreign": 0 if found is None else len(found.hits) - len(hits),
        "in_hand": in_hand[:MAX_IN_HAND],
        "in_hand_count": len(in_hand),
    }


def _list_linked(
    sources: PageSources, name: str, found: Hunt, now_us: int, viewer: Viewer
) -> tuple[list[LinkedConsignment], set[str]]:
    """List the linked consignments that a hunt does not name, and those of other offices among them."""
    table = sources.links.get()
    trace = None if table is None else find_trace(table, name, now_us)
    if table is None or trace is None:
        return [], set()
    named = {row.consignment_id for row in found.hits}
    linked = [each for each in trace.consignments if each.distance == 1 and each.consignment_id not in named]
    return linked, find_foreign(trace, table, sources.log, viewer)
