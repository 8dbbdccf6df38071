"""Listing of the files below a folder, and their names in messages.

A table that is a folder is listed once for its rows and once for its SHA-256. Both take this listing, so that they mean the same files.
"""

import os
from pathlib import Path

from consignments.errors import FileFault, name_file

HIDDEN = (".", "_")  # first characters of the names of files and folders that hold no rows


def list_table_files(folder: Path) -> list[Path]:
    """List all files below a folder, hidden ones too, relative to it and in order.

    Symbolic links to folders are followed like those to files, except hidden links and links in hidden folders.
    """

    def refuse_unreadable(error: OSError) -> None:
        if is_hidden(Path(error.filename).relative_to(folder)):
            return
        raise FileFault(
            "the folder cannot be read",
            where=name_file(Path(error.filename)),
            got=error.strerror or str(error),
            todo="correct its rights, or move it out of the table",
        ) from error

    found: list[Path] = []
    met: dict[Path, Path] = {}
    for place, folders, names in os.walk(folder, onerror=refuse_unreadable, followlinks=True):
        here = Path(place)
        inside = here.relative_to(folder)
        if not is_hidden(inside):
            _refuse_repeated_folder(here, met)
        hidden_links = {name for name in folders if is_hidden(inside / name) and (here / name).is_symlink()}
        folders[:] = [name for name in folders if name not in hidden_links]
        found += [inside / name for name in names]
    for file in found:
        _refuse_broken_link(folder, file)
    return sorted(found)


def is_hidden(path: Path) -> bool:
    """Check whether a relative path is hidden from readers of tables."""
    return any(part.startswith(HIDDEN) for part in path.parts)


def _refuse_broken_link(folder: Path, file: Path) -> None:
    """Refuse a visible link that leads nowhere: it may stand for a folder of rows, for example on a disk that is not mounted."""
    if not is_hidden(file) and (folder / file).is_symlink() and not (folder / file).exists():
        raise FileFault(
            "a symbolic link leads nowhere",
            where=name_file(folder / file),
            got=name_file((folder / file).readlink()),
            todo="mount or restore what it names, or remove it",
        )


def _refuse_repeated_folder(folder: Path, met: dict[Path, Path]) -> None:
    """Refuse a folder that a symbolic link leads to again: its rows would count twice, or without end."""
    first = met.setdefault(folder.resolve(), folder)
    if first != folder:
        raise FileFault(
            "a folder is in the table twice, by a symbolic link",
            where=name_file(folder),
            got=f"the same folder as {name_file(first)}",
            todo="remove the link, or give it a name that begins with _",
        )
