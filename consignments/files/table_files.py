"""Reading of table files without conversion: CSV, Parquet (a file, or a directory of files) and JSON Lines.

An unusable file raises `FileFault`; a row that cannot be parsed becomes a `Reject`. A file that ends in the middle of a
row is truncated. Because an unknown number of rows is missing, it is refused as a whole.
"""

import codecs
import csv
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from consignments.columns import TEXT, get_type_family, to_arrow
from consignments.errors import FileFault, Reject, explain_failure
from consignments.files.parquet_files import ParquetTable
from consignments.files.raw_tables import READABLE_FORMATS, RawTable, TablePart, refuse_bad_columns
from consignments.workers import pause_garbage_collection

SCAN_BYTES = 1 << 20
MAX_KEPT_BYTES = 1_000
MAX_LINE_BYTES = 1 << 24
"""Maximum length of a line of JSON Lines; in CSV a row has the same limit."""
MAX_TEXT_FILE_BYTES = 1 << 32
"""Maximum size of a CSV or JSON Lines file, which is read whole. Parquet is read in chunks."""
CSV_BLOCK_BYTES = 1 << 24
"""Block size for CSV files; a row must fit into one block."""
JSON_CHUNK_ROWS = 500
"""Rows read at a time; few, so that they stay in the processor's cache (more than twice as fast as 20,000)."""
CSV_DELIMITERS = (",", ";", "\t")
"""Delimiters of CSV files. Spreadsheets write semicolons if the decimal mark of the country is a comma."""
CONVERT_TO_UTF8 = (
    "save it as UTF-8, or convert it: iconv -f CP1252 -t UTF-8 FILE > NEW.csv (Western Europe; CP949 for Korean, GB18030 for "
    "Chinese, CP932 for Japanese, UTF-16 for text saved as Unicode)"
)
TRUNCATED_FILE = "the file is truncated: it ends in the middle of a row"
FORMULA, QUOTED_FORMULA = r"^('*[=+\-@\t\r])", r"^'('*[=+\-@\t\r])"
"""Texts that a spreadsheet would run, after any apostrophes; and the same with one more: =1 is written as '=1, and '=1 as ''=1."""


def read_files(path: Path) -> RawTable | ParquetTable:
    """Read a table without converting its columns; open one in Parquet, whose rows are read later."""
    if not path.exists():
        raise FileFault("no such file", where=str(path), todo="check the path")
    read = ParquetTable.open if path.is_dir() else READERS.get(path.suffix.lower())
    if read is None:
        raise FileFault(
            "unknown table format", where=str(path), got=repr(path.suffix), expected=READABLE_FORMATS
        )
    with explain_failure("cannot be read", path):
        size = path.stat().st_size
        if size == 0 and not path.is_dir():
            raise FileFault("the file is empty", where=str(path), todo="write it again")
        if size > MAX_TEXT_FILE_BYTES and read in (_read_csv, _read_jsonl):
            got, expected = f"{size:,} bytes", f"at most {MAX_TEXT_FILE_BYTES:,}"
            todo = "convert it to Parquet, which is read in chunks, or split it"
            raise FileFault("the file is too large", where=str(path), got=got, expected=expected, todo=todo)
        try:
            return read(path)
        except pa.ArrowException as error:
            raise FileFault(
                "cannot be read", where=str(path), got=str(error).splitlines()[0], todo="write it again"
            ) from error


def _read_csv(path: Path) -> RawTable:
    ends_in_line = _scan_text(path)
    names, delimiter = _read_csv_header(path)
    bad: dict[int, Reject] = {}

    def skip(row: arrow_csv.InvalidRow) -> str:
        number = row.number - 1  # the header is a row, too
        reason = f"{row.actual_columns} values, expected {row.expected_columns}"
        if "\n" in row.text.strip():
            reason += "; a value has a line break: check for a missing closing quote"
        bad[number] = Reject(f"{path.name} row {number}", "", "", reason, row.text)
        return "skip"

    try:
        table = arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(
                use_threads=False, block_size=CSV_BLOCK_BYTES, column_names=names, skip_rows=0
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, TEXT), null_values=[""], strings_can_be_null=True
            ),
        ).slice(1)  # the header is read as a row, so that a file with only a header is an empty table
    except pa.ArrowInvalid as error:
        if "straddling" in str(error):
            what = f"a row is longer than {CSV_BLOCK_BYTES >> 20} MB"
            todo = "check for a missing closing quote"
            raise FileFault(what, where=str(path), todo=todo) from error
        raise
    numbers = np.setdiff1d(np.arange(len(table) + len(bad)) + 1, list(bad))
    last, last_bad = int(numbers[-1]) if len(numbers) else 0, max(bad, default=0)
    if last_bad > last and not ends_in_line:
        raise FileFault(TRUNCATED_FILE, where=f"{path} row {last_bad}", todo="copy the whole file again")
    if len(table) and _has_open_quote(path, table.column(table.num_columns - 1)[-1].as_py(), delimiter):
        raise FileFault(
            "an opening quote has no closing quote: the file is truncated, or a quote is missing",
            where=f"{path} row {last}",
            todo="copy the whole file again, or close the quote",
        )
    table = _replace_texts(table, QUOTED_FORMULA, r"\1")
    return RawTable(path.name, (TablePart(table, path.name, "row", numbers),), tuple(bad.values()))


def quote_formulas(table: Any) -> Any:
    """Add an apostrophe to each text that begins like a formula, so that no spreadsheet runs it; reading a file removes it."""
    return _replace_texts(table, FORMULA, r"'\1")


