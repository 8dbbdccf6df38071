"""Monitoring without labels: compares later traffic with the reference, and recommends an action by effect sizes."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from urllib.parse import quote

import numpy as np
import pandas as pd

from consignments.errors import BadInput
from consignments.records import Target
from consignments.timestamps import get_time_column_us, to_datetime, to_us
from features.batch import Progress
from features.streams import FeatureInputs, SelectedRows, TableSource
from models.arrays import Bools, Ints, Row
from models.batch_scoring import score_features
from models.bundle import Bundle
from models.formats import format_count
from models.traffic_profile import ReferenceProfile
from training.config import LABEL_DELAY_DAYS, EvaluationConfig
from training.data.splits import ALL_ARRIVALS, ArrivalWindow
from training.data.table_features import read_kept_rows
from training.data.training_set import (
    Labels,
    find_last_visible_time,
    find_settled_end,
    get_labels_as_of,
    sample_traffic,
    select_counted_consignments,
)
from training.monitoring.drift_measures import (
    BEYOND,
    LIMITS,
    MIN_ROWS,
    NOT_EVALUATED,
    DriftVerdict,
    describe_changed_features,
    list_feature_changes,
    list_measures,
)
from training.monitoring.traffic_profile import ScoredTraffic, build_traffic_profile, multiply_counts

MAX_METRIC_NAME = 200
MAX_LISTED_NAMES = 6
NO_RESULTS = "No outcomes were given, so the history has no results: scores and expected precision may differ for that alone. Provide --outcomes."
METRICS = {
    "score": "psi/score/{part}",
    "mix": "total_variation/{name}",
    "expected precision": "precision_at_capacity/expected",
    "observed precision": "precision_at_capacity/observed",
}


def _describe_reason(row: Row) -> str:
    limit = LIMITS[row["kind"]]
    value, low, high = (limit.format(row[name]) for name in ("value", "low", "high"))
    if limit.side == "above":
        value, low, high = (text.removeprefix("+") for text in (value, low, high))
    texts = {"name": row["name"].replace("_", " "), "part": row["part"].replace("_", " "), "value": value}
    over = " over five quantiles" if row["kind"] == "unit" else ""
    ends = " to ".join(end.removesuffix(" points").removesuffix(" %") for end in (low, high))
    detail = f": {row['detail']}" if row["detail"] else ""
    return f"{limit.text.format(**texts)} ({ends}{over}; limit: {limit.describe()}){detail}"


@dataclass(frozen=True)
class Drift:
    """Comparison of later traffic with the reference; `daily` has the arrivals of each source by day; `is_later` if any day is."""

    then: ReferenceProfile
    now: ReferenceProfile
    measures: list[Row]
    features: list[Row]
    notes: list[str]
    daily: dict[str, list[int]]
    is_later: bool = True

    @cached_property
    def reasons(self) -> list[Row]:
        """Measures beyond their limits, data faults first, as `verdict` and `text`."""
        beyond = [row for row in self.measures if row["result"] == BEYOND]
        # Unknown codes that are new ones indicate faulty data, and parts of a channel with a changed unit are no news.
        new = {row["name"] for row in beyond if row["kind"] == "new code"}
        units = {
            row["name"] for row in beyond if row["kind"] == "unit" and row["part"].startswith("channel ")
        }
        return [
            {"verdict": LIMITS[row["kind"]].verdict, "text": _describe_reason(row)}
            for row in beyond
            if not (row["kind"] == "unknown code" and row["name"] in new)
            and not (
                row["kind"] == "unit" and row["name"] in units and not row["part"].startswith("channel ")
            )
        ]

    @property
    def verdict(self) -> DriftVerdict:
        """The recommended action: data faults first, which may cause the rest; stable only if scores and expected precision were evaluated on a later day."""
        spoken = {reason["verdict"] for reason in self.reasons}
        if "investigate data" in spoken:
            return "investigate data"
        if "retrain" in spoken:
            return "retrain"
        evaluated = {row["kind"] for row in self.measures if row["result"] != NOT_EVALUATED}
        enough = self.is_later and {"score", "expected precision"} <= evaluated
        return "stable" if enough else "insufficient data"

    def select_kind(self, kind: str) -> list[Row]:
        """Select the measures of a kind."""
        return [row for row in self.measures if row["kind"] == kind]

    def flatten_metrics(self) -> dict[str, float]:
        """Return the metrics of the run; unknown ones are left out."""
        return {
            build_metric_name(row): float(row["value"])
            for row in self.measures
            if row["kind"] in METRICS and np.isfinite(row["value"])
        }


def build_metric_name(row: Row) -> str:
    """Build the name of a measure as a metric, in the characters that MLflow accepts."""
    part = quote(row["part"], safe=" ", errors="replace").replace("%", "_")
    return METRICS[row["kind"]].format(**row | {"part": part})[:MAX_METRIC_NAME]


@dataclass(frozen=True)
class MonitoredTraffic:
    """The monitored traffic with its history, consignments to use in place of the bundle's profile, and monitored arrivals."""

    inputs: FeatureInputs
    reference: TableSource | None = None
    window: ArrivalWindow = ALL_ARRIVALS


