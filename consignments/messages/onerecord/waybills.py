"""ONE Record documents as declarations: houses and direct waybills, masters, and shipments or pieces that have no waybill.

A house's number stands under its master's, which is found by a link in either direction. Objects may be linked over the documents
of a run: `OneRecordLinker` collects them first and reads them then."""

from collections import Counter
from collections.abc import Container, Iterator
from functools import cached_property
from itertools import islice
from typing import Any

from msgspec import structs

from consignments.identifiers import parse_awb
from consignments.messages.air import waybills
from consignments.messages.air.waybills import CustomsNote, Journey, Money
from consignments.messages.configuration import load_codes, load_table
from consignments.messages.content import values
from consignments.messages.content.paths import find_texts
from consignments.messages.content.trees import Node
from consignments.messages.content.values import Doubts, Fields
from consignments.messages.onerecord.graph import (
    LINK_KEYS,
    SOURCE,
    NodeReader,
    ObjectGraph,
    get_code,
    is_link,
    read_code,
    read_name,
    read_text,
    walk_objects,
)
from consignments.messages.parsed import Declaration, Ignored, MasterDetails, Parsed
from consignments.records import SIDES, Level

TABLE = load_table("onerecord/keys")
ROLES, DIRECT_ROLES, CONTACTS, OWN_CONTACTS, PAYMENTS = (
    load_codes("onerecord/keys", section)
    for section in ("roles", "direct_roles", "contacts", "own_contacts", "payments")
)
ACCOUNT_TYPES = frozenset(("accountid", "accountnumber", "account"))
MAX_PIECES = 20_000
"""Pieces that are looked at one by one; a shipment of more is not believed."""
MAX_PIECE_DEPTH = 5
MAX_BOOKING_OBJECTS = 200
NOT_OF_A_BOOKING = frozenset(("waybill", "shipment", "piece"))
"""Types of what a booking links to, whose legs may be those of other bookings."""
NOTE_CODES = ("country", "subjectcode", "contentcode")
YES = frozenset(("true", "1", "yes"))
LEVELS: tuple[Level, ...] = ("master", "house", "direct")
NUMBER_KEYS = LINK_KEYS | {"waybillprefix", "waybillnumber", "waybilltype"}
"""All that a reference to a master says; one that says no more declares nothing."""
MAX_WAYBILLS_OF_A_SHIPMENT = 10
"""A house and its masters share a shipment; links of more waybills to it are not followed."""
MAX_KIND_CHARACTERS = 40

QUIET = NodeReader(Doubts())
"""Reads what is no doubt if it is missing."""


