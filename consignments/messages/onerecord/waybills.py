"""ONE Record documents as declarations: houses and direct waybills, masters, and shipments or pieces that have no waybill.

A house's number stands under its master's, which is found by a link in either direction. Objects may be linked over the documents
of a run: `OneRecordLinker` collects them first and reads them then."""

from collections import Counter
from collections.abc import Container, Iterator
from itertools import chain, islice
from typing import Any

from msgspec import structs

from consignments.identifiers import parse_awb
from consignments.messages.air import waybills
from consignments.messages.air.waybills import CustomsNote, Journey, Money
from consignments.messages.configuration import load_codes
from consignments.messages.content import values
from consignments.messages.content.paths import find_texts
from consignments.messages.content.trees import Node
from consignments.messages.content.values import Doubts, Fields
from consignments.messages.onerecord.graph import (
    LINK_KEYS,
    SOURCE,
    ObjectGraph,
    find_object,
    get_code,
    is_link,
    leads_nowhere,
    list_objects,
    read_code,
    read_kilograms,
    read_measure,
    read_name,
    read_number,
    read_place,
    read_text,
    walk_objects,
)
from consignments.messages.parsed import Declaration, Ignored, Level, MasterDetails, Parsed

ROLES, DIRECT_ROLES, CONTACTS, OWN_CONTACTS = (
    load_codes("onerecord/keys", section) for section in ("roles", "direct_roles", "contacts", "own_contacts")
)
COUNTRY = "country/code | country/countrycode | country/countryname | country"
ADDRESS = {"city": "cityname", "postcode": "postalcode", "box": "postofficebox", "country": COUNTRY}
ACCOUNT_TYPES = frozenset(("accountid", "accountnumber", "account"))
MAX_PIECES = 20_000
"""Pieces that are looked at one by one; a shipment of more is not believed."""
MAX_PIECE_DEPTH = 5
PAYMENTS = dict.fromkeys(("p", "pp", "prepaid"), "prepaid") | dict.fromkeys(("c", "cc", "collect"), "collect")
MAX_BOOKING_OBJECTS = 200
NOT_OF_A_BOOKING = frozenset(("waybill", "shipment", "piece"))
"""Types of what a booking links to, whose legs may be those of other bookings."""
PLACES = ("departurelocation", "arrivallocation")
OF_GOODS = ("goodsdescription", "hscode", "pieces", "totalgrossweight")
NOTE_CODES = ("country", "subjectcode", "contentcode")
YES = frozenset(("true", "1", "yes"))
LEVELS: tuple[Level, ...] = ("master", "house", "direct")
NUMBER_KEYS = LINK_KEYS | {"waybillprefix", "waybillnumber", "waybilltype"}
"""All that a reference to a master says; one that says no more declares nothing."""
MAX_WAYBILLS_OF_A_SHIPMENT = 10
"""A house and its masters share a shipment; links of more waybills to it are not followed."""
MAX_KIND_CHARACTERS = 40

_FOLLOWED_NAMES = (
    "involvedparties partydetails basedatlocation address contactpersons contactdetails otheridentifiers pieces containedpieces "
    "containeditems contentproducts ofproduct customsinformation waybilllineitems lineitempackages piecereferences othercharges "
    "departurelocation arrivallocation"
)
FOLLOWED = frozenset((*_FOLLOWED_NAMES.split(), *DIRECT_ROLES))
"""Properties whose objects are read; a link in them that leads nowhere is a doubt."""


def read_waybill(
    declaration: Declaration, waybill: Node, shipment: Node, number: str | None, master: str | None = None
) -> Declaration | MasterDetails:
    """Read what a waybill and its shipment declare, of which one may say nothing."""
    fields, doubts = declaration.fields, declaration.doubts
    whole = _join_objects(waybill, shipment)
    pieces, legs = _list_pieces(whole), _list_legs(whole)
    fields |= {"channel": "air_cargo", **_read_parties(whole, doubts)}
    fields |= _read_goods(whole, pieces, doubts)
    fields |= _read_charges(whole, doubts)
    notes: dict[CustomsNote, None] = {}
    for note in [note for node in (whole, *pieces) for note in list_objects(node, "customsinformation")]:
        country, subject, code = ((read_code(note, name) or "").upper() for name in NOTE_CODES)
        notes[CustomsNote(country, subject, code, read_text(note, "note") or "")] = None
    read = islice(walk_objects([whole, *legs], FOLLOWED), MAX_PIECES)
    if any(leads_nowhere(node, FOLLOWED) for node in read):
        doubts.add("link_unresolved")
    return waybills.finish_waybill(declaration, _read_journey(whole, legs), list(notes), number, master)