def detect_drift(
    bundle: Bundle,
    traffic: MonitoredTraffic,
    config: EvaluationConfig | None = None,
    progress: Progress | None = None,
) -> Drift:
    """Compare the traffic of a period with the reference; `BadInput` if nothing arrived in it, or there is no reference."""
    config, then = config or EvaluationConfig(), bundle.reference
    if then is None:
        raise BadInput(
            "the model has no reference profile to compare with", where="bundle", todo="train the model again"
        )
    inputs = FeatureInputs.to_repeatable(traffic.inputs)
    inputs = replace(inputs, history=tuple(map(SelectedRows.from_source, inputs.history)))
    received = get_time_column_us(inputs.consignments.take_order(), "received_at")
    within = _require_arrivals(traffic.window.select(received))
    if traffic.reference is None:
        is_later, notes = describe_overlap(then, bundle.card.learnt_until, received[within])
    else:
        # It is read twice: here, and as the past of the monitored traffic.
        before, is_later, notes = SelectedRows.from_source(traffic.reference), True, []
        given = replace(inputs, consignments=before)
        counted = _select_counted(given, None)
        if not counted.any():
            raise BadInput(
                "the reference is empty",
                where="reference",
                got=f"{len(counted):,} rows, of which none counts",
                expected="consignments of an earlier period, not all of them withdrawn",
                todo="give the consignments of the weeks to compare with",
            )
        scored = score_traffic(bundle, given, counted, config, progress)
        then = multiply_counts(build_traffic_profile(scored, then.capacity), scored.stands_for)
        inputs = replace(inputs, history=(*inputs.history, before))
    inside = _require_arrivals(within & _select_counted(inputs, traffic.window.ends))
    seen = score_traffic(bundle, inputs, inside, config, progress)
    if seen.stands_for > 1.0:
        notes.append(
            f"A uniform sample of {len(seen.score):,} of {int(inside.sum()):,} consignments was compared. "
            "Numbers of arrivals of sources are those of the sample."
        )
    labels, young = _read_labels(seen, inputs.outcomes, bundle.card.target)
    with_history = inputs.has_history or bool((received < received[within].min()).any())
    now = build_traffic_profile(seen, then.capacity, like=then)
    measures = list_measures(then, now, seen, labels, with_history=with_history)
    day = seen.day - seen.day.min()
    daily = {
        name: np.rint(np.bincount(day[mine], minlength=now.days) * seen.stands_for).astype(int).tolist()
        for name, mine in seen.group_by_part().items()
    }
    features = list_feature_changes(then, now, seen.spec.features)
    notes += [*young, *_list_notes(measures, now.days, with_history=with_history)]
    notes += describe_changed_features(features)
    if (level := bundle.card.level) is not None:
        counts = "Expected precision is the mean score within the capacity. Its change counts, not its level."
        notes.append(f"{counts} {level.to_sentence()}")
    return Drift(then, now, measures, features, notes, daily, is_later)


def _require_arrivals(rows: Bools) -> Bools:
    if not rows.any():
        raise BadInput(
            "no consignment was received in the period",
            where="consignments",
            todo="provide later consignments, or choose another period with --from and --until",
        )
    return rows


def _select_counted(inputs: FeatureInputs, moment: datetime | None) -> Bools:
    """Select one row of each given consignment, as for the reference of a bundle; earlier versions may be in the history."""
    order = inputs.consignments.take_order()
    both = pd.concat([*(source.take_order() for source in inputs.history), order], ignore_index=True)
    return select_counted_consignments(both, inputs.outcomes, moment)[len(both) - len(order) :]


