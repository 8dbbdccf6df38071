"""Spool of what messages give, on disk: a run over a million messages needs little memory, and can be continued.

    topic                      number                            body
    MASTER, VERSION, STATE     time of receipt, microseconds     an entry, packed
    REJECT, DOCUMENT           0                                 a reject; a message that is read with others, packed
    MESSAGE                    its bytes                         nothing: a run goes on after as many messages
    KIND, IGNORED, NOTE        0                                 a text that is counted
    RUN                        0                                 what the run reads, and with which options

Findings come in the order of the messages, and are read in the order of their time.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, MutableMapping
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Any

import msgspec

from consignments.errors import Reject
from consignments.messages.entries import MasterEntry, Version
from consignments.messages.parsed import StateRow
from consignments.messages.sources import RawMessage
from consignments.timestamps import to_us

SCHEMA = """
CREATE TABLE IF NOT EXISTS findings (id INTEGER PRIMARY KEY, topic INTEGER, number INTEGER, body);
CREATE INDEX IF NOT EXISTS by_topic ON findings (topic);
DROP TABLE IF EXISTS rows;
CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB);
"""


Topic = IntEnum("Topic", "MASTER VERSION STATE REJECT DOCUMENT MESSAGE KIND IGNORED NOTE RUN", start=0)
"""At one moment a master comes before its houses."""
PACKED: tuple[type[Any], ...] = (MasterEntry, Version, StateRow, Reject, RawMessage)
"""What is packed: the types of the first topics."""
Finding = tuple[Topic, int, bytes | str]
_encode = msgspec.msgpack.Encoder().encode
_DECODERS = {Topic(rank): msgspec.msgpack.Decoder(kind).decode for rank, kind in enumerate(PACKED)}
_decode_row = msgspec.msgpack.Decoder(Version).decode


def pack(
    found: MasterEntry | Version | StateRow | Reject | RawMessage, received_at: datetime | None = None
) -> Finding:
    """Pack an entry with its time of receipt, or something else that has none."""
    return Topic(PACKED.index(type(found))), 0 if received_at is None else to_us(received_at), _encode(found)


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
    """Findings and rows of one run; `mark` changes with its options."""

    def __init__(self, path: Path | None, mark: str = "") -> None:
        self.path, self._mark = path, mark
        self._connection = sqlite3.connect(":memory:" if path is None else str(path))
        self._run = self._connection.execute
        self._run("PRAGMA journal_mode = " + ("OFF" if path is None else "WAL"))
        self._run("PRAGMA synchronous = OFF")
        self._connection.executescript(SCHEMA)
        self.rows: MutableMapping[int, Version] = _StoredRows(self._connection)

    def begin(self, files: str) -> None:
        """Begin a run over some files. What an interrupted run with other files or options left is removed."""
        mark = hashlib.sha256(f"{self._mark} {files}".encode()).hexdigest()
        if list(self.read(Topic.RUN)) != [mark]:
            self._run("DELETE FROM findings")
            self.add([(Topic.RUN, 0, mark)])

    def add(self, findings: Iterable[Finding]) -> None:
        """Add what some messages gave."""
        insert = "INSERT INTO findings (topic, number, body) VALUES (?, ?, ?)"
        self._connection.executemany(insert, findings)

    def commit(self) -> None:
        """Keep all that was added, for a run that continues this one."""
        self._connection.commit()

    def read(self, *topics: Topic) -> Iterator[Any]:
        """Read the findings of some topics in the order of their time, then of the topics, then of the messages."""
        wanted = f"topic IN ({', '.join('?' * len(topics))}) ORDER BY number, topic, id"
        for topic, body in self._select(f"topic, body FROM findings WHERE {wanted}", *topics):
            yield _DECODERS[topic](body) if topic in _DECODERS else body

    def count(self, topic: Topic) -> int:
        """Count the findings of a topic."""
        return int(self._run("SELECT count(*) FROM findings WHERE topic = ?", (topic,)).fetchone()[0])

    def count_texts(self, topic: Topic) -> dict[str, int]:
        """Count the texts of a topic; most frequent first, then by name."""
        grouped = "WHERE topic = ? GROUP BY body ORDER BY count(*) DESC, body"
        return dict(self._select(f"body, count(*) FROM findings {grouped}", topic))

    def _select(self, what: str, *values: int) -> Iterator[Any]:
        """Iterate over rows, apart from other statements."""
        return self._connection.cursor().execute(f"SELECT {what}", values)

    def remove(self) -> None:
        """Close the file and remove it, because the run is done."""
        self._connection.close()
        if self.path is not None:
            for suffix in ("", "-wal", "-shm", "-journal"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
