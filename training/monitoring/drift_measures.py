"""Drift measures: one table of changes between a reference profile and later traffic, each with its interval and its limit.

A measure is beyond its limit only if its entire 95 % interval is. Intervals come from resampled whole days of the later
traffic. The reference has counts of its whole period, not of days; its spread over days is taken to be that of the later
traffic, so every half of an interval is widened by sqrt(1 + days now / days of the reference).

The population stability index (PSI) of shares p and q over bins is the sum of (p - q) ln(p / q). Its bands (little below
0.1, much from 0.25 on) are a rule of thumb (Siddiqi, Credit Risk Scorecards, 2006). The value expected by chance,
(bins - 1) (1/n + 1/m), is subtracted (Yurdakul, Statistical Properties of Population Stability Index, 2018). The other
limits are our choice.
"""

from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from features.spec import Feature
from models.formats import format_count, format_number, format_percent, format_points
from models.traffic_profile import MISSING_BIN, ReferenceProfile
from training.data.training_set import Labels, compute_inverse_propensity
from training.evaluation.estimate import INTERVAL_QUANTILES, Estimate, compute_interval, divide, draw_days
from training.evaluation.finds import estimate_rate, weigh_finds
from training.monitoring.traffic_profile import (
    MIX,
    OTHERS,
    SOURCES,
    ScoredTraffic,
    assign_bins,
    find_longest_silence,
)

DriftVerdict = Literal["stable", "retrain", "investigate data"]
Floats = NDArray[np.float64]
Row = dict[str, Any]

MODERATE_PSI, LARGE_PSI = 0.1, 0.25
"""Bands of the PSI: little below the first, much from the second on."""
RESAMPLES = 300
"""Resamples of whole days, for the 95 % intervals."""
MIN_ROWS = 100
"""Parts of the traffic with fewer consignments in either period are shown but not evaluated."""
MIN_EXPECTED_POSITIVES = 5.0
"""Minimum positives that the scores predict among known results, for a comparison with the observed ones."""
MAX_REGULAR_SILENCE_SHARE = 0.25
"""A source is regular if its longest gap in the reference was at most this share of it; only regular sources can fall silent.
A wave of parcels that came and ended is not a failed source."""
MAX_UNIT_SPREAD = 1.35
"""A unit changed only if all quantiles changed by one factor, within this factor of each other."""
UNIT_FACTORS = {
    "grams instead of kilograms": 1000.0,
    "minor units of a currency": 100.0,
    "ounces instead of kilograms": 35.274,
    "pounds instead of kilograms": 2.2046,
}
UNIT_SEPARATOR = " instead of "
UNIT_TOLERANCE = 1.25
SMOOTHING = 0.5
"""Added to every bin, so that an empty one has no infinite logarithm."""
CATEGORY_GROUP = "category"
"""Group of the features whose code 0 is a value unknown in training."""
WATCHED_KEYS = tuple(
    f"history.{key}.new" for key in ("sender", "sender_address", "consignee", "consignee_address", "account")
)
BEYOND, WITHIN, NOT_EVALUATED = "beyond limit", "within limit", "not evaluated"
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
        """Format a number of this kind; only a change in either direction has its sign."""
        text = FORMATS[self.form](value)
        return text if self.side == "either" else text.removeprefix("+")

    def compare(self, value: float) -> float:
        """Return how far a value went towards the limit: 1 at the limit, more beyond it; its sign is the direction."""
        if self.side == "below":
            return (1 - value) / (1 - self.bound)
        return float(np.log(value) / np.log(self.bound)) if self.side == "factor" else value / self.bound

    def is_exceeded(self, estimate: Estimate) -> bool:
        """Return True if the entire interval is beyond the limit."""
        ends = sorted(self.compare(end) for end in (estimate.low, estimate.high))
        return ends[0] >= 1 or (ends[1] <= -1 and self.side in ("either", "factor"))


LIMITS = msgspec.toml.decode(files(__package__).joinpath("limits.toml").read_bytes(), type=dict[str, Limit])


