"""The tables of a reference, built from the types that check what they describe."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any, Literal, NamedTuple, get_args, get_origin

import msgspec
from pydantic.fields import FieldInfo

from consignments import records
from consignments.records import Field, describe_type, get_fields
from models.signatures.keys import PASSPHRASE_VARIABLE
from operation.exchange.receiving import API_KEY_VARIABLE
from serving.process.settings import SETTINGS_VARIABLE, RateLimit, Settings
from training.config import DESCRIPTIONS, TrainConfig

MAX_WIDTH = 110
INDENT = " " * 6
HEADINGS = {"name": "setting", "kind": "type", "allowed": "allowed values"}
"""Headings of the keys of a row that have another one."""
COLUMN_INTRODUCTION = """\
# Columns of all tables

This page is for everyone who prepares or reads tables. After reading it you know each column, its type, and the allowed values.

`npsrisk columns --markdown` writes this page from the code. Do not edit it.

A time is ISO 8601; without a zone it is UTC. A required column must exist and have a value in every row. Personal columns are
encrypted in the service's log, and do not appear in logs, MLflow or errors. A model may [declare further columns](settings.md)."""
SETTING_INTRODUCTION = """\
# Settings

This page is for data scientists and operators. After reading it you know each setting, its default, and the allowed values.

`npsrisk config --markdown` writes this page from the code. Do not edit it."""
TRAINING_TEXT = """\
`npsrisk train --config FILE.toml` reads these settings. A setting `split.test_days` stands in the table `[split]` of the file. What a
file does not name keeps its default. `npsrisk config --file FILE.toml` checks a file and shows what differs from the defaults."""
ENVIRONMENT_TEXT = """\
These are environment variables. `NPSRISK_SETTINGS` can name a file with lines of `NAME=value`; the environment has priority over it."""
KIND_NAMES = {"string": "text", "integer": "whole number", "items": "list of items", "codes": "list of codes"}
"""Names of the kinds of columns whose name is another."""
NAMES_OF_TYPES: dict[Any, str] = {
    **{msgspec.inspect.IntType: "whole number", msgspec.inspect.FloatType: "number"},
    **{msgspec.inspect.StrType: "text", msgspec.inspect.DateType: "date", RateLimit: "rate"},
    **{int: "whole number", float: "number", str: "text", bool: "true or false", Path: "path"},
}
RECORDS: dict[str, type[msgspec.Struct]] = {
    "consignments": records.Consignment,
    "items": records.Item,
    "outcomes": records.Outcome,
    "alerts": records.Alert,
    "truth": records.Truth,
    "sequence": records.LogColumns,
    "scores": records.ScoreRow,
    "selection": records.SelectionRow,
}
"""The tables that npsrisk reads and writes."""
LIMIT_WORDS = {
    **{"ge": "at least", "gt": "above", "le": "at most", "lt": "below"},
    **{"lowest": "at least", "above": "above", "highest": "at most"},
}
"""Words of the limits of a setting, by its constraint, and of a column, by the name in `Field`."""


class ReferenceTable(NamedTuple):
    """A table of a reference. The first value of a row is the name; `meaning` stands below it on a terminal."""

    title: str
    text: str
    rows: Sequence[Mapping[str, Any]]

    def format_markdown(self) -> str:
        """Format the table under its heading."""
        headings = [HEADINGS.get(key, key) for key in self.rows[0]]
        cells = [[_format_cell(key, value) for key, value in row.items()] for row in self.rows]
        lines = ["| " + " | ".join(line) + " |" for line in (headings, *cells)]
        lines.insert(1, "|" + "---|" * len(headings))
        return "\n".join([f"## {self.title}\n\n{self.text}\n", *lines])

    def list_entries(self) -> list[str]:
        """List the rows for a terminal: the name and its facts, and below them the meaning."""
        width = min(shutil.get_terminal_size().columns, MAX_WIDTH)
        entries = []
        for row in self.rows:
            name, *others = (key for key in row if key != "meaning")
            facts = "; ".join(fact for key in others if (fact := _format_fact(key, row[key])))
            meaning = fill(row["meaning"], width, initial_indent=INDENT, subsequent_indent=INDENT)
            entries.append(f"  {row[name]}  ({facts})\n{meaning}")
        return entries


def format_page(introduction: str, tables: Sequence[ReferenceTable], titles: Sequence[str] | None) -> str:
    """Format tables as a page in Markdown or, with titles, as lists for a terminal."""
    if titles is None:
        return "\n\n".join([introduction, *(table.format_markdown() for table in tables)])
    pairs = zip(titles, tables, strict=True)
    return "\n\n".join("\n".join([title, *table.list_entries()]) for title, table in pairs)


