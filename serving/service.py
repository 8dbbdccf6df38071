"""The service without HTTP: its log, its state, its model, and the task that watches for a new model or new keys.

All that changes state runs in one thread, the event loop's; the log is written in another; models load, and snapshots are
written, in threads that give way to both.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

from numpy.typing import NDArray

from consignments.errors import BadSetting, BundleRefused, ServiceFault
from features.history.pseudonyms import Pseudonyms, load_data_key
from serving.deployment.releases import find_release_folder, read_release
from serving.encryption.vault import Vault
from serving.event_log.event_codec import EventCodec
from serving.event_log.group_commit import Committer
from serving.event_log.log import EventLog
from serving.event_log.reader import Progress
from serving.http.auth import Authenticator
from serving.http.requests import BodyReader
from serving.http.tls import Certificate
from serving.process.clock import Clock, SteadyClock, read_clock_us
from serving.process.logging import logger
from serving.process.settings import Settings
from serving.process.threads import create_executor
from serving.scoring.intake import Intake
from serving.scoring.loaded_model import LoadedModel, load_model, load_rules_model
from serving.scoring.scorer import Scorer
from serving.shadow.supervisor import ShadowProcess
from serving.state.history_keys import KeyReader
from serving.state.prefetch import Prefetcher
from serving.state.rebuild import StateRebuild
from serving.state.snapshots import (
    FORMAT,
    SnapshotHeader,
    Snapshots,
    allocate_copy,
    copy_arrays,
    rebuild_state,
)
from serving.state.state import State
from serving.telemetry.metrics import Metrics

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
WATCH_SECONDS = 1.0
MAX_BLOCKING_ENTRIES = 1_000
"""Entries taken while calls wait; more are taken beside them."""
HISTORY_WARNING_SHARE = 0.9
"""Share of the keys of history from which on the service warns."""
CLOCK_WARNING_SECONDS = 1.0
"""How far the system's clock may go back before the service warns."""
LATEST_ENTRIES = 1_000
EXCLUDED_COLUMNS = ("plain", "sealed", "keys", "features", "reasons")
RETRY_SECONDS = 60.0
"""How long to wait after a snapshot that could not be written."""
BACKGROUND_THREADS = 2
"""A state that is built anew for another model takes minutes: the last snapshot of an orderly stop does not wait for it."""


