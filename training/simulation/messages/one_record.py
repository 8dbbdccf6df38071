"""Consignments of air cargo written as ONE Record documents: a waybill with its shipment embedded, in JSON-LD."""

from itertools import pairwise
from typing import Any

import msgspec

from consignments.identifiers import parse_awb
from consignments.records import Consignment, Item
from training.simulation.messages.parts import get_party, list_notes

BASE = "https://onerecord.iata.org/ns"
CONTEXT = {"cargo": f"{BASE}/cargo#", "code": f"{BASE}/code-lists/"}
KILOGRAM = {"@id": "https://vocabulary.uncefact.org/UnitMeasureCode#KGM"}
INDICATORS = {"prepaid": "P", "collect": "C"}
NOTE_ORDER = ("AR", "AE", "BT", "FT", "RT")
MAX_WRITTEN_PIECES = 1000

JsonObject = dict[str, Any]


def write_one_record(c: Consignment) -> bytes:
    """Write a consignment as a JSON-LD document.

    >>> document = write_one_record(Consignment("180-12345675/H1", "air_cargo", master_id="180-12345675", description="tea"))
    >>> msgspec.json.decode(document)["cargo:waybillNumber"]
    'H1'
    """
    return msgspec.json.format(msgspec.json.encode({"@context": CONTEXT} | _build_waybill(c)), indent=1)


def _build(kind: str, **properties: Any) -> JsonObject:
    """Build an object of a type, without the properties that are missing or empty."""
    given = {f"cargo:{name}": value for name, value in properties.items() if value not in (None, [], {})}
    return {"@type": f"cargo:{kind}", **given}


def _build_code(code: str | None) -> JsonObject | None:
    return None if not code else _build("CodeListElement", code=code)


def _build_kilograms(weight: float | None) -> JsonObject | None:
    return None if weight is None else _build("Value", numericalValue=weight, unit=KILOGRAM)


def _build_amount(value: float | None, currency: str | None) -> JsonObject | None:
    unit = {"@id": f"code:CurrencyCode#{currency}"} if currency else None
    return _build("CurrencyValue", numericalValue=value, currencyUnit=unit)


def _build_waybill(c: Consignment) -> JsonObject:
    places = c.route.split(">") if c.route else []
    stops = pairwise(map(_build_place, places))
    legs = [_build("TransportLegs", departureLocation=start, arrivalLocation=end) for start, end in stops]
    indicator, postage = INDICATORS.get(c.payment or ""), _build_amount(c.postage, c.currency)
    has_value = c.declared_value is not None or c.currency
    paid = None if c.postage is None else [_build("WaybillLineItem", total=postage)]
    return _build(
        "Waybill",
        **_build_numbers(c),
        involvedParties=_list_parties(c),
        departureLocation=_build_place(places[0]) if places else None,
        arrivalLocation=_build_place(places[-1]) if len(places) > 1 else None,
        transportLegs=legs if len(places) > 2 else None,
        declaredValueForCustoms=_build_amount(c.declared_value, c.currency) if has_value else None,
        weightValuationIndicator={"@id": f"code:PrepaidCollectIndicator#{indicator}"} if indicator else None,
        waybillLineItems=paid,
        shipment=_build(
            "Shipment",
            goodsDescription=c.description,
            totalGrossWeight=_build_kilograms(c.gross_weight_kg),
            pieces=_list_pieces(c),
            customsInformation=_list_customs_information(c),
        ),
    )


def _build_numbers(c: Consignment) -> JsonObject:
    """Write the number of a direct waybill with its prefix, of a house with a stub of its master."""
    awb = parse_awb(c.consignment_id)
    if awb is not None and not awb.house:
        return _build_awb("DIRECT", awb)
    master = parse_awb(c.master_id or "") or awb
    return {
        "waybillType": {"@id": "cargo:HOUSE"},
        "waybillNumber": awb.house if awb else c.consignment_id,
        "masterWaybill": None if master is None else _build("Waybill", **_build_awb("MASTER", master)),
    }


def _build_awb(kind: str, awb: Any) -> JsonObject:
    number = f"{awb.serial}{awb.check}"
    return {"waybillType": {"@id": f"cargo:{kind}"}, "waybillPrefix": awb.prefix, "waybillNumber": number}


def _list_parties(c: Consignment) -> list[JsonObject]:
    parties = [(_build_party(c, "sender"), "SHP"), (_build_party(c, "consignee"), "CNE")]
    parties += [(_build("Company", name=c.declarant), "AGT"), (_build("Company", name=c.carrier), "AIR")]
    role_id, named = "code:ParticipantIdentifier#", [each for each in parties if len(each[0]) > 1]
    return [_build("Party", partyRole={"@id": f"{role_id}{role}"}, partyDetails=each) for each, role in named]


def _build_party(c: Consignment, prefix: str) -> JsonObject:
    name, street, city, postcode, country, phone, email = get_party(c, prefix).values()
    lines, code = [street] if street else None, _build_code(country)
    address = _build("Address", streetAddressLines=lines, cityName=city, postalCode=postcode, country=code)
    given = (({"@id": "cargo:PHONE_NUMBER"}, phone), ({"@id": "cargo:EMAIL_ADDRESS"}, email))
    written = [(kind, text) for kind, text in given if text]
    contacts = [_build("ContactDetail", contactDetailType=kind, textualValue=text) for kind, text in written]
    location = _build("Location", address=address) if len(address) > 1 else None
    return _build("Organization", name=name, basedAtLocation=location, contactDetails=contacts)


def _build_place(code: str) -> JsonObject:
    return _build("Location", locationCodes=[_build_code(code)])


def _list_pieces(c: Consignment) -> list[JsonObject]:
    pieces = [_build("Piece") for _ in range(min(int(c.pieces or 0), MAX_WRITTEN_PIECES))]
    items = [_build_item(item, c.currency) for item in c.items or ()]
    if not items and (c.hs_code or c.origin_country):
        items = [_build_item(Item(c.description, hs_code=c.hs_code, origin_country=c.origin_country), None)]
    if items:
        pieces = pieces or [_build("Piece")]
        pieces[0]["cargo:containedItems"] = items
    return pieces


def _build_item(item: Item, currency: str | None) -> JsonObject:
    price = None if item.value is None else item.value / (item.quantity or 1.0)
    return _build(
        "Item",
        ofProduct=_build("Product", description=item.description, hsCode=_build_code(item.hs_code)),
        itemQuantity=None if item.quantity is None else _build("Value", numericalValue=item.quantity),
        weight=_build_kilograms(item.net_weight_kg),
        unitPrice=None if price is None else _build_amount(price, currency),
        productionCountry=_build_code(item.origin_country),
    )


def _list_customs_information(c: Consignment) -> list[JsonObject]:
    """Write as customs notes what no other part of a waybill says."""
    notes = dict(list_notes(c)) | ({"AR": c.account_id} if c.account_id else {})
    subject, content = {"@id": "code:CustomsInformationSubject#CUS"}, "code:CustomsInformationContent#"
    given = (({"@id": f"{content}{code}"}, notes[code]) for code in NOTE_ORDER if code in notes)
    kind = "CustomsInformation"
    return [_build(kind, subjectCode=subject, contentCode=code, note=note) for code, note in given]
