"""Parties, places and amounts of ONE Record objects."""

from typing import Any, NamedTuple

from consignments.messages.content.values import (
    Doubts,
    Fields,
    clean_text,
    get_unit_factor,
    join_lines,
    parse_number,
    read_country,
)
from consignments.messages.onerecord.graph import (
    KEYS,
    LINK,
    LinkedObject,
    ObjectGraph,
    get_code,
    get_local_name,
    list_property,
    read_all,
    read_code,
    read_property,
)

ROLE_PROPERTIES = {
    "sender": ("shipper",),
    "consignee": ("consignee",),
    "declarant": ("freightforwarder", "forwarder", "agent"),
}
"""Properties of version 2.0 and older that name a party by its role."""
PARTS = {"city": "cityname", "postcode": "postalcode"}
OWN_CONTACTS = {"phonenumber": "phone", "emailaddress": "email", "email": "email", "phone": "phone"}
"""Properties of a party itself that are contacts."""
ACCOUNT_TYPES = frozenset(("accountid", "accountnumber", "account"))
UN_LOCODE_LENGTH = 5


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
        found: list[LinkedObject] = []
        for value in list_property(node, *names) if node is not None else ():
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
        return parse_number(clean_text(value), self.doubts, field)

    def read_first_number(self, node: LinkedObject, name: str, field: str | None = None) -> float | None:
        """Read the first value of a property as a number."""
        return self.read_number(next(iter(list_property(node, name)), None), field)

    def read_kilograms(self, node: LinkedObject | None, name: str, field: str) -> float | None:
        """Read a weight; one without a unit is kilograms, in doubt."""
        weight, unit = self._read_measure(node, name, "unit", field)
        factor = get_unit_factor(unit)
        if weight is not None and factor is None:
            self.doubts.note("unit_doubtful", field)
        return weight if weight is None or factor in (None, 1.0) else round(weight * (factor or 1.0), 9)

    def read_amount(self, node: LinkedObject | None, name: str, field: str) -> Amount | None:
        """Read an amount of money."""
        number, currency = self._read_measure(node, name, "currencyunit", field)
        return None if number is None else Amount(number, currency.upper() if currency else None)

    def _read_measure(
        self, node: LinkedObject | None, name: str, unit_name: str, field: str
    ) -> tuple[float | None, str | None]:
        """Read the first number of a property, and the code of its unit."""
        for value in list_property(node, name) if node else ():
            number = self.read_number(value, field)
            if number is not None:
                unit = read_property(value, unit_name) if isinstance(value, LinkedObject) else None
                return number, get_code(unit) if unit else None
        return None, None

    def read_place(self, node: LinkedObject, name: str) -> str | None:
        """Read the IATA code of a location; of a UN/LOCODE the last three letters, as in air transport."""
        for value in list_property(node, name):
            if isinstance(value, str) and not LINK.fullmatch(value.strip()):
                text = value
            elif (location := self.graph.resolve(value, self.doubts)) is not None:
                text = get_code(read_property(location, "locationcodes") or "")
            else:
                continue
            code = (clean_text(text) or "").upper().replace(" ", "")
            if not code.isascii() or not code.isalnum():
                return None
            return code[2:] if len(code) == UN_LOCODE_LENGTH else code
        return None

    # --- parties

    def read_parties(self, nodes: list[LinkedObject]) -> Fields:
        """Read sender, consignee, forwarder and carrier of a waybill and its shipment; the first of each role counts."""
        found: dict[str, LinkedObject] = {}
        roles: dict[str, str] = KEYS["roles"]
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
        parts = (read_property(details, name) for name in ("firstname", "middlename", "lastname"))
        person = join_lines(*parts, separator=" ")
        return read_property(details, "name") or person or read_property(details, "shortname")

    def _read_airline(self, party: LinkedObject | None) -> str | None:
        details = self._find_details(party)
        return (read_property(details, "airlinecode") if details else None) or self._read_name(party)

    def _read_account(self, party: LinkedObject | None) -> str | None:
        details = self._find_details(party)
        for node in (party, details):
            for identifier in self.list_objects(node, "otheridentifiers"):
                kind = get_local_name(read_property(identifier, "otheridentifiertype") or "")
                if kind in ACCOUNT_TYPES:
                    return read_property(identifier, "textualvalue")
        return None

    def _read_party(self, side: str, party: LinkedObject | None) -> Fields:
        details = self._find_details(party)
        place = self.find_object(details, "basedatlocation")
        holder = self.find_object(place, "address") or self.find_object(details, "address") or place
        fields: Fields = dict.fromkeys(("city", "postcode", "address", "country"))
        if holder is not None:
            fields |= {part: read_property(holder, name) for part, name in PARTS.items()}
            lines, box = read_all(holder, "streetaddresslines"), read_property(holder, "postofficebox")
            if not lines and not box and place is not None and not fields["city"]:
                lines = read_all(place, "locationname")
            fields["address"] = join_lines(*lines, f"PO Box {box}" if box else None)
            fields["country"] = self._read_country(holder, f"{side}_country")
        contacts = self._read_contacts([node for node in (details, party) if node is not None])
        fields |= {"name": self._read_name(party), "phone": None, "email": None} | contacts
        return {f"{side}_{part}": value for part, value in fields.items() if part}

    def _read_country(self, holder: LinkedObject, field: str) -> str | None:
        for value in list_property(holder, "country"):
            if isinstance(value, LinkedObject):
                value = read_property(value, "code", "countrycode", "countryname") or value.identifier
            text = clean_text(value)
            if text:
                code = get_code(text) if LINK.fullmatch(text) or ":" in text else text
                return read_country(code, field, self.doubts)
        return None

    def _read_contacts(self, nodes: list[LinkedObject]) -> dict[str, str]:
        """Read the first telephone number and e-mail address of a party and its contact persons."""
        kinds: dict[str, str] = KEYS["contacts"]
        people = [person for node in nodes for person in self.list_objects(node, "contactpersons")]
        found: dict[str, str] = {}
        for holder in (*nodes, *people):
            for contact in self.list_objects(holder, "contactdetails"):
                text = read_property(contact, "textualvalue")
                kind = kinds.get(get_local_name(read_property(contact, "contactdetailtype") or ""))
                if text:
                    found.setdefault(kind or ("email" if "@" in text else ""), text)
            for name, kind in OWN_CONTACTS.items():
                own = read_code(next(iter(holder.values.get(name, ())), None))
                if own:
                    found.setdefault(kind, own)
        return found
