"""Files that are written as a whole: a reader sees the old content or the new one, and after a power cut it is one of the two."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from consignments.errors import BadInput, explain_failure

PRIVATE_FILE_MODE, PUBLIC_MODE = 0o600, 0o644
PRIVATE_FOLDER_MODE = 0o700


def create_key_file(path: Path, data: bytes) -> None:
    """Create the file of a secret key, which only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER_MODE)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE_MODE)
    except FileExistsError as error:
        raise BadInput(
            "there is a key already", where=str(path), todo="name another file; a key is never replaced"
        ) from error
    _write(descriptor, data)


def replace_file(path: Path, data: bytes, mode: int = PRIVATE_FILE_MODE) -> None:
    """Write a file in place of an earlier one, at once. Missing folders are created, for their owner alone.

    Two processes may write the same file: each has a draft of its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER_MODE)
    part = path.with_name(f".{path.name}.{token_hex(4)}.part")
    try:
        _write(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), data)
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def draft_file(path: Path, todo: str = "") -> Iterator[Path]:
    """Yield the name of a draft that takes the place of a file once it is on disk, as the state after it relies on."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        with explain_failure("cannot be written", path, todo):
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


def _write(descriptor: int, data: bytes) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        flush_file(file)
