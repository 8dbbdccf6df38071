"""State directory: locked by one process at a time, written atomically, and readable by its owner only."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from consignments.errors import ServiceFault, explain_failure
from consignments.files.whole_files import PRIVATE_FOLDER_MODE, replace_file

PRIVATE_UMASK = 0o077
RESTORE_PART = ".restore.part"  # folder in a state directory with what a restore has not yet put in place


@contextmanager
def create_private_files() -> Iterator[None]:
    """Allow only their owner to read the files and folders that this process creates inside the context."""
    before = os.umask(PRIVATE_UMASK)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def lock_state(state_dir: Path) -> Iterator[None]:
    """Lock a state directory, created if need be; `ServiceFault` if another process holds it or it cannot be written."""
    with create_private_files(), ExitStack() as held:
        todo = "set another NPSRISK_STATE_DIR, or give this user write permission"
        with explain_failure("the state directory cannot be written", state_dir, todo):
            state_dir.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER_MODE)
            file = held.enter_context((state_dir / "lock").open("a+"))
        todo = "set NPSRISK_STATE_DIR to a directory on a file system that supports locks"
        with explain_failure("the state directory cannot be locked", state_dir, todo):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                holder = file.read().strip()
                raise ServiceFault(
                    "another process uses this state directory",
                    where=str(state_dir),
                    got=f"process {holder}" if holder else "",
                    todo="stop that process, or set another NPSRISK_STATE_DIR",
                ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def require_complete(state_dir: Path) -> None:
    """Raise `ServiceFault` if a restore of a state directory was interrupted."""
    if (state_dir / RESTORE_PART).exists():
        raise ServiceFault(
            "a restore of this state directory was interrupted",
            where=str(state_dir),
            todo="run npsrisk restore again with the same backup",
        )


DONE_FOLDER = "done"
"""Folder in a state directory with a file for each verb of maintenance, which holds the time when it last ended well."""


def record_done(state_dir: Path, verb: str) -> None:
    """Note that a verb ended well now, for the metrics of the service, if this user may write the state directory."""
    with suppress(OSError):
        (state_dir / DONE_FOLDER).mkdir(mode=PRIVATE_FOLDER_MODE, exist_ok=True)
        replace_file(state_dir / DONE_FOLDER / verb, str(time.time()).encode())


def read_done_seconds(state_dir: Path, verb: str) -> float:
    """Return when a verb last ended well, in seconds since the epoch; 0 if it never did."""
    try:
        return float((state_dir / DONE_FOLDER / verb).read_bytes())
    except (OSError, ValueError):
        return 0.0


def read_changed_seconds(path: Path) -> float:
    """Return when a file was last changed, in seconds since the epoch, 0 if there is none; nobody can set this time."""
    try:
        return path.stat().st_ctime
    except OSError:
        return 0.0
