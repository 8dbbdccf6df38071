"""Files of a kept state: one folder for each batch, which appears when it is whole, and names the batch that it was made by.

state/
    00000007/                        the state before the newest batch; a batch that is repeated starts from it again
    00000008/                        the newest state
        manifest.json                header, what the batch was computed from, bytes and SHA-256 of each file
        table.heads.npy, …           see `features.history.kept_table`
        states-00000008-000.number.npy, …    see `StateSegment`; earlier ones are hard links: a day costs the files of a day
    .00000009.partial/               a batch is running, or was interrupted; the next one removes it
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from consignments.errors import BadInput, FileFault, explain_failure
from consignments.files.folders import lock_folder
from consignments.files.part_manifest import check_file, compute_sha256, list_differences, read_manifest
from consignments.files.whole_files import PRIVATE_FOLDER_MODE, draft_file, flush_file, flush_folder
from features.history import kept_state
from features.history.kept_table import build_state, join_parts, lay_parts
from features.history.kernels import FOUNDED, SIDE_COUNT, HistoryArrays

MANIFEST_NAME = "manifest.json"
RESTORE = "restore the folder from a backup, or remove it to use the state before"
KEPT_STATES = 2
HASHING_THREADS = 4
T = TypeVar("T")
STATE = "state"
"""Name of the state before a batch among what the batch is computed from."""
MIN_MAPPED_BYTES = 1 << 12
GENERATION = "[0-9]" * 8
WAITING = {"outcomes": kept_state.WAITING_OUTCOME, "cancellations": kept_state.WAITING_CANCELLATION}
"""Types of the arrays of events that wait."""


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Size in bytes and SHA-256 (hexadecimal) of a file."""

    bytes: int
    sha256: str


class StateManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The manifest of a state: what the batch was computed from, with the state before it as `state`, and its segments, oldest first."""

    header: kept_state.StateHeader
    inputs: dict[str, str]
    segments: tuple[str, ...]
    files: dict[str, FileEntry]


@dataclass(frozen=True)
class SegmentFiles:
    """The files of a segment of states. An open array keeps a file open, so that all segments at once could be too many files."""

    folder: Path
    name: str

    @property
    def paths(self) -> tuple[Path, ...]:
        """Return the path of each array."""
        return tuple(self.folder / f"{self.name}.{part}.npy" for part in kept_state.SEGMENT_ARRAYS)

    def open(self) -> kept_state.StateSegment:
        """Open the arrays; their content is read from disk when it is needed."""
        return kept_state.StateSegment(*map(_load_array, self.paths))


@dataclass(frozen=True)
class StoredState:
    """A state on disk: its folder, its manifest, and the state. Keys of arrivals are read from disk when they are needed."""

    folder: Path
    manifest: StateManifest
    state: kept_state.KeptState

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a state, and compare each file with its SHA-256; the error names a file that is missing or changed, or another version."""
        manifest = _read_manifest(folder)
        manifest.header.check_version()

        def check(name: str) -> None:
            entry = manifest.files[name]
            check_file(folder / name, entry.bytes, entry.sha256, "a file of the state", RESTORE)

        _map_files(check, manifest.files)
        state = kept_state.KeptState(
            header=manifest.header,
            table=load_table(folder, "table"),
            segments=tuple(SegmentFiles(folder, name) for name in manifest.segments),
            **{name: _load_array(folder / f"{name}.npy") for name in WAITING},
        )
        for name, dtype in WAITING.items():
            if getattr(state, name).dtype != dtype:
                raise FileFault(
                    "a file of the state has another form",
                    where=str(folder / f"{name}.npy"),
                    todo="restore the folder from a backup, or begin a new state from --history",
                )
        return cls(folder, manifest, state)


