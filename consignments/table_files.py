"""Files of tables: CSV, Parquet (a file, or a directory of them) and JSON Lines, read as they are and written whole.

What makes a file useless raises `FileFault`; a row that cannot be told apart from its neighbours becomes a `Reject`.
A file that ends in the middle of a row was cut: nobody knows what else it lost, so it is refused as a whole.
"""

import codecs
import csv
import gc
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet

from consignments.columns import TEXT, TIME, to_arrow, to_text_column
from consignments.errors import FileFault
from consignments.items import to_item_lists
from consignments.rejects import Reject

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".parquet", ".jsonl")
READABLE_FORMATS = f"a {', '.join(SUFFIXES)} file, or a directory of Parquet files"
SCAN_BYTES = 1 << 20
CSV_BLOCK_BYTES = 1 << 24
"""A row of a CSV file must fit into one block."""
JSON_CHUNK_ROWS = 500
"""So few that their values stay in the processor's cache: more than twice as fast as 20,000."""
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
"""Seconds have their six decimals in this format."""
PARQUET_BUFFER_BYTES = 1 << 20
"""Of a column of Parquet, read at a time."""
ROW_GROUP_ROWS = 1 << 15
"""Rows of a group of a Parquet file."""
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
TRUNCATED_FILE = "the file ends in the middle of a row: it was cut"


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


def read_files(path: Path) -> RawTable:
    """Read a table as it is.

    Parameters
    ----------
    path : Path
        `.csv`, `.parquet` or `.jsonl`, or a directory of Parquet files, hive-partitioned or not.

    Raises
    ------
    FileFault
        Where the file is missing, empty, cut, of another format or encoding, or where a partition has another schema.
    """
    if not path.exists():
        raise FileFault("no such file", where=str(path), todo="check the path")
    if path.is_dir():
        return _read_directory(path)
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".jsonl": _read_jsonl}
    if path.suffix.lower() not in readers:
        raise FileFault(
            "unknown kind of table", where=str(path), got=repr(path.suffix), expected=READABLE_FORMATS
        )
    with _translate_errors(path):
        if path.stat().st_size == 0:
            raise FileFault("the file is empty", where=str(path), todo="write it again")
        return readers[path.suffix.lower()](path)


def wrap_frame(frame: "pd.DataFrame", name: str) -> RawTable:
    """Take a frame in memory as a table; columns may be of any dtype, mixed ones too."""
    names = [str(column) for column in frame.columns]
    refuse_repeats(names, name)
    columns = [to_arrow(frame.iloc[:, place]) for place in range(len(names))]
    table = pa.Table.from_arrays(columns, names=names)
    return RawTable(name, (TablePart(table, name, "row", _number_rows(len(frame))),))


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