def _format_cell(key: str, value: Any) -> str:
    if isinstance(value, bool) and key != "default":
        return "yes" if value else ""
    text = format_value(value) if key == "default" else str(value)
    is_code = key in ("column", "name") or (key == "default" and not isinstance(value, int | float))
    return f"`{text}`" if is_code and text != "none" else text.replace("|", "\\|")


def _format_fact(key: str, value: Any) -> str:
    if key == "default":
        return f"default {format_value(value)}"
    return (key if value else "") if isinstance(value, bool) else str(value)


def format_value(value: Any) -> str:
    """Format the value of a setting for people."""
    if value is None or value in ((), []):
        return "none"
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return ", ".join(map(format_value, value))
    if isinstance(value, float):
        return f"{value:,g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def build_column_reference() -> list[ReferenceTable]:
    """Build the reference of all tables that npsrisk reads and writes."""
    tables = []
    for name, record in RECORDS.items():
        text = (record.__doc__ or "").split("\n", 1)[0]
        tables.append(ReferenceTable(name, text, [*map(_describe_field, get_fields(record))]))
    return tables


def _describe_field(field: Field) -> dict[str, Any]:
    limits = [", ".join(field.choices), _describe_limits([field])]
    limits += [] if field.max_length is None else [f"at most {field.max_length:,} characters"]
    return {
        "column": field.name,
        "type": KIND_NAMES.get(field.kind, field.kind),
        "required": field.required,
        "personal": field.personal,
        "meaning": field.meaning,
        "allowed": "; ".join(filter(None, limits)),
    }


def build_setting_tables() -> list[ReferenceTable]:
    """Build the two tables of the page of settings."""
    return [
        ReferenceTable("Training configuration", TRAINING_TEXT, list_training_settings()),
        ReferenceTable("Environment", ENVIRONMENT_TEXT, list_environment_settings()),
    ]


def list_training_settings() -> list[dict[str, Any]]:
    """List the settings of a training run, in the order of the file."""
    found, defaults = [], TrainConfig().flatten()
    for table in msgspec.structs.fields(TrainConfig):
        info = msgspec.inspect.type_info(table.type)
        assert isinstance(info, msgspec.inspect.StructType)
        for field in info.fields:
            inner, _, meaning, _ = describe_type(field.type)
            meaning = meaning or DESCRIPTIONS[table.name][field.name]
            name, limits = f"{table.name}.{field.name}", _describe_limits([inner])
            found.append(_describe_setting(name, _name_type(inner), defaults[name], limits, meaning))
    return found


def list_environment_settings() -> list[dict[str, Any]]:
    """List the environment variables: the settings of an installation, then those that no settings file may set."""
    found, defaults = [], Settings.model_construct()
    for name, field in Settings.model_fields.items():
        kind, allowed = _describe_annotation(field)
        variable, meaning = str(field.alias), field.description or ""
        found.append(_describe_setting(variable, kind, getattr(defaults, name), allowed, meaning))
    for variable, kind, text in (
        (SETTINGS_VARIABLE, "path", "File of settings."),
        (PASSPHRASE_VARIABLE, "text", "Passphrase that encrypts a signing key (`npsrisk keys`)."),
        (API_KEY_VARIABLE, "text", "Key of `npsrisk exchange import --service` for the service."),
    ):
        found.append(_describe_setting(variable, kind, None, "", f"{text} Read from the environment only."))
    return found


def _describe_setting(name: str, kind: str, default: Any, allowed: str, meaning: str) -> dict[str, Any]:
    return {"name": name, "kind": kind, "default": default, "allowed": allowed, "meaning": meaning}


def _describe_limits(limits: list[Any]) -> str:
    """Describe the limits that are attributes of the given types or constraints."""
    found = [(words, getattr(each, name, None)) for each in limits for name, words in LIMIT_WORDS.items()]
    return "; ".join(f"{words} {format_value(value)}" for words, value in found if value is not None)


def _name_type(inner: msgspec.inspect.Type) -> str:
    """Name the type of a setting of a training configuration, for example `list of text`."""
    if isinstance(inner, msgspec.inspect.VarTupleType):
        return f"list of {_name_type(inner.item_type).replace('list', 'lists')}"
    return NAMES_OF_TYPES[type(inner)]


def _describe_annotation(field: FieldInfo) -> tuple[str, str]:
    """Return the type of an environment variable, and its allowed values."""
    if get_origin(field.annotation) is Literal:
        return "text", ", ".join(get_args(field.annotation))
    kinds = [each for each in get_args(field.annotation) if each is not type(None)]
    return NAMES_OF_TYPES[kinds[0] if kinds else field.annotation], _describe_limits(field.metadata)
