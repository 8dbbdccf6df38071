"""Facts of a consignment for pages: goods, route, weight and value; no names, addresses or telephone numbers."""

import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from features.streams import list_goods_texts
from models.formats import format_number

MAX_GOODS_CHARACTERS = 160
MAX_READ_CHARACTERS = 2000
"""Longer texts are cut before they are searched for contact details."""
CONTACT_DETAILS = re.compile(r"\S*@\S+|\+?\d[\d\s()/-]{6,}\d")
"""E-mail addresses and numbers as long as a telephone number, which a free text may contain."""
REMOVED = "[removed]"


class ConsignmentFacts(NamedTuple):
    """Facts of a consignment for a page; '–' for what is not given."""

    goods: str
    route: str
    weight: str
    value: str


def describe_consignments(frame: pd.DataFrame) -> list[ConsignmentFacts]:
    """Describe each row of a consignment table; (n,) in the order of the rows."""
    texts = list_goods_texts(frame)
    return [
        ConsignmentFacts(
            shorten_goods(goods), _describe_route(row), _describe_weight(row), _describe_value(row)
        )
        for goods, (_, row) in zip(texts, frame.iterrows(), strict=True)
    ]


def shorten_goods(goods: str) -> str:
    """Shorten a goods text for a page, and remove contact details from it.

    Examples
    --------
    >>> shorten_goods("research chemical, call +44 20 7946 0958 or a@b.example"), shorten_goods("")
    ('research chemical, call [removed] or [removed]', '–')
    """
    text = CONTACT_DETAILS.sub(REMOVED, goods[:MAX_READ_CHARACTERS]).strip()
    return f"{text[: MAX_GOODS_CHARACTERS - 1]}…" if len(text) > MAX_GOODS_CHARACTERS else text or "–"


def _describe_route(row: "pd.Series[Any]") -> str:
    departure, destination, origin = (
        _read_text(row, name) for name in ("departure_country", "destination_country", "origin_country")
    )
    text = f"{departure or '?'} → {destination or '?'}" if departure or destination else "–"
    return f"{text}, goods from {origin}" if origin and origin != departure else text


def _describe_weight(row: "pd.Series[Any]") -> str:
    weight = _read_number(row, "gross_weight_kg")
    return "–" if weight is None else f"{format_number(weight)} kg"


def _describe_value(row: "pd.Series[Any]") -> str:
    value = _read_number(row, "declared_value")
    return "–" if value is None else f"{format_number(value)} {_read_text(row, 'currency')}".rstrip()


def _read_text(row: "pd.Series[Any]", name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _read_number(row: "pd.Series[Any]", name: str) -> float | None:
    value = row.get(name)
    return float(value) if isinstance(value, int | float | np.number) and np.isfinite(value) else None
