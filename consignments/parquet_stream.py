"""Large Parquet tables of consignments: checked once, then read in chunks, so that they need not fit in memory.

A first pass checks every row by the rules of `consignments.tables` and keeps the columns for the order of history. So all
invalid rows are known before the others are processed, and the chunks contain valid rows only.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from consignments.columns import Mask
from consignments.errors import Reject
from consignments.files.parquet_files import ParquetTable
from consignments.records import Consignment
from consignments.tables import ReadReport, finish_check
from consignments.validation import (
    CANCELLED_SEQUENCE,
    SEQUENCE,
    PartCheck,
    check_part,
    concat_rows,
    keep_rows,
    refuse_missing_columns,
    refuse_rejects,
    to_frame,
)

CHUNK_ROWS = 10_000
ORDER_COLUMNS = ("consignment_id", "received_at", "cancelled_at", "issued_at", SEQUENCE, CANCELLED_SEQUENCE)
"""Columns of a consignment that determine the order of history."""
Progress = Callable[[str, int, int], None]


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
    path: Path,
    record: type[Consignment],
    *,
    strict: bool = False,
    piece_rows: int = CHUNK_ROWS,
    progress: Progress | None = None,
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
    if strict:
        refuse_rejects(rejects)
    return TableStream(
        path=path,
        report=report,
        rejects=rejects,
        _table=table,
        _good=np.concatenate([each.good for each in checks]),
        _piece_rows=piece_rows,
        _order=to_frame(pa.concat_tables([each.kept for each in checks])),
    )
