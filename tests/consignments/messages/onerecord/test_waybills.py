"""ONE Record: every way of writing keys and of linking objects reads alike; `test_samples` has the values, `test_cases` more documents."""

import json
from typing import Any

import pytest
from support.messages import declaration, declarations, given, load, read_one_record

from consignments.messages.onerecord.waybills import OneRecordLinker

CARGO = "https://onerecord.iata.org/ns/cargo#"
HOUSE: dict[str, Any] = json.loads(load("one_record_embedded.json"))
LINKED: list[Any] = json.loads(load("one_record_linked.json"))
"""A waybill, its shipment, two pieces, a product, two places and a party: the product is the fifth."""
EARLIER = {
    "cargo:pieces": "cargo:shipmentOfPieces",
    "cargo:contentProducts": "cargo:containedProducts",
    "cargo:locationCodes": "cargo:locationCode",
    "cargo:note": "cargo:otherCustomsInformation",
    "cargo:partyDetails": "cargo:organization",
    "cargo:partyRole": "cargo:role",
    "cargo:waybillNumber": "cargo:waybillnumber",
}
ALIASES = {"@context": {"@vocab": CARGO, "id": "@id", "type": "@type"}}


def link(*documents: Any) -> list[tuple[str, Any]]:
    linker = OneRecordLinker()
    for number, document in enumerate(documents):
        linker.add_document(json.dumps(document).encode(), f"{number}.json")
    return list(linker.read_all())


def rename(value: Any, change: Any) -> Any:
    """Return the same document with other keys."""
    if isinstance(value, dict):
        return {change(key): rename(part, change) for key, part in value.items()}
    return [rename(part, change) for part in value] if isinstance(value, list) else value


def read_house(document: dict[str, Any]) -> dict[str, Any]:
    found = declarations(read_one_record, json.dumps(document).encode())
    (fields,) = [given(each.fields) for each in found if each.level == "house"]
    return fields


@pytest.mark.parametrize(
    ("change", "more"),
    [
        (lambda key: key.removeprefix("cargo:"), {}),
        (lambda key: key.replace("cargo:", CARGO), {}),
        (lambda key: key.replace("cargo:", "https://onerecord.iata.org/cargo/Thing#"), {}),
        (lambda key: key if key.startswith("@") else key.lower(), {}),
        (lambda key: key if key.startswith("@") else key.upper(), {}),
        (lambda key: EARLIER.get(key, key), {}),
        (lambda key: {"@id": "id", "@type": "type"}.get(key, key), ALIASES),
    ],
    ids=["bare", "IRI", "IRI of a type", "small", "capitals", "earlier version", "words of a context"],
)
def test_keys_read_alike_in_every_way_of_writing_them(change: Any, more: dict[str, Any]) -> None:
    assert read_house(rename(HOUSE, change) | more) == read_house(HOUSE)


def test_objects_are_linked_in_any_order_and_a_link_that_leads_nowhere_is_a_code() -> None:
    graph = {"@context": {"cargo": CARGO}, "@graph": LINKED}
    fields = given(declaration(read_one_record, json.dumps(graph).encode()).fields)
    for documents in (LINKED, LINKED[::-1]):
        ((source, found),) = link(*documents)
        assert (given(found.fields), found.doubts) == (fields, set())
        assert source == f"{documents.index(LINKED[0])}.json"
    ((_, partial),) = link(*LINKED[:4], *LINKED[5:])
    assert (partial.doubts, "hs_code" in partial.fields) == ({"link_unresolved"}, False)
    assert partial.fields["gross_weight_kg"] == 40.0


def test_pieces_that_link_to_each_other_are_read_once_each() -> None:
    links = [{"@id": f"urn:{number}"} for number in range(100)]
    piece = {"@type": "Piece", "containedPieces": links, "goodsDescription": "tea"}
    shipment = {"@type": "Shipment", "pieces": links, "goodsDescription": "tea"}
    # 100**6 lines of goods without a bound
    ((_, found),) = link(*[each | piece for each in links], shipment)
    assert sum(item["quantity"] for item in found.fields["items"]) <= 100