class WaybillReader(NodeReader):
    """Reads what a waybill and its shipment declare, of which one may be missing."""

    def __init__(self, declaration: Declaration, waybill: Node, shipment: Node) -> None:
        super().__init__(declaration.doubts)
        self.declaration, self.waybill = declaration, waybill
        self.holders = [node for node in (waybill, shipment) if node]

    def read(self, number: str | None, master: str | None = None) -> Declaration | MasterDetails:
        """Read parties, goods, charges, journey and notes."""
        parts = self._read_parties() | self._read_goods() | self._read_charges()
        self.declaration.fields = {"channel": "air_cargo", **parts}
        notes: dict[CustomsNote, None] = {}
        for node in (*self.holders, *self.pieces):
            for note in self.list_objects(node, "customsinformation"):
                country, subject, code = ((read_code(note, name) or "").upper() for name in NOTE_CODES)
                notes[CustomsNote(country, subject, code, read_text(note, "note") or "")] = None
        return waybills.finish_waybill(self.declaration, self._read_journey(), list(notes), number, master)

    def _read_parties(self) -> Fields:
        """Read sender, consignee, forwarder and carrier; the first of each role counts."""
        found: dict[str, Node] = {}
        for node in self.holders:
            for party in self.list_objects(node, "involvedparties"):
                if role := ROLES.get(read_name(party, "partyrole")):
                    found.setdefault(role, party)
            for name, role in DIRECT_ROLES.items():
                if direct := self.find_object(node, name):
                    found.setdefault(role, direct)
        details = {role: self.find_object(party, "partydetails") or party for role, party in found.items()}
        fields: Fields = {}
        for side in SIDES:
            if side in found:
                fields |= values.build_party(side, self._read_party(details[side], found[side]), self.doubts)
        sender, carrier = [found.get("sender", {}), details.get("sender", {})], details.get("carrier", {})
        identifiers = (each for node in sender for each in self.list_objects(node, "otheridentifiers"))
        accounts = (each for each in identifiers if read_name(each, "otheridentifiertype") in ACCOUNT_TYPES)
        fields["account_id"] = read_text(next(accounts, {}), "textualvalue")
        fields["declarant"] = _read_party_name(details.get("declarant", {}))
        fields["carrier"] = read_text(carrier, "airlinecode") or _read_party_name(carrier)
        return fields

    def _read_party(self, details: Node, party: Node) -> Fields:
        place = self.find_object(details, "basedatlocation")
        holder = self.find_object(place, "address") or self.find_object(details, "address") or place
        given: Fields = {part: read_text(holder, path) for part, path in TABLE["address"].items()}
        lines = find_texts([holder], "streetaddresslines")
        if not (lines or given["box"] or given["city"]):
            lines = find_texts([place], "locationname")
        if given["country"] and ":" in given["country"]:
            given["country"] = get_code(given["country"])
        given |= {"name": _read_party_name(details), "lines": lines}
        return given | self._read_contacts([details, party])

    def _read_contacts(self, nodes: list[Node]) -> dict[str, str]:
        """Read the first telephone number and e-mail address of a party and its contact persons."""
        people = [person for node in nodes for person in self.list_objects(node, "contactpersons")]
        found: dict[str, str] = {}
        for holder in (*nodes, *people):
            for contact in self.list_objects(holder, "contactdetails"):
                if text := read_text(contact, "textualvalue"):
                    kind = CONTACTS.get(read_name(contact, "contactdetailtype"))
                    found.setdefault(kind or ("email" if "@" in text else ""), text)
            for name, kind in OWN_CONTACTS.items():
                if own := read_text(holder, name):
                    found.setdefault(kind, own)
        return found

    @cached_property
    def pieces(self) -> list[Node]:
        """Return the pieces of the shipment, else those that the lines of its waybill refer to; each once."""
        for holder in reversed(self.holders):
            pieces = self.list_objects(holder, "pieces")
            for line in _list_lines(self, holder):
                pieces += self.list_objects(line, "piecereferences")
            if pieces:
                return list({id(piece): piece for piece in pieces}.values())[:MAX_PIECES]
        return []

    def _count_links(self) -> int:
        """Count the pieces that a shipment lists and that the lines of its waybill refer to, known or not; the larger number."""
        listed = max((_count_values(holder, "pieces") for holder in self.holders), default=0)
        lines = (line for holder in self.holders for line in _list_lines(QUIET, holder))
        referred = sum(_count_values(line, "piecereferences") for line in lines)
        if listed and referred and listed != referred:
            self.doubts.add("piece_count_mismatch")
        return max(listed, referred)

    def _read_goods(self) -> Fields:
        """Read description, lines, pieces and weight."""
        lines = self.list_objects(self.waybill, "waybilllineitems")
        items = _merge_items(self._read_pieces(self.pieces, set(), 0))
        counted = values.sum_all([self.read_number(line, "piececountforrate", "pieces") for line in lines])
        linked = max(len(self.pieces), self._count_links())
        if counted is not None and linked and counted != linked:
            self.doubts.add("piece_count_mismatch")
        holders = (*reversed(self.holders), *lines)
        described = (read_text(node, "goodsdescription") for node in holders)
        coded = (read_code(node, "hscode") for node in holders)
        goods = values.summarize_items(items)
        return {
            "description": next(filter(None, described), None) or goods["description"],
            "hs_code": goods["hs_code"] or next(filter(None, coded), None),
            "origin_country": goods["origin_country"],
            "items": items or None,
            "pieces": counted if counted is not None else float(linked) or None,
            "gross_weight_kg": self._read_weight(lines),
        }

    def _read_weight(self, lines: list[Node]) -> float | None:
        """Read the total; else add up all pieces, else all lines of the waybill."""
        groups = [([holder], "totalgrossweight") for holder in reversed(self.holders)]
        for nodes, name in (*groups, (self.pieces, "grossweight"), (lines, "grossweightforrate")):
            total = values.sum_all([self.read_kilograms(node, name, "gross_weight_kg") for node in nodes])
            if total is not None:
                return round(total, 9)
        return None

    def _read_pieces(self, pieces: list[Node], seen: set[int], depth: int) -> list[Fields]:
        """Read the lines of pieces and of those in them; each piece once, whatever links to it."""
        items: list[Fields] = []
        for piece in pieces:
            if id(piece) not in seen and len(seen) < MAX_PIECES:
                seen.add(id(piece))
                items += self._read_piece(piece, seen, depth)
        return items

    def _read_piece(self, piece: Node, seen: set[int], depth: int) -> list[Fields]:
        """Read the lines of one piece: one for each item or product, else those of the pieces in it, else one for itself."""
        own = self._describe(piece, "piece")
        items = [self._read_item(item) for item in self.list_objects(piece, "containeditems")]
        items += [self._describe(each, "product") for each in self.list_objects(piece, "contentproducts")]
        if not items and depth < MAX_PIECE_DEPTH:
            inner = [each for each in self.list_objects(piece, "containedpieces") if each is not piece]
            if inner and all(id(each) in seen for each in inner):
                return []
            items = self._read_pieces(inner, seen, depth + 1)
        if not items:
            items = [{"hs_code": own["hs_code"]}]
        for item in items:
            for name in ("description", "origin_country"):
                item[name] = item.get(name) or own[name]
            item.setdefault("quantity", 1.0)
        return items

    def _read_item(self, item: Node) -> Fields:
        self.list_objects(item, "ofproduct")  # for the doubt about a link
        quantity = self.read_number(item, "itemquantity", "items.quantity")
        price, _ = self.read_measure(item, "unitprice", "items.value", "currencyunit")
        count = 1.0 if quantity is None else quantity
        return self._describe(item, "item") | {
            "quantity": quantity,
            "value": None if price is None else round(price * count, 6),
            "net_weight_kg": self.read_kilograms(item, "netweight", "items.net_weight_kg"),
        }

    def _describe(self, node: Node, kind: str) -> Fields:
        """Read what a piece, a product or an item says of goods: description, tariff code and country of origin."""
        paths = TABLE["goods"][kind]
        country = read_code(node, paths["origin_country"])
        return {
            "description": read_text(node, paths["description"]),
            "hs_code": read_code(node, paths["hs_code"]),
            "origin_country": values.read_country(country, "items.origin_country", self.doubts),
        }

    def _read_charges(self) -> Fields:
        """Read the declared value, and the freight if each line of the waybill has an amount."""
        nil = (read_text(self.waybill, "nvdforcustoms") or "").lower() in YES
        declared = None
        if not nil:
            declared = self._read_amount(self.waybill, "declaredvalueforcustoms", "declared_value")
        lines, others = (
            [self._read_amount(each, name, "postage") for each in self.list_objects(self.waybill, of)]
            for of, name in (("waybilllineitems", "chargetotal"), ("othercharges", "otherchargeamount"))
        )
        freight = [*lines, *others]
        currency = next((money.currency for money in freight if money and money.currency), None)
        known = freight if lines and None not in lines else ()
        charges = waybills.settle_charges(declared, known, currency, self.doubts)
        return charges | {"payment": PAYMENTS.get(read_name(self.waybill, "weightvaluationindicator"))}

    def _read_amount(self, node: Node, name: str, field: str) -> Money | None:
        amount, currency = self.read_measure(node, name, field, "currencyunit")
        return None if amount is None else Money(amount, currency.upper() if currency else None)

    def _read_journey(self) -> Journey:
        """Read places in order, and flights."""
        legs = next((found for holder in self.holders if (found := _list_legs(holder))), [])
        names = ("departurelocation", "arrivallocation")
        stops = [self.read_place(leg, name) for leg in legs for name in names]
        places = ([self.read_place(holder, name) for holder in self.holders] for name in names)
        origin, destination = (next(filter(None, given), None) for given in places)
        return Journey(
            origin, destination, stops, [(read_text(leg, "transportidentifier"), None) for leg in legs]
        )


