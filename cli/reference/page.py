"""A reference: tables of names and what is known of each, as a page in Markdown, and as lists for a terminal."""

import shutil
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any, NamedTuple

MAX_WIDTH = 110
INDENT = " " * 6
HEADINGS = {"name": "setting", "kind": "type", "allowed": "allowed values"}
"""Headings of the keys of a row that have another one."""


class ReferenceTable(NamedTuple):
    """A table of a reference. The first value of a row is the name; `meaning` stands below it on a terminal."""

    title: str
    text: str
    rows: Sequence[Mapping[str, Any]]

    def format_markdown(self) -> str:
        """Format the table under its heading; a vertical bar in a cell is escaped."""
        headings = [HEADINGS.get(key, key) for key in self.rows[0]]
        cells = [[format_cell(key, value) for key, value in row.items()] for row in self.rows]
        lines = ["| " + " | ".join(line) + " |" for line in (headings, *cells)]
        lines.insert(1, "|" + "---|" * len(headings))
        return "\n".join([f"## {self.title}\n\n{self.text}\n", *lines])

    def list_entries(self) -> list[str]:
        """List the rows for a terminal: the name and its facts, and below them the meaning."""
        width = min(shutil.get_terminal_size().columns, MAX_WIDTH)
        entries = []
        for row in self.rows:
            name, *others = (key for key in row if key != "meaning")
            facts = "; ".join(fact for key in others if (fact := format_fact(key, row[key])))
            meaning = fill(row["meaning"], width, initial_indent=INDENT, subsequent_indent=INDENT)
            entries.append(f"  {row[name]}  ({facts})\n{meaning}")
        return entries


def format_page(introduction: str, tables: Sequence[ReferenceTable], titles: Sequence[str] | None) -> str:
    """Format tables as a page in Markdown or, with titles, as lists for a terminal."""
    if titles is None:
        return "\n\n".join([introduction, *(table.format_markdown() for table in tables)])
    pairs = zip(titles, tables, strict=True)
    return "\n\n".join("\n".join([title, *table.list_entries()]) for title, table in pairs)


def format_cell(key: str, value: Any) -> str:
    """Format a value for a cell in Markdown.

    Examples
    --------
    >>> format_cell("column", "a"), format_cell("personal", True), format_cell("meaning", "x|y")
    ('`a`', 'yes', 'x\\\\|y')
    """
    if isinstance(value, bool) and key != "default":
        return "yes" if value else ""
    text = format_value(value) if key == "default" else str(value)
    is_code = key in ("column", "name") or (key == "default" and not isinstance(value, int | float))
    return f"`{text}`" if is_code and text != "none" else text.replace("|", "\\|")


def format_fact(key: str, value: Any) -> str:
    """Format a value for the list of facts of a name."""
    if key == "default":
        return f"default {format_value(value)}"
    return (key if value else "") if isinstance(value, bool) else str(value)


def format_value(value: Any) -> str:
    """Format the value of a setting for people.

    Examples
    --------
    >>> format_value(100_000), format_value(()), format_value(0.25), format_value(["a", "b"])
    ('100,000', 'none', '0.25', 'a, b')
    """
    if value is None or value in ((), []):
        return "none"
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return ", ".join(map(format_value, value))
    if isinstance(value, float):
        return f"{value:,g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
