"""Links of a consignment to others: the trace of the event log, drawn as rings around it, with a table."""

import time
from math import cos, pi, sin
from typing import NamedTuple

import numpy as np

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
from serving.encryption.vault import Vault
from serving.event_log.reader import LogReader
from serving.maintenance.logged_links import LoggedLinks

LIMITS = TraceLimits(depth=2, consignments=40, sharing=50)
SIZE = 480
RINGS = (0, 110, 205)
"""Distances from the middle of the drawing, by the number of links."""
NODE_RADIUS = 9
REFRESH_SECONDS = 60.0
"""The table of links is at most so old: reading it again takes time in a long log."""


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


class LinkReader:
    """A reader of the link table of the event log, which keeps it for a minute.

    Parameters
    ----------
    log : LogReader
    pseudonyms : Pseudonyms
    """

    def __init__(self, log: LogReader, pseudonyms: Pseudonyms) -> None:
        self._log, self._pseudonyms = log, pseudonyms
        self._table: LinkTable | None = None
        self._links: LoggedLinks | None = None
        self._read_at = float("-inf")

    def trace(self, consignment_id: str, vault: Vault, now_us: int) -> LinkTrace:
        """Trace a consignment as of now.

        Raises
        ------
        UnknownName, BadInput
            The consignment is not among the arrivals.
        ServiceFault
            The log cannot be read.
        """
        if self._table is None or time.monotonic() - self._read_at > REFRESH_SECONDS:
            self._log.last_sequence = self._log.read_last_sequence()
            self._links = LoggedLinks(self._log, vault, self._pseudonyms)
            self._table = self._links.read()
            self._read_at = time.monotonic()
        return trace_links(self._table, consignment_id, now_us, LIMITS)

    def read_offices(self, trace: LinkTrace) -> dict[str, str | None]:
        """Read the office of each consignment of a trace."""
        assert self._links is not None
        rows = np.array([each.row for each in trace.consignments], dtype=np.int64)
        found = self._links.read_consignments(rows)
        return {each.consignment_id: c.office for each, c in zip(trace.consignments, found, strict=False)}


def draw_links(trace: LinkTrace) -> LinkMap:
    """Draw a trace: the traced consignment in the middle, linked ones on rings by distance."""
    nodes: dict[str, DrawnNode] = {}
    for distance, radius in enumerate(RINGS):
        ring = [each for each in trace.consignments if each.distance == distance]
        for place, each in enumerate(ring):
            angle = 2 * pi * place / len(ring) - pi / 2 + 0.3 * distance
            x, y = SIZE / 2 + radius * cos(angle), SIZE / 2 + radius * sin(angle)
            nodes[each.consignment_id] = DrawnNode(
                len(nodes) + 1, round(x, 1), round(y, 1), each, _get_kind(each)
            )
    links = [_draw_link(link, nodes) for link in trace.links]
    return LinkMap(list(nodes.values()), links, trace.left_out, trace.known.moment_us)


def _get_kind(each: LinkedConsignment) -> str:
    if each.found:
        return "found"
    return "clear" if each.result == "clear" else "open"


def _draw_link(link: ConsignmentLink, nodes: dict[str, DrawnNode]) -> DrawnLink:
    a, b = nodes[link.source.consignment_id], nodes[link.target.consignment_id]
    shared = tuple(dict.fromkeys(LINK_IDENTIFIERS[each.target_column].kind for each in link.shared))
    return DrawnLink(a.x, a.y, b.x, b.y, a.number, b.number, shared)
