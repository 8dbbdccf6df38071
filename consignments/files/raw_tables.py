"""Raw tables: the parts, row numbers and column names of a table before its columns are checked."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from consignments.errors import Reject

SUFFIXES = (".csv", ".parquet", ".jsonl")
READABLE_FORMATS = f"a {', '.join(SUFFIXES)} file, or a directory of Parquet files"


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

    def select(self, rows: NDArray[np.bool_]) -> "TablePart":
        """Return some of the rows, given their mask."""
        return replace(self, table=self.table.filter(pa.array(rows)), numbers=self.numbers[rows])


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


def number_rows(rows: int, first: int = 1) -> Any:
    """Return the numbers of rows, starting at `first`."""
    return np.arange(first, first + rows)
