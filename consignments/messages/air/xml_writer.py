"""Consignments of air cargo written as Cargo-XML: a house as XFZB, a direct waybill as XFWB.

Reading a message gives the consignment back, apart from `NOT_CARRIED`.
"""

from collections.abc import Iterator
from itertools import pairwise

from lxml import etree

from consignments.messages.air.customs_notes import PAYMENTS, SERVICES
from consignments.records import Consignment, Item

NOT_CARRIED = {
    "received_at": "the time of issue is written, which is taken for it",
    "office": "the message has no customs office",
    "cancelled_at": "a deletion is a message of its own",
    "departure_country": "it follows from the first place of the route, else it is the sender's",
    "destination_country": "it follows from the last place of the route, else it is the consignee's",
    "service": "only general, express and ecommerce have a code of customs notes",
    "nature": "only sale, returned and other have a code of customs notes",
    "payment": "only the kinds that customs notes have a code for, prepaid and collect",
    "items": "net weights and values of items have no element; one kind of goods comes back as one item",
    "hs_code": "it is that of the first item that has one",
    "origin_country": "it is that of the first item that has one",
    "master_id": "it is the number before the slash",
}
"""What a message cannot carry, by column, with the reason."""

NATURE_CODES = {"sale": "B2C", "returned": "C2B", "other": "C2C"}
SERVICE_CODES = {service: code for code, service in SERVICES.items()}
PAYMENT_CODES = {payment: code for code, payment in PAYMENTS.items()}
INDICATORS = {"prepaid": "true", "collect": "false"}
HOUSE, DIRECT = ("HouseWaybill", "iata:housewaybill:1", "703"), ("Waybill", "iata:waybill:1", "740")
DATA_MODEL = "iata:datamodel:3"
Element = etree._Element


def write_cargo_xml(record: Consignment) -> bytes:
    """Write a consignment as one message.

    Examples
    --------
    >>> b"HouseWaybill" in write_cargo_xml(Consignment("180-12345675/H1", "air_cargo", description="tea"))
    True
    """
    master, _, house = record.consignment_id.partition("/")
    name, namespace, kind = HOUSE if house else DIRECT
    root = etree.Element(f"{{{namespace}}}{name}", nsmap={"rsm": namespace, "ram": DATA_MODEL})
    head = etree.SubElement(root, f"{{{namespace}}}MessageHeaderDocument")
    _add(head, "ID", record.consignment_id)
    _add(head, "TypeCode", kind)
    if record.received_at is not None:
        _add(head, "IssueDateTime", record.received_at.isoformat())
    _add(head, "PurposeCode", "Creation")
    _add(head, "VersionID", "3.00")
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
    """Add an element on a path of names; give the last."""
    for name in path.split("/"):
        parent = etree.SubElement(parent, f"{{{DATA_MODEL}}}{name}")
    for name, value in attributes.items():
        parent.set(name, value)
    if text is not None:
        parent.text = text if isinstance(text, str) else repr(text)
    return parent


def _fill_waybill(node: Element, record: Consignment, items_path: str) -> None:
    _add_charges(node, record, is_house=items_path.startswith("IncludedHouse"))
    if record.gross_weight_kg is not None:
        _add(node, "IncludedTareGrossWeightMeasure", record.gross_weight_kg, unitCode="KGM")
    if record.pieces is not None:
        _add(node, "TotalPieceQuantity", record.pieces)
    if record.description is not None:
        _add(node, "SummaryDescription", record.description)
    _add_party(node, "ConsignorParty", record, "sender")
    _add_party(node, "ConsigneeParty", record, "consignee")
    if record.declarant is not None:
        _add(node, "FreightForwarderParty/Name", record.declarant)
    _add_journey(node, record)
    for code, content in _list_notes(record):
        note = _add(node, "IncludedCustomsNote")
        _add(note, "ContentCode", code)
        _add(note, "Content", content)
        _add(note, "SubjectCode", "CUS")
        _add(note, "CountryID", "US")
    if record.currency is not None:
        _add(node, "ApplicableOriginCurrencyExchange/SourceCurrencyCode", record.currency)
    for item in record.items or _build_only_item(record):
        _add_item(node, items_path, item)


def _build_only_item(record: Consignment) -> list[Item]:
    if record.hs_code is None and record.origin_country is None:
        return []
    return [Item(hs_code=record.hs_code, origin_country=record.origin_country)]


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
    party = _add(node, name)
    values = {
        part: getattr(record, f"{prefix}_{part}")
        for part in ("name", "address", "city", "postcode", "country", "phone", "email")
    }
    if values["name"] is not None:
        _add(party, "Name", values["name"])
    if prefix == "sender" and record.account_id is not None:
        _add(party, "AccountID", record.account_id)
    address = _add(party, "PostalStructuredAddress")
    for part, element in (
        ("postcode", "PostcodeCode"),
        ("address", "StreetName"),
        ("city", "CityName"),
        ("country", "CountryID"),
    ):
        if values[part] is not None:
            _add(address, element, values[part])
    contact = _add(party, "DefinedTradeContact")
    if values["phone"] is not None:
        _add(contact, "DirectTelephoneCommunication/CompleteNumber", values["phone"])
    if values["email"] is not None:
        _add(contact, "URIEmailCommunication/URIID", values["email"])


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


def _list_notes(record: Consignment) -> Iterator[tuple[str, str]]:
    """List what only customs notes carry: code and content."""
    if record.service in SERVICE_CODES:
        yield "FT", SERVICE_CODES[record.service]
    if record.nature in NATURE_CODES:
        yield "RT", NATURE_CODES[record.nature]
    if record.payment in PAYMENT_CODES:
        yield "BT", PAYMENT_CODES[record.payment]
    if record.account_opened_on is not None:
        yield "AE", f"{record.account_opened_on:%m%d%Y}"


def _add_item(node: Element, path: str, item: Item) -> None:
    line = _add(node, path)
    if item.hs_code is not None:
        _add(line, "TypeCode", item.hs_code)
    if item.quantity is not None:
        _add(line, "PieceQuantity", item.quantity)
    if item.description is not None:
        _add(line, "NatureIdentificationTransportCargo/Identification", item.description)
    if item.origin_country is not None:
        _add(line, "OriginCountry/ID", item.origin_country)
