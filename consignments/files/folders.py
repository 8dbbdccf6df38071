"""Folders of one run at a time: the lock of a folder, and a private draft of a folder that appears as a whole."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import rmtree

from consignments.errors import BadInput, explain_failure
from consignments.files.whole_files import PRIVATE_FOLDER_MODE, flush_folder

PART_SUFFIX = ".part"  # suffix of the draft of a folder, as of a file (`consignments.files.whole_files`)
WRITE_TODO = "check free space and permissions, and run it again"


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
def draft_folder(out: Path, what: str, earlier: Path | None = None) -> Iterator[Path]:
    """Yield a private folder that takes the name `out` once all of it is on disk. What a killed run left of it is removed first.

    By then there is nothing at `out`, or an empty folder; or an earlier one, which gets the name `earlier`.
    """
    out = out.absolute()
    part = out.with_name(f".{out.name}{PART_SUFFIX}")
    if part.exists() and not part.is_dir():
        raise BadInput("the working folder is a file", where=str(part), todo="remove it")
    with explain_failure("the folder cannot be written", out, WRITE_TODO):
        out.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir(mode=PRIVATE_FOLDER_MODE, exist_ok=True)
        with lock_folder(part, what):
            try:
                _remove_content(part)
                yield part
                for path in (*part.rglob("*"), part):
                    flush_folder(path)
                if earlier is not None and out.exists():
                    out.rename(earlier)
                part.rename(out)
                flush_folder(out.parent)
            finally:
                rmtree(part, ignore_errors=True)


def _remove_content(folder: Path) -> None:
    for each in folder.iterdir():
        if each.is_dir() and not each.is_symlink():
            rmtree(each)
        else:
            each.unlink()
