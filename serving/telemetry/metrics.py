"""What Prometheus is told. What a request counts is counted in plain numbers (`serving.telemetry.counters`)."""

from collections.abc import Iterable, Mapping
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
    "disagreed": "Of these, those it put into another band.",
    "dropped": "Entries passed over because the challenger was too far behind.",
    "failed": "Decisions at which the challenger failed.",
    "unfit": "Decisions whose history the challenger counts otherwise.",
}
GAUGES = {
    "connections": "Connections of clients.",
    "settings_refused": "Files of keys or certificates that changed and are not used.",
    "log_sequence": "Last durable entry.",
    "log_waiting": "Entries not yet durable.",
    "log_lag_seconds": "How long the oldest entry that is not durable has been waiting.",
    "log_usable": "1 where the log can be written.",
    "clock_behind_seconds": "How far the system's clock is behind what was recorded last.",
    "history_keys": "Keys of history.",
    "history_keys_bound": "Keys of history there may be; 0: no bound.",
    "history_bytes": "Memory of the table of history.",
    "identifiers": "Consignments in the index.",
    "snapshot_sequence": "Last entry that a snapshot holds.",
    "snapshot_bytes": "Size of the last snapshot written.",
    "snapshot_pause_seconds": "How long calls waited while the state was copied.",
    "snapshot_failed": "1 where no snapshot could be written.",
    "model_loaded_timestamp_seconds": "When the model was loaded.",
    "model_as_of_timestamp_seconds": "The moment whose knowledge the model was trained on; 0 for the rules.",
    "model_refused": "1 where the published model was refused.",
    "degraded": "1 where rules score because no model is loaded.",
    "shadow_behind": "Entries that the challenger has not looked at.",
}
COUNTERS = {
    "repeats": "Consignments answered from the log.",
    "unscored": "Consignments whose score failed, as where it was no number.",
    "shadow_restarts": "How often the challenger's process ended.",
    **{f"shadow_{name}": told for name, told in SHADOW_COUNTERS.items()},
}


class RequestCollector(Collector):
    """What is counted on the path of a request, by one thread."""

    def __init__(self) -> None:
        self.answers = LabeledCounters("npsrisk_answers", "Answers by call and status.", ("call", "status"))
        self.seconds = LabeledHistograms(
            "npsrisk_answer_seconds", "Time to answer a call.", ("call",), ANSWER_BUCKETS_SECONDS
        )
        self.stages = LabeledHistograms(
            "npsrisk_stage_seconds",
            "Time a call spends in a stage of scoring.",
            ("stage",),
            STAGE_BUCKETS_SECONDS,
        )
        self.decisions = LabeledCounters("npsrisk_decisions", "Decisions by band.", ("band",))
        self.scores = LabeledHistograms("npsrisk_score", "Scores.", (), SCORE_BUCKETS)
        self.rejected = LabeledCounters(
            "npsrisk_rejected_records", "Records refused, by what is wrong.", ("call", "kind")
        )
        self.traffic = DataQualityCounters()

    def collect(self) -> Iterable[Metric]:
        """Give what Prometheus is told."""
        self.traffic.flush()
        for each in (self.answers, self.seconds, self.stages, self.decisions, self.scores, self.rejected):
            yield from each.collect()
        yield from self.traffic.missing.collect()
        yield from self.traffic.unknown.collect()


class Metrics:
    """The numbers of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.hot = RequestCollector()
        self.registry.register(self.hot)
        ProcessCollector(registry=self.registry)
        self.gauges = {
            name: Gauge(f"npsrisk_{name}", told, registry=self.registry) for name, told in GAUGES.items()
        }
        self.counters = {
            name: Counter(f"npsrisk_{name}", told, registry=self.registry) for name, told in COUNTERS.items()
        }
        self.model = Gauge(
            "npsrisk_model", "1 for the model that scores, or the rules.", ["name", "version", "bundle_sha256"],
            registry=self.registry,
        )  # fmt: skip
        # Written by the thread that commits.
        self.commit_seconds = Histogram(
            "npsrisk_commit_seconds",
            "Time to write a group.",
            buckets=ANSWER_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self.commit_entries = Histogram(
            "npsrisk_commit_entries",
            "Entries of a group.",
            buckets=GROUP_BUCKETS_ENTRIES,
            registry=self.registry,
        )

    def record_answer(
        self, call: str, status: int, seconds: float, timings: Iterable[tuple[str, float]] = ()
    ) -> None:
        """Count and time an answer, and the stages of it."""
        self.hot.answers[call, str(status)] += 1
        self.hot.seconds[call,].observe(seconds)
        for stage, spent in timings:
            self.hot.stages[stage,].observe(spent)

    def record_batch(
        self, timings: Iterable[tuple[str, float]], answers: Iterable[tuple[str, float] | str]
    ) -> None:
        """Count a batch: seconds by stage, and band and score of each new decision, or the counter it belongs to."""
        for stage, seconds in timings:
            self.hot.stages[stage,].observe(seconds)
        for answer in answers:
            if isinstance(answer, str):
                self.counters[answer].inc()
            else:
                band, score = answer
                self.hot.decisions[band,] += 1
                self.hot.scores[()].observe(score)

    def record_rejection(self, call: str, kind: str) -> None:
        """Count a record that was refused."""
        self.hot.rejected[call, kind] += 1

    def record_shadow(self, increments: Mapping[str, int], behind: int) -> None:
        """Note what became of the decisions that the challenger was to score, and how many entries it is behind."""
        for name in SHADOW_COUNTERS:
            self.counters[f"shadow_{name}"].inc(increments[name])
        self.gauges["shadow_behind"].set(behind)

    def set_model(self, name: str, sha256: str, loaded_at: datetime, as_of: datetime | None) -> None:
        """Note what scores from now on: `NAME/VERSION` and the digest of its bundle; no `as_of` for the rules."""
        model, _, version = name.rpartition("/")
        self.model.clear()
        self.model.labels(model, version, sha256).set(1)
        self.gauges["model_loaded_timestamp_seconds"].set(loaded_at.timestamp())
        self.gauges["model_as_of_timestamp_seconds"].set(as_of.timestamp() if as_of else 0)

    def record_commit(self, entries: int, seconds: float) -> None:
        """Note a group that was written."""
        self.commit_entries.observe(entries)
        self.commit_seconds.observe(seconds)

    def record_snapshot(self, nbytes: int, pause_seconds: float) -> None:
        """Note a snapshot that was written."""
        self.gauges["snapshot_failed"].set(0)
        self.gauges["snapshot_bytes"].set(nbytes)
        self.gauges["snapshot_pause_seconds"].set(pause_seconds)

    def render(self, gauges: Mapping[str, float]) -> bytes:
        """Return all numbers in the text format of Prometheus, with values of gauges as they are now."""
        for name, value in gauges.items():
            self.gauges[name].set(value)
        return generate_latest(self.registry)
