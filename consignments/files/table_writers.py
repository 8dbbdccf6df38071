"""Atomic writing of table files: CSV, Parquet and JSON Lines."""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet

from consignments.columns import LIST_COLUMNS, TIME, convert_frame, get_type_family, to_lists, to_text_column
from consignments.errors import FileFault, explain_failure
from consignments.files.raw_tables import SUFFIXES
from consignments.files.table_files import JSON_CHUNK_ROWS, quote_formulas
from consignments.files.whole_files import draft_file

if TYPE_CHECKING:
    import pandas as pd

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
"""Format of times; pyarrow writes the seconds (%S) with six decimals."""
ROW_GROUP_ROWS = 1 << 15
"""Rows of a Parquet row group."""


def write_table(frame: "pd.DataFrame", path: Path) -> None:
    """Write a table (`.csv`, `.parquet`, `.jsonl`) through a temporary file that is then renamed; raise `FileFault` if that fails.

    In Parquet and JSON Lines the canonical JSON text of `items` becomes lists of structs.
    """
    write_chunks([frame], path)


def write_chunks(frames: Iterable["pd.DataFrame | pa.Table"], path: Path) -> int:
    """Write a table given in chunks, as `write_table` writes a whole one, and return its number of rows.

    The same rows give the same bytes, whatever the chunks are.
    """
    refuse_unwritable(path)
    prepare, open_writer = FORMATS[path.suffix.lower()]
    tables = map(prepare, split_row_groups(frames))
    explain = partial(explain_failure, "cannot be written", path)
    with draft_file(path, explain) as part:
        return write_tables(tables, partial(open_writer, part), explain)


def refuse_unwritable(path: Path, what: str = "table", suffixes: Collection[str] = SUFFIXES) -> None:
    """Raise `FileFault` if a table, or something else with one of some suffixes, cannot be written under this name."""
    where, got = str(path), repr(path.suffix)
    if path.suffix.lower() not in suffixes:
        raise FileFault(f"unknown {what} format", where=where, got=got, expected=", ".join(suffixes))
    if path.is_dir() or not path.absolute().parent.is_dir():
        got = "a folder of this name" if path.is_dir() else "no such folder"
        raise FileFault("cannot be written", where=where, got=got, todo="name a file in a folder that exists")


def split_row_groups(frames: Iterable["pd.DataFrame | pa.Table"]) -> Iterator[Any]:
    """Convert chunks of a table to Arrow tables of ROW_GROUP_ROWS rows, all with the schema of the first; the last may be smaller."""
    waiting: Any = None
    first = True
    for frame in frames:
        table = frame if isinstance(frame, pa.Table) else convert_frame(frame)
        waiting = table if waiting is None else pa.concat_tables([waiting, table.cast(waiting.schema)])
        while len(waiting) >= ROW_GROUP_ROWS:
            yield waiting.slice(0, ROW_GROUP_ROWS)
            first, waiting = False, waiting.slice(ROW_GROUP_ROWS)
    if waiting is not None and (first or len(waiting)):
        yield waiting


def write_tables(
    tables: Iterator[Any],
    open_writer: Callable[[Any], Any],
    explain: Callable[[], AbstractContextManager[None]],
) -> int:
    """Write tables one at a time with a writer opened for the schema of the first one, and return the number of rows."""
    first, rows = next(tables), 0
    with explain():
        writer = open_writer(first.schema)
    try:
        for table in chain([first], tables):
            with explain():
                writer.write_table(table)
            rows += len(table)
    finally:
        with explain():
            writer.close()
    return rows


def convert_lists(table: Any) -> Any:
    """Return a table in which the JSON text of items and of lists of codes is lists."""
    for name, kind in LIST_COLUMNS.items():
        place = table.schema.get_field_index(name)
        if place >= 0 and get_type_family(table.schema.field(place).type) == "text":
            table = table.set_column(place, name, to_lists(table.column(place), kind))
    return table


def open_parquet_writer(path: Path, schema: Any) -> Any:
    """Open the writer of a Parquet file in the form of this module."""
    # Numbers seldom repeat, so they get no dictionary; with lists in a table its columns can only be chosen together.
    has_lists = any(pa.types.is_nested(field.type) for field in schema)
    repeating = has_lists or [field.name for field in schema if get_type_family(field.type) != "numbers"]
    return parquet.ParquetWriter(path, schema, compression="zstd", use_dictionary=repeating)


def _prepare_csv_table(table: Any) -> Any:
    for place, column in enumerate(table.schema):
        if pa.types.is_nested(column.type):
            table = table.set_column(place, column.name, to_text_column(table.column(place)))
    return _format_times(quote_formulas(table))


class _JsonLinesWriter:
    def __init__(self, path: Path, schema: Any) -> None:  # noqa: ARG002
        self._file, self._encoder = path.open("wb"), msgspec.json.Encoder()

    def write_table(self, table: Any) -> None:
        for batch in table.to_batches(max_chunksize=JSON_CHUNK_ROWS):
            self._file.write(self._encoder.encode_lines(batch.to_pylist()))

    def close(self) -> None:
        self._file.close()


def _format_times(table: Any) -> Any:
    for place, column in enumerate(table.schema):
        if pa.types.is_timestamp(column.type) and column.type.tz:
            texts = pc.strftime(table.column(place).cast(TIME, safe=False), format=TIME_FORMAT)
            table = table.set_column(place, column.name, texts)
    return table


FORMATS: dict[str, tuple[Callable[[Any], Any], Callable[[Path, Any], Any]]] = {
    ".csv": (
        _prepare_csv_table,
        partial(arrow_csv.CSVWriter, write_options=arrow_csv.WriteOptions(quoting_style="needed")),
    ),
    ".parquet": (convert_lists, open_parquet_writer),
    ".jsonl": (lambda table: _format_times(convert_lists(table)), _JsonLinesWriter),
}
"""Of each format the function that prepares a table, and the one that opens its writer."""