class ResampledTraffic:
    """Sums over the later traffic and over resampled whole days of it, and the intervals of its changes."""

    def __init__(self, seen: ScoredTraffic, days_then: int) -> None:
        days, self._place = np.unique(seen.day, return_inverse=True)
        self.days = len(days)
        self.draws = draw_days(self.days, RESAMPLES, seed=1)
        self._widening = float(np.sqrt(1 + self.days / days_then))

    def count_bins(
        self, values: NDArray[np.int64], bins: int, rows: NDArray[np.bool_] | None = None
    ) -> Floats:
        """Count bins in the data and in every resample: (1 + resamples, bins)."""
        mine = slice(None) if rows is None else rows
        cell = self._place[mine] * bins + values[mine]
        by_day = np.bincount(cell, minlength=self.days * bins).reshape(self.days, bins)
        counted: Floats = self.draws @ by_day.astype(np.float64)
        return counted

    def sum_values(self, values: Floats) -> Floats:
        """Sum a value of each row, for the data and each resample: (1 + resamples,)."""
        added: Floats = self.draws @ np.bincount(self._place, weights=values, minlength=self.days)
        return added

    def estimate_distance(self, values: Floats) -> Estimate:
        """Compute the interval of a distance, centred on its value, because resampling alone adds distance."""
        found = compute_interval(values)
        shift = found.value - float(values[1:].mean()) if len(values) > 1 else 0.0
        wide = self.widen(Estimate(found.value, found.low + shift, found.high + shift))
        return Estimate(wide.value, max(0.0, wide.low), wide.high)

    def estimate_rise(self, then: float, part: Floats, whole: Floats, *, by_counts: bool) -> Estimate:
        """Compute by how much a share rose; a single day has an interval only if counts alone may give it."""
        found = compute_interval(divide(part, whole))
        if self.days == 1 and by_counts:
            found = estimate_count(float(part[0]), float(whole[0]))
        now = self.widen(found)
        return Estimate(now.value - then, now.low - then, now.high - then)

    def widen(self, estimate: Estimate) -> Estimate:
        """Widen an interval by the spread of the reference."""
        low, high = estimate.value - estimate.low, estimate.high - estimate.value
        return Estimate(
            estimate.value, estimate.value - self._widening * low, estimate.value + self._widening * high
        )


def list_measures(
    then: ReferenceProfile,
    now: ReferenceProfile,
    seen: ScoredTraffic,
    labels: Labels | None,
    *,
    with_history: bool = True,
) -> list[Row]:
    """List all measures of the change from one profile to another; `now` is that of `seen`, with the edges of `then`.

    Returns
    -------
    list of dict
        `kind` (of `LIMITS`), `name` and `part` (what is measured), `then`, `now` (values before and after), `rows` (fewer of
        the two periods' consignments), `value`, `low`, `high` (the measure), `limit`, `result`, `detail`.
    """
    days = ResampledTraffic(seen, then.days)
    rows = [
        *_list_sources(then, seen, days),
        *_list_units(then, now),
        *_list_shares(then, seen, days),
        *_list_scores(then, seen, days),
        *_list_mixes(then, seen, days),
        *_list_precisions(then, seen, days, labels),
    ]
    for row in rows:
        limit = LIMITS[row["kind"]]
        if not with_history and limit.history:
            row["result"] = NOT_EVALUATED
    order = list(LIMITS)
    return sorted(rows, key=lambda row: order.index(row["kind"]))


def list_reasons(rows: Sequence[Row]) -> list[Row]:
    """List the reasons of the verdict, `verdict` and `text`: measures beyond their limits, data faults first."""
    beyond = [row for row in rows if row["result"] == BEYOND]
    # Unknown codes that are new ones indicate faulty data, and parts of a channel with a changed unit are no news.
    new = {row["name"] for row in beyond if row["kind"] == "new code"}
    units = {row["name"] for row in beyond if row["kind"] == "unit" and row["part"].startswith("channel ")}
    return [
        {"verdict": LIMITS[row["kind"]].verdict, "text": _describe_reason(row)}
        for row in beyond
        if not (row["kind"] == "unknown code" and row["name"] in new)
        and not (row["kind"] == "unit" and row["name"] in units and not row["part"].startswith("channel "))
    ]


