"""Files of the state directory that are there whole or not at all, readable by their owner only."""

import os
from pathlib import Path
from typing import BinaryIO

PRIVATE_FILE_MODE = 0o600


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
