"""Service without HTTP: its log, the active model, and the task that watches for a new model or new API keys.

Everything that changes the state runs in the thread of the event loop. A second thread writes the log. Background threads of
lower priority load models and write snapshots.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, Protocol

from consignments.errors import BadInput, BadSetting, BundleRefused, LogInUse, ServiceFault
from features.indicators.operation_keys import install_keys
from models.signatures.key_holders import Approvers
from serving.deployment.releases import Release, find_release_folder, read_release
from serving.event_log.databases.backend import URL_SETTING
from serving.event_log.databases.database import find_sqlite_path
from serving.event_log.events import IMPORTED_BY
from serving.event_log.group_commit import Committer
from serving.event_log.log import EventLog, load_or_create_vault
from serving.event_log.reader import LogReader
from serving.process.clock import Clock, SteadyClock, read_clock_us
from serving.process.logging import describe_failure, logger
from serving.process.settings import Settings
from serving.process.state_directory import read_changed_seconds, read_done_seconds
from serving.process.threads import BackgroundThreads
from serving.scoring.active_model import ActiveModel
from serving.scoring.batching import Batcher
from serving.scoring.decisions import Decider, watch_offices
from serving.scoring.exchange import ExchangeMembers
from serving.scoring.loaded_model import LoadedModel
from serving.scoring.model_updates import ModelUpdates
from serving.scoring.recording import Recorder
from serving.standby import Role
from serving.state.forgetting import ForgottenList, forget_again
from serving.state.snapshots import Snapshots, SnapshotSchedule
from serving.state.state import State
from serving.telemetry.metrics import Metrics

POLL_SECONDS = 1.0
HISTORY_WARNING_SHARE = 0.9  # share of the maximum number of history keys at which the service warns
CLOCK_WARNING_SECONDS = 1.0  # seconds that the system clock may be behind before the service warns
CERTIFICATE_WARNING = timedelta(days=14)
FAILURE_MEMORY_SECONDS = 60.0
"""A failed write counts as a fault of the log for this time. If a disk is nearly full, some later writes succeed."""
LATEST_ENTRIES = 1_000
BACKGROUND_THREADS = 2
"""Two, so that the last snapshot at an orderly stop need not wait for a rebuild of the state, which takes minutes."""


class MessageBodies(Protocol):
    """A reader of messages as bodies of requests for scores; `serving.messages` adds it."""

    async def read(self, content: bytes) -> Any:
        """Read messages that come now."""

    async def score(self, call: Any, content: bytes) -> Any:
        """Score the consignments that follow from messages."""


class Service:
    """The service on one state directory, whose `lock_state` its creator holds."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock = read_clock_us,
        elapsed: Clock | None = None,
        *,
        accept_clock: bool = False,
        accept_loss: bool = False,
    ) -> None:
        require_standby_database(settings)
        self._accepts_clock, self._accepts_loss = accept_clock, accept_loss
        self.settings, self.clock = settings, SteadyClock(clock, elapsed)
        self.vault = load_or_create_vault(settings.data_key_file, settings.state_dir, settings.database_url)
        self.exchange = ExchangeMembers(settings.exchange_dir, settings.administration)
        install_keys(self.exchange.keys)
        self.offices = watch_offices(settings.offices_file)
        self.metrics = Metrics()
        # Last of what may refuse a setting: from here on, `close` releases its lock.
        self.log = EventLog.open(settings.database_url, self.vault, standby=settings.standby)
        takeover_seconds = settings.takeover_seconds if settings.standby else None
        self.role = Role(self.log, takeover_seconds, self._begin, self._lose)
        self.committer = Committer(self.log, self.metrics.record_commit, self._check_writing)
        self.active = ActiveModel(
            self.log, self.committer, self.clock, self.metrics, settings.without_model, self.exchange
        )
        self.batcher = Batcher(self.active.score_batch, self.committer.call_when_free)
        self.snapshots = Snapshots(settings.snapshots_dir)
        self.updates = ModelUpdates(settings, self.active, self.snapshots, self.metrics)
        self._schedule = SnapshotSchedule(self.log, self.committer, self.snapshots, settings, self.metrics)
        self.messages: MessageBodies | None = None
        self.connections: Callable[[], int] = lambda: 0
        self.get_certificate_end: Callable[[], datetime | None] = lambda: None
        self.setting_faults: dict[str, str] = {}
        self._stopped_at_end: list[Callable[[], Awaitable[None]]] = []
        self._watched: dict[str, Callable[[], bool]] = {}
        self.watch("partners and operation keys", self.exchange.refresh)
        self.watch("data keys", self.vault.refresh)
        self.watch("offices", self.offices.refresh)
        self.decider = Decider(self.active, self.offices)
        self.recorder = Recorder(self.active, self.metrics)
        self._wake, self._polling = asyncio.Event(), asyncio.Lock()
        self._watcher: asyncio.Task[None] | None = None
        self._background = BackgroundThreads(BACKGROUND_THREADS)

    def watch(self, what: str, refresh: Callable[[], bool]) -> None:
        """Register a function to call each second; it reads a file again if it changed, and returns whether it did."""
        self._watched[what] = refresh

    def stop_at_end(self, stop: Callable[[], Awaitable[None]]) -> None:
        """Register a function to call when the service stops, before the log is closed."""
        self._stopped_at_end.append(stop)

    def open(self) -> None:
        """Load the published model, and rebuild the state from the log; `ServiceFault` if the log is damaged or cannot be read."""
        if self.role.is_active:
            self.active.switch_to(*self._build_first())
        else:
            self.active.switch_to(*self.updates.build_empty())
        reasons = self.explain_unready()
        ready = "not ready" if reasons else "ready"
        found = ready if self.role.is_active else "standby"
        scored_by = self.active.model.name if self.active.scorer else None
        logger.info(found, sequence=self.log.last_sequence, scored_by=scored_by, reasons=reasons)

    def _build_first(self) -> tuple[LoadedModel, State]:
        """Start the log: set the clock, remove again what was forgotten, and return the model with the state after the log."""
        self.clock.start(*find_last_recorded(self.log), accepted=self._accepts_clock)
        removed = forget_again(self.log, ForgottenList(self.settings.data_key_file), self.settings.state_dir)
        if removed:
            self.committer.resume()
            logger.warning("forgotten content was removed again", removals=removed)
        model, state = self.updates.build_first()
        if self.snapshots.lost and self._accepts_loss:
            logger.warning("the loss of entries was accepted", up_to=self.snapshots.lost)
            state.apply(self.log.rename(self.clock()))
            self.committer.resume()
            self.snapshots.accept_loss()
        return model, state

    async def _begin(self) -> None:
        """Become active on a log of which this service now has the lock."""
        model, state = await asyncio.to_thread(self._build_first)
        self.committer.resume()
        self.active.switch_to(model, state)
        self.updates.record_release()

    def _lose(self, fault: ServiceFault) -> None:
        """Read the log again, which another process has written."""
        self.committer.suspend(fault)
        self.wake()

    async def start(self) -> None:
        """Start the tasks that keep the role, and watch for new models, API keys and a recovered log."""
        if self.role.is_active:
            self.updates.record_release()
        self._watcher = asyncio.create_task(self._watch())
        if self.settings.standby:
            self.role.start()

    async def stop(self) -> None:
        """Stop the tasks, wait until everything is on disk, write the last snapshot, and let a service that waits take over."""
        await self.role.stop()
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        self.snapshots.skip_pauses()
        for stop in self._stopped_at_end:
            await stop()
        with contextlib.suppress(ServiceFault):
            await self.committer.drain()
            if self.role.is_active and self.committer.fault is None:
                await self.write_snapshot()  # from which a service that waits begins
            await asyncio.to_thread(self.log.stop_writing)
        self.close()
        logger.info("stopped", sequence=self.log.last_sequence)

    def close(self) -> None:
        """End the threads, and release the log."""
        self._background.close()
        self.active.close()
        self.committer.close()
        self.log.close()

    async def write_snapshot(self) -> None:
        """Write a snapshot of the state, if there is a new entry."""
        await self._schedule.write(self.active.state, self._background)

    def reload(self) -> None:
        """Trigger the watching task to check for changes now, and to try a refused model again."""
        self.updates.retry()
        self.wake()

    def wake(self) -> None:
        """Trigger the watching task to check for changes now."""
        self._wake.set()

    def explain_unready(self) -> list[str]:
        """List the reasons why the service cannot score now; empty if it can."""
        reasons = []
        if self.active.scorer is None:
            reasons.append("no model is loaded")
        fault = self.committer.fault or self.committer.get_stall_fault()
        faults = (self.role.get_fault(), fault, self.clock.get_fault(), self._get_loss())
        return reasons + [str(each) for each in faults if each is not None]

    def _get_loss(self) -> ServiceFault | None:
        """Return a fault if the log lacks entries that were acknowledged, else None."""
        if not self.snapshots.lost:
            return None
        return ServiceFault(
            "the event log lacks acknowledged entries: it was truncated, or an old copy was restored",
            got=f"{self.log.last_sequence:,} entries",
            expected=f"entry {self.snapshots.lost:,} as a snapshot has it",
            todo="restore the newest copy of the log; if the entries are lost, start once with npsrisk serve --accept-loss",
        )

    def find_challenger(self) -> Release | None:
        """Find the published challenger; None if there is none, or it cannot be used."""
        with contextlib.suppress(BadSetting, BundleRefused):
            folder = find_release_folder(self.settings.state_dir, "shadow")
            if folder is not None:
                return read_release(folder, Approvers.read(self.settings.approvers_file), "shadow")
        return None

    def list_warnings(self) -> list[str]:
        """List the problems that do not prevent scoring."""
        active = self.active
        found = [active.fault] if active.fault else []
        found += self.setting_faults.values()
        if active.degraded:
            found.append("no model is loaded: the rules score, and are not calibrated; publish a model")
        if active.model.newer is not None:
            found.append(
                f"{active.model.name} decides, an older release than version {active.model.newer}, which was approved later"
            )
        ends_at = self.get_certificate_end()
        if ends_at is not None and ends_at - datetime.now(UTC) < CERTIFICATE_WARNING:
            found.append(f"the TLS certificate ends at {ends_at.isoformat()}; renew it")
        behind = self.clock.behind_seconds
        if behind >= CLOCK_WARNING_SECONDS:
            found.append(
                f"the system clock is {behind:,.0f} s behind the last recorded time, and the service's clock stands still "
                "until it has caught up; correct the system clock"
            )
        since = self.committer.get_seconds_since_failure()
        if since < FAILURE_MEMORY_SECONDS:
            found.append(
                f"the event log could not be written {since:,.0f} s ago; check the disk's free space and the database"
            )
        used, bound = len(active.state.history), active.state.history.max_keys
        if used < active.model.daily_arrivals:
            found.append(
                f"history is nearly empty ({used:,} keys; the model has learnt from {active.model.daily_arrivals:,.0f} consignments a day): "
                "every sender looks new, and far too many scores are high; import the past with npsrisk import"
            )
        if bound is not None and used >= HISTORY_WARNING_SHARE * bound:
            found.append(
                f"history is nearly full: {used:,} of {bound:,} keys; raise NPSRISK_MAX_HISTORY_KEYS if memory allows"
            )
        return found

    def read_gauges(self) -> dict[str, float]:
        """Read the current values of the gauges for `Metrics.render`."""
        committer, state, ends_at = self.committer, self.active.state, self.get_certificate_end()
        state_dir, approvers = self.settings.state_dir, self.settings.approvers_file
        return {
            "warnings": len(self.list_warnings()),
            "log_shortened": self.snapshots.lost > 0,
            "model_downgraded": self.active.model.newer is not None,
            "certificate_end_timestamp_seconds": 0.0 if ends_at is None else ends_at.timestamp(),
            "approvers_changed_timestamp_seconds": read_changed_seconds(approvers)
            or read_changed_seconds(approvers.parent),  # when it was removed
            "backup_timestamp_seconds": read_done_seconds(state_dir, "backup"),
            "verify_log_timestamp_seconds": read_done_seconds(state_dir, "verify-log"),
            "parity_timestamp_seconds": read_done_seconds(state_dir, "parity"),
            "active": self.role.is_active,
            "standby_usable": self.role.is_active or self.role.fault is None,
            "connections": self.connections(),
            "settings_refused": len(self.setting_faults),
            "log_sequence": self.log.last_sequence,
            "log_waiting": committer.waiting,
            "log_lag_seconds": committer.lag_seconds,
            "log_usable": committer.get_stall_fault() is None
            and committer.get_seconds_since_failure() >= FAILURE_MEMORY_SECONDS
            and committer.fault is None,
            "clock_behind_seconds": self.clock.behind_seconds,
            "clock_ahead_seconds": self.clock.jump_us / 1e6,
            "history_keys": len(state.history),
            "history_keys_bound": state.history.max_keys or 0,
            "history_bytes": state.history.nbytes,
            "identifiers": len(state.dossiers.index),
            "links": len(state.links),
            "snapshot_sequence": self.snapshots.last,
        }

    async def poll(self) -> None:
        """Run once the checks that the watching task runs each second, and raise an `ExceptionGroup` of the errors of those that failed."""
        errors: list[Exception] = []
        async with self._polling:
            for check in self._iterate_checks():
                try:
                    await check
                except Exception as error:
                    errors.append(error)
        if errors:
            raise ExceptionGroup("checks of the service failed", errors)

    def _iterate_checks(self) -> Iterator[Awaitable[None]]:
        """Yield the checks that are due, each when the one before it has ended."""
        for what, refresh in self._watched.items():
            yield self._refresh(what, refresh)
        if self.committer.fault is not None:
            yield self._recover()
        if self.committer.fault is None and self.role.is_active:
            yield self.updates.follow(self._background)
            yield self._schedule.write_when_due(self.active.state, self._background)

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)
            self._wake.clear()
            try:
                await self.poll()
            except* Exception as failed:
                for error in failed.exceptions:
                    logger.error("watching failed", **describe_failure(error))

    def _check_writing(self) -> None:
        """Raise `ServiceFault` if nothing may be recorded now: by the clock, by the role, or because entries were lost."""
        for fault in (self.clock.get_fault(), self.role.get_fault(), self._get_loss()):
            if fault is not None:
                raise fault

    async def _refresh(self, what: str, refresh: Callable[[], bool]) -> None:
        """Read a file named by a setting again if it changed; if it is invalid, keep its earlier content."""
        try:
            changed = refresh()
        except (BadInput, OSError) as error:
            fault = f"{what}: the changed file is refused, the earlier content stays in use: {error}"
            if self.setting_faults.get(what) != fault:
                logger.error("changed file refused", fault=fault)
            self.setting_faults[what] = fault
            return
        self.setting_faults.pop(what, None)
        if changed:
            logger.info("changed file loaded", what=what)

    async def _recover(self) -> None:
        """Rebuild the state from the log when the log can be used again, or wait for the lock if another process writes it."""
        try:
            await asyncio.to_thread(self.log.reread)
            model, state = await asyncio.to_thread(self.updates.build_again)
        except ServiceFault as fault:
            if not isinstance(fault, LogInUse) or not self.settings.standby:
                logger.error("event log cannot be used", error=str(fault))
                return
            self.role.is_active = False
            self.log.stop_writing()
            self.active.switch_to(*self.updates.build_empty())
            self.committer.resume()
            logger.warning("another service is active: this one is a standby now", fault=str(fault))
            return
        self.committer.resume()
        self.active.switch_to(model, state)
        logger.info("event log can be used again", sequence=state.sequence, role=self.role.name)


def require_standby_database(settings: Settings) -> None:
    """Raise `BadSetting` if a standby is wanted and the database does not support one."""
    if settings.standby and find_sqlite_path(settings.database_url) is not None:
        raise BadSetting(
            "a standby needs the event log in PostgreSQL",
            where="NPSRISK_STANDBY",
            got=f"{URL_SETTING} with SQLite",
            todo=f"set {URL_SETTING} to a PostgreSQL database, or unset NPSRISK_STANDBY",
        )


def find_last_recorded(log: LogReader) -> tuple[int, int]:
    """Find the latest times of recording among the last entries, and of those not imported, in microseconds; 0 if none."""
    any_us = own_us = 0
    columns = log.read_columns(("recorded_us", "asked_by"), log.last_sequence - LATEST_ENTRIES)
    for recorded_us, client in chain.from_iterable(zip(*batch, strict=True) for batch in columns):
        any_us = max(any_us, recorded_us or 0)
        own_us = max(own_us, (recorded_us or 0) if client != IMPORTED_BY else 0)
    return any_us, own_us
