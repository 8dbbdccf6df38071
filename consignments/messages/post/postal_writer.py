"""Consignments of post written in the flat postal schema, as JSON or XML.

Reading a message gives the consignment back, apart from `NOT_CARRIED`.
"""

from typing import Any, Literal

import msgspec
from lxml import etree

from consignments.records import Consignment, Item

NOT_CARRIED = {
    "received_at": "the reader sets it",
    "service": "the schema has three mail classes: small_packet and ecommerce travel as letter, other services have none",
    "declarant": "the schema has no filing agent",
    "office": "the schema has no customs office",
    "route": "the schema has no route: the two offices of the receptacle come back",
    "departure_country": "it is that of the receptacle, else the sender's",
    "destination_country": "it is that of the receptacle, else the consignee's",
    "account_opened_on": "the schema has no age of an account",
    "payment": "the schema has no kind of payment",
    "cancelled_at": "the schema has no cancellation of an earlier date",
}
"""What a message cannot carry, by column, with the reason."""

NATURE_CODES = {
    "sale": "11",
    "returned": "21",
    "gift": "31",
    "sample": "32",
    "documents": "91",
    "mixed": "991",
    "other": "999",
}
MAIL_CLASSES = {"letter": "U", "small_packet": "U", "ecommerce": "U", "parcel": "C", "ems": "E"}
PARTIES = {"sender": "Sender", "consignee": "Recipient"}
PARTY_FIELDS = {
    "name": "Name",
    "address": "AddressLine1",
    "city": "City",
    "postcode": "ZIP",
    "country": "CountryCd",
    "phone": "Telephone",
    "email": "Email",
}
Form = Literal["json", "xml"]


def write_postal(record: Consignment, form: Form = "json") -> bytes:
    """Write a consignment in the flat postal schema.

    Examples
    --------
    >>> write_postal(Consignment("RB123456785GB", "postal", sender_name="A. Smith", nature="gift"))
    b'{"ItemId":"RB123456785GB","NatureTypeCd":"31","SenderName":"A. Smith"}'
    """
    declaration = _build_declaration(record)
    if form == "json":
        return msgspec.json.encode(declaration)
    return etree.tostring(_build_element("Declaration", declaration), encoding="UTF-8", xml_declaration=True)


def _build_declaration(record: Consignment) -> dict[str, Any]:
    parties = {
        f"{prefix}{name}": getattr(record, f"{party}_{part}")
        for party, prefix in PARTIES.items()
        for part, name in PARTY_FIELDS.items()
    }
    declaration = {
        "ItemId": record.consignment_id,
        "ReceptacleId": record.master_id,
        "MailClassCd": MAIL_CLASSES.get(record.service or ""),
        "NatureTypeCd": NATURE_CODES.get(record.nature or ""),
        "OrigPostOrgCd": record.carrier,
        "SenderIdRef": record.account_id,
        **parties,
        "Description": record.description,
        "HS": record.hs_code,
        "OrigCountryCd": record.origin_country,
        "Number": record.pieces,
        "GrossWeight": record.gross_weight_kg,
        "Amount": record.declared_value,
        "CurrencyCd": record.currency,
        "Postage": record.postage,
        "PostageCurrencyCd": record.currency if record.postage is not None else None,
        "ContentPieces": [_build_piece(item, record.currency) for item in record.items]
        if record.items
        else None,
    }
    return {name: value for name, value in declaration.items() if value is not None}


def _build_piece(item: Item, currency: str | None) -> dict[str, Any]:
    piece = {
        "Description": item.description,
        "Number": item.quantity,
        "NetWeight": item.net_weight_kg,
        "Amount": item.value,
        "CurrencyCd": currency if item.value is not None else None,
        "HS": item.hs_code,
        "OrigCountryCd": item.origin_country,
    }
    return {name: value for name, value in piece.items() if value is not None}


def _build_element(name: str, value: Any) -> etree._Element:
    element = etree.Element(name)
    for key, part in value.items():
        if isinstance(part, list):
            box = etree.SubElement(element, key)
            box.extend([_build_element("ContentPiece", piece) for piece in part])
        else:
            etree.SubElement(element, key).text = repr(part) if isinstance(part, float) else str(part)
    return element
