"""Consignments of post written in the flat postal schema, as JSON."""

from typing import Any

import msgspec

from consignments.records import Consignment, Item
from training.simulation.messages.parts import get_party

NATURES = {"sale": "11", "returned": "21", "gift": "31", "sample": "32", "documents": "91", "mixed": "991"}
NATURE_CODES = NATURES | {"other": "999"}
MAIL_CLASSES = {"letter": "U", "small_packet": "U", "ecommerce": "U", "parcel": "C", "ems": "E"}
PARTIES = {"sender": "Sender", "consignee": "Recipient"}
PARTY_FIELDS = ("Name", "AddressLine1", "City", "ZIP", "CountryCd", "Telephone", "Email")


def write_postal(c: Consignment) -> bytes:
    """Write a consignment in the flat postal schema.

    >>> write_postal(Consignment("RB123456785GB", "postal", sender_name="A. Smith", nature="gift"))
    b'{"ItemId":"RB123456785GB","NatureTypeCd":"31","SenderName":"A. Smith"}'
    """
    parties = {
        f"{prefix}{name}": value
        for role, prefix in PARTIES.items()
        for name, value in zip(PARTY_FIELDS, get_party(c, role).values(), strict=True)
    }
    declaration = _list_given(
        ItemId=c.consignment_id,
        ReceptacleId=c.master_id,
        MailClassCd=MAIL_CLASSES.get(c.service or ""),
        NatureTypeCd=NATURE_CODES.get(c.nature or ""),
        OrigPostOrgCd=c.carrier,
        SenderIdRef=c.account_id,
        **parties,
        Description=c.description,
        HS=c.hs_code,
        OrigCountryCd=c.origin_country,
        Number=c.pieces,
        GrossWeight=c.gross_weight_kg,
        Amount=c.declared_value,
        CurrencyCd=c.currency,
        Postage=c.postage,
        PostageCurrencyCd=c.currency if c.postage is not None else None,
        ContentPieces=[_build_piece(item, c.currency) for item in c.items] if c.items else None,
    )
    return msgspec.json.encode(declaration)


def _build_piece(item: Item, currency: str | None) -> dict[str, Any]:
    return _list_given(
        Description=item.description,
        Number=item.quantity,
        NetWeight=item.net_weight_kg,
        Amount=item.value,
        CurrencyCd=currency if item.value is not None else None,
        HS=item.hs_code,
        OrigCountryCd=item.origin_country,
    )


def _list_given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
