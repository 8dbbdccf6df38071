"""Consignments of post written in the flat postal schema, as JSON or XML."""

from typing import Any, Literal

import msgspec
from lxml import etree

from consignments.records import Consignment, Item

NATURES = {"sale": "11", "returned": "21", "gift": "31", "sample": "32", "documents": "91", "mixed": "991"}
NATURE_CODES = NATURES | {"other": "999"}
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


def write_postal(c: Consignment, form: Form = "json") -> bytes:
    """Write a consignment in the flat postal schema.

    Examples
    --------
    >>> write_postal(Consignment("RB123456785GB", "postal", sender_name="A. Smith", nature="gift"))
    b'{"ItemId":"RB123456785GB","NatureTypeCd":"31","SenderName":"A. Smith"}'
    """
    declaration = _build_declaration(c)
    if form == "json":
        return msgspec.json.encode(declaration)
    return etree.tostring(_build_element("Declaration", declaration), encoding="UTF-8", xml_declaration=True)


def _build_declaration(c: Consignment) -> dict[str, Any]:
    parties = {
        f"{prefix}{name}": getattr(c, f"{party}_{part}")
        for party, prefix in PARTIES.items()
        for part, name in PARTY_FIELDS.items()
    }
    return _prune(
        {
            "ItemId": c.consignment_id,
            "ReceptacleId": c.master_id,
            "MailClassCd": MAIL_CLASSES.get(c.service or ""),
            "NatureTypeCd": NATURE_CODES.get(c.nature or ""),
            "OrigPostOrgCd": c.carrier,
            "SenderIdRef": c.account_id,
            **parties,
            "Description": c.description,
            "HS": c.hs_code,
            "OrigCountryCd": c.origin_country,
            "Number": c.pieces,
            "GrossWeight": c.gross_weight_kg,
            "Amount": c.declared_value,
            "CurrencyCd": c.currency,
            "Postage": c.postage,
            "PostageCurrencyCd": c.currency if c.postage is not None else None,
            "ContentPieces": [_build_piece(item, c.currency) for item in c.items] if c.items else None,
        }
    )


def _build_piece(item: Item, currency: str | None) -> dict[str, Any]:
    return _prune(
        {
            "Description": item.description,
            "Number": item.quantity,
            "NetWeight": item.net_weight_kg,
            "Amount": item.value,
            "CurrencyCd": currency if item.value is not None else None,
            "HS": item.hs_code,
            "OrigCountryCd": item.origin_country,
        }
    )


def _prune(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _build_element(name: str, value: Any) -> etree._Element:
    element = etree.Element(name)
    for key, part in value.items():
        if isinstance(part, list):
            box = etree.SubElement(element, key)
            box.extend([_build_element("ContentPiece", piece) for piece in part])
        else:
            etree.SubElement(element, key).text = repr(part) if isinstance(part, float) else str(part)
    return element
