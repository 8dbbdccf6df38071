"""Metrics for Prometheus. The request path uses the fast counters of `serving.telemetry.metrics`."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from consignments.doubts import count_unknown_codes, find_code_lists
from consignments.records import Consignment, get_fields
from features.categories import RARE_CODE
from features.spec import Spec

ANSWER_BUCKETS_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
STAGE_BUCKETS_SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 5.0)
SCORE_BUCKETS = (1e-5, 1e-4, 1e-3, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6)
GROUP_BUCKETS_ENTRIES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
GAUGES = {
    "active": "1 if this service scores and writes the log, 0 if it is a standby.",
    "standby_usable": "0 if this is a standby that could not start when it had the lock, else 1.",
    "connections": "Open client connections.",
    "settings_refused": "Files named by settings that changed but were refused.",
    "log_sequence": "Sequence number of the last durable log entry.",
    "log_waiting": "Log entries that are not yet durable.",
    "log_lag_seconds": "Age of the oldest log entry that is not yet durable.",
    "log_usable": "1 if the log can be written, and no write failed in the last minute, else 0.",
    "clock_behind_seconds": "Seconds that the system clock is behind the last recorded time.",
    "clock_ahead_seconds": "Seconds that the system clock has jumped, negative if back; nothing is recorded meanwhile.",
    "history_keys": "History keys in memory.",
    "history_keys_bound": "Maximum number of history keys; 0 if there is no limit.",
    "history_bytes": "Memory of the history table in bytes.",
    "identifiers": "Consignments in the identifier index.",
    "links": "Masters, houses and listed items that are kept for each other.",
    "snapshot_sequence": "Sequence number of the last log entry in a snapshot.",
    "snapshot_bytes": "Size of the last snapshot in bytes.",
    "snapshot_pause_seconds": "Seconds that requests waited while the state was copied for the last snapshot.",
    "snapshot_failed": "1 if the last snapshot could not be written, else 0.",
    "model_loaded_timestamp_seconds": "Time when the model was loaded.",
    "model_as_of_timestamp_seconds": "The model was trained on what was known at this time; 0 for the rules.",
    "model_refused": "1 if the published model was refused, else 0.",
    "degraded": "1 if the rules score because no model is loaded, else 0.",
    "model_downgraded": "1 if an older release than the newest approved one is in use, else 0.",
    "warnings": "Warnings of /health/ready.",
    "log_shortened": "1 if the log lacks entries that a snapshot has; then nothing is scored. Else 0.",
    "certificate_end_timestamp_seconds": "Time when the TLS certificate of the service ends; 0 without one.",
    "approvers_changed_timestamp_seconds": "Time when the file of approvers was last changed; 0 without one.",
    "backup_timestamp_seconds": "Time of the last complete backup; 0 if there was none.",
    "verify_log_timestamp_seconds": "Time when the hash chain of the log was last found valid; 0 if it never was.",
    "parity_timestamp_seconds": "Time when recomputed decisions were last found equal; 0 if they never were.",
}
COUNTERS = {
    "repeats": "Repeated consignments, answered with the recorded decision.",
    "unscored": "Consignments that could not be scored, for example because the score was not a number.",
    "without_office": "New decisions on consignments without a customs office.",
    "unscored_messages": "Messages with goods, or that nobody can read, which gave no score.",
    "unmatched_outcomes": "Outcomes recorded for a consignment that is not known yet.",
    "joined_outcomes": "Outcomes that waited for their consignment until it arrived.",
}


class RequestCollector(Collector):
    """The collector of what one thread counts on the request path."""

    def __init__(self) -> None:
        self.answers = LabeledCounters(
            "npsrisk_answers", "Responses by endpoint and status.", ("call", "status")
        )
        self.seconds = LabeledHistograms(
            "npsrisk_answer_seconds", "Time to answer a request.", ("call",), ANSWER_BUCKETS_SECONDS
        )
        self.stages = LabeledHistograms(
            "npsrisk_stage_seconds",
            "Time that a request spends in a stage of scoring.",
            ("stage",),
            STAGE_BUCKETS_SECONDS,
        )
        self.decisions = LabeledCounters("npsrisk_decisions", "Decisions by band.", ("band",))
        self.scores = LabeledHistograms("npsrisk_score", "Scores of new decisions.", (), SCORE_BUCKETS)
        self.rejected = LabeledCounters(
            "npsrisk_rejected_records", "Rejected records by endpoint and kind of error.", ("call", "kind")
        )
        self.doubtful = LabeledCounters(
            "npsrisk_doubtful_records",
            "Warnings about recorded records by endpoint and kind.",
            ("call", "kind"),
        )
        self.traffic = DataQualityCounters()

    def collect(self) -> Iterable[Metric]:
        """Return the metric families for Prometheus."""
        for each in vars(self).values():
            yield from each.collect()


class Metrics:
    """The metrics of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.hot = RequestCollector()
        self.registry.register(self.hot)
        ProcessCollector(registry=self.registry)
        self.gauges = {
            name: Gauge(f"npsrisk_{name}", text, registry=self.registry) for name, text in GAUGES.items()
        }
        self.counters = {
            name: Counter(f"npsrisk_{name}", text, registry=self.registry) for name, text in COUNTERS.items()
        }
        self.model = Gauge(
            "npsrisk_model", "1 for the model (or the rules) that scores.", ["name", "version", "bundle_sha256"],
            registry=self.registry,
        )  # fmt: skip
        # Written by the thread that commits.
        self.commit_seconds = Histogram(
            "npsrisk_commit_seconds",
            "Time to commit a group of log entries.",
            buckets=ANSWER_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self.commit_entries = Histogram(
            "npsrisk_commit_entries",
            "Log entries in a committed group.",
            buckets=GROUP_BUCKETS_ENTRIES,
            registry=self.registry,
        )

    def record_answer(
        self, call: str, status: int, seconds: float, timings: Iterable[tuple[str, float]] = ()
    ) -> None:
        """Record a response with its duration and the durations of its stages."""
        self.hot.answers[call, str(status)] += 1
        self.hot.seconds[call,].observe(seconds)
        for stage, spent in timings:
            self.hot.stages[stage,].observe(spent)

    def record_batch(
        self, timings: Iterable[tuple[str, float]], bands: Sequence[str], scores: Sequence[float]
    ) -> None:
        """Record a batch: seconds by stage, and band and score of each new decision, (n,)."""
        for stage, seconds in timings:
            self.hot.stages[stage,].observe(seconds)
        for band in bands:
            self.hot.decisions[band,] += 1
        self.hot.scores[()].observe_all(scores)

    def set_model(self, name: str, sha256: str, loaded_at: datetime, as_of: datetime | None) -> None:
        """Set the model that scores from now on: `NAME/VERSION` and bundle digest; `as_of` is None for the rules."""
        model, _, version = name.rpartition("/")
        self.model.clear()
        self.model.labels(model, version, sha256).set(1)
        self.gauges["model_loaded_timestamp_seconds"].set(loaded_at.timestamp())
        self.gauges["model_as_of_timestamp_seconds"].set(as_of.timestamp() if as_of else 0)

    def record_commit(self, entries: int, seconds: float) -> None:
        """Record the commit of a group of log entries."""
        self.commit_entries.observe(entries)
        self.commit_seconds.observe(seconds)

    def record_snapshot(self, nbytes: int, pause_seconds: float) -> None:
        """Record that a snapshot was written."""
        self.gauges["snapshot_failed"].set(0)
        self.gauges["snapshot_bytes"].set(nbytes)
        self.gauges["snapshot_pause_seconds"].set(pause_seconds)

    def render(self, gauges: Mapping[str, float]) -> bytes:
        """Return all metrics in the Prometheus text format; `gauges` are the current values of some gauges."""
        for name, value in gauges.items():
            self.gauges[name].set(value)
        return generate_latest(self.registry)


BATCH_CONSIGNMENTS = 64
"""Number of consignments counted together; one by one would cost more than decoding them."""
EXCLUDED_FIELDS = frozenset({"received_at", "cancelled_at"})
CATEGORY_GROUP = "category"
"""Group of the features that are codes of a vocabulary."""


class DataQualityCounters:
    """The counters of missing fields and unknown codes."""

    def __init__(self) -> None:
        self.missing = LabeledCounters(
            "npsrisk_missing_values", "Scored consignments without a value in this field.", ("field",)
        )
        self.unknown = LabeledCounters(
            "npsrisk_unknown_codes", "Codes in this column that the model has not learned.", ("column",)
        )
        self.implausible = LabeledCounters(
            "npsrisk_implausible_codes",
            "Scored consignments whose country or currency in this field is no code of ISO 3166-1 or ISO 4217.",
            ("field",),
        )
        self._waiting: list[tuple[object, ...]] = []
        self._rows: list[NDArray[np.float32]] = []

    def configure(self, record: type[Consignment], spec: Spec) -> None:
        """Set the type of the consignments and the features of the rows that are recorded from now on."""
        self.flush()
        counted = {
            each.name for each in get_fields(record) if not each.required and each.name not in EXCLUDED_FIELDS
        }
        self._fields = [
            (place, (name,)) for place, name in enumerate(record.__struct_fields__) if name in counted
        ]
        self._lists = {(name,): known for name, known in find_code_lists(record).items()}
        places = [place for place, each in enumerate(spec) if each.group == CATEGORY_GROUP]
        self._codes = slice(places[0], places[-1] + 1)
        self._columns = [(spec.names[place].partition(".")[2],) for place in places]

    def record(self, consignments: Sequence[Consignment], X: NDArray[np.float32]) -> None:
        """Record scored consignments, (n,), and their features, (n, features)."""
        self._waiting += map(astuple, consignments)
        self._rows.append(X[:, self._codes].copy())
        if len(self._waiting) >= BATCH_CONSIGNMENTS:
            self.flush()

    def collect(self) -> Iterable[Metric]:
        """Return the metric families for Prometheus."""
        self.flush()
        for each in (self.missing, self.unknown, self.implausible):
            yield from each.collect()

    def flush(self) -> None:
        """Count the recorded consignments that were not counted yet."""
        if not self._waiting:
            return
        columns: list[tuple[Any, ...]] = list(zip(*self._waiting, strict=True))
        for place, field in self._fields:
            column = columns[place]
            self.missing[field] += column.count(None)
            if field in self._lists:
                self.implausible[field] += count_unknown_codes(column, self._lists[field])
        unknown = (np.concatenate(self._rows) == RARE_CODE).sum(axis=0)
        for name, count in zip(self._columns, unknown.tolist(), strict=True):
            self.unknown[name] += count
        self._waiting, self._rows = [], []


LabelValues = tuple[str, ...]


class HistogramBuckets:
    """The counts of a histogram's buckets with some upper bounds, inclusive and ascending."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds, self.counts, self.total = bounds, [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float) -> None:
        """Count a value in its bucket."""
        self.observe_all((value,))

    def observe_all(self, values: Sequence[float]) -> None:
        """Count each of some values in its bucket."""
        for value in values:
            self.counts[bisect_left(self._bounds, value)] += 1
        self.total += sum(values)

    def compute_cumulative(self) -> list[tuple[str, float]]:
        """Return each upper bound, the last one `+Inf`, with the number of values at or below it."""
        found, sum_ = [], 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self.counts, strict=True):
            sum_ += count
            found.append((bound, float(sum_)))
        return found


class LabeledHistograms(dict[LabelValues, HistogramBuckets]):
    """A histogram for each combination of label values, created on first use."""

    def __init__(self, name: str, help_text: str, labels: LabelValues, bounds: Sequence[float]) -> None:
        super().__init__()
        self._name, self._help, self._labels, self._bounds = name, help_text, labels, bounds

    def __missing__(self, labels: LabelValues) -> HistogramBuckets:
        made = self[labels] = HistogramBuckets(self._bounds)
        return made

    def collect(self) -> Iterable[Metric]:
        """Return the metric family for Prometheus."""
        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        for labels, buckets in self.items():
            family.add_metric(labels, buckets.compute_cumulative(), buckets.total)
        yield family


class LabeledCounters(defaultdict[LabelValues, int]):
    """A counter for each combination of label values."""

    def __init__(self, name: str, help_text: str, labels: LabelValues = ()) -> None:
        super().__init__(int)
        self._name, self._help, self._labels = name, help_text, labels

    def collect(self) -> Iterable[Metric]:
        """Return the metric family for Prometheus."""
        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for labels, count in self.items():
            family.add_metric(labels, count)
        yield family
