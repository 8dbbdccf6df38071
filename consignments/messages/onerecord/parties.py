"""Parties of ONE Record waybills and shipments."""

from consignments.messages.content.trees import Node
from consignments.messages.content.values import Doubts, Fields, join_lines, read_country
from consignments.messages.onerecord.graph import (
    KEYS,
    LINK,
    find_object,
    get_code,
    list_objects,
    read_name,
    read_text,
    read_texts,
)

ACCOUNT_TYPES = frozenset(("accountid", "accountnumber", "account"))


def read_parties(nodes: list[Node], doubts: Doubts) -> Fields:
    """Read sender, consignee, forwarder and carrier of a waybill and its shipment; the first of each role counts."""
    found: dict[str, Node] = {}
    for node in nodes:
        for party in list_objects(node, "involvedparties", doubts):
            role = KEYS["roles"].get(read_name(party, "partyrole"))
            if role:
                found.setdefault(role, party)
        for name, role in KEYS["direct_roles"].items():
            direct = find_object(node, name, doubts)
            if direct is not None:
                found.setdefault(role, direct)
    fields: Fields = {}
    for side in ("sender", "consignee"):
        fields |= _read_party(side, found.get(side), doubts)
    fields["account_id"] = _read_account(found.get("sender"), doubts)
    fields["declarant"] = _read_party_name(_find_details(found.get("declarant"), doubts))
    carrier = _find_details(found.get("carrier"), doubts)
    fields["carrier"] = read_text(carrier, "airlinecode") or _read_party_name(carrier)
    return fields


def _find_details(party: Node | None, doubts: Doubts) -> Node | None:
    return find_object(party, "partydetails", doubts) or party


def _read_party_name(details: Node | None) -> str | None:
    parts = (read_text(details, name) for name in ("firstname", "middlename", "lastname"))
    person = join_lines(*parts, separator=" ")
    return read_text(details, "name") or person or read_text(details, "shortname")


def _read_account(party: Node | None, doubts: Doubts) -> str | None:
    for node in (party, _find_details(party, doubts)):
        for identifier in list_objects(node, "otheridentifiers", doubts):
            if read_name(identifier, "otheridentifiertype") in ACCOUNT_TYPES:
                return read_text(identifier, "textualvalue")
    return None


def _read_party(side: str, party: Node | None, doubts: Doubts) -> Fields:
    details = _find_details(party, doubts)
    place = find_object(details, "basedatlocation", doubts)
    holder = find_object(place, "address", doubts) or find_object(details, "address", doubts) or place
    city, box = read_text(holder, "cityname"), read_text(holder, "postofficebox")
    lines = read_texts(holder, "streetaddresslines")
    if not (lines or box or city):
        lines = read_texts(place, "locationname")
    fields = {
        "name": _read_party_name(details),
        "city": city,
        "postcode": read_text(holder, "postalcode"),
        "address": join_lines(*lines, f"PO Box {box}" if box else None),
        "country": read_country(_read_country_code(holder), f"{side}_country", doubts),
        "phone": None,
        "email": None,
    }
    fields |= _read_contacts([node for node in (details, party) if node is not None], doubts)
    return {f"{side}_{part}": value for part, value in fields.items() if part}


def _read_country_code(holder: Node | None) -> str | None:
    text = read_text(holder, "country")
    return get_code(text) if text and (LINK.fullmatch(text) or ":" in text) else text


def _read_contacts(nodes: list[Node], doubts: Doubts) -> dict[str, str]:
    """Read the first telephone number and e-mail address of a party and its contact persons."""
    people = [person for node in nodes for person in list_objects(node, "contactpersons", doubts)]
    found: dict[str, str] = {}
    for holder in (*nodes, *people):
        for contact in list_objects(holder, "contactdetails", doubts):
            text = read_text(contact, "textualvalue")
            kind = KEYS["contacts"].get(read_name(contact, "contactdetailtype"))
            if text:
                found.setdefault(kind or ("email" if "@" in text else ""), text)
        for name, kind in KEYS["own_contacts"].items():
            own = read_text(holder, name)
            if own:
                found.setdefault(kind, own)
    return found
