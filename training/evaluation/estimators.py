"""Estimates from known finds alone: weighted means over the finds of where a score ranks them in the traffic (docs/estimates.md).

A find stands at least for itself, and at most for its inverse selection probability: its weight is the geometric mean of both. One positive
of six is of a kind that nobody finds, and a score is taken to rank it at random."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.special import gammaincinv, ndtri

from models.arrays import Bools, Floats, Ints
from models.formats import format_count, format_percent
from training.data.training_set import compute_effective_sample_size
from training.evaluation.estimate import INTERVAL_QUANTILES, MIN_EFFECTIVE_FINDS, Estimate, attach_finds
from training.evaluation.traffic import (
    AT_CAPACITY,
    SHARES,
    ScoredPeriod,
    index_office_days,
    select_at_capacity,
)

MAX_MULTIPLE = 2.0
UNSEEN_SHARE = 1 / 6
"""Share of the positives that no find stands for, measured in simulated worlds; it may be anything from none to twice as many."""
AVERAGED_SHARES = (0.002, 0.05)  # capacities of `recall_averaged`, in equal steps of the logarithm
CHANCE = {"roc_auc": 0.5, "average_precision": 0.0, "recall_averaged": 0.048 / float(np.log(25))}

SHARE_ENDS, GAIN_ENDS = (0.0, 1.0), (-0.5, 0.5)
"""Values of the two made-up finds of an interval: of a share, and of a difference of shares."""


def weigh_finds(weight: Floats) -> Floats:
    """Compute the weights of finds from what each stands for at most: the square root, capped at a multiple of the mean."""
    root: Floats = np.sqrt(weight)
    capped = root
    while len(root) and capped.max() > (1 + 1e-9) * MAX_MULTIPLE * capped.mean():
        capped = np.minimum(root, MAX_MULTIPLE * capped.mean())
    return capped


class RankedTraffic:
    """Traffic ranked by its score; `group` is the rank of each row among the distinct scores, 0 for the highest."""

    def __init__(self, period: ScoredPeriod) -> None:
        self.period = period
        _, self.group = np.unique(-period.score, return_inverse=True)
        self._size = np.bincount(self.group, period.traffic)
        self._through = np.cumsum(self._size)
        self.total = float(self._through[-1])

    @property
    def through(self) -> Floats:
        """Traffic down to each row, with all of equal score."""
        return np.asarray(self._through[self.group], dtype=np.float64)

    @property
    def share_above(self) -> Floats:
        """Share of the traffic above each row, of equal scores half."""
        return np.asarray((self._through - self._size / 2)[self.group] / self.total)

    def count_within(self, share: float) -> float:
        """Return how many consignments a share of the traffic is, at least one."""
        return max(1.0, round(share * self.total))

    def select_within(self, share: float) -> Floats:
        """Compute which part of each row is within a share of the traffic; scores that tie at the cut get a part."""
        room = self.count_within(share) - (self._through - self._size)
        return np.asarray(np.clip(room / np.maximum(self._size, 1e-300), 0.0, 1.0)[self.group])

    def select_at_capacities(self, capacity: int) -> dict[str, Floats]:
        """Compute which part of each row is within each share of traffic, and within the daily capacity of each office, by name."""
        cell = index_office_days(self.period.office, self.period.day)
        within = {name: self.select_within(share) for name, share in SHARES.items()}
        return within | {AT_CAPACITY: select_at_capacity(self.group, cell, capacity, self.period.traffic)}


class FindCounts(NamedTuple):
    """Known finds, those ranked within each capacity, how many equally weighted ones are as informative, the largest share of a weight."""

    known: int
    found: dict[str, float]
    effective: float
    largest: float

    def describe_support(self) -> str:
        """Return on how many results each estimate rests, and the weight of the largest; or that there is no estimate."""
        results = format_count(round(self.effective, 1), "effective result")
        if self.effective < MIN_EFFECTIVE_FINDS:
            return f"The known finds are worth {results}, and an estimate needs {MIN_EFFECTIVE_FINDS}."
        largest = format_percent(self.largest)
        return f"Each estimate rests on {results}; the largest single one counts {largest}."


@dataclass(frozen=True)
class KnownFinds:
    """Known finds of a period, with the places that a score gives them."""

    weight: Floats
    stands_for: Floats  # consignments for which each stands at least
    most: Floats  # consignments for which each stands at most
    day: Ints
    days: int
    values: dict[str, Floats]  # of each measure, 0 to 1, mixed with what unseen positives have by chance
    chance: dict[str, float]
    unseen: float  # share of the positives
    within: dict[str, Floats]  # the part of each find within each capacity
    reach: dict[str, float]  # traffic within each capacity

    @classmethod
    def locate(
        cls, ranked: RankedTraffic, within: Mapping[str, Floats], rows: Bools | None = None
    ) -> "KnownFinds":
        """Locate the known finds of a period, or those among some rows of it, within each capacity of all traffic."""
        period = ranked.period
        inside = np.ones(len(period.score), dtype=bool) if rows is None else rows
        at = np.flatnonzero(period.labelled & period.positive & inside)
        most, day, days = period.weights[at], period.day[at], len(np.unique(period.day))
        weight = most if period.complete else weigh_finds(most)
        found = {name: part[at] for name, part in within.items()}
        values = {f"recall_at_{name}": part for name, part in found.items()}
        values |= _rank_finds(ranked, rows, at, weight)
        traffic = period.traffic * inside
        total, reach = float(traffic.sum()), {name: float(part @ traffic) for name, part in within.items()}
        chance = CHANCE | {f"recall_at_{name}": each / (total or 1.0) for name, each in reach.items()}
        unseen = 0.0 if period.complete else UNSEEN_SHARE
        values = {name: (1.0 - unseen) * each + unseen * chance[name] for name, each in values.items()}
        return cls(weight, period.traffic[at], most, day, days, values, chance, unseen, found, reach)

    def count(self) -> FindCounts:
        """Count the finds, and those within each capacity; scores that tie at the cut give a fraction."""
        found = {name: float(part @ self.stands_for) for name, part in self.within.items()}
        known = attach_finds(Estimate(), self.weight)
        return FindCounts(round(float(self.stands_for.sum())), found, known.effective, known.largest)

    def estimate_measures(self) -> dict[str, Estimate]:
        """Estimate every measure of ranking, and precision within each capacity."""
        found = {name: self.estimate_mean(name) for name in self.values}
        for name, reach in self.reach.items():
            found[f"precision_at_{name}"] = self.estimate_precision(self.within[name], reach)
        return found

    def estimate_mean(self, name: str) -> Estimate:
        """Estimate a measure that is the weighted mean of its values, 0 to 1."""
        weights, values = (self.weight, self.stands_for, self.most), self.values[name]
        found, least, most = (estimate_mean(each, values, self.day, SHARE_ENDS) for each in weights)
        # The precisions themselves are lower if the finds stand for less.
        factor = float(self.stands_for.sum()) / max(float(self.weight.sum()), 1e-300)
        bounds = (least.value * (factor if name == "average_precision" else 1.0), found.value, most.value)
        unseen = (found.value - self.chance[name]) * self.unseen / (1.0 - self.unseen)
        below = (found.value - found.low, found.value - min(bounds), unseen)
        above = (found.high - found.value, max(bounds) - found.value, unseen)
        low, high = found.value - np.linalg.norm(below), found.value + np.linalg.norm(above)
        return attach_finds(Estimate(found.value, *np.clip((low, high), 0.0, 1.0).tolist()), self.weight)

    def estimate_precision(self, within: Floats, reach: float) -> Estimate:
        """Estimate the share of positives among some traffic, at least what was counted; `within` is the part of each find that belongs to it."""
        usual = float(self.weight.mean()) if len(self.weight) else 1.0
        rate = estimate_rate(self.weight * within, self.day, self.days, reach, usual)
        least = estimate_rate(self.stands_for * within, self.day, self.days, reach)
        found = attach_finds(Estimate(rate.value, min(rate.low, least.low), rate.high), self.weight)
        # What was counted bounds an estimate, and does not make one of too few results.
        return replace(found, low=least.value) if self.unseen and found.is_shown else found

    def estimate_gain(self, other: "KnownFinds", name: str) -> Estimate:
        """Estimate a measure of another score of the same traffic minus this one: only finds that the two place differently move it."""
        one, two, scale = self.values, other.values, 1.0
        if name.startswith("precision_at_"):
            name = name.removeprefix("precision_at_")
            one, two = self.within, other.within
            scale = float(self.weight.sum()) / max(self.reach[name], 1e-300)
        gain = estimate_mean(self.weight, two[name] - one[name], self.day, GAIN_ENDS)
        return attach_finds(Estimate(scale * gain.value, scale * gain.low, scale * gain.high), self.weight)


def _rank_finds(ranked: RankedTraffic, rows: Bools | None, at: Ints, weight: Floats) -> dict[str, Floats]:
    """Compute the values of the measures that look at all ranks, of finds among the rows they are compared with."""
    if rows is not None:
        ranked, at = RankedTraffic(ranked.period.select_rows(rows)), (np.cumsum(rows) - 1)[at]
    above, through, group = ranked.share_above[at], ranked.through[at], ranked.group[at]
    best = np.argsort(group, kind="stable")
    weighed = np.cumsum(weight[best])
    last = np.searchsorted(group[best], group, side="right") - 1
    least, most = AVERAGED_SHARES
    return {
        "roc_auc": 1.0 - above,
        "average_precision": np.minimum(1.0, weighed[last] / through) if len(at) else above,
        "recall_averaged": np.clip(np.log(most / above) / np.log(most / least), 0.0, 1.0),
    }


def estimate_mean(weight: Floats, values: Floats, day: Ints, made_up: tuple[float, float]) -> Estimate:
    """Estimate a weighted mean of values of finds, with the adjusted interval of docs/estimates.md."""
    total = float(weight.sum())
    if total <= 0:
        return Estimate()
    mean, finds = float(weight @ values) / total, compute_effective_sample_size(weight)
    apart = weight * (values - mean)
    plain = float((apart**2).sum())
    if plain > 0:
        finds /= max(plain, float((_sum_by_day(apart, day) ** 2).sum())) / plain
    ends = np.array(made_up)
    centre = (mean * finds + float(ends.sum())) / (finds + 2)
    square = (finds * float(weight @ values**2) / total + float((ends**2).sum())) / (finds + 2)
    reach = float(ndtri(INTERVAL_QUANTILES[1]) * np.sqrt(max(square - centre**2, 0.0) / (finds + 2)))
    return Estimate(mean, centre - reach, centre + reach)


def estimate_rate(weight: Floats, day: Ints, days: int, traffic: float, usual: float = 1.0) -> Estimate:
    """Estimate the positive share of some traffic, with the exact interval of a count; `usual` is the weight of a find not there."""
    if traffic <= 0:
        return Estimate()
    total, finds, unit = float(weight.sum()), 0.0, usual
    if total > 0:
        spread = (float((_sum_by_day(weight, day) ** 2).sum()) - total**2 / days) * days / max(days - 1, 1)
        finds = total**2 / max(float((weight**2).sum()), spread)
        unit = total / finds
    value, low, high = (count * unit for count in estimate_count(finds))
    # A part of a find, which ties at the edge, does not make it surer than none.
    ends = value, low, max(high, estimate_count(0.0)[2] * usual)
    return Estimate(*(min(1.0, each / traffic) for each in ends))


def estimate_count(count: float) -> tuple[float, float, float]:
    """Return a count with its exact interval (Garwood 1936)."""
    low, high = INTERVAL_QUANTILES
    return count, float(gammaincinv(count, low)) if count else 0.0, float(gammaincinv(count + 1, high))


def _sum_by_day(values: Floats, day: Ints) -> Floats:
    return np.bincount(np.unique(day, return_inverse=True)[1], values).astype(np.float64)
