"""Drift measures: changes between a reference profile and later traffic, each with its interval from resampled days, and its limit.

PSI: sum of (p - q) ln(p / q), minus the value by chance (bins - 1) (1/n + 1/m) (Yurdakul 2018); bands by Siddiqi (2006). The spread of the
reference over days is taken to be that of the later traffic, so each half of an interval is widened by sqrt(1 + days now / days then)."""

from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any, Literal

import msgspec
import numpy as np

from features.spec import Feature
from models.arrays import Bools, Floats, Ints, Row
from models.formats import format_count, format_number, format_percent, format_points, round_significant
from models.reasons.texts import name_feature
from models.traffic_profile import MISSING_BIN, ReferenceProfile
from training.data.propensity import estimate_result_weights, select_weighing_columns
from training.data.training_set import Labels
from training.evaluation.estimate import Estimate, compute_interval, divide, draw_days
from training.evaluation.estimators import estimate_count, estimate_rate, weigh_finds
from training.monitoring.traffic_profile import (
    MIX,
    OTHERS,
    SOURCES,
    ScoredTraffic,
    assign_bins,
    find_longest_silence,
)

DriftVerdict = Literal["stable", "retrain", "investigate data", "insufficient data"]

RESAMPLES = 300
MIN_ROWS = 100  # parts of the traffic with fewer consignments in either period are shown but not evaluated
MIN_EXPECTED_POSITIVES = 5.0  # predicted among known results, to compare them with the observed ones
MAX_REGULAR_SILENCE_SHARE = 0.25
"""A source whose longest gap in the reference was a larger share of it cannot fall silent: a wave that came and ended has not failed."""
MAX_UNIT_SPREAD = 1.35  # largest ratio of a change to that of the median if only the unit changed
MASS_FACTORS = {"grams": 1000.0, "ounces": 35.274, "pounds": 2.2046}
UNIT_FACTORS = {
    **{f"{unit} instead of kilograms": factor for unit, factor in MASS_FACTORS.items()},
    **{f"kilograms instead of {unit}": 1 / factor for unit, factor in MASS_FACTORS.items()},
    **{"minor units of a currency": 100.0, "major units of a currency": 1 / 100.0},
}
UNIT_TOLERANCE = 1.25
SMOOTHING = 0.5  # added to every bin, so that an empty one has no infinite logarithm
CATEGORY_GROUP, HISTORY_GROUP = "category", "history"
"""Groups of features: those whose code 0 is a value unknown in training, and those that grow with the length of history."""
WATCHED_KEYS = tuple(
    f"history.{key}.new" for key in ("sender", "sender_address", "consignee", "consignee_address", "account")
)
BEYOND, UNCLEAR = "beyond limit", "not clearly beyond limit"
WITHIN, NOT_EVALUATED = "within limit", "not evaluated"
FORMATS = {"number": format_number, "percent": format_percent, "points": format_points}


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limit of a kind of measure, as `limits.toml` explains it."""

    measure: str
    bound: float
    side: Literal["above", "below", "either", "factor"]
    form: Literal["number", "percent", "points"]
    verdict: DriftVerdict
    text: str
    history: bool = False

    def describe(self) -> str:
        """Return the limit for people, such as `above 20.0 %`."""
        bound = self.format(self.bound).removeprefix("+")
        return f"{bound} in either direction" if self.side == "either" else f"{self.side} {bound}"

    def format(self, value: float) -> str:
        """Format a number of this kind; every change in points has its sign."""
        return FORMATS[self.form](value)

    def compare(self, value: float) -> float:
        """Return how far a value went towards the limit: 1 at the limit, more beyond it; its sign is the direction."""
        if self.side == "below":
            return (1 - value) / (1 - self.bound)
        return float(np.log(value) / np.log(self.bound)) if self.side == "factor" else value / self.bound

    def is_exceeded(self, low: float, high: float) -> bool:
        """Return True if all from one number to another is beyond the limit."""
        ends = sorted(map(self.compare, (low, high)))
        return ends[0] >= 1 or (ends[1] <= -1 and self.side in ("either", "factor"))


LIMITS = msgspec.toml.decode(files(__package__).joinpath("limits.toml").read_bytes(), type=dict[str, Limit])


class ResampledTraffic:
    """The later traffic with resampled whole days of it, and the intervals of its changes from `days_then` days of a reference."""

    def __init__(self, seen: ScoredTraffic, days_then: int) -> None:
        days, self._place = np.unique(seen.day, return_inverse=True)
        self.seen, self.days = seen, len(days)
        self.draws = draw_days(self.days, RESAMPLES, seed=1)
        self._widening = float(np.sqrt(1 + self.days / days_then))

    def count_bins(self, values: Ints, bins: int, rows: Bools | None = None) -> Floats:
        """Count bins in the data and in every resample: (1 + resamples, bins)."""
        mine = slice(None) if rows is None else rows
        cell = self._place[mine] * bins + values[mine]
        by_day = np.bincount(cell, minlength=self.days * bins).reshape(self.days, bins)
        return np.asarray(self.draws @ by_day.astype(np.float64))

    def sum_values(self, values: Floats | Bools) -> Floats:
        """Sum a value of each row, for the data and each resample: (1 + resamples,)."""
        return np.asarray(self.draws @ np.bincount(self._place, weights=values, minlength=self.days))

    def estimate_distance(self, values: Floats) -> Estimate:
        """Compute the interval of a distance, centred on its value, because resampling alone adds distance."""
        found = compute_interval(values)
        shift = found.value - float(values[1:].mean()) if len(values) > 1 else 0.0
        return self.widen(Estimate(found.value, found.low + shift, found.high + shift))

    def estimate_rise(self, then: float, part: Floats, whole: Floats, *, by_counts: bool) -> Estimate:
        """Compute by how much a share rose; a single day has an interval only if counts alone may give it."""
        found = compute_interval(divide(part, whole))
        if self.days == 1 and by_counts:
            found = estimate_ratio(float(part[0]), float(whole[0]))
        now = self.widen(found, highest=1.0)
        return Estimate(now.value - then, now.low - then, now.high - then)

    def widen(self, estimate: Estimate, highest: float = np.inf) -> Estimate:
        """Widen an interval by the spread of the reference, between 0 and the highest possible value."""
        value, by = estimate.value, self._widening
        ends = value - by * (value - estimate.low), value + by * (estimate.high - value)
        return Estimate(value, *np.clip(ends, 0.0, highest).tolist())


def list_measures(
    then: ReferenceProfile,
    now: ReferenceProfile,
    seen: ScoredTraffic,
    labels: Labels | None,
    *,
    with_history: bool = True,
) -> list[Row]:
    """List all measures of the change from one profile to another, see `build_row`; `now` is that of `seen`, with the edges of `then`."""
    traffic = ResampledTraffic(seen, then.days)
    rows = [
        *_list_sources(then, traffic),
        *_list_units(then, now),
        *_list_shares(then, traffic),
        *_list_scores(then, traffic),
        *_list_mixes(then, traffic),
        *_list_precisions(then, traffic, labels),
    ]
    for row in rows:
        if not with_history and LIMITS[row["kind"]].history:
            row["result"] = NOT_EVALUATED
    return sorted(rows, key=lambda row: list(LIMITS).index(row["kind"]))


def build_row(
    kind: str, name: str, part: str, estimate: Estimate, rows: float = np.inf, **others: Any
) -> Row:
    """Build the row of a measure of a kind of `LIMITS`; with too few consignments (`rows`), or no interval, it is not evaluated."""
    limit, result = LIMITS[kind], NOT_EVALUATED
    if estimate.has_interval and rows >= MIN_ROWS:
        is_beyond = limit.is_exceeded(estimate.value, estimate.value)
        result = UNCLEAR if is_beyond else WITHIN
        if limit.is_exceeded(estimate.low, estimate.high):
            result = BEYOND
    row: Row = {"kind": kind, "name": name, "part": part, "then": np.nan, "now": np.nan}
    row |= {"rows": rows if np.isfinite(rows) else np.nan, "value": estimate.value}
    row |= {"low": estimate.low, "high": estimate.high, "limit": limit.bound, "result": result, "detail": ""}
    return row | others


def _list_sources(then: ReferenceProfile, traffic: ResampledTraffic) -> Iterator[Row]:
    """List the arrivals of each source of the reference, over the whole period or over its longest gap."""
    seen = traffic.seen
    first, last = int(seen.day.min()), int(seen.day.max())
    for column in SOURCES:
        codes = seen.extract_texts(column)
        for value, source in then.sources[column].items():
            pace, mine = source.arrivals / then.days / seen.stands_for, codes == value
            came, expected = int(mine.sum()), pace * (last - first + 1)
            silence = find_longest_silence(seen.day[mine], first, last) if came else last - first + 1
            owed = pace * max(0, silence - source.longest_silence_days)
            estimate, gap = (traffic.widen(estimate_ratio(*each)) for each in ((came, expected), (0, owed)))
            detail = f"{came:,} received, about {expected:,.0f} expected"
            if came and gap.high < estimate.high:
                none = f"none in a gap of {format_count(silence, 'day')}, about {owed:,.0f} expected beyond the usual gap"
                estimate, detail = gap, f"{none}; in all days {detail}"
            elif estimate.low > 1:
                detail += "; a rise has no limit"
            row = build_row("source", column, value, estimate, then=expected, now=came, detail=detail)
            if source.longest_silence_days > MAX_REGULAR_SILENCE_SHARE * then.days:
                row["result"] = NOT_EVALUATED
            yield row


def estimate_ratio(count: float, expected: float) -> Estimate:
    """Compute a count as a share of an expected one, with its exact interval."""
    return Estimate(*(each / expected for each in estimate_count(count))) if expected > 0 else Estimate()


def _list_units(then: ReferenceProfile, now: ReferenceProfile) -> Iterator[Row]:
    """List the factors by which numbers changed: that of the median, and the range over all quantiles."""
    both = [(part, key) for part, old in then.sizes.items() for key in old if key in now.sizes.get(part, {})]
    for part, column in both:
        old, new = (np.array(each.sizes[part][column]) for each in (then, now))
        factors, middle = new / old, len(old) // 2
        factor, low, high = float(factors[middle]), float(factors.min()), float(factors.max())
        estimate = Estimate(factor, low, high, is_share=False)
        row = build_row("unit", column, part.replace(":", " "), estimate, then=old[middle], now=new[middle])
        if row["result"] == BEYOND:
            if max(high / factor, factor / low) > MAX_UNIT_SPREAD:
                row["result"] = UNCLEAR
            for name, known in UNIT_FACTORS.items():
                if 1 / UNIT_TOLERANCE <= factor / known <= UNIT_TOLERANCE and row["result"] == BEYOND:
                    row["detail"] = f"as if it were in {name}"
        yield row


def _list_shares(then: ReferenceProfile, traffic: ResampledTraffic) -> Iterator[Row]:
    for kind, name, channel, (part, whole), mine, inside in _iterate_shares(then, traffic.seen):
        before = part / whole if whole else np.nan
        counts = [traffic.sum_values(rows) for rows in (mine & inside, inside)]
        by_counts = LIMITS[kind].verdict == "investigate data"
        rise = traffic.estimate_rise(before, *counts, by_counts=by_counts)
        after = before + rise.value
        detail = f"{format_percent(after)}, reference {format_percent(before)}"
        rows = min(whole, float(counts[1][0]))
        yield build_row(kind, name, channel, rise, rows, then=before, now=after, detail=detail)


def _iterate_shares(
    then: ReferenceProfile, seen: ScoredTraffic
) -> Iterator[tuple[str, str, str, tuple[int, int], Bools, Bools]]:
    """Yield kind, name and channel of each share, part and whole of the reference, and the rows in part and whole of the later traffic."""
    everything = np.ones(len(seen.frame), dtype=bool)
    for column in MIX:
        old = then.mix[column]
        known = {value.strip().casefold() for value in old} | {""}
        new = np.array([value.strip().casefold() not in known for value in seen.extract_texts(column)])
        yield "new code", column, "all", (old.get(OTHERS, 0), sum(old.values())), new, everything
    channels = seen.extract_texts("channel")
    for channel, arrived in then.channels.items():
        mine = channels == channel
        if not mine.any():
            continue
        for column, missing in then.missing[channel].items():
            lacking = seen.frame[column].isna().to_numpy() if column in seen.frame else everything
            yield "missing", column, channel, (missing, arrived), lacking, mine
        for place, feature in enumerate(seen.spec.features):
            counts, values = then.features[channel][place], seen.X[:, place]
            name, edge = feature.name.partition(".")[2], then.edges[place][0]
            if feature.group == CATEGORY_GROUP and feature.unit == "code":
                # The first bin of a code contains the unknown ones.
                yield "unknown code", name, channel, (counts[0], sum(counts)), values < edge, mine
            if feature.name in WATCHED_KEYS:
                before, given = (sum(counts[1:MISSING_BIN]), sum(counts[:MISSING_BIN])), np.isfinite(values)
                yield "new key", name.removesuffix(".new"), channel, before, values >= edge, mine & given


def _list_scores(then: ReferenceProfile, traffic: ResampledTraffic) -> Iterator[Row]:
    bins, members = assign_bins(traffic.seen.score, then.score_edges), traffic.seen.group_by_part()
    for part, counts in then.scores.items():
        mine = members.get(part, np.zeros(len(bins), dtype=bool))
        psi = compute_psi(counts, traffic.count_bins(bins, len(counts), mine))
        estimate = traffic.estimate_distance(psi) if mine.any() else Estimate()
        before, came = sum(counts), int(mine.sum())
        part = part.replace(":", " ")
        yield build_row("score", "score", part, estimate, min(before, came), then=before, now=came)


def _list_mixes(then: ReferenceProfile, traffic: ResampledTraffic) -> Iterator[Row]:
    for column in MIX:
        old = then.mix[column]
        names = [*dict.fromkeys([*old, OTHERS])]
        place = {name: at for at, name in enumerate(names)}
        codes = np.array([place.get(value, place[OTHERS]) for value in traffic.seen.extract_texts(column)])
        counts = traffic.count_bins(codes, len(names))
        before = np.array([old.get(name, 0) for name in names], dtype=np.float64)
        moved = traffic.estimate_distance(compute_total_variation(before, counts))
        change = counts[0] / counts[0].sum() - before / before.sum()
        detail = ", ".join(
            f"{(names[at] or 'missing').replace('_', ' ')} {format_points(change[at])}"
            for at in (int(np.argmax(change)), int(np.argmin(change)))
        )
        yield build_row("mix", column, "all", moved, detail=detail)


def _list_precisions(then: ReferenceProfile, traffic: ResampledTraffic, labels: Labels | None) -> list[Row]:
    """List expected precision at capacity against the reference, and the observed one against the predicted one."""
    taken = traffic.seen.select_at_capacity(then.capacity)
    sums = traffic.sum_values(taken * traffic.seen.score), traffic.sum_values(taken)
    expected = compute_interval(divide(*sums))
    before = np.nan if then.expected_precision is None else then.expected_precision
    detail = f"{format_percent(expected.value)}, reference {format_percent(before)}"
    row = _build_precision_row("expected precision", traffic.widen(expected, 1.0), before, detail)
    kind, seen = "observed precision", traffic.seen
    if labels is None:
        return [row, _build_precision_row(kind, Estimate(), np.nan, "no known results")]
    found, weight = labels.known & labels.positive, np.zeros(len(taken))
    # Clear results have weights too: what was found is compared with what the scores predict for the same rows.
    X = seen.X[:, select_weighing_columns(seen.spec)]
    stands_for = estimate_result_weights(X, labels, np.ones(len(taken)), seen.day, seed=1)
    weight[labels.known] = weigh_finds(stands_for[labels.known])
    weight *= taken
    whole = float(weight.sum())
    observed = estimate_rate(weight[found], seen.day[found], traffic.days, whole)
    promised = float(weight @ seen.score) / whole if whole else np.nan
    known, finds = float((labels.known * taken).sum()), float((found * taken).sum())
    predicted = float((labels.known * taken * seen.score).sum())
    detail = f"counted without weights: {format_count(finds, 'positive')} of {format_count(known, 'known result')}, predicted {format_number(predicted)}"
    if predicted < MIN_EXPECTED_POSITIVES:
        observed, promised = Estimate(), np.nan
        detail += f"; evaluated from {MIN_EXPECTED_POSITIVES:.0f} predicted positives on"
        if predicted:
            more = round(round_significant(known * (MIN_EXPECTED_POSITIVES / predicted - 1), 2)) or 1
            detail += f", so about {format_count(more, 'more result')} needed"
    return [row, _build_precision_row(kind, observed, promised, detail)]


def _build_precision_row(kind: str, now: Estimate, then: float, detail: str) -> Row:
    """Build the row of a precision, measured as a share of an earlier or predicted one."""
    by = then or np.nan
    ratio = Estimate(now.value / by, now.low / by, now.high / by)
    return build_row(kind, "precision", "capacity", ratio, then=then, now=now.value, detail=detail)


def compute_psi(then: Sequence[int] | Floats, now: Floats) -> Floats:
    """Compute the PSI of counts (bins,) and (…, bins), minus the value expected by chance, at least 0."""
    old, new = np.asarray(then, dtype=np.float64), np.asarray(now, dtype=np.float64)
    wholes = (each.sum(axis=-1, keepdims=True) + SMOOTHING * each.shape[-1] for each in (old, new))
    p, q = ((each + SMOOTHING) / whole for each, whole in zip((old, new), wholes, strict=True))
    by_chance = (len(old) - 1) * (1 / max(old.sum(), 1.0) + 1 / np.maximum(new.sum(axis=-1), 1.0))
    return np.asarray(np.maximum(((q - p) * np.log(q / p)).sum(axis=-1) - by_chance, 0.0))


def compute_total_variation(then: Floats, now: Floats) -> Floats:
    """Compute half the sum of differences of shares, 0 to 1 (nothing in common); shapes as in `compute_psi`."""
    p, q = then / then.sum(), divide(now, np.broadcast_to(now.sum(axis=-1, keepdims=True), now.shape))
    return np.asarray(0.5 * np.abs(q - p).sum(axis=-1))


def list_feature_changes(
    then: ReferenceProfile, now: ReferenceProfile, features: Sequence[Feature]
) -> list[Row]:
    """List the change of every feature by channel, the largest first; they have no limit, since history grows with its length."""
    rows: list[Row] = []
    for channel in then.channels:
        for place, feature in enumerate(features if channel in now.channels else ()):
            old, new = (np.array(each.features[channel][place], dtype=np.float64) for each in (then, now))
            mean, spread = then.means[channel][place], then.spreads[channel][place]
            later = now.means[channel][place]
            lacking = [float(each[MISSING_BIN] / each.sum()) for each in (old, new)]
            moved = np.nan if mean is None or later is None or not spread else (later - mean) / spread
            row: Row = {"feature": feature.name, "meaning": name_feature(feature), "group": feature.group}
            row |= {"channel": channel, "psi": float(compute_psi(old, new))}
            row |= {"total_variation": float(compute_total_variation(old, new))}
            row |= {"mean_change_sd": moved, "missing_then": lacking[0], "missing_now": lacking[1]}
            rows.append(row)
    return sorted(rows, key=lambda row: (-row["psi"], row["feature"], row["channel"]))


def describe_changed_features(features: Sequence[Row]) -> Iterator[str]:
    """Describe how many features changed much, which no limit judges."""
    much = LIMITS["score"].bound
    if changed := [row for row in features if row["psi"] >= much]:
        of_history = sum(row["group"] == HISTORY_GROUP for row in changed)
        yield (
            f"{len(changed):,} of {len(features):,} features, counted by channel, changed much: their population stability index is {much} "
            f"or more, the largest {format_number(changed[0]['psi'])}. {of_history:,} of these are of history, which grows with its length. "
            "Features have no limit: the scores show if their changes matter."
        )
