"""Metrics for Prometheus. The request path uses the fast counters of `serving.telemetry.counters`."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from serving.telemetry.counters import LabeledCounters, LabeledHistograms
from serving.telemetry.data_quality import DataQualityCounters

ANSWER_BUCKETS_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
STAGE_BUCKETS_SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 5.0)
SCORE_BUCKETS = (1e-5, 1e-4, 1e-3, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6)
GROUP_BUCKETS_ENTRIES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
SHADOW_COUNTERS = {
    "scored": "Decisions that the challenger scored too.",
    "disagreed": "Decisions that the challenger put into another band.",
    "dropped": "Log entries skipped because the challenger was too far behind.",
    "failed": "Decisions that the challenger failed to score.",
    "unfit": "Decisions not scored because the challenger uses other history keys or features.",
}
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
    "shadow_behind": "Log entries that the challenger has not processed.",
}
COUNTERS = {
    "repeats": "Repeated consignments, answered with the recorded decision.",
    "unscored": "Consignments that could not be scored, for example because the score was not a number.",
    "without_office": "New decisions on consignments without a customs office.",
    "unmatched_outcomes": "Outcomes recorded for a consignment that is not known yet.",
    "joined_outcomes": "Outcomes that waited for their consignment until it arrived.",
    "shadow_restarts": "Restarts of the challenger's process.",
    **{f"shadow_{name}": help_text for name, help_text in SHADOW_COUNTERS.items()},
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
        self.traffic.flush()
        for each in (
            self.answers,
            self.seconds,
            self.stages,
            self.decisions,
            self.scores,
            self.rejected,
            self.doubtful,
        ):
            yield from each.collect()
        yield from self.traffic.missing.collect()
        yield from self.traffic.unknown.collect()
        yield from self.traffic.implausible.collect()


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

    def record_rejection(self, call: str, kind: str) -> None:
        """Count a rejected record."""
        self.hot.rejected[call, kind] += 1

    def record_warning(self, call: str, kind: str) -> None:
        """Count a warning about a record."""
        self.hot.doubtful[call, kind] += 1

    def record_shadow(self, increments: Mapping[str, int], behind: int) -> None:
        """Record the results of the challenger, and how many log entries it is behind."""
        for name in SHADOW_COUNTERS:
            self.counters[f"shadow_{name}"].inc(increments[name])
        self.gauges["shadow_behind"].set(behind)

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
