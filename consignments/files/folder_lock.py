"""The lock of a folder that one run at a time writes."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from consignments.errors import BadInput


@contextmanager
def lock_folder(folder: Path, what: str) -> Iterator[None]:
    """Keep other runs out of a folder; the system ends the lock with the process.

    Parameters
    ----------
    folder : Path
    what : str
        What the runs write, for the message.

    Raises
    ------
    BadInput
        Another run has the lock.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInput(
                f"another run is writing this {what}", where=str(folder), todo="wait until it has ended"
            ) from error
        yield
    finally:
        os.close(descriptor)
