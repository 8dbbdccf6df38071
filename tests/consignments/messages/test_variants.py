"""Variants of the standards, with expected values written by hand: versions, envelopes, prefix styles, spellings of keys."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from support.messages import ParsedMessages, read_messages

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
CARGO = "https://onerecord.iata.org/ns/cargo#"
DATA = 'xmlns="iata:datamodel:3"'


def read(message: str | dict[str, Any]) -> ParsedMessages:
    """Read one message."""
    content = message if isinstance(message, str) else msgspec.json.encode(message).decode()
    return read_messages([content.encode()], now=NOW)


def describe(found: ParsedMessages) -> list[dict[str, Any]]:
    """Return the fields that have values; of items too."""
    rows = [msgspec.to_builtins(c) for c in found.consignments]
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def check(message: str | dict[str, Any], *expected: dict[str, Any], doubts: set[str] | None = None) -> None:
    """Check the rows of a message: all expected fields, and whether codes are there if `doubts` is given."""
    found = read(message)
    rows = describe(found)
    assert len(rows) == len(expected), (rows, found.rejects, found.ignored)
    for row, wanted in zip(rows, expected, strict=True):
        assert {name: row.get(name) for name in wanted} == wanted
    if doubts is not None:
        assert set(rows[0].get("quality", ())) == doubts


# --- Cargo-IMP ----------------------------------------------------------------------------------------------------------

FWB_ENDS = """SHP
/NORDLICHT OPTIK GMBH
/AM HAFEN 3
/HAMBURG
/DE/20457/TE/4940123456
CNE
/DAEHAN LENS
/TEHERAN-RO 5
/SEOUL
/KR/06134
CVD/EUR//PP/NVD/900/XXX
RTD/1/P4/K12.5/CQ/W12.5/R3/T37.5
/NG/OPTICAL LENSES
/2/NH/900190
"""
FWB_FIELDS = {
    "consignment_id": "180-12345675",
    "level": "direct",
    "sender_name": "NORDLICHT OPTIK GMBH",
    "sender_address": "AM HAFEN 3",
    "sender_city": "HAMBURG",
    "sender_postcode": "20457",
    "sender_country": "DE",
    "sender_phone": "4940123456",
    "consignee_name": "DAEHAN LENS",
    "consignee_city": "SEOUL",
    "consignee_country": "KR",
    "description": "OPTICAL LENSES",
    "hs_code": "900190",
    "pieces": 4.0,
    "gross_weight_kg": 12.5,
    "declared_value": 900.0,
    "currency": "EUR",
    "departure_country": "DE",
    "destination_country": "KR",
}


@pytest.mark.parametrize("version", [9, 10, 12, 13, 14, 15, 16, 17])
def test_every_version_of_fwb(version: int) -> None:
    check(f"FWB/{version}\n180-12345675HAMICN/T4K12.5\nRTG/FRALH/ICNKE\n{FWB_ENDS}", FWB_FIELDS)


def test_fwb_with_route_and_carrier() -> None:
    check(
        f"FWB/16\r\n180-12345675HAMICN/T4K12.5\r\nFLT/LH712/11\r\nRTG/FRALH/ICNLH\r\n{FWB_ENDS}".replace(
            "\n", "\r\n"
        ),
        FWB_FIELDS | {"route": "HAM>FRA>ICN", "carrier": "LH"},
    )


def test_fwb_in_pounds() -> None:
    check(
        "FWB/16\n180-12345675HAMICN/T4L100\n" + FWB_ENDS.replace("K12.5", "L100"),
        FWB_FIELDS | {"gross_weight_kg": 45.359237},
    )


@pytest.mark.parametrize(
    "envelope",
    [
        "QK SELFFKE HKGFFCX\n.FRAFFLH 092215\n",
        "QU ICNFMKE\n.HAMFFLH 092215 MAR26\n",
        "\x01QD SELFFKE\r\n.FRAFFLH 092215\r\n\x02",
        "ZCZC ABC123\nQK SELFFKE\n.FRAFFLH 092215\n",
    ],
)
def test_fwb_in_an_envelope(envelope: str) -> None:
    check(
        f"{envelope}FWB/16\n180-12345675HAMICN/T4K12.5\n{FWB_ENDS}",
        FWB_FIELDS | {"issued_at": "2026-03-09T22:15:00Z"},
    )


def test_fwb_of_a_consolidation() -> None:
    check(
        "FWB/16\n180-12345675HAMICN/T4K12.5\n" + FWB_ENDS.replace("/NG/OPTICAL LENSES\n/2/NH/900190", "/NC/CONSOLIDATION\n/2/NC/AS PER LIST"),
        {"consignment_id": "180-12345675", "level": "master", "description": "CONSOLIDATION AS PER LIST"},
    )  # fmt: skip


def test_direct_fwb_that_says_consolidation() -> None:
    check(
        "FWB/16\n180-12345675HAMICN/T4K12.5\n" + FWB_ENDS.replace("OPTICAL LENSES", "CONSOL SHIPMENT"),
        FWB_FIELDS | {"description": "CONSOL SHIPMENT"},
        doubts={"consolidation_undeclared", "piece_count_mismatch"} - {"piece_count_mismatch"},
    )


FHL_HEAD = "MBI/180-12345675HAMICN/T9K30\n"
HOUSE_FIELDS = {
    "consignment_id": "180-12345675/H77",
    "master_id": "180-12345675",
    "level": "house",
    "pieces": 2.0,
    "gross_weight_kg": 7.5,
    "description": "SILICONE MOULDS",
}


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_every_version_of_fhl(version: int) -> None:
    check(f"FHL/{version}\n{FHL_HEAD}HBS/H77/HAMICN/2/K7.5//SILICONE MOULDS\n", HOUSE_FIELDS)


def test_fhl_parties_with_named_lines() -> None:
    check(
        f"FHL/5\n{FHL_HEAD}HBS/H77/HAMICN/2/K7.5//SILICONE MOULDS\nSHP\nNAM/FORMEN AG\nADR/WEG 1\nLOC/BREMEN\n/DE/28195/TE/49421555\n"
        "CNE\nNAM/LEE MI NA\nADR/SEJONG-DAERO 9\nLOC/SEOUL\n/KR/04513\nCVD/EUR/PP/NVD/60/XXX\n",
        HOUSE_FIELDS
        | {
            "sender_name": "FORMEN AG",
            "sender_address": "WEG 1",
            "sender_city": "BREMEN",
            "sender_postcode": "28195",
            "sender_phone": "49421555",
            "consignee_name": "LEE MI NA",
            "consignee_address": "SEJONG-DAERO 9",
            "consignee_postcode": "04513",
            "declared_value": 60.0,
            "currency": "EUR",
        },
    )


def test_fhl_with_pieces_inside_and_a_long_text() -> None:
    check(
        f"FHL/4\n{FHL_HEAD}HBS/H77/HAMICN/2/K7.5/120/SILICONE MOUL\nTXT/SILICONE MOULDS FOR BAKING AND\n/CRAFTS\nHTS/392490\n",
        HOUSE_FIELDS | {"description": "SILICONE MOULDS FOR BAKING AND CRAFTS", "hs_code": "392490"},
    )


def test_the_houses_of_a_consolidation_in_one_fhl() -> None:
    check(
        f"FHL/4\n{FHL_HEAD}HBS/H77/HAMICN/2/K7.5//SILICONE MOULDS\nHBS/H78/HAMPUS/7/K22.5//CANDLES\n",
        HOUSE_FIELDS,
        {"consignment_id": "180-12345675/H78", "pieces": 7.0, "gross_weight_kg": 22.5, "description": "CANDLES", "route": "HAM>ICN>PUS"},
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["FFM/8", "FSU/15", "FBL/4", "FFR/6", "FMA", "FNA"])
def test_messages_without_goods_are_named(kind: str) -> None:
    found = read(f"{kind}\n1/LH712/11MAR/FRA\nICN\n180-12345675HAMICN/T4K12.5\n")
    assert (found.consignments, found.rejects) == ((), ())
    assert found.ignored[0].startswith(kind.partition("/")[0])


# --- Cargo-XML ----------------------------------------------------------------------------------------------------------

HOUSE_BODY = (
    "<TransportContractDocument><ID>180-12345675</ID></TransportContractDocument><OriginLocation><ID>HAM</ID></OriginLocation>"
    "<FinalDestinationLocation><ID>ICN</ID></FinalDestinationLocation><IncludedHouseConsignment>"
    "<TransportContractDocument><ID>H77</ID></TransportContractDocument>"
    '<IncludedTareGrossWeightMeasure unitCode="KGM">7.5</IncludedTareGrossWeightMeasure><TotalPieceQuantity>2</TotalPieceQuantity>'
    "<SummaryDescription>SILICONE MOULDS</SummaryDescription>"
    "<ConsignorParty><Name>FORMEN AG</Name><PostalStructuredAddress><PostcodeCode>28195</PostcodeCode><StreetName>WEG 1</StreetName>"
    "<CityName>BREMEN</CityName><CountryID>de</CountryID></PostalStructuredAddress></ConsignorParty>"
    "<OriginLocation><ID>HAM</ID></OriginLocation><FinalDestinationLocation><ID>PUS</ID></FinalDestinationLocation>"
    "</IncludedHouseConsignment>"
)
XML_FIELDS = HOUSE_FIELDS | {
    "sender_name": "FORMEN AG",
    "sender_country": "DE",
    "route": "HAM>ICN>PUS",
    "issued_at": "2026-03-10T07:00:00Z",
}
HEAD = (
    "<MessageHeaderDocument><ID>1</ID><TypeCode>{code}</TypeCode><IssueDateTime>2026-03-10T08:00:00+01:00</IssueDateTime>"
    "<PurposeCode>{purpose}</PurposeCode><VersionID>{version}</VersionID></MessageHeaderDocument>"
)


def prefix(body: str, name: str) -> str:
    """Give every element a prefix."""
    return body.replace("</", "\0").replace("<", f"<{name}:").replace("\0", f"</{name}:")


@pytest.mark.parametrize("version", ["1.00", "2.00", "3.00", "4.00"])
def test_every_version_of_xfzb(version: str) -> None:
    head = HEAD.format(code=703, purpose="CREATION", version=version)
    check(
        f'<HouseWaybill xmlns="iata:housewaybill:1">{head.replace("<MessageHeaderDocument>", f"<MessageHeaderDocument {DATA}>")}'
        f"<BusinessHeaderDocument {DATA}><ID>H77</ID></BusinessHeaderDocument><MasterConsignment {DATA}>{HOUSE_BODY}</MasterConsignment></HouseWaybill>",
        XML_FIELDS,
    )


@pytest.mark.parametrize(
    "namespace", ["iata:housewaybill:1", "iata:housewaybill:2", "urn:iata:housewaybill", ""]
)
def test_xfzb_in_any_namespace(namespace: str) -> None:
    body = prefix(HEAD.format(code=703, purpose="Creation", version="3.00") + "<BusinessHeaderDocument><ID>H77</ID></BusinessHeaderDocument>"
                  f"<MasterConsignment>{HOUSE_BODY}</MasterConsignment>", "ram")  # fmt: skip
    root = f'rsm:HouseWaybill xmlns:rsm="{namespace}"' if namespace else "HouseWaybill"
    end = "rsm:HouseWaybill" if namespace else "HouseWaybill"
    check(f'<{root} xmlns:ram="iata:datamodel:3">{body}</{end}>', XML_FIELDS)


def test_xfzb_that_deletes() -> None:
    head = HEAD.format(code=703, purpose="DELETION", version="3.00")
    check(
        f"<HouseWaybill>{head}<BusinessHeaderDocument><ID>H77</ID></BusinessHeaderDocument><MasterConsignment>{HOUSE_BODY}</MasterConsignment></HouseWaybill>",
        XML_FIELDS | {"cancelled_at": "2026-03-10T07:00:00Z"},
    )


WAYBILL_BODY = (
    '<IncludedTareGrossWeightMeasure unitCode="LBR">100</IncludedTareGrossWeightMeasure><TotalPieceQuantity>4</TotalPieceQuantity>'
    '<ConsignorParty><Name>NORDLICHT OPTIK GMBH</Name></ConsignorParty><OriginLocation><ID>HAM</ID></OriginLocation>'
    "<FinalDestinationLocation><ID>ICN</ID></FinalDestinationLocation><ApplicableRating><IncludedMasterConsignmentItem>"
    "<TypeCode>900190</TypeCode><PieceQuantity>4</PieceQuantity><NatureIdentificationTransportCargo><Identification>{goods}</Identification>"
    "</NatureIdentificationTransportCargo></IncludedMasterConsignmentItem></ApplicableRating>"
)  # fmt: skip


@pytest.mark.parametrize(("version", "space"), [("1.00", "iata:waybill:1"), ("2.00", "iata:waybill:1"), ("3.00", "iata:waybill:2"), ("5.00", "iata:waybill:1")])  # fmt: skip
def test_every_version_of_xfwb(version: str, space: str) -> None:
    head = HEAD.format(code=740, purpose="Update", version=version)
    check(
        f'<ns2:Waybill xmlns:ns2="{space}">{head}<BusinessHeaderDocument><ID>18012345675</ID></BusinessHeaderDocument>'
        f'<MasterConsignment>{WAYBILL_BODY.format(goods="OPTICAL LENSES")}</MasterConsignment></ns2:Waybill>',
        {"consignment_id": "180-12345675", "level": "direct", "gross_weight_kg": 45.359237, "hs_code": "900190", "description": "OPTICAL LENSES"},
    )  # fmt: skip


def test_xfwb_of_a_consolidation() -> None:
    head = HEAD.format(code=741, purpose="Creation", version="3.00")
    check(
        f"<Waybill>{head}<BusinessHeaderDocument><ID>180-12345675</ID></BusinessHeaderDocument>"
        f"<MasterConsignment>{WAYBILL_BODY.format(goods='CONSOLIDATION')}</MasterConsignment></Waybill>",
        {"consignment_id": "180-12345675", "level": "master"},
    )


def test_xfhl_lists_houses() -> None:
    head = HEAD.format(code=785, purpose="Creation", version="2.00")
    house = (
        "<IncludedHouseConsignment><SequenceNumeric>{n}</SequenceNumeric><GrossWeightMeasure unitCode='KGM'>{kg}</GrossWeightMeasure>"
        "<TotalPieceQuantity>{pieces}</TotalPieceQuantity><SummaryDescription>{goods}</SummaryDescription>"
        "<TransportContractDocument><ID>{name}</ID></TransportContractDocument><OriginLocation><ID>HAM</ID></OriginLocation>"
        "<FinalDestinationLocation><ID>ICN</ID></FinalDestinationLocation></IncludedHouseConsignment>"
    )
    check(
        f'<HouseManifest xmlns="iata:housemanifest:1">{head}<BusinessHeaderDocument><ID>180-12345675</ID></BusinessHeaderDocument><MasterConsignment>'
        "<TotalPieceQuantity>9</TotalPieceQuantity><TransportContractDocument><ID>180-12345675</ID></TransportContractDocument>"
        + house.format(n=1, kg=7.5, pieces=2, goods="SILICONE MOULDS", name="H77")
        + house.format(n=2, kg=22.5, pieces=7, goods="CANDLES", name="H78")
        + "</MasterConsignment></HouseManifest>",
        HOUSE_FIELDS,
        {
            "consignment_id": "180-12345675/H78",
            "pieces": 7.0,
            "gross_weight_kg": 22.5,
            "description": "CANDLES",
        },
    )


@pytest.mark.parametrize(
    ("code", "state"),
    [("CO", "assessment_complete"), ("RI", "request_for_information"), ("RS", "request_for_screening"), ("CD", "do_not_load")],
)  # fmt: skip
def test_xcsn(code: str, state: str) -> None:
    head = HEAD.format(code=962, purpose="Creation", version="1.00")
    found = read(
        f'<CustomsStatusNotification xmlns="iata:customsstatusnotification:1">{head}<BusinessHeaderDocument><StatusCode>{code}</StatusCode>'
        "</BusinessHeaderDocument><MasterConsignment><AssociatedReferenceDocument><ID>180-12345675</ID><TypeCode>741</TypeCode>"
        "</AssociatedReferenceDocument><AssociatedReferenceDocument><ID>H77</ID><TypeCode>703</TypeCode></AssociatedReferenceDocument>"
        "</MasterConsignment></CustomsStatusNotification>"
    )
    (row,) = found.states
    assert (row.consignment_id, row.state, row.code) == ("180-12345675/H77", state, code)


# --- ICS2 ---------------------------------------------------------------------------------------------------------------


def build_data_set(number: str, document: str, master: str = "") -> str:
    """Write a data set of ICS2 with one house."""
    return (
        f'<IE3{number} xmlns="urn:wco:datamodel:WCO:CIS:1"><documentIssueDate>2026-03-10T09:00:00+01:00</documentIssueDate><consignmentMasterLevel>'
        f"{master}<consignmentHouseLevel><totalGrossMass>7.5</totalGrossMass><consignor><name>FORMEN AG</name><address><city>BREMEN</city><country>DE</country>"
        "<street>WEG</street><number>1</number><postCode>28195</postCode></address></consignor><consignee><name>LEE MI NA</name></consignee><goodsItem>"
        "<commodity><descriptionOfGoods>silicone moulds</descriptionOfGoods><commodityCode><harmonizedSystemSubHeadingCode>392490"
        "</harmonizedSystemSubHeadingCode></commodityCode></commodity><packaging><numberOfPackages>2</numberOfPackages></packaging></goodsItem>"
        f"<transportDocumentHouseLevel><documentNumber>{document}</documentNumber></transportDocumentHouseLevel></consignmentHouseLevel>"
        f"</consignmentMasterLevel></IE3{number}>"
    )


ICS2_FIELDS = {
    "issued_at": "2026-03-10T08:00:00Z",
    "gross_weight_kg": 7.5,
    "sender_name": "FORMEN AG",
    "sender_address": "WEG 1",
    "sender_postcode": "28195",
    "consignee_name": "LEE MI NA",
    "description": "silicone moulds",
    "hs_code": "392490",
    "pieces": 2.0,
}
AIR_MASTER = "<transportDocumentMasterLevel><documentNumber>18012345675</documentNumber></transportDocumentMasterLevel>"


@pytest.mark.parametrize(
    ("number", "document", "master", "expected"),
    [
        ("F43", "RB123456785GB", "", {"consignment_id": "RB123456785GB", "channel": "postal"}),
        ("A43", "RB123456785GB", "", {"consignment_id": "RB123456785GB", "channel": "postal"}),
        ("F32", "EXP000123", AIR_MASTER, {"consignment_id": "180-12345675/EXP000123", "channel": "air_cargo", "service": "express"}),
        ("F30", "EXP000123", AIR_MASTER, {"service": "express", "master_id": "180-12345675"}),
        ("F26", "H77", AIR_MASTER, {"consignment_id": "180-12345675/H77", "level": "house", "channel": "air_cargo"}),
        ("F24", "H77", AIR_MASTER, {"consignment_id": "180-12345675/H77", "level": "house"}),
    ],
)  # fmt: skip
def test_ics2(number: str, document: str, master: str, expected: dict[str, Any]) -> None:
    check(build_data_set(number, document, master), ICS2_FIELDS | expected)


# --- ONE Record ---------------------------------------------------------------------------------------------------------

OR_FIELDS = {
    "consignment_id": "180-12345675/H77",
    "level": "house",
    "gross_weight_kg": 7.5,
    "description": "silicone moulds",
}


def test_one_record_2_0_with_a_shipment_of_pieces() -> None:
    check(
        {
            "@context": {"@vocab": CARGO},
            "@type": "Waybill",
            "waybillType": "House",
            "waybillPrefix": "",
            "waybillNumber": "H77",
            "masterWaybill": {"@type": "Waybill", "waybillPrefix": "180", "waybillNumber": "12345675"},
            "shipment": {
                "@type": "Shipment",
                "goodsDescription": "silicone moulds",
                "totalGrossWeight": {"@type": "Value", "value": 7.5, "unit": "KGM"},
                "shipmentOfPieces": [{"@type": "Piece"}, {"@type": "Piece"}],
            },
        },
        OR_FIELDS,
    )


@pytest.mark.parametrize("style", ["prefix", "iri", "bare"])
def test_one_record_3_in_each_style_of_keys(style: str) -> None:
    lead = {"prefix": "cargo:", "iri": CARGO, "bare": ""}[style]
    context: dict[str, Any] = {"@context": {"cargo": CARGO} if style != "bare" else CARGO}
    master = {"@type": f"{lead}Waybill", f"{lead}waybillPrefix": "180", f"{lead}waybillNumber": "12345675"}
    check(
        context
        | {
            "@type": f"{lead}Waybill",
            f"{lead}waybillType": {"@id": f"{CARGO}HOUSE"},
            f"{lead}waybillNumber": "H77",
            f"{lead}isInvolvedInActions": [],
            f"{lead}referredBookingOption": None,
            f"{lead}masterWaybill": master,
            f"{lead}shipment": {
                "@type": f"{lead}Shipment",
                f"{lead}goodsDescription": "silicone moulds",
                f"{lead}totalGrossWeight": {
                    "@type": f"{lead}Value",
                    f"{lead}numericalValue": {
                        "@type": "http://www.w3.org/2001/XMLSchema#double",
                        "@value": "7.5",
                    },
                    f"{lead}unit": {"@id": "https://vocabulary.uncefact.org/WeightUnitMeasureCode#KGM"},
                },
                f"{lead}pieces": [{"@type": f"{lead}Piece"}, {"@type": f"{lead}Piece"}],
            },
        },
        OR_FIELDS | {"pieces": 2.0},
    )


def test_one_record_master_with_its_houses_in_a_graph() -> None:
    house = {
        "@id": "urn:h", "@type": "cargo:Waybill", "cargo:waybillType": {"@id": "cargo:HOUSE"}, "cargo:waybillNumber": "H77",
        "cargo:shipment": {"@id": "urn:s"},
    }  # fmt: skip
    master = {
        "@id": "urn:m", "@type": "cargo:Waybill", "cargo:waybillType": {"@id": "cargo:MASTER"}, "cargo:waybillPrefix": "180",
        "cargo:waybillNumber": "12345675", "cargo:houseWaybills": [{"@id": "urn:h"}],
    }  # fmt: skip
    shipment = {
        "@id": "urn:s", "@type": "cargo:Shipment", "cargo:goodsDescription": "silicone moulds",
        "cargo:totalGrossWeight": {"cargo:numericalValue": 7.5, "cargo:unit": "KGM"},
    }  # fmt: skip
    check({"@context": {"cargo": CARGO}, "@graph": [master, shipment, house]}, OR_FIELDS)


# --- post ---------------------------------------------------------------------------------------------------------------


def test_cn23_in_grams_and_totals() -> None:
    check(
        {
            "barcode": "RB123456785GB",
            "senderName": "Ann Smith",
            "senderCountry": "GB",
            "recipient": "Kim Min-ji",
            "destinationCountry": "KR",
            "shipmentGrossWeight": 450,
            "shipmentCurrency": "GBP",
            "shipmentNaturetype": "GIFT",
            "contents": [
                {
                    "contentPieceDescription": "wool scarf",
                    "contentPieceHsCode": "611710",
                    "contentPieceAmount": 2,
                    "contentPieceValue": "30.00",
                    "contentPieceNetweight": 400,
                    "contentPieceOrigin": "GB",
                }
            ],
        },
        {
            "consignment_id": "RB123456785GB",
            "channel": "postal",
            "nature": "gift",
            "gross_weight_kg": 0.45,
            "declared_value": 30.0,
            "hs_code": "611710",
            "description": "wool scarf",
        },
    )


def test_cds_declaration_in_json() -> None:
    check(
        {
            "MailObject": {"Id": "CP123456785DE", "MailClassCd": "C"},
            "NatureTypeCd": "11",
            "SenderName": "Pen House",
            "SenderCountryCd": "DE",
            "RecipientName": "Lee Mi-na",
            "RecipientCountryCd": "KR",
            "GrossWeight": 1.2,
            "ContentPieces": [
                {"Description": "fountain pen", "Number": 2, "NetWeight": 0.2, "Amount": 40, "CurrencyCd": "EUR", "HS": "960830", "OrigCountryCd": "DEU"}
            ],
        },
        {
            "consignment_id": "CP123456785DE",
            "channel": "postal",
            "service": "parcel",
            "nature": "sale",
            "gross_weight_kg": 1.2,
            "declared_value": 40.0,
            "currency": "EUR",
            "hs_code": "960830",
            "origin_country": "DE",
            "consignee_name": "Lee Mi-na",
        },
    )  # fmt: skip


# --- defects ------------------------------------------------------------------------------------------------------------


def test_fwb_with_fields_broken_over_lines() -> None:
    check(
        "FWB/16\n180-12345675HAMICN/T4K12.5\n" + FWB_ENDS.replace("/K12.5/CQ", "/\nK12.5/CQ").replace("GMBH", "GM\nBH"),
        {name: value for name, value in FWB_FIELDS.items() if name != "sender_name"},
    )  # fmt: skip


def test_fwb_with_two_rate_lines() -> None:
    found = read(
        "FWB/17\n180-12345675HAMICN/T6K20\n"
        + FWB_ENDS
        + "/3/P2/K7.5/CQ/W7.5\n/4/NG/LENS CASES\n/5/NH/392690\n/6/NO/CN\n"
    )
    (row,) = found.consignments
    items = [(item.description, item.quantity, item.hs_code, item.origin_country) for item in row.items or ()]
    assert items == [("OPTICAL LENSES", 4.0, "900190", None), ("LENS CASES", 2.0, "392690", "CN")]


def test_fhl_with_customs_notes() -> None:
    check(
        f"FHL/4\n{FHL_HEAD}HBS/H77/HAMICN/2/K7.5//SILICONE MOULDS\nOCI/US/CUS/AE/20JAN23\n/US/CUS/BT/CTO\n/US/CUS/FT/03\n/US/CUS/RT/C2C\n"
        "/KR/CNE/T/P123456789012\n",
        HOUSE_FIELDS
        | {"account_opened_on": "2023-01-20", "payment": "crypto", "service": "ecommerce", "nature": "other"},
    )


def test_xfzb_of_two_houses() -> None:
    second = HOUSE_BODY[HOUSE_BODY.index("<IncludedHouse") :].replace("H77", "H78").replace("MOULDS", "MATS")
    head = HEAD.format(code=703, purpose="Creation", version="3.00")
    check(
        f"<HouseWaybill>{head}<BusinessHeaderDocument><ID>H77</ID></BusinessHeaderDocument><MasterConsignment>{HOUSE_BODY}{second}</MasterConsignment></HouseWaybill>",
        XML_FIELDS,
        XML_FIELDS | {"consignment_id": "180-12345675/H78", "description": "SILICONE MATS"},
    )


def test_a_rejected_waybill_in_a_cargo_xml_response() -> None:
    head = HEAD.format(code=294, purpose="Response", version="3.00")
    found = read(
        f'<Response xmlns="iata:response:3">{head}<BusinessHeaderDocument><ID>180-12345675</ID><StatusCode>Rejected</StatusCode></BusinessHeaderDocument>'
        "<ResponseStatus><ConditionCode>Error</ConditionCode><ReasonCode>7</ReasonCode><Reason>INVALID_ROUTING</Reason></ResponseStatus></Response>"
    )
    (row,) = found.states
    assert (row.consignment_id, row.state, row.code) == ("180-12345675", "error", "INVALID_ROUTING")


@pytest.mark.parametrize("tag", ["consignmentHouseLevel", "ConsignmentHouseLevel", "HouseConsignment"])
def test_f43_with_the_names_of_elements_in_another_case(tag: str) -> None:
    text = build_data_set("F43", "RB123456785GB").replace("consignmentHouseLevel", tag)
    check(text, ICS2_FIELDS | {"consignment_id": "RB123456785GB"})


def test_f43_in_an_envelope_with_prefixes() -> None:
    body = prefix(
        build_data_set("F43", "RB123456785GB").replace(' xmlns="urn:wco:datamodel:WCO:CIS:1"', ""), "cis"
    )
    check(
        f'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:cis="urn:wco:datamodel:WCO:CIS:1"><s:Body>{body}</s:Body></s:Envelope>',
        ICS2_FIELDS | {"consignment_id": "RB123456785GB"},
    )  # fmt: skip


def test_one_record_house_with_products_and_location_code() -> None:
    check(
        {
            "@context": {"cargo": CARGO},
            "@type": "cargo:Waybill",
            "cargo:waybillType": "HOUSE",
            "cargo:waybillNumber": "H77",
            "cargo:masterWaybill": {"cargo:waybillPrefix": "180", "cargo:waybillNumber": "12345675"},
            "cargo:departureLocation": {"@type": "cargo:Location", "cargo:locationCode": "HAM"},
            "cargo:arrivalLocation": {"@type": "cargo:Location", "cargo:locationCodes": [{"cargo:code": "ICN"}]},
            "cargo:shipment": {
                "cargo:totalGrossWeight": {"cargo:numericalValue": "7.5", "cargo:unit": "KGM"},
                "cargo:pieces": [
                    {"@type": "cargo:Piece", "cargo:goodsDescription": "silicone moulds",
                     "cargo:containedProducts": [{"@type": "cargo:Product", "cargo:hsCode": "392490"}]},
                ],
            },
        },
        OR_FIELDS | {"route": "HAM>ICN", "hs_code": "392490", "departure_country": "DE", "destination_country": "KR"},
    )  # fmt: skip
