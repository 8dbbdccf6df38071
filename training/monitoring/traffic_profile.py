"""Traffic profile of a period: builds `models.traffic_profile.ReferenceProfile` from scored consignments."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.records import get_fields
from consignments.timestamps import US_PER_DAY, get_time_column_us, to_datetime
from features.config import FeatureConfig
from features.spec import Feature, Spec
from models.arrays import Bools, Floats, Ints, Rows, Texts
from models.formats import round_significant
from models.reasons.usual import compute_usual
from models.traffic_profile import ReferenceProfile, SourceActivity
from training.evaluation.traffic import extract_texts, index_office_days, select_at_capacity

CHANNEL, OFFICE = "channel", "office"
MIX = (
    *("channel", "service", "nature", "office", "carrier", "declarant"),
    *("departure_country", "destination_country", "origin_country", "currency", "payment"),
)
"""Columns whose mix is monitored: codes of trade and carriage, none of a person's data."""
SOURCES = ("channel", "office", "carrier")
MAX_VALUES = 200  # maximum distinct values of a column, the most frequent; the others are counted together
OTHERS = "(others)"
MAX_DISTINCT_VALUES = 10  # with more values a feature has ten bins of equal counts, else one for each
MAX_SEPARATE_CODES = 9
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
COUNT_FIELDS = ("channels", "features", "scores", "mix", "missing", "sources")
MIN_SIZE_VALUES = 100  # minimum positive values for which quantiles are kept


@dataclass(frozen=True)
class ScoredTraffic:
    """Consignments of a period with their features and probabilities; each stands for so many of the traffic."""

    frame: pd.DataFrame
    X: Rows
    spec: Spec
    score: Floats
    config: FeatureConfig
    stands_for: float = 1.0

    @property
    def day(self) -> Ints:
        """UTC day of each arrival, since 1970."""
        return get_time_column_us(self.frame, "received_at") // US_PER_DAY

    def extract_texts(self, column: str) -> Texts:
        """Return a column of codes; '' if a value or the column is missing."""
        return extract_texts(self.frame, column)

    def group_by_part(self) -> dict[str, Bools]:
        """Return the members of each channel and office, by keys such as `channel:postal`."""
        return {
            f"{column}:{value}": codes == value
            for column in (CHANNEL, OFFICE)
            for codes in [self.extract_texts(column)]
            for value in sorted(set(codes) - {""})
        }

    def select_at_capacity(self, capacity: int) -> Floats:
        """Compute the share of each consignment that is selected at the daily capacity of each office."""
        _, group = np.unique(-self.score, return_inverse=True)
        cell = index_office_days(self.extract_texts(OFFICE), self.day)
        return select_at_capacity(group, cell, capacity / self.stands_for)


def build_traffic_profile(
    seen: ScoredTraffic, capacity: int, like: ReferenceProfile | None = None
) -> ReferenceProfile:
    """Build the profile of traffic at a daily capacity of each office, with the edges of another profile or its own."""
    channel, first, last = seen.extract_texts(CHANNEL), int(seen.day.min()), int(seen.day.max())
    members = {str(name): channel == name for name in sorted(set(channel))}
    columns = np.ascontiguousarray(seen.X.T)
    parts = {name: columns[:, mine] for name, mine in members.items()}
    edges = like.edges if like else list(map(compute_bin_edges, seen.spec, columns))
    score_edges = like.score_edges if like else _compute_deciles(seen.score)
    taken = seen.select_at_capacity(capacity)
    sources = {
        column: {value: codes == value for value in count_values(codes) if value not in ("", OTHERS)}
        for column in SOURCES
        for codes in [seen.extract_texts(column)]
    }

    def describe_activity(days: Ints) -> SourceActivity:
        return SourceActivity(count_lasting(days, first, last), find_longest_silence(days, first, last))

    return ReferenceProfile(
        first_day=to_datetime(first * US_PER_DAY).date().isoformat(),
        days=last - first + 1,
        capacity=capacity,
        expected_precision=round_significant(float((taken * seen.score).sum() / taken.sum())),
        channels={name: int(mine.sum()) for name, mine in members.items()},
        edges=edges,
        features={
            name: [_count_bins(values, cuts, 2) for values, cuts in zip(part, edges, strict=True)]
            for name, part in parts.items()
        },
        means={name: _summarize_known(part, np.mean) for name, part in parts.items()},
        spreads={name: _summarize_known(part, np.std) for name, part in parts.items()},
        score_edges=score_edges,
        scores={
            name: _count_bins(seen.score[mine], score_edges, 1) for name, mine in seen.group_by_part().items()
        },
        mix={column: count_values(seen.extract_texts(column)) for column in MIX},
        missing={name: _count_missing(seen, mine) for name, mine in members.items()},
        sizes={
            f"{column}:{value}": sizes
            for column, found in sources.items()
            for value, mine in found.items()
            if (sizes := _compute_quantiles(seen, mine))
        },
        sources={
            column: {value: describe_activity(seen.day[mine]) for value, mine in found.items()}
            for column, found in sources.items()
        },
        usual={} if like else compute_usual(seen.spec, seen.X),
    )


