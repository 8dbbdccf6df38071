"""The state directory: one process at a time works on it, and its files are there whole or not at all, for their owner only."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from consignments.errors import ServiceFault

PRIVATE_FOLDER_MODE = 0o700
PRIVATE_FILE_MODE = 0o600


class StateLock:
    """Holds a state directory, made if there is none: the log and the state made from it have a single writer.

    The system lets go when the process ends, however it ends.

    Parameters
    ----------
    state_dir : Path

    Raises
    ------
    ServiceFault
        On entering, where another process holds it, or it cannot be written.
    """

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / "lock"

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER_MODE)
            self._file = self.path.open("a+")
        except OSError as error:
            raise ServiceFault(
                "the state directory cannot be written",
                where=str(self.path.parent),
                got=error.strerror or "",
                todo="name another NPSRISK_STATE_DIR, or let this user write there",
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            holder = self._file.read().strip()
            self._file.close()
            raise ServiceFault(
                "another process works on this state directory",
                where=str(self.path.parent),
                got=f"process {holder}" if holder else "",
                todo="stop it first, or set another NPSRISK_STATE_DIR",
            ) from error
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class FileStamp(NamedTuple):
    """What changes when a file is written or replaced."""

    device: int
    inode: int
    modified_ns: int

    @classmethod
    def from_stat(cls, stat: os.stat_result) -> "FileStamp":
        """Make one of what the system says of a file."""
        return cls(stat.st_dev, stat.st_ino, stat.st_mtime_ns)


def get_file_stamp(path: Path) -> FileStamp:
    """Return the stamp of a file; `OSError` if it is not there."""
    return FileStamp.from_stat(path.stat())


def write_part(path: Path, content: bytes) -> Path:
    """Write a file's next content beside it and flush it to disk; gives where, for `Path.replace`. `OSError` where it cannot."""
    part = get_part_path(path)
    part.unlink(missing_ok=True)
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE_MODE), "wb") as file:  # noqa: PTH123
        file.write(content)
        flush_file(file)
    return part


def get_part_path(path: Path) -> Path:
    """Give where the next content of a file is written; one that is there was left by a kill."""
    return path.with_name(f".{path.name}.part")


def overwrite(path: Path) -> None:
    """Put zeros in place of a file's bytes and flush them to disk; another name of the same file sees them too."""
    with path.open("r+b") as file:
        file.write(bytes(os.fstat(file.fileno()).st_size))
        flush_file(file)


def flush_file(file: BinaryIO) -> None:
    """Make durable what was written to a file."""
    file.flush()
    os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
