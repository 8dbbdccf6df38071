"""Identifiers of air consignments: the waybill's number, and the house's number behind a slash."""

import hashlib
import re
from datetime import date, datetime
from typing import Any

import msgspec

from consignments.identifiers import parse_awb
from consignments.messages.content.values import Doubts
from consignments.messages.quality import UNIDENTIFIED

MAX_IDENTIFIER = 100
INVISIBLE = re.compile("[\x00-\x1f\x7f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
"""Control characters, zero-width characters and marks of writing direction: identifiers that differ in them alone look equal."""
DIGEST_CHARACTERS = 16


def read_waybill_number(text: str | None, doubts: Doubts) -> str | None:
    """Return a waybill number in its normal form; another form is kept, with a code."""
    if text is None:
        doubts.add("identifier_missing")
        return None
    parts = parse_awb(text)
    if parts is None or parts.house:
        doubts.add("identifier_malformed")
        return clean_identifier(text, doubts)
    return parts.number


def clean_identifier(text: str, doubts: Doubts) -> str:
    """Remove invisible characters, and shorten an identifier that is too long to a unique one."""
    clean = INVISIBLE.sub("", text).strip()
    if clean != text:
        doubts.add("identifier_malformed")
    if len(clean) > MAX_IDENTIFIER:
        doubts.update(("identifier_malformed", "text_cut"))
        digest = hashlib.sha256(clean.encode("utf-8", "replace")).hexdigest()[:DIGEST_CHARACTERS]
        clean = f"{clean[: MAX_IDENTIFIER - DIGEST_CHARACTERS - 1]}~{digest}"
    return clean


def identify_house(master: str | None, house: str | None, fields: dict[str, Any], doubts: Doubts) -> str:
    """Build the identifier of a house: the master's number, a slash and the house's; a hash of its content without one."""
    if house is not None:
        house = clean_identifier(house, doubts)
    if not house:
        doubts.add("identifier_missing")
        return identify_by_content(fields)
    return clean_identifier(f"{master}/{house}" if master else house, doubts)


def identify_by_content(fields: dict[str, Any]) -> str:
    """Return the identifier of a declaration that has none: a hash of its content."""
    given = {name: value for name, value in sorted(fields.items()) if value is not None}
    encoded = msgspec.json.encode(given, enc_hook=_encode_time)
    return UNIDENTIFIED + hashlib.sha256(encoded).hexdigest()[: 2 * DIGEST_CHARACTERS]


def _encode_time(value: Any) -> str:
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
