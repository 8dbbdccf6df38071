"""Small files of tables, and what is read of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from consignments.columns import ParsedColumn, read_column
from consignments.files.table_files import read_files
from consignments.files.table_writers import write_table
from consignments.records import Alert, Consignment, Field, Outcome
from consignments.tables import build_frame
from features.batch import Tables


def build_tables(
    consignments: Sequence[Consignment],
    outcomes: Sequence[Outcome] = (),
    alerts: Sequence[Alert] | None = None,
) -> Tables:
    told = None if alerts is None else build_frame(list(alerts), Alert)
    return Tables(build_frame(list(consignments), Consignment), build_frame(list(outcomes), Outcome), told)


def write_records(path: Path, records: Sequence[Any], record: Any = None) -> None:
    """Write records as a table; of none, the type must be given."""
    write_table(build_frame(list(records), record or type(records[0])), path)


def names_and_rows(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    parts = list(read_files(path).parts)
    return parts[0].table.column_names, [row for part in parts for row in part.table.to_pylist()]


def read_kind(column: Any, kind: Any = "items") -> ParsedColumn:
    """Read a column of a field without limits."""
    return read_column(column, Field("", kind))


def written(path: Path, data: bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def parquet_file(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), path)
    return path