def decide_verdict(reasons: Sequence[Row]) -> DriftVerdict:
    """Return the verdict; data faults come first, since they may cause the other changes."""
    spoken = {reason["verdict"] for reason in reasons}
    if "investigate data" in spoken:
        return "investigate data"
    return "retrain" if "retrain" in spoken else "stable"


def _describe_reason(row: Row) -> str:
    """Return the sentence of a reason: the measure, its value with its interval, and the limit."""
    limit = LIMITS[row["kind"]]
    value, low, high = (limit.format(row[name]) for name in ("value", "low", "high"))
    texts = {"name": row["name"].replace("_", " "), "part": row["part"].replace("_", " "), "value": value}
    over = " over five quantiles" if row["kind"] == "unit" else ""
    ends = " to ".join(end.removesuffix(" points").removesuffix(" %") for end in (low, high))
    detail = f": {row['detail']}" if row["detail"] else ""
    return f"{limit.text.format(**texts)} ({ends}{over}; limit: {limit.describe()}){detail}"


def build_row(
    kind: str, name: str, part: str, estimate: Estimate, rows: float = np.inf, **others: Any
) -> Row:
    """Build the row of a measure; too few consignments, or no interval, and it is not evaluated."""
    limit = LIMITS[kind]
    if not estimate.has_interval or rows < MIN_ROWS:
        result = NOT_EVALUATED
    else:
        result = BEYOND if limit.is_exceeded(estimate) else WITHIN
    return {
        "kind": kind,
        "name": name,
        "part": part,
        "then": np.nan,
        "now": np.nan,
        "rows": rows if np.isfinite(rows) else np.nan,
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "limit": limit.bound,
        "result": result,
        "detail": "",
    } | others


def _list_sources(then: ReferenceProfile, seen: ScoredTraffic, days: ResampledTraffic) -> Iterator[Row]:
    """List the arrivals of each source of the reference, over the whole period or over its longest gap."""
    first, last = int(seen.day.min()), int(seen.day.max())
    length = last - first + 1
    for column in SOURCES:
        codes = seen.extract_texts(column)
        for value, source in then.sources[column].items():
            pace = source.arrivals / then.days / seen.stands_for
            mine = codes == value
            came = int(mine.sum())
            silence = find_longest_silence(seen.day[mine], first, last) if came else length
            owed = pace * max(0, silence - source.longest_silence_days)
            estimate, gap = (days.widen(estimate_count(*each)) for each in ((came, pace * length), (0, owed)))
            detail = f"{came:,} received, about {pace * length:,.0f} expected"
            if came and gap.high < estimate.high:
                estimate, detail = gap, f"in a gap of {format_count(silence, 'day')}; in all days {detail}"
            row = build_row("source", column, value, estimate, then=pace * length, now=came, detail=detail)
            if source.longest_silence_days > MAX_REGULAR_SILENCE_SHARE * then.days:
                row["result"] = NOT_EVALUATED
            yield row


def estimate_count(count: float, expected: float) -> Estimate:
    """Compute a count as a share of an expected one, with its exact interval (Garwood 1936)."""
    if expected <= 0:
        return Estimate(np.nan, np.nan, np.nan)
    low, high = INTERVAL_QUANTILES
    ends = (gammaincinv(count, low) if count else 0.0, gammaincinv(count + 1, high))
    return Estimate(count / expected, *(float(end) / expected for end in ends))


def _list_units(then: ReferenceProfile, now: ReferenceProfile) -> Iterator[Row]:
    """List the factors by which numbers changed: that of the median, and the range over all quantiles."""
    for part, columns in then.sizes.items():
        for column, old in columns.items():
            new = now.sizes.get(part, {}).get(column)
            if new is None:
                continue
            factors = np.array(new) / np.array(old)
            middle = len(old) // 2
            factor = float(factors[middle])
            estimate = Estimate(factor, float(factors.min()), float(factors.max()), is_share=False)
            row = build_row(
                "unit", column, part.replace(":", " "), estimate, then=old[middle], now=new[middle]
            )
            if row["result"] == BEYOND:
                if max(estimate.high / factor, factor / estimate.low) > MAX_UNIT_SPREAD:
                    row["result"] = WITHIN
                elif like := _name_unit_change(factor):
                    row["detail"] = f"as if it were in {like}"
            yield row


