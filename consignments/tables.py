"""Tables of consignments, outcomes, alerts and truth: read, checked, and turned into records and back.

A file at fault raises `FileFault`; a row at fault becomes a `Reject` and the others go on. All checks come from
`consignments.schema`, so a table accepts what the HTTP interface accepts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
from msgspec import Meta

from consignments.code_lists import decode_codes
from consignments.columns import TYPES
from consignments.errors import FileFault
from consignments.items import decode_items
from consignments.raw_tables import RawTable, wrap_frame
from consignments.records import Alert, Code, Consignment, Identifier, Outcome, Selector, Time
from consignments.rejects import Reject
from consignments.schema import Field, get_fields
from consignments.table_files import pause_garbage_collection, read_files
from consignments.table_writers import write_chunks, write_table
from consignments.timestamps import EPOCH, get_time_column_us
from consignments.validation import DTYPES, SEQUENCE, check_table

__all__ = [
    "HistoryUse",
    "ReadReport",
    "Reject",
    "ScoreRow",
    "SelectionRow",
    "Table",
    "build_column",
    "build_frame",
    "check_frame",
    "read_scores",
    "read_selection",
    "read_table",
    "refuse_rejects",
    "refuse_total_rejection",
    "to_alerts",
    "to_consignments",
    "to_outcomes",
    "to_records",
    "write_chunks",
    "write_rejects",
    "write_table",
]

CHUNK_ROWS = 500
"""So few that their values stay in the processor's cache."""
MAX_SHOWN_REASONS = 10
"""How many reasons the text of a report lists."""

FIRST_REASONS = 3
"""How many reasons one line of an error lists."""

RecordT = TypeVar("RecordT", bound=msgspec.Struct)
ConsignmentT = TypeVar("ConsignmentT", bound=Consignment)


HistoryUse = Literal["given", "none"]
"""Whether scores were computed with past consignments, or with those of their own table only."""


class ScoreRow(msgspec.Struct, frozen=True):
    """One row of a score table; reasons, where there are any, stay as they are."""

    consignment_id: Identifier
    score: Annotated[float, Meta(ge=0, le=1)]
    band: Code
    received_at: Time
    model_version: Code | None = None
    office: Code | None = None
    history: HistoryUse | None = None


class SelectionRow(msgspec.Struct, frozen=True):
    """One row of a selection table."""

    consignment_id: Identifier
    selected_by: Selector
    selection_probability: Annotated[float, Meta(gt=0, le=1)]
    office: Code | None = None
    selected_at: Time | None = None


@dataclass(frozen=True)
class ReadReport:
    """What was read.

    Attributes
    ----------
    name : str
    rows : int
        Rows in the table, rejected and repeated ones included.
    rejected : int
        Rows left out.
    reasons : dict
        `column: reason` to the number of rows, most frequent first; a row with two faults counts for both.
    repeats : int
        Outcome rows identical to an earlier one; they change nothing and were dropped.
    unknown_columns : tuple of str
        Columns that the record does not have; they were kept. `items.NAME`, an unknown field of items, was dropped.
    missing : dict
        Column of the record to the share of kept rows without a value, 0 to 1.
    """

    name: str
    rows: int
    rejected: int
    reasons: dict[str, int]
    repeats: int
    unknown_columns: tuple[str, ...]
    missing: dict[str, float]

    @property
    def all_rejected(self) -> bool:
        """Whether rows were given and none is left."""
        return 0 < self.rows == self.rejected

    def to_text(self) -> str:
        """Put the report into words."""
        lines = [f"{self.name}: {self.rows:,} rows, {self.rejected:,} rejected"]
        lines += [f"  {rows:,} x {reason}" for reason, rows in list(self.reasons.items())[:MAX_SHOWN_REASONS]]
        hidden = len(self.reasons) - MAX_SHOWN_REASONS
        lines += [f"  and {hidden} further reasons"] if hidden > 0 else []
        lines += [f"  {self.repeats:,} repeated outcome rows changed nothing"] if self.repeats else []
        lines += [f"  unknown columns: {', '.join(self.unknown_columns)}"] if self.unknown_columns else []
        never = [name for name, share in self.missing.items() if share == 1]
        some = sorted(
            ((name, share) for name, share in self.missing.items() if 0 < share < 1), key=_sort_by_share
        )
        lines += (
            [f"  missing in part: {', '.join(f'{name} {share:.0%}' for name, share in some)}"] if some else []
        )
        lines += [f"  never given: {', '.join(never)}"] if never else []
        return "\n".join(lines)

    def summarize_reasons(self) -> str:
        """Put the most frequent reasons into one line."""
        first = [f"{rows:,} x {reason}" for reason, rows in list(self.reasons.items())[:FIRST_REASONS]]
        hidden = len(self.reasons) - FIRST_REASONS
        return " | ".join([*first, f"{hidden} further reasons"] if hidden > 0 else first)

    def to_dict(self) -> dict[str, Any]:
        """Give the report as plain values, for JSON."""
        return asdict(self)


