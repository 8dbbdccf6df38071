"""The EU Import Control System 2 (release 3): house data sets of post, express and air cargo.

Elements are found by their names in any case and namespace, in any envelope; `ics2.toml` has their paths and codes. A data set of
99,999 items is read as a stream: what stands outside the items is read first, then one item at a time. A data set without houses
is a direct waybill.
"""

import re
from collections.abc import Iterator

from consignments.errors import MessageFault
from consignments.identifiers import format_awb_number
from consignments.messages import parsed
from consignments.messages.air.waybills import Journey, finish_waybill
from consignments.messages.configuration import load_codes, load_table
from consignments.messages.content import values
from consignments.messages.content.paths import find_nodes, find_text, find_texts, read_columns
from consignments.messages.content.trees import (
    Node,
    decode_head,
    find_tag,
    prepare_xml,
    read_frame,
    stream_records,
    walk_nodes,
)
from consignments.messages.content.values import Doubts, Fields
from consignments.messages.post.mapped import build_receptacle_fields
from consignments.records import Level

KIND = re.compile(r"<(?:[\w.\-]+:)?(?:[A-Za-z]{1,3}_)?(IE3[A-Z]?\d{2})(?=[\s/>])")
CIRCUMSTANCE = re.compile(r"specificCircumstanceIndicator\s*>\s*(?:<[^>]*>\s*)?(F\d{2})\s*<", re.IGNORECASE)
DATA_SET = re.compile(r"(?:[a-z]{1,3}_)?ie3[af]\d{2}")
UN_LOCODE = re.compile(r"[A-Za-z]{2}[A-Za-z0-9]{3}")
HOUSE_TAGS = ("consignmentHouseLevel", "houseConsignment")
HOUSE_NAMES = tuple(map(str.lower, HOUSE_TAGS))
GOODS = ("goodsitem", "consignmentitem", "goodsshipmentitem")
MASTER = ("consignmentmasterlevel", "masterconsignment", "consignment")
MESSAGE_MARKS = ("documentissuedate", "declarant", "addressedmemberstate", "lrn", "mrn", *MASTER[:2])
"""Elements of which a message has one, inside its envelopes."""
HOUSE_DOCUMENTS = ("transportdocumenthouselevel", "transportdocumenthouse")
PURPOSES: dict[str, parsed.Purpose] = {"A": "update", "F": "create"}
TABLE = load_table("post/ics2")
CHANNELS, SERVICES = (load_codes("post/ics2", section) for section in ("channels", "services"))
NAMES: list[str] = TABLE["numbers"]["names"]
NUMBERS = {
    level: [" | ".join(f"{document}/{name}" for name in NAMES) for document in TABLE["numbers"][level]]
    for level in ("house", "master")
}
"""Paths of the number of a house or a master, one for each document that may hold it."""


def looks_like_ics2(head: bytes) -> bool:
    """Check whether a message begins like a data set of ICS2, or an amendment of one."""
    kind, purpose = find_kind(head)
    return bool(kind) and purpose is not None


def find_kind(content: bytes) -> tuple[str, parsed.Purpose | None]:
    """Find the number of the data set, such as F43, and whether the message creates or amends it; None for another message."""
    text = decode_head(content)
    found, indicator = KIND.search(text), CIRCUMSTANCE.search(text) if text.startswith("<") else None
    kind = indicator[1].upper() if indicator else f"F{found[1][-2:]}" if found else ""
    return kind, PURPOSES.get(found[1][3]) if found else "create"


def read_ics2(content: bytes, context: parsed.MessageContext) -> Iterator[parsed.Parsed]:
    """Read a data set F20 to F45: a declaration for each house or for a direct waybill, and the receptacles of F44."""
    content = prepare_xml(content, context.notes)
    kind, purpose = find_kind(content)
    if purpose is None or kind not in CHANNELS:
        got, expected = f"ICS2 {kind}".strip(), "a data set F20 to F45"
        raise MessageFault("goods of neither post nor air cargo", got=got, expected=expected)
    house_tag = find_tag(content, HOUSE_TAGS)
    roots = [f"IE3{letter}{kind[1:]}" for letter in PURPOSES]
    tag = house_tag or find_tag(content, (*roots, *MASTER))
    part: Node | None = None
    if tag is not None:
        content, frame = read_frame(content, tag, context.notes)
        data_set = _DataSet(kind, purpose, frame)
        if house_tag is not None:
            data_set.refuse_outside(house_tag)
        for part in stream_records(content, tag):
            if house_tag is not None:
                yield data_set.read_house(part)
            else:
                yield from _DataSet(kind, purpose, part).read_masters()
    if part is None and house_tag is not None:
        todo = "send it by itself, without what stands around it"
        raise MessageFault("a message inside of a text", todo=todo)
    if part is None:
        raise MessageFault("no consignment in it", expected="consignmentHouseLevel or consignmentMasterLevel")


