"""Consignments of air cargo written as ONE Record documents: a waybill with its shipment embedded, in JSON-LD.

Reading a document gives the consignment back, apart from `NOT_CARRIED`.
"""

from datetime import date
from itertools import pairwise
from typing import Any

import msgspec

from consignments.identifiers import parse_awb
from consignments.messages.air.customs_notes import PAYMENTS, SERVICES
from consignments.records import Consignment, Item

NOT_CARRIED = {
    "received_at": "the reader sets it",
    "office": "the format has no customs office",
    "cancelled_at": "the format has no cancellation",
    "departure_country": "it follows from the first place of the route, else it is the sender's",
    "destination_country": "it follows from the last place of the route, else it is the consignee's",
    "nature": "only sale, returned and other have a code of customs notes",
    "payment": "only the kinds that customs notes have a code for, prepaid and collect",
    "origin_country": "a waybill has none: it is that of the first item that has one",
    "items": "a consignment of one kind of goods comes back with one item that repeats it",
}
"""What a document cannot carry, by column, with the reason."""

CONTEXT = {
    "cargo": "https://onerecord.iata.org/ns/cargo#",
    "code": "https://onerecord.iata.org/ns/code-lists/",
}
UNIT_KILOGRAM = "https://vocabulary.uncefact.org/UnitMeasureCode#KGM"
NATURE_CODES = {"sale": "B2C", "returned": "C2B", "other": "C2C"}
SERVICE_CODES = {service: code for code, service in SERVICES.items()}
PAYMENT_CODES = {payment: code for code, payment in PAYMENTS.items()}
INDICATORS = {"prepaid": "P", "collect": "C"}
MAX_WRITTEN_PIECES = 1000

JsonObject = dict[str, Any]


def write_one_record(record: Consignment) -> bytes:
    """Write a consignment as a JSON-LD document.

    Examples
    --------
    >>> document = write_one_record(Consignment("180-12345675/H1", "air_cargo", master_id="180-12345675", description="tea"))
    >>> msgspec.json.decode(document)["cargo:waybillNumber"]
    'H1'
    """
    return msgspec.json.format(msgspec.json.encode(_build_waybill(record)), indent=1)


def _build_waybill(record: Consignment) -> JsonObject:
    places = (record.route or "").split(">") if record.route else []
    ends = (places[0], places[-1]) if places else (None, None)
    legs = [_build_leg(*pair) for pair in pairwise(places)] if len(places) > 2 else []
    indicator = INDICATORS.get(record.payment or "")
    value = _build_amount(record.declared_value, record.currency)
    line = _prune(
        {
            "@type": "cargo:WaybillLineItem",
            "cargo:total": _build_amount(record.postage, record.currency)
            if record.postage is not None
            else None,
        }
    )
    return _prune(
        {
            "@context": CONTEXT,
            "@type": "cargo:Waybill",
            **_build_numbers(record),
            "cargo:involvedParties": _build_parties(record),
            "cargo:departureLocation": _build_place(ends[0]),
            "cargo:arrivalLocation": _build_place(ends[1]) if len(places) > 1 else None,
            "cargo:transportLegs": legs or None,
            "cargo:declaredValueForCustoms": value
            if record.declared_value is not None or record.currency
            else None,
            "cargo:weightValuationIndicator": {"@id": f"code:PrepaidCollectIndicator#{indicator}"}
            if indicator
            else None,
            "cargo:waybillLineItems": [line] if record.postage is not None else None,
            "cargo:shipment": _build_shipment(record),
        }
    )


def _prune(node: JsonObject) -> JsonObject:
    return {name: value for name, value in node.items() if value not in (None, [], {})}


def _build_numbers(record: Consignment) -> JsonObject:
    """Write the number of a direct waybill with its prefix, of a house with a stub of its master."""
    awb = parse_awb(record.consignment_id)
    if awb is not None and not awb.house:
        return {
            "cargo:waybillType": {"@id": "cargo:DIRECT"},
            "cargo:waybillPrefix": awb.prefix,
            "cargo:waybillNumber": f"{awb.serial}{awb.check}",
        }
    house = awb.house if awb else record.consignment_id
    master = parse_awb(record.master_id or "") or awb
    return _prune(
        {
            "cargo:waybillType": {"@id": "cargo:HOUSE"},
            "cargo:waybillNumber": house,
            "cargo:masterWaybill": None
            if master is None
            else {
                "@type": "cargo:Waybill",
                "cargo:waybillType": {"@id": "cargo:MASTER"},
                "cargo:waybillPrefix": master.prefix,
                "cargo:waybillNumber": f"{master.serial}{master.check}",
            },
        }
    )


def _build_parties(record: Consignment) -> list[JsonObject]:
    parties = [
        _build_party(record, prefix, role) for prefix, role in (("sender", "SHP"), ("consignee", "CNE"))
    ]
    for name, role in ((record.declarant, "AGT"), (record.carrier, "AIR")):
        if name:
            parties.append(_wrap_party({"@type": "cargo:Company", "cargo:name": name}, role))
    return [party for party in parties if party]


