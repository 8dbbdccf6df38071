"""Links of a consignment to others: the trace of the event log, drawn as rings around it, with a table."""

from math import cos, pi, sin
from typing import Any

from consignments.errors import NpsriskError
from features.links.identifiers import LINK_IDENTIFIERS
from features.links.trace import LinkedConsignment, LinkTable, LinkTrace, TraceLimits, trace_links
from operation.desk.acts import PLAIN
from operation.desk.messages import PageRequest, Viewer
from operation.desk.views.consignment import read_view
from operation.desk.views.sources import PageSources
from operation.hunts.hunt import HUNT_DAYS, IN_HAND_DAYS
from serving.event_log.events import ArrivalEvent
from serving.event_log.reader import LogReader

LIMITS = TraceLimits(depth=2, consignments=40, sharing=50)
MARGIN = 35
RING_DISTANCE = 100
MAX_HITS, MAX_IN_HAND = 200, 50  # maximum numbers of consignments that the page of a hunt shows
NODE_DISTANCE = 34  # smallest distance between two consignments on a ring, so that their numbers can be read


def view_links(sources: PageSources, request: PageRequest, viewer: Viewer) -> dict[str, Any] | None:
    """Return the values of the page of links; None while they are read."""
    view = read_view(sources, request.query.get("id", ""), viewer)
    table = sources.links.get()
    if table is None:
        return None
    trace = find_trace(table, view.name, request.now_us)
    hidden = set() if trace is None else find_foreign(trace, table, sources.log, viewer)
    return {"c": view, "map": None if trace is None else draw_links(trace), "hidden": hidden}


def find_trace(table: LinkTable, name: str, now_us: int) -> LinkTrace | None:
    """Trace a consignment as of now; None if it is not in the table."""
    try:
        return trace_links(table, name, now_us, LIMITS)
    except NpsriskError:
        return None


def find_foreign(trace: LinkTrace, table: LinkTable, log: LogReader, viewer: Viewer) -> set[str]:
    """Find the consignments of a trace that belong to offices that the viewer may not see."""
    sequence, found = table.arrivals.sequence, set[str]()
    assert sequence is not None
    for each in trace.consignments if viewer.offices is not None else ():
        event = log.read_event(int(sequence[each.row]))
        if not viewer.may_see(PLAIN.read_office(event) if isinstance(event, ArrivalEvent) else None):
            found.add(each.consignment_id)
    return found


def draw_links(trace: LinkTrace) -> dict[str, Any]:
    """Draw a trace: the traced consignment in the middle, linked ones on rings by distance, with their numbers in the table."""
    rings = [[each for each in trace.consignments if each.distance == n] for n in range(LIMITS.depth + 1)]
    radii = [0.0]
    for ring in rings[1:]:
        needed = max(radii[-1] + RING_DISTANCE, len(ring) * NODE_DISTANCE / (2 * pi))
        radii.append(needed if ring else radii[-1])
    middle = radii[-1] + MARGIN
    nodes: dict[str, dict[str, Any]] = {}
    for distance, (ring, radius) in enumerate(zip(rings, radii, strict=True)):
        for place, each in enumerate(ring):
            angle = 2 * pi * place / len(ring) - pi / 2 + 0.3 * distance
            nodes[each.consignment_id] = {
                "number": len(nodes) + 1,
                "x": round(middle + radius * cos(angle), 1),
                "y": round(middle + radius * sin(angle), 1),
                "consignment": each,
                "kind": "found" if each.found else "clear" if each.result == "clear" else "open",
            }
    links = [
        {
            "source": nodes[link.source.consignment_id],
            "target": nodes[link.target.consignment_id],
            "shared": list(dict.fromkeys(LINK_IDENTIFIERS[each.target_column].kind for each in link.shared)),
        }
        for link in trace.links
    ]
    known = {"left_out": trace.left_out, "as_of_us": trace.known.moment_us, "size": round(2 * middle)}
    return {"nodes": list(nodes.values()), "links": links, **known}


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
    linked, hidden = list[LinkedConsignment](), set[str]()  # and not named by the hunt
    table = None if found is None or alert else sources.links.get()
    if found is not None and not alert and table is None:
        return None
    if found is not None and table is not None and (trace := find_trace(table, name, now_us)):
        named = {row.consignment_id for row in found.hits}
        near = (each for each in trace.consignments if each.distance == 1)
        linked = [each for each in near if each.consignment_id not in named]
        hidden = find_foreign(trace, table, sources.log, viewer)
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
