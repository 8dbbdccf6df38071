"""IATA Cargo-XML: house waybills (XFZB), waybills (XFWB) and house manifests (XFHL).

Each house becomes a declaration, and so does a direct waybill. A master adds to its houses. `cargo_xml.toml` says which elements
are read: one pass over an element finds all values that a table names, by local names, so prefixes and namespaces do not matter.
The functions here say what becomes of their values.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

from consignments.errors import MessageFault
from consignments.messages.air import waybills
from consignments.messages.air.waybills import CustomsNote, Journey, Money
from consignments.messages.configuration import load_codes, load_table
from consignments.messages.content.values import (
    Doubts,
    Fields,
    build_party,
    get_first,
    get_unit_factor,
    parse_kilograms,
    parse_number,
    parse_time,
    read_country,
    sum_all,
    summarize_items,
)
from consignments.messages.parsed import (
    Declaration,
    MessageContext,
    Parsed,
    Purpose,
    build_count_fault,
    build_goods_fault,
)
from consignments.messages.xml_parsing import Element, get_local_name, parse_xml
from consignments.records import SIDES, Level

Values: TypeAlias = dict[str, Any]
"""Values of an element by name: a text on one line, or None if it is empty; a list if each of several elements is read."""
_Step: TypeAlias = "tuple[str, bool, ElementReader | None, str]"
"""What is read of children of one name: the name of their value; each one or the first; their own children, or None for their text;
the attribute that is their unit."""

MAX_TAGS = 1_000
"""Qualified tags that are remembered at one place of a table; real messages have some dozens."""

PURPOSES: dict[str, Purpose] = load_codes("air/cargo_xml", "purposes")
"""By what stands in PurposeCode, in any case; the digits are those of UN/EDIFACT 1225."""
LEVELS: dict[str | None, Level] = {"740": "direct", "741": "master"}
"""Level of a waybill by its type code (UN/EDIFACT 1001: 740 direct waybill, 741 master)."""
CONSOLIDATION_NOTE = "C"
_NAMES = ("IncludedHouseConsignment", "IncludedHouseConsignmentItem", "IncludedMasterConsignmentItem")
HOUSE_PARTS = [f"{{*}}{name}" for name in _NAMES]
TRUE = ("true", "1")


def read_houses(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read an XFZB or XFHL: one declaration for each house, of which an XFHL says in part."""
    root, message = read_message("houses", content, context)
    kind = get_local_name(root.tag)
    master, houses = _find_houses(message, kind, root)
    named, above, is_list = message.get("named"), master.get("number"), kind == "HouseManifest"
    if is_list:
        named, above = None, above or named or ""
    declared: list[Declaration] = []
    for house in houses:
        number = house.get("number") or house.get("id")
        if named is not None and (len(houses) == 1 or not (declared or number)):
            number = named
        waybill = Declaration(issued_at=message["issued_at"], purpose=message["purpose"], partial=is_list)
        declared.append(_read_house(waybill, house, master, above, number))
    if is_list:
        total = parse_number(master.get("pieces"), Doubts())
        waybills.flag_piece_counts(declared, total, complete=True)
    yield from declared


def _read_house(
    waybill: Declaration, house: Values, master: Values, above: str | None, number: str | None
) -> Declaration:
    """Read one house; the number of its master is optional in an XFZB, and a list has no flights of houses."""
    doubts, flights = waybill.doubts, _read_flights(house) or _read_flights(master)
    if waybill.partial:
        flights = []
        if "gross_weight" in house:
            house |= {"weight": house["gross_weight"], "weight_unit": house.get("gross_weight_unit")}
    freight = [_read_money(house, name, doubts) for name in ("freight_prepaid", "freight_collect")]
    if not any(freight):
        freight = [_read_money(house, "freight_by_weight", doubts)]
    _read_body(waybill, house, house.get("items", ()), freight)
    master_number = None if above is None else waybills.read_waybill_number(above or None, doubts)
    journey = _read_journey(house, flights, master)
    waybills.finish_waybill(waybill, journey, _read_notes(house), number, master_number)
    return waybill


