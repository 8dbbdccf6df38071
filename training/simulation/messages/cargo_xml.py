"""Consignments of air cargo written as Cargo-XML: a house as XFZB, a direct waybill as XFWB."""

from collections.abc import Mapping
from itertools import pairwise

from lxml import etree

from consignments.records import Consignment, Item
from training.simulation.messages.parts import get_party, list_notes

INDICATORS = {"prepaid": "true", "collect": "false"}
HOUSE, DIRECT = ("HouseWaybill", "iata:housewaybill:1", "703"), ("Waybill", "iata:waybill:1", "740")
DATA_MODEL = "iata:datamodel:3"
CONTACT = {"DirectTelephoneCommunication/CompleteNumber": "phone", "URIEmailCommunication/URIID": "email"}
ADDRESS = {"PostcodeCode": "postcode", "StreetName": "address", "CityName": "city", "CountryID": "country"}
PARTY_PATHS = {"PostalStructuredAddress": ADDRESS, "DefinedTradeContact": CONTACT}
ITEM_PATHS = {"TypeCode": "hs_code", "PieceQuantity": "quantity"}
ITEM_PATHS |= {"NatureIdentificationTransportCargo/Identification": "description"}
ITEM_PATHS |= {"OriginCountry/ID": "origin_country"}
Element = etree._Element


def write_cargo_xml(record: Consignment) -> bytes:
    """Write a consignment as one message.

    >>> b"HouseWaybill" in write_cargo_xml(Consignment("180-12345675/H1", "air_cargo", description="tea"))
    True
    """
    master, _, house = record.consignment_id.partition("/")
    name, namespace, kind = HOUSE if house else DIRECT
    root = etree.Element(f"{{{namespace}}}{name}", nsmap={"rsm": namespace, "ram": DATA_MODEL})
    head = etree.SubElement(root, f"{{{namespace}}}MessageHeaderDocument")
    issued = None if record.received_at is None else record.received_at.isoformat()
    _add_texts(head, {"ID": record.consignment_id, "TypeCode": kind, "IssueDateTime": issued})
    _add_texts(head, {"PurposeCode": "Creation", "VersionID": "3.00"})
    business = etree.SubElement(root, f"{{{namespace}}}BusinessHeaderDocument")
    _add(business, "ID", house or master)
    waybill = etree.SubElement(root, f"{{{namespace}}}MasterConsignment")
    if house:
        _add(_add(waybill, "TransportContractDocument"), "ID", master)
        _fill_waybill(_add(waybill, "IncludedHouseConsignment"), record, "IncludedHouseConsignmentItem")
    else:
        _fill_waybill(waybill, record, "ApplicableRating/IncludedMasterConsignmentItem")
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True)


def _add(parent: Element, path: str, text: str | float | None = None, **attributes: str) -> Element:
    """Add an element on a path of names; return the last."""
    for name in path.split("/"):
        parent = etree.SubElement(parent, f"{{{DATA_MODEL}}}{name}")
    for name, value in attributes.items():
        parent.set(name, value)
    if text is not None:
        parent.text = text if isinstance(text, str) else repr(text)
    return parent


def _add_texts(parent: Element, texts: Mapping[str, str | float | None]) -> None:
    """Add an element for each path that has a text."""
    for path, text in texts.items():
        if text is not None:
            _add(parent, path, text)


def _fill_waybill(node: Element, record: Consignment, items_path: str) -> None:
    _add_charges(node, record, is_house=items_path.startswith("IncludedHouse"))
    if record.gross_weight_kg is not None:
        _add(node, "IncludedTareGrossWeightMeasure", record.gross_weight_kg, unitCode="KGM")
    _add_texts(node, {"TotalPieceQuantity": record.pieces, "SummaryDescription": record.description})
    _add_party(node, "ConsignorParty", record, "sender")
    _add_party(node, "ConsigneeParty", record, "consignee")
    _add_texts(node, {"FreightForwarderParty/Name": record.declarant})
    _add_journey(node, record)
    for code, content in list_notes(record):
        texts = {"ContentCode": code, "Content": content, "SubjectCode": "CUS", "CountryID": "US"}
        _add_texts(_add(node, "IncludedCustomsNote"), texts)
    _add_texts(node, {"ApplicableOriginCurrencyExchange/SourceCurrencyCode": record.currency})
    only = Item(hs_code=record.hs_code, origin_country=record.origin_country)
    for item in record.items or ([only] if only != Item() else []):
        _add_texts(_add(node, items_path), {path: getattr(item, name) for path, name in ITEM_PATHS.items()})


def _add_charges(node: Element, record: Consignment, *, is_house: bool) -> None:
    currency = {"currencyID": record.currency} if record.currency else {}
    if record.declared_value is None:
        _add(node, "NilCustomsValueIndicator", "true")
    else:
        _add(node, "DeclaredValueForCustomsAmount", record.declared_value, **currency)
    if record.payment in INDICATORS:
        _add(node, "TotalChargePrepaidIndicator", INDICATORS[record.payment])
    if record.postage is not None:
        total = "ApplicableTotalRating/ApplicablePrepaidCollectMonetarySummation/GrandTotalAmount"
        _add(node, "TotalPrepaidChargeAmount" if is_house else total, record.postage, **currency)


def _add_party(node: Element, name: str, record: Consignment, prefix: str) -> None:
    party, values = _add(node, name), get_party(record, prefix)
    account = record.account_id if prefix == "sender" else None
    _add_texts(party, {"Name": values["name"], "AccountID": account})
    for place, paths in PARTY_PATHS.items():
        _add_texts(_add(party, place), {path: values[part] for path, part in paths.items()})


def _add_journey(node: Element, record: Consignment) -> None:
    places = record.route.split(">") if record.route else []
    if places:
        _add(node, "OriginLocation/ID", places[0])
        _add(node, "FinalDestinationLocation/ID", places[-1])
    legs: list[tuple[str | None, str | None]] = [*pairwise(places)] or [(None, None)]
    for number, (start, end) in enumerate(legs, start=1):
        if record.carrier is None and start is None:
            return
        movement = _add(node, "SpecifiedLogisticsTransportMovement")
        _add(movement, "SequenceNumeric", str(number))
        if record.carrier is not None:
            _add(movement, "UsedLogisticsTransportMeans/Name", record.carrier)
        for way, place in (("Arrival", end), ("Departure", start)):
            if place is not None:
                _add(movement, f"{way}Event/Occurrence{way}Location/ID", place)
