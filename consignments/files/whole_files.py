"""Files that are written as a whole: a reader sees the old content or the new one, and after a power cut it is one of the two."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from consignments.errors import BadInput

PRIVATE_FILE_MODE, PUBLIC_MODE = 0o600, 0o644
PRIVATE_FOLDER_MODE = 0o700
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL


def create_key_file(path: Path, data: bytes) -> None:
    """Create the file of a secret key, which only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER_MODE)
    try:
        descriptor = os.open(path, CREATE, PRIVATE_FILE_MODE)
    except FileExistsError as error:
        raise BadInput(
            "there is a key already", where=str(path), todo="name another file; a key is never replaced"
        ) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        flush_file(file)
    flush_folder(path.absolute().parent)


def replace_file(path: Path, data: bytes, mode: int = PRIVATE_FILE_MODE) -> None:
    """Write a file in place of an earlier one, at once. Missing folders are created, for their owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER_MODE)
    with draft_file(path) as part, os.fdopen(os.open(part, CREATE, mode), "wb") as file:
        file.write(data)


@contextmanager
def draft_file(
    path: Path, explain: Callable[[], AbstractContextManager[None]] = nullcontext
) -> Iterator[Path]:
    """Yield the name of a draft that takes the place of a file once it is on disk; `explain` explains why it cannot.

    Two processes may write the same file: each has a draft of its own.
    """
    part = path.with_name(f".{path.name}.{token_hex(4)}.part")
    try:
        yield part
        with explain():
            with part.open("rb") as file:
                flush_file(file)
            part.replace(path)
            flush_folder(path.absolute().parent)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def flush_file(file: BinaryIO) -> None:
    """Flush a file's content to disk."""
    file.flush()
    os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Flush the names of a folder to disk, so that a renamed file keeps its name after a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
