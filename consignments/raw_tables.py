"""A table as files or a frame hold it, before its columns are checked: its parts, where its rows stand, and its names."""

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
    """A piece of a table as a file holds it.

    Attributes
    ----------
    table : Arrow table
        Columns of any type.
    name : str
        The file's name, for messages.
    word : str
        "row" or "line".
    numbers : int array, (rows,)
        The row's or line's number in that file, from 1.
    """

    table: Any
    name: str
    word: str
    numbers: Any

    def locate_row(self, row: int) -> str:
        """Tell where a row stands."""
        return f"{self.name} {self.word} {self.numbers[row]}"


@dataclass(frozen=True)
class RawTable:
    """A table as files or a frame hold it: its parts, and the rows that could not even be taken apart."""

    name: str
    parts: tuple[TablePart, ...]
    rejects: tuple[Reject, ...] = field(default=())


def wrap_frame(frame: "pd.DataFrame", name: str) -> RawTable:
    """Take a frame in memory as a table; columns may be of any dtype, mixed ones too."""
    names = [str(column) for column in frame.columns]
    refuse_repeats(names, name)
    columns = [to_arrow(frame.iloc[:, place]) for place in range(len(names))]
    table = pa.Table.from_arrays(columns, names=names)
    return RawTable(name, (TablePart(table, name, "row", number_rows(len(frame))),))


def refuse_repeats(names: Sequence[str], where: str) -> None:
    """Raise where a column name stands twice."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise FileFault(
            "columns repeat", where=where, got=", ".join(repeated), todo="rename or drop one of them"
        )


def refuse_missing(names: Sequence[str], required: Sequence[str], where: str) -> None:
    """Raise where a required column is missing, and name the nearest one that is there."""
    missing = [name for name in required if name not in names]
    if not missing:
        return
    near = get_close_matches(missing[0], names, n=1)
    todo = f"rename {near[0]!r}?" if near else ""
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        todo = "separate columns by commas"
    raise FileFault(
        f"missing required column{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
        where=where,
        got=f"columns {', '.join(names) or 'none'}",
        todo=todo,
    )


def number_rows(rows: int, first: int = 1) -> Any:
    """Number rows, from `first` on."""
    return np.arange(first, first + rows)
