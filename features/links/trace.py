"""Trace: the consignments that hang together with one by shared identifiers, breadth first, as of a moment.

RB1 and RB2 share a sender's phone, RB2's consignee is the sender of RB3. A trace of RB1 finds RB2 at distance 1 and RB3 at
distance 2. Nothing that became known after the moment of the trace changes it.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from consignments.timestamps import NO_TIME, US_PER_DAY, convert_us_to_day
from features.history.ordering import ArrivalEvents, Outcomes, to_arrow_strings
from features.links.identifiers import ADDRESS, LINK_IDENTIFIERS, NAME_AND_ADDRESS, LinkNumbers
from features.links.known import NONE, KnownConsignments, find_known

Longs = NDArray[np.int64]
WINDOW_DAYS = 365
NO_RESULT = "no_result"
"""Result of a consignment that was selected, if it was never presented or nothing was said of what was inside."""
OFFENCES = frozenset(("nps", "controlled_drug", "other_offence"))


@dataclass(frozen=True)
class LinkTable:
    """All consignments among which links are looked for.

    Attributes
    ----------
    arrivals : ArrivalEvents
    outcomes : Outcomes
    numbers : uint64 array, (arrivals, identifiers)
        Of each row of `arrivals`, as of `features.links.identifiers.LinkNumberBuilder`.
    """

    arrivals: ArrivalEvents
    outcomes: Outcomes
    numbers: LinkNumbers


class TraceLimits(NamedTuple):
    """How far a trace goes.

    Attributes
    ----------
    depth : int
        Links between the traced consignment and the farthest one.
    consignments : int
        Linked consignments, at most.
    sharing : int
        An identifier that more consignments had in the last 365 days, as that of a platform or a forwarder, links nothing.
    """

    depth: int = 2
    consignments: int = 200
    sharing: int = 50


@dataclass(frozen=True)
class LinkedConsignment:
    """A consignment of a trace.

    Attributes
    ----------
    consignment_id : str
    row : int
        Of the table.
    distance : int
        Links from the traced consignment, which has 0.
    received_us : int
    result : str or None
        Result that stood at the moment of the trace, or `NO_RESULT`; None if no outcome was visible.
    visible_us : int
        When that outcome became visible; `NO_TIME` if there was none.
    """

    consignment_id: str
    row: int
    distance: int
    received_us: int
    result: str | None
    visible_us: int

    @property
    def found(self) -> bool:
        """Whether an offence was found in it."""
        return self.result in OFFENCES


@dataclass(frozen=True)
class SharedIdentifier:
    """An identifier that two consignments share.

    Attributes
    ----------
    identifier : int
        Place in `LinkTrace.identifiers`.
    source_column, target_column : int
        Place in `LINK_IDENTIFIERS`: what it is of each of the two.
    """

    identifier: int
    source_column: int
    target_column: int


@dataclass(frozen=True)
class ConsignmentLink:
    """A link between two consignments, and all that they share as far as it was followed.

    Attributes
    ----------
    source : LinkedConsignment
        From which it was found, not farther from the traced consignment than `target`.
    target : LinkedConsignment
    shared : tuple of SharedIdentifier
    """

    source: LinkedConsignment
    target: LinkedConsignment
    shared: tuple[SharedIdentifier, ...]


@dataclass(frozen=True)
class TracedIdentifier:
    """An identifier that was met; its value is personal data and is not here.

    Attributes
    ----------
    row, column : int
        A consignment that has it, and what it is of that one.
    consignments : int
        Consignments that had it in the last 365 days.
    followed : bool
        Whether it links. False if too many share it.
    """

    row: int
    column: int
    consignments: int
    followed: bool


@dataclass(frozen=True)
class LinkTrace:
    """What hangs together with a consignment.

    Attributes
    ----------
    known : KnownConsignments
    as_of_given : bool
        Whether the moment was asked for; else it is the consignment's own.
    limits : TraceLimits
    consignments : tuple of LinkedConsignment
        The traced one first, then by distance, finds before others, the latest first.
    links : tuple of ConsignmentLink
        An identifier links the first consignment it was met at with all others that have it.
    identifiers : tuple of TracedIdentifier
        Those that link, and those that too many share.
    left_out : int
        Consignments that were found and left out because `limits.consignments` was reached.
    """

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
    """Trace the links of a consignment.

    Parameters
    ----------
    table : LinkTable
    consignment_id : str
    as_of_us : int, optional
        Moment of the trace, in microseconds since the epoch. Default: the consignment's own moment.
    limits : TraceLimits, optional

    Raises
    ------
    UnknownName
        If there is no such consignment.
    BadInput
        If it had not arrived by `as_of_us`.
    """
    known = find_known(table.arrivals, table.outcomes, consignment_id, as_of_us)
    search = _LinkSearch(table, known, limits or TraceLimits())
    search.run()
    return search.build_trace(as_of_given=as_of_us is not None)


class _NumberIndex:
    """Finds which consignments have a number."""

    def __init__(self, numbers: LinkNumbers) -> None:
        flat = numbers.ravel()
        self._width = numbers.shape[1]
        self._order = np.argsort(flat)
        self._sorted = flat[self._order]

    def find(self, number: np.uint64) -> tuple[Longs, Longs]:
        """Find the rows and the columns that hold a number, in the order of the rows."""
        begin, end = (int(self._sorted.searchsorted(number, side)) for side in ("left", "right"))
        places = np.sort(self._order[begin:end])
        return places // self._width, places % self._width


Pair = tuple[int, int]
"""Places of two consignments."""


SharedOfPairs = dict[Pair, list[SharedIdentifier]]


class _LinkSearch:
    """A breadth-first search; a consignment is a place among those known."""

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

    def run(self) -> None:
        """Search to the depth of the limits."""
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

    def build_trace(self, *, as_of_given: bool) -> LinkTrace:
        """Build the result."""
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
        """List the identifiers of a consignment that were not met before, with their column."""
        for column, number in enumerate(self._numbers[place]):
            if number and int(number) not in self._met:
                self._met.add(int(number))
                yield number, column

    def _follow(self, place: int, number: np.uint64, column: int, level: SharedOfPairs) -> None:
        """Note the links by one identifier, unless too many share it or nobody else has it."""
        rows, columns = self._index.find(number)
        others = rows != place
        if not others.any():
            return
        sharing = len(np.unique(rows[self._recent[rows]]))
        followed = sharing <= self._limits.sharing
        identifier = len(self._identifiers)
        self._identifiers.append(
            TracedIdentifier(int(self._known.rows[place]), column, sharing, followed=followed)
        )
        if not followed:
            return
        for mine in columns[~others].tolist():
            for other, theirs in zip(rows[others].tolist(), columns[others].tolist(), strict=True):
                level[place, other].append(SharedIdentifier(identifier, mine, theirs))

    def _take_new(self, level: SharedOfPairs, distance: int) -> list[int]:
        """Take the consignments that were not found before, as many as the limits allow; finds first, then the latest."""
        places = sorted({target for _, target in level} - self._found.keys())
        ranked = sorted(
            (_rank(found), place, found) for place in places for found in [self._describe(place, distance)]
        )
        free = self._limits.consignments + 1 - len(self._found)
        self._found |= {place: found for _, place, found in ranked[:free]}
        self._left_out -= self._found.keys()
        self._left_out |= {place for _, place, _ in ranked[free:]}
        return [place for _, place, _ in ranked[:free]]

    def _describe(self, place: int, distance: int) -> LinkedConsignment:
        row, told = int(self._known.rows[place]), int(self._known.outcome[place])
        outcomes = self._table.outcomes
        return LinkedConsignment(
            consignment_id=self._names[row].as_py(),
            row=row,
            distance=distance,
            received_us=int(self._received_us[place]),
            result=None if told == NONE else outcomes.result[told] or NO_RESULT,
            visible_us=NO_TIME if told == NONE else int(outcomes.visible_us[told]),
        )


def _rank(c: LinkedConsignment) -> tuple[int, bool, int, str]:
    """Give the place of a consignment in a trace: by distance, finds before others, the latest first."""
    return c.distance, not c.found, -c.received_us, c.consignment_id


def _drop_implied(shared: list[SharedIdentifier]) -> tuple[SharedIdentifier, ...]:
    """Drop an address where name and address are shared."""
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