def _number_rows(rows: int, first: int = 1) -> Any:
    return np.arange(first, first + rows)


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system and the readers raise into `FileFault`."""
    try:
        yield
    except OSError as error:
        raise FileFault(
            "cannot be read", where=str(path), got=error.strerror or str(error).splitlines()[0]
        ) from error
    except pa.ArrowException as error:
        raise FileFault(
            "cannot be read", where=str(path), got=str(error).splitlines()[0], todo="write it again"
        ) from error


# --- CSV --------------------------------------------------------------------------------------------------------------


def _read_csv(path: Path) -> RawTable:
    ends_in_line = _scan_text(path)
    names = _read_csv_header(path)
    bad: list[arrow_csv.InvalidRow] = []

    def skip(row: arrow_csv.InvalidRow) -> str:
        bad.append(row)
        return "skip"

    try:
        table = arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(
                use_threads=False, block_size=CSV_BLOCK_BYTES, column_names=names, skip_rows=0
            ),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, TEXT),
                null_values=[""],
                strings_can_be_null=True,
            ),
        ).slice(1)  # the header is read as a row, so that a file of nothing else is an empty table
    except pa.ArrowInvalid as error:
        if "straddling" in str(error):
            raise FileFault(
                f"a row is longer than {CSV_BLOCK_BYTES >> 20} MB",
                where=str(path),
                todo="look for a stray quote",
            ) from error
        raise
    numbers = np.setdiff1d(_number_rows(len(table) + len(bad)), [row.number - 1 for row in bad])
    _refuse_cut_csv(path, table, bad, ends_in_line=ends_in_line, last=int(numbers[-1]) if len(numbers) else 0)
    rejects = [
        Reject(
            f"{path.name} row {row.number - 1}",
            "",
            "",
            f"{row.actual_columns} values, expected {row.expected_columns}",
            row.text,
        )
        for row in bad
    ]
    return RawTable(path.name, (TablePart(table, path.name, "row", numbers),), tuple(rejects))


def _read_csv_header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        names = next((row for row in csv.reader(file) if row), [])
    refuse_repeats(names, str(path))
    return names


def _refuse_cut_csv(
    path: Path, table: Any, bad: Sequence[arrow_csv.InvalidRow], *, ends_in_line: bool, last: int
) -> None:
    if bad and bad[-1].number - 1 > last and not ends_in_line:
        raise FileFault(
            TRUNCATED_FILE, where=f"{path} row {bad[-1].number - 1}", todo="fetch the whole file again"
        )
    if len(table) and _has_open_quote(path, table.column(table.num_columns - 1)[-1].as_py() or ""):
        raise FileFault(
            "a quote is opened and never closed: the file was cut, or a quote is missing",
            where=f"{path} row {last}",
            todo="fetch the whole file again, or close the quote",
        )


def _has_open_quote(path: Path, last_value: str) -> bool:
    ending = '"' + last_value.replace('"', '""')
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(ending.encode()) - 1))
        tail = file.read()
    openings = tuple(mark + ending.encode() for mark in (b",", b"\n"))
    return tail.endswith(openings)


def _scan_text(path: Path) -> bool:
    """Refuse what is no UTF-8 text or holds NUL bytes, naming the line; tell whether it ends with a line end."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, block = 1, b""
    with path.open("rb") as file:
        while more := file.read(SCAN_BYTES):
            block = more
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                line += block[: error.start].count(b"\n")
                raise FileFault(
                    "is not UTF-8", where=f"{path} line {line}", expected="UTF-8", todo="save it as UTF-8"
                ) from error
            if b"\0" in block:
                line += block[: block.index(b"\0")].count(b"\n")
                raise FileFault(
                    "holds NUL bytes",
                    where=f"{path} line {line}",
                    expected="UTF-8 text",
                    todo="write it again",
                )
            line += block.count(b"\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise FileFault(
            TRUNCATED_FILE, where=f"{path} line {line}", todo="fetch the whole file again"
        ) from error
    return block.endswith(b"\n")


# --- JSON Lines -------------------------------------------------------------------------------------------------------


def _read_jsonl(path: Path) -> RawTable:
    ends_in_line = _scan_text(path)
    decoder = msgspec.json.Decoder(dict[str, Any])
    tables: list[Any] = []
    numbers: list[list[int]] = []
    rejects: list[Reject] = []
    last = 0
    with path.open("rb") as file, pause_garbage_collection():
        lines = enumerate(file, start=1)
        while chunk := list(islice(lines, JSON_CHUNK_ROWS)):
            rows: list[dict[str, Any]] = []
            numbers.append([])
            for last, line in chunk:
                try:
                    if stripped := line.removeprefix(codecs.BOM_UTF8).strip():
                        rows.append(decoder.decode(stripped))
                        numbers[-1].append(last)
                except msgspec.DecodeError as error:
                    rejects.append(_build_json_reject(f"{path.name} line {last}", line, error))
            tables.append(_build_table(rows))
    if rejects and not any(numbers):
        raise FileFault("no line is a JSON object", where=str(path), expected="JSON Lines: an object a line")
    if rejects and not ends_in_line and rejects[-1].place == f"{path.name} line {last}":
        raise FileFault(TRUNCATED_FILE, where=f"{path} line {last}", todo="fetch the whole file again")
    return RawTable(path.name, tuple(_join_json_parts(path.name, tables, numbers)), tuple(rejects))


