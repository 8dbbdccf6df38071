"""ONE Record documents as declarations: houses and direct waybills, masters, and shipments or pieces that have no waybill.

A house's number stands under its master's, which is found by a link in either direction. Objects may be linked over the documents
of a run: `OneRecordLinker` collects them first and reads them then."""

from collections import Counter
from collections.abc import Container, Iterator
from itertools import islice
from typing import Any

from msgspec import structs

from consignments.identifiers import parse_awb
from consignments.messages.air.waybills import (
    CustomsNote,
    Money,
    build_journey,
    finish_waybill,
    read_waybill_number,
    settle_charges,
)
from consignments.messages.configuration import load_codes
from consignments.messages.content.paths import find_texts
from consignments.messages.content.trees import Node
from consignments.messages.content.values import (
    ITEM_COLUMNS,
    Doubts,
    Fields,
    build_party,
    join_lines,
    parse_time,
    read_country,
    summarize_items,
)
from consignments.messages.onerecord.graph import (
    LINK_KEYS,
    SOURCE,
    ObjectGraph,
    find_object,
    get_code,
    is_link,
    list_objects,
    list_values,
    read_code,
    read_kilograms,
    read_measure,
    read_name,
    read_number,
    read_place,
    read_text,
    walk_objects,
)
from consignments.messages.parsed import Declaration, Ignored, Level, MasterDetails, MessageContext, Parsed

# --- parties ----------------------------------------------------------------------------------------------------------

ROLES, DIRECT_ROLES, CONTACTS, OWN_CONTACTS = (
    load_codes("onerecord/keys", section) for section in ("roles", "direct_roles", "contacts", "own_contacts")
)
COUNTRY = "country/code | country/countrycode | country/countryname | country"
ADDRESS = {"city": "cityname", "postcode": "postalcode", "box": "postofficebox", "country": COUNTRY}
ACCOUNT_TYPES = frozenset(("accountid", "accountnumber", "account"))


def read_parties(nodes: list[Node], doubts: Doubts) -> Fields:
    """Read sender, consignee, forwarder and carrier of a waybill and its shipment; the first of each role counts."""
    found: dict[str, Node] = {}
    for node in nodes:
        for party in list_objects(node, "involvedparties", doubts):
            if role := ROLES.get(read_name(party, "partyrole")):
                found.setdefault(role, party)
        for name, role in DIRECT_ROLES.items():
            if (direct := find_object(node, name, doubts)) is not None:
                found.setdefault(role, direct)
    details = {role: find_object(party, "partydetails", doubts) or party for role, party in found.items()}
    fields: Fields = {}
    for side in ("sender", "consignee"):
        if side in found:
            fields |= build_party(side, _read_party(details[side], found[side], doubts), doubts)
    sender, carrier = [found.get("sender"), details.get("sender")], details.get("carrier")
    identifiers = (each for node in sender for each in list_objects(node, "otheridentifiers", doubts))
    accounts = (each for each in identifiers if read_name(each, "otheridentifiertype") in ACCOUNT_TYPES)
    fields["account_id"] = read_text(next(accounts, None), "textualvalue")
    fields["declarant"] = _read_party_name(details.get("declarant"))
    fields["carrier"] = read_text(carrier, "airlinecode") or _read_party_name(carrier)
    return fields


def _read_party_name(details: Node | None) -> str | None:
    parts = (read_text(details, name) for name in ("firstname", "middlename", "lastname"))
    person = join_lines(*parts, separator=" ")
    return read_text(details, "name") or person or read_text(details, "shortname")


def _read_party(details: Node, party: Node, doubts: Doubts) -> Fields:
    place = find_object(details, "basedatlocation", doubts)
    holder = find_object(place, "address", doubts) or find_object(details, "address", doubts) or place
    given: Fields = {part: read_text(holder, name) for part, name in ADDRESS.items()}
    lines = find_texts([holder], "streetaddresslines")
    if not (lines or given["box"] or given["city"]):
        lines = find_texts([place], "locationname")
    if given["country"] and ":" in given["country"]:
        given["country"] = get_code(given["country"])
    given |= {"name": _read_party_name(details), "lines": lines}
    return given | _read_contacts([details, party], doubts)


