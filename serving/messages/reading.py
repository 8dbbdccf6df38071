"""The mappings of the service, and rows of messages as records of the loaded model."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import structs

from consignments.records import Consignment
from serving.process.watched_files import WatchedFiles

if TYPE_CHECKING:
    from consignments.messages.entries import Version
    from consignments.messages.post.mapping import MessageMapping


def watch_mappings(folder: Path | None) -> "WatchedFiles[tuple[MessageMapping, ...]]":
    """Read all mapping files of a folder; `BadSetting` if it does not exist or a mapping is not valid."""

    if folder is None:
        return WatchedFiles(list, tuple)
    from consignments.messages.post.mapping import list_mapping_files, load_mappings

    return WatchedFiles(lambda: list_mapping_files(folder), lambda: load_mappings(folder))


def build_records(rows: "Iterable[Version]", record: type[Consignment]) -> list[Consignment]:
    """Return the consignments of rows, with the extra columns that the model declares."""
    if record is Consignment:
        return [row.record for row in rows]
    names = {field.name for field in structs.fields(record)}
    return [
        msgspec.convert(
            structs.asdict(row.record) | {name: value for name, value in row.extras.items() if name in names},
            record,
        )
        for row in rows
    ]