def _join_json_parts(
    name: str, tables: Sequence[Any], numbers: Sequence[Sequence[int]]
) -> Iterator[TablePart]:
    """Join the pieces; where a column is a number in one and a text in another, they stay apart."""
    try:
        whole = pa.concat_tables(tables, promote_options="permissive")
        yield TablePart(whole, name, "line", np.asarray(list(chain.from_iterable(numbers)), dtype=np.int64))
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        for table, places in zip(tables, numbers, strict=True):
            yield TablePart(table, name, "line", np.asarray(places, dtype=np.int64))


def _build_json_reject(place: str, line: bytes, error: msgspec.DecodeError) -> Reject:
    reason = "not a JSON object" if isinstance(error, msgspec.ValidationError) else "not JSON"
    return Reject(place, "", "", reason, line.decode().rstrip())


def _build_table(rows: Sequence[dict[str, Any]]) -> Any:
    names = list(dict.fromkeys(name for row in rows[:1] for name in row))
    columns: list[Sequence[Any]]
    if all(list(row) == names for row in rows):  # written by one program: much cheaper
        columns = list(zip(*(row.values() for row in rows), strict=True))
    else:
        names = list(dict.fromkeys(name for row in rows for name in row))
        columns = [[row.get(name) for row in rows] for name in names]
    return pa.Table.from_arrays([to_arrow(column) for column in columns], names=names)


@contextmanager
def pause_garbage_collection() -> Iterator[None]:
    """Keep Python's garbage collector from walking over many new objects again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


# --- Parquet ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _ParquetFile:
    """A file of a Parquet table: where it is, what messages call it, and the folders that it lies in."""

    path: Path
    name: str
    folders: tuple[str, ...] = ()

    def build_part(self, table: Any, first: int = 1) -> TablePart:
        """Take rows of it, the first of which has this number."""
        table = _add_partition_columns(table, self.folders)
        return TablePart(table, self.name, "row", _number_rows(len(table), first))

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Open it; what is wrong with it, then or while it is read, is a `FileFault`."""
        try:
            # Buffered ahead, all that was read of the file would stay in memory until its end.
            with parquet.ParquetFile(self.path, pre_buffer=False, buffer_size=PARQUET_BUFFER_BYTES) as file:
                refuse_repeats(file.schema_arrow.names, str(self.path))
                yield file
        except (pa.ArrowInvalid, OSError) as error:
            raise FileFault(
                "cannot be read as Parquet: cut in half, or another format",
                where=str(self.path),
                got=str(error).splitlines()[0],
                todo="write or fetch it again",
            ) from error

    def read(self) -> TablePart:
        with self.open() as file:
            return self.build_part(file.read(use_threads=False))

    def read_parts(self, rows: int) -> Iterator[TablePart]:
        """Give it in parts of at most so many rows; a file without rows is one empty part."""
        first = 1
        with self.open() as file:
            for batch in file.iter_batches(rows, use_threads=False):
                yield self.build_part(pa.Table.from_batches([batch]), first)
                first += len(batch)
            if first == 1:
                yield self.build_part(file.schema_arrow.empty_table())


@dataclass(frozen=True)
class ParquetTable:
    """A Parquet table, a file or a directory of them, that is read piece by piece.

    Attributes
    ----------
    name : str
    files : tuple
        In the order of the table.
    columns : tuple of str
        Those of all files.
    rows : int
    """

    name: str
    files: tuple[_ParquetFile, ...]
    columns: tuple[str, ...]
    rows: int

    @classmethod
    def open(cls, path: Path) -> "ParquetTable":
        """Look at the files without reading a row; refuses what `read_files` does, but for damaged rows."""
        if not path.exists():
            raise FileFault("no such file", where=str(path), todo="check the path")
        files, empty, rows = _list_parquet_files(path), [], 0
        for each in files:
            with each.open() as file:
                empty.append(each.build_part(file.schema_arrow.empty_table()))
                rows += file.metadata.num_rows
        for part in empty[1:]:
            _refuse_other_schema(empty[0], part)
        columns = dict.fromkeys(name for part in empty for name in part.table.column_names)
        return cls(path.name, tuple(files), tuple(columns), rows)

    def read_chunks(self, rows: int) -> Iterator[tuple[TablePart, ...]]:
        """Read at least so many rows at a time and less than twice as many; the last piece may be smaller.

        Raises
        ------
        FileFault
            Where a file turns out to be damaged.
        """
        piece: list[TablePart] = []
        for part in chain.from_iterable(file.read_parts(rows) for file in self.files):
            piece.append(part)
            if sum(len(each.table) for each in piece) >= rows:
                yield tuple(piece)
                piece = []
        if piece:
            yield tuple(piece)


