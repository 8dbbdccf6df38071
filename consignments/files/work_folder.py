"""The working folder of one run: private, empty at its start, and removed at its end."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

from consignments.errors import BadInput, FileFault
from consignments.files.folder_lock import lock_folder
from consignments.files.whole_files import PRIVATE_FOLDER_MODE


@contextmanager
def open_work_folder(folder: Path, what: str) -> Iterator[Path]:
    """Create a working folder, and remove it at the end unless it was renamed. What a killed run left in it is removed first."""
    if folder.exists() and not folder.is_dir():
        raise BadInput("the working folder is a file", where=str(folder), todo="remove it")
    try:
        folder.mkdir(mode=PRIVATE_FOLDER_MODE, exist_ok=True)
    except OSError as error:
        raise _explain(error, folder) from error
    with lock_folder(folder, what):
        try:
            _remove_content(folder)
        except OSError as error:
            raise _explain(error, folder) from error
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


def _explain(error: OSError, folder: Path) -> FileFault:
    return FileFault(
        "the working folder cannot be created", where=str(folder), got=error.strerror or str(error)
    )
