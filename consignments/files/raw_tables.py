"""Raw tables: the parts, row numbers and column names of a table before its columns are checked."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from consignments.errors import FileFault, Reject

SUFFIXES = (".csv", ".parquet", ".jsonl")
READABLE_FORMATS = f"a {', '.join(SUFFIXES)} file, or a directory of Parquet files"
MAX_COLUMNS = 5_000


@dataclass(frozen=True)
class TablePart:
    """A part of a table, unconverted, from the file `name`; `numbers` are those of its rows or lines (`word`), from 1."""

    table: Any
    name: str
    word: str
    numbers: Any

    def locate_row(self, row: int) -> str:
        """Return the place of a row for messages: file and number."""
        return f"{self.name} {self.word} {self.numbers[row]}"


@dataclass(frozen=True)
class RawTable:
    """An unconverted table in memory: its parts, and the rows that could not be parsed."""

    name: str
    parts: tuple[TablePart, ...]
    rejects: tuple[Reject, ...] = ()

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Return the columns of all parts."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.table.column_names))


def refuse_bad_columns(names: Sequence[str], where: str) -> None:
    """Raise `FileFault` if a table has too many columns, or two of the same name."""
    if len(names) > MAX_COLUMNS:
        got, expected = f"{len(names):,}", f"at most {MAX_COLUMNS:,}"
        todo = "keep the columns that npsrisk reads (npsrisk columns)"
        raise FileFault("the table has too many columns", where=where, got=got, expected=expected, todo=todo)
    if len(set(names)) < len(names):
        repeated = sorted(name for name, times in Counter(names).items() if times > 1)
        got, todo = ", ".join(repeated), "rename or drop one of them"
        raise FileFault("a column name occurs twice", where=where, got=got, todo=todo)
