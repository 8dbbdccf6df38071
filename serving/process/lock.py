"""One process at a time on one state directory: the log and the state made from it have a single writer."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from consignments.errors import ServiceFault

PRIVATE_FOLDER_MODE = 0o700


class StateLock:
    """Holds a state directory, made where there is none; the system lets go when the process ends, however it ends.

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