def _join_objects(waybill: Node, shipment: Node) -> Node:
    """Join a waybill and its shipment to one object; what the waybill says comes first, but for the goods."""
    orders = {
        name: (shipment, waybill) if name in OF_GOODS else (waybill, shipment) for name in waybill | shipment
    }
    return {name: [value for node in nodes for value in node.get(name, ())] for name, nodes in orders.items()}


def _read_journey(whole: Node, legs: list[Node]) -> Journey:
    """Read places in order, and flights."""
    origin, destination = (read_place(whole, name) for name in PLACES)
    stops = [read_place(leg, name) for leg in legs for name in PLACES]
    return Journey(
        origin, destination, stops, [(read_text(leg, "transportidentifier"), None) for leg in legs]
    )


def _read_parties(whole: Node, doubts: Doubts) -> Fields:
    """Read sender, consignee, forwarder and carrier; the first of each role counts."""
    found: dict[str, Node] = {}
    for party in list_objects(whole, "involvedparties"):
        if role := ROLES.get(read_name(party, "partyrole")):
            found.setdefault(role, party)
    for name, role in DIRECT_ROLES.items():
        if direct := find_object(whole, name):
            found.setdefault(role, direct)
    details = {role: find_object(party, "partydetails") or party for role, party in found.items()}
    fields: Fields = {}
    for side in ("sender", "consignee"):
        if side in found:
            fields |= values.build_party(side, _read_party(details[side], found[side]), doubts)
    sender, carrier = [found.get("sender", {}), details.get("sender", {})], details.get("carrier", {})
    identifiers = (each for node in sender for each in list_objects(node, "otheridentifiers"))
    accounts = (each for each in identifiers if read_name(each, "otheridentifiertype") in ACCOUNT_TYPES)
    fields["account_id"] = read_text(next(accounts, {}), "textualvalue")
    fields["declarant"] = _read_party_name(details.get("declarant", {}))
    fields["carrier"] = read_text(carrier, "airlinecode") or _read_party_name(carrier)
    return fields


def _read_party(details: Node, party: Node) -> Fields:
    place = find_object(details, "basedatlocation")
    holder = find_object(place, "address") or find_object(details, "address") or place
    given: Fields = {part: read_text(holder, name) for part, name in ADDRESS.items()}
    lines = find_texts([holder], "streetaddresslines")
    if not (lines or given["box"] or given["city"]):
        lines = find_texts([place], "locationname")
    if given["country"] and ":" in given["country"]:
        given["country"] = get_code(given["country"])
    given |= {"name": _read_party_name(details), "lines": lines}
    return given | _read_contacts([details, party])


def _read_contacts(nodes: list[Node]) -> dict[str, str]:
    """Read the first telephone number and e-mail address of a party and its contact persons."""
    people = [person for node in nodes for person in list_objects(node, "contactpersons")]
    found: dict[str, str] = {}
    for holder in (*nodes, *people):
        for contact in list_objects(holder, "contactdetails"):
            if text := read_text(contact, "textualvalue"):
                kind = CONTACTS.get(read_name(contact, "contactdetailtype"))
                found.setdefault(kind or ("email" if "@" in text else ""), text)
        for name, kind in OWN_CONTACTS.items():
            if own := read_text(holder, name):
                found.setdefault(kind, own)
    return found


def _list_pieces(whole: Node) -> list[Node]:
    """List the pieces of the shipment, else those that the lines of its waybill refer to; each once."""
    referred = (list_objects(line, "piecereferences") for line in _list_lines(whole))
    pieces = list_objects(whole, "pieces") or list(chain.from_iterable(referred))
    return list({id(piece): piece for piece in pieces}.values())[:MAX_PIECES]


def _list_lines(whole: Node) -> Iterator[Node]:
    """Yield the lines of a waybill and the waybill itself, each with its packages: they may refer to pieces."""
    for line in (*list_objects(whole, "waybilllineitems"), whole):
        yield from (line, *list_objects(line, "lineitempackages"))