class StateFolder:
    """The states of successive batches in one folder, which the first batch creates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def list_states(self) -> list[Path]:
        """List the folders of the states, the newest last."""
        return sorted(path for path in self.folder.glob(GENERATION) if path.is_dir())

    @contextmanager
    def begin(self, inputs: Mapping[str, str]) -> Iterator["StateDraft"]:
        """Begin a batch from the newest state, or from the one before if this very batch made the newest from the same `inputs`."""
        with _explain_failure(self.folder):
            self.folder.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
        with lock_folder(self.folder, "state"):
            yield self._begin(inputs)

    def _begin(self, inputs: Mapping[str, str]) -> "StateDraft":
        states = self.list_states()
        made = _read_manifest(states[-1]) if states else None
        if made is not None and not list_differences({**made.inputs, STATE: ""}, {**inputs, STATE: ""}):
            states.pop()
        else:
            made = None
        before = StoredState.read(states[-1]) if states else None
        # The manifest covers all files of a state.
        digest = "none" if before is None else compute_sha256(before.folder / MANIFEST_NAME)
        if made is not None and made.inputs[STATE] != digest:
            what = "this batch is counted in the state of history already, and the state before it is gone"
            todo = "restore the folder from a backup to compute the batch again"
            raise BadInput(what, where=str(self.folder), todo=todo)
        return StateDraft(self, before, {**inputs, STATE: digest}, done=made is not None)


class StateDraft:
    """The state after a batch that is running; `done` if the state of this batch exists already, so that nothing is written."""

    def __init__(
        self, states: StateFolder, before: StoredState | None, inputs: dict[str, str], *, done: bool
    ) -> None:
        self.before, self.inputs, self.done = before, inputs, done
        self._states = states
        self._name = f"{1 if before is None else int(before.folder.name) + 1:08d}"
        self._work = states.folder / f".{self._name}.partial"
        self._segments: list[str] = []
        if not done:
            with _explain_failure(self._work):
                for left_over in states.folder.glob(".*.partial"):
                    shutil.rmtree(left_over)
                self._work.mkdir(mode=PRIVATE_FOLDER_MODE)

    def write_segment(self, segment: kept_state.StateSegment) -> kept_state.SegmentSource:
        """Write a segment of states, and return its files, which `commit` moves."""
        if self.done:
            return segment
        files = SegmentFiles(self._work, f"states-{self._name}-{len(self._segments):03d}")
        self._segments.append(files.name)
        with _explain_failure(self._work):
            for part, path in zip(kept_state.SEGMENT_ARRAYS, files.paths, strict=True):
                _write_array(path, getattr(segment, part))
        return files

    def write_table(self, parts: Iterable[HistoryArrays], today: int) -> HistoryArrays:
        """Write the table of history part by part, and return it with its arrays on disk."""
        if self.done:
            return join_parts(parts, today)
        with _explain_failure(self._work):
            write_table(self._work, "table", parts, today)
        return load_table(self._work, "table")

    def commit(self, state: kept_state.KeptState | None) -> None:
        """Write the rest of the state of a finished batch, give its folder its name, and remove all but the last two states."""
        if self.done:
            return
        assert state is not None
        with _explain_failure(self._work):
            segments = (*self._link_segments(state), *self._segments)
            for name in WAITING:
                _write_array(self._work / f"{name}.npy", getattr(state, name))
            known = {} if self.before is None else self.before.manifest.files
            paths = {path.name: path for path in sorted(self._work.glob("*.npy"))}
            entries = _map_files(lambda name: _describe_file(paths[name], known), paths)
            files = dict(zip(paths, entries, strict=True))
            manifest = StateManifest(state.header, self.inputs, segments, files)
            content = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
            with draft_file(self._work / MANIFEST_NAME) as draft:
                draft.write_bytes(content)
            self._work.rename(self._states.folder / self._name)
            flush_folder(self._states.folder)
            for old in self._states.list_states()[:-KEPT_STATES]:
                shutil.rmtree(old)

    def _link_segments(self, state: kept_state.KeptState) -> list[str]:
        """Link the files of the segments that the state keeps from the one before."""
        if self.before is None:
            return []
        pairs = zip(self.before.manifest.segments, self.before.state.segments, strict=True)
        kept = [name for name, segment in pairs if any(segment is each for each in state.segments)]
        for name in kept:
            for path in SegmentFiles(self.before.folder, name).paths:
                _link_or_copy(path, self._work / path.name)
        return kept


def _map_files(work: Callable[[str], T], names: Iterable[str]) -> list[T]:
    """Apply a function that hashes a file to each name, in threads: hashing does not hold the lock of the interpreter."""
    with ThreadPoolExecutor(HASHING_THREADS) as threads:
        return list(threads.map(work, names))


def _describe_file(path: Path, known: Mapping[str, FileEntry]) -> FileEntry:
    """Return size and SHA-256 of a file; those of a segment of an earlier batch are known."""
    if path.name.startswith("states-") and path.name in known:
        return known[path.name]
    return FileEntry(path.stat().st_size, compute_sha256(path))


def _explain_failure(path: Path) -> AbstractContextManager[None]:
    todo = "free space or correct the rights, and run the same command again; the earlier state is unchanged"
    return explain_failure("the state of history cannot be written", path, todo)


def _read_manifest(folder: Path) -> StateManifest:
    return read_manifest(folder / MANIFEST_NAME, StateManifest, "the manifest of the state", RESTORE)


def _load_array(path: Path) -> NDArray[Any]:
    """Open an array; its content is read from disk when it is needed. Kernels write into the scratch block of a table, in memory."""
    try:
        with explain_failure("a file of the state cannot be read", path):
            large = path.stat().st_size > MIN_MAPPED_BYTES
            array: NDArray[Any] = np.load(path, mmap_mode="c" if large else None, allow_pickle=False)
    except (ValueError, EOFError) as error:
        got = str(error).splitlines()[0]
        raise FileFault("a file of the state is not an array", where=str(path), got=got) from error
    return array


def load_table(folder: Path, name: str) -> HistoryArrays:
    """Open the arrays of a table of history; their content is read from disk when it is needed."""
    return HistoryArrays(*(_load_array(folder / f"{name}.{array}.npy") for array in HistoryArrays._fields))


def write_table(folder: Path, name: str, parts: Iterable[HistoryArrays], today: int) -> None:
    """Write the arrays of a table of history as of a day, which is given in parts; at least one."""
    sizes, founded = [0, 0, 0], np.zeros(SIDE_COUNT, dtype=np.int64)
    with ExitStack() as stack:
        paths = (folder / f"{name}.{array}.npy" for array in HistoryArrays._fields[1:])
        writers = [stack.enter_context(_open_array_writer(path)) for path in paths]
        for part in lay_parts(parts):
            founded = np.maximum(founded, part.state[FOUNDED:])
            arrays: tuple[NDArray[Any], ...] = (part.heads, part.days, part.counterparts)
            for place, array in enumerate(arrays):
                writers[place](array)
                sizes[place] += len(array)
    heads, days, counterparts = sizes
    _write_array(folder / f"{name}.state.npy", build_state(today, heads, days, counterparts, founded))


def _write_array(path: Path, array: NDArray[Any]) -> None:
    with _open_array_writer(path) as write:
        write(array)


@contextmanager
def _open_array_writer(path: Path) -> Iterator[Callable[[NDArray[Any]], None]]:
    """Open a file for the parts of an array. It gets the bytes that `numpy.save` gives to their concatenation; at least one part."""
    header: dict[str, Any] = {}
    rows = 0
    with path.open("wb") as file:

        def write_header() -> None:
            file.seek(0)
            np.lib.format.write_array_header_1_0(file, header)

        def write(part: NDArray[Any]) -> None:
            nonlocal rows
            if not header:
                header.update(np.lib.format.header_data_from_array_1_0(part[:0]))
                write_header()
            file.write(np.ascontiguousarray(part).data)
            rows += len(part)

        yield write
        # The header has room for any number of rows, so its size does not change.
        header["shape"] = (rows, *header["shape"][1:])
        write_header()
        flush_file(file)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