def _list_house_numbers(part: Node) -> set[str]:
    """List the different numbers in the documents of houses that stand in a part itself."""
    paths = (f"{each}/{name}" for each in HOUSE_DOCUMENTS for name in NAMES)
    return {text for path in paths for text in find_texts([part], path)}


class _DataSet:
    """The data that all houses of one message share: its kind, such as F43, and what stands outside the houses."""

    def __init__(self, kind: str, purpose: parsed.Purpose, frame: Node) -> None:
        self.kind, self.purpose, self.frame = kind, purpose, frame
        self.channel = CHANNELS[kind]
        inside = (node for _, node in walk_nodes(frame) if not node.keys().isdisjoint(MESSAGE_MARKS))
        self.message = next(inside, frame)
        self.master = next((node for name in MASTER for node in find_nodes(self.message, name)), {})
        number = _read_number(self.master, "master") or _read_number(self.message, "master")
        self.master_number = format_awb_number(number) if number else None
        self.issued_at = values.parse_time(find_text([self.message], TABLE["message"]["issued_at"]))

    def refuse_several(self, house_tag: str) -> None:
        """Refuse several data sets or masters in one message, and houses under two names: their houses could not be separated."""
        names = [name for name, _ in walk_nodes(self.frame)]
        data_sets = sum(DATA_SET.fullmatch(name) is not None for name in names)
        others = [name for name in names if name in HOUSE_NAMES and name != house_tag.lower()]
        masters = {_read_number(node, "master") for name in MASTER for node in find_nodes(self.message, name)}
        several = max(data_sets, len(masters - {None}), 1 + len(others))
        if several > 1:
            raise parsed.build_count_fault(several, 1)

    def refuse_outside(self, house_tag: str) -> None:
        """Refuse goods and documents of houses that stand outside of them."""
        self.refuse_several(house_tag)
        if any(name in GOODS for name, _ in walk_nodes(self.frame)):
            raise parsed.build_goods_fault()
        if outside := set().union(*(_list_house_numbers(node) for _, node in walk_nodes(self.frame))):
            raise parsed.build_count_fault(len(outside), 0, outside)

    def read_house(self, house: Node) -> parsed.Declaration | MessageFault:
        """Read a house; one of several numbers, or with no more than a number, is a fault."""
        numbers = _list_house_numbers(house)
        if len(numbers) > 1:
            return parsed.build_count_fault(len(numbers), 1, numbers)
        if numbers and house.keys() <= set(HOUSE_DOCUMENTS):
            return parsed.build_count_fault(1, 0, numbers)
        return self.read(house, "house")

    def read(self, part: Node, level: Level) -> parsed.Declaration:
        """Read a house, or the goods of a direct waybill."""
        doubts, levels = Doubts(), [self.message, self.master, part]
        fields: Fields = {"channel": self.channel, "service": SERVICES.get(self.kind)}
        fields |= read_columns(levels, TABLE["house"], doubts)
        items = [_read_item(node, doubts) for name in GOODS for node in find_nodes(part, name)]
        fields["nature"] = values.get_first(items, "nature") or _decode("natures", fields["nature"])
        fields["payment"] = _decode("payments", fields["payment"])
        fields["description"] = values.get_first(items, "description") or fields["description"]
        if fields["gross_weight_kg"] is None:
            fields["gross_weight_kg"] = values.sum_all([item["gross_weight_kg"] for item in items])
        values.add_goods(fields, items, fields.pop("postage_currency"), doubts)
        fields["items"] = [{name: item[name] for name in values.ITEM_COLUMNS} for item in items] or None
        fields |= _read_parties(part, self.message, doubts)
        journey = _read_journey(fields, levels, doubts)
        number = self.master_number if level == "direct" else _read_number(part, "house")
        master = self.master_number if level == "house" and self.channel != "postal" else None
        if level == "direct" or self.channel != "postal":
            fields["master_id"] = None
        declaration = parsed.Declaration(fields, self.issued_at, level, self.purpose, doubts)
        finish_waybill(declaration, journey, (), number, master)
        return declaration

    def read_masters(self) -> Iterator[parsed.Parsed]:
        """Read a message without houses: its receptacles, or the goods of a direct waybill."""
        self.refuse_several(HOUSE_TAGS[0])
        levels = (self.master, self.message)
        receptacles = [node for level in levels for node in find_nodes(level, "receptacle")]
        declarant = find_text([self.message], TABLE["house"]["declarant"])
        for receptacle in receptacles:
            if number := find_text([receptacle], TABLE["receptacle"]["number"]):
                fields = build_receptacle_fields(number) | ({"declarant": declarant} if declarant else {})
                members = [text for path in NUMBERS["house"] for text in find_texts([receptacle], path)]
                yield parsed.MasterDetails(
                    number, fields, self.issued_at, members=tuple(dict.fromkeys(members))
                )
        if any(find_nodes(self.master, name) for name in GOODS):
            yield self.read(self.master, "direct")
        elif not receptacles:
            yield parsed.Ignored(f"ICS2 {self.kind}", "a data set without goods")