def is_parquet(path: Path) -> bool:
    """Tell whether a table can be read piece by piece."""
    return path.is_dir() or path.suffix.lower() == ".parquet"


def _read_parquet(path: Path) -> RawTable:
    return RawTable(path.name, (_ParquetFile(path, path.name).read(),))


def _list_parquet_files(path: Path) -> list[_ParquetFile]:
    if not path.is_dir():
        return [_ParquetFile(path, path.name)]
    inside = sorted(file.relative_to(path) for file in path.rglob("*.parquet"))
    files = [
        _ParquetFile(path / file, f"{path.name}/{file.as_posix()}", file.parts[:-1])
        for file in inside
        if not any(part.startswith((".", "_")) for part in file.parts)
    ]
    if not files:
        raise FileFault("no Parquet files in the directory", where=str(path), expected=READABLE_FORMATS)
    return files


def _read_directory(path: Path) -> RawTable:
    parts = [file.read() for file in _list_parquet_files(path)]
    for part in parts[1:]:
        _refuse_other_schema(parts[0], part)
    return RawTable(path.name, tuple(parts))


def _add_partition_columns(table: Any, folders: Sequence[str]) -> Any:
    """Add the columns that stand in folder names, `office=Incheon`, as text: their zeros may matter."""
    for folder in folders:
        name, equals, value = folder.partition("=")
        if equals and name not in table.column_names:
            text = None if value == HIVE_NULL else unquote(value)
            table = table.append_column(name, pa.array([text] * len(table), type=TEXT))
    return table


def _refuse_other_schema(first: TablePart, other: TablePart) -> None:
    kinds, others = ({f.name: _get_type_family(f.type) for f in part.table.schema} for part in (first, other))
    for name in [*kinds, *others]:
        pair = kinds.get(name, "no such column"), others.get(name, "no such column")
        if pair[0] != pair[1] and "null" not in pair:
            raise FileFault(
                f"a partition has another schema in column {name}",
                where=other.name,
                got=pair[1],
                expected=f"{pair[0]}, as in {first.name}",
                todo="write all partitions alike",
            )


def _get_type_family(kind: Any) -> str:
    """Name what a type means; whole numbers become fractional ones as soon as one is missing, so they are one."""
    if pa.types.is_dictionary(kind):
        return _get_type_family(kind.value_type)
    families: dict[str, Callable[[Any], bool]] = {
        "null": pa.types.is_null,
        "text": lambda k: pa.types.is_string(k) or pa.types.is_large_string(k) or pa.types.is_string_view(k),
        "numbers": lambda k: pa.types.is_integer(k) or pa.types.is_floating(k) or pa.types.is_decimal(k),
        "times": lambda k: pa.types.is_timestamp(k),
        "lists": pa.types.is_nested,
    }
    return next((name for name, holds in families.items() if holds(kind)), str(kind))


# --- writing ----------------------------------------------------------------------------------------------------------


def write_table(frame: "pd.DataFrame", path: Path) -> None:
    """Write a table whole or not at all: into a file beside it that is then renamed.

    Parameters
    ----------
    frame : DataFrame
        `items` may be canonical JSON text; Parquet and JSON Lines hold lists of structs.
    path : Path
        `.csv`, `.parquet` or `.jsonl`.

    Raises
    ------
    FileFault
        Where the suffix is another one or the folder cannot be written to; nothing is left behind.
    """
    write_chunks([frame], path)


