"""What Prometheus is told."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from serving.event_log import EventLog
from serving.group_commit import Committer
from serving.model import Model
from serving.shadow_log import Report, Tally
from serving.state import State

ANSWER_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
SCORES = (1e-5, 1e-4, 1e-3, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6)
SHADOW = {
    "scored": "Decisions that the challenger scored too.",
    "disagreed": "Of these, those it put into another band.",
    "dropped": "Entries passed over because the challenger was too far behind.",
    "failed": "Decisions at which the challenger failed.",
    "unfit": "Decisions whose history the challenger counts otherwise.",
}
GROUP_ENTRIES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class Metrics:
    """The numbers of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        calls = Counter(
            "npsrisk_answers", "Answers by call and status.", ["call", "status"], registry=self.registry
        )
        self._answers = calls.labels
        self._counters: dict[tuple[str, int], Counter] = {}
        seconds = Histogram(
            "npsrisk_answer_seconds",
            "Time to answer a call.",
            ["call"],
            buckets=ANSWER_SECONDS,
            registry=self.registry,
        )
        self._seconds = seconds.labels
        self._timers: dict[str, Histogram] = {}
        bands = Counter("npsrisk_decisions", "Decisions by band.", ["band"], registry=self.registry)
        self.bands = {band: bands.labels(band) for band in ("high", "elevated", "routine")}
        self.scores = Histogram("npsrisk_score", "Scores.", buckets=SCORES, registry=self.registry)
        self.repeats = Counter(
            "npsrisk_repeats", "Consignments answered from the log.", registry=self.registry
        )
        self.rejects = Counter(
            "npsrisk_rejected_records", "Records refused in lists.", registry=self.registry
        )
        self.commit_seconds = Histogram(
            "npsrisk_commit_seconds", "Time to write a group.", buckets=ANSWER_SECONDS, registry=self.registry
        )
        self.commit_entries = Histogram(
            "npsrisk_commit_entries", "Entries of a group.", buckets=GROUP_ENTRIES, registry=self.registry
        )
        self.sequence = Gauge("npsrisk_log_sequence", "Last durable entry.", registry=self.registry)
        self.waiting = Gauge("npsrisk_log_waiting", "Entries not yet durable.", registry=self.registry)
        self.log_usable = Gauge(
            "npsrisk_log_usable", "1 where the log can be written.", registry=self.registry
        )
        self.log_lag = Gauge(
            "npsrisk_log_lag_seconds",
            "How long the oldest entry that is not durable has been waiting.",
            registry=self.registry,
        )
        self.clock_behind = Gauge(
            "npsrisk_clock_behind_seconds",
            "How far the system's clock is behind what was recorded last.",
            registry=self.registry,
        )
        self.unscored = Counter(
            "npsrisk_unscored",
            "Consignments whose score failed, as where it was no number.",
            registry=self.registry,
        )
        self.history_keys = Gauge("npsrisk_history_keys", "Keys of history.", registry=self.registry)
        self.history_bound = Gauge(
            "npsrisk_history_keys_bound",
            "Keys of history there may be; 0: no bound.",
            registry=self.registry,
        )
        self.history_bytes = Gauge(
            "npsrisk_history_bytes", "Memory of the table of history.", registry=self.registry
        )
        self.identifiers = Gauge("npsrisk_identifiers", "Consignments in the index.", registry=self.registry)
        self.snapshot_sequence = Gauge(
            "npsrisk_snapshot_sequence", "Last entry that a snapshot holds.", registry=self.registry
        )
        self.snapshot_bytes = Gauge(
            "npsrisk_snapshot_bytes", "Size of the last snapshot written.", registry=self.registry
        )
        self.snapshot_pause = Gauge(
            "npsrisk_snapshot_pause_seconds",
            "How long calls waited while the state was copied.",
            registry=self.registry,
        )
        self.snapshot_failed = Gauge(
            "npsrisk_snapshot_failed", "1 where no snapshot could be written.", registry=self.registry
        )
        self.shadow = {
            name: Counter(f"npsrisk_shadow_{name}", told, registry=self.registry)
            for name, told in SHADOW.items()
        }
        self.shadow_behind = Gauge(
            "npsrisk_shadow_behind", "Entries that the challenger has not looked at.", registry=self.registry
        )
        self.shadow_restarts = Counter(
            "npsrisk_shadow_restarts", "How often the challenger's process ended.", registry=self.registry
        )
        self.model = Gauge(
            "npsrisk_model",
            "1 for the model that scores, or the rules.",
            ["name", "version", "bundle_sha256"],
            registry=self.registry,
        )
        self.model_loaded_at = Gauge(
            "npsrisk_model_loaded_timestamp_seconds", "When the model was loaded.", registry=self.registry
        )
        self.degraded = Gauge(
            "npsrisk_degraded", "1 where rules score because no model is loaded.", registry=self.registry
        )
        self.model_refused = Gauge(
            "npsrisk_model_refused", "1 where the published model was refused.", registry=self.registry
        )

    def answered(self, call: str, status: int, seconds: float) -> None:
        """Count and time an answer. Labels are looked up once each: that costs more than the counting."""
        counter = self._counters.get((call, status))
        if counter is None:
            counter = self._counters[call, status] = self._answers(call, str(status))
        counter.inc()
        timer = self._timers.get(call)
        if timer is None:
            timer = self._timers[call] = self._seconds(call)
        timer.observe(seconds)

    def scored_by(self, model: Model) -> None:
        """Note what scores from now on."""
        name, _, version = model.name.rpartition("/")
        self.model.clear()
        self.model.labels(name, version, model.sha256).set(1)
        self.model_loaded_at.set(model.loaded_at.timestamp())
        self.degraded.set(model.release is None)

    def shadowed(self, report: Report, before: Tally) -> None:
        """Note what the challenger's process tells, and told before."""
        for name, counter in self.shadow.items():
            counter.inc(getattr(report.tally, name) - getattr(before, name))
        self.shadow_behind.set(report.behind)

    def committed(self, entries: int, seconds: float) -> None:
        """Note a group that was written."""
        self.commit_entries.observe(entries)
        self.commit_seconds.observe(seconds)

    def kept(self, nbytes: int, pause_seconds: float) -> None:
        """Note a snapshot that was written."""
        self.snapshot_failed.set(0)
        self.snapshot_bytes.set(nbytes)
        self.snapshot_pause.set(pause_seconds)

    def text(self, log: EventLog, committer: Committer, state: State, snapshot: int) -> bytes:
        """Give all numbers in the text format of Prometheus."""
        self.history_keys.set(len(state.history))
        self.history_bound.set(state.history.max_keys or 0)
        self.history_bytes.set(state.history.nbytes)
        self.identifiers.set(len(state.dossiers.index))
        self.snapshot_sequence.set(snapshot)
        self.sequence.set(log.last_sequence)
        self.waiting.set(committer.waiting)
        self.log_lag.set(committer.lag_seconds)
        self.log_usable.set(committer.fault is None and committer.stall() is None)
        return generate_latest(self.registry)
