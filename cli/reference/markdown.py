"""Tables of a reference page in Markdown, and lists for a terminal."""

import shutil
from collections.abc import Iterable, Sequence
from textwrap import fill

MAX_WIDTH = 110
INDENT = " " * 6


def format_markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a table in Markdown; a vertical bar in a cell is escaped.

    Examples
    --------
    >>> print(format_markdown_table(["name", "values"], [["`a`", "x|y"]]))
    | name | values |
    |---|---|
    | `a` | x\\|y |
    """
    lines = [headings, *rows]
    text = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([text[0], "|" + "---|" * len(headings), *text[1:]])


def format_entry(name: str, facts: Iterable[str], meaning: str) -> str:
    """Format one entry of a list for a terminal: the name and its facts, and below them the meaning.

    Examples
    --------
    >>> print(format_entry("seed", ["whole number", "", "default 1"], "Seed of the fit."))
      seed  (whole number; default 1)
          Seed of the fit.
    """
    width = min(shutil.get_terminal_size().columns, MAX_WIDTH)
    head = f"  {name}  ({'; '.join(fact for fact in facts if fact)})"
    return f"{head}\n{fill(meaning, width, initial_indent=INDENT, subsequent_indent=INDENT)}"
