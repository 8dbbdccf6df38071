"""Metrics for Prometheus."""

from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from typing import Any

import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

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
    "model_downgraded": "1 if an older release is in use than one that decided before, else 0.",
    "warnings": "Warnings of /health/ready.",
    "log_shortened": "1 if the log lacks entries that a snapshot has; then nothing is scored. Else 0.",
    "certificate_end_timestamp_seconds": "Time when the TLS certificate of the service ends; 0 without one.",
    "approvers_changed_timestamp_seconds": "Time when the file of approvers was last changed or, without one, its folder.",
    "backup_timestamp_seconds": "Time of the last complete backup; 0 if there was none.",
    "verify_log_timestamp_seconds": "Time when the hash chain of the log was last found valid; 0 if it never was.",
    "parity_timestamp_seconds": "Time when recomputed decisions were last found equal; 0 if they never were.",
}
Labels = tuple[str, ...]
COUNTERS: dict[str, tuple[str, Labels]] = {
    "answers": ("Responses by endpoint and status.", ("call", "status")),
    "decisions": ("Decisions by band.", ("band",)),
    "excess_connections": ("Connections above a limit: total or address.", ("limit",)),
    "rejected_records": ("Rejected records by endpoint and kind of error.", ("call", "kind")),
    "doubtful_records": ("Warnings about recorded records by endpoint and kind.", ("call", "kind")),
    "missing_values": ("Scored consignments without a value in this field.", ("field",)),
    "unknown_codes": ("Codes in this column that the model has not learned.", ("column",)),
    "implausible_codes": (
        "Scored consignments whose country or currency in this field is no code of ISO 3166-1 or ISO 4217.",
        ("field",),
    ),
    "repeats": ("Repeated consignments, answered with the recorded decision.", ()),
    "unscored": (
        "Consignments that could not be scored, for example because the score was not a number.",
        (),
    ),
    "without_office": ("New decisions on consignments without a customs office.", ()),
    "unscored_messages": ("Messages with goods, or that nobody can read, which gave no score.", ()),
    "unmatched_outcomes": ("Outcomes recorded for a consignment that is not known yet.", ()),
    "joined_outcomes": ("Outcomes that waited for their consignment until it arrived.", ()),
}
HISTOGRAMS: dict[str, tuple[str, Labels, Sequence[float]]] = {
    "answer_seconds": ("Time to answer a request.", ("call",), ANSWER_BUCKETS_SECONDS),
    "stage_seconds": ("Time that a request spends in a stage of scoring.", ("stage",), STAGE_BUCKETS_SECONDS),
    "score": ("Scores of new decisions.", (), SCORE_BUCKETS),
    "commit_seconds": ("Time to commit a group of log entries.", (), ANSWER_BUCKETS_SECONDS),
    "commit_entries": ("Log entries in a committed group.", (), GROUP_BUCKETS_ENTRIES),
}


