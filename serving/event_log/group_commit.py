"""Group commit: many responses share one flush to disk. While one group is written, the next one collects entries.

A group is written as soon as somebody waits for it. So the chunks of a list, whose response waits for all of them, share groups.

    a single request      adds its entry, and waits for it        the group is written at once
    a list of 1,000       adds 64 entries, 64 more, ...           written when there are 128, or somebody else waits

A response may be sent only after the group of its decision is durable: after `CommitGroup.wait_until_durable` returned,
`CommitGroup.resolve` set the future's result, or `CommitGroup.call_when_durable` called back.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any

from consignments.errors import ServiceFault
from serving.event_log.events import Event
from serving.event_log.log import EventLog
from serving.process.logging import describe_failure, logger

MAX_QUEUE_ENTRIES = 20_000
"""Maximum number of entries that are not yet durable; above it the service refuses requests, to bound its memory."""
MAX_RESTING_ENTRIES = 128  # number of entries from which on a group is written even if nobody waits for it
MAX_RESTING_SECONDS = 0.05  # maximum seconds until a group is written for which nobody waits
STALL_SECONDS = 10.0  # maximum seconds of one write; then waiting requests fail, and new ones are refused


class CommitGroup:
    """A group of entries that are written together, all or none; `hurry` is called when somebody waits for it."""

    __slots__ = ("_began", "_done", "_error", "_hurry", "_waiting", "events", "seconds")

    def __init__(self, hurry: "Callable[[CommitGroup], None]" = lambda _: None) -> None:
        self.events: list[Event] = []
        self._hurry = hurry
        self.seconds = 0.0
        self._began, self._done = 0.0, False
        self._error: ServiceFault | None = None
        self._waiting: list[Callable[[ServiceFault | None], object]] = []

    @property
    def may_rest(self) -> bool:
        """Return whether the group may wait for more entries."""
        return not self._waiting and len(self.events) < MAX_RESTING_ENTRIES

    def add(self, events: Sequence[Event]) -> None:
        """Add entries to the group."""
        if not self.events:
            self._began = time.perf_counter()
        self.events += events

    def resolve(self, future: "asyncio.Future[Any]", value: Any) -> None:
        """Set a future's result when the group is on disk, or its exception if the group cannot be written."""
        self.call_when_durable(partial(resolve_future, future, value))

    def call_when_durable(self, then: Callable[[ServiceFault | None], object]) -> None:
        """Call `then` with None when the group is on disk, or with the fault if the group cannot be written. It must not raise."""
        if self._done:
            then(self._error)
        else:
            self._waiting.append(then)
            self._hurry(self)

    async def wait_until_durable(self) -> None:
        """Wait until the group is on disk."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.resolve(future, None)
        await future

    def finish(self, error: ServiceFault | None = None) -> None:
        """Mark the group as written or failed, and call what waits for it."""
        self._done, self._error, self.seconds = True, error, time.perf_counter() - self._began
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then(error)

    def reopen(self) -> None:
        """Allow requests to wait for the group again, after it was marked as failed and before it is written."""
        self._done, self._error = False, None


def resolve_future(future: "asyncio.Future[Any]", value: Any, error: Exception | None) -> None:
    """Set a future's result, or its exception if there is an error; do nothing if it is already done or cancelled."""
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)


