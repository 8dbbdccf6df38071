"""ONE Record: waybills, shipments and pieces, embedded or linked, in every way of writing keys and numbers."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from support.messages import BROKEN, declaration, declarations, given, masters

from consignments.messages.onerecord.waybills import OneRecordLinker, read_one_record
from consignments.messages.parsed import Declaration, MasterDetails

BASE = "https://1r.example.com/logistics-objects/"
CARGO = "https://onerecord.iata.org/ns/cargo#"
HOUSE: dict[str, Any] = json.loads((BROKEN / "one_record_embedded.json").read_text(encoding="utf-8"))
EXPECTED = {
    "consignment_id": "180-12345675/SHA0091",
    "channel": "air_cargo",
    "service": "ecommerce",
    "master_id": "180-12345675",
    "sender_name": "Shanghai Optics",
    "sender_address": "Pudong Avenue 9, Room 4",
    "sender_city": "Shanghai",
    "sender_postcode": "200120",
    "sender_country": "CN",
    "sender_phone": "+86 21 5550",
    "sender_email": "sales@mail.example",
    "consignee_name": "Ji-ho Park",
    "account_opened_on": date(2023, 1, 20),
    "declarant": "Fast Forwarding",
    "departure_country": "CN",
    "destination_country": "KR",
    "route": "PVG>ICN",
    "description": "optical lenses",
    "hs_code": "900190",
    "items": [{"description": "lenses", "quantity": 2.0, "hs_code": "900190"}],
    "pieces": 2.0,
    "gross_weight_kg": 4.5359237,
    "declared_value": 260.0,
    "currency": "USD",
    "payment": "crypto",
}


def encode(*documents: Any) -> bytes:
    return json.dumps(documents[0] if len(documents) == 1 else list(documents)).encode()


def link(*documents: Any) -> list[tuple[str, Any]]:
    linker = OneRecordLinker()
    for number, document in enumerate(documents):
        linker.add_document(encode(document), f"{number}.json")
    return list(linker.read_all())


def rename(value: Any, change: Any) -> Any:
    """The same document with other keys."""
    if isinstance(value, dict):
        return {change(key): rename(part, change) for key, part in value.items()}
    return [rename(part, change) for part in value] if isinstance(value, list) else value


def house_of(content: bytes) -> Declaration:
    (found,) = [each for each in declarations(read_one_record, content) if each.level == "house"]
    return found


def test_an_embedded_house_waybill_with_all_its_fields() -> None:
    found = house_of(encode(HOUSE))
    assert given(found.fields) == EXPECTED
    assert found.issued_at == datetime(2026, 3, 10, 8, tzinfo=UTC)
    assert found.quality == ()
    assert found.extras["customs_notes"].splitlines()[0] == "US/CUS/BT/CTO"


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
)
def test_keys_read_alike_with_prefix_iri_vocabulary_or_bare_in_any_case_version_and_word_of_a_context(
    change: Any, more: dict[str, Any]
) -> None:
    assert given(house_of(encode(rename(HOUSE, change) | more)).fields) == EXPECTED


LINKED = [
    {"@id": BASE + "wb", "@type": "cargo:Waybill", "cargo:waybillPrefix": "020", "cargo:waybillnumber": "12345675", "cargo:waybillType": "Direct", "cargo:shipment": {"@id": BASE + "s"}, "cargo:arrivalLocation": {"@id": BASE + "jfk"}, "cargo:departureLocation": {"@id": BASE + "ham"}, "cargo:involvedParties": [{"@id": "neone:1", "@type": "cargo:Party", "cargo:organization": {"@id": BASE + "shp"}, "cargo:role": "Shipper"}]},
    {"@id": BASE + "s", "@type": CARGO + "Shipment", CARGO + "goodsDescription": "notebooks", CARGO + "shipmentOfPieces": [{"@id": BASE + "p1"}, {"@id": BASE + "p2"}, {"@id": BASE + "p2"}]},
    {"@id": " " + BASE + "p1", "@type": CARGO + "Piece", CARGO + "grossWeight": {CARGO + "numericalValue": {"@type": "xsd:double", "@value": "30.0"}, CARGO + "unit": "KGM"}},
    {"@id": BASE + "p2", "@type": "cargo:Piece", "cargo:grossWeight": {"numericalValue": "10", "unit": {"@id": "unece:UnitMeasureCode#KGM"}}, "cargo:contentDescribedByProducts": {"@id": BASE + "pr"}},
    {"@id": BASE + "pr", "@type": "cargo:Product", "cargo:description": "notebook computer", "cargo:hsCode": "847130"},
    {"@id": BASE + "jfk", "@type": "cargo:Location", "cargo:code": "JFK"},
    {"@id": BASE + "ham", "@type": "cargo:Location", "cargo:code": "DEHAM"},
    {"@id": BASE + "shp", "@type": CARGO + "Organization", "cargo:name": "SHIPPER NAME", "cargo:basedAtLocation": {"@type": "cargo:Location", "cargo:locationName": "Warehouse 1"}},
]  # fmt: skip
LINKED_FIELDS = {
    "consignment_id": "020-12345675",
    "channel": "air_cargo",
    "sender_name": "SHIPPER NAME",
    "sender_address": "Warehouse 1",
    "departure_country": "DE",
    "destination_country": "US",
    "route": "HAM>JFK",
    "description": "notebooks",
    "hs_code": "847130",
    "items": [{"description": "notebook computer", "quantity": 1.0, "hs_code": "847130"}],
    "pieces": 2.0,
    "gross_weight_kg": 40.0,
}


def test_objects_are_linked_in_any_order_and_a_link_that_leads_nowhere_is_a_code() -> None:
    for documents in (LINKED, LINKED[::-1]):
        ((source, found),) = link(*documents)
        assert given(found.fields) == LINKED_FIELDS
        assert (found.level, found.quality) == ("direct", ())
        assert source == f"{documents.index(LINKED[0])}.json"
    graph = encode({"@context": {"cargo": CARGO}, "@graph": LINKED})
    assert given(declaration(read_one_record, graph).fields) == LINKED_FIELDS
    ((_, partial),) = link(*LINKED[:4], *LINKED[5:])
    assert (partial.quality, "hs_code" in partial.fields) == (("link_unresolved",), False)
    assert partial.fields["gross_weight_kg"] == 40.0


def node(name: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"@id": BASE + name, "@type": kind} | fields


def to(*names: str) -> list[dict[str, str]]:
    """Return links to objects."""
    return [{"@id": BASE + name} for name in names]


TEA = {"goodsDescription": "tea"}


def test_a_master_adds_its_route_and_its_houses_stand_under_it() -> None:
    house = node("h", "Waybill", waybillNumber="H1", shipment=TEA)
    master = node(
        "m", "Waybill", waybillPrefix="180", waybillNumber="180-12345675", waybillType={"@id": "cargo:MASTER"}, houseWaybills=to("h"),
        departureLocation={"locationCodes": "PVG"}, arrivalLocation={"locationCodes": "ICN"}, shipment={"goodsDescription": "CONSOLIDATION"},
    )  # fmt: skip
    (_, details), (_, found) = link(house, master)
    assert isinstance(details, MasterDetails)
    assert details.number == "180-12345675"
    assert details.fields == {"route": "PVG>ICN", "departure_country": "CN", "destination_country": "KR"}
    assert details.declaration is not None
    assert details.declaration.level == "master"
    assert (found.level, found.fields["consignment_id"]) == ("house", "180-12345675/H1")
    (stub,) = masters(read_one_record, encode(HOUSE))
    assert (stub.number, stub.fields, stub.declaration) == ("180-12345675", {}, None)


def test_circles_of_links_end() -> None:
    piece = node("p", "Piece", containedPieces=to("p"), ofShipment=to("s")[0], **TEA)
    shipment = node("s", "Shipment", pieces=to("p"), waybill=to("w")[0])
    waybill = node(
        "w", "Waybill", masterWaybill=to("w")[0], houseWaybills=to("w"), waybillNumber="180-12345675"
    )
    assert len(link(piece, shipment, waybill)) == 1


def test_pieces_that_link_to_each_other_are_read_once_each() -> None:
    names = [str(number) for number in range(100)]
    pieces = [node(name, "Piece", containedPieces=to(*names), **TEA) for name in names]
    # 100**6 lines of goods without a bound
    ((_, found),) = link(*pieces, node("s", "Shipment", pieces=to(*names), **TEA))
    assert sum(item["quantity"] for item in found.fields["items"]) <= 100
    inner, outer = node("i", "Piece", **TEA), node("o", "Piece", containedPieces=to("i"))
    for order in ("io", "oi"):
        ((_, found),) = link(inner, outer, {"@type": "Shipment", "pieces": to(*order)})
        assert [(item["description"], item["quantity"]) for item in found.fields["items"]] == [("tea", 1.0)]


def test_a_booking_has_no_legs_of_another_waybill_of_its_shipment() -> None:
    def build_place(code: str) -> dict[str, Any]:
        return {"@type": "Location", "locationCodes": [{"@type": "CodeListElement", "code": code}]}

    leg = {
        "@type": "TransportLegs",
        "departureLocation": build_place("ICN"),
        "arrivalLocation": build_place("JFK"),
    }
    waybills = [
        {
            "@id": f"urn:w{number}",
            "@type": "Waybill",
            "waybillType": "DIRECT",
            "waybillPrefix": "180",
            "waybillNumber": number,
            "referredBookingOption": f"urn:b{number}",
            "goodsDescription": "toys",
            "departureLocation": build_place(begin),
            "arrivalLocation": build_place(end),
        }
        for number, begin, end in (("12345675", "PVG", "CDG"), ("12345686", "ICN", "JFK"))
    ]
    others = [
        {"@id": "urn:b12345675", "@type": "BookingOption", "shipment": "urn:s"},
        {"@id": "urn:s", "@type": "Shipment", "waybill": [waybill["@id"] for waybill in waybills]},
        {"@id": "urn:b12345686", "@type": "BookingOption", "transportLegs": [leg]},
    ]
    content = json.dumps({"@context": {"@vocab": CARGO}, "@graph": [*waybills, *others]}).encode()
    routes = {
        each.fields["consignment_id"]: each.fields["route"] for each in declarations(read_one_record, content)
    }
    assert routes == {"180-12345675": "PVG>CDG", "180-12345686": "ICN>JFK"}
