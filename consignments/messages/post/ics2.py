"""House data sets of the EU Import Control System 2 (release 3) as declarations: post, express and air cargo.

Elements are found by their names in any case and namespace, in any envelope; `ics2.toml` has their paths and codes. A data set of
99,999 items is read as a stream: what stands outside the items is read first, then one item at a time. A data set without houses
is a direct waybill.
"""

import re
from collections.abc import Iterator
from datetime import datetime

from consignments.errors import MessageFault
from consignments.identifiers import format_awb_number
from consignments.messages.air.waybill_numbers import identify_by_content
from consignments.messages.configuration import load_table
from consignments.messages.content.columns import read_columns
from consignments.messages.content.paths import find_nodes, find_text, find_texts
from consignments.messages.content.trees import (
    HEAD_BYTES,
    Node,
    decode_head,
    find_tag,
    prepare_xml,
    read_frame,
    stream_records,
    walk_nodes,
)
from consignments.messages.content.values import (
    Doubts,
    Fields,
    get_first,
    join_lines,
    parse_any_number,
    parse_time,
    read_country,
    sum_values,
)
from consignments.messages.parsed import (
    Declaration,
    Ignored,
    Level,
    MasterDetails,
    MessageContext,
    Parsed,
    Purpose,
    build_count_fault,
    build_goods_fault,
)
from consignments.messages.post.receptacles import build_receptacle_fields

KIND = re.compile(r"<(?:[\w.\-]+:)?(?:[A-Za-z]{1,3}_)?(IE3[A-Z]?\d{2})(?=[\s/>])")
CIRCUMSTANCE = re.compile(r"specificCircumstanceIndicator\s*>\s*(?:<[^>]*>\s*)?(F\d{2})\s*<", re.IGNORECASE)
DATA_SET = re.compile(r"(?:[a-z]{1,3}_)?ie3[af]\d{2}")
UN_LOCODE = re.compile(r"[A-Za-z]{2}[A-Za-z0-9]{3}")
HOUSE_TAGS = ("consignmentHouseLevel", "houseConsignment")
GOODS = ("goodsitem", "consignmentitem", "goodsshipmentitem")
MASTER = ("consignmentmasterlevel", "masterconsignment", "consignment")
HOUSE_DOCUMENTS = ("transportdocumenthouselevel", "transportdocumenthouse")
PURPOSES: dict[str, Purpose] = {"A": "update", "F": "create"}
TABLE = load_table("post/ics2")
ITEM_COLUMNS = ("description", "quantity", "net_weight_kg", "value", "hs_code", "origin_country")


def looks_like_ics2(head: bytes) -> bool:
    """Check whether a message begins like a data set of ICS2, or an amendment of one."""
    text = decode_head(head)
    found = KIND.search(text)
    if found:
        return found[1][3] in PURPOSES
    return text.startswith("<") and CIRCUMSTANCE.search(text) is not None


