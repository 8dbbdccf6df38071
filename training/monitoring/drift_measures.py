"""Drift measures: changes of scores, features, mix, shares, sources, units and precision, as effect sizes.

The population stability index (PSI) of shares p and q over bins is the sum of (p - q) ln(p / q). Its bands (little below
0.1, much from 0.25 on) are a rule of thumb (Siddiqi, Credit Risk Scorecards, 2006). The value expected by chance,
(bins - 1) (1/n + 1/m), is subtracted (Yurdakul, Statistical Properties of Population Stability Index, 2018). Intervals
are from resampled whole days of the later traffic; the reference is treated as fixed.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.spec import Feature
from models.traffic_profile import MISSING_BIN, ReferenceProfile
from training.config import EvaluationConfig
from training.data.training_set import Labels, compute_inverse_propensity
from training.evaluation.estimate import Estimate, compute_interval, divide, draw_days
from training.monitoring.traffic_profile import (
    MIX,
    OTHERS,
    SOURCES,
    ScoredTraffic,
    assign_bins,
    find_longest_silence,
)

Floats = NDArray[np.float64]
Row = dict[str, float | str]
DriftTables = dict[str, list[Row]]

MODERATE_PSI, LARGE_PSI = 0.1, 0.25
"""Bands of the PSI: little below the first, much from the second on."""
SILENT_SHARE, MIN_EXPECTED_ARRIVALS = 0.05, 20
"""A source is silent if it sent less than this share of the expected number, or nothing while so many were expected."""
MAX_REGULAR_SILENCE_SHARE = 0.25
"""A source is regular if its longest gap in the reference was at most this share of it; only regular sources can be silent.
A wave of parcels that came and ended is not a failed source."""
MIN_UNIT_FACTOR, MAX_UNIT_SPREAD = 1.8, 1.35
"""A unit changed if all quantiles changed by one factor of at least this, within this factor of each other."""
UNIT_FACTORS = {
    "grams instead of kilograms": 1000.0,
    "minor units of a currency": 100.0,
    "ounces instead of kilograms": 35.274,
    "pounds instead of kilograms": 2.2046,
}
UNIT_SEPARATOR = " instead of "
UNIT_TOLERANCE = 1.25
MIN_ROWS = 100
"""Parts of the traffic with fewer consignments in either period are shown but not evaluated."""
SMOOTHING = 0.5
"""Added to every bin, so that an empty one has no infinite logarithm."""
CATEGORY_GROUP = "category"
"""Group of the features whose code 0 is a value unknown in training."""
WATCHED_KEYS = tuple(
    f"history.{key}.new" for key in ("sender", "sender_address", "consignee", "consignee_address", "account")
)
UNKNOWN_CODES, NEW_CODES, NEW_KEYS, MISSING_VALUES = "unknown codes", "new codes", "new keys", "missing"
"""Monitored shares: codes too rare in training to have a value of their own, codes not in the reference, senders and
other keys not in the history, and missing values."""
ALL_CHANNELS = "all"
UNKNOWN_ESTIMATE = Estimate(np.nan, np.nan, np.nan)


def compute_drift_tables(
    then: ReferenceProfile,
    now: ReferenceProfile,
    seen: ScoredTraffic,
    config: EvaluationConfig,
    labels: Labels | None,
) -> DriftTables:
    """Compute the tables that compare two profiles.

    Parameters
    ----------
    then : ReferenceProfile
    now : ReferenceProfile
        Profile of `seen`, with the edges of `then`.
    seen : ScoredTraffic
    config : EvaluationConfig
        Number of resamples of days.
    labels : Labels or None
        Of the same consignments as `seen`, for the observed precision.

    Returns
    -------
    dict
        `scores`, `features`, `mix`, `shares`, `sources`, `units`, `precision`; each has the same columns in every run.
    """
    days = DailyCounts(seen, config)
    return {
        "scores": _score_rows(then, seen, days),
        "features": _feature_rows(then, now, seen.spec.features),
        "mix": _mix_rows(then, seen, days),
        "shares": [*_new_code_rows(then, seen), *_share_rows(then, now, seen.spec.features)],
        "sources": list(_source_rows(then, now, seen)),
        "units": list(_unit_rows(then, now)),
        "precision": _precision_rows(then, seen, days, labels),
    }


def compute_psi(then: Sequence[int] | Floats, now: Floats) -> Floats:
    """Compute the PSI of counts, minus the value expected by chance, at least 0.

    Parameters
    ----------
    then : counts, (bins,)
    now : counts, (…, bins)

    Examples
    --------
    >>> compute_psi([500, 500], np.array([[500.0, 500.0], [900.0, 100.0]])).round(2).tolist()
    [0.0, 0.87]
    """
    old, new = np.asarray(then, dtype=np.float64), np.asarray(now, dtype=np.float64)
    p, q = _smooth(old), _smooth(new)
    by_chance = (len(old) - 1) * (1 / max(old.sum(), 1.0) + 1 / np.maximum(new.sum(axis=-1), 1.0))
    found: Floats = np.maximum(((q - p) * np.log(q / p)).sum(axis=-1) - by_chance, 0.0)
    return found


def compute_total_variation(then: Floats, now: Floats) -> Floats:
    """Compute half the sum of differences of shares, 0 to 1 (nothing in common); shapes as in `compute_psi`."""
    p, q = then / then.sum(), divide(now, np.broadcast_to(now.sum(axis=-1, keepdims=True), now.shape))
    found: Floats = 0.5 * np.abs(q - p).sum(axis=-1)
    return found


def classify_psi(psi: float) -> str:
    """Return the name of the band of a PSI."""
    return "little" if psi < MODERATE_PSI else ("some" if psi < LARGE_PSI else "much")


class DailyCounts:
    """Counts over the later traffic, with resampled whole days."""

    def __init__(self, seen: ScoredTraffic, config: EvaluationConfig) -> None:
        days, self._place = np.unique(seen.day, return_inverse=True)
        self._days = len(days)
        self.draws = draw_days(len(days), config.resamples, config.seed)

    def count_bins(
        self, values: NDArray[np.int64], bins: int, rows: NDArray[np.bool_] | None = None
    ) -> Floats:
        """Count bins in the data and in every resample: (1 + resamples, bins)."""
        mine = slice(None) if rows is None else rows
        cell = self._place[mine] * bins + values[mine]
        by_day = np.bincount(cell, minlength=self._days * bins).reshape(self._days, bins)
        counted: Floats = self.draws @ by_day.astype(np.float64)
        return counted

    def sum_values(self, values: Floats) -> Floats:
        """Sum a value of each row, for the data and each resample: (1 + resamples,)."""
        added: Floats = self.draws @ np.bincount(self._place, weights=values, minlength=self._days)
        return added


def _compute_distance_interval(values: Floats) -> Estimate:
    """Compute the interval of a distance, centred on its value, because resampling alone adds distance."""
    found = compute_interval(values)
    shift = found.value - float(values[1:].mean()) if len(values) > 1 else 0.0
    return Estimate(found.value, max(0.0, found.low + shift), found.high + shift)


def _score_rows(then: ReferenceProfile, seen: ScoredTraffic, days: DailyCounts) -> list[Row]:
    rows: list[Row] = []
    bins = assign_bins(seen.score, then.score_edges)
    members = seen.group_by_part()
    for part, counts in then.scores.items():
        mine = members.get(part, np.zeros(len(bins), dtype=bool))
        found = days.count_bins(bins, len(counts), mine)
        psi = _compute_distance_interval(compute_psi(counts, found)) if mine.any() else UNKNOWN_ESTIMATE
        rows.append(
            {
                "part": part,
                "then": sum(counts),
                "now": int(mine.sum()),
                "psi": psi.value,
                "psi_low": psi.low,
                "psi_high": psi.high,
                "band": classify_psi(psi.value) if np.isfinite(psi.value) else "",
                "judged": str(min(sum(counts), int(mine.sum())) >= MIN_ROWS).lower(),
            }
        )
    return rows


def _feature_rows(then: ReferenceProfile, now: ReferenceProfile, features: Sequence[Feature]) -> list[Row]:
    """Build a row for every feature by channel, those with the largest change first."""
    rows: list[Row] = []
    for channel in _list_common_channels(then, now):
        for place, feature in enumerate(features):
            old = np.array(then.features[channel][place], dtype=np.float64)
            new = np.array(now.features[channel][place], dtype=np.float64)
            mean, spread = then.means[channel][place], then.spreads[channel][place]
            later = now.means[channel][place]
            moved = np.nan if mean is None or later is None or not spread else (later - mean) / spread
            rows.append(
                {
                    "feature": feature.name,
                    "group": feature.group,
                    "channel": channel,
                    "psi": float(compute_psi(old, new)),
                    "total_variation": float(compute_total_variation(old, new)),
                    "mean_change_sd": float(moved),
                    "missing_then": float(old[MISSING_BIN] / old.sum()),
                    "missing_now": float(new[MISSING_BIN] / new.sum()),
                }
            )
    return sorted(rows, key=lambda row: (-float(row["psi"]), str(row["feature"]), str(row["channel"])))


def _mix_rows(then: ReferenceProfile, seen: ScoredTraffic, days: DailyCounts) -> list[Row]:
    """Build a row for each column with the total variation of its mix, and the largest gain and loss."""
    rows: list[Row] = []
    for column in MIX:
        old = then.mix[column]
        names = [*dict.fromkeys([*old, OTHERS])]
        place = {name: at for at, name in enumerate(names)}
        codes = np.array(
            [place.get(value, place[OTHERS]) for value in seen.extract_texts(column)], dtype=np.int64
        )
        counts = days.count_bins(codes, len(names))
        before = np.array([old.get(name, 0) for name in names], dtype=np.float64)
        moved = _compute_distance_interval(compute_total_variation(before, counts))
        change = counts[0] / counts[0].sum() - before / before.sum()
        most, least = int(np.argmax(change)), int(np.argmin(change))
        rows.append(
            {
                "column": column,
                "total_variation": moved.value,
                "low": moved.low,
                "high": moved.high,
                "gained": names[most] or "missing",
                "gain": float(change[most]),
                "lost": names[least] or "missing",
                "loss": float(change[least]),
            }
        )
    return rows


def _new_code_rows(then: ReferenceProfile, seen: ScoredTraffic) -> Iterator[Row]:
    """Build rows with the share of codes not in the reference, regardless of spelling."""
    for column in MIX:
        known = {value.strip().casefold() for value in then.mix[column]} | {""}
        values, counts = np.unique(seen.extract_texts(column).astype(str), return_counts=True)
        new = sum(
            int(count)
            for value, count in zip(values, counts, strict=True)
            if value.strip().casefold() not in known
        )
        then_share = CountShare(then.mix[column].get(OTHERS, 0), sum(then.mix[column].values()))
        now_share = CountShare(new, int(counts.sum()))
        yield _build_share_row(NEW_CODES, column, ALL_CHANNELS, then_share, now_share)


def _share_rows(then: ReferenceProfile, now: ReferenceProfile, features: Sequence[Feature]) -> Iterator[Row]:
    """Build rows with the shares of unknown codes, missing values and new keys, reference and current."""
    for channel in _list_common_channels(then, now):
        for place, feature in enumerate(features):
            old, new = then.features[channel][place], now.features[channel][place]
            if feature.group == CATEGORY_GROUP and feature.unit == "code":
                # The first bin of a code contains the unknown ones.
                name = feature.name.partition(".")[2]
                shares = [CountShare(counts[0], sum(counts)) for counts in (old, new)]
                yield _build_share_row(UNKNOWN_CODES, name, channel, *shares)
            if feature.name in WATCHED_KEYS:
                name = feature.name.split(".")[1]
                known = [counts[:MISSING_BIN] for counts in (old, new)]
                shares = [CountShare(sum(counts[1:]), sum(counts)) for counts in known]
                yield _build_share_row(NEW_KEYS, name, channel, *shares)
        for column, missing in then.missing[channel].items():
            arrived = now.channels[channel]
            lacking = CountShare(now.missing[channel].get(column, arrived), arrived)
            before = CountShare(missing, then.channels[channel])
            yield _build_share_row(MISSING_VALUES, column, channel, before, lacking)


class CountShare(NamedTuple):
    """A count, and the total of which it is a part."""

    part: int
    whole: int

    @property
    def value(self) -> float:
        """The share, 0 to 1; NaN if the total is 0."""
        return self.part / self.whole if self.whole else np.nan


def _build_share_row(what: str, name: str, channel: str, then: CountShare, now: CountShare) -> Row:
    return {
        "what": what,
        "name": name,
        "channel": channel,
        "then": then.value,
        "now": now.value,
        "change": now.value - then.value,
        "judged": str(min(then.whole, now.whole) >= MIN_ROWS).lower(),
    }


def _source_rows(then: ReferenceProfile, now: ReferenceProfile, seen: ScoredTraffic) -> Iterator[Row]:
    """Build a row for each source of the reference with the received and the expected arrivals."""
    first, last = int(seen.day.min()), int(seen.day.max())
    for column in SOURCES:
        codes = seen.extract_texts(column)
        for value, source in then.sources[column].items():
            pace = source.arrivals / then.days / seen.stands_for
            mine = codes == value
            silence = find_longest_silence(seen.day[mine], first, last) if mine.any() else now.days
            owed = pace * max(0, silence - source.longest_silence_days)
            expected, came = pace * now.days, int(mine.sum())
            fell = came < SILENT_SHARE * expected or owed >= MIN_EXPECTED_ARRIVALS
            regular = source.longest_silence_days <= MAX_REGULAR_SILENCE_SHARE * then.days
            silent = regular and expected >= MIN_EXPECTED_ARRIVALS and fell
            yield {
                "column": column,
                "value": value,
                "expected": expected,
                "came": came,
                "longest_silence_days_then": source.longest_silence_days,
                "longest_silence_days_now": silence,
                "silent": str(silent).lower(),
            }


def _unit_rows(then: ReferenceProfile, now: ReferenceProfile) -> Iterator[Row]:
    """Build rows with the factor by which numbers changed; one factor for all quantiles means a changed unit."""
    for part, columns in then.sizes.items():
        for column, old in columns.items():
            new = now.sizes.get(part, {}).get(column)
            if new is None:
                continue
            factors = np.array(new) / np.array(old)
            factor = float(np.median(factors))
            uniform = factors.max() <= MAX_UNIT_SPREAD * factor and factors.min() >= factor / MAX_UNIT_SPREAD
            changed = uniform and max(factor, 1 / factor) >= MIN_UNIT_FACTOR
            yield {
                "part": part,
                "column": column,
                "median_then": old[len(old) // 2],
                "median_now": new[len(new) // 2],
                "factor": factor,
                "changed": str(bool(changed)).lower(),
                "as_if": _name_unit_change(factor) if changed else "",
            }


def _name_unit_change(factor: float) -> str:
    for name, known in UNIT_FACTORS.items():
        for turned, words in (
            (known, name),
            (1 / known, UNIT_SEPARATOR.join(reversed(name.split(UNIT_SEPARATOR)))),
        ):
            if 1 / UNIT_TOLERANCE <= factor / turned <= UNIT_TOLERANCE:
                return words
    return ""


def _precision_rows(
    then: ReferenceProfile,
    seen: ScoredTraffic,
    days: DailyCounts,
    labels: Labels | None,
) -> list[Row]:
    """Build rows with expected precision at capacity, reference and current, and the observed one if known."""
    taken = seen.select_at_capacity(then.capacity)
    expected = compute_interval(divide(days.sum_values(taken * seen.score), days.sum_values(taken)))
    rows = [
        _estimate_row("expected then", Estimate(_to_float(then.expected_precision), np.nan, np.nan)),
        _estimate_row("expected now", expected),
    ]
    if labels is None:
        return [
            *rows,
            _estimate_row("promised where known", UNKNOWN_ESTIMATE),
            _estimate_row("realised now", UNKNOWN_ESTIMATE),
        ]
    mine = labels.known * taken
    weight = np.where(labels.known, compute_inverse_propensity(labels.probability), 0.0) * taken
    return [
        *rows,
        _estimate_row(
            "promised where known",
            compute_interval(divide(days.sum_values(weight * seen.score), days.sum_values(weight))),
            float(mine.sum()),
            float((mine * seen.score).sum()),
        ),
        _estimate_row(
            "realised now",
            compute_interval(divide(days.sum_values(weight * labels.positive), days.sum_values(weight))),
            float(mine.sum()),
            float((mine * labels.positive).sum()),
        ),
    ]


def _estimate_row(what: str, estimate: Estimate, known: float = np.nan, finds: float = np.nan) -> Row:
    return {
        "what": what,
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "known": known,
        "finds": finds,
    }


def _list_common_channels(then: ReferenceProfile, now: ReferenceProfile) -> list[str]:
    return [channel for channel in then.channels if channel in now.channels]


def _smooth(counts: Floats) -> Floats:
    shares: Floats = (counts + SMOOTHING) / (
        counts.sum(axis=-1, keepdims=True) + SMOOTHING * counts.shape[-1]
    )
    return shares


def _to_float(value: float | None) -> float:
    return np.nan if value is None else value
