"""Snapshots of the state: array files named by their SHA-256, so that a restart reads only later log entries.

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
import zipfile
from collections.abc import Iterator, Mapping
from mmap import mmap
from pathlib import Path
from threading import Event, Lock
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.lib.format import header_data_from_array_1_0, write_array_header_1_0
from numpy.typing import NDArray

from consignments.errors import ServiceFault
from consignments.files.whole_files import PRIVATE_FILE_MODE, PRIVATE_FOLDER_MODE, flush_file, flush_folder
from features.history.kept_table import HistoryArrays
from features.history.table import History
from serving.event_log.reader import LogReader, Progress
from serving.process.logging import logger
from serving.state.consignment_states import ConsignmentStates, LatestDays, StoredIndex
from serving.state.history_keys import KeyReader
from serving.state.links import DEFAULT_LIMITS, LinkLimits, Links
from serving.state.rebuild import StateRebuild
from serving.state.state import State

FORMAT = 2
KEPT_SNAPSHOTS = 2
HEADROOM_DIVISOR = 64
"""A copy has room for 1/HEADROOM_DIVISOR more elements, because entries arrive while memory is allocated."""
CHUNK_BYTES = 1 << 21
"""Bytes written and flushed, or read, at a time."""
REST_RATIO = 3.0
"""Pause after each chunk, in multiples of the chunk's time, so that processor and disk stay free for requests."""
NAME_PATTERN = re.compile(r"(\d{16})-([0-9a-f]{64})\.npz")
PART_SUFFIX = ".part"
NEXT_NAME = f"next{PART_SUFFIX}"
"""File that the next snapshot is written to; it overwrites the snapshot dropped last."""
HISTORY_PREFIX = "history."
HEADER, WORDS, MARKS, LINKS = "about", "index.words", "days.marks", "links.sequences"
Arrays = Mapping[str, NDArray[Any]]


class SnapshotHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The header of a snapshot: its log, the last entry with its hash in the chain, which proves that the log is the same, and its history keys."""

    format: int
    log_id: str
    sequence: int
    chain: str
    kinds: str


class Snapshots:
    """The snapshots of one folder, which one process at a time writes; `last` is the last entry of the latest valid one, 0 if there is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.last = 0
        self._writing, self._hurried = Lock(), Event()

    def list_newest_first(self) -> list[Path]:
        """List the snapshots, the one with the latest entry first."""
        found = [path for path in self.folder.glob("*.npz") if NAME_PATTERN.fullmatch(path.name)]
        return sorted(found, reverse=True)

    def find_newest_sequence(self) -> int:
        """Find the last entry that the newest snapshot holds according to its name; 0 if there is no snapshot."""
        return max((int(path.name[:16]) for path in self.list_newest_first()), default=0)

    def write(self, about: SnapshotHeader, arrays: Arrays) -> Path:
        """Write a snapshot, with pauses until `skip_pauses` is called, and drop all but the last two; after an `OSError` the earlier ones stay."""
        with self._writing:
            return self._write(about, arrays)

    def skip_pauses(self) -> None:
        """Write without pauses from now on, including a snapshot in progress, because a shutdown waits for it."""
        self._hurried.set()

    def _write(self, about: SnapshotHeader, arrays: Arrays) -> Path:
        self.folder.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
        part = self._prepare_part()
        note, sha256 = np.frombuffer(msgspec.json.encode(about), dtype=np.uint8), hashlib.sha256()
        with open(os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, PRIVATE_FILE_MODE), "r+b") as file:  # noqa: PTH123
            self._run_with_pauses(_write_chunks(file, {HEADER: note, **arrays}))
            self._run_with_pauses(_digest_chunks(file, sha256))
        path = self.folder / f"{about.sequence:016d}-{sha256.hexdigest()}.npz"
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

    def _run_with_pauses(self, steps: Iterator[None]) -> None:
        """Run steps, with a pause after each."""
        begun = time.perf_counter()
        for _ in steps:
            self._hurried.wait(REST_RATIO * (time.perf_counter() - begun))
            begun = time.perf_counter()

    def read(self, path: Path) -> tuple[SnapshotHeader, dict[str, NDArray[Any]]]:
        """Read a snapshot; raise `ServiceFault` if the file was changed since it was written, or has another format."""
        named = NAME_PATTERN.fullmatch(path.name)
        try:
            with path.open("rb") as file:
                if named is None or hashlib.file_digest(file, "sha256").hexdigest() != named[2]:
                    raise ServiceFault("the snapshot is corrupt: its content does not match its SHA-256")
                file.seek(0)
                with np.load(file, allow_pickle=False) as found:
                    arrays = dict(found)
            about = msgspec.json.decode(arrays.pop(HEADER).tobytes(), type=SnapshotHeader)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, msgspec.DecodeError) as error:
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


def _write_chunks(file: BinaryIO, arrays: Arrays) -> Iterator[None]:
    """Write the same file as `numpy.savez`, flushed to disk at each step of CHUNK_BYTES.

    In one go, flushes of the event log would wait for a hundred megabytes, and all threads while numpy copies sixteen.
    """
    unflushed = 0
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                write_array_header_1_0(member, header_data_from_array_1_0(array))
                content = array.reshape(-1).view(np.uint8).data
                for start in range(0, len(content), CHUNK_BYTES):
                    unflushed += member.write(content[start : start + CHUNK_BYTES])
                    if unflushed >= CHUNK_BYTES:
                        flush_file(file)
                        unflushed = 0
                        yield
    file.truncate()
    flush_file(file)


