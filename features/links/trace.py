"""Trace: a breadth-first search for the consignments that are linked to one by shared identifiers, as of a given time.

RB1 and RB2 share a sender's phone, and the consignee of RB2 is the sender of RB3. A trace of RB1 finds RB2 at distance 1 and RB3
at distance 2. Nothing that became known after the time of the trace changes it.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from consignments.timestamps import NO_TIME, US_PER_DAY, convert_us_to_day
from features.history.kernels import HUB_ARRIVALS, Longs
from features.history.ordering import ArrivalEvents, Outcomes, to_arrow_strings
from features.links.identifiers import ADDRESS, LINK_IDENTIFIERS, NAME_AND_ADDRESS, LinkNumbers
from features.links.known import NONE, KnownConsignments, find_known

WINDOW_DAYS = 365
NO_RESULT = "no_result"
"""Result of a selected consignment that was never presented, or whose outcome has no result."""
OFFENCES = frozenset(("nps", "controlled_drug", "other_offence"))


@dataclass(frozen=True)
class LinkTable:
    """The table of all consignments that are searched for links."""

    arrivals: ArrivalEvents
    outcomes: Outcomes
    numbers: LinkNumbers


class TraceLimits(NamedTuple):
    """The limits of a trace."""

    depth: int = 2
    consignments: int = 200
    sharing: int = HUB_ARRIVALS  # an identifier that more consignments had in the last 365 days is no link


class LinkedConsignment(NamedTuple):
    """A consignment of a trace."""

    consignment_id: str
    row: int
    distance: int
    received_us: int
    result: str | None  # valid at the time of the trace, or NO_RESULT; None if no outcome was visible
    visible_us: int

    @property
    def found(self) -> bool:
        """Return True if an offence was detected."""
        return self.result in OFFENCES


class SharedIdentifier(NamedTuple):
    """An identifier that two consignments share."""

    identifier: int  # position in `LinkTrace.identifiers`
    source_column: int  # position in LINK_IDENTIFIERS
    target_column: int


class ConsignmentLink(NamedTuple):
    """A link between two consignments, with all identifiers that they share and that were followed."""

    source: LinkedConsignment
    target: LinkedConsignment
    shared: tuple[SharedIdentifier, ...]


class TracedIdentifier(NamedTuple):
    """An identifier that the trace met, without its value, which is personal data."""

    row: int
    column: int
    consignments: int
    followed: bool


@dataclass(frozen=True)
class LinkTrace:
    """The result of a trace."""

    known: KnownConsignments
    as_of_given: bool
    limits: TraceLimits
    consignments: tuple[LinkedConsignment, ...]
    links: tuple[ConsignmentLink, ...]
    identifiers: tuple[TracedIdentifier, ...]
    left_out: int


def trace_links(
    table: LinkTable, consignment_id: str, as_of_us: int | None = None, limits: TraceLimits | None = None
) -> LinkTrace:
    """Trace the links of a consignment as of a time, by default when it was received; raise `UnknownName` if it is unknown."""
    known = find_known(table.arrivals, table.outcomes, consignment_id, as_of_us)
    return _LinkSearch(table, known, limits or TraceLimits()).run(as_of_given=as_of_us is not None)


class _NumberIndex:
    """An index of the consignments that have a link number."""

    def __init__(self, numbers: LinkNumbers) -> None:
        flat = numbers.ravel()
        self._width = numbers.shape[1]
        self._order = np.argsort(flat)
        self._sorted = flat[self._order]

    def find(self, number: np.uint64) -> tuple[Longs, Longs]:
        """Find the rows and columns of a link number, in the order of the rows."""
        begin, end = (int(self._sorted.searchsorted(number, side)) for side in ("left", "right"))
        places = np.sort(self._order[begin:end])
        return places // self._width, places % self._width


SharedOfPairs = dict[tuple[int, int], list[SharedIdentifier]]
"""Shared identifiers by the positions of two consignments."""


class _LinkSearch:
    """A breadth-first search for links. A consignment is its position among the known ones."""

    def __init__(self, table: LinkTable, known: KnownConsignments, limits: TraceLimits) -> None:
        self._table, self._known, self._limits = table, known, limits
        self._numbers = table.numbers[known.rows]
        self._index = _NumberIndex(self._numbers)
        self._received_us = table.arrivals.received_us[known.rows]
        today = convert_us_to_day(known.moment_us)
        self._recent = self._received_us // US_PER_DAY > today - WINDOW_DAYS
        self._names = to_arrow_strings(table.arrivals.consignment_id)
        self._met: set[int] = set()
        self._found: dict[int, LinkedConsignment] = {}
        self._identifiers: list[TracedIdentifier] = []
        self._links: SharedOfPairs = {}
        self._left_out: set[int] = set()

    def run(self, *, as_of_given: bool) -> LinkTrace:
        """Search to the depth of the limits, and return the trace."""
        root = int(np.flatnonzero(self._known.rows == self._known.root)[0])
        frontier = [self._describe(root, 0)]
        self._found[root] = frontier[0]
        places = [root]
        for distance in range(1, self._limits.depth + 1):
            level: SharedOfPairs = defaultdict(list)
            for place in places:
                for number, column in self._list_new_numbers(place):
                    self._follow(place, number, column, level)
            places = self._take_new(level, distance)
            self._links |= {pair: shared for pair, shared in level.items() if pair[1] in self._found}
        links = [
            ConsignmentLink(self._found[source], self._found[target], _drop_implied(shared))
            for (source, target), shared in self._links.items()
        ]
        links.sort(key=lambda link: (_rank(link.target), _rank(link.source)))
        return LinkTrace(
            known=self._known,
            as_of_given=as_of_given,
            limits=self._limits,
            consignments=tuple(sorted(self._found.values(), key=_rank)),
            links=tuple(links),
            identifiers=tuple(self._identifiers),
            left_out=len(self._left_out),
        )

    def _list_new_numbers(self, place: int) -> Iterator[tuple[np.uint64, int]]:
        """Yield the identifiers of a consignment that were not met before, with their columns."""
        for column, number in enumerate(self._numbers[place]):
            if number and int(number) not in self._met:
                self._met.add(int(number))
                yield number, column

    def _follow(self, place: int, number: np.uint64, column: int, level: SharedOfPairs) -> None:
        """Add the links of one identifier, unless too many consignments share it or no other has it."""
        rows, columns = self._index.find(number)
        others = rows != place
        if not others.any():
            return
        sharing = len(np.unique(rows[self._recent[rows]]))
        followed = sharing <= self._limits.sharing
        identifier = len(self._identifiers)
        row = int(self._known.rows[place])
        self._identifiers.append(TracedIdentifier(row, column, sharing, followed=followed))
        if not followed:
            return
        for mine in columns[~others].tolist():
            for other, theirs in zip(rows[others].tolist(), columns[others].tolist(), strict=True):
                level[place, other].append(SharedIdentifier(identifier, mine, theirs))

    def _take_new(self, level: SharedOfPairs, distance: int) -> list[int]:
        """Add new consignments within the limits, detections first, then the latest."""
        places = sorted({target for _, target in level} - self._found.keys())
        described = ((place, self._describe(place, distance)) for place in places)
        ranked = sorted((_rank(found), place, found) for place, found in described)
        free = self._limits.consignments + 1 - len(self._found)
        self._found |= {place: found for _, place, found in ranked[:free]}
        self._left_out -= self._found.keys()
        self._left_out |= {place for _, place, _ in ranked[free:]}
        return [place for _, place, _ in ranked[:free]]

    def _describe(self, place: int, distance: int) -> LinkedConsignment:
        row, outcome = int(self._known.rows[place]), int(self._known.outcome[place])
        outcomes = self._table.outcomes
        return LinkedConsignment(
            consignment_id=self._names[row].as_py(),
            row=row,
            distance=distance,
            received_us=int(self._received_us[place]),
            result=None if outcome == NONE else outcomes.result[outcome] or NO_RESULT,
            visible_us=NO_TIME if outcome == NONE else int(outcomes.visible_us[outcome]),
        )


def _rank(c: LinkedConsignment) -> tuple[int, bool, int, str]:
    """Return the sort key of a consignment: by distance, then detections before others, then the latest first."""
    return c.distance, not c.found, -c.received_us, c.consignment_id


def _drop_implied(shared: list[SharedIdentifier]) -> tuple[SharedIdentifier, ...]:
    """Drop an address if name and address together are shared."""
    both = {
        _get_sides(each) for each in shared if LINK_IDENTIFIERS[each.source_column].kind == NAME_AND_ADDRESS
    }
    return tuple(
        each
        for each in shared
        if LINK_IDENTIFIERS[each.source_column].kind != ADDRESS or _get_sides(each) not in both
    )


def _get_sides(shared: SharedIdentifier) -> tuple[str, str]:
    return LINK_IDENTIFIERS[shared.source_column].side, LINK_IDENTIFIERS[shared.target_column].side
