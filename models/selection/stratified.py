"""Stratified selection: inspections from which recall can be estimated to a given width, and their cost in detections.

The arrivals of each office and day are split by falling score into strata. The first is inspected with certainty. The second,
the margin, is the rest of the highest scores within the capacity. The others are the lower scores. They are split into
strata of equal expected spread (the sum of the square roots of the scores). So each has the same share of the draws (Neyman 1934).
The lower scores get as few draws as the width allows (optimise-and-estimate selection, Henderson et al. 2022, arXiv 2204.11910).

Example: capacity 5, of which 2 draws go to the lower scores. The 2 highest scores are certain. The margin is the next 3, one
of which is drawn (probability 1/3). 40 lower scores in two strata of 10 and 30 have one draw each, so 1/10 and 1/30. The sum of
the probabilities is 5. A stratum with a fraction of a draw gets one more draw with that probability.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from consignments.errors import BadInput
from models.selection.recall import RecallEstimate, compute_recall, sum_finds
from models.selection.selection import (
    RandomDraw,
    SelectedConsignment,
    build_list_table,
    check_selection,
    group_cells,
    read_score_columns,
)

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LOWER_STRATA = 6
"""Number of strata of the scores below the capacity, per office and day."""
MARGIN_RATIO = 1.25
"""Rows of the margin per draw of the lower scores, so that a row of the margin has a probability of at least 1/5."""
MIN_SPREAD_SHARE = 0.1
"""Minimum expected spread of a lower row, as a share of the mean spread, so that scores near 0 are inspected too."""
RATE_DECADES = 3.0
"""Decades of rates of draws that are tried below the largest useful rate of every office and day."""
RATES_PER_DECADE = 8
HALVINGS = 8
"""Number of halvings of the step between two rates that loses the width."""
SPARED_WIDTH = 0.02
"""Allowed excess over the narrowest interval if the width cannot be reached. The last percent costs most."""


class ScoredArrivals(NamedTuple):
    """The scored consignments from which the lists are drawn.

    Attributes
    ----------
    consignment_ids : sequence of str, (n,)
        Distinct identifiers.
    scores : float64 array, (n,)
        Higher scores are inspected first; not NaN.
    offices : sequence of str, (n,)
        '' if unknown. Unknown offices share one capacity.
    received_days : int64 array, (n,)
        UTC days since 1970-01-01.
    expected : float64 array, (n,)
        Calibrated probability of a detection, 0 to 1.
    """

    consignment_ids: Sequence[str]
    scores: Floats
    offices: Sequence[str]
    received_days: Ints
    expected: Floats


class StratifiedRule(NamedTuple):
    """The rule of stratified selection: the capacity, and the required accuracy of recall.

    Attributes
    ----------
    capacity : int
        Inspections per office and day. If fewer consignments arrived, all are inspected.
    width : float
        Maximum half-width of the 95 % interval of recall at the capacity, in (0, 1).
    days : int or None
        Number of similar days over which the estimate is pooled; None for the given days.
    seed : int
        Seed of all random draws. The list does not depend on the order of the rows.
    """

    capacity: int
    width: float
    days: int | None
    seed: int


@dataclass(frozen=True)
class StratifiedPlan:
    """The plan of a stratified selection: probabilities, and expected results if the scores are calibrated.

    Attributes
    ----------
    probability : float64 array, (n,)
        Marginal inspection probability, in (0, 1]. In each office and day the sum is the capacity, or the number of rows if
        there are fewer.
    recall : RecallEstimate
        Expected recall at the capacity, with the expected interval of the sample.
    reached : bool
        True if the interval has the required width; else it is the narrowest that the capacity allows.
    expected_finds, greedy_finds : float
        Expected detections of the plan, and of the highest scores alone.
    """

    probability: Floats
    recall: RecallEstimate
    reached: bool
    expected_finds: float
    greedy_finds: float

    def describe(self, rule: StratifiedRule) -> str:
        """Describe the expected width and the cost in detections, with a warning if the width cannot be reached."""
        width, cost = self.recall.half_width, self.greedy_finds - self.expected_finds
        said = (
            f"expected accuracy of recall ±{width:.3g}; expected detections {self.expected_finds:.3g}, "
            f"{cost:.3g} fewer than from the highest scores alone"
        )
        if self.reached:
            return said
        return f"warning: ±{rule.width:.3g} cannot be reached with a capacity of {rule.capacity}; {said}"


@dataclass(frozen=True)
class _Cell:
    """The arrivals of one office and day, sorted by falling score.

    Attributes
    ----------
    office : str
    day : int
    places : int64 array, (n,)
    ties : int64 array, (n,)
        Rank of the score among the distinct scores.
    spread : float64 array, (n - capacity,)
        Expected spread of each lower row.
    capacity : int
    """

    office: str
    day: int
    places: Ints
    ties: Ints
    spread: Floats
    capacity: int

    @classmethod
    def from_rows(
        cls, office: str, day: int, places: Ints, arrivals: ScoredArrivals, capacity: int
    ) -> "_Cell":
        """Sort the rows, and compute the spread of the lower ones."""
        places = places[np.lexsort((-arrivals.expected[places], -arrivals.scores[places]))]
        falling = arrivals.scores[places]
        ties = np.cumsum(np.concatenate([[0], falling[1:] != falling[:-1]])).astype(np.int64)
        spread = np.sqrt(arrivals.expected[places[capacity:]])
        least = MIN_SPREAD_SHARE * float(spread.mean()) if len(spread) else 0.0
        return cls(office, day, places, ties, np.maximum(spread, least or 1.0), capacity)

    @property
    def most_draws(self) -> float:
        """Return the draws of the lower rows that give every row of the cell the same probability on average."""
        return self.capacity * len(self.spread) / len(self.places)

    def compute_strata(self, rate: float) -> tuple[Ints, Floats]:
        """Compute the number of rows of each stratum, and the mean number of its draws.

        Parameters
        ----------
        rate : float
            Draws of the lower rows per unit of their expected spread.
        """
        count = len(self.places)
        if count <= self.capacity:
            return np.array([count]), np.array([float(count)])
        lower = min(rate * float(self.spread.sum()), self.most_draws)
        sure = max(0, math.floor(self.capacity - MARGIN_RATIO * lower))
        margin = self.capacity - sure
        sizes = self._cut_lower_rows()
        draws = _share_draws(sizes, np.add.reduceat(self.spread, np.cumsum(sizes) - sizes), lower)
        return np.concatenate([[sure, margin], sizes]), np.concatenate([[sure, margin - lower], draws])

    def _cut_lower_rows(self) -> Ints:
        """Compute the sizes of the lower strata, which have equal expected spread."""
        reached = np.cumsum(self.spread)
        wanted = reached[-1] * np.arange(1, LOWER_STRATA) / LOWER_STRATA
        ends = np.unique(np.concatenate([[0], np.searchsorted(reached, wanted), [len(reached)]]))
        return np.diff(ends)

    def compute_probabilities(self, rate: float) -> Floats:
        """Compute the marginal probability of each row, averaged over all orders of tied rows."""
        sizes, draws = self.compute_strata(rate)
        return self.average_ties(np.repeat(draws / np.maximum(sizes, 1), sizes))

    def compute_within(self) -> Floats:
        """Return 1 for each row within the capacity, 0 for others, and for ties at the cut the share of them that is."""
        return self.average_ties((np.arange(len(self.places)) < self.capacity).astype(np.float64))

    def average_ties(self, values: Floats) -> Floats:
        """Compute for each row the mean of the values of all rows with the same score."""
        means = np.bincount(self.ties, weights=values) / np.bincount(self.ties)
        averaged: Floats = means[self.ties]
        return averaged

    def draw(self, rate: float, draw: RandomDraw, arrivals: ScoredArrivals) -> list[tuple[int, bool]]:
        """Draw the rows to inspect: their positions by falling score, each with True if it was drawn at random."""
        order = draw.order(self.places, arrivals.scores, arrivals.consignment_ids)
        numbers = draw.draw_for_rows(order, arrivals.consignment_ids, "stratum")
        sizes, draws = self.compute_strata(rate)
        # Rounded, so that a sum that should be a whole number is one.
        ends = np.floor(np.round(np.cumsum(draws), 9) + draw.draw_number("start"))
        chosen: list[tuple[int, bool]] = []
        first = 0
        for size, expected, count in zip(sizes, draws, np.diff(ends, prepend=0.0), strict=True):
            ranks = first + np.argsort(numbers[first : first + size], kind="stable")[: int(count)]
            chosen += [(int(order[rank]), bool(expected < size)) for rank in np.sort(ranks)]
            first += int(size)
        return chosen


def select_stratified(
    arrivals: ScoredArrivals, rule: StratifiedRule
) -> tuple[list[SelectedConsignment], StratifiedPlan]:
    """Draw the inspection lists from which recall can be estimated to the width of the rule.

    Parameters
    ----------
    arrivals : ScoredArrivals
    rule : StratifiedRule

    Returns
    -------
    list of SelectedConsignment
        See `StratifiedSelector.draw`.
    StratifiedPlan

    Raises
    ------
    BadInput
        If a score is not a probability, an identifier repeats, or the rule is out of range.
    """
    selector = StratifiedSelector(arrivals, rule)
    return selector.draw(rule.seed), selector.plan


def build_stratified_table(
    scores: "pd.DataFrame", rule: StratifiedRule
) -> "tuple[pd.DataFrame, StratifiedPlan]":
    """Draw the inspection lists from a score table whose scores are calibrated.

    Parameters
    ----------
    scores : DataFrame
        With `consignment_id`, `score`, `office` and `received_at`.
    rule : StratifiedRule

    Returns
    -------
    DataFrame
        Columns as in `build_selection_table`.
    StratifiedPlan
    """
    ids, score, offices, days = read_score_columns(scores)
    rows, plan = select_stratified(ScoredArrivals(ids, score, offices, days, score), rule)
    return build_list_table(scores, rows), plan


class StratifiedSelector:
    """A selector that plans the fewest draws of lower scores that reach the width, and draws lists by this plan.

    Parameters
    ----------
    arrivals : ScoredArrivals
    rule : StratifiedRule
        Its seed is not used; `draw` has its own.

    Attributes
    ----------
    plan : StratifiedPlan
    """

    def __init__(self, arrivals: ScoredArrivals, rule: StratifiedRule) -> None:
        _check_arrivals(arrivals, rule)
        self._arrivals, self._rule = arrivals, rule
        self._cells = [
            _Cell.from_rows(office, day, places, arrivals, rule.capacity)
            for office, day, places in group_cells(arrivals.offices, arrivals.received_days)
        ]
        self._order = np.concatenate([np.empty(0, dtype=np.int64), *(cell.places for cell in self._cells)])
        self._within = np.concatenate([np.empty(0), *(cell.compute_within() for cell in self._cells)])
        self._expected = arrivals.expected[self._order]
        days = len(np.unique(arrivals.received_days))
        self._factor = 1.0 if rule.days is None or not days else rule.days / days
        self._rate = self._find_rate()
        self.plan = self._build_plan()

    def draw(self, seed: int) -> list[SelectedConsignment]:
        """Draw the inspection lists with a seed.

        Returns
        -------
        list of SelectedConsignment
            Sorted by day and office, then by falling score. `selected_by` is `model` if the inspection is certain, and
            `random` if it was drawn.
        """
        ids, probability = self._arrivals.consignment_ids, self.plan.probability
        return [
            SelectedConsignment(
                place, ids[place], cell.office, "random" if drawn else "model", float(probability[place])
            )
            for cell in self._cells
            for place, drawn in cell.draw(self._rate, RandomDraw(seed, cell.office, cell.day), self._arrivals)
        ]

    def _find_rate(self) -> float:
        """Find the smallest rate of draws that reaches the width, or comes near the narrowest width.

        Notes
        -----
        With far too few draws no detection is expected from the lower scores, and the planned interval becomes narrow though it
        covers nothing. So the search ends where the interval becomes narrower again with fewer draws.
        """
        most = [cell.most_draws / float(cell.spread.sum()) for cell in self._cells if len(cell.spread)]
        if not most:
            return 0.0
        rates = _list_rates(max(most), min(most))
        widths = [self._compute_width(rate) for rate in rates]
        # Above the smallest of `most` some lists have no certain inspection left, and the width may rise and fall.
        valley = sum(rate >= min(most) for rate in rates) - 1
        while valley + 1 < len(rates) and widths[valley + 1] < widths[valley]:
            valley += 1
        least = min(widths[: valley + 1])
        aim = self._rule.width if least <= self._rule.width else least * (1 + SPARED_WIDTH)
        place = max(at for at in range(valley + 1) if widths[at] <= aim)
        if place == valley:
            while place + 1 < len(rates) and widths[place] <= widths[place + 1] <= aim:
                place += 1
        if place + 1 == len(rates) or widths[place + 1] <= aim:
            return rates[place]
        return self._narrow(rates[place + 1], rates[place], aim)

    def _narrow(self, fails: float, reaches: float, aim: float) -> float:
        """Bisect the step between a rate that fails and a rate that reaches a width."""
        for _ in range(HALVINGS):
            middle = (fails + reaches) / 2
            if self._compute_width(middle) <= aim:
                reaches = middle
            else:
                fails = middle
        return reaches

    def _compute_width(self, rate: float) -> float:
        return self._expect_recall(self._compute_probabilities(rate)).half_width

    def _compute_probabilities(self, rate: float) -> Floats:
        """Compute the probabilities of all rows, cell by cell."""
        return np.concatenate([np.empty(0), *(cell.compute_probabilities(rate) for cell in self._cells)])

    def _expect_recall(self, probability: Floats) -> RecallEstimate:
        """Compute the expected recall of the sample, with its interval."""
        top, rest = (
            sum_finds(share * probability, probability, self._expected, self._expected).scale(self._factor)
            for share in (self._within, 1.0 - self._within)
        )
        return compute_recall(top, rest)

    def _build_plan(self) -> StratifiedPlan:
        ordered = self._compute_probabilities(self._rate)
        probability = np.empty(len(ordered))
        probability[self._order] = ordered
        recall = self._expect_recall(ordered)
        return StratifiedPlan(
            probability,
            recall,
            recall.half_width <= self._rule.width,
            float(np.sum(self._expected * ordered)),
            float(np.sum(self._expected * self._within)),
        )


def _list_rates(most: float, least: float) -> list[float]:
    """List falling rates of draws, from `most` to `RATE_DECADES` below `least`."""
    steps = math.ceil(RATES_PER_DECADE * (RATE_DECADES + math.log10(most / least)))
    rates: list[float] = (most * 10.0 ** (-np.arange(steps + 1) / RATES_PER_DECADE)).tolist()
    return rates


def _check_arrivals(arrivals: ScoredArrivals, rule: StratifiedRule) -> None:
    check_selection(arrivals.consignment_ids, arrivals.scores, rule.capacity, 0.0)
    if not 0 < rule.width < 1 or (rule.days is not None and rule.days < 1):
        raise BadInput(
            "width or days are out of range",
            got=f"width {rule.width}, days {rule.days}",
            expected="a half-width between 0 and 1, and at least 1 day",
        )
    wrong = np.flatnonzero(~((arrivals.expected >= 0) & (arrivals.expected <= 1)))
    if len(wrong):
        raise BadInput(
            "a score is not a probability, so the width cannot be planned",
            where=f"scores row {int(wrong[0])}",
            got=repr(float(arrivals.expected[wrong[0]])),
            expected="a calibrated score from 0 to 1",
            todo="use --explore instead of --width, or score with a calibrated model",
        )


def _share_draws(sizes: Ints, spreads: Floats, draws: float) -> Floats:
    """Divide draws between strata by their spread. No stratum gets more draws than rows."""
    shares = np.zeros(len(sizes))
    is_open = np.ones(len(sizes), dtype=bool)
    while is_open.any():
        rate = (draws - sizes[~is_open].sum()) / spreads[is_open].sum()
        shares = np.where(is_open, rate * spreads, sizes)
        full = is_open & (sizes <= shares)
        if not full.any():
            break
        is_open &= ~full
    return shares
