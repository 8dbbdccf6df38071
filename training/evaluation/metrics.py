"""Metrics of a score at the inspection capacity of an operation: what was counted, then estimates with 95 % intervals."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from consignments.errors import UnknownName
from consignments.records import Target
from consignments.timestamps import US_PER_DAY, to_datetime
from models.arrays import Bools, Floats, Ints, Row
from models.formats import format_number
from training.config import EvaluationConfig
from training.data.splits import ArrivalWindow
from training.evaluation.estimate import Estimate, attach_finds
from training.evaluation.estimators import FindCounts, KnownFinds, RankedTraffic
from training.evaluation.traffic import AT_CAPACITY, SHARES, ScoredPeriod, compute_daily_capacity

PRIMARY_MEASURE = "recall_averaged"  # the measure that decides whether a model is better
CALIBRATION_RATIO = "calibration_ratio"
RANKING_METRICS = (
    PRIMARY_MEASURE,
    "roc_auc",
    "average_precision",
    *(f"{name}_at_{each}" for each in (*SHARES, AT_CAPACITY) for name in ("precision", "recall")),
)
LOGGED_METRICS = (*RANKING_METRICS, CALIBRATION_RATIO)
METRIC_TITLES = {
    "recall_averaged": "Recall, averaged over capacities of 0.2 to 5 % of traffic",
    "roc_auc": "Area under the ROC curve",
    "average_precision": "Average precision",
    **{f"precision_at_{name}": f"Precision at {name.replace('pct', ' %')} of traffic" for name in SHARES},
    **{f"recall_at_{name}": f"Recall at {name.replace('pct', ' %')} of traffic" for name in SHARES},
    "precision_at_capacity": "Precision at the daily capacity of each office",
    "recall_at_capacity": "Recall at the daily capacity of each office",
    "calibration_ratio": "Calibration ratio: predicted over observed positives of all traffic",
}
AREA_METRICS = frozenset({"roc_auc", "average_precision", "calibration_ratio"})
SLICE_METRICS = ("recall_at_1pct", "precision_at_1pct", "roc_auc", CALIBRATION_RATIO)
SLICE_MEASURE = "roc_auc"
SLICE_COLUMNS = (
    *("kind", "value", "consignments", "labelled", "positive"),
    *("a", "b", "difference", "low", "high", "shown"),
)
"""Columns of the slices of a pair: counts, both areas under the ROC curve, their difference with its interval, 1 if it may be shown."""
CALIBRATION_CUTS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)  # bins, as shares of traffic
COUNTED_TARGETS: dict[Target, tuple[str, str]] = {
    "nps": ("NPS", "NPS"),
    "controlled_drug": ("controlled drug", "controlled drugs"),
    "any_offence": ("offence", "offences"),
}
"""Names of what is counted: of one, and of several."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics and tables of a score on the arrivals of a period; `calibrated` are those whose scores are probabilities, None without any."""

    arrivals: ArrivalWindow
    calibrated: ArrivalWindow | None
    daily_capacity: int
    metrics: dict[str, Estimate]
    counts: FindCounts
    finds: KnownFinds
    capacity: list[Row]
    calibration: list[Row]
    slices: list[Row]

    def __getitem__(self, name: str) -> Estimate:
        if name not in self.metrics:
            raise UnknownName.from_candidates(name, self.metrics, kind="metric")
        return self.metrics[name]

    @property
    def is_partly_calibrated(self) -> bool:
        """True if only the scores of some weeks are probabilities."""
        return self.calibrated not in (None, self.arrivals)

    def describe_calibrated(self) -> str:
        """Describe the arrivals on which the calibration is measured; none of the others could be calibrated."""
        window = self.calibrated or self.arrivals
        if not self.is_partly_calibrated:
            return window.describe()
        part, whole = (format_number(round(each.count_days() / 7, 1)) for each in (window, self.arrivals))
        return f"{window.describe()} ({part} of the {whole} weeks; the others could not be calibrated)"

    def list_metrics(self, prefix: str, names: Sequence[str] = LOGGED_METRICS) -> dict[str, float | None]:
        """List the counts and the metrics, `PREFIX/METRIC` with `_low` and `_high`; None for what may not be shown."""
        named = {
            f"{prefix}/{name}{end}": value if self[name].is_shown else None
            for name in names
            for end, value in self[name].list_ends()
        }
        counted = {f"{prefix}/found_at_{name}": found for name, found in self.counts.found.items()}
        return {**named, **counted, f"{prefix}/effective_results": self.counts.effective}