def read_ics2(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read a data set F20 to F45: a declaration for each house or for a direct waybill, and the receptacles of F44."""
    content = prepare_xml(content, context.notes)
    kind, purpose = find_kind(content)
    data_set = TABLE["data_sets"].get(kind)
    if data_set is None:
        raise MessageFault(
            "goods of neither post nor air cargo",
            got=f"ICS2 {kind}".strip(),
            expected="a data set F20 to F45",
        )
    house_tag = find_tag(content, HOUSE_TAGS)
    root_tag = find_tag(content, [f"IE3{letter}{kind[1:]}" for letter in PURPOSES])
    tag = house_tag or root_tag or find_tag(content, MASTER)
    if tag is None:
        raise _build_missing_fault()
    content, frame = read_frame(content, tag, context.notes)
    if house_tag is not None:
        whole = _DataSet(kind, data_set, purpose, frame)
        _refuse_several(whole, house_tag)
        _refuse_outside(frame)
    place = 0
    for place, node in enumerate(stream_records(content, tag), start=1):
        if house_tag is not None:
            yield _find_fault(node) or whole.read_house(node, f"house {place}")
        else:
            whole = _DataSet(kind, data_set, purpose, node)
            if root_tag is not None:
                _refuse_several(whole, HOUSE_TAGS[0])
            yield from whole.read_masters()
    if not place and house_tag is None:
        raise _build_missing_fault()


def _build_missing_fault() -> MessageFault:
    return MessageFault("no consignment in it", expected="consignmentHouseLevel or consignmentMasterLevel")


def _refuse_several(whole: "_DataSet", house_tag: str) -> None:
    """Refuse several data sets or masters in one message, and houses under two names: their houses could not be separated."""
    names = [name for name, _ in walk_nodes(whole.frame)]
    data_sets = sum(DATA_SET.fullmatch(name) is not None for name in names)
    others = sum(name in (tag.lower() for tag in HOUSE_TAGS if tag != house_tag) for name in names)
    masters = {_read_number(node, "master") for name in MASTER for node in find_nodes(whole.message, name)}
    for several in (data_sets, len(masters - {None}), 1 + others):
        if several > 1:
            raise build_count_fault(several, 1)


def _refuse_outside(frame: Node) -> None:
    """Refuse goods and documents of houses that stand outside of the houses."""
    numbers: set[str] = set()
    for name, node in walk_nodes(frame):
        if name in GOODS:
            raise build_goods_fault()
        numbers |= _list_house_numbers(node)
    if numbers:
        raise build_count_fault(len(numbers), 0, numbers)


def _find_fault(house: Node) -> MessageFault | None:
    """Find the fault of a house with several documents, or with a document alone."""
    numbers = _list_house_numbers(house)
    if len(numbers) > 1:
        return build_count_fault(len(numbers), 1, numbers)
    return build_count_fault(1, 0, numbers) if numbers and house.keys() <= set(HOUSE_DOCUMENTS) else None


def _list_house_numbers(part: Node) -> set[str]:
    """List the different numbers in the documents of houses that stand in a part itself."""
    if part.keys().isdisjoint(HOUSE_DOCUMENTS):
        return set()
    names = TABLE["numbers"]["names"]
    return {
        text for each in HOUSE_DOCUMENTS for name in names for text in find_texts([part], f"{each}/{name}")
    }


def find_kind(content: bytes) -> tuple[str, Purpose]:
    """Find the number of the data set, such as F43, and whether the message creates or amends it."""
    text = content[:HEAD_BYTES].decode("utf-8", "replace")
    found = KIND.search(text)
    indicator = CIRCUMSTANCE.search(text)
    kind = indicator[1].upper() if indicator else f"F{found[1][-2:]}" if found else ""
    return kind, PURPOSES.get(found[1][3], "create") if found else "create"


class _DataSet:
    """The data that all houses of one message share: its kind, such as F43, the constants of the kind, and what stands outside the houses."""

    def __init__(self, kind: str, constants: dict[str, str], purpose: Purpose, frame: Node) -> None:
        self.kind, self.constants, self.purpose, self.frame = kind, constants, purpose, frame
        self.message = _unwrap(frame)
        self.master = next((node for name in MASTER for node in find_nodes(self.message, name)), {})
        number = _read_number(self.master, "master") or _read_number(self.message, "master")
        self.master_number = format_awb_number(number) if number else None
        self.issued_at = read_issue_time(self.message)

    def read_house(self, house: Node, place: str) -> Declaration:
        """Read one house."""
        doubts = Doubts()
        number = _read_number(house, "house")
        fields = self._read_fields(house, doubts)
        if self.constants["channel"] != "postal":
            fields["master_id"] = self.master_number
            number = f"{self.master_number}/{number}" if number and self.master_number else number
        return self._build(number, fields, doubts, "house", place)

    def read_masters(self) -> Iterator[Parsed]:
        """Read a message without houses: its receptacles, or the goods of a direct waybill."""
        receptacles = [
            node for level in (self.master, self.message) for node in find_nodes(level, "receptacle")
        ]
        for receptacle in receptacles:
            yield from self._read_receptacle(receptacle)
        if any(find_nodes(self.master, name) for name in GOODS):
            doubts = Doubts()
            fields = self._read_fields(self.master, doubts) | {"master_id": None}
            yield self._build(self.master_number, fields, doubts, "direct", "master")
        elif not receptacles:
            yield Ignored(f"ICS2 {self.kind}", "a data set without goods")

    def _read_receptacle(self, receptacle: Node) -> Iterator[MasterDetails]:
        number = find_text([receptacle], TABLE["receptacle"]["number"])
        if number is None:
            return
        declarant = find_text([self.message], TABLE["house"]["declarant"])
        fields = build_receptacle_fields(number) | ({"declarant": declarant} if declarant else {})
        members = [text for path in _list_number_paths("house") for text in find_texts([receptacle], path)]
        yield MasterDetails(number, fields, self.issued_at, members=tuple(dict.fromkeys(members)))

    def _build(
        self, number: str | None, fields: Fields, doubts: Doubts, level: Level, place: str
    ) -> Declaration:
        known = {name: value for name, value in fields.items() if value is not None}
        identifier = number if number is not None else identify_by_content(fields)
        known = {"consignment_id": identifier, **known}
        return Declaration(known, self.issued_at, level, self.purpose, doubts, place)

    def _read_fields(self, house: Node, doubts: Doubts) -> Fields:
        levels = [self.message, self.master, house]
        fields: Fields = self.constants | read_columns(levels, TABLE["house"], doubts)
        items = [_read_item(node, doubts) for name in GOODS for node in find_nodes(house, name)]
        nature, payment, member_state = (fields.pop(name) for name in ("nature", "payment", "member_state"))
        fields["nature"] = get_first(items, "nature") or _decode("natures", nature)
        fields["payment"] = _decode("payments", payment)
        fields |= _read_parties(house, self.message, doubts)
        _add_goods(fields, items, doubts)
        _add_journey(fields, levels, doubts)
        if fields["destination_country"] is None:
            fields["destination_country"] = read_country(member_state, "destination_country", doubts)
        return fields


# --- parts of a house -------------------------------------------------------------------------------------------------


def _unwrap(frame: Node) -> Node:
    """Find the node of the message inside its envelopes: the one that issues or declares."""
    marks = {"documentissuedate", "declarant", "addressedmemberstate", "lrn", "mrn", *MASTER[:2]}
    stack = [frame]
    while stack:
        node = stack.pop()
        if marks & node.keys():
            return node
        stack.extend(value for values in node.values() for value in values if isinstance(value, dict))
    return frame


def read_issue_time(message: Node) -> datetime | None:
    """Read when a message was issued."""
    return parse_time(find_text([message], TABLE["message"]["issued_at"]))


def _list_number_paths(level: str) -> list[str]:
    numbers = TABLE["numbers"]
    return [" | ".join(f"{document}/{name}" for name in numbers["names"]) for document in numbers[level]]


def _read_number(node: Node, level: str) -> str | None:
    return next((text for path in _list_number_paths(level) if (text := find_text([node], path))), None)


def _read_parties(house: Node, message: Node, doubts: Doubts) -> Fields:
    """Read sender and consignee of a house; what the house lacks stands at the level of the message."""
    fields: Fields = {}
    for side, names in TABLE["parties"].items():
        found = (party for node in (house, message) for name in names for party in find_nodes(node, name))
        party = next(found, {})
        address = next(iter(find_nodes(party, "address")), party)
        given = read_columns([party, address], TABLE["address"], doubts, f"{side}_")
        box, line = given.pop("box"), given.pop("line")
        street = join_lines(given.pop("street"), given.pop("number"), separator=" ")
        given["address"] = join_lines(street, line, f"PO Box {box}" if box else None)
        fields |= {f"{side}_{name}": value for name, value in (given | _read_contacts(party)).items()}
    return fields


def _read_contacts(party: Node) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in find_nodes(party, "communication"):
        text, code = (find_text([node], path) for path in TABLE["communication"].values())
        kind = _decode("communications", code) or (
            "" if code else "email" if "@" in (text or "") else "phone"
        )
        if text and kind:
            found.setdefault(kind, text)
    return found


def _add_journey(fields: Fields, levels: list[Node], doubts: Doubts) -> None:
    """Add route and countries, from UN/LOCODEs: their last three letters are the airport's code in air transport."""
    ends: list[str | None] = []
    for name in ("loading", "unloading"):
        texts = (find_text([node], TABLE["places"][name]) for node in reversed(levels))
        ends.append(next((text.upper() for text in texts if text and UN_LOCODE.fullmatch(text)), None))
    fields["route"] = ">".join(dict.fromkeys(end[2:] for end in ends if end)) or None
    departure, destination = (end and end[:2] for end in ends)
    if departure is None:
        named = find_text(levels[:1], TABLE["places"]["countries"])
        departure = read_country(named, "departure_country", doubts)
    fields["departure_country"] = departure or fields["sender_country"]
    fields["destination_country"] = destination or fields["consignee_country"]


def _read_item(node: Node, doubts: Doubts) -> Fields:
    item = read_columns([node], TABLE["item"], doubts, "items.")
    packages = (find_text([package], "numberOfPackages") for package in find_nodes(node, "packaging"))
    counts = [parse_any_number(text, doubts, "items.quantity") for text in packages]
    known = [count for count in counts if count is not None]
    heading, detail = item.pop("heading"), item.pop("nomenclature")
    return item | {
        "quantity": sum(known) if known else None,
        "hs_code": heading + (detail or "") if heading else None,
        "nature": _decode("natures", item["nature"]),
    }


def _decode(table: str, code: str | None) -> str | None:
    codes: dict[str, str] = TABLE[table]
    return codes.get((code or "").upper())


def _add_goods(fields: Fields, items: list[Fields], doubts: Doubts) -> None:
    """Add the sums of items of one currency; postage in another one is left out."""
    weights, counts = ([item[name] for item in items] for name in ("gross_weight_kg", "quantity"))
    if fields["gross_weight_kg"] is None and items and None not in weights:
        fields["gross_weight_kg"] = sum(weights)
    of_postage = fields.pop("postage_currency")
    fields["declared_value"], currency = sum_values(items, doubts)
    fields["currency"] = currency or of_postage
    if fields["postage"] is not None and of_postage not in (None, fields["currency"]):
        doubts.add("currency_mixed")
        fields["postage"] = None
    fields["pieces"] = sum(counts) if counts and None not in counts else None
    for name in ("description", "hs_code", "origin_country"):
        fields[name] = get_first(items, name) or fields.get(name)
    fields["items"] = [{name: item[name] for name in ITEM_COLUMNS} for item in items] or None