def _list_lines(reader: NodeReader, holder: Node) -> Iterator[Node]:
    """Yield the lines of a waybill and the waybill itself, each with its packages: they may refer to pieces."""
    for line in (*reader.list_objects(holder, "waybilllineitems"), holder):
        yield from (line, *reader.list_objects(line, "lineitempackages"))


def _read_party_name(details: Node) -> str | None:
    parts = (read_text(details, name) for name in ("firstname", "middlename", "lastname"))
    person = values.join_lines(*parts, separator=" ")
    return read_text(details, "name") or person or read_text(details, "shortname")


def _count_values(node: Node, name: str) -> int:
    listed = node.get(name, [])
    objects = [next(iter(value["@id"]), id(value)) for value in listed if isinstance(value, dict)]
    return len({*objects, *(value for value in listed if isinstance(value, str))})


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


def _list_legs(holder: Node) -> list[Node]:
    """List the legs of the booking, in the order of their numbers; a missing booking is no doubt."""
    booking = QUIET.find_object(holder, "referredbookingoption")
    below = walk_objects([booking] if booking else [], NOT_OF_A_BOOKING)
    for source in (holder, *islice(below, MAX_BOOKING_OBJECTS)):
        legs = QUIET.list_objects(source, "transportlegs")
        if legs:
            legs.sort(key=lambda leg: QUIET.read_number(leg, "sequencenumber") or 0.0)
            return [QUIET.find_object(leg, "activity") or leg for leg in legs]
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
            shipments = QUIET.list_objects(waybill, "shipment")
            free = (each for each in shipments if uses[id(each)] < MAX_WAYBILLS_OF_A_SHIPMENT)
            if shipment := next(free, None):
                uses[id(shipment)] += 1
                assigned[id(waybill)] = shipment
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
        if QUIET.list_objects(node, "housewaybills"):
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
            waybill.doubts.note("link_unresolved", "shipment")
        master = None
        if level == "house":
            master = _read_master_number(node, waybill.doubts)
            number, prefix = read_text(node, "waybillnumber"), read_text(node, "waybillprefix")
            if number and prefix and not prefix.isdigit() and not number.startswith(prefix):
                number = f"{prefix}{number}"  # letters in the prefix are the forwarder's
        else:
            number = waybills.read_waybill_number(_read_awb_text(node), waybill.doubts)
        parsed = WaybillReader(waybill, node, shipment).read(number, master)
        if isinstance(parsed, MasterDetails) and id(node) in self.stubs:
            return structs.replace(parsed, declaration=None)
        return parsed

    def _read_loose(self, node: Node, shipment: Node) -> Declaration:
        """Read goods that have no waybill."""
        reader = WaybillReader(Declaration(), {}, shipment)
        for name in ("waybill", *(["ofshipment"] if "piece" in node["@type"] else [])):
            reader.list_objects(node, name)  # for the doubt about a link
        reader.read(None)
        return reader.declaration


def _read_master_number(house: Node, doubts: Doubts) -> str | None:
    """Read the number of the first master that has one; a link that leads nowhere is a doubt only if there is no master."""
    if masters := QUIET.list_objects(house, "masterwaybill"):
        return waybills.read_waybill_number(next(filter(None, map(_read_awb_text, masters)), None), doubts)
    NodeReader(doubts).list_objects(house, "masterwaybill")
    text = read_text(house, "masterwaybill | masterwaybillnumber")
    awb = parse_awb(text) if text else None
    return awb.number if awb else None


def add_inverses(nodes: list[Node], name: str, inverse: str, but: Container[int] = ()) -> None:
    """Add to the objects of a property what refers to them, behind what they refer to themselves; not to those with some `id`."""
    for node in nodes:
        for target in QUIET.list_objects(node, name):
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