def _read_contacts(nodes: list[Node], doubts: Doubts) -> dict[str, str]:
    """Read the first telephone number and e-mail address of a party and its contact persons."""
    people = [person for node in nodes for person in list_objects(node, "contactpersons", doubts)]
    found: dict[str, str] = {}
    for holder in (*nodes, *people):
        for contact in list_objects(holder, "contactdetails", doubts):
            if text := read_text(contact, "textualvalue"):
                kind = CONTACTS.get(read_name(contact, "contactdetailtype"))
                found.setdefault(kind or ("email" if "@" in text else ""), text)
        for name, kind in OWN_CONTACTS.items():
            if own := read_text(holder, name):
                found.setdefault(kind, own)
    return found


# --- goods ------------------------------------------------------------------------------------------------------------

MAX_PIECES = 20_000
"""Pieces that are looked at one by one; a shipment of more is not believed."""
MAX_PIECE_DEPTH = 5


def list_pieces(holders: list[Node], doubts: Doubts) -> list[Node]:
    """List the pieces of a shipment, else those that the lines of its waybill refer to; each once."""
    for holder in holders:
        pieces = list_objects(holder, "pieces", doubts)
        for line in _list_lines(holder, doubts):
            pieces += list_objects(line, "piecereferences", doubts)
        if pieces:
            return list({id(piece): piece for piece in pieces}.values())[:MAX_PIECES]
    return []


def _list_lines(holder: Node, doubts: Doubts) -> Iterator[Node]:
    """Yield the lines of a waybill and the waybill itself, each with its packages: they may refer to pieces."""
    for line in (*list_objects(holder, "waybilllineitems", doubts), holder):
        yield from (line, *list_objects(line, "lineitempackages", doubts))


def _count_links(holders: list[Node], doubts: Doubts) -> int:
    """Count the pieces that a shipment lists and that the lines of its waybill refer to, known or not; the larger number."""
    listed = max((_count_values(holder, "pieces") for holder in holders), default=0)
    lines = (line for holder in holders for line in _list_lines(holder, Doubts()))
    referred = sum(_count_values(line, "piecereferences") for line in lines)
    if listed and referred and listed != referred:
        doubts.add("piece_count_mismatch")
    return max(listed, referred)


def _count_values(node: Node, name: str) -> int:
    values = list_values(node, name)
    objects = [next(iter(value["@id"]), id(value)) for value in values if isinstance(value, dict)]
    return len({*objects, *(value for value in values if isinstance(value, str))})


def read_goods(waybill: Node | None, shipment: Node | None, doubts: Doubts) -> Fields:
    """Read description, lines, pieces and weight."""
    holders = [node for node in (shipment, waybill) if node is not None]
    pieces, lines = list_pieces(holders, doubts), list_objects(waybill, "waybilllineitems", doubts)
    items = _merge_items(_read_pieces(pieces, doubts, set(), 0))
    counted = _sum_known([read_number(line, "piececountforrate", doubts, "pieces") for line in lines])
    linked = max(len(pieces), _count_links(holders, doubts))
    if counted is not None and linked and counted != linked:
        doubts.add("piece_count_mismatch")
    described = (read_text(node, "goodsdescription") for node in (*holders, *lines))
    coded = (read_code(node, "hscode") for node in (*holders, *lines))
    goods = summarize_items(items)
    return {
        "description": next(filter(None, described), None) or goods["description"],
        "hs_code": goods["hs_code"] or next(filter(None, coded), None),
        "origin_country": goods["origin_country"],
        "items": items or None,
        "pieces": counted if counted is not None else float(linked) or None,
        "gross_weight_kg": _read_weight(holders, pieces, lines, doubts),
    }


