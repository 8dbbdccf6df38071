"""The columns of all tables, from the record types: name, type, required, personal, meaning, allowed values."""

from typing import TYPE_CHECKING, Any

from cli.reference.page import ReferenceTable

if TYPE_CHECKING:
    import msgspec

    from consignments.records import Field

KIND_NAMES = {
    "string": "text",
    "number": "number",
    "time": "time",
    "date": "date",
    "items": "list of items",
    "codes": "list of codes",
    "integer": "whole number",
}
INTRODUCTION = """\
# Columns of all tables

This page is for everyone who prepares or reads tables. After reading it you know each column, its type, and the allowed values.

`npsrisk columns --markdown` writes this page from the code. Do not edit it.

A time is ISO 8601; without a zone it is UTC. A required column must exist and have a value in every row. Personal columns are
encrypted in the service's log, and do not appear in logs, MLflow or errors. A model may [declare further columns](settings.md)."""


def build_column_reference() -> list[ReferenceTable]:
    """Build the reference of all tables that npsrisk reads and writes."""
    from consignments.records import (
        Alert,
        Consignment,
        Item,
        LogColumns,
        Outcome,
        ScoreRow,
        SelectionRow,
        Truth,
    )

    return [
        _build_table("consignments", Consignment),
        _build_table("items", Item, "Fields of each member of the column `items`. "),
        _build_table("outcomes", Outcome),
        _build_table("alerts", Alert),
        _build_table("truth", Truth),
        _build_table("sequence", LogColumns),
        _build_table("scores", ScoreRow, "Written by `npsrisk score` and read by `npsrisk select`. "),
        _build_table("selection", SelectionRow, "Written by `npsrisk select`. "),
    ]


def _build_table(name: str, record: "type[msgspec.Struct]", before: str = "") -> ReferenceTable:
    from consignments.records import get_fields

    meaning = before + (record.__doc__ or "").split("\n", 1)[0]
    return ReferenceTable(name, meaning, [_describe_field(field) for field in get_fields(record)])


def _describe_field(field: "Field") -> dict[str, Any]:
    limits = [
        ", ".join(field.choices),
        "" if field.lowest is None else f"at least {field.lowest:,g}",
        "" if field.above is None else f"above {field.above:,g}",
        "" if field.highest is None else f"at most {field.highest:,g}",
        "" if field.max_length is None else f"at most {field.max_length:,} characters",
    ]
    return {
        "column": field.name,
        "type": KIND_NAMES[field.kind],
        "required": field.required,
        "personal": field.personal,
        "meaning": field.meaning,
        "allowed": "; ".join(part for part in limits if part),
    }
