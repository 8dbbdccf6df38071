"""Schedule of snapshots: after a number of entries or a time, in the background, and at an orderly stop."""

import time
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from consignments.errors import ServiceFault
from serving.event_log.group_commit import Committer
from serving.event_log.log import EventLog
from serving.process.logging import logger
from serving.process.settings import Settings
from serving.process.threads import BackgroundThreads
from serving.state.snapshots import FORMAT, SnapshotHeader, Snapshots, allocate_copy, copy_arrays
from serving.state.state import State
from serving.telemetry.metrics import Metrics

RETRY_SECONDS = 60.0
"""Seconds to wait after a snapshot that could not be written."""


class SnapshotSchedule:
    """The schedule of one log's snapshots."""

    def __init__(
        self,
        log: EventLog,
        committer: Committer,
        snapshots: Snapshots,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self.snapshots = snapshots
        self._log, self._committer, self._settings, self._metrics = log, committer, settings, metrics
        self._written_at, self._wait = time.monotonic(), 0.0

    async def write_when_due(self, state: State, background: BackgroundThreads) -> None:
        """Write a snapshot if one is due; after a failure, try again RETRY_SECONDS later."""
        fresh, waited = state.sequence - self.snapshots.last, time.monotonic() - self._written_at
        due = fresh >= self._settings.snapshot_entries and waited >= self._wait
        if due or (fresh and waited >= self._settings.snapshot_seconds):
            await self.write(state, background)

    async def write(self, state: State, background: BackgroundThreads) -> None:
        """Write a snapshot after its entries are on disk.

        Requests wait only while the arrays are copied.
        """
        start = time.monotonic()
        if state.sequence == self.snapshots.last:
            return
        room = await background.run(allocate_copy, state)
        copying = time.monotonic()
        arrays, sequence = copy_arrays(state, room), state.sequence
        copied = time.monotonic() - copying
        del room
        self._written_at, self._wait = start, RETRY_SECONDS
        try:
            await self._committer.wait_until_durable(sequence)
            path = await background.run(self._write, sequence, state.dossiers.keys.entries.kinds, arrays)
        except (OSError, ServiceFault) as error:
            self._metrics.gauges["snapshot_failed"].set(1)
            logger.error("snapshot could not be written", reason=str(error))
            return
        self._wait = 0.0
        self._metrics.record_snapshot(path.stat().st_size, copied)
        logger.info(
            "snapshot written", sequence=sequence, bytes=path.stat().st_size,
            pause_ms=round(1000 * copied, 1), seconds=round(time.monotonic() - start, 3),
        )  # fmt: skip

    def _write(self, sequence: int, kinds: str, arrays: dict[str, NDArray[Any]]) -> Path:
        """Write a snapshot, and release the memory of its arrays in this thread, because that takes a while."""
        chain = self._log.read_hash(sequence)
        if chain is None:
            raise ServiceFault(
                "the last entry of the snapshot is not in the event log", got=f"entry {sequence}"
            )
        header = SnapshotHeader(FORMAT, self._log.log_id, sequence, chain.hex(), kinds)
        path = self.snapshots.write(header, arrays)
        arrays.clear()
        return path
