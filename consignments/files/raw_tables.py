"""Raw tables: the parts, row numbers and column names of a table before its columns are checked."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from consignments.columns import to_arrow
from consignments.errors import FileFault
from consignments.rejects import Reject

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".parquet", ".jsonl")
READABLE_FORMATS = f"a {', '.join(SUFFIXES)} file, or a directory of Parquet files"


@dataclass(frozen=True)
class TablePart:
    """A part of a table, unconverted, from one file.

    Attributes
    ----------
    table : Arrow table
        Columns of any type.
    name : str
        Name of the file in messages.
    word : str
        "row" or "line".
    numbers : int array, (rows,)
        Number of each row or line in the file, from 1.
    """

    table: Any
    name: str
    word: str
    numbers: Any

    def locate_row(self, row: int) -> str:
        """Return the place of a row for messages: file and number."""
        return f"{self.name} {self.word} {self.numbers[row]}"


@dataclass(frozen=True)
class RawTable:
    """An unconverted table: its parts, and the rows that could not be parsed."""

    name: str
    parts: tuple[TablePart, ...]
    rejects: tuple[Reject, ...] = field(default=())


def wrap_frame(frame: "pd.DataFrame", name: str) -> RawTable:
    """Wrap a frame in memory as a table; its columns may have any dtype and mixed values."""
    names = [str(column) for column in frame.columns]
    refuse_repeats(names, name)
    columns = [to_arrow(frame.iloc[:, place]) for place in range(len(names))]
    table = pa.Table.from_arrays(columns, names=names)
    return RawTable(name, (TablePart(table, name, "row", number_rows(len(frame))),))


def refuse_repeats(names: Sequence[str], where: str) -> None:
    """Raise `FileFault` if a column name occurs twice."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise FileFault(
            "a column name occurs twice",
            where=where,
            got=", ".join(repeated),
            todo="rename or drop one of them",
        )


def refuse_missing(names: Sequence[str], required: Sequence[str], where: str) -> None:
    """Raise `FileFault` if a required column is missing, and suggest the nearest existing column."""
    missing = [name for name in required if name not in names]
    if not missing:
        return
    near = get_close_matches(missing[0], names, n=1)
    todo = f"rename {near[0]!r}?" if near else ""
    if len(names) == 1 and any(mark in names[0] for mark in "|:"):
        todo = "separate columns by commas, semicolons or tabs"
    raise FileFault(
        f"missing required column{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
        where=where,
        got=f"columns {', '.join(names) or 'none'}",
        todo=todo,
    )


def number_rows(rows: int, first: int = 1) -> Any:
    """Return the numbers of rows, starting at `first`."""
    return np.arange(first, first + rows)
