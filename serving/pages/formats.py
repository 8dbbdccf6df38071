"""Formats of values for officers, and the template environment. All values are escaped; control characters are made visible."""

from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2

from consignments.timestamps import to_datetime
from models.page_templates import create_page_environment

TEMPLATES = Path(__file__).parent / "templates"
MIN_SHARE = 0.0001


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


@cache
def create_environment() -> jinja2.Environment:
    """Create the template environment: values are escaped and their hidden characters shown; an unknown name is an error."""
    made = create_page_environment(TEMPLATES)
    made.filters |= {
        "share": format_share,
        "amount": format_amount,
        "time": format_time,
        "signed": format_signed,
    }
    made.globals["link"] = build_link
    return made
