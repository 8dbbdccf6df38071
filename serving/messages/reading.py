"""Messages that come now: read with the mappings of the service, and turned into records of the loaded model."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import structs

from consignments.records import Consignment
from consignments.timestamps import to_datetime
from serving.process.watched_files import WatchedFiles

if TYPE_CHECKING:
    from consignments.messages.entries import Version
    from consignments.messages.post.mapping import MessageMapping
    from consignments.messages.reading import MessageEntries
    from serving.messages.linking import MessageEntry


def watch_mappings(folder: Path | None) -> "WatchedFiles[tuple[MessageMapping, ...]]":
    """Read all mapping files of a folder; `BadSetting` if it does not exist or a mapping is not valid."""

    if folder is None:
        return WatchedFiles(list, tuple)
    from consignments.messages.post.mapping import list_mapping_files, load_mappings

    return WatchedFiles(lambda: list_mapping_files(folder), lambda: load_mappings(folder))


def read_messages(content: bytes, now_us: int, mappings: "Sequence[MessageMapping]") -> "MessageEntries":
    """Read messages that are received now, without linking them."""
    from consignments.messages.reading import read_entries  # loads what only messages need

    found = read_entries(content, to_datetime(now_us), mappings)
    return replace(found, entries=tuple(_clear_future(entry) for entry in found.entries))


def _clear_future(entry: "MessageEntry") -> "MessageEntry":
    """Remove a time of issue in the future: a wrong clock of the sender would make later versions look late."""
    if hasattr(entry, "record"):
        c = entry.record
        if c.issued_at is None or c.received_at is None or c.issued_at <= c.received_at:
            return entry
        return structs.replace(entry, record=structs.replace(c, issued_at=None))
    declaration = None if entry.declaration is None else _clear_future(entry.declaration)
    late = entry.issued_at is not None and entry.issued_at > entry.received_at
    return structs.replace(entry, declaration=declaration, issued_at=None if late else entry.issued_at)


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