def multiply_counts(profile: ReferenceProfile, factor: float) -> ReferenceProfile:
    """Return the profile of the traffic that a uniform sample stands for, `factor` times as large."""

    def multiply(counted: Any) -> Any:
        if isinstance(counted, dict):
            return {name: multiply(each) for name, each in counted.items()}
        if isinstance(counted, list):
            return [multiply(each) for each in counted]
        if isinstance(counted, SourceActivity):
            return msgspec.structs.replace(counted, arrivals=multiply(counted.arrivals))
        return round(counted * factor)

    counts = {name: multiply(getattr(profile, name)) for name in COUNT_FIELDS}
    return msgspec.structs.replace(profile, **counts)


def compute_bin_edges(feature: Feature, values: Rows) -> list[float]:
    """Compute the bin edges of a feature: one bin for each code or each of few values, else bins of equal counts."""
    if feature.unit == "code":
        return [code + 0.5 for code in range(MAX_SEPARATE_CODES + 1)]
    distinct = np.unique(values[np.isfinite(values)])
    if feature.unit == "flag" or not len(distinct):
        return [0.5]
    if len(distinct) > MAX_DISTINCT_VALUES:
        return _compute_deciles(values[np.isfinite(values)])
    above = np.nextafter(distinct[-1:], np.float32(np.inf), dtype=np.float32)
    between = (distinct[1:] + distinct[:-1]) / 2
    return [float(edge) for edge in np.concatenate([distinct[:1], between, above])]


def assign_bins(values: NDArray[np.floating], edges: list[float]) -> Ints:
    """Assign each value to its bin; a missing value comes after all bins."""
    place: Ints = np.searchsorted(np.array(edges), values.astype(np.float64), side="right")
    return np.where(np.isnan(values), len(edges) + 1, place)


def count_values(values: Texts) -> dict[str, int]:
    """Count the values of a column, the most frequent first, the others together."""
    counts = pd.Series(values).value_counts()
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kept = {str(value): int(count) for value, count in ranked[:MAX_VALUES]}
    rest = sum(count for _, count in ranked[MAX_VALUES:])
    return kept | ({OTHERS: int(rest)} if rest else {})


def count_lasting(days: Ints, first: int, last: int) -> int:
    """Count arrivals as if the period had been like its quieter half: those of a wave that ended in it are not expected again."""
    if first == last:
        return len(days)
    middle = (first + last) // 2
    early = int((days <= middle).sum())
    paces = early / (middle - first + 1), (len(days) - early) / (last - middle)
    return round((last - first + 1) * min(paces))


def find_longest_silence(days: Ints, first: int, last: int) -> int:
    """Compute the maximum number of consecutive days, from first to last, that are not in `days`."""
    heard = np.unique(days)
    return int(np.diff(np.concatenate([[first - 1], heard, [last + 1]])).max() - 1)


def _compute_deciles(values: NDArray[np.floating]) -> list[float]:
    cuts = np.quantile(values.astype(np.float64), np.arange(1, 10) / 10)
    return [float(edge) for edge in np.unique(cuts)]


def _count_bins(values: NDArray[np.floating], edges: list[float], more: int) -> list[int]:
    counted: list[int] = np.bincount(assign_bins(values, edges), minlength=len(edges) + more).tolist()
    return counted


def _summarize_known(columns: Rows, summarize: Callable[[Any], Any]) -> list[float | None]:
    """Summarize the known values of each feature; columns are (features, n), so that each is contiguous."""
    known = (column[np.isfinite(column)].astype(np.float64) for column in columns)
    return [round_significant(float(summarize(values))) if len(values) else None for values in known]


def _count_missing(seen: ScoredTraffic, mine: Bools) -> dict[str, int]:
    fields = get_fields(seen.config.build_record_type())
    names = [field.name for field in fields if field.name != "cancelled_at"]
    lacking = seen.frame.reindex(columns=names)[mine].isna().sum()
    return dict(zip(names, map(int, lacking), strict=True))


def _compute_quantiles(seen: ScoredTraffic, mine: Bools) -> dict[str, list[float]]:
    found = {}
    for field in get_fields(seen.config.build_record_type()):
        if field.kind != "number" or field.name not in seen.frame:
            continue
        values = seen.frame.loc[mine, field.name].to_numpy(dtype=np.float64, na_value=np.nan)
        values = values[np.isfinite(values) & (values > 0)]
        if len(values) >= MIN_SIZE_VALUES:
            found[field.name] = [round_significant(value) for value in np.quantile(values, QUANTILES)]
    return found
