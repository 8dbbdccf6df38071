"""Facts of a consignment for pages: goods, route, weight and value; no names, addresses or telephone numbers."""

import re
from typing import NamedTuple

import pandas as pd

from features.streams import list_declared_texts
from models.formats import UNKNOWN, format_number

MAX_GOODS_CHARACTERS = 160
MAX_READ_CHARACTERS = 2000
"""Longer texts are cut before they are searched for contact details."""
CONTACT_DETAILS = re.compile(r"\S*@\S+|\+?\d[\d\s()/-]{6,}\d")
"""E-mail addresses and numbers as long as a telephone number, which a free text may contain."""
REMOVED = "[removed]"
COUNTRIES = ("departure_country", "destination_country", "origin_country")
COLUMNS = (*COUNTRIES, "gross_weight_kg", "declared_value", "currency")


class ConsignmentFacts(NamedTuple):
    """Facts of a consignment for a page; '–' for what is not given."""

    goods: str
    route: str
    weight: str
    value: str


def describe_consignments(frame: pd.DataFrame) -> list[ConsignmentFacts]:
    """Describe each row of a consignment table; (n,) in the order of the rows."""
    given = frame.reindex(columns=list(COLUMNS)).astype(object)
    rows = given.where(given.notna(), None).itertuples(index=False)
    found = []
    for declared, (departure, destination, origin, weight, value, currency) in zip(
        list_declared_texts(frame), rows, strict=True
    ):
        route = f"{departure or '?'} → {destination or '?'}" if departure or destination else UNKNOWN
        if origin and origin != departure:
            route = f"{route}, goods from {origin}"
        mass = UNKNOWN if weight is None else f"{format_number(weight)} kg"
        price = UNKNOWN if value is None else f"{format_number(value)} {currency or ''}".rstrip()
        found.append(ConsignmentFacts(shorten_goods(declared.goods), route, mass, price))
    return found


def shorten_goods(goods: str) -> str:
    """Shorten a goods text for a page, and remove contact details from it.

    Examples
    --------
    >>> shorten_goods("research chemical, call +44 20 7946 0958 or a@b.example"), shorten_goods("")
    ('research chemical, call [removed] or [removed]', '–')
    """
    text = CONTACT_DETAILS.sub(REMOVED, goods[:MAX_READ_CHARACTERS]).strip()
    return f"{text[: MAX_GOODS_CHARACTERS - 1]}…" if len(text) > MAX_GOODS_CHARACTERS else text or UNKNOWN
