"""Values of a tree as values of the record: texts without what deceives the eye, numbers, weights, moments, dates."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from consignments.messages.quantities import (
    DOUBTFUL_KILOGRAMS,
    KILOGRAMS,
    MAX_YEAR,
    MIN_YEAR,
    Doubts,
    parse_moment,
    parse_number,
)

Fields = dict[str, Any]

HIDDEN = re.compile("[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")
"""Characters without width that reorder or hide text; joiners stay, scripts need them."""
LINE_BREAK = re.compile("[\t-\r\x85\u2028\u2029]")
SURROGATE = re.compile("[\ud800-\udfff]")
CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f]")
MAX_TEXT_CHARACTERS = 20_000
"""Nothing reads a longer text; the record cuts at less, with a code."""
DOTNET_DATE = re.compile(r"/Date\((-?\d{1,15})(?:[+-]\d{4})?\)/")
COMPACT_TIME = re.compile(r"(\d{4})(\d{2})(\d{2})(?:T?(\d{2})(\d{2})(\d{2})?)?(Z?)", re.ASCII)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def clean_text(value: Any) -> str | None:
    """Return a text or number on one line, without control characters and hidden ones; None if nothing is left."""
    if isinstance(value, str):
        text = value[:MAX_TEXT_CHARACTERS]
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, float):
        text = str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    elif isinstance(value, int):
        text = str(value)
    else:
        return None
    if text.isascii() and text.isprintable():
        return text.strip() or None
    if LINE_BREAK.search(text):
        text = " ".join(text.split())
    return SURROGATE.sub("\ufffd", HIDDEN.sub("", CONTROL.sub(" ", text))).strip() or None


def parse_any_number(text: str | None, doubts: Doubts, field: str | None = None) -> float | None:
    """Read a number; an empty text is none, without a doubt."""
    return parse_number(text.strip() or None, doubts, field) if text else None


def get_unit_factor(unit: str | None) -> float | None:
    """Return the kilograms in a unit of weight, by its code or common abbreviation; None if it is not known."""
    code = (unit or "").strip().upper().rstrip(".")
    return KILOGRAMS.get(code) or (DOUBTFUL_KILOGRAMS.get(code) if code else None)


def parse_time(value: Any) -> datetime | None:
    """Read a moment as UTC: ISO 8601, 20260310, 202603101200, /Date(…)/, or milliseconds since 1970."""
    text = clean_text(value)
    if text is None:
        return None
    dotnet = DOTNET_DATE.fullmatch(text)
    if dotnet or (text.isdigit() and text.isascii() and len(text) == 13):
        return _add_milliseconds(int(dotnet[1] if dotnet else text))
    compact = COMPACT_TIME.fullmatch(text)
    if compact:
        year, month, day, hour, minute, second, _ = compact.groups("00")
        text = f"{year}-{month}-{day}T{hour}:{minute}:{second}"
    return parse_moment(text)


def _add_milliseconds(count: int) -> datetime | None:
    try:
        moment = EPOCH + timedelta(milliseconds=count)
    except OverflowError:
        return None
    return moment if MIN_YEAR <= moment.year <= MAX_YEAR else None


def join_lines(*lines: str | None, separator: str = ", ") -> str | None:
    """Join the texts that are there, each once."""
    return separator.join(dict.fromkeys(line for line in lines if line)) or None


def get_first(items: Iterable[Mapping[str, Any]], name: str) -> Any:
    """Return the first value of a name that is not None."""
    return next((item[name] for item in items if item.get(name) is not None), None)