def _wrap_party(details: JsonObject, role: str) -> JsonObject:
    return {
        "@type": "cargo:Party",
        "cargo:partyRole": {"@id": f"code:ParticipantIdentifier#{role}"},
        "cargo:partyDetails": details,
    }


def _build_party(record: Consignment, prefix: str, role: str) -> JsonObject:
    name, street, city, postcode, country, phone, email = (
        getattr(record, f"{prefix}_{part}")
        for part in ("name", "address", "city", "postcode", "country", "phone", "email")
    )
    address = _prune(
        {
            "cargo:streetAddressLines": [street] if street else None,
            "cargo:cityName": city,
            "cargo:postalCode": postcode,
            "cargo:country": {"@type": "cargo:CodeListElement", "cargo:code": country} if country else None,
        }
    )
    contacts = [
        {
            "@type": "cargo:ContactDetail",
            "cargo:contactDetailType": {"@id": f"cargo:{kind}"},
            "cargo:textualValue": text,
        }
        for kind, text in (("PHONE_NUMBER", phone), ("EMAIL_ADDRESS", email))
        if text
    ]
    details = _prune(
        {
            "@type": "cargo:Organization",
            "cargo:name": name,
            "cargo:basedAtLocation": {
                "@type": "cargo:Location",
                "cargo:address": {"@type": "cargo:Address", **address},
            }
            if address
            else None,
            "cargo:contactDetails": contacts,
        }
    )
    return _wrap_party(details, role) if len(details) > 1 else {}


def _build_place(code: str | None) -> JsonObject | None:
    if code is None:
        return None
    return {
        "@type": "cargo:Location",
        "cargo:locationCodes": [{"@type": "cargo:CodeListElement", "cargo:code": code}],
    }


def _build_leg(start: str, end: str) -> JsonObject:
    return {
        "@type": "cargo:TransportLegs",
        "cargo:departureLocation": _build_place(start),
        "cargo:arrivalLocation": _build_place(end),
    }


def _build_amount(value: float | None, currency: str | None) -> JsonObject:
    unit = {"@id": f"code:CurrencyCode#{currency}"} if currency else None
    return _prune({"@type": "cargo:CurrencyValue", "cargo:numericalValue": value, "cargo:currencyUnit": unit})


def _build_kilograms(weight: float | None) -> JsonObject | None:
    if weight is None:
        return None
    return {"@type": "cargo:Value", "cargo:numericalValue": weight, "cargo:unit": {"@id": UNIT_KILOGRAM}}


def _build_shipment(record: Consignment) -> JsonObject:
    return _prune(
        {
            "@type": "cargo:Shipment",
            "cargo:goodsDescription": record.description,
            "cargo:totalGrossWeight": _build_kilograms(record.gross_weight_kg),
            "cargo:pieces": _build_pieces(record),
            "cargo:customsInformation": _build_notes(record),
        }
    )


def _build_pieces(record: Consignment) -> list[JsonObject]:
    count = min(int(record.pieces or 0), MAX_WRITTEN_PIECES)
    pieces: list[JsonObject] = [{"@type": "cargo:Piece"} for _ in range(count)]
    if record.items:
        items = [_build_item(item, record.currency) for item in record.items]
    elif record.hs_code or record.origin_country:
        one = Item(record.description, hs_code=record.hs_code, origin_country=record.origin_country)
        items = [_build_item(one, None)]
    else:
        items = []
    if items:
        pieces = pieces or [{"@type": "cargo:Piece"}]
        pieces[0]["cargo:containedItems"] = items
    return pieces


def _build_item(item: Item, currency: str | None) -> JsonObject:
    price = None if item.value is None else item.value / (item.quantity or 1.0)
    product = {
        "@type": "cargo:Product",
        "cargo:description": item.description,
        "cargo:hsCode": {"@type": "cargo:CodeListElement", "cargo:code": item.hs_code}
        if item.hs_code
        else None,
    }
    return _prune(
        {
            "@type": "cargo:Item",
            "cargo:ofProduct": _prune(product),
            "cargo:itemQuantity": None
            if item.quantity is None
            else {"@type": "cargo:Value", "cargo:numericalValue": item.quantity},
            "cargo:weight": _build_kilograms(item.net_weight_kg),
            "cargo:unitPrice": None if price is None else _build_amount(price, currency),
            "cargo:productionCountry": {"@type": "cargo:CodeListElement", "cargo:code": item.origin_country}
            if item.origin_country
            else None,
        }
    )


def _build_notes(record: Consignment) -> list[JsonObject]:
    """Write as customs notes what no other part of a waybill says."""
    opened = record.account_opened_on
    notes = {
        "AR": record.account_id,
        "AE": opened.strftime("%m%d%Y") if isinstance(opened, date) else None,
        "BT": PAYMENT_CODES.get(record.payment or ""),
        "FT": SERVICE_CODES.get(record.service or ""),
        "RT": NATURE_CODES.get(record.nature or ""),
    }
    return [
        {
            "@type": "cargo:CustomsInformation",
            "cargo:subjectCode": {"@id": "code:CustomsInformationSubject#CUS"},
            "cargo:contentCode": {"@id": f"code:CustomsInformationContent#{code}"},
            "cargo:note": text,
        }
        for code, text in notes.items()
        if text
    ]
