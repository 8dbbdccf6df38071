"""Texts of messages and tables, one a line: countries, times, identifiers, units, paths and trees are read as what they say."""

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from support.cases import read_cases

from consignments import identifiers
from consignments.countries import parse_country
from consignments.errors import BadSetting, MessageFault
from consignments.goods.descriptions import is_admin_text, is_vague, normalize_words
from consignments.goods.hs_headings import has_heading
from consignments.messages.air.waybills import find_airport_country, looks_consolidated
from consignments.messages.content.paths import find_values
from consignments.messages.content.trees import decode_json, parse_json_tree, parse_xml_tree
from consignments.messages.content.values import clean_text, get_unit_factor, parse_short_date, parse_time
from consignments.messages.entries import MasterEntry
from consignments.messages.linking import enrich_house
from consignments.messages.onerecord.graph import get_local_name
from consignments.records import Consignment

PARTIES = [{"role": "CN", "name": "K"}, {"role": "CZ", "name": "A", "deep": {"er": {"name": "B"}}}]
TREE = parse_json_tree(json.dumps({"head": {"cur": "EUR"}, "party": PARTIES, "a.b": "dotted"}).encode())


def read_waybill(text: str) -> tuple[str, str, bool] | None:
    """Read the number, the house, and whether the check digit holds."""
    found = identifiers.parse_awb(text)
    return found and (found.number, found.house, found.check_holds)


def join_stops(routes: list[str | None]) -> str | None:
    """Join the stops of a house and its master."""
    house = Consignment("1/2", "air_cargo", route=routes[0])
    fields = {"route": routes[1]} if routes[1] else {}
    return enrich_house(house, MasterEntry("1", fields, None, None)).route


READERS: dict[str, Callable[[Any], Any]] = {
    **{"country": parse_country, "text": clean_text, "unit": get_unit_factor, "time": parse_time},
    **{"short date": parse_short_date, "airport": find_airport_country, "local name": get_local_name},
    "path": lambda path: find_values([TREE], path),
    "path of a party": lambda path: find_values([TREE, TREE["party"][1]], path),
    "XML": lambda text: parse_xml_tree(text.encode(), []),
    "JSON": lambda text: parse_json_tree(text.encode()),
    "stops of house and master": join_stops,
    **{"consolidation": looks_consolidated, "administrative": is_admin_text},
    **{"vague": is_vague, "words": normalize_words, "heading": has_heading, "item": identifiers.parse_s10},
    **{"check digit": identifiers.has_valid_check_digit, "identifier": identifiers.normalize_identifier},
    **{"waybill": read_waybill, "waybill number": identifiers.format_awb_number},
}


@pytest.mark.parametrize("case", read_cases("text_values"))
def test_a_text_is_read_as_what_it_says(case: dict[str, Any]) -> None:
    """Each line has what is read, and its value, unless it is no path; null is no value."""
    if "error" in case:
        with pytest.raises(BadSetting):
            READERS[case["of"]](case["given"])
        return
    found = READERS[case["of"]](case["given"])
    if isinstance(found, date):
        found = found.isoformat()
    assert (list(found) if isinstance(found, tuple) else found) == case["value"]


def test_a_document_of_too_many_values_or_levels_is_refused() -> None:
    with pytest.raises(MessageFault, match="nested too deep"):
        parse_json_tree(b"[" * 900 + b"]" * 900)
    with pytest.raises(MessageFault, match="too many values"):
        decode_json(b"[" + b"{}," * 400_001 + b"{}]")
