"""Tables of consignments, outcomes, alerts and truth: reading, validation, and conversion to records and back.

An invalid file raises `FileFault`; an invalid row becomes a `Reject`, and the other rows are processed. All checks come from
`consignments.records`, so tables and the HTTP interface accept the same values.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa

from consignments.columns import LIST_DECODERS, TYPES, Mask, convert_frame, encode_list, normalize_array
from consignments.doubts import RecordT
from consignments.errors import Reject
from consignments.files.parquet_files import ParquetTable
from consignments.files.raw_tables import RawTable, TablePart, refuse_bad_columns
from consignments.files.table_files import read_files
from consignments.files.table_writers import convert_lists, write_chunks, write_table
from consignments.records import Consignment, Field, LogColumns, ScoreRow, get_fields
from consignments.timestamps import EPOCH
from consignments.validation import (
    CANCELLED_SEQUENCE,
    SEQUENCE,
    PartCheck,
    ReadReport,
    check_part,
    concat_rows,
    finish_check,
    get_column,
    keep_rows,
    refuse_missing_columns,
    refuse_rejects,
    to_frame,
)
from consignments.workers import Progress, pause_garbage_collection

__all__ = ["Reject", "convert_lists", "write_chunks", "write_table"]

RECORD_ROWS = 1000
"""Rows of a checked table that are converted to records at a time."""


@dataclass(frozen=True)
class Table:
    """A checked table. `rows` has all columns of the record in its order, then sequence numbers if the table has them, then unknown columns.

    The types are those of `consignments.columns.TYPES`.
    """

    rows: pa.Table
    report: ReadReport
    rejects: tuple[Reject, ...]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Return the rows as a frame: strings are `str`, times datetime64[us, UTC], dates date32, numbers float64, lists JSON text."""
        return to_frame(self.rows)


def read_table(path: Path | str, record: type[msgspec.Struct], *, strict: bool = False) -> Table:
    """Read and check a table: a `.csv`, `.parquet` or `.jsonl` file, or a directory of Parquet files.

    A consignment type with declared columns reads those too. Raise `FileFault` if the table cannot be used as a whole, or if it is
    read strictly and any row is invalid.
    """
    return _check_table(read_files(Path(path)), record, strict)


def check_frame(
    frame: pd.DataFrame, record: type[msgspec.Struct], *, strict: bool = False, name: str = "table"
) -> Table:
    """Check a frame in memory by the rules of `read_table`.

    Parameters
    ----------
    frame : DataFrame
        The table; its columns may have any dtype and mixed values, and its index is ignored.
    record : type
    strict : bool
        Raise an error if any row is invalid.
    name : str
        Name of the table in messages.
    """
    given = convert_frame(frame)
    refuse_bad_columns(given.column_names, name)
    part = TablePart(given, name, "row", np.arange(1, len(given) + 1))
    return _check_table(RawTable(name, (part,)), record, strict)


def read_scores(path: Path | str) -> pd.DataFrame:
    """Read a score table written by `npsrisk score`; raise an error if a row is invalid."""
    return read_table(path, ScoreRow, strict=True).frame


def _check_table(given: RawTable | ParquetTable, record: type[msgspec.Struct], strict: bool) -> Table:
    refuse_missing_columns(given.columns, record, given.name)
    checks = [check_part(part, given.columns, record) for part in given.parts]
    report, rejects = finish_check(given, checks, given.parts, record)
    if strict:
        refuse_rejects(rejects)
    return Table(concat_rows([check.kept for check in checks]), report, rejects)


CHUNK_ROWS = 10_000
ORDER_COLUMNS = ("consignment_id", "received_at", "cancelled_at", "issued_at", SEQUENCE, CANCELLED_SEQUENCE)
"""Columns of a consignment that determine the order of history."""


@dataclass
class TableStream:
    """A checked table that is read again in chunks."""

    path: Path
    report: ReadReport
    rejects: tuple[Reject, ...]
    _table: ParquetTable
    _good: Mask
    _piece_rows: int
    _order: pd.DataFrame | None

    def __len__(self) -> int:
        """Return the number of valid rows."""
        return self.report.rows - self.report.rejected

    def take_order(self) -> pd.DataFrame:
        """Return the order columns of the valid rows, once; the stream then releases their memory."""
        if self._order is None:
            raise RuntimeError(f"the order of {self.path.name} was already taken; read the table again")
        order, self._order = self._order, None
        return order

    def read_chunks(self, record: type[Consignment]) -> Iterator[pa.Table]:
        """Read the valid rows again in canonical form, in order; raise `FileFault` if the file changed."""
        start, kept = 0, list[pa.Table]()
        for part in self._table.read_parts(self._piece_rows):
            check = check_part(part, self._table.columns, record)
            good = self._good[start : start + len(check.good)]
            kept.append(keep_rows(check.kept, good[check.good]))
            start += len(check.good)
            if sum(map(len, kept)) >= self._piece_rows:
                yield concat_rows(kept)
                kept = []
        if kept:
            yield concat_rows(kept)