def _sort_by_share(gap: tuple[str, float]) -> float:
    return -gap[1]


@dataclass(frozen=True)
class Table:
    """A checked table.

    Attributes
    ----------
    frame : DataFrame
        All columns of the record in its order, then `sequence` (int64) and `cancelled_sequence` (missing where not
        cancelled) where there are such, then unknown columns.
        Strings are `str`, times datetime64[us, UTC], dates date32, numbers float64, `items` JSON text.
    report : ReadReport
    rejects : tuple of Reject
    """

    frame: pd.DataFrame
    report: ReadReport
    rejects: tuple[Reject, ...]


def read_table(
    path: Path | str, record: type[msgspec.Struct], *, rejects: Path | None = None, strict: bool = False
) -> Table:
    """Read and check a table.

    Parameters
    ----------
    path : Path
        `.csv`, `.parquet` or `.jsonl`, or a directory of Parquet files.
    record : type
        What a row is; a consignment type with declared columns reads those too.
    rejects : Path, optional
        Where the rows at fault are written, with their reasons. The file is replaced: a verb that reads several
        tables gathers `Table.rejects` and calls `write_rejects` once.
    strict : bool
        Any row at fault is a failure.

    Raises
    ------
    FileFault
        Where the file cannot be used as a whole, or `strict` and a row is at fault.

    Examples
    --------
    >>> print(read_table("outcomes.csv", Outcome).report.to_text())  # doctest: +SKIP
    outcomes.csv: 1,200 rows, 1 rejected
      1 x known_at: before inspected_at
    """
    table = _check_table(read_files(Path(path)), record)
    if rejects is not None:
        write_rejects(table.rejects, rejects)
    if strict:
        refuse_rejects(table.rejects)
    return table


def check_frame(
    frame: pd.DataFrame, record: type[msgspec.Struct], *, strict: bool = False, name: str = "table"
) -> Table:
    """Check a frame in memory by the rules of `read_table`.

    Parameters
    ----------
    frame : DataFrame
        Of any dtypes, mixed columns too; its index does not matter.
    record : type
    strict : bool
        Any row at fault is a failure.
    name : str
        What messages call it.
    """
    table = _check_table(wrap_frame(frame, name), record)
    if strict:
        refuse_rejects(table.rejects)
    return table


def read_scores(path: Path | str) -> pd.DataFrame:
    """Read a score table as `npsrisk score` writes it; no row may be at fault."""
    return read_table(path, ScoreRow, strict=True).frame


def read_selection(path: Path | str) -> pd.DataFrame:
    """Read a selection table as `npsrisk select` writes it; no row may be at fault."""
    return read_table(path, SelectionRow, strict=True).frame


def write_rejects(rejects: Iterable[Reject], path: Path) -> None:
    """Write what was left out: place, identifier, column, reason, and the row as it was given.

    Parameters
    ----------
    rejects : iterable of Reject
        None at all gives an empty table.
    path : Path
        `.csv`, `.jsonl` or `.parquet`.
    """
    rows = [asdict(reject) for reject in rejects]
    write_table(pd.DataFrame(rows, columns=list(Reject.__slots__), dtype="str"), path)


def _check_table(given: RawTable, record: type[msgspec.Struct]) -> Table:
    checked = check_table(given, record)
    frame = checked.frame
    report = ReadReport(
        name=given.name,
        rows=sum(len(part.table) for part in given.parts) + len(given.rejects),
        rejected=len(checked.rejects),
        reasons=checked.reasons,
        repeats=checked.repeats,
        unknown_columns=checked.unknown,
        missing={
            field.name: float(frame[field.name].isna().mean()) if len(frame) else 0.0
            for field in get_fields(record)
        },
    )
    return Table(frame, report, checked.rejects)


