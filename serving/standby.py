"""Second service on one log in PostgreSQL: it waits for the lock, and then starts from the newest snapshot.

    active    writes entry 7     is killed
    second    waits              has the lock, reads the snapshot and the entries after it, scores entry 8

Only the process that holds the lock of the log scores and writes (`serving.event_log.databases.postgres`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal

from consignments.errors import BadSetting, ServiceFault
from serving.event_log.databases.backend import LogWriter
from serving.event_log.log import EventLog
from serving.process.clock import read_elapsed_seconds
from serving.process.logging import describe_failure, logger

RENEW_SECONDS = 1.0  # seconds between the signs of life of an active service
WAIT_SECONDS = 0.2  # seconds between two looks of a waiting service at the lock


class SilenceTimer:
    """Measures for how long the active service is silent; it begins again after `max_gap_seconds` without a look."""

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


class Role:
    """The role of a service, active or waiting, and the task that gives signs of life or waits for the lock.

    `takeover_seconds` without a sign of life allow another service to take over; None if no other one is allowed. `begin` makes the service
    active, and `lose` is called if another process has written the log. `fault` is why a waiting service could not start when it had the lock.
    """

    def __init__(
        self,
        log: EventLog,
        takeover_seconds: float | None,
        begin: Callable[[], Awaitable[None]],
        lose: Callable[[ServiceFault], None],
    ) -> None:
        self._log, self._begin, self._lose = log, begin, lose
        self.is_active = log.writes
        self.fault: str | None = None
        self._takeover_seconds = takeover_seconds
        self._silence = SilenceTimer((takeover_seconds or 0.0) / 2)
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> Literal["active", "standby"]:
        """Return the name of the role."""
        return "active" if self.is_active else "standby"

    def get_fault(self) -> ServiceFault | None:
        """Return why this service may not answer from its state now; None if it may."""
        if not self.is_active:
            return ServiceFault(
                "this service is a standby: another one is active",
                got=self.fault or "",
                todo="send the request to the active service; if it has just ended, try again in some seconds",
            )
        limit = self._takeover_seconds
        if limit is not None and read_elapsed_seconds() - self._log.confirmed_seconds >= limit:
            return ServiceFault(
                "it is not certain that this service is still the active one",
                got=f"no sign from the database for {limit:g} s",
                todo="try again in a second, or send the request to the other service",
            )
        return None

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
                await (self._renew() if self.is_active else self._wait())
            except Exception as error:
                logger.error("keeping the role failed", **describe_failure(error))
            with suppress(TimeoutError):
                pause = RENEW_SECONDS if self.is_active or self.fault else WAIT_SECONDS
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _renew(self) -> None:
        try:
            await asyncio.to_thread(self._log.renew)
        except ServiceFault as fault:
            self._lose(fault)

    async def _wait(self) -> None:
        """Start on the log if no other service is active."""
        try:
            if not await asyncio.to_thread(self._log.try_to_write, self._is_silent):
                return
            begun = read_elapsed_seconds()
            try:
                await self._begin()
                await asyncio.to_thread(self._log.renew)
            except BaseException:
                await asyncio.to_thread(self._log.stop_writing)
                raise
        except (BadSetting, ServiceFault) as fault:
            if str(fault) != self.fault:
                logger.error("this service cannot become active", fault=str(fault))
            self.fault = str(fault)
            return
        self.is_active, self.fault = True, None
        seconds = round(read_elapsed_seconds() - begun, 3)
        logger.warning("took over as active service", sequence=self._log.last_sequence, seconds=seconds)

    def _is_silent(self, writer: LogWriter | None) -> bool:
        """Check if the active service gives no sign of life (runs in a thread)."""
        silent = self._silence.measure(writer, read_elapsed_seconds())
        assert self._takeover_seconds is not None
        if writer is None or silent < self._takeover_seconds:
            return False
        logger.warning("active service gives no sign of life", writer=writer.name, seconds=round(silent, 1))
        return True
