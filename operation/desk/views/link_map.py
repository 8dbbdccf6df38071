"""Links of a consignment to others: the trace of the event log, drawn as rings around it, with a table."""

from collections.abc import Callable
from math import cos, pi, sin
from typing import NamedTuple

from features.history.pseudonyms import Pseudonyms
from features.links.identifiers import LINK_IDENTIFIERS
from features.links.trace import (
    ConsignmentLink,
    LinkedConsignment,
    LinkTable,
    LinkTrace,
    TraceLimits,
    trace_links,
)
from operation.logged_links import LoggedLinks
from serving.encryption.vault import Vault
from serving.event_log.event_codec import EventCodec
from serving.event_log.events import ArrivalEvent
from serving.event_log.reader import LogReader

LIMITS = TraceLimits(depth=2, consignments=40, sharing=50)
MARGIN = 35
RING_DISTANCE = 100
NODE_DISTANCE = 34
"""Smallest distance between two consignments on a ring, so that their numbers can be read."""


class DrawnNode(NamedTuple):
    """A consignment in the drawing, with its number in the table."""

    number: int
    x: float
    y: float
    consignment: LinkedConsignment
    kind: str


class DrawnLink(NamedTuple):
    """A line between two consignments, and the names of what they share."""

    x1: float
    y1: float
    x2: float
    y2: float
    source: int
    target: int
    shared: tuple[str, ...]


class LinkMap(NamedTuple):
    """The drawing of a trace."""

    nodes: list[DrawnNode]
    links: list[DrawnLink]
    left_out: int
    as_of_us: int
    size: int


class LinkReader:
    """A reader of the link table of the event log. It reads only new consignments again."""

    def __init__(self, url: str, pseudonyms: Pseudonyms, open_vault: Callable[[], Vault]) -> None:
        self._url, self._pseudonyms, self._open_vault = url, pseudonyms, open_vault
        self._table: LinkTable | None = None

    def read(self) -> LinkTable:
        """Read the link table up to the last entry; this takes some seconds for 100,000 consignments at first."""
        with LogReader.open_to_read(self._url) as log:
            self._table = LoggedLinks(log, self._open_vault(), self._pseudonyms).read(known=self._table)
        return self._table


def trace_consignment(table: LinkTable, consignment_id: str, now_us: int) -> LinkTrace:
    """Trace a consignment as of now."""
    return trace_links(table, consignment_id, now_us, LIMITS)


def find_foreign(
    trace: LinkTrace,
    table: LinkTable,
    log: LogReader,
    entries: EventCodec,
    may_see: Callable[[str | None], bool],
) -> set[str]:
    """Find the consignments of a trace that belong to offices that may not be seen."""
    sequence = table.arrivals.sequence
    assert sequence is not None
    found = set()
    for each in trace.consignments:
        event = log.read_event(int(sequence[each.row]))
        office = entries.read_office(event) if isinstance(event, ArrivalEvent) else None
        if not may_see(office):
            found.add(each.consignment_id)
    return found


def draw_links(trace: LinkTrace) -> LinkMap:
    """Draw a trace: the traced consignment in the middle, linked ones on rings by distance."""
    rings = [[each for each in trace.consignments if each.distance == n] for n in range(LIMITS.depth + 1)]
    radii = [0.0]
    for ring in rings[1:]:
        needed = max(radii[-1] + RING_DISTANCE, len(ring) * NODE_DISTANCE / (2 * pi))
        radii.append(needed if ring else radii[-1])
    middle = radii[-1] + MARGIN
    nodes: dict[str, DrawnNode] = {}
    for distance, (ring, radius) in enumerate(zip(rings, radii, strict=True)):
        for place, each in enumerate(ring):
            angle = 2 * pi * place / len(ring) - pi / 2 + 0.3 * distance
            x, y = round(middle + radius * cos(angle), 1), round(middle + radius * sin(angle), 1)
            nodes[each.consignment_id] = DrawnNode(len(nodes) + 1, x, y, each, _get_kind(each))
    links = [_draw_link(link, nodes) for link in trace.links]
    return LinkMap(list(nodes.values()), links, trace.left_out, trace.known.moment_us, round(2 * middle))


def _get_kind(each: LinkedConsignment) -> str:
    if each.found:
        return "found"
    return "clear" if each.result == "clear" else "open"


def _draw_link(link: ConsignmentLink, nodes: dict[str, DrawnNode]) -> DrawnLink:
    a, b = nodes[link.source.consignment_id], nodes[link.target.consignment_id]
    shared = tuple(dict.fromkeys(LINK_IDENTIFIERS[each.target_column].kind for each in link.shared))
    return DrawnLink(a.x, a.y, b.x, b.y, a.number, b.number, shared)
