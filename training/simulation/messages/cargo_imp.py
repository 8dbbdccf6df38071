"""Houses of air cargo written as Cargo-IMP: an FHL of version 5 with one house.

The characters are those that the standard allows: capitals, digits, full stop, hyphen and space.
"""

import re
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator

from consignments.records import Consignment
from training.simulation.messages.parts import get_party, list_notes

ALLOWED = re.compile(r"[^A-Z0-9 .\-]+")
LINE_CHARACTERS = 35
MAX_LINES = 2
TEXT_CHARACTERS, MAX_TEXT_LINES = 65, 9
SHORT_TEXT_CHARACTERS = 15
MAX_TARIFF_CODES = 9
NOTE_ORDER = ("FT", "RT", "BT", "AR", "AE")
TERMS = {"prepaid": "PP", "collect": "CC"}


def write_fhl(record: Consignment) -> bytes:
    """Write a house.

    >>> print(write_fhl(Consignment("180-12345675/H1", "air_cargo", description="tea", route="PVG>ICN", pieces=2.0)).decode())
    FHL/5
    MBI/180-12345675PVGICN
    HBS/H1/PVGICN/2///TEA
    TXT/TEA
    CVD//PP/NVD/NCV/XXX
    <BLANKLINE>
    """
    master, _, house = record.consignment_id.partition("/")
    if not house:
        raise ValueError(f"{record.consignment_id} is no house")
    return "".join(f"{line}\n" for line in _list_lines(record, master, house)).encode("ascii")


def to_imp_text(text: str) -> str:
    """Convert a text to the characters of Cargo-IMP.

    >>> to_imp_text("Straße 5/7, Zürich")
    'STRASSE 5 7 ZURICH'
    """
    plain = unicodedata.normalize("NFKD", text.upper())
    ascii_text = "".join(char for char in plain if not unicodedata.combining(char))
    return " ".join(ALLOWED.sub(" ", ascii_text).split())


def _list_lines(record: Consignment, master: str, house: str) -> Iterator[str]:
    places = record.route.split(">") if record.route else []
    ends = "".join((places[0], places[-1])) if places and len(places[0]) == len(places[-1]) == 3 else ""
    description = to_imp_text(record.description or "")
    pieces = "" if record.pieces is None else f"{record.pieces:.0f}"
    weight = "" if record.gross_weight_kg is None else f"K{record.gross_weight_kg!r}"
    yield "FHL/5"
    yield f"MBI/{master}{ends}"
    yield f"HBS/{to_imp_text(house)}/{ends}/{pieces}/{weight}//{description[:SHORT_TEXT_CHARACTERS].strip()}"
    lines = textwrap.wrap(description, TEXT_CHARACTERS - 1, break_on_hyphens=False)[:MAX_TEXT_LINES]
    yield from _number_lines("TXT", lines)
    codes = [item.hs_code for item in record.items or () if item.hs_code] or [record.hs_code or ""]
    yield from _number_lines("HTS", [code for code in codes[:MAX_TARIFF_CODES] if code])
    yield from _number_lines("OCI", _list_notes(record))
    yield from _list_party("SHP", record, "sender")
    yield from _list_party("CNE", record, "consignee")
    value = "NCV" if record.declared_value is None else repr(record.declared_value)
    yield f"CVD/{record.currency or ''}/{TERMS.get(record.payment or '', 'PP')}/NVD/{value}/XXX"


def _number_lines(segment: str, lines: Iterable[str]) -> Iterator[str]:
    """Name the segment in its first line only."""
    return (f"{'' if number else segment}/{line}" for number, line in enumerate(lines))


def _list_notes(record: Consignment) -> Iterator[str]:
    notes = dict(list_notes(record)) | {"AR": to_imp_text(record.account_id or "")}
    for code in NOTE_ORDER:
        if notes.get(code):
            yield f"US/{'' if code == 'FT' else 'CUS'}/{code}/{notes[code]}"
    for subject, email in (("SHP", record.sender_email), ("CNE", record.consignee_email)):
        if email and "@" in email:
            user, _, domain = email.upper().partition("@")
            yield f"US/{subject}/MU/{user}"
            yield f"US/{subject}/MD/{domain}"


def _list_party(code: str, record: Consignment, prefix: str) -> Iterator[str]:
    values = {part: to_imp_text(text or "") for part, text in get_party(record, prefix).items()}
    del values["email"]
    if not any(values.values()):
        return
    yield code
    for segment, part in (("NAM", "name"), ("ADR", "address")):
        lines = textwrap.wrap(values[part], LINE_CHARACTERS, break_on_hyphens=False)[:MAX_LINES]
        yield from _number_lines(segment, lines)
    yield f"LOC/{values['city']}"
    phone = f"/TE/{values['phone']}" if values["phone"] else ""
    if values["country"] or values["postcode"] or phone:
        yield f"/{values['country']}/{values['postcode']}{phone}".rstrip("/")
