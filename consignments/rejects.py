"""Rejects of tables: the invalid rows with their reasons, which are returned, written to a file, or refused."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from consignments.columns import BAD_TEXT, SHOWN_VALUE, combine_masks, format_value, get_type_family
from consignments.errors import FileFault, Reject, RejectLimit
from consignments.files.raw_tables import TablePart
from consignments.files.table_writers import write_table
from consignments.records import get_fields
from consignments.validation import FieldFault

REJECT_ROWS = 1_000
"""Invalid rows that are converted at a time."""


def build_rejects(
    part: TablePart, faults: Sequence[FieldFault], record: type[msgspec.Struct], limit: RejectLimit
) -> list[Reject]:
    """Build the rejects of the invalid rows of a part, in order; raise `FileFault` if they exceed a limit."""
    fields = get_fields(record)
    hidden = {field.name for field in fields if field.personal or field.kind == "items"}
    bad = np.flatnonzero(combine_masks((fault.rows for fault in faults), len(part.table)))
    rejects: list[Reject] = []
    for begin in range(0, len(bad), REJECT_ROWS):
        rows = bad[begin : begin + REJECT_ROWS]
        built = []
        for row, given in zip(rows.tolist(), _list_rows(part.table.take(rows)), strict=True):
            mine = [fault for fault in faults if fault.rows[row]]
            reject = Reject(
                place=part.locate_row(row),
                identifier=format_value(given.get(fields[0].name)) or "",
                column=", ".join(fault.column for fault in mine),
                reason="; ".join(
                    fault.reason + _format_shown_value(given, fault.column, hidden) for fault in mine
                ),
                row=msgspec.json.encode(
                    {name: value for name, value in given.items() if value is not None}, enc_hook=str
                ).decode(),
            )
            built.append(reject)
        limit.add(built, part.name)
        rejects += built
    return rejects


def _list_rows(table: Any) -> list[dict[str, Any]]:
    """Convert rows as they were given to values; a text that is not UTF-8 is shown with replaced bytes."""
    columns = [[_show_value(value) for value in column] for column in table.columns]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def _show_value(value: Any) -> Any:
    try:
        return value.as_py()
    except UnicodeDecodeError:
        is_text = get_type_family(value.type) == "text"
        return value.as_buffer().to_pybytes().decode(errors="replace") if is_text else BAD_TEXT


def _format_shown_value(given: dict[str, Any], column: str, hidden: set[str]) -> str:
    value = None if column in hidden else format_value(given.get(column))
    return f", got {value!r}" if value and SHOWN_VALUE.fullmatch(value) else ""


def write_rejects(rejects: Iterable[Reject], path: Path) -> None:
    """Write the rejects to a table: place, identifier, column, reason, and the original row."""
    rows = [asdict(reject) for reject in rejects]
    write_table(pd.DataFrame(rows, columns=list(Reject.__slots__), dtype="str"), path)


def refuse_rejects(rejects: Sequence[Reject]) -> None:
    """Raise `FileFault` if there is any reject."""
    if rejects:
        more = f" and {len(rejects) - 1} more" if len(rejects) > 1 else ""
        raise FileFault(
            f"invalid rows, and none is allowed here: {rejects[0]}{more}", todo="correct or drop these rows"
        )