def _digest_chunks(file: BinaryIO, digest: "hashlib._Hash") -> Iterator[None]:
    """Add a file to a digest, one chunk at each step."""
    file.seek(0)
    while piece := file.read(CHUNK_BYTES):
        digest.update(piece)
        yield


def copy_arrays(state: State, room: Arrays | None = None) -> dict[str, NDArray[Any]]:
    """Return a copy of all arrays of a snapshot in their current state, in the memory of `allocate_copy` where they fit."""
    copies = {}
    for name, view in _views(state).items():
        here = None if room is None else room.get(name)
        if here is None or here.dtype != view.dtype or len(here) < len(view):
            copies[name] = view.copy()
        else:
            copies[name] = here[: len(view)]
            copies[name][:] = view
    return copies


def allocate_copy(state: State) -> dict[str, NDArray[Any]]:
    """Allocate memory for a copy of a state, with headroom, because the state may grow meanwhile.

    The first access to new memory costs several times as much as copying, so it is done here, where no request waits. The
    memory is mapped anonymously and returned to the system when the copy is dropped.
    """
    rooms = {}
    for name, view in _views(state).items():
        shape = (len(view) + len(view) // HEADROOM_DIVISOR + 1, *view.shape[1:])
        rooms[name] = np.ndarray(shape, view.dtype, mmap(-1, math.prod(shape) * view.itemsize))
        rooms[name].fill(0)
    return rooms


def _views(state: State) -> dict[str, NDArray[Any]]:
    dossiers = state.dossiers
    arrays = state.history.get_arrays()._asdict()
    history = {f"{HISTORY_PREFIX}{name}": array for name, array in arrays.items()}
    return history | {
        WORDS: dossiers.index.words,
        MARKS: dossiers.days.to_array(),
        LINKS: state.links.get_places(),
    }


def build_state(
    arrays: Arrays,
    sequence: int,
    log: LogReader,
    keys: KeyReader,
    max_keys: int | None = None,
    limits: LinkLimits = DEFAULT_LIMITS,
) -> State:
    """Build the state after the entry `sequence` of a log from the arrays of `copy_arrays`; it lacks alerts, and links that were not restored."""
    parts = (arrays[f"{HISTORY_PREFIX}{name}"] for name in HistoryArrays._fields)
    history = History.from_arrays(keys.pipeline.kinds, HistoryArrays(*parts), max_keys=max_keys)
    known = StoredIndex(sequence, arrays[WORDS], LatestDays(arrays[MARKS]))
    links = Links.from_places(limits, arrays[LINKS], sequence)
    return State(history, ConsignmentStates(log, keys, known), links)


def rebuild_state(
    log: LogReader,
    keys: KeyReader,
    snapshots: Snapshots | None = None,
    *,
    max_keys: int | None = None,
    limits: LinkLimits = DEFAULT_LIMITS,
    progress: Progress | None = None,
) -> State:
    """Build the state up to the last entry of the log, from the newest valid snapshot or from the whole log.

    Its alerts must be passed to the pipeline that scores. `ServiceFault` if the log cannot be read, or history does not fit into `max_keys`.
    """
    until = log.last_sequence
    state = None if snapshots is None else _load_newest(snapshots, log, keys, max_keys, limits)
    if state is None:
        state = State(
            keys.pipeline.create_history(max_keys=max_keys), ConsignmentStates(log, keys), Links(limits)
        )
    StateRebuild(state).catch_up(log, until, progress)
    return state


def _load_newest(
    snapshots: Snapshots, log: LogReader, keys: KeyReader, max_keys: int | None, limits: LinkLimits
) -> State | None:
    snapshots.last = 0
    for path in snapshots.list_newest_first():
        try:
            about, arrays = snapshots.read(path)
            _require_fit(about, log, keys.entries.kinds)
            state = build_state(arrays, about.sequence, log, keys, max_keys, limits)
        except (ServiceFault, KeyError) as fault:
            logger.warning("snapshot refused", snapshot=path.name[:24], reason=str(fault))
            continue
        snapshots.last = about.sequence
        logger.info(
            "snapshot loaded", sequence=about.sequence, entries_since=log.last_sequence - about.sequence
        )
        return state
    return None


def _require_fit(about: SnapshotHeader, log: LogReader, kinds: str) -> None:
    """Check that a snapshot belongs to this log, to an entry in it, and to the same history keys."""
    if about.log_id != log.log_id:
        raise ServiceFault("the snapshot belongs to another log", got=about.log_id, expected=log.log_id)
    if about.sequence > log.last_sequence:
        raise ServiceFault(
            "the snapshot is ahead of the log",
            got=f"entry {about.sequence}",
            expected=f"at most {log.last_sequence}",
            todo="check whether the log was restored from a backup: then later entries are missing",
        )
    here = log.read_hash(about.sequence)
    if here is None or here.hex() != about.chain:
        raise ServiceFault(
            "the snapshot belongs to another log: the hash chain differs",
            got=about.chain[:12],
            todo="run npsrisk verify-log",
        )
    if about.kinds != kinds:
        raise ServiceFault(
            "the snapshot uses a different set of history keys", got=about.kinds, expected=kinds
        )
