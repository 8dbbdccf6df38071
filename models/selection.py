"""Selection of the consignments that each office inspects on each UTC day, with exact selection probabilities.

Of a capacity c, the highest scores get c - e, and a random sample of the others gets e, the exploration share. The probability of
a row is over all possible random draws, not given the actual draws. Example: capacity 4, e = 1, scores .9 .8 .5 .5 .5 .1 .1.
Two rows are certain (1). For the third place of the model one of three rows is drawn (1/3 each). The fourth place goes to one of
the 4 other rows (1/4 each). So .9 and .8 have probability 1, each .5 has 1/3 + 2/3 * 1/4 = 1/2, and each .1 has 1/4. The sum
is 4.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from consignments.errors import BadInput
from models.arrays import Floats, Ints


class SelectedConsignment(NamedTuple):
    """A row of an inspection list, and its marginal probability of selection under the whole policy, in (0, 1]."""

    place: int
    consignment_id: str
    office: str
    selected_by: Literal["model", "random"]
    selection_probability: float


class SelectionRule(NamedTuple):
    """The rule of selection: inspections per office and day, the share of them for random ones, and the seed of all draws."""

    capacity: int
    explore: float
    seed: int


def select(
    consignment_ids: Sequence[str], scores: Floats, offices: Sequence[str], days: Ints, rule: SelectionRule
) -> list[SelectedConsignment]:
    """Select the consignments of the inspection lists, sorted by day and office, then by falling score; raises like `check_selection`.

    Days are UTC days since 1970-01-01, and unknown offices ('') share one capacity. The order of the rows does not matter.
    """
    capacity, explore, seed = rule
    check_selection(consignment_ids, scores, capacity, explore)
    chosen: list[SelectedConsignment] = []
    for office, day, places in group_cells(offices, days):
        draw = RandomDraw(seed, office, day)
        order = draw.order(places, scores, consignment_ids)
        probability = _compute_probabilities(scores[order], capacity, explore)
        for rank, selector in draw.choose(len(order), capacity, explore):
            place, chance = int(order[rank]), float(probability[rank])
            chosen.append(SelectedConsignment(place, consignment_ids[place], office, selector, chance))
    return chosen


def compute_selection_probabilities(
    scores: Floats, offices: Sequence[str], days: Ints, *, capacity: int, explore: float
) -> Floats:
    """Compute the marginal probability of every row, selected or not; in each office and day the sum is the capacity."""
    check_selection((), scores, capacity, explore)
    probability = np.zeros(len(scores))
    for _, _, places in group_cells(offices, days):
        order = places[np.argsort(-scores[places], kind="stable")]
        probability[order] = _compute_probabilities(scores[order], capacity, explore)
    return probability


def check_selection(consignment_ids: Sequence[str], scores: Floats, capacity: int, explore: float) -> None:
    """Raise `BadInput` if a score is not a number, an identifier repeats, or capacity or share is out of range."""
    if capacity < 1 or not 0 <= explore <= 1:
        got, expected = f"capacity {capacity}, explore {explore}", "at least 1, and a share from 0 to 1"
        raise BadInput("capacity or exploration share is out of range", got=got, expected=expected)
    check_rows(consignment_ids, scores)


def check_rows(consignment_ids: Sequence[str], scores: Floats) -> None:
    """Raise `BadInput` if a score is not a number, or an identifier repeats."""
    if np.isnan(scores).any():
        where = f"scores row {int(np.flatnonzero(np.isnan(scores))[0])}"
        raise BadInput("a score is not a number", where=where, todo="score the consignment again")
    if len(set(consignment_ids)) != len(consignment_ids):
        twice = Counter(consignment_ids).most_common(1)[0][0]
        todo = "keep its latest score only"
        raise BadInput("an identifier repeats", where="scores", got=repr(twice), todo=todo)


def group_cells(offices: Sequence[str], days: Ints) -> Iterator[tuple[str, int, Ints]]:
    """Yield each office and day with the positions of its rows, sorted by day, then by name."""
    cells: dict[tuple[int, str], list[int]] = {}
    for place, cell in enumerate(zip(days.tolist(), offices, strict=True)):
        cells.setdefault(cell, []).append(place)
    for (day, office), places in sorted(cells.items()):
        yield office, day, np.array(places, dtype=np.int64)


def _compute_probabilities(falling: Floats, capacity: int, explore: float) -> Floats:
    """Compute the probability of each row of one cell, sorted by falling score."""
    if len(falling) <= capacity:
        return np.ones(len(falling))
    fewer, part = _split_explore_share(capacity, explore)
    exact = _compute_given_explored(falling, capacity, fewer)
    if part:
        exact = (1 - part) * exact + part * _compute_given_explored(falling, capacity, fewer + 1)
    return exact


def _split_explore_share(capacity: int, explore: float) -> tuple[int, float]:
    """Split the exploration share into whole inspections and the probability of one more."""
    # Rounded to the intended decimal: 0.07 of 100 is 7, not 7.000000000000001.
    wanted = round(capacity * explore, 9)
    return math.floor(wanted), wanted - math.floor(wanted)


def _compute_given_explored(falling: Floats, capacity: int, explored: int) -> Floats:
    """Compute the probabilities for a number of exploring places: by score, by draw among ties at the cut, or by sample."""
    by_score = capacity - explored
    above = np.zeros(len(falling))
    if by_score:
        cut = falling[by_score - 1]
        above[falling > cut] = 1.0
        tied = falling == cut
        above[tied] = (by_score - np.count_nonzero(falling > cut)) / np.count_nonzero(tied)
    return above + (1.0 - above) * explored / (len(falling) - by_score)


class RandomDraw:
    """The random numbers of one office and day. Each is a hash, so that it depends on no other draw."""

    def __init__(self, seed: int, office: str, day: int) -> None:
        self._hash = hashlib.blake2b(f"{seed}\n{day}\n{office}\n".encode(), digest_size=8)

    def order(self, places: Ints, scores: Floats, consignment_ids: Sequence[str]) -> Ints:
        """Sort positions by falling score, and equal scores by their random numbers."""
        drawn = np.array([self.draw_number(f"row {consignment_ids[place]}") for place in places.tolist()])
        return places[np.lexsort((drawn, -scores[places]))]

    def choose(
        self, rows: int, capacity: int, explore: float
    ) -> Iterator[tuple[int, Literal["model", "random"]]]:
        """Select ranks, in order, each with the method of selection: the best, then a systematic sample, which spreads over all others."""
        if rows <= capacity:
            yield from ((rank, "model") for rank in range(rows))
            return
        explored, part = _split_explore_share(capacity, explore)
        explored += self.draw_number("one more to explore") < part
        by_score = capacity - explored
        yield from ((rank, "model") for rank in range(by_score))
        step = (rows - by_score) / explored if explored else 0.0
        start = self.draw_number("start")
        # The last step may round up to the end.
        yield from ((min(by_score + int((start + k) * step), rows - 1), "random") for k in range(explored))

    def draw_number(self, what: str) -> float:
        """Compute the random number in [0, 1) of a purpose."""
        drawn = self._hash.copy()
        drawn.update(what.encode())
        return (int.from_bytes(drawn.digest(), "big") >> 11) / 2**53