def describe_overlap(
    reference: ReferenceProfile, learnt_until: str, received_us: Ints
) -> tuple[bool, list[str]]:
    """Check if any monitored day is later, and warn of those that the model learnt from, or that are not after the reference period: they hide drift."""
    after = date.fromisoformat(reference.first_day) + timedelta(days=reference.days)
    unseen = max(after, date.fromisoformat(learnt_until[:10])) if learnt_until else after
    begins, ends = (to_datetime(int(moment)).date() for moment in (received_us.min(), received_us.max()))
    seen, days = (min(unseen - timedelta(days=1), ends) - begins).days + 1, (ends - begins).days + 1
    if seen <= 0:
        return True, []
    told = f"Warning: the model or its reference period has {seen} of the {days} monitored days, and they hide drift."
    return seen < days, [f"{told} Use --from {unseen} or later."]


def _read_labels(
    seen: ScoredTraffic, outcomes: pd.DataFrame | None, target: Target
) -> tuple[Labels | None, list[str]]:
    """Read the latest outcomes of scored traffic, without those of young arrivals, of which mostly `clear` is known."""
    if outcomes is None or outcomes.empty:
        return None, [NO_RESULTS]
    moment = find_last_visible_time(outcomes)
    labels = get_labels_as_of(seen.frame["consignment_id"], outcomes, moment, target)
    end = find_settled_end(outcomes)
    settled = get_time_column_us(seen.frame, "received_at") < to_us(end)
    young = int((labels.known & ~settled).sum())
    note = (
        f"{young:,} results of these arrivals are not used for the observed precision, because most others that arrived "
        f"from {end:%Y-%m-%d} on have no result yet (label delay {LABEL_DELAY_DAYS} days)."
    )
    labels = replace(labels, known=labels.known & settled, positive=labels.positive & settled)
    return labels, [note] if young else []


def score_traffic(
    bundle: Bundle,
    inputs: FeatureInputs,
    inside: Bools,
    config: EvaluationConfig,
    progress: Progress | None = None,
) -> ScoredTraffic:
    """Score some of the given consignments, at most `traffic_rows`, and return their features and scores."""
    ids = inputs.consignments.take_order()["consignment_id"]
    sample = sample_traffic(ids, np.zeros_like(inside), [inside], config.traffic_rows, seed=1)
    X, spec, score = score_features(bundle, inputs, sample.mark(sample.rows), progress)
    frame = read_kept_rows(inputs.consignments, bundle.config, sample.rows)
    return ScoredTraffic(frame, X, spec, score, bundle.config, float(inside.sum()) / len(frame))


def _list_notes(measures: Sequence[Row], days: int, *, with_history: bool) -> Iterator[str]:
    if not with_history:
        yield (
            "No earlier consignments were given, so the history is empty. Scores, senders and precision are shown but not evaluated. "
            "Provide --history, or all consignments with --from."
        )
    if days == 1:
        yield "One day has no interval, so only faults of the data are evaluated. Give at least two days."
    few = [row for row in measures if row["kind"] == "score" and row["rows"] < MIN_ROWS]
    if few:
        more = f" and {len(few) - MAX_LISTED_NAMES} more" if len(few) > MAX_LISTED_NAMES else ""
        named = ", ".join(_describe_few(row, days) for row in few[:MAX_LISTED_NAMES])
        yield f"Scores are evaluated from {MIN_ROWS} consignments on, in each period. Too few: {named}{more}."
    (observed,) = (row for row in measures if row["kind"] == "observed precision")
    if with_history and observed["result"] == NOT_EVALUATED:
        yield f"Too few results to tell whether precision at capacity holds: {observed['detail']}."


def _describe_few(row: Row, days: int) -> str:
    """Describe how many consignments a part of the traffic has, and in how many more days it has enough at its rate."""
    then, came = row["then"], row["now"]
    text = f"{then:,} in the reference" if then < MIN_ROWS else "none"
    if came and then >= MIN_ROWS:
        text = f"{came:,}, enough after {format_count(math.ceil(days * (MIN_ROWS / came - 1)), 'more day')}"
    return f"{row['part'].replace('_', ' ')} ({text})"