def _name_unit_change(factor: float) -> str:
    for name, known in UNIT_FACTORS.items():
        inverse = UNIT_SEPARATOR.join(reversed(name.split(UNIT_SEPARATOR)))
        for turned, words in ((known, name), (1 / known, inverse)):
            if 1 / UNIT_TOLERANCE <= factor / turned <= UNIT_TOLERANCE:
                return words
    return ""


def _list_shares(then: ReferenceProfile, seen: ScoredTraffic, days: ResampledTraffic) -> Iterator[Row]:
    """List the changes of shares: missing values, new and unknown codes, new keys."""
    for column in MIX:
        old = then.mix[column]
        known = {value.strip().casefold() for value in old} | {""}
        texts = seen.extract_texts(column)
        new = np.array([value.strip().casefold() not in known for value in texts])
        everything = np.ones(len(texts), dtype=bool)
        yield _build_share_row(
            "new code", column, "all", (old.get(OTHERS, 0), sum(old.values())), (new, everything), days
        )
    channel = seen.extract_texts("channel")
    for name, arrived in then.channels.items():
        mine = channel == name
        if not mine.any():
            continue
        for column, missing in then.missing[name].items():
            lacking = seen.frame[column].isna().to_numpy() if column in seen.frame else mine
            yield _build_share_row("missing", column, name, (missing, arrived), (lacking & mine, mine), days)
        for place, feature in enumerate(seen.spec.features):
            counts, values = then.features[name][place], seen.X[:, place]
            if feature.group == CATEGORY_GROUP and feature.unit == "code":
                # The first bin of a code contains the unknown ones.
                shares = (counts[0], sum(counts)), ((values < then.edges[place][0]) & mine, mine)
                yield _build_share_row("unknown code", feature.name.partition(".")[2], name, *shares, days)
            if feature.name in WATCHED_KEYS:
                given = mine & np.isfinite(values)
                shares = (
                    (sum(counts[1:MISSING_BIN]), sum(counts[:MISSING_BIN])),
                    (given & (values >= then.edges[place][0]), given),
                )
                yield _build_share_row("new key", feature.name.split(".")[1], name, *shares, days)


def _build_share_row(
    kind: str,
    name: str,
    channel: str,
    then: tuple[int, int],
    now: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    days: ResampledTraffic,
) -> Row:
    """Build the row of a share, from part and whole of the reference, and the rows in part and whole of the later traffic."""
    before = then[0] / then[1] if then[1] else np.nan
    part, whole = (days.sum_values(rows.astype(np.float64)) for rows in now)
    rise = days.estimate_rise(before, part, whole, by_counts=LIMITS[kind].verdict == "investigate data")
    after = before + rise.value
    return build_row(
        kind,
        name,
        channel,
        rise,
        min(then[1], float(whole[0])),
        then=before,
        now=after,
        detail=f"{format_percent(after)}, reference {format_percent(before)}",
    )


def _list_scores(then: ReferenceProfile, seen: ScoredTraffic, days: ResampledTraffic) -> Iterator[Row]:
    bins = assign_bins(seen.score, then.score_edges)
    members = seen.group_by_part()
    for part, counts in then.scores.items():
        mine = members.get(part, np.zeros(len(bins), dtype=bool))
        psi = compute_psi(counts, days.count_bins(bins, len(counts), mine))
        estimate = days.estimate_distance(psi) if mine.any() else Estimate(np.nan, np.nan, np.nan)
        rows = min(sum(counts), int(mine.sum()))
        yield build_row("score", "score", part.replace(":", " "), estimate, rows)


