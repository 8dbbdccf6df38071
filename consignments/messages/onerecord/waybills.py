"""ONE Record documents as declarations: houses and direct waybills, masters, and shipments or pieces that have no waybill.

A house's number stands under its master's, which is found by a link in either direction. Objects may be linked over the documents
of a run: `OneRecordLinker` collects them first and reads them then.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from msgspec import structs

from consignments.identifiers import parse_awb
from consignments.messages.air.customs_notes import CustomsNote, decode_notes
from consignments.messages.air.journeys import build_journey, find_airline, join_places
from consignments.messages.air.waybill_numbers import identify_by_content, identify_house, read_waybill_number
from consignments.messages.air.waybills import finish_waybill
from consignments.messages.content.trees import decode_head, decode_json
from consignments.messages.content.values import Doubts, Fields, parse_time
from consignments.messages.onerecord.goods import list_pieces, read_goods
from consignments.messages.onerecord.graph import (
    LinkedObject,
    ObjectGraph,
    get_code,
    get_local_name,
    list_property,
    read_property,
    walk_objects,
)
from consignments.messages.onerecord.parties import ObjectReader
from consignments.messages.parsed import Declaration, Ignored, Level, MasterDetails, MessageContext, Parsed

MARKS = ("onerecord.iata.org", "cargo:", '"@context"', '"@type"', '"@graph"', "logistics-object")
PAYMENTS = dict.fromkeys(("p", "pp", "prepaid"), "prepaid") | dict.fromkeys(("c", "cc", "collect"), "collect")
NUMBER_KEYS = frozenset(("waybillprefix", "waybillnumber", "waybilltype"))
"""All that a reference to a master says; one that says no more declares nothing."""
MAX_WAYBILLS_OF_A_SHIPMENT = 10
"""A house and its masters share a shipment; links of more waybills to it are not followed."""
MAX_BOOKING_OBJECTS = 1000
MAX_KIND_CHARACTERS = 40
NOTE_CODES = ("country", "subjectcode", "contentcode")
YES = frozenset(("true", "1", "yes"))


def looks_like_one_record(head: bytes) -> bool:
    """Check whether a message begins like JSON-LD of ONE Record."""
    text = decode_head(head)
    return text[:1] in ("{", "[") and any(mark in text for mark in MARKS)


def read_one_record(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read one document by itself; what it links to elsewhere is not known."""
    linker = OneRecordLinker()
    linker.add_document(content, context.source)
    for _, parsed in linker.read_all():
        yield parsed


class OneRecordLinker:
    """Collects the documents of a run, and then reads their objects with the links between them."""

    def __init__(self) -> None:
        self.graph = ObjectGraph()
        self._sources: dict[int, str] = {}
        self._last_source = ""

    def add_document(self, content: bytes, source: str) -> None:
        """Add a document."""
        first = len(self.graph.roots)
        self.graph.add_document(decode_json(content))
        self._last_source = source
        for node in walk_objects(self.graph.roots[first:]):
            self._sources.setdefault(id(node), source)

    def read_all(self) -> Iterator[tuple[str, Parsed]]:
        """Yield what all documents together declare, each with the name of the document it stands in."""
        found = False
        for node, parsed in _Documents(self.graph).read_all():
            found = True
            yield self._sources.get(id(node), self._last_source), parsed
        if not found:
            types = {kind for node in self.graph.roots for kind in node.types}
            kinds = sorted(kind[:MAX_KIND_CHARACTERS] for kind in types if kind.isalnum() and kind.isascii())
            kind = f"ONE Record {kinds[0] if kinds else 'object'}"
            yield self._last_source, Ignored(kind, "no waybill, shipment or goods in it")


