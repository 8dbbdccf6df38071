"""Quality codes: named doubts about a declaration, the same for messages of all formats.

A code never refuses a consignment. It is counted in the read report, stands in the column `quality` and is a feature.
`find_doubts` finds the codes that follow from the fields alone; the others are set by the reader that saw the message.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from consignments.goods.descriptions import is_admin_text, is_vague
from consignments.goods.hs_headings import SEPARATORS, has_heading
from consignments.identifiers import has_valid_check_digit, parse_awb, parse_s10
from consignments.messages.configuration import load_table
from consignments.records import SIDES

_TABLE = load_table("quality")
QUALITY_CODES: dict[str, str] = _TABLE["codes"]
"""All codes, each with one sentence; their order is the order in `quality`."""

DERIVED_CODES = frozenset(_TABLE["derived_codes"].split())
"""Codes that follow from the fields, which a further message may heal."""
COUNTRIES_WITHOUT_POSTCODES = frozenset(_TABLE["countries_without_postcodes"].split())
_ORDER = {code: place for place, code in enumerate(QUALITY_CODES)}
UNIDENTIFIED = "unidentified:"
"""Begins the identifier of a declaration that has none; a hash of its content follows."""
PARTY_COLUMNS = {
    party: tuple(f"{party}_{part}" for part in ("name", "address", "postcode", "country")) for party in SIDES
}
NAMED_COLUMNS = tuple(f"{party}_{part}" for party in SIDES for part in ("name", "address", "city"))
NATURES_WITHOUT_HS = frozenset(("gift", "documents"))
"""UPU: six digits for commercial items from 1 September 2025; gifts between persons and documents need none."""
MIN_HS_DIGITS = 6
LETTER = re.compile(r"[^\W\d_]")
THREE_ALIKE = re.compile(r"(.)\1\1")
"""Found first, because a search for letters takes three times as long."""
REPEATED_LETTERS = re.compile(r"(?<![^\W_])([^\W\d_])\1{2,}(?![^\W_])|([^\W\d_])\2{3,}", re.IGNORECASE)
"""A word of one letter, three times or more, or a run of four inside a word."""
REAL_REPEATS = frozenset(("iii", "www"))
"""Words of one letter that mean something: a number, and the beginning of web addresses."""
REAL_REPEATS_OF_GOODS = REAL_REPEATS | {"aaa", "aaaa"}
"""Sizes of batteries, too."""
ALTERNATIVES = re.compile(r"[,;/+&|]| - ")
MAX_REMEMBERED_CHARACTERS = 200
AWB_ATTEMPT = re.compile(r"[\d\s-]{9,}|[A-Z0-9]{2,4}-\d{6,9}", re.ASCII | re.IGNORECASE)

Fields = Mapping[str, Any]


def find_doubts(fields: Fields, level: str | None) -> set[str]:
    """Return the quality codes that follow from the fields of a declaration."""
    items: list[Fields] = fields.get("items") or []
    texts = [fields.get("description"), *(item.get("description") for item in items)]
    descriptions = list(dict.fromkeys(text for text in texts if text))
    found: set[str] = set()
    _check_identifiers(fields, found)
    for party in SIDES:  # IATA and WCO PLACI 7+1; EU ICS2 condition C3034 for postcodes
        name, address, postcode, country = map(fields.get, PARTY_COLUMNS[party])
        if not has_letters(name):
            found.add(f"{party}_missing")
        if not has_letters(address):
            found.add("address_missing")
        if not postcode and country and len(country) == 2 and country not in COUNTRIES_WITHOUT_POSTCODES:
            found.add("postcode_missing")
    _check_repeated_letters(fields, descriptions, found)
    weight = fields.get("gross_weight_kg")
    pairs = [(fields.get("declared_value"), weight), (fields.get("postage"), weight)]
    pairs += [(item.get("value"), item.get("net_weight_kg")) for item in items]
    if any(amount and amount == kilograms for amount, kilograms in pairs):
        found.add("price_equals_weight")
    _check_hs_codes(fields, items, found, is_needed=level != "master")
    if level != "master":
        if not descriptions:
            found.add("description_missing")
        for text in descriptions:
            check = _check_text if len(text) > MAX_REMEMBERED_CHARACTERS else _check_short_text
            found.update(check(text))
    return found


def sort_codes(codes: Iterable[str]) -> tuple[str, ...]:
    """Return codes without repeats in the order of `QUALITY_CODES`; an unknown code raises `KeyError`."""
    return tuple(sorted(set(codes), key=_ORDER.__getitem__))


def _check_identifiers(fields: Fields, found: set[str]) -> None:
    """UPU S10 and IATA Resolution 600a give form and check digit; a house without a master may have any number."""
    identifier, master = fields.get("consignment_id") or "", fields.get("master_id") or ""
    if not identifier or identifier.startswith(UNIDENTIFIED):
        found.add("identifier_missing")
        identifier = ""
    numbers = [identifier]
    if fields.get("channel") == "postal":
        is_malformed = parse_s10(identifier.replace("-", "")) is None
    elif not master:
        attempted = AWB_ATTEMPT.fullmatch(identifier.partition("/")[0])
        is_malformed = attempted is not None and parse_awb(identifier) is None
    else:
        parts = parse_awb(master)
        is_malformed = parts is None
        is_below = parts is not None and parts.number == master and identifier.startswith(f"{master}/")
        numbers = [master] if is_below else [identifier, master]  # a house has no check digit of its own
    if identifier and is_malformed:
        found.add("identifier_malformed")
    if any(has_valid_check_digit(number) is False for number in numbers):
        found.add("check_digit")


def has_letters(text: str | None) -> bool:
    """Check whether a text holds a letter: digits and signs alone name nobody and nothing (PACT guide, section 6.2)."""
    return text is not None and LETTER.search(text) is not None


def _check_repeated_letters(fields: Fields, descriptions: list[str], found: set[str]) -> None:
    """PACT guide, section 6.2: three or more identical characters in a name, an address or a description."""
    names = "\n".join(text for column in NAMED_COLUMNS if (text := fields.get(column)))
    for text, allowed in ((names, REAL_REPEATS), ("\n".join(descriptions), REAL_REPEATS_OF_GOODS)):
        repeats = REPEATED_LETTERS.finditer(text) if THREE_ALIKE.search(text.lower()) else ()
        if any(each[0].casefold() not in allowed for each in repeats):
            found.add("repeated_letters")


def _check_text(text: str) -> tuple[str, ...]:
    if not has_letters(text):
        return ("description_missing",)
    parts = [part for part in ALTERNATIVES.split(text) if has_letters(part)]
    is_list = len(parts) > 1 and all(map(is_vague, parts))
    codes = ("description_vague",) if is_list or is_vague(text) else ()
    return (*codes, "description_admin_text") if is_admin_text(text) else codes


_check_short_text = lru_cache(maxsize=16_384)(_check_text)
"""The same description comes again and again."""


def _check_hs_codes(fields: Fields, items: list[Fields], found: set[str], *, is_needed: bool) -> None:
    """HS 2022; six digits: UPU for commercial items, EU ICS2 condition C3025. A code that a master gives is checked too."""
    of_items = [item.get("hs_code") for item in items]
    codes = [fields.get("hs_code"), *of_items]
    given = {code for code in codes if code}
    if not all(map(_is_usable_hs_code, given)):
        found.add("hs_invalid")
    incomplete = not given or (len(items) > 1 and not all(of_items))
    if is_needed and incomplete and fields.get("nature") not in NATURES_WITHOUT_HS:
        found.add("hs_missing")


@lru_cache(maxsize=16_384)
def _is_usable_hs_code(code: str) -> bool:
    return len(SEPARATORS.sub("", code)) >= MIN_HS_DIGITS and has_heading(code)
