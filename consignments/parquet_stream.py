"""Large Parquet tables of consignments: checked once, then read in chunks, so that they need not fit in memory.

A first pass checks every row by the rules of `consignments.tables` and keeps the columns for the order of history. So all
invalid rows are known before the others are processed, and the chunks contain valid rows only.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from consignments.column_doubts import ColumnDoubt, count_doubts, select_doubts
from consignments.columns import Mask, combine_faults, normalize_array, normalize_names
from consignments.files.parquet_files import ParquetTable
from consignments.files.raw_tables import TablePart
from consignments.records import Consignment, create_consignment_type
from consignments.rejects import Reject, RejectLimit
from consignments.schema import get_fields
from consignments.tables import ReadReport, refuse_rejects
from consignments.validation import (
    CANCELLED_SEQUENCE,
    SEQUENCE,
    FieldFault,
    build_rejects,
    check_rows,
    count_reasons,
    create_repeat_fault,
    keep_rows,
    mask_repeats,
    may_amend,
    refuse_missing_columns,
    split_declared_columns,
    to_frame,
)
from consignments.workers import WorkerPool

CHUNK_ROWS = 10_000
CHECK_ROWS = 100_000
"""Rows that a process checks at a time, or more if row groups are larger."""
MIN_CHECK_ROWS = 500_000
"""Number of rows from which on several processes check them. Fewer rows take less time than the start of the processes."""
ORDER_COLUMNS = ("consignment_id", "received_at", "cancelled_at", "issued_at", SEQUENCE, CANCELLED_SEQUENCE)
"""Columns of a consignment that determine the order of history."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class TableChunk:
    """A chunk of unconverted rows of a table, with a mask of the valid ones; cheap to pass to another process.

    Attributes
    ----------
    parts : tuple of TablePart
    columns : tuple of str
        Columns of the whole table.
    good : bool array, (rows,)
        Mask of the valid rows.
    """

    parts: tuple[TablePart, ...]
    columns: tuple[str, ...]
    good: Mask

    def __len__(self) -> int:
        """Return the number of valid rows."""
        return int(self.good.sum())

    def to_frame(self, record: type[Consignment]) -> pd.DataFrame:
        """Return the valid rows as a frame like that of `read_table`, given the record type they were checked with."""
        return to_frame(self.to_table(record))

    def to_table(self, record: type[Consignment]) -> Any:
        """Return the valid rows as an Arrow table in canonical form."""
        return keep_rows(check_rows(self.parts, self.columns, record).table, self.good)


@dataclass(frozen=True)
class TableSlice:
    """Rows of a checked table that are read from its files when they are needed; cheap to pass to another machine.

    Attributes
    ----------
    table : ParquetTable
    first, last : int
        Rows of the files, with the invalid ones; `last` is not included.
    good : bool array, (last - first,)
        Mask of the valid rows.
    """

    table: ParquetTable
    first: int
    last: int
    good: Mask

    def __len__(self) -> int:
        """Return the number of valid rows."""
        return int(self.good.sum())

    def to_frame(self, record: type[Consignment]) -> pd.DataFrame:
        """Return the valid rows, see `TableChunk.to_frame`."""
        return self._read_chunk().to_frame(record)

    def to_table(self, record: type[Consignment]) -> Any:
        """Return the valid rows, see `TableChunk.to_table`."""
        return self._read_chunk().to_table(record)

    def _read_chunk(self) -> TableChunk:
        parts = tuple(self.table.read_rows(self.first, self.last))
        return TableChunk(parts, self.table.columns, self.good)