def refuse_rejects(rejects: Sequence[Reject]) -> None:
    """Raise `FileFault` where a row is at fault."""
    if rejects:
        more = f" and {len(rejects) - 1} more" if len(rejects) > 1 else ""
        raise FileFault(
            f"rows at fault, where none may be: {rejects[0]}{more}", todo="correct them or drop them"
        )


def refuse_total_rejection(report: ReadReport, *, todo: str) -> None:
    """Raise `FileFault` if rows were given and every one was rejected.

    Parameters
    ----------
    report : ReadReport
    todo : str
        Where the rejects are, or how to see them.

    Examples
    --------
    >>> report = ReadReport("new.csv", 2, 2, {"channel: 'sea'": 2}, 0, (), {})
    >>> refuse_total_rejection(report, todo="the rejects are in rejects.csv")
    Traceback (most recent call last):
        ...
    consignments.errors.FileFault: new.csv: no row is left; got 2 of 2 rows rejected (2 x channel: 'sea'); the rejects are in rejects.csv
    """
    if report.all_rejected:
        raise FileFault(
            "no row is left",
            where=report.name,
            got=f"{report.rejected:,} of {report.rows:,} rows rejected ({report.summarize_reasons()})",
            todo=todo,
        )


# --- records ----------------------------------------------------------------------------------------------------------


def to_consignments(frame: pd.DataFrame, record: type[ConsignmentT]) -> list[ConsignmentT]:
    """Turn rows of a checked frame into consignments.

    Parameters
    ----------
    frame : DataFrame
        As `read_table` gives it, or a slice of it: a slice at a time keeps memory small.
    record : type
        `Consignment`, or the type with declared columns.
    """
    return to_records(frame, record)


def to_outcomes(frame: pd.DataFrame) -> list[Outcome]:
    """Turn rows of a checked frame into outcomes."""
    return to_records(frame, Outcome)


def to_alerts(frame: pd.DataFrame) -> list[Alert]:
    """Turn rows of a checked frame into alerts."""
    return to_records(frame, Alert)


def to_records(frame: pd.DataFrame, record: type[RecordT]) -> list[RecordT]:
    """Turn rows of a checked frame into records; missing values, and columns that are not there, are None."""
    records: list[RecordT] = []
    with pause_garbage_collection():
        columns = [(field, _arrow_column(frame, field)) for field in get_fields(record)]
        for start in range(0, len(frame), CHUNK_ROWS):
            values = [_convert_values(column.slice(start, CHUNK_ROWS), field) for field, column in columns]
            records += map(record, *values)
    return records


def _arrow_column(frame: pd.DataFrame, field: Field) -> Any:
    if field.name not in frame:
        return pa.nulls(len(frame))
    if field.kind == "time":
        return pa.array(get_time_column_us(frame, field.name).astype("timedelta64[us]"))
    return pa.array(frame[field.name], from_pandas=True)


def _convert_values(column: Any, field: Field) -> list[Any]:
    if field.kind == "time":
        since = column.to_numpy(zero_copy_only=False).tolist()
        return [None if delta is None else EPOCH + delta for delta in since]
    if field.kind == "date":
        days: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
        return days
    values: list[Any] = column.to_pylist()
    decode = {"items": decode_items, "codes": decode_codes}.get(field.kind)
    if decode is not None:
        return [None if text is None else decode(text) for text in values]
    return values


def build_frame(records: Sequence[msgspec.Struct], record: type[msgspec.Struct]) -> pd.DataFrame:
    """Turn records into a canonical frame.

    Parameters
    ----------
    records : sequence of record
    record : type
        Their type.

    Returns
    -------
    DataFrame
        As `read_table` gives it. Where the identifiers of consignments repeat, a later one amends an earlier one,
        and `sequence` keeps their order.
    """
    columns = {field.name: build_column(records, field) for field in get_fields(record)}
    frame: pd.DataFrame = pa.table(columns).to_pandas(types_mapper=DTYPES.get)
    if issubclass(record, Consignment) and frame["consignment_id"].duplicated().any():
        frame[SEQUENCE] = np.arange(1, len(frame) + 1)
    return frame


def build_column(records: Sequence[msgspec.Struct], field: Field) -> Any:
    """Give one field of records as an Arrow array of its canonical type."""
    values = [getattr(record, field.name) for record in records]
    if field.kind in ("items", "codes"):
        values = [None if items is None else msgspec.json.encode(items).decode() for items in values]
    return pa.array(values, type=TYPES[field.kind], from_pandas=True)
