"""Raw tables: the parts, row numbers and column names of a table before its columns are checked, and limits of its size.

With the limits a small hostile file cannot use up memory or time.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet

from consignments.errors import FileFault, Reject

SUFFIXES = (".csv", ".parquet", ".jsonl")
READABLE_FORMATS = f"a {', '.join(SUFFIXES)} file, or a directory of Parquet files"
MAX_COLUMNS = 5_000
MAX_LINE_BYTES = 1 << 24
"""Maximum length of a line of JSON Lines; in CSV a row has the same limit."""
MAX_TEXT_FILE_BYTES = 1 << 32
"""Maximum size of a CSV or JSON Lines file, which is read whole. Parquet is read in chunks."""
MAX_TEXT_BYTES = 100_000
"""Maximum length of one text in a dictionary of a Parquet file; a chunk of 10,000 rows then has at most a gigabyte of it."""
MAX_TABLE_BYTES = 1 << 33
"""Maximum size in memory of a Parquet table that is read whole."""
MAX_EXPANSION = 1_000
MIN_EXPANDED_BYTES = 1 << 29
"""A Parquet table that expands by more than this factor, to more than these bytes, repeats long texts in every row."""


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

    def select(self, rows: Any) -> "TablePart":
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


def refuse_bad_columns(names: Sequence[str], where: str) -> None:
    """Raise `FileFault` if a table has too many columns, or two of the same name."""
    if len(names) > MAX_COLUMNS:
        raise FileFault(
            "the table has too many columns",
            where=where,
            got=f"{len(names):,}",
            expected=f"at most {MAX_COLUMNS:,}",
            todo="keep the columns that npsrisk reads (npsrisk columns)",
        )
    if len(set(names)) < len(names):
        repeated = sorted(name for name, times in Counter(names).items() if times > 1)
        raise FileFault(
            "a column name occurs twice",
            where=where,
            got=", ".join(repeated),
            todo="rename or drop one of them",
        )


def read_lines(file: BinaryIO, where: str) -> Iterator[bytes]:
    """Read the lines of a file; raise `FileFault` at one that is too long."""
    number = 1
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise FileFault(
                f"a line is longer than {MAX_LINE_BYTES >> 20} MB",
                where=f"{where} line {number}",
                expected="JSON Lines: one object per line",
                todo="split or drop the line",
            )
        yield line
        number += 1


def refuse_long_texts(path: Path, metadata: Any, where: str) -> None:
    """Raise `FileFault` if a dictionary of a Parquet file has a text that is too long.

    A text in a dictionary is stored once and may stand in each row, so a file of some kilobytes can need a hundred gigabytes.
    Only dictionaries large enough to hold such a text are read.
    """
    for group in range(metadata.num_row_groups):
        for column in map(metadata.row_group(group).column, range(metadata.num_columns)):
            if column.physical_type == "BYTE_ARRAY" and column.total_uncompressed_size > MAX_TEXT_BYTES:
                _refuse_long_dictionary(path, group, column.path_in_schema, where)


def limit_expansion(parts: Iterable[TablePart], file_bytes: int, where: str) -> Iterator[TablePart]:
    """Yield the parts of a Parquet table; raise `FileFault` if they become too large in memory."""
    limit = min(MAX_TABLE_BYTES, max(MIN_EXPANDED_BYTES, MAX_EXPANSION * file_bytes))
    size = 0
    for part in parts:
        size += part.table.nbytes
        if size > limit:
            raise FileFault(
                "the table is too large in memory",
                where=where,
                got=f"more than {limit:,} bytes",
                expected=f"at most {MAX_TABLE_BYTES:,}, and at most {MAX_EXPANSION:,} times the size of the file",
                todo="split it, and shorten or drop long texts that repeat",
            )
        yield part


def _refuse_long_dictionary(path: Path, group: int, name: str, where: str) -> None:
    with parquet.ParquetFile(path, read_dictionary=[name]) as file:
        batch = next(file.iter_batches(1, row_groups=[group], columns=[name], use_threads=False), None)
        texts = None if batch is None else getattr(batch.column(0), "dictionary", None)
        longest = 0 if texts is None or not len(texts) else pc.max(pc.binary_length(texts)).as_py() or 0
    if longest > MAX_TEXT_BYTES:
        raise FileFault(
            "a text is too long",
            where=f"{where}, column {name}",
            got=f"{longest:,} bytes",
            expected=f"at most {MAX_TEXT_BYTES:,}",
            todo="shorten or drop the text",
        )
