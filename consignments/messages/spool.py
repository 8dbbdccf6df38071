"""Spool of entries and rows on disk: a run over a million messages needs little memory, and can be continued.

Entries come in the order of the files and are read in the order of their time. A run that was stopped leaves the file; the
same run of the same files, started again, goes on behind the last message that is in it.
"""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import field, structs

from consignments.errors import Reject
from consignments.messages.entries import MasterEntry, Version
from consignments.messages.parsed import StateRow
from consignments.messages.sources import RawMessage
from consignments.timestamps import to_us

SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, at_us INTEGER, rank INTEGER, body BLOB);
CREATE TABLE IF NOT EXISTS batches (id INTEGER PRIMARY KEY, body BLOB);
CREATE TABLE IF NOT EXISTS run (mark TEXT);
DROP TABLE IF EXISTS rows;
CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB);
"""
Entry = MasterEntry | Version | StateRow
RANKS: tuple[type[Entry], ...] = (MasterEntry, Version, StateRow)
"""At one moment a master comes before its houses, and answers come last."""
Topic = Literal["kind", "ignored", "note"]


class BatchResult(msgspec.Struct):
    """Results of some messages; `documents` wait for others, and `messages` counts those of each file."""

    entries: list[tuple[int, int, bytes]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    counts: dict[tuple[Topic, str], int] = field(default_factory=Counter)
    messages: dict[str, int] = field(default_factory=Counter)
    size: int = 0
    documents: list[RawMessage] = field(default_factory=list)

    def add_entry(self, entry: Entry, received_at: datetime) -> None:
        """Add an entry, packed."""
        self.entries.append((to_us(received_at), RANKS.index(type(entry)), _encode(entry)))


_encode = msgspec.msgpack.Encoder().encode
_DECODERS = [msgspec.msgpack.Decoder(kind).decode for kind in RANKS]
_decode_row = msgspec.msgpack.Decoder(Version).decode
_decode_batch = msgspec.msgpack.Decoder(BatchResult).decode


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
    """Entries, other results and rows of one run; `mark` changes with its options."""

    def __init__(self, path: Path | None, mark: str = "") -> None:
        self.path, self._mark = path, mark
        self._connection = sqlite3.connect(":memory:" if path is None else str(path))
        self._run = self._connection.execute
        self._run("PRAGMA journal_mode = " + ("OFF" if path is None else "WAL"))
        self._run("PRAGMA synchronous = OFF")
        self._connection.executescript(SCHEMA)
        self.rows: MutableMapping[int, Version] = _StoredRows(self._connection)

    def begin_files(self, marks: Mapping[str, str]) -> Counter[str]:
        """Return the number of messages of each file that are stored; of other files or options the run begins again."""
        mark = hashlib.sha256(repr((self._mark, list(marks.items()))).encode()).hexdigest()
        if self._run("SELECT mark FROM run").fetchone() != (mark,):
            self._connection.executescript("DELETE FROM entries; DELETE FROM batches; DELETE FROM run")
            self._run("INSERT INTO run VALUES (?)", (mark,))
        stored = Counter[str]()
        for batch in self.read_batches():
            stored.update(batch.messages)
        return stored

    def add_result(self, result: BatchResult) -> None:
        """Add what some messages gave."""
        insert = "INSERT INTO entries (at_us, rank, body) VALUES (?, ?, ?)"
        self._connection.executemany(insert, result.entries)
        others = _encode(structs.replace(result, entries=[]))
        self._run("INSERT INTO batches (body) VALUES (?)", (others,))

    def commit(self) -> None:
        """Keep all that was added, for a run that continues this one."""
        self._connection.commit()

    def read_entries(self) -> Iterator[Entry]:
        """Read all entries in the order of their time."""
        for rank, body in self._select("rank, body FROM entries ORDER BY at_us, rank, id"):
            yield _DECODERS[rank](body)

    def read_batches(self) -> Iterator[BatchResult]:
        """Read all results but their entries."""
        for (body,) in self._select("body FROM batches ORDER BY id"):
            yield _decode_batch(body)

    def read_rejects(self) -> Iterator[Reject]:
        """Read all rejects."""
        for batch in self.read_batches():
            yield from batch.rejects

    def read_counts(self, topic: Topic) -> dict[str, int]:
        """Read the numbers of messages by kind, of ignored ones by reason, or of notes; most frequent first, then by name."""
        found = Counter[str]()
        for batch in self.read_batches():
            found.update({name: number for (about, name), number in batch.counts.items() if about == topic})
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def count_entries(self) -> int:
        """Count entries."""
        return int(self._run("SELECT count(*) FROM entries").fetchone()[0])

    def _select(self, what: str) -> Iterator[Any]:
        """Iterate over rows, apart from other statements."""
        return self._connection.cursor().execute(f"SELECT {what}")

    def remove(self) -> None:
        """Close the file and remove it, because the run is done."""
        self._connection.close()
        if self.path is not None:
            for suffix in ("", "-wal", "-shm", "-journal"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
