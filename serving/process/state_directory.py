"""State directory: locked by one process at a time, written atomically, and readable by its owner only."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from consignments.errors import ServiceFault
from consignments.files.whole_files import PRIVATE_FOLDER_MODE

PRIVATE_UMASK = 0o077
RESTORE_PART = ".restore.part"
"""Folder in a state directory with what a restore has not yet put in place."""


class StateLock:
    """A lock on a state directory, created if need be, under which new files are private; `ServiceFault` if another process holds it, or the directory cannot be written or locked."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / "lock"

    def __enter__(self) -> Self:
        try:
            self._umask = os.umask(PRIVATE_UMASK)
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER_MODE)
            self._file = self.path.open("a+")
        except OSError as error:
            os.umask(self._umask)
            raise ServiceFault(
                "the state directory cannot be written",
                where=str(self.path.parent),
                got=error.strerror or "",
                todo="set another NPSRISK_STATE_DIR, or give this user write permission",
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            fault = self._build_lock_fault(error)
            self.__exit__(None, None, None)
            raise fault from error
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.umask(self._umask)
        self._file.close()

    def _build_lock_fault(self, error: OSError) -> ServiceFault:
        if not isinstance(error, BlockingIOError):
            return ServiceFault(
                "the state directory cannot be locked",
                where=str(self.path.parent),
                got=error.strerror or "",
                todo="set NPSRISK_STATE_DIR to a directory on a file system that supports locks",
            )
        self._file.seek(0)
        holder = self._file.read().strip()
        return ServiceFault(
            "another process uses this state directory",
            where=str(self.path.parent),
            got=f"process {holder}" if holder else "",
            todo="stop that process, or set another NPSRISK_STATE_DIR",
        )


def require_complete(state_dir: Path) -> None:
    """Raise `ServiceFault` if a restore of a state directory was interrupted."""
    if (state_dir / RESTORE_PART).exists():
        raise ServiceFault(
            "a restore of this state directory was interrupted",
            where=str(state_dir),
            todo="run npsrisk restore again with the same backup",
        )


DONE_FOLDER = "done"
"""Folder in a state directory with an empty file for each verb of maintenance, changed when it last ended well."""


def record_done(state_dir: Path, verb: str) -> None:
    """Note that a verb ended well, for the metrics of the service, if this user may write the state directory."""
    with suppress(OSError):
        (state_dir / DONE_FOLDER).mkdir(mode=PRIVATE_FOLDER_MODE, exist_ok=True)
        (state_dir / DONE_FOLDER / verb).touch()


def read_changed_seconds(path: Path) -> float:
    """Return when a file was last changed, in seconds since the epoch; 0 if there is none. Unlike its time of modification nobody can set it."""
    try:
        return path.stat().st_ctime
    except OSError:
        return 0.0
