"""Ranked traffic under resampled days: sums above a cut, for hundreds of resamples at once.

A resample draws whole days with replacement, so it is a vector of how often each day counts. With running sums for
each day, the sum above any cut in any resample is a few lookups for each day: no resample sorts or copies the rows.

Two days, scores 9 7 | 8 6. The cut at the top half of the traffic takes 9 and 8. A resample that draws the first day
twice and the second not at all has the traffic 9 9 7 7, and its cut takes 9 and 9.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
POSITIVES_AT_A_TIME = 20_000
"""Bounds the memory of curves over every positive."""


def draw_days(days: int, resamples: int, seed: int) -> Floats:
    """Draw resamples of whole days; none of a single day, which shows no spread.

    Parameters
    ----------
    days : int
        Number of days.
    resamples : int
    seed : int

    Returns
    -------
    float64 array, (1 + resamples, days), or (1, 1) for a single day
        How often each day counts; the first row counts each day once and is the data itself.
    """
    if days < 2:
        return np.ones((1, days))
    drawn = np.random.default_rng(seed).multinomial(days, np.full(days, 1.0 / days), size=resamples)
    return np.vstack([np.ones(days), drawn.astype(np.float64)])


@dataclass(frozen=True)
class RankCutoff:
    """Cut of each resample's traffic: whole groups of equal scores above, a part of one group at the cut.

    Attributes
    ----------
    above, through : int64 array, (resamples, days)
        Up to which row of each day, in ranked order, the groups above the cut reach, and with the group at the cut.
    part : float64 array, (resamples,)
        Share of the group at the cut that is taken, if it is drawn at random.
    size : float64 array, (resamples,)
        Consignments taken.
    """

    above: Ints
    through: Ints
    part: Floats
    size: Floats


class DailyRanking:
    """Consignments ranked by score, day by day.

    Parameters
    ----------
    score : float64 array, (n,)
        Finite; the highest come first.
    day : int64 array, (n,)
        UTC day of each.
    traffic : float64 array, (n,), optional
        How many consignments each stands for. Default: 1 each.

    Attributes
    ----------
    group : int64 array, (n,)
        Rank of the score among the distinct scores: 0 for the highest; equal scores share it.
    days : int64 array, (d,)
        The distinct days, in order.
    day : int64 array, (n,)
        Place of each row's day in `days`.
    """

    def __init__(self, score: Floats, day: NDArray[np.int64], traffic: Floats | None = None) -> None:
        _, self.group = np.unique(-score, return_inverse=True)
        self.groups = int(self.group.max()) + 1
        self.days, self.day = np.unique(day, return_inverse=True)
        keys = self.day * self.groups + self.group
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]
        self._starts = np.searchsorted(self._keys, np.arange(len(self.days)) * self.groups)
        self._ends = np.append(self._starts[1:], len(keys))
        self._traffic = self.compute_running_sums(np.ones(len(keys)) if traffic is None else traffic)

    def sum_by_day(self, values: Floats) -> Floats:
        """Sum the values of each day; (n,) gives (days,)."""
        return np.bincount(self.day, weights=values, minlength=len(self.days)).astype(np.float64)

    def compute_running_sums(self, values: Floats) -> Floats:
        """Compute running sums of one value for each row, for `sum_above_and_at`."""
        return np.concatenate([[0.0], np.cumsum(values[self._order])])

    def cut(self, draws: Floats, share: float) -> RankCutoff:
        """Compute the cut of each resample's traffic at a share of it, at least one consignment.

        Parameters
        ----------
        draws : float64 array, (resamples, days)
            From `draw_days`.
        share : float
            0 to 1.
        """
        size = np.maximum(1.0, np.round(share * self._count(draws, self._ends)))
        low = np.zeros(len(draws), dtype=np.int64)
        high = np.full(len(draws), self.groups - 1, dtype=np.int64)
        while (low < high).any():
            middle = (low + high) // 2
            enough = self._count(draws, self._reach(middle)) >= size
            high = np.where(enough, middle, high)
            low = np.where(enough, low, np.minimum(middle + 1, high))
        above, through = self._reach(low - 1), self._reach(low)
        count = self._count(draws, above)
        part = (size - count) / np.maximum(self._count(draws, through) - count, 1.0)
        return RankCutoff(above, through, np.clip(part, 0.0, 1.0), size)

    def sum_above_and_at(self, draws: Floats, running: Floats, cut: RankCutoff) -> tuple[Floats, Floats]:
        """Sum a value over the rows above the cut, and over the whole group at the cut.

        Returns
        -------
        above, at : float64 arrays, (resamples,)
        """
        start = running[self._starts]
        above = running[cut.above] - start
        at = running[cut.through] - running[cut.above]
        return (draws * above).sum(axis=1), (draws * at).sum(axis=1)

    def sum_above(self, draws: Floats, values: Floats, cut: RankCutoff) -> Floats:
        """Sum a value above the cut, with a random share of the group at the cut; (n,) gives (resamples,)."""
        return self.add_up_above(draws, self.compute_running_sums(values), cut)

    def add_up_above(self, draws: Floats, running: Floats, cut: RankCutoff) -> Floats:
        """Sum a value as `sum_above` does, from its running sums."""
        above, at = self.sum_above_and_at(draws, running, cut)
        return above + cut.part * at

    def _reach(self, group: Ints) -> Ints:
        """Return up to which row of each day the groups up to `group` reach; (resamples,) gives (resamples, days)."""
        wanted = np.arange(len(self.days)) * self.groups + group[:, None]
        return np.maximum(np.searchsorted(self._keys, wanted, side="right"), self._starts)

    def _count(self, draws: Floats, reach: Ints) -> Floats:
        counted: Floats = (draws * (self._traffic[reach] - self._traffic[self._starts])).sum(axis=1)
        return counted


def compute_roc_auc(
    ranking: DailyRanking, draws: Floats, positive: NDArray[np.bool_], weight: Floats
) -> Floats:
    """Compute the area under the ROC curve of each resample; ties count half.

    Parameters
    ----------
    ranking : DailyRanking
    draws : float64 array, (resamples, days)
    positive : bool array, (n,)
    weight : float64 array, (n,)
        0 for rows without a label.

    Returns
    -------
    float64 array, (resamples,)
        NaN if a resample lacks positives or negatives.
    """
    hits = np.flatnonzero(positive & (weight > 0))
    misses = ranking.compute_running_sums(np.where(positive, 0.0, weight))
    total = misses[ranking._ends] - misses[ranking._starts]
    wins = np.zeros((len(ranking.days), len(ranking.days)))
    for start in range(0, len(hits), POSITIVES_AT_A_TIME):
        rows = hits[start : start + POSITIVES_AT_A_TIME]
        group = ranking.group[rows]
        through = misses[ranking._reach(group)] - misses[ranking._starts]
        above = misses[ranking._reach(group - 1)] - misses[ranking._starts]
        won = total - 0.5 * (through + above)
        np.add.at(wins, ranking.day[rows], won * weight[rows, None])
    pairs = (draws @ ranking.sum_by_day(np.where(positive, weight, 0.0))) * (draws @ total)
    won = np.einsum("ra,ab,rb->r", draws, wins, draws, optimize=True)
    return _divide(won, pairs)


def compute_average_precision(
    ranking: DailyRanking, draws: Floats, positive: NDArray[np.bool_], weight: Floats
) -> Floats:
    """Compute the average precision of each resample: the mean over positives of the precision at their score.

    Parameters and returns are those of `compute_roc_auc`.
    """
    hits, everything = (
        ranking.compute_running_sums(np.where(positive, weight, 0.0)),
        ranking.compute_running_sums(weight),
    )
    groups = np.unique(ranking.group[positive & (weight > 0)])
    before = np.zeros(len(draws))
    gained = np.zeros(len(draws))
    for start in range(0, len(groups), POSITIVES_AT_A_TIME):
        reach = ranking._reach(groups[start : start + POSITIVES_AT_A_TIME])
        found = draws @ (hits[reach] - hits[ranking._starts]).T
        opened = draws @ (everything[reach] - everything[ranking._starts]).T
        steps = np.diff(found, axis=1, prepend=before[:, None])
        gained += (steps * _divide(found, opened, empty=0.0)).sum(axis=1)
        before = found[:, -1]
    return _divide(gained, before)


def _divide(part: Floats, whole: Floats, empty: float = np.nan) -> Floats:
    return np.divide(part, whole, out=np.full_like(part, empty), where=whole > 0)