def stream_table(
    path: Path, record: type[Consignment], *, piece_rows: int = CHUNK_ROWS, progress: Progress | None = None
) -> TableStream:
    """Check a Parquet table as `read_table` does, with one chunk in memory at a time."""
    table = ParquetTable.open(path)
    refuse_missing_columns(table.columns, record, table.name)
    checks: list[PartCheck] = []
    for part in table.read_parts(piece_rows):
        checks.append(check_part(part, table.columns, record, ORDER_COLUMNS))
        if progress is not None:
            progress("check", sum(len(each.good) for each in checks), table.rows)
    report, rejects = finish_check(table, checks, table.read_parts(piece_rows), record)
    return TableStream(
        path=path,
        report=report,
        rejects=rejects,
        _table=table,
        _good=np.concatenate([each.good for each in checks]),
        _piece_rows=piece_rows,
        _order=to_frame(pa.concat_tables([each.kept for each in checks])),
    )


@pause_garbage_collection()
def to_records(rows: pd.DataFrame | pa.Table, record: type[RecordT]) -> list[RecordT]:
    """Convert rows of a checked frame, or of an Arrow table in canonical form, or a slice of them to save memory, to records.

    Missing values and missing columns become None.
    """
    return list(iterate_records(rows if isinstance(rows, pa.Table) else to_arrow_rows(rows, record), record))


def iterate_records(table: pa.Table, record: type[RecordT]) -> Iterator[RecordT]:
    """Yield the rows of an Arrow table in canonical form as records, of which some are in memory at a time."""
    columns = [(each, normalize_array(table.column(each.name))) for each in get_fields(record)]
    for start in range(0, len(table), RECORD_ROWS):
        values = [_convert_values(column.slice(start, RECORD_ROWS), each) for each, column in columns]
        yield from map(record, *values)


def to_arrow_rows(frame: pd.DataFrame, record: type[msgspec.Struct]) -> pa.Table:
    """Convert rows of a checked frame to an Arrow table in canonical form, with further columns."""
    fields = (*get_fields(record), *(each for each in get_fields(LogColumns) if each.name in frame))
    given, kinds = convert_frame(frame), {field.name: TYPES[field.kind] for field in fields}
    own = {name: normalize_array(get_column(given, name, kind)).cast(kind) for name, kind in kinds.items()}
    return pa.table(own | {name: given.column(name) for name in given.column_names if name not in own})


def _convert_values(column: Any, field: Field) -> list[Any]:
    if field.kind == "time":
        since = column.cast(pa.int64()).cast(pa.duration("us")).to_numpy(zero_copy_only=False).tolist()
        return [None if delta is None else EPOCH + delta for delta in since]
    values: list[Any] = (
        column.to_numpy(zero_copy_only=False).tolist() if field.kind == "date" else column.to_pylist()
    )
    decode = LIST_DECODERS.get(field.kind)
    return values if decode is None else [None if text is None else decode(text) for text in values]


def build_frame(records: Sequence[msgspec.Struct], record: type[msgspec.Struct]) -> pd.DataFrame:
    """Convert records of one type to a frame like that of `read_table`.

    If identifiers of consignments repeat, a later one amends an earlier one, and `sequence` gives their order.
    """
    frame = to_frame(build_rows(records, get_fields(record)))
    if issubclass(record, Consignment) and frame["consignment_id"].duplicated().any():
        frame[SEQUENCE] = np.arange(1, len(frame) + 1)
    return frame


def build_rows(records: Sequence[msgspec.Struct], fields: Sequence[Field]) -> pa.Table:
    """Build an Arrow table in canonical form from some fields of records."""
    return pa.table({each.name: _collect_values(records, each) for each in fields})


def _collect_values(records: Sequence[msgspec.Struct], field: Field) -> Any:
    values = [getattr(record, field.name) for record in records]
    if field.kind in LIST_DECODERS:
        values = [None if value is None else encode_list(value).decode() for value in values]
    return pa.array(values, TYPES[field.kind])
