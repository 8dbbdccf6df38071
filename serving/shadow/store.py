"""Store of a challenger's scores of logged decisions: `shadow.db` in the state directory, without personal data.

Everything in it can be computed again from the event log, so it has no hash chain and is not flushed at each write.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec

from consignments.errors import ServiceFault
from consignments.files.whole_files import PRIVATE_FILE_MODE
from consignments.records import Target
from consignments.timestamps import US_PER_DAY

FILE = "shadow.db"
RETENTION_DAYS = 90
"""Days after which a score is deleted."""
BUSY_SECONDS = 5.0
COLUMNS_BEFORE_COUNTERS = 5
"""Number of columns of a challenger before its counters."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS challengers (
    challenger INTEGER PRIMARY KEY, log_id TEXT NOT NULL, model TEXT NOT NULL, sha256 TEXT NOT NULL, target TEXT NOT NULL,
    position INTEGER NOT NULL, scored INTEGER NOT NULL DEFAULT 0, disagreed INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0, unfit INTEGER NOT NULL DEFAULT 0,
    UNIQUE (log_id, model, sha256)
) STRICT;
CREATE TABLE IF NOT EXISTS opinions (
    challenger INTEGER NOT NULL, sequence INTEGER NOT NULL, consignment_id TEXT NOT NULL, scored_us INTEGER NOT NULL,
    champion TEXT NOT NULL, champion_score REAL NOT NULL, champion_band TEXT NOT NULL, score REAL NOT NULL, band TEXT NOT NULL,
    PRIMARY KEY (challenger, sequence)
) STRICT, WITHOUT ROWID;
"""


class ShadowScore(NamedTuple):
    """The scores of champion and challenger for one decision, by its sequence number in the event log and its time."""

    sequence: int
    consignment_id: str
    scored_us: int
    champion: str
    champion_score: float
    champion_band: str
    score: float
    band: str


class ShadowCounters(msgspec.Struct):
    """The counters of a challenger's results.

    `disagreed` counts decisions put into another band, `dropped` log entries skipped because it was too far behind, and `unfit` decisions
    with other history keys or without the features that it must copy.
    """

    scored: int = 0
    disagreed: int = 0
    dropped: int = 0
    failed: int = 0
    unfit: int = 0

    def add(self, other: "ShadowCounters") -> None:
        """Add other counters to these."""
        for name, value in msgspec.structs.asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    def subtract(self, before: "ShadowCounters") -> dict[str, int]:
        """Return the increase of each counter since an earlier state."""
        return {name: value - getattr(before, name) for name, value in msgspec.structs.asdict(self).items()}


class ShadowStatus(msgspec.Struct):
    """A status report of the challenger's process to the service each second; `fault` says why it cannot be used."""

    tally: ShadowCounters
    behind: int = 0
    fault: str = ""


class Challenger(NamedTuple):
    """A challenger registered in the store; `position` is the sequence number of the last log entry it has processed."""

    number: int
    model: str
    sha256: str
    target: Target
    position: int
    tally: ShadowCounters


class ShadowLog:
    """The store of challengers' scores for the decisions of one event log; one process writes it, others may read it."""

    def __init__(self, state_dir: Path, log_id: str) -> None:
        self._log_id, self.path = log_id, state_dir / FILE
        with self._translate_errors():
            self.path.touch(mode=PRIVATE_FILE_MODE)
            self._db = sqlite3.connect(self.path, timeout=BUSY_SECONDS)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the store."""
        self._db.close()

    def register(self, model: str, sha256: str, target: Target, position: int) -> Challenger:
        """Find a challenger, or register a new one that starts after the log entry `position`."""
        row = (self._log_id, model, sha256, target, position)
        with self._translate_errors(), self._db:
            self._db.execute(
                "INSERT OR IGNORE INTO challengers (log_id, model, sha256, target, position) VALUES (?, ?, ?, ?, ?)",
                row,
            )
        return next(each for each in self.list_challengers() if (each.model, each.sha256) == (model, sha256))

    def add(self, number: int, opinions: Sequence[ShadowScore], position: int, tally: ShadowCounters) -> None:
        """Add scores, and the counts up to the log entry `position`, in one transaction."""
        counted = ", ".join(f"{name} = {name} + :{name}" for name in ShadowCounters.__struct_fields__)
        values = msgspec.structs.asdict(tally) | {"position": position, "number": number}
        with self._translate_errors(), self._db:
            self._db.executemany(
                "INSERT OR REPLACE INTO opinions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(number, *each) for each in opinions],
            )
            self._db.execute(
                f"UPDATE challengers SET position = :position, {counted} WHERE challenger = :number", values
            )

    def delete_expired(self, now_us: int) -> None:
        """Delete scores older than `RETENTION_DAYS`."""
        with self._translate_errors(), self._db:
            self._db.execute(
                "DELETE FROM opinions WHERE scored_us < ?", (now_us - RETENTION_DAYS * US_PER_DAY,)
            )

    def list_challengers(self) -> list[Challenger]:
        """List the challengers in the order in which they started."""
        columns = ", ".join(
            ("challenger", "model", "sha256", "target", "position", *ShadowCounters.__struct_fields__)
        )
        query = f"SELECT {columns} FROM challengers WHERE log_id = ? ORDER BY challenger"
        with self._translate_errors(), closing(self._db.execute(query, (self._log_id,))) as rows:
            return [
                Challenger._make(
                    (*row[:COLUMNS_BEFORE_COUNTERS], ShadowCounters(*row[COLUMNS_BEFORE_COUNTERS:]))
                )
                for row in rows
            ]

    def read_scores(self, number: int, from_us: int, until_us: int) -> list[ShadowScore]:
        """Read the scores of a challenger for decisions of a period, in order; `until_us` is excluded."""
        query = (
            f"SELECT {', '.join(ShadowScore._fields)} FROM opinions "
            "WHERE challenger = ? AND scored_us >= ? AND scored_us < ? ORDER BY sequence"
        )
        with self._translate_errors(), closing(self._db.execute(query, (number, from_us, until_us))) as rows:
            return list(map(ShadowScore._make, rows))

    @contextmanager
    def _translate_errors(self) -> Any:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise ServiceFault(
                "the store of the challenger's scores cannot be used",
                where=str(self.path),
                got=str(error),
                todo="free disk space, or delete the file: its scores are only lost for npsrisk shadow",
            ) from error
