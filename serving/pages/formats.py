"""Formats of values for officers, and the template environment. All values are escaped; control characters are made visible."""

import unicodedata
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2

from consignments.timestamps import to_datetime

TEMPLATES = Path(__file__).parent / "templates"
HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs", "Co"})
"""Unicode categories of characters that are invisible or change the direction of the text around them."""
KEPT = frozenset("\r\n\t\u200c\u200d")
"""Characters of these categories that are needed: line breaks, tabs, and the joiners of scripts such as Persian."""
MIN_SHARE = 0.0001


def show_text(value: object) -> str:
    """Return a text in which hidden characters are visible as `[U+202E]`, so that it cannot look like another one.

    Examples
    --------
    >>> show_text("invoice\\u202efdp.exe")
    'invoice[U+202E]fdp.exe'
    """
    text = str(value)
    if text.isprintable() and text.isascii():
        return text
    return "".join(
        f"[U+{ord(char):04X}]"
        if char not in KEPT and unicodedata.category(char) in HIDDEN_CATEGORIES
        else char
        for char in text
    )


def format_share(value: float) -> str:
    """Format a probability or a share as a percentage with three significant digits.

    Examples
    --------
    >>> format_share(0.1234), format_share(0.00001), format_share(0.0), format_share(1.0)
    ('12.3 %', '< 0.01 %', '0 %', '100 %')
    """
    if 0 < value < MIN_SHARE:
        return "< 0.01 %"
    return f"{100 * value:.3g} %"


def format_amount(value: float | None) -> str:
    """Format a number with three significant digits, or as a whole number if it is large; a dash if it is missing.

    Examples
    --------
    >>> format_amount(0.12345), format_amount(1234567.0), format_amount(None)
    ('0.123', '1,234,567', '–')
    """
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def format_time(value: datetime | int | None) -> str:
    """Format a time in UTC to the minute; a dash if it is missing."""
    if value is None:
        return "–"
    moment = to_datetime(value) if isinstance(value, int) else value
    return f"{moment:%Y-%m-%d %H:%M}"


def format_signed(value: float) -> str:
    """Format a contribution with its sign.

    Examples
    --------
    >>> format_signed(0.456), format_signed(-2.0)
    ('+0.46', '−2.00')
    """
    return f"{value:+.2f}".replace("-", "−")


def build_link(path: str, **parameters: Any) -> str:
    """Build a link with query parameters; parameters without a value are left out."""
    query = urlencode({name: value for name, value in parameters.items() if value not in (None, "")})
    return f"{path}?{query}" if query else path


def _show(value: Any) -> Any:
    """Return a value as a template writes it: texts without hidden characters."""
    return show_text(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


@cache
def create_environment() -> jinja2.Environment:
    """Create the template environment: values are escaped and their hidden characters shown; an unknown name is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_show,
    )
    made.filters |= {
        "share": format_share,
        "amount": format_amount,
        "time": format_time,
        "signed": format_signed,
    }
    made.globals["link"] = build_link
    return made