def describe_counts(sides: Mapping[str, Evaluation], target: Target) -> str:
    """Return the counted finds in words, with the arrivals and the capacity that they belong to, before any estimate."""
    first = next(iter(sides.values()))
    counts = [side.counts for side in sides.values()]
    found = [[round(each.found[place], 1) for place in (AT_CAPACITY, "1pct")] for each in counts]
    capacity = f" within the capacity of {first.daily_capacity} a day in each office"
    ranked = [
        f"{name} {'rank' if name.endswith('rules') else 'ranks'} {format_number(at_capacity)}{'' if place else capacity}"
        for place, (name, (at_capacity, _)) in enumerate(zip(sides, found, strict=True))
    ]
    *most, last = [format_number(top) for _, top in found]
    best = f"{', '.join(most)} and {last}" if most else last
    known, (one, several) = first.counts.known, COUNTED_TARGETS[target]
    counted = f"Of {known:,} known {one if known == 1 else several} among {first.arrivals.describe()}"
    tied = any(each % 1 for pair in found for each in pair)
    equal = " Finds with equal scores share the last places." if tied else ""
    lists = " Capacity is a list for each office and day, the top 1 % one list of all arrivals."
    differs = lists if any(at_capacity < top for at_capacity, top in found) else ""
    return f"{counted}, {', '.join(ranked)} (top 1 %: {best}).{differs}{equal}"


def evaluate(traffic: ScoredPeriod, config: EvaluationConfig) -> Evaluation:
    """Evaluate a score on the traffic of a period."""
    ranked, capacity = RankedTraffic(traffic), compute_daily_capacity(traffic, config)
    within = ranked.select_at_capacities(capacity)
    finds = KnownFinds.locate(ranked, within)
    known = np.isfinite(traffic.probabilities)
    return Evaluation(
        arrivals=_find_window(traffic.day),
        calibrated=_find_window(traffic.day[known]) if known.any() else None,
        daily_capacity=capacity,
        metrics=finds.estimate_measures() | {CALIBRATION_RATIO: _estimate_calibration(traffic, finds)},
        counts=finds.count(),
        finds=finds,
        capacity=_build_capacity_table(ranked, finds),
        calibration=_build_calibration_table(ranked, finds),
        slices=[
            _build_slice_row(kind, value, rows, traffic, KnownFinds.locate(ranked, within, rows))
            for kind, value, rows in iterate_slices(traffic, config)
        ],
    )


def _find_window(days: Ints) -> ArrivalWindow:
    first, last = (int(day) * US_PER_DAY for day in (days.min(), days.max() + 1))
    return ArrivalWindow(to_datetime(first), to_datetime(last))


def estimate_difference(one: Evaluation, other: Evaluation, metric: str) -> Estimate:
    """Compare two scores of the same traffic on the same finds: `one` minus `other` in a metric of ranking."""
    if metric not in RANKING_METRICS:
        raise UnknownName.from_candidates(metric, RANKING_METRICS, kind="metric")
    return other.finds.estimate_gain(one.finds, metric)


def compute_capacity_curve(traffic: ScoredPeriod, shares: Floats) -> dict[str, list[Estimate]]:
    """Compute `precision` and `recall` at rising shares of all traffic, for a plot."""
    ranked = RankedTraffic(traffic)
    within = {str(share): ranked.select_within(share) for share in shares}
    found = KnownFinds.locate(ranked, within).estimate_measures()
    return {name: [found[f"{name}_at_{share}"] for share in within] for name in ("precision", "recall")}


def iterate_slices(traffic: ScoredPeriod, config: EvaluationConfig) -> Iterator[tuple[str, str, Bools]]:
    """Yield every slice that is large enough to evaluate, as kind, value and rows, largest first within its kind."""
    for kind, values in traffic.slices.items():
        codes, names = pd.factorize(values, sort=True)
        counts = np.bincount(codes[traffic.labelled], minlength=len(names))
        for code in np.argsort(-counts, kind="stable")[: config.largest_slices]:
            rows = codes == code
            if counts[code] >= config.smallest_slice and traffic.positive[rows].any():
                yield kind, str(names[code]), rows


def _estimate_calibration(traffic: ScoredPeriod, finds: KnownFinds, rows: Bools | None = None) -> Estimate:
    known = np.isfinite(traffic.probabilities) & (True if rows is None else rows)
    predicted = float(traffic.probabilities[known] @ traffic.traffic[known])
    at = traffic.labelled & traffic.positive & (True if rows is None else rows)
    mine, ratio = known[at], Estimate()
    if predicted > 0 and mine.any():
        count = float(traffic.traffic[known].sum())
        rate, share = finds.estimate_precision(mine.astype(np.float64), count), predicted / count
        ratio = Estimate(share / rate.value, share / rate.high, share / rate.low)
    return attach_finds(ratio, finds.weight[mine], is_share=False)