def read_air_waybill(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read an XFWB."""
    root, message = read_message("waybill", content, context)
    given = _find_consignment(message, "Waybill")
    if houses := sum(1 for _ in root.iter("{*}IncludedHouseConsignment")):
        raise build_count_fault(houses, 0)
    waybill = Declaration(issued_at=message["issued_at"], purpose=message["purpose"])
    number = waybills.read_waybill_number(message.get("named") or given.get("number"), waybill.doubts)
    lines = [line for rating in given.get("ratings", ()) for line in rating.get("items", ())]
    sums = [each for rating in given.get("totals", ()) for each in rating.get("sums", ())]
    _read_body(waybill, given, lines, [_read_money(each, "freight", waybill.doubts) for each in sums])
    waybill.level = _find_level(message, waybill, context)
    journey = _read_journey(given, _read_flights(given), {})
    yield waybills.finish_waybill(waybill, journey, _read_notes(given), number)


def _find_level(message: Values, waybill: Declaration, context: MessageContext) -> Level:
    """Determine if a waybill is direct or a master: by its type code, else by its header note, else by its description."""
    code = message.get("type_code")
    if code in LEVELS:
        return LEVELS[code]
    context.notes.append("no type of waybill" if code is None else "an unknown type of waybill")
    noted = message.get("header_note") == CONSOLIDATION_NOTE
    return "master" if noted or waybills.looks_consolidated(waybill.fields.get("description")) else "direct"


def read_message(table: str, content: bytes, context: MessageContext) -> tuple[Element, Values]:
    """Read the root of a message, and its values with those of its header; a fault there is noted and never refuses the message."""
    root = parse_xml(content, context.notes)
    message = load_reader("header", table).read(root, {})
    if "MessageHeaderDocument" not in message:
        context.notes.append("the message has no header")
        return root, message | {"issued_at": None, "purpose": "create"}
    issued = message.get("issued_at")
    issued_at = parse_time(issued)
    if issued_at is None:
        context.notes.append("no time of issue" if issued is None else "the time of issue is malformed")
    purpose = PURPOSES.get((message.get("purpose") or "creation").lower())
    if purpose is None:
        context.notes.append("an unknown purpose, read as a creation")
    major = (message.get("version") or "").split(".")[0]
    if major.isascii() and major.isdigit() and len(major) < 4:
        context.note_version(f"version {int(major)}", int(major))
    return root, message | {"issued_at": issued_at, "purpose": purpose or "create"}


def _find_consignment(message: Values, kind: str) -> Values:
    """Find the one consignment of a message."""
    found: list[Values] = _require(message, "consignments", kind, "MasterConsignment", "one")
    if len(found) > 1:
        raise build_count_fault(len(found), 1)
    return found[0]


def _find_houses(message: Values, kind: str, root: Element) -> tuple[Values, list[Values]]:
    """Find the one consignment of a message, and its houses; one that stands elsewhere is a fault."""
    master = _find_consignment(message, kind)
    houses = _require(master, "houses", kind, "IncludedHouseConsignment", "one or more")
    parts = Counter(get_local_name(element.tag) for element in root.iter(*HOUSE_PARTS))
    if (number := parts.pop("IncludedHouseConsignment")) != len(houses):
        raise build_count_fault(number, len(houses))
    if parts.total() != sum(len(house.get("items", ())) for house in houses):
        raise build_goods_fault()
    return master, houses


def _require(values: Values, name: str, kind: str, element: str, expected: str) -> list[Values]:
    found: list[Values] | None = values.get(name)
    if found is None:
        raise MessageFault("an element is missing", where=kind, got=f"no {element}", expected=expected)
    return found


def _read_parties(waybill: Declaration, given: Values) -> None:
    """Add sender, consignee, forwarder and account, as the parties themselves say."""
    fields = waybill.fields
    for side in SIDES:
        for party in given.get(side, ())[:1]:
            contacts = {name: get_first(party.get("contacts", ()), name) for name in ("phone", "email")}
            fields |= build_party(side, party | contacts, waybill.doubts)
    fields["account_id"] = next((party.get("account") for party in given.get("sender", ())), None)
    fields["declarant"] = given.get("declarant")


def _read_body(
    waybill: Declaration, given: Values, lines: Sequence[Values], freight: Sequence[Money | None]
) -> None:
    """Add what house and air waybills share: parties, goods and charges."""
    _read_parties(waybill, given)
    waybill.fields |= _read_goods(given, lines, waybill.doubts)
    nil, prepaid = ((given.get(name) or "").lower() for name in ("no_value", "prepaid"))
    declared = None if nil in TRUE else _read_money(given, "value", waybill.doubts, "declared_value")
    waybill.fields |= waybills.settle_charges(declared, freight, given.get("currency"), waybill.doubts)
    if prepaid:
        waybill.fields["payment"] = "prepaid" if prepaid in TRUE else "collect"


def _read_goods(given: Values, lines: Sequence[Values], doubts: Doubts) -> Fields:
    """Read description, items, pieces and weight of a waybill with some lines of goods; packages inside pieces are no pieces."""
    items: list[Fields] = []
    counts: list[float | None] = []
    for line in lines:
        pieces = parse_number(line.get("pieces"), doubts, "items.quantity")
        item: Fields = {
            "description": line.get("description"),
            "hs_code": line.get("hs_code"),
            "origin_country": read_country(line.get("origin_country"), "items.origin_country", doubts),
        }
        weight = parse_kilograms(line.get("weight"), line.get("weight_unit"), doubts)
        if weight is None and not any(item.values()):
            continue  # it only carries dimensions
        packages = line.get("packages") if pieces is None else None
        item["quantity"] = parse_number(packages, doubts, "items.quantity") if packages else pieces
        items.append(item)
        counts.append(pieces)
    if any(get_unit_factor(each.get("volume_unit")) for each in (given, *lines)):
        doubts.add("volume_in_weight_unit")
    total = parse_number(given.get("pieces"), doubts, "pieces")
    if total is not None and sum_all(counts) not in (None, total):
        doubts.add("piece_count_mismatch")
    goods = summarize_items(items) | {"items": items or None, "pieces": total}
    goods["description"] = given.get("description") or goods["description"]
    weight, unit = given.get("weight"), given.get("weight_unit")
    return goods | {"gross_weight_kg": parse_kilograms(weight, unit, doubts, "gross_weight_kg")}


def _read_notes(given: Values) -> list[CustomsNote]:
    """Read the customs notes."""
    notes = ([note.get(part) or "" for part in CustomsNote._fields] for note in given.get("notes", ()))
    return [CustomsNote(*parts) for parts in notes if any(parts)]


def _read_money(values: Values, name: str, doubts: Doubts, field: str = "postage") -> Money | None:
    """Read an amount."""
    amount = parse_number(values.get(name), doubts, field)
    currency = (values.get(f"{name}_unit") or "").strip().upper()
    return None if amount is None else Money(amount, currency or None)


def _read_journey(own: Values, flights: Sequence[Values], outer: Values) -> Journey:
    """Read the places and flights of a waybill inside of another."""
    stops = [flight.get(end) for flight in flights for end in ("departure", "arrival")]
    begin, end = ([given.get(name) for given in (own, outer)] for name in ("origin", "destination"))
    airlines = [(flight.get("flight"), flight.get("airline")) for flight in flights]
    return Journey(begin[0] or begin[1], end[0] or end[1], [begin[1], *stops, end[1]], airlines)


def _read_flights(given: Values) -> list[Values]:
    """Find the flights in their order."""
    flights: list[Values] = given.get("flights", [])
    if len(flights) < 2:
        return flights
    return sorted(flights, key=lambda flight: parse_number(flight.get("place"), Doubts()) or 0.0)


class ElementReader(dict[str, "_Step | None"]):
    """Steps by qualified tag; a tag that comes for the first time is found by its local name, and None is not read."""

    def __init__(self, by_name: Mapping[str, _Step]) -> None:
        self._by_name = by_name

    def __missing__(self, tag: str) -> "_Step | None":
        step = self._by_name.get(get_local_name(tag))
        if len(self) < MAX_TAGS:
            self[tag] = step
        return step

    def read(self, element: Element, values: Values) -> Values:
        """Add the values of an element; what it does not have is left out, and what is on the way stands under its own path."""
        for child in element[:]:  # type: ignore[index]  # a slice, which its stub lacks, is faster than an iterator
            step = self[child.tag]
            if step is None:
                continue
            name, is_each, below, unit = step
            if is_each:
                value = _read_text(child) if below is None else below.read(child, {})
                if name in values:
                    values[name].append(value)
                else:
                    values[name] = [value]
            elif name not in values:
                if below is None:
                    values[name] = _read_text(child)
                else:
                    values[name] = None
                    below.read(child, values)
                if unit:
                    values[f"{name}_unit"] = child.get(unit)
        return values


@cache
def load_reader(*tables: str) -> ElementReader:
    """Load the reader of some tables of `cargo_xml.toml`, which are read in one pass."""
    known = load_table("air/cargo_xml")
    return _build_reader({tag: given for name in tables for tag, given in known[name].items()}, "")


def _build_reader(table: Mapping[str, Any], above: str) -> ElementReader:
    """Build the reader of the children that a table has; `above` is the path to them."""
    steps: dict[str, _Step] = {}
    for tag, given in table.items():
        if isinstance(given, dict):
            steps[tag] = (above + tag, False, _build_reader(given, f"{above}{tag}/"), "")
        elif isinstance(given, list):
            name, *below = given
            steps[tag] = (name, True, load_reader(*below) if below else None, "")
        else:
            name, _, unit = given.partition(" @")
            steps[tag] = (name, False, None, unit)
    return ElementReader(steps)


def _read_text(element: Element) -> str | None:
    text = element.text
    return (" ".join(text.split()) or None) if text else None