def _replace_texts(table: Any, pattern: str, replacement: str) -> Any:
    for place, column in enumerate(table.schema):
        if get_type_family(column.type) == "text" and not pa.types.is_dictionary(column.type):
            values = table.column(place)
            if pc.any(pc.match_substring_regex(values, pattern)).as_py():
                changed = pc.replace_substring_regex(values, pattern, replacement)
                table = table.set_column(place, column, changed)
    return table


def _read_csv_header(path: Path) -> tuple[list[str], str]:
    """Read the column names, and the delimiter with which the header has most columns."""
    headers: dict[str, list[str]] = {}
    for delimiter in CSV_DELIMITERS:
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                headers[delimiter] = next(filter(None, csv.reader(file, delimiter=delimiter)), [])
        except csv.Error as error:
            raise FileFault("the header cannot be read", where=str(path), got=str(error)) from error
    delimiter, names = max(headers.items(), key=lambda header: len(header[1]))
    refuse_bad_columns(names, str(path))
    return names, delimiter


def _has_open_quote(path: Path, last_value: str | None, delimiter: str) -> bool:
    ending = '"' + (last_value or "").replace('"', '""')
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(ending.encode()) - 1))
        return file.read().endswith(((delimiter + ending).encode(), ("\n" + ending).encode()))


def _scan_text(path: Path) -> bool:
    """Check that a file is UTF-8 text without NUL bytes; return whether it ends with a line break."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, block = 1, b""
    with path.open("rb") as file:
        while more := file.read(SCAN_BYTES):
            block = more
            try:
                decoder.decode(block)
                found, at = "the file contains NUL bytes", block.find(b"\0")
                expected, todo = "UTF-8 text", "write it again"
            except UnicodeDecodeError as error:
                found, at = "the file is not UTF-8", error.start
                expected, todo = "UTF-8", CONVERT_TO_UTF8
            if at >= 0:
                line += block[:at].count(b"\n")
                raise FileFault(found, where=f"{path} line {line}", expected=expected, todo=todo)
            line += block.count(b"\n")
    if decoder.getstate()[0]:
        raise FileFault(TRUNCATED_FILE, where=f"{path} line {line}", todo="copy the whole file again")
    return block.endswith(b"\n")


def _read_jsonl(path: Path) -> RawTable:
    ends_in_line = _scan_text(path)
    decoder = msgspec.json.Decoder(dict[str, Any])
    parts: list[TablePart] = []
    rejects: list[Reject] = []
    last = 0
    with path.open("rb") as file, pause_garbage_collection():
        lines = _read_lines(file, str(path))
        while chunk := list(islice(lines, JSON_CHUNK_ROWS)):
            rows: dict[int, dict[str, Any]] = {}
            for last, line in chunk:
                try:
                    if stripped := line.removeprefix(codecs.BOM_UTF8).strip():
                        rows[last] = decoder.decode(stripped)
                except (msgspec.DecodeError, RecursionError) as error:
                    rejects.append(_build_json_reject(f"{path.name} line {last}", line, error))
            names = list(dict.fromkeys(chain.from_iterable(rows.values())))
            refuse_bad_columns(names, "the lines of JSON together")
            arrays = [to_arrow([row.get(name) for row in rows.values()], name) for name in names]
            table = pa.Table.from_arrays(arrays, names=names)
            parts.append(TablePart(table, path.name, "line", np.fromiter(rows, np.int64)))
    if rejects and not any(len(part.numbers) for part in parts):
        raise FileFault(
            "no line is a JSON object", where=str(path), expected="JSON Lines: one object per line"
        )
    if rejects and not ends_in_line and rejects[-1].place == f"{path.name} line {last}":
        raise FileFault(TRUNCATED_FILE, where=f"{path} line {last}", todo="copy the whole file again")
    with suppress(pa.ArrowInvalid, pa.ArrowTypeError):  # a column is a number in one part and text in another
        whole = pa.concat_tables([part.table for part in parts], promote_options="permissive")
        numbers = np.concatenate([part.numbers for part in parts])
        parts = [TablePart(whole, path.name, "line", numbers)]
    return RawTable(path.name, tuple(parts), tuple(rejects))


def _read_lines(file: BinaryIO, where: str) -> Iterator[tuple[int, bytes]]:
    """Read the lines of a file with their numbers; raise `FileFault` at one that is too long."""
    for number, line in enumerate(iter(partial(file.readline, MAX_LINE_BYTES + 1), b""), 1):
        if len(line) > MAX_LINE_BYTES:
            what, todo = f"a line is longer than {MAX_LINE_BYTES >> 20} MB", "split or drop the line"
            expected = "JSON Lines: one object per line"
            raise FileFault(what, where=f"{where} line {number}", expected=expected, todo=todo)
        yield number, line


def _build_json_reject(place: str, line: bytes, error: Exception) -> Reject:
    if isinstance(error, RecursionError):
        return Reject(place, "", "", "nested too deeply", line[:MAX_KEPT_BYTES].decode(errors="replace"))
    reason = "not a JSON object" if isinstance(error, msgspec.ValidationError) else "not JSON"
    return Reject(place, "", "", reason, line.decode().rstrip())


READERS: dict[str, Callable[[Path], RawTable | ParquetTable]] = {
    ".csv": _read_csv,
    ".parquet": ParquetTable.open,
    ".jsonl": _read_jsonl,
}
