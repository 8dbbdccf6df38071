"""ONE Record: waybills, shipments and pieces, embedded or linked, in every way of writing keys and numbers."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from support.messages import BROKEN, declaration, declarations, given, masters, read

from consignments.errors import MessageFault
from consignments.messages.onerecord.waybills import OneRecordLinker, read_one_record
from consignments.messages.parsed import Declaration, Ignored, MasterDetails

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


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key.removeprefix("cargo:"),
        lambda key: key.replace("cargo:", CARGO),
        lambda key: key.replace("cargo:", "https://onerecord.iata.org/cargo/Thing#"),
        lambda key: key if key.startswith("@") else key.lower(),
        lambda key: key if key.startswith("@") else key.upper(),
    ],
)
def test_keys_read_alike_with_prefix_iri_vocabulary_or_bare_and_in_any_case(change: Any) -> None:
    assert given(house_of(encode(rename(HOUSE, change))).fields) == EXPECTED


def test_names_of_earlier_versions_read_alike() -> None:
    earlier = {
        "cargo:pieces": "cargo:shipmentOfPieces",
        "cargo:contentProducts": "cargo:containedProducts",
        "cargo:locationCodes": "cargo:locationCode",
        "cargo:note": "cargo:otherCustomsInformation",
        "cargo:partyDetails": "cargo:organization",
        "cargo:partyRole": "cargo:role",
        "cargo:waybillNumber": "cargo:waybillnumber",
    }
    assert given(house_of(encode(rename(HOUSE, lambda key: earlier.get(key, key)))).fields) == EXPECTED


def test_context_words_for_identifier_and_type_are_understood() -> None:
    aliased = rename(HOUSE, lambda key: {"@id": "id", "@type": "type"}.get(key, key))
    aliased["@context"] = {"@vocab": CARGO, "id": "@id", "type": "@type"}
    assert given(house_of(encode(aliased)).fields) == EXPECTED


@pytest.mark.parametrize("value", [10, "10", 10.0, {"@type": "xsd:double", "@value": "10.0"}])
def test_numbers_read_alike_bare_typed_and_as_text(value: Any) -> None:
    document = json.loads(encode(HOUSE))
    document["cargo:shipment"]["cargo:totalGrossWeight"]["cargo:numericalValue"] = value
    assert house_of(encode(document)).fields["gross_weight_kg"] == 4.5359237


@pytest.mark.parametrize("value", ["174,5", -1, "1e999", "ten"])
def test_a_weight_that_is_no_number_is_left_out_with_a_code(value: Any) -> None:
    document = json.loads(encode(HOUSE))
    document["cargo:shipment"]["cargo:totalGrossWeight"]["cargo:numericalValue"] = value
    found = house_of(encode(document))
    assert "gross_weight_kg" not in found.fields
    assert "number_malformed" in found.quality


def test_a_weight_without_a_unit_is_kilograms_in_doubt() -> None:
    document = json.loads(encode(HOUSE))
    del document["cargo:shipment"]["cargo:totalGrossWeight"]["cargo:unit"]
    found = house_of(encode(document))
    assert (found.fields["gross_weight_kg"], found.quality) == (10.0, ("unit_doubtful",))


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


def test_objects_are_linked_over_the_documents_of_a_run_in_any_order() -> None:
    for documents in (LINKED, LINKED[::-1]):
        ((source, found),) = link(*documents)
        assert given(found.fields) == LINKED_FIELDS
        assert (found.level, found.quality) == ("direct", ())
        assert source == f"{documents.index(LINKED[0])}.json"


def test_a_graph_of_one_document_links_its_objects() -> None:
    assert (
        given(declaration(read_one_record, encode({"@context": {"cargo": CARGO}, "@graph": LINKED})).fields)
        == LINKED_FIELDS
    )


def test_a_link_that_leads_nowhere_is_a_code_and_the_rest_is_read() -> None:
    ((_, found),) = link(*LINKED[:4], *LINKED[5:])
    assert found.quality == ("link_unresolved",)
    assert found.fields["gross_weight_kg"] == 40.0
    assert "hs_code" not in found.fields


def test_a_master_adds_its_route_and_its_houses_stand_under_it() -> None:
    house = {
        "@id": BASE + "h",
        "@type": "Waybill",
        "waybillNumber": "H1",
        "shipment": {"goodsDescription": "tea"},
    }
    master = {
        "@type": "Waybill", "@id": BASE + "m", "waybillPrefix": "180", "waybillNumber": "180-12345675", "waybillType": {"@id": "cargo:MASTER"},
        "houseWaybills": [{"@id": BASE + "h"}], "departureLocation": {"locationCodes": "PVG"}, "arrivalLocation": {"locationCodes": "ICN"},
        "shipment": {"goodsDescription": "CONSOLIDATION"},
    }  # fmt: skip
    (_, details), (_, found) = link(house, master)
    assert isinstance(details, MasterDetails)
    assert details.number == "180-12345675"
    assert details.fields == {"route": "PVG>ICN", "departure_country": "CN", "destination_country": "KR"}
    assert details.declaration is not None
    assert details.declaration.level == "master"
    assert (found.level, found.fields["consignment_id"]) == ("house", "180-12345675/H1")


def test_a_stub_of_a_master_declares_nothing_of_its_own() -> None:
    (stub,) = masters(read_one_record, encode(HOUSE))
    assert (stub.number, stub.fields, stub.declaration) == ("180-12345675", {}, None)


def test_a_direct_waybill_that_says_consolidation_is_in_doubt() -> None:
    document = {
        "@type": "cargo:Waybill",
        "waybillPrefix": "180",
        "waybillNumber": "12345675",
        "waybillType": "DIRECT",
        "shipment": {"goodsDescription": "CONSOL AS PER LIST"},
    }
    assert declaration(read_one_record, encode(document)).quality == ("consolidation_undeclared",)


def test_a_shipment_without_a_waybill_has_an_identifier_of_its_content() -> None:
    shipment = {
        "@context": {"cargo": CARGO},
        "@type": "cargo:Shipment",
        "cargo:goodsDescription": "printed leaflets",
        "cargo:pieces": [{"@id": BASE + "p"}],
    }
    found = declaration(read_one_record, encode(shipment))
    assert found.fields["consignment_id"].startswith("unidentified:")
    assert (found.fields["description"], found.fields["pieces"]) == ("printed leaflets", 1.0)
    assert found.quality == ("identifier_missing", "link_unresolved")


def test_pieces_counted_otherwise_than_listed_are_in_doubt() -> None:
    document = json.loads(encode(HOUSE))
    document["cargo:waybillLineItems"] = [{"cargo:pieceCountForRate": 5}]
    found = house_of(encode(document))
    assert (found.fields["pieces"], found.quality) == (5.0, ("piece_count_mismatch",))


@pytest.mark.parametrize("kind", ["Company", "Piece", "LogisticsEvent", "CustomsInformation"])
def test_objects_without_goods_are_named_and_ignored(kind: str) -> None:
    (found,) = read(
        read_one_record, encode({"@context": {"cargo": CARGO}, "@type": f"cargo:{kind}", "cargo:name": "x"})
    )
    assert found == Ignored(f"ONE Record {kind.lower()}", "no waybill, shipment or goods in it")


def test_circles_of_links_end() -> None:
    piece = {
        "@id": BASE + "p",
        "@type": "Piece",
        "containedPieces": [{"@id": BASE + "p"}],
        "ofShipment": {"@id": BASE + "s"},
        "goodsDescription": "tea",
    }
    shipment = {
        "@id": BASE + "s",
        "@type": "Shipment",
        "pieces": [{"@id": BASE + "p"}],
        "waybill": {"@id": BASE + "w"},
    }
    waybill = {
        "@id": BASE + "w",
        "@type": "Waybill",
        "masterWaybill": {"@id": BASE + "w"},
        "houseWaybills": [{"@id": BASE + "w"}],
        "waybillNumber": "180-12345675",
    }
    found = [parsed for _, parsed in link(piece, shipment, waybill)]
    assert len(found) == 1


def test_pieces_that_all_link_to_all_are_read_once_each() -> None:
    links = [{"@id": f"{BASE}{number}"} for number in range(100)]
    pieces = [
        {**link, "@type": "Piece", "goodsDescription": "tea", "containedPieces": links} for link in links
    ]
    shipment = {"@id": BASE + "s", "@type": "Shipment", "pieces": links, "goodsDescription": "tea"}
    (found,) = [parsed for _, parsed in link(*pieces, shipment)]  # 100**6 lines of goods without a bound
    assert isinstance(found, Declaration)
    assert sum(item["quantity"] for item in found.fields["items"]) <= 100


def test_a_piece_that_stands_in_another_and_in_the_shipment_is_one_line() -> None:
    inner = {"@id": BASE + "i", "@type": "Piece", "goodsDescription": "tea"}
    outer = {"@id": BASE + "o", "@type": "Piece", "containedPieces": [{"@id": BASE + "i"}]}
    for order in (("i", "o"), ("o", "i")):
        links = [{"@id": BASE + name} for name in order]
        (found,) = [parsed for _, parsed in link(inner, outer, {"@type": "Shipment", "pieces": links})]
        assert isinstance(found, Declaration)
        assert [(item["description"], item["quantity"]) for item in found.fields["items"]] == [("tea", 1.0)]


@pytest.mark.parametrize(
    "content",
    [b"", b"[", b'"text"', b"7", b'{"@type": ', b"[" * 100_000, b'{"a":' * 5000 + b"1" + b"}" * 5000],
)
def test_broken_and_deeply_nested_documents_are_faults(content: bytes) -> None:
    with pytest.raises(MessageFault):
        read(read_one_record, content)
