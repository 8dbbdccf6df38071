"""Rejects: errors of single rows or messages, as values instead of exceptions, so that valid rows are still processed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from consignments.errors import FileFault

MAX_REJECTED_BYTES = 1 << 30
"""Maximum size of the rejected rows of one table: a few million ordinary ones."""
ROW_OVERHEAD_BYTES = 300
"""Memory of a rejected row in addition to its text (measured)."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A rejected row or message. `row` is the original, which may hold personal data: it goes only to the file of rejects that the caller wants."""

    place: str
    identifier: str
    column: str
    reason: str
    row: str = field(default="", repr=False)

    def __str__(self) -> str:
        who = f" ({self.identifier})" if self.identifier else ""
        where = f", {self.column}" if self.column else ""
        return f"{self.place}{who}{where}: {self.reason}"


class RejectLimit:
    """The size in memory that the rejected rows of a table may reach."""

    def __init__(self) -> None:
        self._rows = self._bytes = 0

    def add(self, rejects: Sequence[Reject], where: str) -> None:
        """Count rejected rows; raise `FileFault` if they become too many."""
        self._rows += len(rejects)
        self._bytes += sum(len(reject.row) + ROW_OVERHEAD_BYTES for reject in rejects)
        if self._bytes > MAX_REJECTED_BYTES:
            raise FileFault(
                "too many rows are invalid to keep them",
                where=where,
                got=f"{self._rows:,} invalid rows so far, the last because: {rejects[-1].reason}",
                expected=f"at most {MAX_REJECTED_BYTES >> 20} MB of them",
                todo="correct the cause, or split the table",
            )
