"""Parquet tables, one file or a directory of files, read whole or in chunks, within limits: a small hostile file cannot use up memory."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet

from consignments.columns import TEXT, get_type_family, normalize_array
from consignments.errors import FileFault, Reject, name_file
from consignments.files.file_listing import is_hidden, list_table_files
from consignments.files.part_manifest import MANIFEST_NAME, check_parts
from consignments.files.raw_tables import READABLE_FORMATS, TablePart, refuse_bad_columns
from consignments.timestamps import to_datetime

PARQUET_SUFFIX = ".parquet"
PARQUET_BUFFER_BYTES = 1 << 20  # bytes of a Parquet column read at a time
READ_ROWS = 20_000  # rows of a whole table read at a time
MAX_TEXT_BYTES = 100_000
"""Maximum length of one text in a dictionary of a Parquet file; a chunk of 10,000 rows then has at most a gigabyte of it."""
MAX_TABLE_BYTES = 1 << 33  # maximum size in memory of a Parquet table that is read whole
MAX_EXPANSION = 1_000
MIN_EXPANDED_BYTES = 1 << 29
"""A Parquet table that expands by more than this factor, to more than these bytes, repeats long texts in every row."""
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass
class _ParquetFile:
    """A file of a Parquet table: its name in messages, the folders above it, its number of rows, and its mark when first opened.

    The mark is its size and its time, which all machines that share the file see, and which must not change while it is in use.
    """

    path: Path
    name: str
    folders: tuple[str, ...] = ()
    rows: int = 0
    mark: str = ""

    def read_parts(self, rows: int) -> Iterator[TablePart]:
        """Read the file in parts of at most `rows`."""
        start = 0
        with self.open() as file:
            for batch in file.iter_batches(rows, use_threads=False):
                yield self.build_part(pa.Table.from_batches([batch]), start)
                start += len(batch)

    def build_part(self, table: Any, first: int) -> TablePart:
        """Build a table part from rows of the file, after `first` other ones, with the columns of its folders (`office=Incheon`)."""
        for place, column in enumerate(table.columns):
            if pa.types.is_dictionary(column.type) or pa.types.is_string_view(column.type):
                table = table.set_column(place, table.column_names[place], normalize_array(column))
        for folder in self.folders:
            name, equals, value = folder.partition("=")
            if equals and name not in table.column_names:
                text = None if value == HIVE_NULL else unquote(value)
                table = table.append_column(name, pa.array([text] * len(table), type=TEXT))
        return TablePart(table, self.name, "row", np.arange(first, first + len(table)) + 1)

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Open the file; raise a `FileFault` if it has changed, or cannot be opened or read inside the context."""
        with self._explain_failure():
            self._refuse_change()
            # With pre-buffering, everything read from the file would stay in memory until its end.
            with parquet.ParquetFile(self.path, pre_buffer=False, buffer_size=PARQUET_BUFFER_BYTES) as file:
                refuse_bad_columns(file.schema_arrow.names, str(self.path))
                yield file
            self._refuse_change()

    def _refuse_change(self) -> None:
        status = self.path.stat()
        written = to_datetime(status.st_mtime_ns // 1_000)
        found = f"{status.st_size:,} bytes of {written:%Y-%m-%dT%H:%M:%S.%fZ}"
        self.mark = self.mark or found
        if found != self.mark:
            raise FileFault(
                "a table has other rows than when it was checked",
                where=str(self.path),
                got=found,
                expected=self.mark,
                todo="run the command again, and do not change tables meanwhile",
            )

    @contextmanager
    def _explain_failure(self) -> Iterator[None]:
        """Turn an error of reading into a `FileFault`."""
        try:
            yield
        except (pa.ArrowInvalid, OSError) as error:
            raise FileFault(
                "cannot be read as Parquet: it is truncated or has another format",
                where=str(self.path),
                got=str(error).splitlines()[0],
                todo="write or copy the file again",
            ) from error
        except UnicodeError as error:
            raise FileFault(
                "the name of the file or of a column is not UTF-8",
                where=name_file(self.path),
                got=str(error),
                todo="rename the file, or write it again with other column names",
            ) from error


@dataclass(frozen=True)
class ParquetTable:
    """A Parquet table, one file or a directory of files in order, that is read in chunks."""

    name: str
    files: tuple[_ParquetFile, ...]
    columns: tuple[str, ...]
    empty: TablePart
    rejects: tuple[Reject, ...] = ()

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return sum(file.rows for file in self.files)

    @property
    def parts(self) -> Iterator[TablePart]:
        """Read the whole table, unless it is too large for the memory."""
        size = sum(file.path.stat().st_size for file in self.files)
        return _limit_expansion(self.read_parts(READ_ROWS), size, self.name)

    @classmethod
    def open(cls, path: Path) -> "ParquetTable":
        """Open the table without reading rows."""
        files, empty = _list_parquet_files(path), []
        for each in files:
            with each.open() as file:
                _refuse_long_texts(each.path, file.metadata, each.name)
                empty.append(each.build_part(file.schema_arrow.empty_table(), 0))
                each.rows = file.metadata.num_rows
        for part in empty[1:]:
            _refuse_other_schema(empty[0], part)
        columns = dict.fromkeys(name for part in empty for name in part.table.column_names)
        return cls(path.name, tuple(files), tuple(columns), empty[0])

    def read_parts(self, rows: int) -> Iterator[TablePart]:
        """Read the table in parts of at most `rows`; at least one part."""
        if not self.rows:
            yield self.empty
        for file in self.files:
            yield from file.read_parts(rows)


def is_parquet(path: Path) -> bool:
    """Check whether a path is a Parquet table, which can be read in chunks."""
    return path.is_dir() or path.suffix.lower() == PARQUET_SUFFIX


def _list_parquet_files(path: Path) -> list[_ParquetFile]:
    if not path.is_dir():
        return [_ParquetFile(path, path.name)]
    listed = list_table_files(path)
    inside = [file for file in listed if file.suffix.lower() == PARQUET_SUFFIX and not is_hidden(file)]
    _check_manifests(path, listed, inside)
    files = [_ParquetFile(path / file, Path(path.name, file).as_posix(), file.parts[:-1]) for file in inside]
    if not files:
        raise FileFault("no Parquet files in the directory", where=str(path), expected=READABLE_FORMATS)
    return files


def _check_manifests(path: Path, listed: Sequence[Path], inside: Iterable[Path]) -> None:
    """Check the files of each folder that has a manifest: a table in parts may be a partition of another one."""
    folders = (file.parent for file in listed if file.name == MANIFEST_NAME)
    parts = {folder: list[Path]() for folder in folders if not is_hidden(folder)}
    for file in inside:
        for folder in parts.keys() & set(file.parents):
            parts[folder].append(file.relative_to(folder))
    for folder, files in parts.items():
        check_parts(path / folder, files)


def _refuse_other_schema(first: TablePart, other: TablePart) -> None:
    kinds, others = ({f.name: get_type_family(f.type) for f in part.table.schema} for part in (first, other))
    for name in [*kinds, *others]:
        pair = kinds.get(name, "no such column"), others.get(name, "no such column")
        if pair[0] != pair[1] and "null" not in pair:
            raise FileFault(
                f"a partition has another schema in column {name}",
                where=other.name,
                got=pair[1],
                expected=f"{pair[0]}, as in {first.name}",
                todo="a folder is read as one table: write all its files with the same schema, or name one file",
            )


def _refuse_long_texts(path: Path, metadata: Any, where: str) -> None:
    """Raise `FileFault` if a dictionary of a Parquet file has a text that is too long.

    A text in a dictionary is stored once and may stand in each row, so a file of some kilobytes can need a hundred gigabytes.
    Only dictionaries large enough to hold such a text are read.
    """
    for group in range(metadata.num_row_groups):
        for column in map(metadata.row_group(group).column, range(metadata.num_columns)):
            if column.physical_type == "BYTE_ARRAY" and column.total_uncompressed_size > MAX_TEXT_BYTES:
                _refuse_long_dictionary(path, group, column.path_in_schema, where)


def _limit_expansion(parts: Iterable[TablePart], file_bytes: int, where: str) -> Iterator[TablePart]:
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
        got, expected = f"{longest:,} bytes", f"at most {MAX_TEXT_BYTES:,}"
        where, todo = f"{where}, column {name}", "shorten or drop the text"
        raise FileFault("a text is too long", where=where, got=got, expected=expected, todo=todo)
