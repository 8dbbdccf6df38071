"""Template environment of all pages: values are escaped, hidden characters are shown, and an unknown name is an error."""

import unicodedata
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.formats import (
    format_cell,
    format_count,
    format_figure,
    format_number,
    format_percent,
    format_points,
    format_rate,
    format_score,
)

if TYPE_CHECKING:
    import jinja2

HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs", "Co"})
"""Unicode categories of characters that are invisible or change the direction of the text around them."""
KEPT = frozenset("\r\n\t\u200c\u200d")
"""Characters of these categories that are needed: line breaks, tabs, and the joiners of scripts such as Persian."""


def show_text(value: object) -> str:
    """Return a text in which hidden characters are visible as `[U+202E]`, so that it cannot look like another one."""
    text = str(value)
    if text.isprintable() and text.isascii():
        return text
    return "".join(
        f"[U+{ord(char):04X}]"
        if char not in KEPT and unicodedata.category(char) in HIDDEN_CATEGORIES
        else char
        for char in text
    )


def create_page_environment(*templates: Path) -> "jinja2.Environment":
    """Create the environment of folders of templates, with the number formats as filters; all but Markdown is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=jinja2.select_autoescape(default=True, disabled_extensions=("md",)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_show,
    )
    environment.filters |= {
        "number": format_cell,
        "figure": format_figure,
        "signed": partial(format_number, sign="+"),
        "percent": format_percent,
        "score": format_score,
        "rate": format_rate,
        "points": format_points,
        "counted": format_count,
    }
    return environment


def _show(value: Any) -> Any:
    """Return a value as a template writes it: texts without hidden characters. Markup of the templates stays as it is."""
    return show_text(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