class _Documents:
    """The objects of a run, and what refers to what."""

    def __init__(self, graph: ObjectGraph) -> None:
        nodes = [node for node in walk_objects(graph.roots) if not node.is_link]
        self.quiet = ObjectReader(graph, Doubts())
        self.waybills = [node for node in nodes if is_waybill(node)]
        self.pieces = [node for node in nodes if "piece" in node.types]
        self.shipments = [node for node in nodes if "shipment" in node.types and not is_waybill(node)]
        self.masters: dict[int, LinkedObject] = {}
        self.referred_masters: set[int] = set()
        self.shipment_of: dict[int, LinkedObject] = {}
        self._uses: Counter[int] = Counter()
        self.notes_about: dict[int, list[LinkedObject]] = {}
        self._link_waybills()
        self._link_shipments()
        for note in nodes:
            if "customsinformation" in note.types:
                for name in ("issuedforpiece", "issuedforshipment", "issuedforwaybill"):
                    for target in self.quiet.list_objects(note, name):
                        self.notes_about.setdefault(id(target), []).append(note)

    def read_all(self) -> Iterator[tuple[LinkedObject, Parsed]]:
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
                parsed = self._read_loose(piece, LinkedObject("", {"shipment"}, {"pieces": [piece]}))
                if parsed.fields.keys() & {"description", "gross_weight_kg"}:
                    yield piece, parsed

    # --- what refers to what

    def _link_waybills(self) -> None:
        for node in self.waybills:
            for house in self.quiet.list_objects(node, "housewaybills"):
                self.masters.setdefault(id(house), node)
                self.referred_masters.add(id(node))
            for master in self.quiet.list_objects(node, "masterwaybill"):
                if master is not node:
                    self.masters.setdefault(id(node), master)
                    self.referred_masters.add(id(master))

    def _link_shipments(self) -> None:
        for node in self.waybills:
            for shipment in self.quiet.list_objects(node, "shipment"):
                self._assign_shipment(node, shipment)
        for shipment in self.shipments:
            for waybill in self.quiet.list_objects(shipment, "waybill"):
                self._assign_shipment(waybill, shipment)
            for piece in self.quiet.list_objects(shipment, "pieces"):
                piece.values.setdefault("ofshipment", [shipment])
        linked: dict[int, list[LinkedObject]] = {}
        for piece in self.pieces:
            for shipment in self.quiet.list_objects(piece, "ofshipment"):
                if not list_property(shipment, "pieces"):
                    linked.setdefault(id(shipment), []).append(piece)
        for shipment in self.shipments:
            if id(shipment) in linked:
                shipment.values["pieces"] = list[Any](linked[id(shipment)])

    def _assign_shipment(self, waybill: LinkedObject, shipment: LinkedObject) -> None:
        """Assign a waybill its shipment, unless the shipment has more waybills than carriage knows."""
        if id(waybill) not in self.shipment_of and self._uses[id(shipment)] < MAX_WAYBILLS_OF_A_SHIPMENT:
            self._uses[id(shipment)] += 1
            self.shipment_of[id(waybill)] = shipment

    def _find_level(self, node: LinkedObject) -> Level:
        """Find the level by the type of the waybill, else by its links and its prefix."""
        kind = get_local_name(read_property(node, "waybilltype") or "")
        levels: tuple[Level, ...] = ("master", "house", "direct")
        for level in levels:
            if level in kind:
                return level
        if id(node) in self.referred_masters:
            return "master"
        if id(node) in self.masters or list_property(node, "masterwaybill"):
            return "house"
        number = read_property(node, "waybillnumber") or ""
        has_prefix = bool(read_property(node, "waybillprefix")) or parse_awb(number) is not None
        return "direct" if has_prefix else "house"

    # --- declarations

    def _read_waybill(self, node: LinkedObject, level: Level) -> Parsed:
        waybill = Declaration(
            issued_at=parse_time(read_property(node, "carrierdeclarationdate")), level=level
        )
        reader, fields = ObjectReader(self.quiet.graph, waybill.doubts), waybill.fields
        shipment = self.shipment_of.get(id(node))
        if shipment is None and list_property(node, "shipment"):
            waybill.doubts.add("link_unresolved")
        self._fill(waybill, reader, node, shipment)
        if level == "house":
            fields["master_id"] = self._read_master_number(reader, node)
            number = identify_house(fields["master_id"], _read_house_number(node), fields, waybill.doubts)
        else:
            number = read_waybill_number(_read_awb_text(node), waybill.doubts) or identify_by_content(fields)
        fields["consignment_id"] = number
        parsed = finish_waybill(waybill)
        if isinstance(parsed, MasterDetails) and not node.values.keys() - NUMBER_KEYS:
            return structs.replace(parsed, declaration=None)
        return parsed

    def _read_loose(self, node: LinkedObject, shipment: LinkedObject) -> Declaration:
        """Read goods that have no waybill."""
        waybill = Declaration()
        reader = ObjectReader(self.quiet.graph, waybill.doubts)
        reader.list_objects(node, "waybill")  # for the doubt about a link
        if "piece" in node.types:
            reader.list_objects(node, "ofshipment")
        self._fill(waybill, reader, None, shipment)
        waybill.doubts.add("identifier_missing")
        waybill.fields["consignment_id"] = identify_by_content(waybill.fields)
        finish_waybill(waybill)
        return waybill

    def _fill(
        self,
        filled: Declaration,
        reader: ObjectReader,
        waybill: LinkedObject | None,
        shipment: LinkedObject | None,
    ) -> None:
        holders = [node for node in (waybill, shipment) if node is not None]
        fields = filled.fields
        fields |= {"channel": "air_cargo", **reader.read_parties(holders)}
        fields |= read_goods(reader, waybill, shipment)
        fields |= _read_charges(reader, waybill)
        fields |= _read_journey(reader, holders, fields)
        notes: dict[CustomsNote, None] = {}
        for node in (*holders, *list_pieces(reader, holders[::-1])):
            own = reader.list_objects(node, "customsinformation")
            for note in (*own, *self.notes_about.get(id(node), ())):
                country, subject, code = (
                    get_code(read_property(note, name) or "").upper() for name in NOTE_CODES
                )
                notes[CustomsNote(country, subject, code, read_property(note, "note") or "")] = None
        decoded, filled.extras = decode_notes(list(notes), reader.doubts)
        for name, value in decoded.items():
            if name in ("payment", "service", "nature") or fields.get(name) is None:
                fields[name] = value

    def _read_master_number(self, reader: ObjectReader, node: LinkedObject) -> str | None:
        master = self.masters.get(id(node)) or reader.find_object(node, "masterwaybill")
        if master is not None:
            return read_waybill_number(_read_awb_text(master), reader.doubts)
        text = read_property(node, "masterwaybill", "masterwaybillnumber")
        awb = parse_awb(text) if text else None
        return awb.number if awb else None


