"""Formats for people, in pages, terminals and runs: numbers with three significant digits, a dash if unknown, no hidden characters."""

import math
import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.normalization.letters import is_invisible

if TYPE_CHECKING:
    import jinja2

UNKNOWN = "–"
DIGITS = 3
STORED_DIGITS = 9
"""Digits of numbers in a bundle or a run, so that the last bits of sums rarely change them. Equal bytes are promised on one kind of processor."""
MIN_SHOWN = 1e-4  # numbers closer to zero are written as `< 0.0001`
MIN_SHOWN_SHARE, MIN_SHOWN_SCORE = 1e-3, 1e-4
"""Shares closer to zero are written as `< 0.1 %`, scores as `< 0.01 %`: the threat may be rarer than one in a thousand."""
HIDDEN_CATEGORIES = frozenset({"Cc", "Zl", "Zp", "Cs", "Co"})
"""Unicode categories of further characters that are invisible."""
KEPT = frozenset("\r\n\t\u200c\u200d")
"""Characters of these categories that are needed: line breaks, tabs, and the joiners of scripts such as Persian."""


def round_significant(value: float, digits: int = STORED_DIGITS) -> float:
    """Round a number to its significant digits."""
    return float(f"{float(value):.{digits}g}")


def format_number(value: float | None, sign: str = "") -> str:
    """Format a number with three significant digits; with the sign "+", for a difference, one too small to be shown is "0"."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0 or (sign and abs(value) < MIN_SHOWN):
        return "0"
    if abs(value) < MIN_SHOWN:
        return f"< {MIN_SHOWN:.4f}" if value > 0 else f"> -{MIN_SHOWN:.4f}"
    return _format_digits(value, sign)


def format_percent(value: float | None, sign: str = "", least: float = MIN_SHOWN_SHARE) -> str:
    """Format a share, 0 to 1, as a percentage with three significant digits; `least` is the smallest written as a number."""
    if value is None or not math.isfinite(value):
        return format_number(value)
    if value == 0:
        return "0 %"
    if abs(value) < least:
        return f"< {100 * least:g} %" if value > 0 else f"> -{100 * least:g} %"
    return f"{_format_digits(100 * value, sign, pad=True)} %"


def format_score(value: float | None) -> str:
    """Format a score, which is a probability, as a percentage."""
    return format_percent(value, least=MIN_SHOWN_SCORE)


def format_rate(value: float | None) -> str:
    """Format a rate of something rare as one in so many."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if value <= 0:
        return "none"
    return f"1 in {_format_digits(float(f'{1 / value:.{DIGITS}g}'))}"


def format_points(value: float | None) -> str:
    """Format a difference of shares in percentage points."""
    if value is None or math.isnan(value):
        return UNKNOWN
    return f"{format_number(100 * value, '+')} points"


def format_count(number: float, singular: str, plural: str | None = None) -> str:
    """Format a number with its noun."""
    return f"{format_number(number)} {singular if number == 1 else plural or f'{singular}s'}"


def format_cell(value: Any) -> str:
    """Format a value of a table: texts as they are, flags as yes or no, numbers with three significant digits."""
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, bool):
        return "yes" if plain else "no"
    return plain if isinstance(plain, str) else format_number(plain)


def format_figure(value: Any) -> str:
    """Format a share as a percentage, another value of a table as a cell."""
    return format_percent(value) if isinstance(value, float) else format_cell(value)


def format_interval(low: str, high: str) -> str:
    """Format an interval; one text if both ends are the same, or unknown."""
    return low if low == high else f"{low} to {high}"


def _format_digits(value: float, sign: str = "", *, pad: bool = False) -> str:
    if abs(value) >= 10**DIGITS - 0.5 or (float(value).is_integer() and not pad):
        return f"{value:{sign},.0f}"
    return f"{value:{sign}{'#' if pad else ''}.{DIGITS}g}".removesuffix(".")


def show_text(value: object) -> str:
    """Return a text in which hidden characters are visible as `[U+202E]`, so that it cannot look like another one."""
    text = str(value)
    if text.isprintable() and text.isascii():
        return text
    others = set(text) - KEPT
    hidden = {
        char for char in others if is_invisible(char) or unicodedata.category(char) in HIDDEN_CATEGORIES
    }
    return "".join(f"[U+{ord(char):04X}]" if char in hidden else char for char in text)


def create_page_environment(*templates: Path) -> "jinja2.Environment":
    """Create the environment of folders of templates, with the formats as filters; all but Markdown is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=jinja2.select_autoescape(default=True, disabled_extensions=("md",)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_show,
    )
    environment.filters |= FILTERS
    return environment


def _show(value: Any) -> Any:
    """Return a value as a template writes it: texts without hidden characters. Markup of the templates stays as it is."""
    return show_text(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


FILTERS: dict[str, Callable[..., str]] = {
    "number": format_cell,
    "figure": format_figure,
    "signed": partial(format_number, sign="+"),
    "percent": format_percent,
    "score": format_score,
    "rate": format_rate,
    "points": format_points,
    "counted": format_count,
}