class Committer:
    """A writer of log entries in one thread, in their order; after a `fault` the state must be rebuilt before `resume`."""

    def __init__(
        self,
        log: EventLog,
        observe: Callable[[int, float], None] = lambda _n, _s: None,
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        self._log, self._observe, self._guard = log, observe, guard
        self.failed_at: float | None = None
        self._todo: SimpleQueue[tuple[asyncio.AbstractEventLoop, list[Event]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="commit", daemon=True)
        self._thread.start()
        self._gathering, self._writing = CommitGroup(self._hurry), CommitGroup()
        self._busy, self._began = False, 0.0
        self._rest: asyncio.TimerHandle | None = None
        self._waiting: list[Callable[[], object]] = []
        self.fault: ServiceFault | None = None
        self.durable_sequence = log.last_sequence
        self.next_sequence = log.last_sequence + 1

    @property
    def waiting(self) -> int:
        """Return the number of entries that are not yet on disk."""
        return self.next_sequence - 1 - self.durable_sequence

    @property
    def lag_seconds(self) -> float:
        """Return the age in seconds of the oldest entry that is not yet on disk."""
        return time.monotonic() - self._began if self._busy else 0.0

    def get_stall_fault(self) -> ServiceFault | None:
        """Return a fault if the current write takes too long, else None."""
        return _build_stall_fault() if self.lag_seconds >= STALL_SECONDS else None

    def get_seconds_since_failure(self) -> float:
        """Return the seconds since the last failed write; infinity if none failed."""
        return float("inf") if self.failed_at is None else time.monotonic() - self.failed_at

    def check(self) -> None:
        """Check that new entries can be logged."""
        self._guard()
        if self.fault is not None:
            raise ServiceFault("the event log cannot be written", got=self.fault.got, todo="try again later")
        if self.waiting >= MAX_QUEUE_ENTRIES:
            raise ServiceFault(
                "too many entries wait for the event log",
                got=f"{self.waiting:,}",
                expected=f"fewer than {MAX_QUEUE_ENTRIES:,}",
                todo="try again in a second",
            )
        stall = self.get_stall_fault()
        if stall is not None:
            raise stall

    def add(self, events: Sequence[Event]) -> CommitGroup:
        """Add the next entries, at least one; call `check` before."""
        assert events[0].sequence == self.next_sequence
        self.next_sequence += len(events)
        self._gathering.add(events)
        if not self._busy:
            self._busy = True
            self._begin_rest()
        if not self._gathering.may_rest:
            self._hurry(self._gathering)
        return self._gathering

    def call_when_free(self, then: Callable[[], object]) -> None:
        """Call `then` after the current write and its answers, so that more entries share a flush; at once if the log is idle or failed."""
        if self._busy and self._rest is None and self.fault is None and self.get_stall_fault() is None:
            self._waiting.append(then)
        else:
            asyncio.get_running_loop().call_soon(then)

    def find_group(self, sequence: int) -> CommitGroup | None:
        """Return the group of an entry that is not yet on disk, or None if it is."""
        if sequence <= self.durable_sequence:
            return None
        written_last = self._writing.events[-1].sequence if self._writing.events else 0
        return self._writing if sequence <= written_last else self._gathering

    def list_pending(self) -> list[Event]:
        """List the entries that are not yet on disk, in order."""
        both = [*self._writing.events, *self._gathering.events]
        return [event for event in both if event.sequence > self.durable_sequence]

    async def drain(self) -> None:
        """Wait until all added entries are on disk."""
        await self.wait_until_durable(self.next_sequence - 1)

    async def wait_until_durable(self, sequence: int) -> None:
        """Wait until an entry is on disk; raise `ServiceFault` if it could not be written."""
        group = self.find_group(sequence)
        if group is not None:
            await group.wait_until_durable()

    def suspend(self, fault: ServiceFault) -> None:
        """Refuse entries until `resume`; entries being written decide for themselves whether the log can be written."""
        if self.fault is None and not self._busy:
            self.fault, self.failed_at = fault, time.monotonic()

    def resume(self) -> None:
        """Accept entries after the last one of the log, which was read again; the state must be rebuilt from it."""
        self._gathering, self._writing = CommitGroup(self._hurry), CommitGroup()
        self._busy, self.fault = False, None
        self.durable_sequence = self._log.last_sequence
        self.next_sequence = self._log.last_sequence + 1

    def close(self) -> None:
        """Finish the queued writes, and end the thread."""
        self._todo.put(None)
        self._thread.join()

    def _begin_rest(self) -> None:
        """Allow the group to collect entries until somebody waits for it."""
        self._began = time.monotonic()
        loop = asyncio.get_running_loop()
        self._rest = loop.call_later(MAX_RESTING_SECONDS, lambda: self._hurry(self._gathering))

    def _hurry(self, group: CommitGroup) -> None:
        """Write a group soon if it is the one that collects entries, and none is being written."""
        if self._rest is not None and group is self._gathering:
            self._rest.cancel()
            self._rest = None
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        self._writing, self._gathering = self._gathering, CommitGroup(self._hurry)
        self._began = time.monotonic()
        loop = asyncio.get_running_loop()
        self._todo.put((loop, self._writing.events))
        self._patience = loop.call_later(STALL_SECONDS, self._fail_stalled)

    def _fail_stalled(self) -> None:
        """Fail the requests that wait for a write that takes too long; the write itself may still succeed."""
        stall = _build_stall_fault()
        for group in (self._writing, self._gathering):
            if group.events:
                group.finish(stall)
        self._call_waiting()

    def _work(self) -> None:
        """Write one group after the other (runs in the thread)."""
        while (todo := self._todo.get()) is not None:
            loop, events = todo
            error = self._append(events)
            with suppress(RuntimeError):  # the loop is closed: no request waits
                loop.call_soon_threadsafe(self._finish_group, error)

    def _append(self, events: list[Event]) -> Exception | None:
        start = time.perf_counter()
        try:
            self._log.append(events)
            self._observe(len(events), time.perf_counter() - start)
        except Exception as error:
            return error
        return None

    def _finish_group(self, error: Exception | None) -> None:
        self._patience.cancel()
        if error is not None:
            self._fail(error)
            return
        self.durable_sequence = self._writing.events[-1].sequence
        self._writing.finish()
        self._gathering.reopen()  # a write that took too long has failed it
        self._call_waiting()
        asyncio.get_running_loop().call_soon(self._write_next)

    def _call_waiting(self) -> None:
        """Schedule the callbacks that waited for the end of the write."""
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            asyncio.get_running_loop().call_soon(then)

    def _write_next(self) -> None:
        if not self._gathering.may_rest:
            self._write()
            return
        if self._gathering.events:
            self._begin_rest()
        else:
            self._busy = False
        self._call_waiting()  # callbacks registered since the group was written, when the log still counted as busy

    def _fail(self, error: Exception) -> None:
        """Fail the group that was written and the one that collects entries."""
        if not isinstance(error, ServiceFault):
            logger.error("writing the event log failed", **describe_failure(error))
            error = ServiceFault("the event log cannot be written", got=error.__class__.__name__)
        self.fault, self.failed_at = error, time.monotonic()
        self._writing.finish(error)
        self._gathering.finish(error)
        self._call_waiting()


def _build_stall_fault() -> ServiceFault:
    return ServiceFault(
        "writing the event log takes too long",
        todo="try again later: repeated requests are not counted twice",
    )
