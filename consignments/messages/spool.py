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
from typing import Any, Literal

import msgspec

from consignments.errors import Reject
from consignments.messages.entries import MasterEntry, Version
from consignments.messages.parsed import StateRow
from consignments.messages.sources import RawMessage
from consignments.timestamps import to_us

SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, at_us INTEGER, rank INTEGER, body BLOB);
CREATE TABLE IF NOT EXISTS rejects (id INTEGER PRIMARY KEY, place TEXT, identifier TEXT, reason TEXT);
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, mark TEXT, messages INTEGER);
CREATE TABLE IF NOT EXISTS counts (topic TEXT, name TEXT, number INTEGER, PRIMARY KEY (topic, name));
CREATE TABLE IF NOT EXISTS documents (id INTEGER PRIMARY KEY, source TEXT, came TEXT, content BLOB);
CREATE TABLE IF NOT EXISTS run (mark TEXT);
"""
Entry = MasterEntry | Version | StateRow
RANKS: tuple[type[Entry], ...] = (MasterEntry, Version, StateRow)
"""At one moment a master comes before its houses, and answers come last."""
_encode = msgspec.msgpack.Encoder().encode
_DECODERS = [msgspec.msgpack.Decoder(kind).decode for kind in RANKS]
_decode_row = msgspec.msgpack.Decoder(Version).decode
Topic = Literal["kind", "ignored", "note"]


@dataclass
class BatchResult:
    """Results of some messages; `documents` wait for others, and `messages` counts those of each file."""

    entries: list[tuple[int, int, bytes]] = field(default_factory=list)
    rejects: list[tuple[str, str, str]] = field(default_factory=list)
    counts: Counter[tuple[Topic, str]] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    size: int = 0
    documents: list[RawMessage] = field(default_factory=list)

    def add_entry(self, entry: Entry, received_at: datetime) -> None:
        """Add an entry, packed."""
        self.entries.append((to_us(received_at), RANKS.index(type(entry)), _encode(entry)))


class _StoredRows(MutableMapping[int, Version]):
    """Rows by number in a table of a database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection, self._run = connection, connection.execute

    def __getitem__(self, number: int) -> Version:
        return _decode_row(self._run("SELECT body FROM rows WHERE id = ?", (number,)).fetchone()[0])

    def __setitem__(self, number: int, row: Version) -> None:
        self._run("INSERT OR REPLACE INTO rows VALUES (?, ?)", (number, _encode(row)))

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
        self._connection = sqlite3.connect(":memory:" if path is None else str(path))
        self._run = self._connection.execute
        self._run("PRAGMA journal_mode = " + ("OFF" if path is None else "WAL"))
        self._run("PRAGMA synchronous = OFF")
        self._connection.executescript(SCHEMA)
        if self._run("SELECT mark FROM run").fetchone() != (mark,):
            self._clear()
            self._run("DELETE FROM run")
            self._run("INSERT INTO run VALUES (?)", (mark,))
        self._run("DROP TABLE IF EXISTS rows")
        self._run("CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB)")
        self._connection.commit()
        self.rows: MutableMapping[int, Version] = _StoredRows(self._connection)

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
        documents = [
            (each.source, each.received_at and each.received_at.isoformat(), each.content)
            for each in result.documents
        ]
        counts = [(*key, number) for key, number in result.counts.items()]
        for what, rows in (
            ("entries (at_us, rank, body) VALUES (?, ?, ?)", result.entries),
            ("rejects (place, identifier, reason) VALUES (?, ?, ?)", result.rejects),
            ("documents (source, came, content) VALUES (?, ?, ?)", documents),
            ("counts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET number = number + excluded.number", counts),
        ):
            self._connection.executemany(f"INSERT INTO {what}", rows)

    def take_documents(self) -> Iterator[RawMessage]:
        """Return and remove the documents that are read together."""
        for source, came, content in self._select("source, came, content FROM documents ORDER BY id"):
            yield RawMessage(source, content, datetime.fromisoformat(came) if came else None)
        self._run("DELETE FROM documents")

    def note_progress(self, counts: Mapping[str, int]) -> None:
        """Store the number of messages read of some files, and commit."""
        numbers = [(number, path) for path, number in counts.items()]
        self._connection.executemany("UPDATE files SET messages = ? WHERE path = ?", numbers)
        self._connection.commit()

    def read_entries(self) -> Iterator[Entry]:
        """Read all entries in the order of their time."""
        for rank, body in self._select("rank, body FROM entries ORDER BY at_us, rank, id"):
            yield _DECODERS[rank](body)

    def read_rejects(self) -> Iterator[Reject]:
        """Read all rejects."""
        for place, identifier, reason in self._select("place, identifier, reason FROM rejects ORDER BY id"):
            yield Reject(place, identifier, "", reason)

    def read_counts(self, topic: Topic) -> dict[str, int]:
        """Read the numbers of messages by kind, of ignored ones by reason, or of notes."""
        return dict(self._run("SELECT name, number FROM counts WHERE topic = ? ORDER BY name", (topic,)))

    def count_messages(self) -> int:
        """Return the number of messages that were read."""
        return int(self._run("SELECT coalesce(sum(messages), 0) FROM files").fetchone()[0])

    def count_entries(self) -> int:
        """Count entries."""
        return int(self._run("SELECT count(*) FROM entries").fetchone()[0])

    def read_rows(self) -> Iterator[Version]:
        """Read all rows in their order."""
        for (body,) in self._select("body FROM rows ORDER BY id"):
            yield _decode_row(body)

    def _select(self, what: str) -> Iterator[Any]:
        """Iterate over rows, apart from other statements."""
        return self._connection.cursor().execute(f"SELECT {what}")

    def close(self, *, remove: bool) -> None:
        """Close the file; a run that is done removes it."""
        self._connection.close()
        if remove and self.path is not None:
            for suffix in ("", "-wal", "-shm", "-journal"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