def _read_goods(whole: Node, pieces: list[Node], doubts: Doubts) -> Fields:
    """Read description, lines, pieces and weight."""
    lines = list_objects(whole, "waybilllineitems")
    items = _merge_items(_read_pieces(pieces, set(), 0, doubts))
    counted = _sum_known([read_number(line, "piececountforrate", "pieces", doubts) for line in lines])
    listed = _count_values(whole, "pieces")
    referred = sum(_count_values(line, "piecereferences") for line in _list_lines(whole))
    linked = max(len(pieces), listed, referred)
    if (listed and referred and listed != referred) or (linked and counted not in (None, linked)):
        doubts.add("piece_count_mismatch")
    goods = values.summarize_items(items)
    described = read_text(whole, "goodsdescription | waybilllineitems/goodsdescription")
    return {
        "description": described or goods["description"],
        "hs_code": goods["hs_code"] or read_code(whole, "hscode | waybilllineitems/hscode"),
        "origin_country": goods["origin_country"],
        "items": items or None,
        "pieces": counted if counted is not None else float(linked) or None,
        "gross_weight_kg": _read_weight(whole, pieces, lines, doubts),
    }


def _read_weight(whole: Node, pieces: list[Node], lines: list[Node], doubts: Doubts) -> float | None:
    """Read the total; else add up all pieces, else all lines of the waybill."""
    total = read_kilograms(whole, "totalgrossweight", "gross_weight_kg", doubts)
    for nodes, name in ((pieces, "grossweight"), (lines, "grossweightforrate")):
        if total is None:
            weights = [read_kilograms(node, name, "gross_weight_kg", doubts) for node in nodes]
            known = _sum_known(weights)
            total = None if known is None else round(known, 9)
    return total


def _read_pieces(pieces: list[Node], seen: set[int], depth: int, doubts: Doubts) -> list[Fields]:
    """Read the lines of pieces and of those in them; each piece once, whatever links to it."""
    items: list[Fields] = []
    for piece in pieces:
        if id(piece) not in seen and len(seen) < MAX_PIECES:
            seen.add(id(piece))
            items += _read_piece(piece, seen, depth, doubts)
    return items


def _read_piece(piece: Node, seen: set[int], depth: int, doubts: Doubts) -> list[Fields]:
    """Read the lines of one piece: one for each item or product, else those of the pieces in it, else one for itself."""
    own = _read_product(piece, "goodsdescription", doubts)
    items = [_read_item(item, doubts) for item in list_objects(piece, "containeditems")]
    products = list_objects(piece, "contentproducts")
    items += [_read_product(each, "description", doubts) for each in products]
    if not items and depth < MAX_PIECE_DEPTH:
        inner = [each for each in list_objects(piece, "containedpieces") if each is not piece]
        if inner and all(id(each) in seen for each in inner):
            return []
        items = _read_pieces(inner, seen, depth + 1, doubts)
    if not items:
        items = [{"hs_code": own["hs_code"]}]
    for item in items:
        for name in ("description", "origin_country"):
            item[name] = item.get(name) or own[name]
        item.setdefault("quantity", 1.0)
    return items


def _read_item(item: Node, doubts: Doubts) -> Fields:
    of_product = _read_product(find_object(item, "ofproduct"), "description", doubts)
    own = _read_product(item, "description", doubts)
    quantity = read_number(item, "itemquantity", "items.quantity", doubts)
    price, _ = read_measure(item, "unitprice", "items.value", doubts, "currencyunit")
    count = quantity if quantity is not None else 1.0
    described = of_product["description"] or own["description"]
    return {
        "description": described or read_text(item, "goodsdescription"),
        "hs_code": of_product["hs_code"] or own["hs_code"],
        "quantity": quantity,
        "value": None if price is None else round(price * count, 6),
        "net_weight_kg": read_kilograms(item, "netweight", "items.net_weight_kg", doubts),
        "origin_country": own["origin_country"] or of_product["origin_country"],
    }


def _read_product(node: Node, described: str, doubts: Doubts) -> Fields:
    """Read what an object says of goods: description, tariff code and country of origin."""
    country = read_code(node, "productioncountry")
    return {
        "description": read_text(node, described),
        "hs_code": read_code(node, "hscode"),
        "origin_country": values.read_country(country, "items.origin_country", doubts),
    }


def _read_charges(whole: Node, doubts: Doubts) -> Fields:
    """Read the declared value, and the freight if each line of the waybill has an amount."""
    nil = (read_text(whole, "nvdforcustoms") or "").lower() in YES
    declared = None if nil else _read_amount(whole, "declaredvalueforcustoms", "declared_value", doubts)
    lines, others = (
        [_read_amount(each, name, "postage", doubts) for each in list_objects(whole, of)]
        for of, name in (("waybilllineitems", "chargetotal"), ("othercharges", "otherchargeamount"))
    )
    freight = [*lines, *others]
    currency = next((money.currency for money in freight if money and money.currency), None)
    known = freight if lines and None not in lines else ()
    charges = waybills.settle_charges(declared, known, currency, doubts)
    return charges | {"payment": PAYMENTS.get(read_name(whole, "weightvaluationindicator"))}


