"""Standby: a service that follows the log of the active one, and takes it over when the active one is gone.

    active    writes entry 7     is killed
    standby   applies entry 7    has the lock, applies what is left, scores entry 8

Only the process that holds the lock of the log scores and writes (`serving.event_log.databases.postgres_lock`). The state of a standby is
that of the log up to the last entry read, so it takes over without reading the log again.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from consignments.errors import ServiceFault
from serving.event_log.databases.backend import LogWriter
from serving.event_log.events import (
    ArrivalEvent,
    DecisionEvent,
    Event,
    Kind,
    RedactionEvent,
)
from serving.event_log.group_commit import Committer
from serving.event_log.log import EventLog
from serving.event_log.verification.chain import require_valid_chain
from serving.process.clock import read_elapsed_seconds
from serving.process.logging import describe_failure, logger
from serving.scoring.active_model import ActiveModel
from serving.state.rebuild import StateRebuild
from serving.state.state import State

RoleName = Literal["active", "standby"]
RENEW_SECONDS = 1.0
"""Seconds between the signs of life of an active service."""
FOLLOW_SECONDS = 0.2
"""Seconds between two looks of a standby at the log and its lock."""
MAX_STEP_ENTRIES = 2_000
"""Maximum number of entries that a standby applies at once, in some 50 ms. It takes over only between two steps."""
LATEST_ENTRIES = 64
"""Entries at the end of a step of which the model and the monthly key are checked."""
REWRITING: tuple[Kind, ...] = (RedactionEvent.kind,)
"""Kinds of entries that change what earlier entries mean; the state is then built again."""


class Role:
    """The role of a service: active or standby, and whether that is certain now.

    Parameters
    ----------
    log : EventLog
    takeover_seconds : float or None
        Seconds without a sign of life after which a standby may take over; None if no standby is allowed.

    Attributes
    ----------
    log : EventLog
    is_active : bool
    """

    def __init__(self, log: EventLog, takeover_seconds: float | None) -> None:
        self.log, self._takeover_seconds = log, takeover_seconds
        self.is_active = log.writes

    @property
    def name(self) -> RoleName:
        """Return the name of the role."""
        return "active" if self.is_active else "standby"

    def get_fault(self) -> ServiceFault | None:
        """Return why this service may not answer from its state now; None if it may."""
        if not self.is_active:
            return ServiceFault(
                "this service is a standby: another one is active",
                todo="send the request to the active service; if it has just ended, try again in a second",
            )
        limit = self._takeover_seconds
        if limit is not None and read_elapsed_seconds() - self.log.confirmed_seconds >= limit:
            return ServiceFault(
                "it is not certain that this service is still the active one",
                got=f"no sign from the database for {limit:g} s",
                todo="try again in a second, or send the request to the other service",
            )
        return None

    def check(self) -> None:
        """Raise `ServiceFault` if this service may not answer from its state now."""
        fault = self.get_fault()
        if fault is not None:
            raise fault


class SilenceTimer:
    """Measures, on the clock of a standby, for how long the active service has given no sign of life.

    It begins again if the standby has not looked for some time, because then the database or both services may have been paused.

    Parameters
    ----------
    max_gap_seconds : float
        Maximum seconds between two looks.
    """

    def __init__(self, max_gap_seconds: float) -> None:
        self._max_gap_seconds = max_gap_seconds
        self._seen: LogWriter | None = None
        self._since = self._looked = 0.0

    def measure(self, writer: LogWriter | None, now: float) -> float:
        """Return the seconds of silence, given the writer with its latest sign and the current time in seconds."""
        silent = writer is not None and writer.sign is not None and writer == self._seen
        if not silent or now - self._looked > self._max_gap_seconds:
            self._seen, self._since = writer, now
        self._looked = now
        return now - self._since


class StandbyFollower:
    """Follows a log into the state of a service that stands by.

    Parameters
    ----------
    log : EventLog
    active : ActiveModel
        Its state is at the entry up to which the log was followed.
    committer : Committer
    takeover_seconds : float

    Attributes
    ----------
    fault : str or None
        Why this service could not take over now.
    behind : int
        Number of entries of the log that are not yet applied.
    """

    def __init__(
        self, log: EventLog, active: ActiveModel, committer: Committer, takeover_seconds: float
    ) -> None:
        self._log, self._active, self._committer = log, active, committer
        self._takeover_seconds, self._silence = takeover_seconds, SilenceTimer(takeover_seconds / 2)
        self.fault: str | None = None
        self.behind = 0
        self._scored_by: tuple[str, str] | None = None

    async def step(self) -> bool:
        """Apply the next entries of the log; return whether others wait.

        Raises
        ------
        ServiceFault
            The log cannot be read, is damaged, or has an entry that this service cannot apply.
        StateOutdated
            The state must be built again.
        """
        state = self._active.state
        until = await asyncio.to_thread(self._check_next, state.sequence)
        if (
            self._active.state is state and until > state.sequence
        ):  # a new model may have replaced it meanwhile
            self._committer.follow(until)
            self._apply(state, until)
        self.behind = self._log.last_sequence - self._active.state.sequence
        return self.behind > 0

    def describe_other_model(self) -> str | None:
        """Describe that the active service scores with another model than this one would; None if it does not."""
        here = self._active.model
        if self._scored_by is None or self._scored_by[1] == here.sha256:
            return None
        return f"the active service scores with {self._scored_by[0]}, and this standby would score with {here.name}: run npsrisk publish for it"

    def try_to_take_over(self) -> bool:
        """Acquire the log if no other process writes it, or if the active service gives no sign of life.

        Entries that are not yet applied may be left.

        Raises
        ------
        ServiceFault
            The log cannot be used, or a monthly key is missing.
        """
        if self._log.try_to_write():
            return True
        writer = self._log.find_writer()
        silent = self._silence.measure(writer, read_elapsed_seconds())
        if writer is None or silent < self._takeover_seconds:
            return False
        logger.warning("active service gives no sign of life", writer=writer.name, seconds=round(silent, 1))
        self._log.end_writer(writer)
        return self._log.try_to_write()

    def _check_next(self, after: int) -> int:
        """Verify the hashes of the next entries, and return the sequence number of the last one (runs in a thread)."""
        if not self._log.writes:
            self._log.refresh()
        until = min(self._log.last_sequence, after + MAX_STEP_ENTRIES)
        if until <= after:
            return after
        require_valid_chain(self._log, after, until)
        if any(self._log.read_rows(after, until, (), REWRITING)):
            raise StateOutdated("the log records a change of earlier entries")
        latest = list(self._log.read_events(max(after, until - LATEST_ENTRIES), until))
        self._check_key(latest)
        self._note_model(latest)
        return until

    def _apply(self, state: State, until: int) -> None:
        """Apply the entries up to a sequence number together, as a start does."""
        state.dossiers.drop_cached()
        try:
            StateRebuild(state).catch_up(self._log, until)
        except ServiceFault as fault:  # some entries may be applied
            raise StateOutdated("the state of the standby is not complete", got=str(fault)) from fault

    def _note_model(self, events: list[Event]) -> None:
        decisions = [each for each in events if isinstance(each, DecisionEvent)]
        if decisions:
            self._scored_by = decisions[-1].model, decisions[-1].model_sha256

    def _check_key(self, events: list[Event]) -> None:
        """Raise `ServiceFault` if the monthly key of the latest consignment is missing: without it nobody can take over."""
        sealed = [each for each in events if isinstance(each, ArrivalEvent) and each.sealed is not None]
        if sealed:
            assert sealed[-1].sealed is not None
            self._log.vault.check_key(sealed[-1].sealed, f"log entry {sealed[-1].sequence}")


class StateOutdated(ServiceFault):
    """The state of a standby must be built again from the log."""


class RoleKeeper:
    """A task that sends signs of life while the service is active; follows the log, and takes it over, while it is a standby.

    Parameters
    ----------
    role : Role
    follower : StandbyFollower
    committer : Committer
    prepare : callable
        Called before the service becomes active; raises `ServiceFault` if it could not record.
    wake : callable
        Called when the log must be read again (`committer.fault`).
    """

    def __init__(
        self,
        role: Role,
        follower: StandbyFollower,
        committer: Committer,
        prepare: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        self._role, self._follower, self._committer = role, follower, committer
        self._log, self._prepare, self._wake = role.log, prepare, wake
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the task."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop the task after its current step, whose thread may be acquiring the lock."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                pause = await (self._renew() if self._role.is_active else self._follow())
            except Exception as error:
                logger.error("keeping the role failed", **describe_failure(error))
                pause = RENEW_SECONDS
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _renew(self) -> float:
        """Send a sign of life, and return the seconds until the next one."""
        try:
            await asyncio.to_thread(self._log.renew)
        except ServiceFault as fault:
            self._read_again(fault)
        return RENEW_SECONDS

    async def _follow(self) -> float:
        """Follow the log, and take it over if no other service is active; return the seconds until the next look."""
        if self._committer.fault is not None:  # the state is being built again
            return FOLLOW_SECONDS
        try:
            more = await self._follower.step()
            if await asyncio.to_thread(self._follower.try_to_take_over):
                await self._take_over()
        except StateOutdated as fault:
            self._read_again(fault)
        except ServiceFault as fault:
            if str(fault) != self._follower.fault:
                logger.error("standby cannot follow the log", fault=str(fault))
            self._follower.fault = str(fault)
        else:
            self._follower.fault = None
            return 0.0 if more else FOLLOW_SECONDS
        return RENEW_SECONDS

    async def _take_over(self) -> None:
        """Apply the last entries of the log, which this service now writes, and become active."""
        begun = read_elapsed_seconds()
        try:
            while await self._follower.step():
                pass
            self._prepare()
        except BaseException:
            self._log.stop_writing()
            raise
        self._committer.resume()
        self._role.is_active = True
        seconds = round(read_elapsed_seconds() - begun, 3)
        logger.warning("took over as active service", sequence=self._log.last_sequence, seconds=seconds)

    def _read_again(self, fault: ServiceFault) -> None:
        self._committer.suspend(fault)
        self._wake()
