"""Doubts about a consignment that is accepted all the same: what was read otherwise than it was written, and what cannot be.

JSON, messages and tables take their corrections from here. A text never repeats a value, which could be anything.
"""

from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta, structs

from consignments.countries import parse_country
from consignments.identifiers import parse_awb
from consignments.plausibility import COUNTRIES, CURRENCIES, MAX_NUMBERS
from consignments.records import Consignment

COUNTRY_FIELDS = (
    "sender_country",
    "consignee_country",
    "departure_country",
    "destination_country",
    "origin_country",
)


class Doubt(msgspec.Struct, frozen=True):
    """One doubt about a consignment."""

    code: Annotated[str, Meta(description="machine-readable code of the warning")]
    text: Annotated[str, Meta(description="what is doubtful, and how it was read")]
    field: Annotated[
        str | None, Meta(description="field of the consignment; null if it is not one field")
    ] = None


@lru_cache(maxsize=4_096)
def correct_country(given: str) -> str | None:
    """Return the ISO 3166-1 alpha-2 code of a country that is written otherwise; None if it is a code already, or not known.

    Examples
    --------
    >>> correct_country("GBR"), correct_country("China"), correct_country("gb"), correct_country("Narnia")
    ('GB', 'CN', None, None)
    """
    found = parse_country(given)
    return found if found in COUNTRIES and found != given.strip().upper() else None


def correct_consignment(c: Consignment) -> tuple[Consignment, list[Doubt]]:
    """Return a consignment with countries as their codes, and the doubts about it.

    Examples
    --------
    >>> c, doubts = correct_consignment(Consignment("RB123456785GB", "postal", sender_country="GBR"))
    >>> c.sender_country, [(doubt.code, doubt.field) for doubt in doubts]
    ('GB', [('country_read_as', 'sender_country')])
    """
    doubts: list[Doubt] = []
    corrected: dict[str, str] = {}
    for field in COUNTRY_FIELDS:
        given = getattr(c, field)
        if given is None or given in COUNTRIES or not given.strip() or given.strip().upper() in COUNTRIES:
            continue
        code = correct_country(given)
        if code is None:
            doubts.append(Doubt("unknown_country", "The country is not known, and counts as missing.", field))
        else:
            corrected[field] = code
            doubts.append(Doubt("country_read_as", f"The country was read as {code}.", field))
    if (
        c.currency is not None
        and c.currency not in CURRENCIES
        and c.currency.strip().upper() not in CURRENCIES
    ):
        doubts.append(Doubt("unknown_currency", "The currency is no code of ISO 4217.", "currency"))
    for field, (bound, kind) in MAX_NUMBERS.items():
        value = getattr(c, field)
        if value is not None and value > bound:
            doubts.append(Doubt("implausible_value", f"The value cannot be: {kind}.", field))
    if c.channel == "air_cargo" and parse_awb(c.consignment_id) is None and not parse_awb(c.master_id or ""):
        text = "The number of the air waybill is missing: three digits of the airline and eight more."
        doubts.append(Doubt("no_waybill", text, "consignment_id"))
    return (structs.replace(c, **corrected) if corrected else c), doubts