def _read_amount(node: Node, name: str, field: str, doubts: Doubts) -> Money | None:
    amount, currency = read_measure(node, name, field, doubts, "currencyunit")
    return None if amount is None else Money(amount, currency.upper() if currency else None)


def _read_party_name(details: Node) -> str | None:
    parts = (read_text(details, name) for name in ("firstname", "middlename", "lastname"))
    person = values.join_lines(*parts, separator=" ")
    return read_text(details, "name") or person or read_text(details, "shortname")


def _count_values(node: Node, name: str) -> int:
    listed = node.get(name, ())
    objects = [next(iter(value["@id"]), id(value)) for value in listed if isinstance(value, dict)]
    return len({*objects, *(value for value in listed if isinstance(value, str))})


def _sum_known(numbers: list[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known and len(known) == len(numbers) else None


def _merge_items(items: list[Fields]) -> list[Fields]:
    """Join equal lines of several pieces to one with their number."""
    merged: dict[tuple[Any, ...], Fields] = {}
    for item in items:
        line = {name: item.get(name) for name in values.ITEM_COLUMNS}
        key = tuple(value for name, value in line.items() if name != "quantity")
        known = merged.get(key)
        is_counted = line["net_weight_kg"] is None and line["value"] is None
        if known is not None and is_counted and None not in (known["quantity"], line["quantity"]):
            known["quantity"] += line["quantity"]
        else:
            merged[key if known is None else (*key, len(merged))] = line
    facts = set(values.ITEM_COLUMNS) - {"quantity"}
    return [item for item in merged.values() if any(item[name] is not None for name in facts)]


def _list_legs(whole: Node) -> list[Node]:
    """List the legs of a waybill, else of its booking, in the order of their numbers."""
    below = walk_objects(list_objects(whole, "referredbookingoption"), without=NOT_OF_A_BOOKING)
    for source in (whole, *islice(below, MAX_BOOKING_OBJECTS)):
        if legs := list_objects(source, "transportlegs"):
            legs.sort(key=lambda leg: read_number(leg, "sequencenumber", None, Doubts()) or 0.0)
            return [find_object(leg, "activity") or leg for leg in legs]
    return []


class OneRecordLinker(ObjectGraph):
    """Collects the documents of a run, and then reads their objects with the links between them."""

    def read_all(self) -> Iterator[tuple[str, Parsed]]:
        """Yield what all documents together declare, each with the name of the document it stands in."""
        self._link_all()
        found = False
        for node, parsed in self._read_nodes():
            found = True
            yield node[SOURCE][0], parsed
        if not found and self.last_source is not None:
            types = {kind for node in self.roots for kind in node["@type"]}
            kinds = sorted(kind[:MAX_KIND_CHARACTERS] for kind in types if kind.isalnum() and kind.isascii())
            kind = f"ONE Record {kinds[0] if kinds else 'object'}"
            yield self.last_source, Ignored(kind, "no waybill, shipment or goods in it")

    def _link_all(self) -> None:
        """Link all objects in both directions, and list those that are read."""
        self.link_objects()
        nodes = [node for node in walk_objects(self.roots) if not is_link(node)]
        self.waybills = [node for node in nodes if is_waybill(node)]
        self.pieces = [node for node in nodes if "piece" in node["@type"]]
        self.shipments = [node for node in nodes if "shipment" in node["@type"] and not is_waybill(node)]
        self.stubs = {id(node) for node in self.waybills if node.keys() <= NUMBER_KEYS}
        notes = [node for node in nodes if "customsinformation" in node["@type"]]
        listing = {id(node) for node in self.shipments if node.get("pieces")}
        add_inverses(self.waybills, "housewaybills", "masterwaybill")
        add_inverses(self.waybills, "masterwaybill", "housewaybills")
        add_inverses(self.shipments, "waybill", "shipment")
        add_inverses(self.pieces, "ofshipment", "pieces", listing)
        for name in ("issuedforpiece", "issuedforshipment", "issuedforwaybill"):
            add_inverses(notes, name, "customsinformation")
        self.shipment_of = self._assign_shipments()

    def _assign_shipments(self) -> dict[int, Node]:
        """Assign each waybill its first shipment that has no more waybills than carriage knows."""
        uses, assigned = Counter[int](), dict[int, Node]()
        for waybill in self.waybills:
            for shipment in list_objects(waybill, "shipment"):
                if uses[id(shipment)] < MAX_WAYBILLS_OF_A_SHIPMENT:
                    uses[id(shipment)] += 1
                    assigned[id(waybill)] = shipment
                    break
        return assigned

    def _read_nodes(self) -> Iterator[tuple[Node, Parsed]]:
        """Read masters first, then houses and direct waybills, then goods without a waybill."""
        levels = {id(node): self._find_level(node) for node in self.waybills}
        for node in sorted(self.waybills, key=lambda each: levels[id(each)] != "master"):
            yield node, self._read_waybill(node, levels[id(node)])
        used = {id(shipment) for shipment in self.shipment_of.values()}
        for shipment in self.shipments:
            if id(shipment) not in used:
                yield shipment, self._read_loose(shipment, shipment)
        if not self.shipments and not self.waybills:
            for piece in self.pieces:
                parsed = self._read_loose(piece, {"pieces": [piece]})
                if parsed.fields.keys() & {"description", "gross_weight_kg"}:
                    yield piece, parsed

    def _find_level(self, node: Node) -> Level:
        """Find the level by the type of the waybill, else by its links and its prefix."""
        kind = read_name(node, "waybilltype")
        if named := next((level for level in LEVELS if level in kind), None):
            return named
        if list_objects(node, "housewaybills"):
            return "master"
        if node.get("masterwaybill"):
            return "house"
        number = read_text(node, "waybillnumber") or ""
        has_prefix = bool(read_text(node, "waybillprefix")) or parse_awb(number) is not None
        return "direct" if has_prefix else "house"

    def _read_waybill(self, node: Node, level: Level) -> Parsed:
        issued_at = values.parse_time(read_text(node, "carrierdeclarationdate"))
        waybill = Declaration(issued_at=issued_at, level=level)
        shipment = self.shipment_of.get(id(node), {})
        if not shipment and node.get("shipment"):
            waybill.doubts.add("link_unresolved")
        master = None
        if level == "house":
            master = _read_master_number(node, waybill.doubts)
            number, prefix = read_text(node, "waybillnumber"), read_text(node, "waybillprefix")
            if number and prefix and not prefix.isdigit() and not number.startswith(prefix):
                number = f"{prefix}{number}"  # letters in the prefix are the forwarder's
        else:
            number = waybills.read_waybill_number(_read_awb_text(node), waybill.doubts)
        parsed = read_waybill(waybill, node, shipment, number, master)
        if isinstance(parsed, MasterDetails) and id(node) in self.stubs:
            return structs.replace(parsed, declaration=None)
        return parsed

    def _read_loose(self, node: Node, shipment: Node) -> Declaration:
        """Read goods that have no waybill."""
        waybill = Declaration()
        if leads_nowhere(node, ("waybill", "ofshipment") if "piece" in node["@type"] else ("waybill",)):
            waybill.doubts.add("link_unresolved")
        read_waybill(waybill, {}, shipment, None)
        return waybill


def _read_master_number(house: Node, doubts: Doubts) -> str | None:
    """Read the number of the first master that has one; a link that leads nowhere is a doubt only if there is no master."""
    if masters := list_objects(house, "masterwaybill"):
        return waybills.read_waybill_number(next(filter(None, map(_read_awb_text, masters)), None), doubts)
    if leads_nowhere(house, ["masterwaybill"]):
        doubts.add("link_unresolved")
    text = read_text(house, "masterwaybill | masterwaybillnumber")
    awb = parse_awb(text) if text else None
    return awb.number if awb else None


def add_inverses(nodes: list[Node], name: str, inverse: str, but: Container[int] = ()) -> None:
    """Add to the objects of a property what refers to them, behind what they refer to themselves; not to those with some `id`."""
    for node in nodes:
        for target in list_objects(node, name):
            if target is not node and id(target) not in but:
                target.setdefault(inverse, []).append(node)


def is_waybill(node: Node) -> bool:
    """Check whether an object is a waybill, or a shipment that has the number of one."""
    if any(kind.endswith("waybill") for kind in node["@type"]):
        return True
    numbered = bool(node.get("waybillnumber"))
    return numbered and (not node["@type"] or "shipment" in node["@type"])


def _read_awb_text(node: Node) -> str | None:
    """Read prefix and number; the number may have the prefix in it."""
    number, prefix = read_text(node, "waybillnumber"), read_text(node, "waybillprefix")
    if number is None or prefix is None or parse_awb(number) is not None:
        return number
    return number if number.startswith(f"{prefix}-") else f"{prefix}-{number}"
