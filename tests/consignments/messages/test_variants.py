"""Variants of the standards, with expected values written by hand: versions, envelopes, prefix styles, spellings of keys."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from support.messages import given, read_messages

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
CARGO = "https://onerecord.iata.org/ns/cargo#"
DATA = 'xmlns="iata:datamodel:3"'


def check(message: str | dict[str, Any], wanted: dict[str, Any]) -> None:
    """Check the fields of a message that gives one row; of items those that have values."""
    content = message.encode() if isinstance(message, str) else msgspec.json.encode(message)
    found = read_messages([content], now=NOW)
    rows = [given(msgspec.to_builtins(c)) for c in found.consignments]
    assert len(rows) == 1, (rows, found.rejects, found.ignored)
    assert {name: rows[0].get(name) for name in wanted} == wanted


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


FWB_LINE = "180-12345675HAMICN/T4K12.5\n"
FWB = f"FWB/16\n{FWB_LINE}{FWB_ENDS}"
RATE_LINE = "/3/P2/K7.5/CQ/W7.5\n/4/NG/LENS CASES\n/5/NH/392690\n/6/NO/CN\n"
BROKEN_LINES = FWB.replace("/K12.5/CQ", "/\nK12.5/CQ").replace("GMBH", "GM\nBH")
ENVELOPES = (
    "QK SELFFKE HKGFFCX\n.FRAFFLH 092215\n",
    "QU ICNFMKE\n.HAMFFLH 092215 MAR26\n",
    "\x01QD SELFFKE\r\n.FRAFFLH 092215\r\n\x02",
    "ZCZC ABC123\nQK SELFFKE\n.FRAFFLH 092215\n",
)


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        *((FWB.replace("FWB/16", f"FWB/{version}"), {}) for version in (9, 10, 12, 13, 14, 15, 16, 17)),
        *((envelope + FWB, {"issued_at": "2026-03-09T22:15:00Z"}) for envelope in ENVELOPES),
        (FWB.replace("CNE", "FLT/LH712/11\nRTG/FRALH/ICNLH\nCNE").replace("\n", "\r\n"), {"route": "HAM>FRA>ICN", "carrier": "LH"}),
        (FWB.replace("K12.5", "L100"), {"gross_weight_kg": 45.359237}),
        (FWB.replace("OPTICAL LENSES", "CONSOL SHIPMENT"), {"description": "CONSOL SHIPMENT", "quality": ("consolidation_undeclared",)}),
        (BROKEN_LINES, {"sender_name": "NORDLICHT OPTIK GM BH"}),
        (FWB + RATE_LINE, {"items": [
            {"description": "OPTICAL LENSES", "quantity": 4.0, "hs_code": "900190"},
            {"description": "LENS CASES", "quantity": 2.0, "hs_code": "392690", "origin_country": "CN"}]}),
    ],
)  # fmt: skip
def test_every_version_and_spelling_of_fwb(message: str, changes: dict[str, Any]) -> None:
    check(message, FWB_FIELDS | changes)


FHL_HEAD = "MBI/180-12345675HAMICN/T9K30\n"
HOUSE_FIELDS = {
    "consignment_id": "180-12345675/H77",
    "master_id": "180-12345675",
    "level": "house",
    "pieces": 2.0,
    "gross_weight_kg": 7.5,
    "description": "SILICONE MOULDS",
}


HOUSE_LINE = f"{FHL_HEAD}HBS/H77/HAMICN/2/K7.5//SILICONE MOULDS\n"
NAMED_LINES = (
    "SHP\nNAM/FORMEN AG\nADR/WEG 1\nLOC/BREMEN\n/DE/28195/TE/49421555\n"
    "CNE\nNAM/LEE MI NA\nADR/SEJONG-DAERO 9\nLOC/SEOUL\n/KR/04513\nCVD/EUR/PP/NVD/60/XXX\n"
)
NAMED_FIELDS = {
    "sender_name": "FORMEN AG", "sender_address": "WEG 1", "sender_city": "BREMEN", "sender_postcode": "28195", "sender_phone": "49421555",
    "consignee_name": "LEE MI NA", "consignee_address": "SEJONG-DAERO 9", "consignee_postcode": "04513", "declared_value": 60.0, "currency": "EUR",
}  # fmt: skip
NOTES = "OCI/US/CUS/AE/20JAN23\n/US/CUS/BT/CTO\n/US/CUS/FT/03\n/US/CUS/RT/C2C\n/KR/CNE/T/P123456789012\n"
NOTE_FIELDS = {
    "account_opened_on": "2023-01-20",
    "payment": "crypto",
    "service": "ecommerce",
    "nature": "other",
}
LONG_TEXT = (
    "HBS/H77/HAMICN/2/K7.5/120/SILICONE MOUL\nTXT/SILICONE MOULDS FOR BAKING AND\n/CRAFTS\nHTS/392490\n"
)


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        *((f"FHL/{version}\n{HOUSE_LINE}", {}) for version in (1, 2, 3, 4, 5)),
        (f"FHL/5\n{HOUSE_LINE}{NAMED_LINES}", NAMED_FIELDS),
        (f"FHL/4\n{FHL_HEAD}{LONG_TEXT}", {"description": "SILICONE MOULDS FOR BAKING AND CRAFTS", "hs_code": "392490"}),
        (f"FHL/4\n{HOUSE_LINE}{NOTES}", NOTE_FIELDS),
    ],
)  # fmt: skip
def test_every_version_and_spelling_of_fhl(message: str, changes: dict[str, Any]) -> None:
    check(message, HOUSE_FIELDS | changes)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        *((f"{kind}/8\n1/LH712/11MAR/FRA\nICN\n180-12345675HAMICN/T4K12.5\n", kind)
          for kind in ("FFM", "FSU", "FBL", "FFR", "FMA", "FNA", "UCM")),
        ('<FlightManifest xmlns="iata:flightmanifest:1"/>', "XFFM"), ("<StatusMessage/>", "XFSU"), ("<MetaData/>", "WCO DM"),
    ],
)  # fmt: skip
def test_messages_without_goods_are_named_and_no_rejects(message: str, kind: str) -> None:
    found = read_messages([message.encode()])
    assert (found.consignments, found.rejects) == ((), ())
    assert found.ignored[0].startswith(f"{kind}: ")


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


def write_houses(root: str, purpose: str = "Creation", version: str = "3.00", lead: str = "") -> str:
    """Write an XFZB under a root element, with a prefix or a namespace for all others."""
    head = HEAD.format(code=703, purpose=purpose, version=version)
    named = "<BusinessHeaderDocument><ID>H77</ID></BusinessHeaderDocument>"
    body = f"{head}{named}<MasterConsignment>{HOUSE_BODY}</MasterConsignment>"
    return f"<{root}>{prefix(body, lead) if lead else body}</{root.split()[0]}>"


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        *((write_houses(f"HouseWaybill {DATA}", "CREATION", f"{version}.00"), {}) for version in (1, 2, 3, 4)),
        *((write_houses(f'rsm:HouseWaybill xmlns:rsm="{space}" xmlns:ram="iata:datamodel:3"', lead="ram"), {})
          for space in ("iata:housewaybill:1", "iata:housewaybill:2", "urn:iata:housewaybill")),
        (write_houses("HouseWaybill xmlns:ram='iata:datamodel:3'", lead="ram"), {}),
        (write_houses("HouseWaybill", "DELETION"), {"cancelled_at": "2026-03-10T07:00:00Z"}),
    ],
)  # fmt: skip
def test_every_version_and_style_of_xfzb(message: str, changes: dict[str, Any]) -> None:
    check(message, XML_FIELDS | changes)


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


@pytest.mark.parametrize("tag", ["consignmentHouseLevel", "ConsignmentHouseLevel", "HouseConsignment"])
def test_f43_with_the_names_of_elements_in_another_case(tag: str) -> None:
    text = build_data_set("F43", "RB123456785GB").replace("consignmentHouseLevel", tag)
    check(text, ICS2_FIELDS | {"consignment_id": "RB123456785GB"})


# --- ONE Record ---------------------------------------------------------------------------------------------------------


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
        {"consignment_id": "180-12345675/H77", "level": "house", "gross_weight_kg": 7.5, "description": "silicone moulds",
         "route": "HAM>ICN", "hs_code": "392490", "departure_country": "DE", "destination_country": "KR"},
    )  # fmt: skip