class Metrics:
    """The metrics of one service."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.gauges = {
            name: Gauge(f"npsrisk_{name}", text, registry=self.registry) for name, text in GAUGES.items()
        }
        self._model = Gauge(
            "npsrisk_model", "1 for the model (or the rules) that scores.", ["name", "version", "bundle_sha256"],
            registry=self.registry,
        )  # fmt: skip
        self._counters = {
            name: Counter(f"npsrisk_{name}", text, labels, registry=self.registry)
            for name, (text, labels) in COUNTERS.items()
        }
        histograms = {
            name: Histogram(f"npsrisk_{name}", text, labels, buckets=bounds, registry=self.registry)
            for name, (text, labels, bounds) in HISTOGRAMS.items()
        }
        # Without the cache, finding a labelled series takes longer than counting.
        self._find_series = cache(partial(_find_series, self._counters | histograms))
        self.traffic = DataQualityCounters(self)

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        """Add to a counter of COUNTERS, given the values of its labels."""
        self._find_series(name, *labels).inc(by)

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Add a value to a histogram of HISTOGRAMS, given the values of its labels."""
        self._find_series(name, *labels).observe(value)

    def read_counts(self, name: str) -> dict[str, int]:
        """Read the counts of a counter with one label, by its values."""
        (family,) = self._counters[name].collect()
        return {value: int(sample.value) for sample in family.samples for value in sample.labels.values()}

    def record_answer(
        self, call: str, status: int, seconds: float, timings: Iterable[tuple[str, float]] = ()
    ) -> None:
        """Record a response with its duration and the durations of its stages."""
        self.count("answers", call, str(status))
        self.observe("answer_seconds", seconds, call)
        for stage, spent in timings:
            self.observe("stage_seconds", spent, stage)

    def record_batch(
        self, timings: Iterable[tuple[str, float]], bands: Sequence[str], scores: Sequence[float]
    ) -> None:
        """Record a batch: seconds by stage, and band and score of each new decision, (n,)."""
        for stage, seconds in timings:
            self.observe("stage_seconds", seconds, stage)
        for band, count in Tally(bands).items():
            self.count("decisions", band, by=count)
        for score in scores:
            self.observe("score", score)

    def set_model(self, name: str, sha256: str, loaded_at: datetime, as_of: datetime | None) -> None:
        """Set the model that scores from now on: `NAME/VERSION` and bundle digest; `as_of` is None for the rules."""
        model, _, version = name.rpartition("/")
        self._model.clear()
        self._model.labels(model, version, sha256).set(1)
        self.gauges["model_loaded_timestamp_seconds"].set(loaded_at.timestamp())
        self.gauges["model_as_of_timestamp_seconds"].set(as_of.timestamp() if as_of else 0)

    def record_commit(self, entries: int, seconds: float) -> None:
        """Record the commit of a group of log entries."""
        self.observe("commit_entries", entries)
        self.observe("commit_seconds", seconds)

    def render(self, gauges: Mapping[str, float]) -> bytes:
        """Return all metrics in the Prometheus text format; `gauges` are the current values of some gauges."""
        self.traffic.flush()
        for name, value in gauges.items():
            self.gauges[name].set(value)
        return generate_latest(self.registry)


def _find_series(metrics: Mapping[str, Any], name: str, *labels: str) -> Any:
    return metrics[name].labels(*labels) if labels else metrics[name]


BATCH_CONSIGNMENTS = 64
"""Number of consignments counted together; one by one would cost more than decoding them."""
EXCLUDED_FIELDS = frozenset({"received_at", "cancelled_at"})
CATEGORY_GROUP = "category"


class DataQualityCounters:
    """The counters of missing fields and unknown codes."""

    def __init__(self, metrics: Metrics) -> None:
        self._count = metrics.count
        self._waiting: list[tuple[object, ...]] = []
        self._rows: list[NDArray[np.float32]] = []

    def configure(self, record: type[Consignment], spec: Spec, *, has_codes: bool) -> None:
        """Set the type of the consignments and the features of the rows that are recorded from now on; the rules have learned no codes."""
        self.flush()
        counted = {
            each.name for each in get_fields(record) if not each.required and each.name not in EXCLUDED_FIELDS
        }
        self._fields = [
            (place, name) for place, name in enumerate(record.__struct_fields__) if name in counted
        ]
        self._lists = find_code_lists(record)
        self._codes = [place for place, each in enumerate(spec) if has_codes and each.group == CATEGORY_GROUP]
        self._columns = [spec.names[place].partition(".")[2] for place in self._codes]

    def record(self, consignments: Sequence[Consignment], X: NDArray[np.float32]) -> None:
        """Record scored consignments, (n,), and their features, (n, features)."""
        self._waiting += map(astuple, consignments)
        self._rows.append(X[:, self._codes])
        if len(self._waiting) >= BATCH_CONSIGNMENTS:
            self.flush()

    def flush(self) -> None:
        """Count the recorded consignments that were not counted yet."""
        if not self._waiting:
            return
        columns: list[tuple[Any, ...]] = list(zip(*self._waiting, strict=True))
        for place, name in self._fields:
            column = columns[place]
            self._count("missing_values", name, by=column.count(None))
            if name in self._lists:
                self._count("implausible_codes", name, by=count_unknown_codes(column, self._lists[name]))
        unknown = (np.concatenate(self._rows) == RARE_CODE).sum(axis=0)
        for name, count in zip(self._columns, unknown.tolist(), strict=True):
            self._count("unknown_codes", name, by=count)
        self._waiting, self._rows = [], []
