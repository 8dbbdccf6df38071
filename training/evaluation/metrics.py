"""Metrics of a score at the inspection capacity of an operation, each with a 95 % interval.

Capacity is a share of all traffic, inspected or not, so the cut is made over all of it, and the labelled rows above it
evaluate it. Each labelled row stands for `weight` consignments (its inverse selection probability), which corrects for
how the inspected ones were selected. If every row is labelled, all weights are 1 and nothing is estimated. Precision is
the Hájek ratio above the cut; recall compares it with the same ratio below the cut, each times its traffic, and never falls as capacity grows.
`training.evaluation.off_policy` adds other estimators; intervals are those of `training.evaluation.intervals`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.errors import UnknownName
from consignments.records import Target
from models.formats import format_number
from training.config import EvaluationConfig
from training.data.training_set import compute_effective_sample_size
from training.evaluation.capacity import (
    AT_CAPACITY,
    SHARES,
    compute_daily_capacity,
    index_office_days,
    select_at_capacity,
)
from training.evaluation.estimate import Estimate, ResampledMetric, Support, compute_interval
from training.evaluation.ranking import (
    DailyRanking,
    RankCutoff,
    compute_average_precision,
    compute_roc_auc,
    draw_days,
)
from training.evaluation.selected_labels import (
    Sums,
    build_row_values,
    compute_precision_recall,
    divide,
    make_monotone,
)
from training.evaluation.traffic import ScoredPeriod

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
SumAbove = Callable[[Floats], Floats]
"""Sums a value above a cut, of the data and of each resample; (n,) gives (1 + resamples,)."""

CALIBRATION_RATIO = "calibration_ratio"
SLICE_METRICS = ("roc_auc", "average_precision", "precision_at_1pct", "recall_at_1pct", "calibration_error")
"""Metrics logged for each slice; the tables have the rest."""
CALIBRATION_CUTS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
"""Bins of the calibration table, as shares of traffic from the top."""


COUNTED_TARGETS: dict[Target, tuple[str, str]] = {
    "nps": ("NPS", "NPS"),
    "controlled_drug": ("controlled drug", "controlled drugs"),
    "any_offence": ("offence", "offences"),
}
"""Names of what is counted: of one, and of several."""
CAPACITY_NAMES = {
    "0.1pct": "top 0.1 %",
    "1pct": "top 1 %",
    "5pct": "top 5 %",
    "10pct": "top 10 %",
    AT_CAPACITY: "within capacity",
}


@dataclass(frozen=True)
class FindCounts:
    """The counted known finds, and how many of them a score ranks within each capacity.

    Attributes
    ----------
    known : int
    found : dict
        Name of a capacity (`SHARES` and `AT_CAPACITY`) to the known finds ranked within it. Scores that tie at the cut give a fraction.
    effective : float
        Number of equally weighted finds that would be as informative.
    largest : float
        Share of the largest weight among the weights of the finds, 0 to 1.
    """

    known: int
    found: dict[str, float]
    effective: float
    largest: float


def describe_counts(sides: Mapping[str, FindCounts], target: Target) -> str:
    """Return the counted finds in words, before any estimate.

    Parameters
    ----------
    sides : mapping
        Name of each score, as "version 1", to its counts on the same traffic.
    target : str

    Examples
    --------
    >>> one = FindCounts(16, {"1pct": 4.0, "capacity": 5.0}, 16.0, 0.0625)
    >>> other = FindCounts(16, {"1pct": 3.0, "capacity": 6.0}, 16.0, 0.0625)
    >>> describe_counts({"version 1": one, "version 3": other}, "nps")
    'Of 16 known NPS, version 1 ranks 5 within capacity, version 3 ranks 6 (top 1 %: 4 and 3).'
    """
    known = next(iter(sides.values())).known
    ranked = [
        f"{name} ranks {format_number(side.found[AT_CAPACITY])}{'' if place else ' within capacity'}"
        for place, (name, side) in enumerate(sides.items())
    ]
    best = " and ".join(format_number(side.found["1pct"]) for side in sides.values())
    one, several = COUNTED_TARGETS[target]
    return f"Of {known:,} known {one if known == 1 else several}, {', '.join(ranked)} ({CAPACITY_NAMES['1pct']}: {best})."


@dataclass(frozen=True)
class Evaluation:
    """Metrics and tables of a score on one period.

    Attributes
    ----------
    metrics : dict
        Name, as `precision_at_1pct` or `channel:postal/roc_auc`, to its estimate.
    counts : FindCounts
    capacity, calibration, slices : list of dict
        Tables of the same columns in every run.
    resampled : dict
        Name to the metric of the data and then of each resample; without slices. Two evaluations of the same traffic
        with the same seed use the same resampled days.
    """

    metrics: dict[str, Estimate]
    counts: FindCounts
    capacity: list[dict[str, float | str]]
    calibration: list[dict[str, float | str]]
    slices: list[dict[str, float | str]]
    resampled: dict[str, Floats]

    def __getitem__(self, name: str) -> Estimate:
        if name not in self.metrics:
            raise UnknownName.from_candidates(name, self.metrics, kind="metric")
        return self.metrics[name]

    def flatten_metrics(self, prefix: str) -> dict[str, float]:
        """Return the metrics under their logged names, `PREFIX/name` with `_low` and `_high`; unknown ones are left out."""
        named = {
            f"{prefix}/{name}{end}": value
            for name, estimate in self.metrics.items()
            for end, value in (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high))
        }
        return {name: value for name, value in named.items() if np.isfinite(value)}


def evaluate(traffic: ScoredPeriod, config: EvaluationConfig) -> Evaluation:
    """Evaluate a score on the traffic of a period.

    Parameters
    ----------
    traffic : ScoredPeriod
    config : EvaluationConfig

    Returns
    -------
    Evaluation
    """
    judge = _MetricEvaluator(traffic, config)
    everything = np.ones(len(traffic.score), dtype=bool)
    whole = judge.compute_metrics(everything) | judge.compute_at_capacity(everything, AT_CAPACITY)
    metrics, slices = dict(whole), []
    for kind, value, rows in judge.iterate_slices():
        found = judge.compute_metrics(rows)
        name = f"{kind}:{escape_metric_name(value)}"
        metrics |= {f"{name}/{metric}": found[metric] for metric in SLICE_METRICS}
        slices.append(judge.build_slice_row(kind, value, rows, found))
    return Evaluation(
        metrics={
            name: replace(judge.estimate(measured), is_share=name != CALIBRATION_RATIO)
            for name, measured in metrics.items()
        },
        counts=judge.count_finds(),
        capacity=judge.build_capacity_table(),
        calibration=judge.build_calibration_table(),
        slices=slices,
        resampled={name: measured.values for name, measured in whole.items()},
    )


def iterate_slices(traffic: ScoredPeriod, config: EvaluationConfig) -> Iterator[tuple[str, str, Bools]]:
    """Yield every slice that is large enough to evaluate, as kind, value and rows, largest first within its kind."""
    for kind, values in traffic.slices.items():
        codes, names = pd.factorize(values, sort=True)
        counts = np.bincount(codes[traffic.labelled], minlength=len(names))
        for code in np.argsort(-counts, kind="stable")[: config.largest_slices]:
            rows = codes == code
            if counts[code] >= config.smallest_slice and traffic.positive[rows].any():
                yield kind, str(names[code]), rows


def estimate_difference(one: Evaluation, other: Evaluation, metric: str) -> Estimate:
    """Compare two scores of the same traffic, paired by day.

    Parameters
    ----------
    one, other : Evaluation
        Of the same traffic, with the same settings.
    metric : str

    Returns
    -------
    Estimate
        Of `one` minus `other`.
    """
    if metric not in one.resampled:
        raise UnknownName.from_candidates(metric, one.resampled, kind="metric")
    gain = compute_interval(one.resampled[metric] - other.resampled[metric])
    counts, is_share = one.counts, one[metric].is_share
    return Support(counts.known, counts.effective, counts.largest).attach(gain, is_share=is_share)


def compute_capacity_curve(
    traffic: ScoredPeriod, shares: Floats, config: EvaluationConfig
) -> dict[str, list[Estimate]]:
    """Compute precision and recall over a range of capacities, for a plot.

    Parameters
    ----------
    traffic : ScoredPeriod
    shares : float64 array
        Shares of all traffic, 0 to 1, in rising order.
    config : EvaluationConfig

    Returns
    -------
    dict
        `precision` and `recall`, one estimate for each share.
    """
    judge = _MetricEvaluator(traffic, config)
    everything = np.ones(len(traffic.score), dtype=bool)
    ranked = judge.ranked
    cuts = [ranked.ranking.cut(ranked.draws, share) for share in shares]
    points = judge.compute_at_cuts(everything, cuts)
    return {name: [judge.estimate(point[name]) for point in points] for name in ("precision", "recall")}


def escape_metric_name(value: str) -> str:
    """Replace the characters of a slice's value that MLflow does not allow in metric names.

    Examples
    --------
    >>> escape_metric_name("Zürich"), escape_metric_name("")
    ('Z_rich', 'missing')
    """
    return re.sub(r"[^A-Za-z0-9_. -]", "_", value) or "missing"


class RankedTraffic:
    """Traffic ranked once, with resamples of its days, and what lies above each capacity.

    Attributes
    ----------
    ranking : DailyRanking
    draws : float64 array, (1 + resamples, days)
    cuts : dict
        Name of a share of all traffic to its cut.
    above : dict
        Name of a capacity, the shares and `AT_CAPACITY`, to a function that sums a value above its cut.
    """

    def __init__(self, traffic: ScoredPeriod, config: EvaluationConfig) -> None:
        self.ranking = DailyRanking(traffic.score, traffic.day, traffic.traffic)
        self.draws = draw_days(len(self.ranking.days), config.resamples, config.seed)
        self.cuts = {name: self.ranking.cut(self.draws, share) for name, share in SHARES.items()}
        cell = index_office_days(traffic.office, traffic.day)
        capacity = compute_daily_capacity(traffic, config)
        taken = select_at_capacity(self.ranking.group, cell, capacity, traffic.traffic)
        self.above = {name: self.build_sum_above(cut) for name, cut in self.cuts.items()}
        self.above[AT_CAPACITY] = lambda values: self.sum_all(taken * values)

    @property
    def days(self) -> int:
        """Number of days."""
        return len(self.ranking.days)

    def build_sum_above(self, cut: RankCutoff) -> SumAbove:
        """Build the function that sums a value above a cut."""
        return lambda values: self.ranking.sum_above(self.draws, values, cut)

    def sum_all(self, values: Floats) -> Floats:
        """Sum a value over everything; (n,) gives (1 + resamples,)."""
        summed: Floats = self.draws @ self.ranking.sum_by_day(values)
        return summed

    def sum_both_sides(self, above: SumAbove, values: Sums) -> tuple[Sums, Sums]:
        """Sum values above a cut and below it."""
        top = {name: above(value) for name, value in values.items()}
        return top, {name: self.sum_all(value) - top[name] for name, value in values.items()}

    def sum_sides_of_cuts(self, cuts: Sequence[RankCutoff], values: Sums) -> list[tuple[Sums, Sums]]:
        """Sum values above and below each of some cuts; the cuts share their running sums."""
        running = {name: self.ranking.compute_running_sums(value) for name, value in values.items()}
        whole = {name: self.sum_all(value) for name, value in values.items()}
        tops = [
            {name: self.ranking.add_up_above(self.draws, each, cut) for name, each in running.items()}
            for cut in cuts
        ]
        return [(top, {name: whole[name] - top[name] for name in values}) for top in tops]


def _build_point(top: Sums, rest: Sums) -> dict[str, ResampledMetric]:
    """Compute precision, recall and labelled share from the sums of both sides of a cut."""
    labelled_share = ResampledMetric(divide(top["labelled"], top["traffic"]))
    return compute_precision_recall(top, rest) | {"labelled_share": labelled_share}


class _MetricEvaluator:
    """Metrics of ranked traffic with its labels; every metric is an array over resamples, the data first."""

    def __init__(self, traffic: ScoredPeriod, config: EvaluationConfig) -> None:
        self.traffic, self.config = traffic, config
        self.weight, self.sure = traffic.weights, traffic.sure
        self.probability = np.nan_to_num(
            traffic.score if traffic.probability is None else traffic.probability
        )
        self.ranked = RankedTraffic(traffic, config)
        self.ranking, self.draws = self.ranked.ranking, self.ranked.draws
        self.bins = self._assign_calibration_bins()
        self.support = Support.from_weights(self.weight[traffic.labelled & traffic.positive])

    def estimate(self, measured: ResampledMetric) -> Estimate:
        """Compute an estimate from the values of data and resamples."""
        return self.support.attach(measured.estimate(self.ranked.days))

    def count_finds(self) -> FindCounts:
        """Count the known finds of the data within each capacity."""
        finds = (self.traffic.traffic * (self.traffic.labelled & self.traffic.positive)).astype(np.float64)
        found = {name: float(above(finds)[0]) for name, above in self.ranked.above.items()}
        return FindCounts(round(float(finds.sum())), found, self.support.effective, self.support.largest)

    def compute_metrics(self, rows: Bools) -> dict[str, ResampledMetric]:
        """Compute every metric over some of the rows; the cuts are those of all traffic."""
        weight = np.where(rows, self.weight, 0.0)
        metrics = {
            "roc_auc": ResampledMetric(
                compute_roc_auc(self.ranking, self.draws, self.traffic.positive, weight)
            ),
            "average_precision": ResampledMetric(
                compute_average_precision(self.ranking, self.draws, self.traffic.positive, weight)
            ),
            "calibration_error": ResampledMetric(self.compute_calibration_error(rows)),
            CALIBRATION_RATIO: ResampledMetric(self.compute_calibration_ratio(rows)),
        }
        for name, found in zip(SHARES, self.compute_at_shares(rows), strict=True):
            metrics |= {f"{what}_at_{name}": measured for what, measured in found.items()}
        return metrics

    def compute_at_shares(self, rows: Bools) -> list[dict[str, ResampledMetric]]:
        """Compute precision, recall and labelled share of some rows at each of the `SHARES`; recall never falls."""
        return self.compute_at_cuts(rows, [self.ranked.cuts[name] for name in SHARES])

    def compute_at_cuts(self, rows: Bools, cuts: Sequence[RankCutoff]) -> list[dict[str, ResampledMetric]]:
        """Compute the same above each of some cuts, in the order of rising capacity."""
        sides = self.ranked.sum_sides_of_cuts(cuts, self._build_row_values(rows))
        points = [_build_point(top, rest) for top, rest in sides]
        recalls = make_monotone([point["recall"] for point in points])
        return [point | {"recall": recall} for point, recall in zip(points, recalls, strict=True)]

    def compute_at_capacity(self, rows: Bools, name: str) -> dict[str, ResampledMetric]:
        """Compute precision, recall and labelled share of some rows at a capacity, as `precision_at_1pct`."""
        values = self._build_row_values(rows)
        found = _build_point(*self.ranked.sum_both_sides(self.ranked.above[name], values))
        return {f"{what}_at_{name}": measured for what, measured in found.items()}

    def _build_row_values(self, rows: Bools) -> dict[str, Floats]:
        """Build the values of some rows that are summed on each side of a cut."""
        within = rows * self.traffic.traffic
        values = build_row_values(self.weight, self.sure, self.traffic.positive, within)
        return values | {"labelled": within * self.traffic.labelled}

    def compute_calibration_error(self, rows: Bools) -> Floats:
        """Compute the mean gap between score and observed rate, over bins of the score, weighted by traffic."""
        traffic, known, hits, scores = self._sum_by_bin(rows)
        gap = np.abs(hits - scores) / np.where(known > 0, known, 1.0)
        counted = np.where(known > 0, traffic, 0.0)
        total = counted.sum(axis=1)
        error: Floats = np.where(total > 0, (gap * counted).sum(axis=1) / np.maximum(total, 1e-300), np.nan)
        return error

    def compute_calibration_ratio(self, rows: Bools) -> Floats:
        """Compute predicted over observed positives, both over all traffic of the bins that have a probability."""
        if self.traffic.probability is not None:
            rows = rows & np.isfinite(self.traffic.probability)
        traffic, known, hits, scores = self._sum_by_bin(rows)
        stands_for = divide(traffic, known)
        return divide(np.nansum(scores * stands_for, axis=1), np.nansum(hits * stands_for, axis=1))

    def iterate_slices(self) -> Iterator[tuple[str, str, Bools]]:
        """Iterate over the slices that are large enough to evaluate, largest first within their kind."""
        return iterate_slices(self.traffic, self.config)

    def build_slice_row(
        self, kind: str, value: str, rows: Bools, found: dict[str, ResampledMetric]
    ) -> dict[str, float | str]:
        """Build one row of the table of slices."""
        row: dict[str, float | str] = {
            "kind": kind,
            "value": value or "missing",
            "consignments": round(float(self.traffic.traffic[rows].sum())),
            "labelled": int((rows & self.traffic.labelled).sum()),
            "positive": int((rows & self.traffic.positive).sum()),
        }
        for name, measured in found.items():
            estimate = self.estimate(measured)
            row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        return row

    def build_capacity_table(self) -> list[dict[str, float | str]]:
        """Build for each capacity precision and recall with interval, bounds over ties, and the naive figures."""
        points = self.compute_at_shares(np.ones(len(self.weight), dtype=bool))
        return [
            self._build_capacity_row(name, cut, found)
            for (name, cut), found in zip(self.ranked.cuts.items(), points, strict=True)
        ]

    def build_calibration_table(self) -> list[dict[str, float | str]]:
        """Build for each bin of the score, highest first, the mean score and the observed rate of positives."""
        traffic, known, hits, scores = self._sum_by_bin(np.ones(len(self.bins), dtype=bool))
        rows: list[dict[str, float | str]] = []
        for place, until in enumerate(CALIBRATION_CUTS):
            present = known[:, place] > 0
            mine = (self.bins == place) & self.traffic.labelled
            rate = divide(hits[:, place], known[:, place])
            estimate = self.estimate(ResampledMetric(rate, compute_effective_sample_size(self.weight[mine])))
            rows.append(
                {
                    "traffic_until": until,
                    "consignments": round(float(traffic[0, place])),
                    "labelled": int(mine.sum()),
                    "positive": int((mine & self.traffic.positive).sum()),
                    "mean_score": float(scores[0, place] / known[0, place]) if present[0] else np.nan,
                    "rate": estimate.value,
                    "rate_low": estimate.low,
                    "rate_high": estimate.high,
                }
            )
        return rows

    def _build_capacity_row(
        self, name: str, cut: RankCutoff, found: dict[str, ResampledMetric]
    ) -> dict[str, float | str]:
        precision, recall = self.estimate(found["precision"]), self.estimate(found["recall"])
        worst, best = self._compute_tie_bounds(cut)
        labelled = self.traffic.traffic * self.traffic.labelled
        naive_known = self.ranking.sum_above(self.draws, labelled, cut)[0]
        naive_hits = self.ranking.sum_above(self.draws, labelled * self.traffic.positive, cut)[0]
        positives = float((labelled * self.traffic.positive).sum())
        return {
            "capacity": name,
            "consignments": int(cut.size[0]),
            "precision": precision.value,
            "precision_low": precision.low,
            "precision_high": precision.high,
            "precision_worst_ties": worst,
            "precision_best_ties": best,
            "hits_per_1000": 1000 * precision.value,
            "recall": recall.value,
            "recall_low": recall.low,
            "recall_high": recall.high,
            "labelled_share": float(found["labelled_share"].values[0]),
            "known_finds": float(naive_hits),
            "precision_at_least": float(naive_hits / cut.size[0]),
            "naive_precision": float(naive_hits / naive_known) if naive_known else np.nan,
            "naive_recall": float(naive_hits / positives) if positives else np.nan,
        }

    def _compute_tie_bounds(self, cut: RankCutoff) -> tuple[float, float]:
        """Compute precision if the negatives, or the positives, of the group at the cut are taken first."""
        known, known_at = self._sum_above_and_at(self.weight, cut)
        hits, hits_at = self._sum_above_and_at(self.weight * self.traffic.positive, cut)
        room = float(cut.part[0]) * known_at
        if known + room <= 0:
            return np.nan, np.nan
        worst = hits + max(0.0, room - (known_at - hits_at))
        best = hits + min(room, hits_at)
        return worst / (known + room), best / (known + room)

    def _sum_above_and_at(self, values: Floats, cut: RankCutoff) -> tuple[float, float]:
        above, at = self.ranking.sum_above_and_at(self.draws, self.ranking.compute_running_sums(values), cut)
        return float(above[0]), float(at[0])

    def _assign_calibration_bins(self) -> NDArray[np.int64]:
        """Assign a bin to each row; rows of equal score share one."""
        counts = np.bincount(self.ranking.group, self.traffic.traffic)
        before = (np.cumsum(counts) - counts)[self.ranking.group] / counts.sum()
        bins: NDArray[np.int64] = np.searchsorted(np.array(CALIBRATION_CUTS), before, side="right")
        return bins

    def _sum_by_bin(self, rows: Bools) -> tuple[Floats, Floats, Floats, Floats]:
        """Sum traffic, known weight, hits and scores in each bin, (resamples, bins) each."""
        weight = np.where(rows, self.weight, 0.0)
        days, bins = len(self.ranking.days), len(CALIBRATION_CUTS)
        cell = self.ranking.day * bins + self.bins

        def summed(values: Floats) -> Floats:
            sums: Floats = self.draws @ np.bincount(cell, values, days * bins).reshape(days, bins)
            return sums

        return (
            summed(rows * self.traffic.traffic),
            summed(weight),
            summed(weight * self.traffic.positive),
            summed(weight * self.probability),
        )
