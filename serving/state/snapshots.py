"""Snapshots of the state: files of arrays named by their SHA-256, so that a restart reads only later log entries.

A file is a line of JSON, the header with the name, type and shape of each array, and the bytes of the arrays in this order.

A snapshot belongs to one log, one entry of it, one list of history keys and one format. If any of these differs, the
snapshot is refused, and the one before it or the whole log is used. A snapshot is written to a temporary file, flushed to
disk, and then renamed, so a kill at any time leaves the old snapshots unchanged. A dropped snapshot is not deleted; the
next one overwrites it. If the file system reports each deletion to the disk (mount option `discard`), deleting a
hundred megabytes delays the flushes of the log by up to half a minute.
"""

import hashlib
import math
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from mmap import mmap
from pathlib import Path
from threading import Event, Lock
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from consignments.errors import ServiceFault
from consignments.files.whole_files import PRIVATE_FILE_MODE, PRIVATE_FOLDER_MODE, flush_file, flush_folder
from features.history.kernels import HistoryArrays
from features.history.table import History
from serving.event_log.group_commit import Committer
from serving.event_log.log import EventLog
from serving.event_log.reader import LogReader
from serving.process.logging import logger
from serving.process.settings import Settings
from serving.process.threads import BackgroundThreads
from serving.state.consignment_states import ConsignmentStates, LatestDays
from serving.state.history_keys import KeyReader
from serving.state.links import NO_LIMITS, Links, StateLimits
from serving.state.rebuild import StateRebuild
from serving.state.state import State
from serving.telemetry.metrics import Metrics

FORMAT = 3
KEPT_SNAPSHOTS = 2
HEADROOM_DIVISOR = 64
"""A copy has room for 1/HEADROOM_DIVISOR more elements, because entries arrive while memory is allocated."""
CHUNK_BYTES = 1 << 21  # bytes written and flushed, or read, at a time
REST_RATIO = 3.0
"""Pause after each chunk, in multiples of the chunk's time, so that processor and disk stay free for requests."""
NAME_PATTERN = re.compile(r"(\d{16})-([0-9a-f]{64})\.state")
SEQUENCE_DIGITS, PART_SUFFIX = 16, ".part"
NEXT_NAME = f"next{PART_SUFFIX}"
"""File that the next snapshot is written to; it overwrites the snapshot dropped last."""
HISTORY_PREFIX = "history."
WORDS, MARKS, LINKS = "index.words", "days.marks", "links.sequences"
Arrays = Mapping[str, NDArray[Any]]


class SnapshotHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The header of a snapshot: its log, the last entry with its hash in the chain, and its history keys."""

    format: int
    log_id: str
    sequence: int
    chain: str
    kinds: str


ArrayHeader = tuple[str, str, tuple[int, ...]]  # name, type and shape of an array in a snapshot


class Snapshots:
    """The snapshots of one folder; `last` is the last entry of the latest valid one, `lost` that of one the log does not have."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.last = self.lost = 0
        self._writing, self._hurried = Lock(), Event()

    def list_newest_first(self) -> list[Path]:
        """List the snapshots, the one with the latest entry first."""
        found = [path for path in self.folder.glob("*.state") if NAME_PATTERN.fullmatch(path.name)]
        return sorted(found, reverse=True)

    def find_newest_sequence(self) -> int:
        """Find the last entry that the newest snapshot holds according to its name; 0 if there is no snapshot."""
        return max((int(path.name[:SEQUENCE_DIGITS]) for path in self.list_newest_first()), default=0)

    def accept_loss(self) -> None:
        """Delete the snapshots of entries that the log has lost."""
        for path in self.list_newest_first():
            if self.last < int(path.name[:SEQUENCE_DIGITS]) <= self.lost:
                path.unlink()
        self.lost = 0

    def write(self, about: SnapshotHeader, arrays: Arrays) -> Path:
        """Write a snapshot, with pauses until `skip_pauses` is called, and drop all but the last two. After an `OSError` these stay."""
        with self._writing:
            return self._write(about, arrays)

    def skip_pauses(self) -> None:
        """Write without pauses from now on, including a snapshot in progress, because a shutdown waits for it."""
        self._hurried.set()

    def _write(self, about: SnapshotHeader, arrays: Arrays) -> Path:
        self.folder.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
        part, sha256 = self._prepare_part(), hashlib.sha256()
        with open(os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, PRIVATE_FILE_MODE), "r+b") as file:  # noqa: PTH123
            begun = time.perf_counter()
            # Flushed in one go, a hundred megabytes would delay those of the event log.
            for chunk in _iterate_chunks(about, arrays):
                sha256.update(chunk)
                file.write(chunk)
                flush_file(file)
                self._hurried.wait(REST_RATIO * (time.perf_counter() - begun))
                begun = time.perf_counter()
            file.truncate()
            flush_file(file)
        path = self.folder / f"{about.sequence:016d}-{sha256.hexdigest()}.state"
        part.replace(path)
        flush_folder(self.folder)
        self._drop_others(path)
        self.last = about.sequence
        return path

    def _prepare_part(self) -> Path:
        """Return the file for the next snapshot; delete leftovers that must not be overwritten."""
        part = self.folder / NEXT_NAME
        for left_over in self.folder.glob(f"*{PART_SUFFIX}"):
            if left_over != part or not _is_overwritable(left_over):
                left_over.unlink()
        return part

    def read(self, path: Path) -> tuple[SnapshotHeader, dict[str, NDArray[Any]]]:
        """Read a snapshot; raise `ServiceFault` if the file was changed since it was written, or has another format."""
        named = NAME_PATTERN.fullmatch(path.name)
        try:
            with path.open("rb") as file:
                if named is None or hashlib.file_digest(file, "sha256").hexdigest() != named[2]:
                    raise ServiceFault("the snapshot is corrupt: its content does not match its SHA-256")
                file.seek(0)
                about, listed = msgspec.json.decode(
                    file.readline(), type=tuple[SnapshotHeader, list[ArrayHeader]]
                )
                arrays = {}
                for name, dtype, shape in listed:
                    arrays[name] = np.empty(shape, dtype)
                    file.readinto(arrays[name].reshape(-1).view(np.uint8).data)
        except (OSError, ValueError, TypeError, msgspec.DecodeError) as error:
            raise ServiceFault(
                "the snapshot is corrupt: it cannot be read", got=error.__class__.__name__
            ) from error
        if about.format != FORMAT:
            raise ServiceFault(
                "the snapshot has another format", got=f"format {about.format}", expected=f"format {FORMAT}"
            )
        return about, arrays

    def _drop_others(self, newest: Path) -> None:
        """Keep the newest snapshot and the one before; later ones were refused when the service started."""
        before = [path for path in self.list_newest_first() if path.name < newest.name]
        for path in set(self.list_newest_first()) - {newest, *before[: KEPT_SNAPSHOTS - 1]}:
            path.replace(self.folder / NEXT_NAME)
        flush_folder(self.folder)


def _is_overwritable(path: Path) -> bool:
    """Check that a file is a regular file with read and write permission and without further hard links."""
    about = path.lstat()
    return stat.S_ISREG(about.st_mode) and about.st_nlink == 1 and os.access(path, os.R_OK | os.W_OK)


def _iterate_chunks(about: SnapshotHeader, arrays: Arrays) -> Iterator[bytes | memoryview]:
    """Yield the content of a snapshot in pieces."""
    listed = [(name, array.dtype.str, array.shape) for name, array in arrays.items()]
    yield msgspec.json.encode((about, listed)) + b"\n"
    for array in arrays.values():
        content = array.reshape(-1).view(np.uint8).data
        for start in range(0, len(content), CHUNK_BYTES):
            yield content[start : start + CHUNK_BYTES]


def copy_arrays(state: State, room: Arrays | None = None) -> dict[str, NDArray[Any]]:
    """Return a copy of all arrays of a snapshot in their current state, in the memory of `allocate_copy` where they fit."""
    copies, small = {}, {MARKS: state.dossiers.days.to_array(), LINKS: state.links.get_places()}
    for name, view in (_get_large(state) | small).items():
        here = None if room is None else room.get(name)
        if here is None or here.dtype != view.dtype or len(here) < len(view):
            copies[name] = view.copy()
        else:
            copies[name] = here[: len(view)]
            copies[name][:] = view
    return copies


