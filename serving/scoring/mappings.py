"""Mappings of an own declaration to consignments, from the files of `NPSRISK_MAPPINGS_DIR`."""

from pathlib import Path
from typing import TYPE_CHECKING

from consignments.errors import BadSetting
from serving.process.watched_files import WatchedFiles

if TYPE_CHECKING:
    from consignments.messages.post.mapping import MessageMapping


def watch_mappings(folder: Path | None) -> "WatchedFiles[tuple[MessageMapping, ...]]":
    """Read all mapping files of a folder; `BadSetting` if it does not exist or a mapping is not valid."""

    def read() -> "tuple[MessageMapping, ...]":
        if folder is None:
            return ()
        from consignments.messages.post.mapping import load_mapping  # loads what only messages need

        if not folder.is_dir():
            raise BadSetting(
                "there is no folder of mappings",
                where="NPSRISK_MAPPINGS_DIR",
                got=str(folder),
                todo="create it, or unset the variable",
            )
        return tuple(map(load_mapping, list_files()))

    def list_files() -> list[Path]:
        return [] if folder is None else sorted(folder.glob("*.toml"))

    return WatchedFiles(list_files, read)
