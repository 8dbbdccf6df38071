"""The lock of a folder that one run at a time writes."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from consignments.errors import BadInput, FileFault


@contextmanager
def lock_folder(folder: Path, what: str) -> Iterator[None]:
    """Keep other runs out of a folder; the system ends the lock with the process."""
    with _explain_failure(folder, what):
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        with _explain_failure(folder, what):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _explain_failure(folder: Path, what: str) -> Iterator[None]:
    try:
        yield
    except BlockingIOError as error:
        raise BadInput(
            f"another run is writing this {what}", where=str(folder), todo="wait until it has ended"
        ) from error
    except OSError as error:
        raise FileFault(
            "the folder cannot be locked",
            where=str(folder),
            got=error.strerror or str(error),
            todo="correct its rights, or choose a file system that has locks",
        ) from error