def allocate_copy(state: State) -> dict[str, NDArray[Any]]:
    """Allocate memory for a copy of a state, where no request waits: first access costs several times as much as copying."""
    rooms = {}
    for name, view in _get_large(state).items():
        shape = (len(view) + len(view) // HEADROOM_DIVISOR + 1, *view.shape[1:])
        rooms[name] = np.ndarray(shape, view.dtype, mmap(-1, math.prod(shape) * view.itemsize))
        rooms[name].fill(0)
    return rooms


def _get_large(state: State) -> dict[str, NDArray[Any]]:
    """Return the arrays that another thread may look at while requests change the state."""
    arrays = state.history.get_arrays()._asdict()
    history = {f"{HISTORY_PREFIX}{name}": array for name, array in arrays.items()}
    return history | {WORDS: state.dossiers.index.words}


def build_state(
    arrays: Arrays, sequence: int, log: LogReader, keys: KeyReader, limits: StateLimits = NO_LIMITS
) -> State:
    """Build the state after an entry of a log from the arrays of `copy_arrays`; it lacks alerts."""
    parts = (arrays[f"{HISTORY_PREFIX}{name}"] for name in HistoryArrays._fields)
    history = History.from_arrays(keys.pipeline.kinds, HistoryArrays(*parts), max_keys=limits.max_keys)
    days = LatestDays((since, day) for since, day in arrays[MARKS].tolist())
    dossiers = ConsignmentStates(log, keys, sequence, arrays[WORDS], days)
    links = Links.from_places(limits, arrays[LINKS], sequence)
    return State(history, dossiers, links)


def build_empty_state(log: LogReader, keys: KeyReader, limits: StateLimits = NO_LIMITS) -> State:
    """Build the state before the first entry of a log."""
    history = keys.pipeline.create_history(max_keys=limits.max_keys)
    return State(history, ConsignmentStates(log, keys), Links(limits))


def rebuild_state(
    log: LogReader, keys: KeyReader, snapshots: Snapshots | None = None, limits: StateLimits = NO_LIMITS
) -> State:
    """Build the state up to the last entry, from a valid snapshot or the whole log; the pipeline that scores must get its alerts."""
    until = log.last_sequence
    state = None if snapshots is None else _load_newest(snapshots, log, keys, limits)
    if state is None:
        state = build_empty_state(log, keys, limits)
    StateRebuild(state).catch_up(log, until)
    return state


def _load_newest(snapshots: Snapshots, log: LogReader, keys: KeyReader, limits: StateLimits) -> State | None:
    snapshots.last = snapshots.lost = 0
    for path in snapshots.list_newest_first():
        try:
            about, arrays = snapshots.read(path)
            here = log.read_hash(about.sequence)
            if about.log_id == log.log_id and (here is None or here.hex() != about.chain):
                snapshots.lost = max(snapshots.lost, about.sequence)
            _require_fit(about, log, here, keys.entries.kinds)
            state = build_state(arrays, about.sequence, log, keys, limits)
        except (ServiceFault, KeyError) as fault:
            logger.warning("snapshot refused", snapshot=path.name[:24], reason=str(fault))
            continue
        snapshots.last = about.sequence
        logger.info(
            "snapshot loaded", sequence=about.sequence, entries_since=log.last_sequence - about.sequence
        )
        return state
    return None


def _require_fit(about: SnapshotHeader, log: LogReader, here: bytes | None, kinds: str) -> None:
    """Check that a snapshot belongs to this log, to its entry with the hash `here`, and to the same history keys."""
    faults = {
        "the snapshot belongs to another log": about.log_id != log.log_id,
        "the snapshot is ahead of the log": about.sequence > log.last_sequence,
        "the snapshot belongs to another log: the hash chain differs": here is None
        or here.hex() != about.chain,
        "the snapshot uses a different set of history keys": about.kinds != kinds,
    }
    for fault in (each for each, holds in faults.items() if holds):
        raise ServiceFault(
            fault,
            got=f"entry {about.sequence} of log {about.log_id}, keys {about.kinds}",
            todo="if the log was restored from a backup, later entries are missing; run npsrisk verify-log",
        )


RETRY_SECONDS = 60.0


class SnapshotSchedule:
    """The schedule of one log's snapshots."""

    def __init__(
        self, log: EventLog, committer: Committer, snapshots: Snapshots, settings: Settings, metrics: Metrics
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
        """Write a snapshot after its entries are on disk. Requests wait only while the arrays are copied."""
        start = time.monotonic()
        if state.sequence == self.snapshots.last or self.snapshots.lost:
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
        written = {"failed": 0, "bytes": path.stat().st_size, "pause_seconds": copied}
        for name, value in written.items():
            self._metrics.gauges[f"snapshot_{name}"].set(value)
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
