"""The columns of all tables, from the record types: name, type, required, personal, meaning, allowed values."""

from typing import TYPE_CHECKING, Any, NamedTuple

from cli.reference.markdown import format_entry, format_markdown_table

if TYPE_CHECKING:
    import msgspec

    from consignments.schema import Field

KIND_NAMES = {
    "string": "text",
    "number": "number",
    "time": "time",
    "date": "date",
    "items": "list of items",
    "codes": "list of codes",
    "sequence": "whole number",
}
HEADINGS = ("column", "type", "required", "personal", "meaning", "allowed values")
INTRODUCTION = """\
# Columns of all tables

This page is for everyone who prepares or reads tables. After reading it you know each column, its type, and the allowed values.

`npsrisk columns --markdown` writes this page from the code. Do not edit it.

A time is ISO 8601; without a zone it is UTC. A required column must exist and have a value in every row. Personal columns are
encrypted in the service's log, and do not appear in logs, MLflow or errors. A model may [declare further columns](settings.md)."""


class TableReference(NamedTuple):
    """The reference of one table.

    Attributes
    ----------
    name : str
    meaning : str
    columns : tuple of dict
        Each with the keys `column`, `type`, `required`, `personal`, `meaning`, `allowed`.
    """

    name: str
    meaning: str
    columns: tuple[dict[str, Any], ...]


def build_column_reference() -> list[TableReference]:
    """Build the reference of all tables that npsrisk reads and writes."""
    from consignments.records import Alert, Consignment, Item, Outcome, Truth
    from consignments.tables import ScoreRow, SelectionRow

    return [
        _build_table("consignments", Consignment),
        _build_table("items", Item, "Fields of each member of the column `items`. "),
        _build_table("outcomes", Outcome),
        _build_table("alerts", Alert),
        _build_table("truth", Truth),
        TableReference("sequence", "Additional columns of tables from `npsrisk export`.", _list_sequences()),
        _build_table("scores", ScoreRow, "Written by `npsrisk score` and read by `npsrisk select`. "),
        _build_table("selection", SelectionRow, "Written by `npsrisk select`. "),
    ]


def format_columns_markdown(tables: list[TableReference]) -> str:
    """Format the reference as a page in Markdown."""
    parts = [INTRODUCTION]
    for table in tables:
        rows = [
            (
                f"`{row['column']}`",
                row["type"],
                "yes" if row["required"] else "",
                "yes" if row["personal"] else "",
                row["meaning"],
                row["allowed"],
            )
            for row in table.columns
        ]
        parts.append(f"## {table.name}\n\n{table.meaning}\n\n{format_markdown_table(HEADINGS, rows)}")
    return "\n\n".join(parts)


def format_columns_text(tables: list[TableReference]) -> str:
    """Format the reference for a terminal."""
    parts = []
    for table in tables:
        entries = [
            format_entry(
                row["column"],
                [
                    row["type"],
                    "required" if row["required"] else "",
                    "personal" if row["personal"] else "",
                    row["allowed"],
                ],
                row["meaning"],
            )
            for row in table.columns
        ]
        parts.append("\n".join([f"{table.name}: {table.meaning}", *entries]))
    return "\n\n".join(parts)


def _build_table(name: str, record: "type[msgspec.Struct]", before: str = "") -> TableReference:
    from consignments.schema import get_fields

    assert record.__doc__ is not None
    meaning = before + record.__doc__.split("\n", 1)[0]
    return TableReference(name, meaning, tuple(_describe_field(field) for field in get_fields(record)))


def _describe_field(field: "Field") -> dict[str, Any]:
    return {
        "column": field.name,
        "type": KIND_NAMES[field.kind],
        "required": field.required,
        "personal": field.personal,
        "meaning": field.meaning,
        "allowed": _describe_limits(field),
    }


def _describe_limits(field: "Field") -> str:
    parts = [
        ", ".join(field.choices),
        "" if field.lowest is None else f"at least {field.lowest:,g}",
        "" if field.above is None else f"above {field.above:,g}",
        "" if field.highest is None else f"at most {field.highest:,g}",
        "" if field.max_length is None else f"at most {field.max_length:,} characters",
    ]
    return "; ".join(part for part in parts if part)


def _list_sequences() -> tuple[dict[str, Any], ...]:
    """Describe the columns of sequence numbers, which belong to no record type."""
    from consignments.validation import CANCELLED_SEQUENCE, SEQUENCE, SEQUENCE_COLUMNS

    meanings = {
        SEQUENCE: "position in the service's log; it is the order of history in every table that has it",
        CANCELLED_SEQUENCE: "position in the log at which the consignment was cancelled",
    }
    return tuple(
        {
            "column": name,
            "type": KIND_NAMES["sequence"],
            "required": required,
            "personal": False,
            "meaning": meanings[name],
            "allowed": "",
        }
        for name, required in SEQUENCE_COLUMNS.items()
    )
