"""Spool of entries and rows on disk: a run over a million messages needs little memory, and can be continued.

Entries come in the order of the files and are read in the order of their time. A run that was stopped leaves the file; the
same run of the same files, started again, goes on behind the last message that is in it.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from consignments.messages.entries import DeclarationEntry, Entry, EventEntry, MasterEntry
from consignments.messages.linking import Row
from consignments.messages.sources import RawMessage
from consignments.timestamps import to_us

IN_MEMORY = ":memory:"
SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, at_us INTEGER, rank INTEGER, body BLOB);
CREATE TABLE IF NOT EXISTS rejects (id INTEGER PRIMARY KEY, place TEXT, identifier TEXT, reason TEXT);
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, mark TEXT, messages INTEGER);
CREATE TABLE IF NOT EXISTS counts (kind TEXT PRIMARY KEY, messages INTEGER);
CREATE TABLE IF NOT EXISTS documents (id INTEGER PRIMARY KEY, source TEXT, came TEXT, content BLOB);
CREATE TABLE IF NOT EXISTS run (mark TEXT);
"""
RANKS: dict[type[Entry], int] = {MasterEntry: 0, DeclarationEntry: 1, EventEntry: 2}
"""At one moment a master comes before its houses."""
_encoder = msgspec.msgpack.Encoder()
_decode_entry = msgspec.msgpack.Decoder(Entry).decode
_decode_row = msgspec.msgpack.Decoder(Row).decode


class PackedEntry(NamedTuple):
    """An entry on its way to the spool: when it was received, its rank at that moment, and itself."""

    at_us: int
    rank: int
    body: bytes


def pack_entry(entry: Entry) -> PackedEntry:
    """Pack an entry."""
    received_at = entry.record.received_at if isinstance(entry, DeclarationEntry) else entry.received_at
    assert received_at is not None
    return PackedEntry(to_us(received_at), RANKS[type(entry)], _encoder.encode(entry))


@dataclass
class BatchResult:
    """Results of some messages: entries, rejects, numbers by kind, messages of each file, and documents that wait for others."""

    entries: list[PackedEntry] = field(default_factory=list)
    rejects: list[tuple[str, str, str]] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    size: int = 0
    documents: list[RawMessage] = field(default_factory=list)


class _StoredRows(MutableMapping[int, Row]):
    """Rows by number in a table of a database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection, self._run = connection, connection.execute

    def __getitem__(self, number: int) -> Row:
        row: Row = _decode_row(self._run("SELECT body FROM rows WHERE id = ?", (number,)).fetchone()[0])
        return row

    def __setitem__(self, number: int, row: Row) -> None:
        self._run("INSERT OR REPLACE INTO rows VALUES (?, ?)", (number, _encoder.encode(row)))

    def __delitem__(self, number: int) -> None:
        self._run("DELETE FROM rows WHERE id = ?", (number,))

    def __iter__(self) -> Iterator[int]:
        return (number for (number,) in self._connection.cursor().execute("SELECT id FROM rows ORDER BY id"))

    def __len__(self) -> int:
        return int(self._run("SELECT count(*) FROM rows").fetchone()[0])


class Spool:
    """Entries, rejects and rows of one run."""

    def __init__(self, path: Path | None, mark: str = "") -> None:
        self.path = path
        self._connection = sqlite3.connect(IN_MEMORY if path is None else str(path))
        self._run = self._connection.execute
        self._run("PRAGMA journal_mode = " + ("OFF" if path is None else "WAL"))
        self._run("PRAGMA synchronous = OFF")
        self._connection.executescript(SCHEMA)
        self._begin(mark)

    def _begin(self, mark: str) -> None:
        if self._run("SELECT mark FROM run").fetchone() != (mark,):
            self._clear()
            self._run("DELETE FROM run")
            self._run("INSERT INTO run VALUES (?)", (mark,))
        self._run("DROP TABLE IF EXISTS rows")
        self._run("CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB)")
        self._connection.commit()
        self.rows: MutableMapping[int, Row] = {} if self.path is None else _StoredRows(self._connection)

    def _clear(self) -> None:
        for table in ("entries", "rejects", "files", "counts", "documents"):
            self._run(f"DELETE FROM {table}")

    def begin_files(self, marks: Mapping[str, str]) -> dict[str, int]:
        """Return the number of messages of each file that are stored; if these are other files, the run begins again."""
        stored = self._run("SELECT path, mark, messages FROM files ORDER BY rowid").fetchall()
        if [(path, mark) for path, mark, _ in stored] == list(marks.items()):
            return {path: messages for path, _, messages in stored}
        self._clear()
        self._connection.executemany("INSERT INTO files VALUES (?, ?, 0)", marks.items())
        self._connection.commit()
        return dict.fromkeys(marks, 0)

    def add_result(self, result: BatchResult) -> None:
        """Add what some messages gave."""
        run = self._connection.executemany
        run("INSERT INTO entries (at_us, rank, body) VALUES (?, ?, ?)", result.entries)
        run("INSERT INTO rejects (place, identifier, reason) VALUES (?, ?, ?)", result.rejects)
        run(
            "INSERT INTO counts VALUES (?, ?) ON CONFLICT (kind) DO UPDATE SET messages = messages + excluded.messages",
            result.kinds.items(),
        )
        run(
            "INSERT INTO documents (source, came, content) VALUES (?, ?, ?)",
            (
                (each.source, each.received_at.isoformat() if each.received_at else None, each.content)
                for each in result.documents
            ),
        )

    def take_documents(self) -> Iterator[RawMessage]:
        """Return and remove the documents that are read together."""
        for source, came, content in self._connection.cursor().execute(
            "SELECT source, came, content FROM documents ORDER BY id"
        ):
            yield RawMessage(source, content, datetime.fromisoformat(came) if came else None)
        self._run("DELETE FROM documents")

    def note_progress(self, counts: Mapping[str, int]) -> None:
        """Store the number of messages read of some files, and commit."""
        self._connection.executemany(
            "UPDATE files SET messages = ? WHERE path = ?",
            [(number, path) for path, number in counts.items()],
        )
        self._connection.commit()

    def read_entries(self) -> Iterator[Entry]:
        """Read all entries in the order of their time."""
        for (body,) in self._connection.cursor().execute("SELECT body FROM entries ORDER BY at_us, rank, id"):
            yield _decode_entry(body)

    def read_rejects(self) -> Iterator[tuple[str, str, str]]:
        """Read place, identifier and reason of all rejects."""
        yield from self._connection.cursor().execute(
            "SELECT place, identifier, reason FROM rejects ORDER BY id"
        )

    def read_counts(self) -> dict[str, int]:
        """Read the number of messages by kind."""
        return dict(self._run("SELECT kind, messages FROM counts ORDER BY kind").fetchall())

    def count_messages(self) -> int:
        """Return the number of messages that were read."""
        return int(self._run("SELECT coalesce(sum(messages), 0) FROM files").fetchone()[0])

    def count_entries(self) -> int:
        """Count entries."""
        return int(self._run("SELECT count(*) FROM entries").fetchone()[0])

    def read_rows(self) -> Iterator[Row]:
        """Read all rows in their order."""
        if isinstance(self.rows, dict):
            yield from self.rows.values()
            return
        for (body,) in self._connection.cursor().execute("SELECT body FROM rows ORDER BY id"):
            yield _decode_row(body)

    def close(self, *, remove: bool) -> None:
        """Close the file; a run that is done removes it."""
        self._connection.close()
        if remove and self.path is not None:
            for suffix in ("", "-wal", "-shm", "-journal"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