def _read_number(node: Node, level: str) -> str | None:
    return next((text for path in NUMBERS[level] if (text := find_text([node], path))), None)


def _decode(table: str, code: str | None) -> str | None:
    codes: dict[str, str] = TABLE[table]
    return codes.get((code or "").upper())


def _read_parties(house: Node, message: Node, doubts: Doubts) -> Fields:
    """Read sender and consignee of a house; what the house lacks stands at the level of the message."""
    fields: Fields = {}
    for side, names in TABLE["parties"].items():
        found = (party for node in (house, message) for name in names for party in find_nodes(node, name))
        party = next(found, {})
        address = next(iter(find_nodes(party, "address")), party)
        given: Fields = {name: find_text([party, address], path) for name, path in TABLE["address"].items()}
        street = values.join_lines(given["street"], given["number"], separator=" ")
        given["lines"] = [street, given["line"]]
        for node in find_nodes(party, "communication"):
            text, code = (find_text([node], path) for path in TABLE["communication"].values())
            by_form = "email" if "@" in (text or "") else "phone"
            kind = _decode("communications", code) if code else by_form
            if text and kind:
                given.setdefault(kind, text)
        fields |= values.build_party(side, given, doubts)
    return fields


def _read_journey(fields: Fields, levels: list[Node], doubts: Doubts) -> Journey:
    """Read the ends of the journey, UN/LOCODEs whose last three letters are the airport's code in air transport, and its countries."""
    ends: list[str | None] = []
    for name in ("loading", "unloading"):
        texts = (find_text([node], TABLE["places"][name]) for node in reversed(levels))
        ends.append(next((text.upper() for text in texts if text and UN_LOCODE.fullmatch(text)), None))
    (origin, departure), (destination, arrival) = ((end and end[2:], end and end[:2]) for end in ends)
    if departure is None:
        named = find_text(levels[:1], TABLE["places"]["countries"])
        departure = values.read_country(named, "departure_country", doubts)
    state = fields.pop("member_state")
    arrival = arrival or fields["consignee_country"]
    arrival = arrival or values.read_country(state, "destination_country", doubts)
    fields |= {"departure_country": departure, "destination_country": arrival}
    return Journey(origin, destination)


def _read_item(node: Node, doubts: Doubts) -> Fields:
    item = read_columns([node], TABLE["item"], doubts, "items.")
    packages = (find_text([package], "numberOfPackages") for package in find_nodes(node, "packaging"))
    counts = [values.parse_number(text, doubts, "items.quantity") for text in packages]
    known = [count for count in counts if count is not None]
    heading, detail = item.pop("heading"), item.pop("nomenclature")
    return item | {
        "quantity": sum(known) if known else None,
        "hs_code": heading + (detail or "") if heading else None,
        "nature": _decode("natures", item["nature"]),
    }