def _build_capacity_table(ranked: RankedTraffic, finds: KnownFinds) -> list[Row]:
    """Build for each share of the traffic what was counted, with bounds over ties, and precision and recall with interval."""
    traffic = ranked.period
    labelled = traffic.traffic * traffic.labelled
    hits = labelled * traffic.positive
    measures = finds.estimate_measures()
    rows: list[Row] = []
    for name, share in SHARES.items():
        part, size = ranked.select_within(share), ranked.count_within(share)
        found, known = float(part @ hits), float(part @ labelled)
        tied = (part > 0) & (part < 1)
        room, above = float(part[tied] @ traffic.traffic[tied]), float(hits[part == 1].sum())
        misses = float((traffic.traffic - hits)[tied].sum())
        row: Row = {"capacity": name, "consignments": int(size), "labelled_share": known / size}
        row |= {"known_finds": found, "known_finds_worst_ties": above + max(0.0, room - misses)}
        row |= {"known_finds_best_ties": above + min(room, float(hits[tied].sum()))}
        row |= {"precision_at_least": found / size, "naive_precision": found / known if known else np.nan}
        row |= {"naive_recall": found / float(hits.sum()) if hits.any() else np.nan}
        for measure in ("precision", "recall"):
            row |= measures[f"{measure}_at_{name}"].to_columns(measure)
        rows.append(row)
    return rows


def _build_calibration_table(ranked: RankedTraffic, finds: KnownFinds) -> list[Row]:
    """Build for each bin of the score, highest first, the mean probability and the observed rate of positives."""
    traffic, first = ranked.period, ranked.through / ranked.total
    known = np.isfinite(traffic.probabilities)
    bins = np.minimum(np.searchsorted(CALIBRATION_CUTS, first, side="left"), len(CALIBRATION_CUTS) - 1)
    at = traffic.labelled & traffic.positive
    carried, rows = finds.weight[known[at]], list[Row]()
    for place, until in enumerate(CALIBRATION_CUTS):
        mine = (bins == place) & known
        count = float(traffic.traffic[mine].sum())
        rate = finds.estimate_precision(mine[at].astype(np.float64), count)
        row: Row = {"traffic_until": until, "consignments": round(count)}
        row |= {"labelled": int((mine & traffic.labelled).sum()), "positive": int((mine & at).sum())}
        total = float(traffic.probabilities[mine] @ traffic.traffic[mine])
        row |= {"mean_score": total / count if count else np.nan}
        rows.append(row | attach_finds(rate, carried).to_columns("rate"))
    return rows


def _build_slice_row(kind: str, value: str, rows: Bools, traffic: ScoredPeriod, finds: KnownFinds) -> Row:
    measures = finds.estimate_measures() | {CALIBRATION_RATIO: _estimate_calibration(traffic, finds, rows)}
    arrived, labelled = round(float(traffic.traffic[rows].sum())), int((rows & traffic.labelled).sum())
    row: Row = {"kind": kind, "value": value or "missing", "consignments": arrived, "labelled": labelled}
    row |= {"positive": int((rows & traffic.positive).sum()), "found_at_1pct": finds.count().found["1pct"]}
    for name in SLICE_METRICS:
        row |= measures[name].to_columns(name)
    reasons = filter(None, (measures[name].explain_missing() for name in SLICE_METRICS))
    return row | {"why": next(reasons, "")}


@dataclass(frozen=True)
class PairedEvaluation:
    """Two scores of the same traffic: their evaluations, the difference `b` minus `a` in each metric, and within each slice."""

    a: Evaluation
    b: Evaluation
    gains: dict[str, Estimate]
    slices: list[Row]


def evaluate_pair(
    a: ScoredPeriod, b_scores: Floats, config: EvaluationConfig, b_probability: Floats | None = None
) -> PairedEvaluation:
    """Evaluate two scores of the same traffic; `b_probability` are the probabilities of the second if it is a rank."""
    whole = replace(a, slices={})
    one, other = evaluate(whole, config), evaluate(whole.replace_score(b_scores, b_probability), config)
    gains = {name: estimate_difference(other, one, name) for name in RANKING_METRICS}
    return PairedEvaluation(one, other, gains, _compare_slices(a, b_scores, config))


def _compare_slices(traffic: ScoredPeriod, other: Floats, config: EvaluationConfig) -> list[Row]:
    found: list[Row] = []
    for kind, value, rows in iterate_slices(traffic, config):
        mine = traffic.select_rows(rows)
        sides = [RankedTraffic(each) for each in (mine, mine.replace_score(other[rows]))]
        one, two = (KnownFinds.locate(ranked, {}) for ranked in sides)
        gain = one.estimate_gain(two, SLICE_MEASURE)
        counts = {"consignments": round(float(mine.traffic.sum())), "positive": int(mine.positive.sum())}
        counts |= {"labelled": round(float(mine.traffic[mine.labelled].sum())), "shown": int(gain.is_shown)}
        areas = {"a": one.estimate_mean(SLICE_MEASURE).value, "b": two.estimate_mean(SLICE_MEASURE).value}
        ends = {"difference": gain.value, "low": gain.low, "high": gain.high}
        found.append({"kind": kind, "value": value or "missing", **counts, **areas, **ends})
    return found
