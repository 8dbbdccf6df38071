"""Active model with its state; both are replaced in one step when a new model is loaded."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from msgspec import msgpack

from consignments.errors import ServiceFault
from consignments.identifiers import normalize_identifier
from serving.event_log.event_codec import EventCodec
from serving.event_log.events import Event, MaintenanceEvent, MaintenanceKind
from serving.event_log.group_commit import CommitGroup, Committer
from serving.event_log.log import EventLog
from serving.process.clock import Clock
from serving.process.settings import WithoutModel
from serving.scoring.exchange import ExchangeMembers
from serving.scoring.intake import Intake
from serving.scoring.loaded_model import LoadedModel
from serving.scoring.scorer import Scorer, ScoreRequest, ScoreResult
from serving.state.state import State
from serving.telemetry.metrics import Metrics

Offices = frozenset[str]
EXCLUDED_FROM_ENTRIES = ("sealed", "features", "reasons")
LOOKUP_THREADS = 2
MAX_WAIT_SECONDS = 10.0  # maximum seconds that a request, or a chunk of a list, waits for its states


class ActiveModel:
    """The model that scores now, or the rules, with its state, intake and scorer; `fault` says why the published one does not."""

    model: LoadedModel
    state: State
    intake: Intake

    def __init__(
        self,
        log: EventLog,
        committer: Committer,
        clock: Clock,
        metrics: Metrics,
        without_model: WithoutModel,
        members: ExchangeMembers,
    ) -> None:
        self.log, self._members = log, members
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
            has_codes = model.release is not None
            self._metrics.traffic.configure(model.record, model.spec, has_codes=has_codes)

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
            state, dossiers = self.state, self.state.dossiers
            absent, until = dossiers.find_absent(names, state.today), dossiers.sequence
            if not absent:
                continue
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout(MAX_WAIT_SECONDS):
                    found = await loop.run_in_executor(self._threads, dossiers.read_events, absent, until)
            except TimeoutError:
                raise ServiceFault("reading the event log takes too long", todo="try again later") from None
            dossiers.keep(absent, found, until)

    def is_known(self, identifier: str) -> bool:
        """Check whether a consignment is known; its state must have been loaded."""
        return self.state.get_consignment(normalize_identifier(identifier)).version is not None

    async def is_foreign(self, identifier: str, offices: Offices) -> bool:
        """Check whether a consignment is known, and its version that counts belongs to none of some offices."""
        await self.prefetch((identifier,))
        if not self.is_known(identifier):
            return False
        return self.entries.find_office(await self.read_entries(identifier)) not in offices

    async def read_entries(self, identifier: str) -> list[Event]:
        """Read the entries of a consignment, without personal fields; those that are not on disk yet come last."""
        await self.prefetch((identifier,))
        name = normalize_identifier(identifier)
        pending = [each for each in self.committer.list_pending() if each.consignment_id == name]
        stored = await asyncio.to_thread(self.log.read_consignment_events, name, None, EXCLUDED_FROM_ENTRIES)
        return [*stored, *pending]

    def close(self) -> None:
        """Shut down the threads that read the log; one that reads the disk is awaited only at the end of the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)
