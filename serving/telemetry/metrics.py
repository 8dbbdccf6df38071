"""Metrics for Prometheus, which `metrics.toml` declares."""

import tomllib
from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from pathlib import Path
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

METRICS: dict[str, dict[str, dict[str, Any]]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)
"""Gauges, counters and histograms."""
CLASSES: dict[str, Any] = {"gauges": Gauge, "counters": Counter, "histograms": Histogram}


class Metrics:
    """The metrics of one service."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        made = {
            kind: {
                name: CLASSES[kind](f"npsrisk_{name}", registry=self.registry, **given)
                for name, given in metrics.items()
            }
            for kind, metrics in METRICS.items()
        }
        self.gauges, self._counters = made["gauges"], made["counters"]
        # Without the cache, finding a labelled series takes longer than counting.
        self._find_series = cache(partial(_find_series, made["counters"] | made["histograms"]))
        self.traffic = DataQualityCounters(self)

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        """Add to a counter, given the values of its labels."""
        self._find_series(name, *labels).inc(by)

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Add a value to a histogram, given the values of its labels."""
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
        self.gauges["model"].clear()
        self.gauges["model"].labels(model, version, sha256).set(1)
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