def is_waybill(node: LinkedObject) -> bool:
    """Check whether an object is a waybill, or a shipment that has the number of one."""
    if any(kind.endswith("waybill") for kind in node.types):
        return True
    numbered = bool(list_property(node, "waybillnumber"))
    return numbered and (not node.types or "shipment" in node.types)


def _read_awb_text(node: LinkedObject) -> str | None:
    """Read prefix and number; the number may have the prefix in it."""
    number, prefix = read_property(node, "waybillnumber"), read_property(node, "waybillprefix")
    if number is None or prefix is None or parse_awb(number) is not None:
        return number
    return number if number.startswith(f"{prefix}-") else f"{prefix}-{number}"


def _read_house_number(node: LinkedObject) -> str | None:
    """Read the number of a house; letters in the prefix are the forwarder's and belong to it."""
    number, prefix = read_property(node, "waybillnumber"), read_property(node, "waybillprefix")
    if number and prefix and not prefix.isdigit() and not number.startswith(prefix):
        return f"{prefix}{number}"
    return number


def _read_charges(reader: ObjectReader, waybill: LinkedObject | None) -> Fields:
    """Read the declared value and the freight, in the one currency that the record has."""
    if waybill is None:
        return {}
    nil = (read_property(waybill, "nvdforcustoms") or "").lower() in YES
    declared = None if nil else reader.read_amount(waybill, "declaredvalueforcustoms", "declared_value")
    lines, others = (
        [reader.read_amount(each, name, "postage") for each in reader.list_objects(waybill, of)]
        for of, name in (("waybilllineitems", "chargetotal"), ("othercharges", "otherchargeamount"))
    )
    amounts = [amount for amount in (*lines, *others) if amount is not None]
    complete = bool(lines) and None not in lines
    currency = next((each.currency for each in (declared, *amounts) if each and each.currency), None)
    alike = all(amount.currency in (None, currency) for amount in amounts)
    if complete and not alike:
        reader.doubts.add("currency_mixed")
    indicator = get_local_name(read_property(waybill, "weightvaluationindicator") or "")
    return {
        "declared_value": declared.value if declared else None,
        "currency": currency,
        "postage": round(sum(amount.value for amount in amounts), 6) if complete and alike else None,
        "payment": PAYMENTS.get(indicator),
    }


def _read_journey(reader: ObjectReader, holders: list[LinkedObject], fields: Fields) -> Fields:
    """Read places in order, the two countries, and the airline of the first flight."""
    legs = next((found for holder in holders if (found := _list_legs(reader, holder))), [])
    names = ("departurelocation", "arrivallocation")
    stops = [reader.read_place(leg, name) for leg in legs for name in names]
    ends = [
        next((place for holder in holders if (place := reader.read_place(holder, name))), None)
        for name in names
    ]
    flights: list[tuple[Any, Any]] = [(read_property(leg, "transportidentifier"), None) for leg in legs]
    journey = build_journey(join_places(ends[0], *stops, ends[1]), fields)
    if len({place for place in (*ends, *stops) if place}) < 2:  # one place is not both ends
        if not ends[0]:
            journey["departure_country"] = fields.get("sender_country")
        if not ends[1]:
            journey["destination_country"] = fields.get("consignee_country")
    return {**journey, "carrier": fields.get("carrier") or find_airline(flights)}


def _list_legs(reader: ObjectReader, holder: LinkedObject) -> list[LinkedObject]:
    """List the legs of the booking, in the order of their numbers."""
    quiet = ObjectReader(reader.graph, Doubts())  # a missing booking is no doubt
    booking = quiet.find_object(holder, "referredbookingoption")
    below = islice(walk_objects([booking]), MAX_BOOKING_OBJECTS) if booking is not None else ()
    for source in (holder, *below):
        legs = quiet.list_objects(source, "transportlegs")
        if legs:
            places = [quiet.read_first_number(leg, "sequencenumber") or 0.0 for leg in legs]
            ordered = sorted(range(len(legs)), key=places.__getitem__)
            return [quiet.find_object(legs[place], "activity") or legs[place] for place in ordered]
    return []