def _list_mixes(then: ReferenceProfile, seen: ScoredTraffic, days: ResampledTraffic) -> Iterator[Row]:
    """List the total variation of the mix of each column, with the largest gain and loss."""
    for column in MIX:
        old = then.mix[column]
        names = [*dict.fromkeys([*old, OTHERS])]
        place = {name: at for at, name in enumerate(names)}
        codes = np.array([place.get(value, place[OTHERS]) for value in seen.extract_texts(column)])
        counts = days.count_bins(codes, len(names))
        before = np.array([old.get(name, 0) for name in names], dtype=np.float64)
        moved = days.estimate_distance(compute_total_variation(before, counts))
        change = counts[0] / counts[0].sum() - before / before.sum()
        ends = [int(np.argmax(change)), int(np.argmin(change))]
        detail = ", ".join(
            f"{(names[at] or 'missing').replace('_', ' ')} {format_points(change[at])}" for at in ends
        )
        yield build_row("mix", column, "all", moved, detail=detail)


def _list_precisions(
    then: ReferenceProfile, seen: ScoredTraffic, days: ResampledTraffic, labels: Labels | None
) -> Iterator[Row]:
    """List expected precision at capacity against the reference, and the observed one against the predicted one."""
    taken = seen.select_at_capacity(then.capacity)
    expected = compute_interval(divide(days.sum_values(taken * seen.score), days.sum_values(taken)))
    before = np.nan if then.expected_precision is None else then.expected_precision
    detail = f"{format_percent(expected.value)}, reference {format_percent(before)}"
    yield build_row(
        "expected precision",
        "precision",
        "capacity",
        _divide_estimate(days.widen(expected), before),
        then=before,
        now=expected.value,
        detail=detail,
    )
    if labels is None:
        nothing = Estimate(np.nan, np.nan, np.nan)
        yield build_row("observed precision", "precision", "capacity", nothing, detail="no known results")
        return
    found, weight = labels.known & labels.positive, np.zeros(len(taken))
    # Any weights may compare what was found with what the scores predict for the same rows; those of finds let no row decide alone.
    weight[labels.known] = weigh_finds(compute_inverse_propensity(labels.probability[labels.known]))
    weight *= taken
    whole = float(weight.sum())
    observed = estimate_rate(weight[found], seen.day[found], days.days, whole)
    promised = float(weight @ seen.score) / whole if whole else np.nan
    known, finds = float((labels.known * taken).sum()), float((found * taken).sum())
    predicted = float((labels.known * taken * seen.score).sum())
    detail = f"{format_count(finds, 'positive')} of {format_count(known, 'known result')}, predicted {format_number(predicted)}"
    row = build_row(
        "observed precision",
        "precision",
        "capacity",
        _divide_estimate(observed, promised),
        then=promised,
        now=observed.value,
        detail=detail,
    )
    if predicted < MIN_EXPECTED_POSITIVES:
        row |= {"result": NOT_EVALUATED} | dict.fromkeys(("now", "value", "low", "high"), np.nan)
    yield row


def _divide_estimate(estimate: Estimate, by: float) -> Estimate:
    by = by or np.nan
    return Estimate(estimate.value / by, estimate.low / by, estimate.high / by)


def compute_psi(then: Sequence[int] | Floats, now: Floats) -> Floats:
    """Compute the PSI of counts (bins,) and (…, bins), minus the value expected by chance, at least 0."""
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
            moved = np.nan if mean is None or later is None or not spread else (later - mean) / spread
            rows.append(
                {
                    "feature": feature.name,
                    "group": feature.group,
                    "channel": channel,
                    "psi": float(compute_psi(old, new)),
                    "total_variation": float(compute_total_variation(old, new)),
                    "mean_change_sd": moved,
                    "missing_then": float(old[MISSING_BIN] / old.sum()),
                    "missing_now": float(new[MISSING_BIN] / new.sum()),
                }
            )
    return sorted(rows, key=lambda row: (-row["psi"], row["feature"], row["channel"]))


def _smooth(counts: Floats) -> Floats:
    whole = counts.sum(axis=-1, keepdims=True) + SMOOTHING * counts.shape[-1]
    shares: Floats = (counts + SMOOTHING) / whole
    return shares
