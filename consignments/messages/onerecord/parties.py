"""Parties, places and amounts of ONE Record objects."""

from datetime import datetime
from typing import Any, NamedTuple

from consignments.messages.content.values import (
    Fields,
    clean_text,
    get_unit_factor,
    join_lines,
    parse_any_number,
    parse_time,
)
from consignments.messages.onerecord.graph import (
    LINK,
    LinkedObject,
    ObjectGraph,
    get_code,
    get_local_name,
    list_property,
    load_keys,
    read_all,
    read_code,
    read_property,
)
from consignments.messages.quantities import Doubts, read_country

ROLE_PROPERTIES = {
    "sender": ("shipper",),
    "consignee": ("consignee",),
    "declarant": ("freightforwarder", "forwarder", "agent"),
}
"""Properties of version 2.0 and older that name a party by its role."""
ACCOUNT_TYPES = frozenset(("accountid", "accountnumber", "account"))
MAX_IATA_LENGTH = 5


class Amount(NamedTuple):
    """An amount of money and its currency."""

    value: float
    currency: str | None


class ObjectReader:
    """Reads values of linked objects, and keeps the doubts about them."""

    def __init__(self, graph: ObjectGraph, doubts: Doubts) -> None:
        self.graph, self.doubts = graph, doubts

    def list_objects(self, node: LinkedObject | None, *names: str) -> list[LinkedObject]:
        """List the objects of a property, links followed, each once."""
        if node is None:
            return []
        found: list[LinkedObject] = []
        for value in list_property(node, *names):
            resolved = self.graph.resolve(value, self.doubts)
            if resolved is not None and all(resolved is not each for each in found[-200:]):
                found.append(resolved)
        return found

    def find_object(self, node: LinkedObject | None, *names: str) -> LinkedObject | None:
        """Find the first object of a property."""
        return next(iter(self.list_objects(node, *names)), None)

    def read_number(self, value: Any, field: str | None = None) -> float | None:
        """Read a number, bare, typed or as text, or of a value object."""
        if isinstance(value, LinkedObject):
            value = next(iter(list_property(value, "numericalvalue")), None)
        return parse_any_number(clean_text(value), self.doubts, field)

    def read_kilograms(self, node: LinkedObject | None, name: str, field: str) -> float | None:
        """Read a weight; one without a unit is kilograms, in doubt."""
        if node is None:
            return None
        for value in list_property(node, name):
            weight = self.read_number(value, field)
            if weight is None:
                continue
            unit = read_property(value, "unit") if isinstance(value, LinkedObject) else None
            factor = get_unit_factor(get_code(unit) if unit else None)
            if factor is None:
                self.doubts.note("unit_doubtful", field)
            return weight if factor in (None, 1.0) else round(weight * (factor or 1.0), 9)
        return None

    def read_amount(self, node: LinkedObject | None, name: str, field: str) -> Amount | None:
        """Read an amount of money."""
        for value in list_property(node, name) if node else ():
            number = self.read_number(value, field)
            if number is not None:
                unit = read_property(value, "currencyunit") if isinstance(value, LinkedObject) else None
                return Amount(number, get_code(unit).upper() if unit else None)
        return None

    def read_time(self, node: LinkedObject, *names: str) -> datetime | None:
        """Read a moment."""
        return parse_time(read_property(node, *names))

    # --- places

    def read_place(self, node: LinkedObject, name: str) -> str | None:
        """Read the IATA code of a location."""
        for value in list_property(node, name):
            if isinstance(value, str) and not LINK.fullmatch(value.strip()):
                return _shorten_place(value)
            location = self.graph.resolve(value, self.doubts)
            if location is not None:
                code = read_property(location, "locationcodes")
                return _shorten_place(get_code(code)) if code else None
        return None

    # --- parties

    def read_parties(self, nodes: list[LinkedObject]) -> Fields:
        """Read sender, consignee, forwarder and carrier of a waybill and its shipment; the first of each role counts."""
        found: dict[str, LinkedObject] = {}
        roles: dict[str, str] = load_keys()["roles"]
        for node in nodes:
            for party in self.list_objects(node, "involvedparties"):
                role = roles.get(get_local_name(read_property(party, "partyrole") or ""))
                if role:
                    found.setdefault(role, party)
            for role, names in ROLE_PROPERTIES.items():
                direct = self.find_object(node, *names)
                if direct is not None:
                    found.setdefault(role, direct)
        fields: Fields = {}
        for role in ("sender", "consignee"):
            fields |= self._read_party(role, found.get(role))
        fields["account_id"] = self._read_account(found.get("sender"))
        fields["declarant"] = self._read_name(found.get("declarant"))
        fields["carrier"] = self._read_airline(found.get("carrier"))
        return fields

    def _find_details(self, party: LinkedObject | None) -> LinkedObject | None:
        return None if party is None else self.find_object(party, "partydetails") or party

    def _read_name(self, party: LinkedObject | None) -> str | None:
        details = self._find_details(party)
        if details is None:
            return None
        person = join_lines(
            *(read_property(details, name) for name in ("firstname", "middlename", "lastname")), separator=" "
        )
        return read_property(details, "name") or person or read_property(details, "shortname")

    def _read_airline(self, party: LinkedObject | None) -> str | None:
        details = self._find_details(party)
        if details is None:
            return None
        return read_property(details, "airlinecode") or self._read_name(party)

    def _read_account(self, party: LinkedObject | None) -> str | None:
        details = self._find_details(party)
        for node in (party, details):
            for identifier in self.list_objects(node, "otheridentifiers"):
                kind = get_local_name(read_property(identifier, "otheridentifiertype") or "")
                if kind in ACCOUNT_TYPES:
                    return read_property(identifier, "textualvalue")
        return None

    def _read_party(self, prefix: str, party: LinkedObject | None) -> Fields:
        details = self._find_details(party)
        place = self.find_object(details, "basedatlocation") if details else None
        address = self.find_object(place, "address") or self.find_object(details, "address")
        holder = address or place
        contacts = self._read_contacts([node for node in (details, party) if node is not None])
        lines = read_all(holder, "streetaddresslines") if holder else []
        box = read_property(holder, "postofficebox") if holder else None
        if not lines and not box and place is not None and not read_property(holder or place, "cityname"):
            lines = read_all(place, "locationname")
        return {
            f"{prefix}_name": self._read_name(party),
            f"{prefix}_address": join_lines(*lines, f"PO Box {box}" if box else None),
            f"{prefix}_city": read_property(holder, "cityname") if holder else None,
            f"{prefix}_postcode": read_property(holder, "postalcode") if holder else None,
            f"{prefix}_country": self._read_country(holder, f"{prefix}_country"),
            f"{prefix}_phone": contacts.get("phone"),
            f"{prefix}_email": contacts.get("email"),
        }

    def _read_country(self, holder: LinkedObject | None, field: str) -> str | None:
        for value in list_property(holder, "country") if holder else ():
            if isinstance(value, LinkedObject):
                own = read_property(value, "code", "countrycode", "countryname")
                value = own or value.identifier
            text = clean_text(value)
            if text:
                code = get_code(text) if LINK.fullmatch(text) or ":" in text else text
                return read_country(code, field, self.doubts)
        return None

    def _read_contacts(self, nodes: list[LinkedObject]) -> dict[str, str]:
        """Read the first telephone number and e-mail address of a party and its contact persons."""
        kinds: dict[str, str] = load_keys()["contacts"]
        holders = [
            *nodes,
            *(person for node in nodes for person in self.list_objects(node, "contactpersons")),
        ]
        found: dict[str, str] = {}
        for holder in holders:
            for contact in self.list_objects(holder, "contactdetails"):
                text = read_property(contact, "textualvalue")
                kind = kinds.get(get_local_name(read_property(contact, "contactdetailtype") or ""))
                if text:
                    found.setdefault(kind or ("email" if "@" in text else ""), text)
            for name, kind in (
                ("phonenumber", "phone"),
                ("emailaddress", "email"),
                ("email", "email"),
                ("phone", "phone"),
            ):
                own = read_code(next(iter(holder.values.get(name, ())), None))
                if own:
                    found.setdefault(kind, own)
        return found


def _shorten_place(text: str) -> str | None:
    """Return an IATA code; of a UN/LOCODE the last three letters, as in air transport."""
    code = (clean_text(text) or "").upper().replace(" ", "")
    if not code.isascii() or not code.isalnum():
        return None
    return code[2:] if len(code) == MAX_IATA_LENGTH else code or None