class Service:
    """Everything that one state directory holds, opened; whoever makes it holds the `StateLock`.

    Parameters
    ----------
    settings : Settings
    clock : callable
        The system's clock, in microseconds since the epoch.

    Attributes
    ----------
    clock : SteadyClock
        The service's.
    scorer : Scorer or None
        None as long as no model could be loaded, and the rules do not stand in.
    model : Model
        The loaded one, or the rules.
    intake : Intake
    state : State
    bodies : Bodies
    certificate : Certificate or None
    setting_faults : dict
        Files of the settings that changed and are not used, and why.
    connections : callable
        Gives the connections there are.
    key_fault : str or None
        Why the next month's key could not be made ahead; without one the change of month stops what is scored.
    model_fault : str or None
        Why the model that is published is not the one that scores.
    """

    def __init__(self, settings: Settings, clock: Clock = read_clock_us) -> None:
        self.settings, self.clock = settings, SteadyClock(clock)
        self.access = Authenticator(settings.api_keys_file, settings.rate_limit, self.clock)
        data_key = load_data_key(settings.data_key_file, create=True)
        self.pseudonyms, self.vault = Pseudonyms(data_key), Vault.load(settings.state_dir, data_key)
        self.bodies = BodyReader(settings.max_body_bytes)
        self.certificate = Certificate.from_settings(settings)
        self.setting_faults: dict[str, str] = {}
        self.connections: Callable[[], int] = lambda: 0
        self.metrics = Metrics()
        self.log = EventLog.open(settings.database_url, self.vault)
        self.committer = Committer(self.log, self.metrics.record_commit)
        self.scorer: Scorer | None = None
        self.model_fault: str | None = None
        self.key_fault: str | None = None
        self.started_at = datetime.now(UTC)
        self._wake, self._looking = asyncio.Event(), asyncio.Lock()
        self._watcher: asyncio.Task[None] | None = None
        self._seen: Path | None = None
        self._look_ups = Prefetcher()
        self.snapshots = Snapshots(settings.state_dir / "snapshots")
        self._kept_at, self._wait = time.monotonic(), 0.0
        self._background = create_executor("background", BACKGROUND_THREADS)
        self.shadow = ShadowProcess(settings, self.metrics)

    def open(self, progress: Progress | None = None) -> None:
        """Load the model, where one is published, build the state from the log, and make the keys of this month and the next.

        Raises
        ------
        ServiceFault
            Where the log cannot be read, or the keys cannot be written.
        """
        model = self._load_first_model() or load_rules_model(self.pseudonyms, self.vault)
        self._use_model(model, self._rebuild_state(model, progress))
        self.clock.advance_to(find_latest_recorded_us(self.log))
        self._make_keys(self.clock())
        logger.info(
            "ready" if model.release else "no model", sequence=self.log.last_sequence,
            scored_by=model.name if self.scorer else None,
        )  # fmt: skip

    async def start(self) -> None:
        """Watch for a new model, for new keys, and for a log that can be written again; let a challenger score."""
        await asyncio.to_thread(self.shadow.poll)
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Stop watching, and wait until everything is on disk."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        self.snapshots.skip_pauses()
        await asyncio.to_thread(self.shadow.stop)
        with contextlib.suppress(ServiceFault):
            await self.committer.drain()
            await self._write_snapshot()
        self._background.shutdown(wait=False, cancel_futures=True)
        self._look_ups.close()
        self.committer.close()
        self.log.close()
        logger.info("stopped", sequence=self.log.last_sequence)

    def wake(self) -> None:
        """Look now whether something changed."""
        self._wake.set()

    async def prefetch(self, consignment_ids: Sequence[str]) -> None:
        """Bring what is known of consignments into memory, so that taking something about them does not wait for the log.

        Raises
        ------
        ServiceFault
            Where the log cannot be written now or, for what must be looked up, cannot be read.
        """
        if not consignment_ids:
            return
        state = None
        while state is not self.state:  # another model may bring another state meanwhile
            self.committer.check()
            state = self.state
            await self._look_ups.prefetch(state, consignment_ids)

    @property
    def entries(self) -> EventCodec:
        """The entries of the loaded model, or of the rules."""
        return self.model.entries

    @property
    def degraded(self) -> bool:
        """Whether the rules score, because no model is loaded."""
        return self.scorer is not None and self.model.release is None

    def get_scorer(self) -> Scorer:
        """Give the scorer; `ServiceFault` where no model is loaded and the rules do not stand in."""
        if self.scorer is None:
            raise self.build_no_model_fault()
        return self.scorer

    def build_no_model_fault(self) -> ServiceFault:
        """Say that no model is loaded, and why."""
        return ServiceFault(
            "no model is loaded",
            got=self.model_fault or "",
            todo="train, promote and publish one: npsrisk publish",
        )

    def explain_unready(self) -> list[str]:
        """Say why scores cannot be given now; empty where they can."""
        reasons = []
        if self.scorer is None:
            reasons.append("no model is loaded")
        fault = self.committer.fault or self.committer.get_stall_fault()
        if fault is not None:
            reasons.append(str(fault))
        return reasons

    def list_warnings(self) -> list[str]:
        """Say what is wrong although scores are given."""
        found = [self.model_fault] if self.model_fault else []
        found += self.setting_faults.values()
        if self.key_fault is not None:
            found.append(f"the key of the next month cannot be made: {self.key_fault}")
        if self.shadow.fault is not None:
            found.append(f"the challenger does not score: {self.shadow.fault}")
        if self.degraded:
            found.append(
                f"no model is loaded: scores come from {self.model.name} and are not calibrated; publish a model"
            )
        behind = self.clock.behind_seconds
        if behind >= CLOCK_WARNING_SECONDS:
            found.append(
                f"the system's clock is {behind:,.0f} s behind what was recorded last: the service's clock stands still "
                "until it has caught up; set the system's clock"
            )
        used, bound = len(self.state.history), self.state.history.max_keys
        if bound is not None and used >= HISTORY_WARNING_SHARE * bound:
            found.append(
                f"history is nearly full: {used:,} of {bound:,} keys; raise NPSRISK_MAX_HISTORY_KEYS where memory allows"
            )
        return found

    async def poll(self) -> None:
        """Do once what the watcher does each second."""
        async with self._looking:
            self._refresh("API keys", self.access.refresh)
            if self.certificate is not None:
                self._refresh("certificate and key", self.certificate.refresh)
            await asyncio.to_thread(self.shadow.poll)
            await self._make_keys_ahead()
            if self.committer.fault is not None:
                await self._recover()
            if self.committer.fault is None:
                await self._follow_publisher()
                await self._write_snapshot_when_due()

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), WATCH_SECONDS)
            self._wake.clear()
            try:
                await self.poll()
            except Exception as error:
                logger.error("watching failed", error=error.__class__.__name__)

    async def _make_keys_ahead(self) -> None:
        """Make the key of the next month, once it is due; where that fails, it is tried again the next second."""
        try:
            await asyncio.to_thread(self._make_keys, self.clock())
        except (BadSetting, ServiceFault) as error:
            if str(error) != self.key_fault:
                logger.error("no key ahead", fault=str(error))
            self.key_fault = str(error)
            return
        self.key_fault = None

    def _make_keys(self, now_us: int) -> None:
        assert self.vault.periods is not None
        missing = self.vault.periods.list_missing(now_us)
        if missing:
            self.vault.periods.create_keys(missing)
            logger.info("keys made", months=missing)

    def _refresh(self, what: str, refresh: Callable[[], bool]) -> None:
        """Read a file of the settings again where it changed; a bad one leaves what was read before."""
        try:
            changed = refresh()
        except BadSetting as error:
            fault = f"{what} stay as before: {error}"
            if self.setting_faults.get(what) != fault:
                logger.error("a changed file is not used", fault=fault)
            self.setting_faults[what] = fault
            return
        self.setting_faults.pop(what, None)
        if changed:
            logger.info("read again", what=what)

    async def _recover(self) -> None:
        """Build the state anew from the log, once the log can be used again."""
        try:
            await asyncio.to_thread(self.log.reread)
        except ServiceFault as error:
            logger.error("the log cannot be used", error=str(error))
            return
        state = await asyncio.to_thread(self._rebuild_state, self.model)
        self.committer.resume()
        self._use_model(self.model, state)
        logger.info("the log can be used again", sequence=state.sequence)

    async def _follow_publisher(self) -> None:
        """Load what was published since; what is refused is not tried again until something else is published."""
        folder = self._seen
        try:
            folder = find_release_folder(self.settings.state_dir)
            if folder is None or folder == self._seen:
                return
            model = await self._run_in_background(self._load, folder)
            await self._switch_model(model)
        except (BundleRefused, ServiceFault) as error:
            self._refuse(error)
            self._seen = folder
            return
        self._seen = folder
        logger.info("model loaded", model=model.name, bundle=model.sha256[:12])

    async def _switch_model(self, model: LoadedModel) -> None:
        """Let a model score from now on; state is built anew only where the model has other keys of history."""
        if model.entries.kinds == self.entries.kinds:
            self._use_model(model, self.state)
            return
        state = await self._run_in_background(self._rebuild_state, model)
        replay = StateRebuild(state)
        while self.committer.durable_sequence - state.sequence > MAX_BLOCKING_ENTRIES:
            await self._run_in_background(replay.catch_up, self.log, self.committer.durable_sequence)
        # From here to the end nothing else runs: entries on their way to disk are taken from memory.
        durable = self.committer.durable_sequence
        state.dossiers.durable = lambda: durable
        replay.apply_events(self.log.read_events(after=state.sequence, until=durable))
        replay.apply_events(
            event for event in self.committer.list_pending() if event.sequence > state.sequence
        )
        self._use_model(model, state)

    async def _run_in_background(self, work: Callable[[*Ts], T], *given: *Ts) -> T:
        """Do in a thread that gives way what no call waits for."""
        return await asyncio.get_running_loop().run_in_executor(self._background, work, *given)

    def _rebuild_state(self, model: LoadedModel, progress: Progress | None = None) -> State:
        return rebuild_state(
            self.log, KeyReader(model.pipeline, model.entries), self.snapshots,
            max_keys=self.settings.max_history_keys, progress=progress,
        )  # fmt: skip

    async def _write_snapshot_when_due(self) -> None:
        """Write a snapshot after so many entries, or so much time; one that failed is tried again after a while."""
        fresh, waited = self.state.sequence - self.snapshots.last, time.monotonic() - self._kept_at
        due = fresh >= self.settings.snapshot_entries and waited >= self._wait
        if due or (fresh and waited >= self.settings.snapshot_seconds):
            await self._write_snapshot()

    async def _write_snapshot(self) -> None:
        """Write a snapshot. Nothing else waits but for the copy of the arrays; it is written once its entries are on disk."""
        start = time.monotonic()
        if self.state.sequence == self.snapshots.last:
            return
        room = await self._run_in_background(allocate_copy, self.state)
        state, copying = self.state, time.monotonic()
        arrays, sequence = copy_arrays(state, room), state.sequence
        copied = time.monotonic() - copying
        del room
        self._kept_at, self._wait = start, RETRY_SECONDS
        try:
            await self.committer.wait_until_durable(sequence)
            kinds = state.dossiers.keys.entries.kinds
            path = await self._run_in_background(self._write, sequence, kinds, arrays)
        except (OSError, ServiceFault) as error:
            self.metrics.gauges["snapshot_failed"].set(1)
            logger.error("no snapshot could be written", reason=str(error))
            return
        self._wait = 0.0
        self.metrics.record_snapshot(path.stat().st_size, copied)
        logger.info(
            "snapshot written", sequence=sequence, bytes=path.stat().st_size,
            pause_ms=round(1000 * copied, 1), seconds=round(time.monotonic() - start, 3),
        )  # fmt: skip

    def _write(self, sequence: int, kinds: str, arrays: dict[str, NDArray[Any]]) -> Path:
        """Write a snapshot; the memory of its arrays is let go here, which takes a while, and not where calls wait."""
        chain = self.log.read_hash(sequence)
        if chain is None:
            raise ServiceFault("the log does not hold the last entry", got=f"entry {sequence}")
        path = self.snapshots.write(
            SnapshotHeader(FORMAT, self.log.log_id, sequence, chain.hex(), kinds), arrays
        )
        arrays.clear()
        return path

    def _load_first_model(self) -> LoadedModel | None:
        try:
            self._seen = find_release_folder(self.settings.state_dir)
            return None if self._seen is None else self._load(self._seen)
        except BundleRefused as error:
            self._refuse(error)
            return None

    def _load(self, folder: Path) -> LoadedModel:
        return load_model(read_release(folder), self.pseudonyms, self.vault)

    def _refuse(self, error: BundleRefused | ServiceFault) -> None:
        if str(error) != self.model_fault:
            logger.error("model refused", error=str(error))
        self.model_fault = str(error)
        self.metrics.gauges["model_refused"].set(1)

    def _use_model(self, model: LoadedModel, state: State) -> None:
        self.model, self.state = model, state
        state.dossiers.durable = lambda: self.committer.durable_sequence
        self.intake = Intake(state, model.entries, self.committer)
        self.scorer = None
        if model.release is not None:
            self.model_fault = None
            self.metrics.gauges["model_refused"].set(0)
        if model.release is not None or self.settings.without_model == "rules":
            self.scorer = Scorer(model, state, self.committer, self.clock, self.metrics)
            self.metrics.set_model(model)


def find_latest_recorded_us(log: EventLog) -> int:
    """Give the latest moment of recording among the last entries; 0 where there is none."""
    last = log.read_events(after=log.last_sequence - LATEST_ENTRIES, without=EXCLUDED_COLUMNS)
    return max((event.recorded_us or 0 for event in last), default=0)
