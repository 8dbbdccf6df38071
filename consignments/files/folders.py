"""Folders of one run at a time: the lock of a folder, and a private working folder that is empty at its start and removed at its end."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import rmtree

from consignments.errors import BadInput, explain_failure
from consignments.files.whole_files import PRIVATE_FOLDER_MODE


@contextmanager
def lock_folder(folder: Path, what: str) -> Iterator[None]:
    """Keep other runs that write `what` out of a folder; the system ends the lock with the process."""
    todo = "correct its rights, or choose a file system that has locks"
    with ExitStack() as held:
        with explain_failure("the folder cannot be locked", folder, todo):
            descriptor = os.open(folder, os.O_RDONLY)
            held.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BadInput(
                    f"another run is writing this {what}", where=str(folder), todo="wait until it has ended"
                ) from error
        yield


@contextmanager
def open_work_folder(folder: Path, what: str) -> Iterator[Path]:
    """Create a working folder, and remove it at the end unless it was renamed. What a killed run left in it is removed first."""
    if folder.exists() and not folder.is_dir():
        raise BadInput("the working folder is a file", where=str(folder), todo="remove it")
    with explain_failure("the working folder cannot be created", folder):
        folder.mkdir(mode=PRIVATE_FOLDER_MODE, exist_ok=True)
    with lock_folder(folder, what):
        with explain_failure("the working folder cannot be created", folder):
            _remove_content(folder)
        try:
            yield folder
        finally:
            rmtree(folder, ignore_errors=True)


def _remove_content(folder: Path) -> None:
    for each in folder.iterdir():
        if each.is_dir() and not each.is_symlink():
            rmtree(each)
        else:
            each.unlink()