def write_chunks(frames: Iterable["pd.DataFrame"], path: Path) -> int:
    """Write a table that comes in pieces, as `write_table` writes a whole one. Give the number of its rows.

    However it is cut, the same rows give the same bytes.

    Parameters
    ----------
    frames : iterable of DataFrame
        At least one; all with the columns and types of the first.
    path : Path

    Raises
    ------
    FileFault
        As `write_table`; what `frames` raises is raised on, and nothing is left behind.
    """
    writers = {".csv": _write_csv, ".parquet": _write_parquet, ".jsonl": _write_jsonl}
    if path.suffix.lower() not in writers:
        raise FileFault(
            "unknown kind of table", where=str(path), got=repr(path.suffix), expected=", ".join(SUFFIXES)
        )
    with _replace_atomically(path) as part:
        return writers[path.suffix.lower()](_rechunk(map(_convert_frame, frames)), part)


def _convert_frame(frame: "pd.DataFrame") -> Any:
    names = [str(column) for column in frame.columns]
    columns = [to_arrow(frame.iloc[:, place]) for place in range(len(names))]
    return pa.Table.from_arrays(columns, names=names)


def _rechunk(tables: Iterable[Any]) -> Iterator[Any]:
    """Cut a table anew, into pieces of one size, all of the schema of the first."""
    waiting: Any = None
    first = True
    for table in tables:
        waiting = table if waiting is None else pa.concat_tables([waiting, table.cast(waiting.schema)])
        while len(waiting) >= ROW_GROUP_ROWS:
            yield waiting.slice(0, ROW_GROUP_ROWS)
            first, waiting = False, waiting.slice(ROW_GROUP_ROWS)
    if waiting is not None and (first or len(waiting)):
        yield waiting


@contextmanager
def _replace_atomically(path: Path) -> Iterator[Path]:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise FileFault("cannot be written", where=str(path), got=error.strerror or str(error)) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _convert_item_lists(table: Any) -> Any:
    place = table.schema.get_field_index("items")
    if place < 0 or _get_type_family(table.schema.field(place).type) != "text":
        return table
    return table.set_column(place, "items", to_item_lists(table.column(place)))


def _write_parquet(tables: Iterator[Any], path: Path) -> int:
    def open_writer(table: Any) -> Any:
        return parquet.ParquetWriter(path, table.schema, compression="zstd")

    return _write_tables(map(_convert_item_lists, tables), open_writer)


def _write_csv(tables: Iterator[Any], path: Path) -> int:
    def open_writer(table: Any) -> Any:
        options = arrow_csv.WriteOptions(quoting_style="needed")
        return arrow_csv.CSVWriter(path, table.schema, write_options=options)

    return _write_tables(map(_prepare_csv_table, tables), open_writer)


def _write_tables(tables: Iterator[Any], open_writer: Callable[[Any], Any]) -> int:
    """Write tables by a writer opened for the first of them, holding one at a time; give the number of rows."""
    rows = 0
    table = next(tables)
    with open_writer(table) as writer:
        while table is not None:
            writer.write_table(table)
            rows += len(table)
            table = next(tables, None)
    return rows


def _prepare_csv_table(table: Any) -> Any:
    for place, column in enumerate(table.schema):
        if pa.types.is_nested(column.type):
            table = table.set_column(place, column.name, to_text_column(table.column(place)))
    return _format_times(table)


def _write_jsonl(tables: Iterator[Any], path: Path) -> int:
    encoder = msgspec.json.Encoder()
    rows = 0
    with path.open("wb") as file:
        for table in tables:
            ready = _format_times(_convert_item_lists(table))
            for batch in ready.to_batches(max_chunksize=JSON_CHUNK_ROWS):
                file.write(encoder.encode_lines(batch.to_pylist()))
            rows += len(table)
    return rows


def _format_times(table: Any) -> Any:
    for place, column in enumerate(table.schema):
        if pa.types.is_timestamp(column.type) and column.type.tz:
            texts = pc.strftime(table.column(place).cast(TIME, safe=False), format=TIME_FORMAT)
            table = table.set_column(place, column.name, texts)
    return table