def _sum_known(numbers: list[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known and len(known) == len(numbers) else None


def _read_weight(holders: list[Node], pieces: list[Node], lines: list[Node], doubts: Doubts) -> float | None:
    """Read the total; else add up all pieces, else all lines of the waybill."""
    for holder in holders:
        total = read_kilograms(holder, "totalgrossweight", doubts, "gross_weight_kg")
        if total is not None:
            return total
    for nodes, name in ((pieces, "grossweight"), (lines, "grossweightforrate")):
        total = _sum_known([read_kilograms(node, name, doubts, "gross_weight_kg") for node in nodes])
        if total is not None:
            return round(total, 9)
    return None


def _read_pieces(pieces: list[Node], doubts: Doubts, seen: set[int], depth: int) -> list[Fields]:
    """Read the lines of pieces and of those in them; each piece once, whatever links to it."""
    items: list[Fields] = []
    for piece in pieces:
        if id(piece) not in seen and len(seen) < MAX_PIECES:
            seen.add(id(piece))
            items += _read_piece(piece, doubts, seen, depth)
    return items


def _read_piece(piece: Node, doubts: Doubts, seen: set[int], depth: int) -> list[Fields]:
    """Read the lines of one piece: one for each item or product, else those of the pieces in it, else one for itself."""
    own = _read_product(piece, "goodsdescription", doubts)
    items = [_read_item(item, doubts) for item in list_objects(piece, "containeditems", doubts)]
    products = list_objects(piece, "contentproducts", doubts)
    items += [_read_product(each, "description", doubts) for each in products]
    if not items and depth < MAX_PIECE_DEPTH:
        inner = [each for each in list_objects(piece, "containedpieces", doubts) if each is not piece]
        if inner and all(id(each) in seen for each in inner):
            return []
        items = _read_pieces(inner, doubts, seen, depth + 1)
    if not items:
        items = [{"hs_code": own["hs_code"]}]
    for item in items:
        for name in ("description", "origin_country"):
            item[name] = item.get(name) or own[name]
        item.setdefault("quantity", 1.0)
    return items


def _read_item(item: Node, doubts: Doubts) -> Fields:
    of_product = _read_product(find_object(item, "ofproduct", doubts), "description", doubts)
    own = _read_product(item, "description", doubts)
    own["description"] = own["description"] or read_text(item, "goodsdescription")
    quantity = read_number(item, "itemquantity", doubts, "items.quantity")
    price, _ = read_measure(item, "unitprice", "currencyunit", doubts, "items.value")
    count = quantity if quantity is not None else 1.0
    return {
        "description": of_product["description"] or own["description"],
        "hs_code": of_product["hs_code"] or own["hs_code"],
        "quantity": quantity,
        "value": None if price is None else round(price * count, 6),
        "net_weight_kg": read_kilograms(item, "netweight", doubts, "items.net_weight_kg"),
        "origin_country": own["origin_country"] or of_product["origin_country"],
    }


def _read_product(node: Node | None, described: str, doubts: Doubts) -> Fields:
    """Read what an object says of goods: description, tariff code and country of origin."""
    return {
        "description": read_text(node, described),
        "hs_code": read_code(node, "hscode"),
        "origin_country": read_country(read_code(node, "productioncountry"), "items.origin_country", doubts),
    }


def _merge_items(items: list[Fields]) -> list[Fields]:
    """Join equal lines of several pieces to one with their number."""
    merged: dict[tuple[Any, ...], Fields] = {}
    for item in items:
        line = {name: item.get(name) for name in ITEM_COLUMNS}
        key = tuple(value for name, value in line.items() if name != "quantity")
        known = merged.get(key)
        is_counted = line["net_weight_kg"] is None and line["value"] is None
        if known is not None and is_counted and None not in (known["quantity"], line["quantity"]):
            known["quantity"] += line["quantity"]
        else:
            merged[key if known is None else (*key, len(merged))] = line
    facts = set(ITEM_COLUMNS) - {"quantity"}
    return [item for item in merged.values() if any(item[name] is not None for name in facts)]


# --- documents --------------------------------------------------------------------------------------------------------

PAYMENTS = dict.fromkeys(("p", "pp", "prepaid"), "prepaid") | dict.fromkeys(("c", "cc", "collect"), "collect")
LEVELS: tuple[Level, ...] = ("master", "house", "direct")
NUMBER_KEYS = LINK_KEYS | {"waybillprefix", "waybillnumber", "waybilltype"}
"""All that a reference to a master says; one that says no more declares nothing."""
MAX_WAYBILLS_OF_A_SHIPMENT = 10
"""A house and its masters share a shipment; links of more waybills to it are not followed."""
MAX_BOOKING_OBJECTS = 200
NOT_OF_A_BOOKING = frozenset(("waybill", "shipment", "piece"))
"""Types of what a booking links to, whose legs may be those of other bookings."""
MAX_KIND_CHARACTERS = 40
NOTE_CODES = ("country", "subjectcode", "contentcode")
YES = frozenset(("true", "1", "yes"))


def read_one_record(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read one document by itself; what it links to elsewhere is not known."""
    linker = OneRecordLinker()
    linker.add_document(content, context.source)
    for _, parsed in linker.read_all():
        yield parsed


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
        listing = {id(node) for node in self.shipments if list_values(node, "pieces")}
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
            for shipment in list_objects(waybill, "shipment", Doubts()):
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
        if list_objects(node, "housewaybills", Doubts()):
            return "master"
        if list_values(node, "masterwaybill"):
            return "house"
        number = read_text(node, "waybillnumber") or ""
        has_prefix = bool(read_text(node, "waybillprefix")) or parse_awb(number) is not None
        return "direct" if has_prefix else "house"

    # --- declarations

    def _read_waybill(self, node: Node, level: Level) -> Parsed:
        waybill = Declaration(issued_at=parse_time(read_text(node, "carrierdeclarationdate")), level=level)
        doubts = waybill.doubts
        shipment = self.shipment_of.get(id(node))
        if shipment is None and list_values(node, "shipment"):
            doubts.add("link_unresolved")
        master = None
        if level == "house":
            master = _read_master_number(node, doubts)
            number, prefix = read_text(node, "waybillnumber"), read_text(node, "waybillprefix")
            if number and prefix and not prefix.isdigit() and not number.startswith(prefix):
                number = f"{prefix}{number}"  # letters in the prefix are the forwarder's
        else:
            number = read_waybill_number(_read_awb_text(node), doubts)
        parsed = _fill_waybill(waybill, node, shipment, number, master)
        if isinstance(parsed, MasterDetails) and id(node) in self.stubs:
            return structs.replace(parsed, declaration=None)
        return parsed

    def _read_loose(self, node: Node, shipment: Node) -> Declaration:
        """Read goods that have no waybill."""
        waybill = Declaration()
        for name in ("waybill", *(["ofshipment"] if "piece" in node["@type"] else [])):
            list_objects(node, name, waybill.doubts)  # for the doubt about a link
        _fill_waybill(waybill, None, shipment, None)
        return waybill


def _fill_waybill(
    filled: Declaration,
    waybill: Node | None,
    shipment: Node | None,
    number: str | None,
    master: str | None = None,
) -> Declaration | MasterDetails:
    """Read parties, goods, charges, journey and notes of a waybill and its shipment, of which one may be missing."""
    holders = [node for node in (waybill, shipment) if node is not None]
    fields, doubts = filled.fields, filled.doubts
    fields |= {"channel": "air_cargo", **read_parties(holders, doubts)}
    fields |= read_goods(waybill, shipment, doubts)
    fields |= _read_charges(waybill, doubts)
    notes: dict[CustomsNote, None] = {}
    for node in (*holders, *list_pieces(holders[::-1], doubts)):
        for note in list_objects(node, "customsinformation", doubts):
            country, subject, code = ((read_code(note, name) or "").upper() for name in NOTE_CODES)
            notes[CustomsNote(country, subject, code, read_text(note, "note") or "")] = None
    return finish_waybill(filled, list(notes), _read_journey(holders, fields, doubts), number, master)


def _read_master_number(house: Node, doubts: Doubts) -> str | None:
    """Read the number of the first master that has one; a link that leads nowhere is a doubt only if there is no master."""
    links = Doubts()
    masters = list_objects(house, "masterwaybill", links)
    if masters:
        return read_waybill_number(next(filter(None, map(_read_awb_text, masters)), None), doubts)
    doubts |= links
    text = read_text(house, "masterwaybill | masterwaybillnumber")
    awb = parse_awb(text) if text else None
    return awb.number if awb else None


def add_inverses(nodes: list[Node], name: str, inverse: str, but: Container[int] = ()) -> None:
    """Add to the objects of a property what refers to them, behind what they refer to themselves; not to those with some `id`."""
    for node in nodes:
        for target in list_objects(node, name, Doubts()):
            if target is not node and id(target) not in but:
                target.setdefault(inverse, []).append(node)


def is_waybill(node: Node) -> bool:
    """Check whether an object is a waybill, or a shipment that has the number of one."""
    if any(kind.endswith("waybill") for kind in node["@type"]):
        return True
    numbered = bool(list_values(node, "waybillnumber"))
    return numbered and (not node["@type"] or "shipment" in node["@type"])


def _read_awb_text(node: Node) -> str | None:
    """Read prefix and number; the number may have the prefix in it."""
    number, prefix = read_text(node, "waybillnumber"), read_text(node, "waybillprefix")
    if number is None or prefix is None or parse_awb(number) is not None:
        return number
    return number if number.startswith(f"{prefix}-") else f"{prefix}-{number}"


def _read_charges(waybill: Node | None, doubts: Doubts) -> Fields:
    """Read the declared value, and the freight if each line of the waybill has an amount."""

    def read_amount(node: Node | None, name: str, field: str) -> Money | None:
        amount, currency = read_measure(node, name, "currencyunit", doubts, field)
        return None if amount is None else Money(amount, currency.upper() if currency else None)

    nil = (read_text(waybill, "nvdforcustoms") or "").lower() in YES
    declared = None if nil else read_amount(waybill, "declaredvalueforcustoms", "declared_value")
    lines, others = (
        [read_amount(each, name, "postage") for each in list_objects(waybill, of, doubts)]
        for of, name in (("waybilllineitems", "chargetotal"), ("othercharges", "otherchargeamount"))
    )
    freight = [*lines, *others]
    currency = next((money.currency for money in freight if money and money.currency), None)
    charges = settle_charges(declared, freight if lines and None not in lines else (), currency, doubts)
    return charges | {"payment": PAYMENTS.get(read_name(waybill, "weightvaluationindicator"))}


def _read_journey(holders: list[Node], fields: Fields, doubts: Doubts) -> Fields:
    """Read places in order, the two countries, and the airline of the first flight."""
    legs = next((found for holder in holders if (found := _list_legs(holder))), [])
    names = ("departurelocation", "arrivallocation")
    stops = [read_place(leg, name, doubts) for leg in legs for name in names]
    ends = [
        next((place for holder in holders if (place := read_place(holder, name, doubts))), None)
        for name in names
    ]
    flights = [(read_text(leg, "transportidentifier"), None) for leg in legs]
    journey = build_journey(fields, [ends[0], *stops, ends[1]], flights)
    if len({place for place in (*ends, *stops) if place}) < 2:  # one place is not both ends
        if not ends[0]:
            journey["departure_country"] = fields.get("sender_country")
        if not ends[1]:
            journey["destination_country"] = fields.get("consignee_country")
    return {**journey, "carrier": fields.get("carrier") or journey["carrier"]}


def _list_legs(holder: Node) -> list[Node]:
    """List the legs of the booking, in the order of their numbers; a missing booking is no doubt."""
    quiet = Doubts()
    booking = find_object(holder, "referredbookingoption", quiet)
    below = walk_objects([booking], NOT_OF_A_BOOKING) if booking is not None else ()
    for source in (holder, *islice(below, MAX_BOOKING_OBJECTS)):
        legs = list_objects(source, "transportlegs", quiet)
        if legs:
            legs.sort(key=lambda leg: read_number(leg, "sequencenumber", quiet) or 0.0)
            return [find_object(leg, "activity", quiet) or leg for leg in legs]
    return []
