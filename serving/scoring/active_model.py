"""Active model with its state; both are replaced in one step when a new model is loaded."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from msgspec import msgpack

from consignments.errors import ServiceFault
from consignments.identifiers import normalize_identifier
from serving.event_log.event_codec import EventCodec
from serving.event_log.events import MaintenanceEvent, MaintenanceKind
from serving.event_log.group_commit import CommitGroup, Committer
from serving.process.clock import Clock
from serving.process.settings import WithoutModel
from serving.scoring.exchange import ExchangeMembers
from serving.scoring.intake import Intake
from serving.scoring.loaded_model import LoadedModel
from serving.scoring.scorer import Scorer, ScoreRequest, ScoreResult
from serving.state.consignment_states import ConsignmentEvents
from serving.state.state import State
from serving.telemetry.metrics import Metrics

LOOKUP_THREADS = 2
MAX_WAIT_SECONDS = 10.0
"""Maximum seconds that a request, or a chunk of a list, waits for its states."""


class ActiveModel:
    """The model that scores now, or the rules, with its state, intake and scorer; `fault` says why the published model does not score."""

    model: LoadedModel
    state: State
    intake: Intake

    def __init__(
        self,
        committer: Committer,
        clock: Clock,
        metrics: Metrics,
        without_model: WithoutModel,
        members: ExchangeMembers,
    ) -> None:
        self._members = members
        self.committer, self.clock, self._metrics = committer, clock, metrics
        self._without_model = without_model
        self._threads = ThreadPoolExecutor(LOOKUP_THREADS, "look-up")
        self.scorer: Scorer | None = None
        self.fault: str | None = None

    @property
    def entries(self) -> EventCodec:
        """Return the event codec of the model."""
        return self.model.entries

    @property
    def degraded(self) -> bool:
        """Return whether the rules score because no model is loaded."""
        return self.scorer is not None and self.model.release is None

    def switch_to(self, model: LoadedModel, state: State) -> None:
        """Activate a model with its state."""
        self.model, self.state = model, state
        state.dossiers.durable = lambda: self.committer.durable_sequence
        self.intake = Intake(state, model.entries, self.committer, self._members)
        self.scorer = None
        if model.release is not None:
            self.fault = None
            self._metrics.gauges["model_refused"].set(0)
        if model.release is not None or self._without_model == "rules":
            self.scorer = Scorer(model, self.intake, self.committer, self.clock, self._metrics)
            self._metrics.set_model(model.name, model.sha256, model.loaded_at, model.as_of)
            self._metrics.gauges["degraded"].set(model.release is None)
            self._metrics.traffic.configure(model.record, model.spec)

    def get_scorer(self) -> Scorer:
        """Return the scorer; raise `ServiceFault` if no model is loaded and the rules do not replace it."""
        if self.scorer is None:
            raise self.build_no_model_fault()
        return self.scorer

    def score_batch(self, asked: Sequence[ScoreRequest]) -> list[ScoreResult | Exception]:
        """Score a batch from `split_batches` with the model that is loaded now."""
        return self.get_scorer().score_batch(asked)

    def build_no_model_fault(self) -> ServiceFault:
        """Build the fault that no model is loaded, with the reason."""
        return ServiceFault(
            "no model is loaded",
            got=self.fault or "",
            todo="train and promote a model, then run npsrisk publish",
        )

    def record_maintenance(self, kind: MaintenanceKind, done: Any) -> CommitGroup:
        """Record an entry of npsrisk itself now, with what was done."""
        now_us, plain = self.clock(), msgpack.encode(done)
        event = MaintenanceEvent(self.committer.next_sequence, now_us, now_us, plain, kind)
        self.state.apply(event)
        return self.committer.add([event])

    async def prefetch(self, consignment_ids: Sequence[str]) -> None:
        """Load the states of consignments into memory; raise `ServiceFault` if the log cannot be written now, or not be read."""
        if not consignment_ids:
            return
        names, state = [*map(normalize_identifier, consignment_ids)], None
        while state is not self.state:  # a new model may have replaced the state meanwhile
            self.committer.check()
            state = self.state
            awaited = state.dossiers.request_lookups(names, state.today)
            if not awaited:
                continue
            found: ConsignmentEvents = {}
            try:
                async with asyncio.timeout(MAX_WAIT_SECONDS):
                    found = await asyncio.get_running_loop().run_in_executor(
                        self._threads, state.dossiers.read_events, list(awaited), state.dossiers.sequence
                    )
            except TimeoutError:
                raise ServiceFault("reading the event log takes too long", todo="try again later") from None
            finally:
                state.dossiers.complete_lookups(awaited, found)

    def close(self) -> None:
        """Shut down the threads that read the log; one that reads the disk is awaited only at the end of the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)