@dataclass
class TableStream:
    """A checked table that is read again in chunks.

    Attributes
    ----------
    path : Path
    report : ReadReport
    rejects : tuple of Reject
    """

    path: Path
    report: ReadReport
    rejects: tuple[Reject, ...]
    _table: ParquetTable
    _good: Mask
    _piece_rows: int
    _order: pd.DataFrame | None
    _places: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Return the number of valid rows."""
        return self.report.rows - self.report.rejected

    def take_order(self) -> pd.DataFrame:
        """Return the order columns of the valid rows, once; the stream then releases their memory.

        Raises
        ------
        RuntimeError
            The order was already taken.
        """
        if self._order is None:
            raise RuntimeError(f"the order of {self.path.name} was already taken; read the table again")
        order, self._order = self._order, None
        return order

    def read_chunks(self) -> Iterator[TableChunk]:
        """Read the table again, in order.

        Raises
        ------
        FileFault
            The table can no longer be read.
        """
        start = 0
        for parts in self._table.read_chunks(self._piece_rows):
            end = start + sum(len(part.table) for part in parts)
            yield TableChunk(parts, self._table.columns, self._good[start:end])
            start = end

    def slice_rows(self, first: int, last: int) -> TableSlice:
        """Return the valid rows from `first` up to `last`, which is not included."""
        if self._places is None:
            self._places = np.flatnonzero(self._good)
        places = self._places[first:last]
        begin, end = (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)
        return TableSlice(self._table, begin, end, self._good[begin:end])


def stream_table(
    path: Path,
    record: type[Consignment],
    *,
    strict: bool = False,
    piece_rows: int = CHUNK_ROWS,
    jobs: int = 1,
    progress: Progress | None = None,
) -> TableStream:
    """Check a Parquet table as `read_table` does, with one chunk in memory at a time.

    Parameters
    ----------
    path : Path
        A `.parquet` file, or a directory of them.
    record : type
        `Consignment`, or the type with declared columns.
    strict : bool
        Raise an error if any row is invalid.
    piece_rows : int
        Minimum number of rows of a chunk; it affects only the use of memory.
    jobs : int
        Number of processes that check the rows of a large table.
    progress : callable, optional

    Raises
    ------
    FileFault
        The same as of `read_table`.
    """
    table = ParquetTable.open(path)
    refuse_missing_columns(table.columns, record, table.name)
    looks: list[_ChunkCheck] = []
    done = 0
    sections = list(table.split(CHECK_ROWS))
    with WorkerPool(jobs, table.rows, MIN_CHECK_ROWS) as workers:
        for found in workers.map(_SectionCheck.from_record(record, piece_rows), sections):
            looks += found
            done += sum(look.rows for look in found)
            if progress is not None:
                progress("check", done, table.rows)
    if not may_amend(record, table.columns):
        _mark_repeats(looks)
    rejects: list[Reject] = []
    limit = RejectLimit()
    if any(look.faults for look in looks):
        pieces = chain.from_iterable(section.read_chunks(piece_rows) for section in sections)
        for look, parts in zip(looks, pieces, strict=True):
            rejects += build_rejects(parts, look.faults, record, limit)
            if look.repeated is not None:
                gone = keep_rows(check_rows(parts, table.columns, record).table, look.repeated)
                look.given = look.given - _count_given(gone, record)
    if strict:
        refuse_rejects(rejects)
    return TableStream(
        path=path,
        report=_build_report(table, looks, record),
        rejects=tuple(rejects),
        _table=table,
        _good=np.concatenate([~look.bad for look in looks]),
        _piece_rows=piece_rows,
        _order=to_frame(pa.concat_tables([look.order for look in looks])),
    )


@dataclass(frozen=True)
class _SectionCheck:
    """The first pass over the chunks of a section of a table, in this process or another.

    Attributes
    ----------
    numeric, category : tuple of str
        Declared columns: another process builds the record type from them.
    piece_rows : int
    """

    numeric: tuple[str, ...]
    category: tuple[str, ...]
    piece_rows: int

    @classmethod
    def from_record(cls, record: type[Consignment], piece_rows: int) -> "_SectionCheck":
        return cls(*split_declared_columns(record), piece_rows)

    def __call__(self, section: ParquetTable) -> list["_ChunkCheck"]:
        record = create_consignment_type(self.numeric, self.category)
        chunks = section.read_chunks(self.piece_rows)
        return [_ChunkCheck.from_parts(parts, section.columns, record) for parts in chunks]


@dataclass
class _ChunkCheck:
    """The result of the first pass over a chunk.

    Attributes
    ----------
    rows : int
    faults : list of FieldFault
    order : Arrow table
        Order columns of the valid rows.
    given : int64 array, (fields,)
        Number of valid rows with a value, by field of the record.
    unknown : tuple of str
    doubts : list of ColumnDoubt
    repeated : bool array, (rows,), or None
        Mask of the rows whose identifier occurred before.
    """

    rows: int
    faults: list[FieldFault]
    order: Any
    given: NDArray[np.int64]
    unknown: tuple[str, ...]
    doubts: list[ColumnDoubt]
    repeated: Mask | None = None

    @classmethod
    def from_parts(
        cls, parts: Sequence[TablePart], columns: Sequence[str], record: type[Consignment]
    ) -> "_ChunkCheck":
        rows = check_rows(parts, columns, record)
        good = keep_rows(rows.table, ~rows.bad)
        return cls(
            len(rows.table),
            rows.faults,
            good.select([name for name in ORDER_COLUMNS if name in good.column_names]),
            _count_given(good, record),
            rows.unknown,
            rows.doubts,
        )

    @property
    def bad(self) -> Mask:
        return combine_faults([(fault.reason, fault.rows) for fault in self.faults], self.rows)

    def drop_repeats(self, first: Mask) -> None:
        """Drop valid rows whose identifier occurred before."""
        self.repeated = np.zeros(self.rows, dtype=bool)
        self.repeated[~self.bad] = ~first
        self.faults = [*self.faults, create_repeat_fault("consignment_id", self.repeated)]
        self.order = keep_rows(self.order, first)


def _count_given(table: Any, record: type[Consignment]) -> NDArray[np.int64]:
    return np.array([len(table) - table.column(field.name).null_count for field in get_fields(record)])


def _mark_repeats(looks: Sequence[_ChunkCheck]) -> None:
    """Find the rows whose identifier occurs in an earlier valid row of any chunk."""
    names = pa.chunked_array(
        [normalize_names(normalize_array(look.order.column("consignment_id"))) for look in looks]
    )
    first = ~mask_repeats(names.combine_chunks())
    start = 0
    for look in looks:
        end = start + len(look.order)
        if not first[start:end].all():
            look.drop_repeats(first[start:end])
        start = end


def _build_report(table: ParquetTable, looks: Sequence[_ChunkCheck], record: type[Consignment]) -> ReadReport:
    reasons: Counter[str] = Counter()
    for look in looks:
        reasons.update(count_reasons(look.faults))
    warnings, examples = count_doubts(
        doubt for look in looks for doubt in select_doubts(look.doubts, ~look.bad)
    )
    kept = sum(len(look.order) for look in looks)
    missing = 1 - np.sum([look.given for look in looks], axis=0) / max(kept, 1)
    return ReadReport(
        name=table.name,
        rows=table.rows,
        rejected=table.rows - kept,
        reasons=dict(reasons.most_common()),
        repeats=0,
        unknown_columns=tuple(dict.fromkeys(name for look in looks for name in look.unknown)),
        missing=dict(
            zip((field.name for field in get_fields(record)), (missing * (kept > 0)).tolist(), strict=True)
        ),
        warnings=warnings,
        examples=examples,
    )
