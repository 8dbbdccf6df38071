"""House data sets of the EU Import Control System 2 (release 3) as declarations: post, express and air cargo.

Elements are found by their names in any case and namespace, in any envelope. A data set of 99,999 items is read as a stream:
what stands outside the items is read first, then one item at a time. A data set without houses is a direct waybill.
"""

import re
from collections.abc import Iterator
from datetime import datetime

from consignments.countries import parse_country
from consignments.errors import MessageFault
from consignments.identifiers import format_awb_number
from consignments.messages.air.waybill_numbers import identify_by_content
from consignments.messages.content.amounts import sum_values
from consignments.messages.content.trees import (
    HEAD_BYTES,
    Node,
    decode_head,
    find_tag,
    list_nodes,
    prepare_xml,
    read_frame,
    stream_records,
    walk_nodes,
)
from consignments.messages.content.values import (
    Fields,
    get_first,
    join_lines,
    parse_time,
    read_number,
    read_text,
    read_texts,
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
)
from consignments.messages.post.configuration import load_table
from consignments.messages.post.receptacles import build_receptacle_fields
from consignments.messages.quantities import Doubts

KIND = re.compile(r"<(?:[\w.\-]+:)?(?:[A-Za-z]{1,3}_)?(IE3[A-Z]?\d{2})(?=[\s/>])")
CIRCUMSTANCE = re.compile(r"specificCircumstanceIndicator\s*>\s*(?:<[^>]*>\s*)?(F\d{2})\s*<", re.IGNORECASE)
HOUSE_TAGS = ("consignmentHouseLevel", "houseConsignment")
OTHER_HOUSES = {name.lower(): {other.lower() for other in HOUSE_TAGS if other != name} for name in HOUSE_TAGS}
DATA_SET = re.compile(r"(?:[a-z]{1,3}_)?ie3[af]\d{2}")
GOODS = ("goodsitem", "consignmentitem", "goodsshipmentitem")
MASTER = ("consignmentmasterlevel", "masterconsignment", "consignment")
HOUSE_DOCUMENTS = (
    "transportdocumenthouselevel",
    "transportdocumenthouse",
    "transportdocument",
    "transportcontractdocument",
)
MASTER_DOCUMENTS = (
    "transportdocumentmasterlevel",
    "transportdocumentmaster",
    "transportdocument",
    "transportcontractdocument",
)
NUMBER_NAMES = ("documentnumber", "referencenumber", "identification", "identificationnumber")
PARTY_ELEMENTS = {"sender": ("consignor", "seller"), "consignee": ("consignee", "buyer")}
PURPOSES: dict[str, Purpose] = {"A": "update", "F": "create"}


def looks_like_ics2(head: bytes) -> bool:
    """Check whether a message begins like a data set of ICS2, or an amendment of one."""
    text = decode_head(head)
    found = KIND.search(text)
    if found:
        return found[1][3] in PURPOSES
    return text.startswith("<") and CIRCUMSTANCE.search(text) is not None


def read_ics2(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read a data set F20 to F45."""
    content = prepare_xml(content, context.notes)
    kind, purpose = find_kind(content)
    data_set = load_table("ics2")["data_sets"].get(kind)
    if data_set is None:
        raise MessageFault(
            "goods of neither post nor air cargo",
            got=f"ICS2 {kind}".strip(),
            expected="a data set F20 to F45",
        )
    tag = find_tag(content, HOUSE_TAGS)
    if tag is None:
        yield from _read_without_houses(content, _DataSet(kind, data_set, purpose, {}), context.notes)
        return
    content, frame = read_frame(content, tag, context.notes)
    whole = _DataSet(kind, data_set, purpose, frame)
    _refuse_several(frame, whole.message, tag)
    for place, house in enumerate(stream_records(content, tag), start=1):
        yield whole.read_house(house, f"house {place}")


def _refuse_several(frame: Node, message: Node, house_tag: str) -> None:
    """Refuse several data sets or masters in one message, and houses under two names: their houses could not be separated."""
    data_sets = sum(DATA_SET.fullmatch(name) is not None for name, _ in walk_nodes(frame))
    masters = {
        number
        for name in MASTER
        for node in list_nodes(message, name)
        if (number := _read_number_of(node, MASTER_DOCUMENTS))
    }
    others = [name for name, _ in walk_nodes(frame) if name in OTHER_HOUSES[house_tag.lower()]]
    for several in (data_sets, len(masters), 1 + len(others)):
        if several > 1:
            raise build_count_fault(several, 1)


def find_kind(content: bytes) -> tuple[str, Purpose]:
    """Find the number of the data set, such as F43, and whether the message creates or amends it."""
    text = content[:HEAD_BYTES].decode("utf-8", "replace")
    found = KIND.search(text)
    indicator = CIRCUMSTANCE.search(text)
    if found:
        name = found[1]
        return indicator[1].upper() if indicator else f"F{name[-2:]}", PURPOSES.get(name[3], "create")
    return indicator[1].upper() if indicator else "", "create"


def _read_without_houses(content: bytes, whole: "_DataSet", notes: list[str]) -> Iterator[Parsed]:
    """Read a direct waybill, or the receptacles of a despatch, or name the message."""
    root = find_tag(content, [f"IE3{letter}{whole.kind[1:]}" for letter in PURPOSES])
    tag = root or find_tag(content, MASTER)
    found = False
    if tag is not None:
        content, _ = read_frame(content, tag, notes)
    for message in stream_records(content, tag) if tag else ():
        found = True
        whole.frame = message
        if root is not None:
            _refuse_several({}, whole.message, HOUSE_TAGS[0])
        yield from whole.read_masters()
    if not found:
        raise MessageFault("no consignment in it", expected="consignmentHouseLevel or consignmentMasterLevel")


class _DataSet:
    """The data that all houses of one message share."""

    def __init__(self, kind: str, constants: dict[str, str], purpose: Purpose, frame: Node) -> None:
        self.kind, self.constants, self.purpose = kind, constants, purpose
        self._frame: Node = {}
        self.frame = frame

    @property
    def frame(self) -> Node:
        """All that stands outside the houses."""
        return self._frame

    @frame.setter
    def frame(self, frame: Node) -> None:
        self._frame = frame
        self.message = _unwrap(frame)
        self.master = next((node for name in MASTER for node in list_nodes(self.message, name)), {})
        self.master_number = _read_number_of(self.master, MASTER_DOCUMENTS) or _read_number_of(
            self.message, MASTER_DOCUMENTS
        )
        if self.master_number:
            self.master_number = format_awb_number(self.master_number)
        self.issued_at = read_issue_time(self.message)

    def read_house(self, house: Node, place: str) -> Declaration:
        """Read one house."""
        doubts: Doubts = set()
        number = _read_number_of(house, HOUSE_DOCUMENTS)
        fields = self._read_fields(house, doubts)
        if self.constants["channel"] == "postal":
            fields["master_id"] = read_text(
                house,
                "receptacle/receptacleidentificationnumber",
                "receptacle/identificationnumber",
            )
        else:
            fields["master_id"] = self.master_number
            number = f"{self.master_number}/{number}" if number and self.master_number else number
        return self._build(number, fields, doubts, ("house", place))

    def read_masters(self) -> Iterator[Parsed]:
        """Read a message without houses: its receptacles, or the goods of a direct waybill."""
        receptacles = [
            *list_nodes(self.master, "receptacle"),
            *list_nodes(self.message, "receptacle"),
        ]
        for receptacle in receptacles:
            yield from self._read_receptacle(receptacle)
        if any(list_nodes(self.master, name) for name in GOODS):
            doubts: Doubts = set()
            fields = self._read_fields(self.master, doubts)
            yield self._build(self.master_number, fields, doubts, ("direct", "master"))
        elif not receptacles:
            yield Ignored(f"ICS2 {self.kind}", "a data set without goods")

    def _read_receptacle(self, receptacle: Node) -> Iterator[MasterDetails]:
        number = read_text(receptacle, "receptacleidentificationnumber", "identificationnumber", "#text")
        if number is None:
            return
        fields = build_receptacle_fields(number) | {"declarant": self._read_declarant()}
        members = tuple(
            text
            for name in HOUSE_DOCUMENTS
            for text in read_texts(receptacle, *(f"{name}/{n}" for n in NUMBER_NAMES))
        )
        known = {name: value for name, value in fields.items() if value is not None}
        yield MasterDetails(number, known, self.issued_at, members=tuple(dict.fromkeys(members)))

    def _build(
        self, number: str | None, fields: Fields, doubts: Doubts, where: tuple[Level, str]
    ) -> Declaration:
        level, place = where
        if number is None:
            number = identify_by_content(fields)
        known = {name: value for name, value in fields.items() if value is not None}
        return Declaration(
            {"consignment_id": number, **known},
            self.issued_at,
            level,
            self.purpose,
            tuple(sorted(doubts)),
            place,
        )

    def _read_fields(self, house: Node, doubts: Doubts) -> Fields:
        items = [_read_item(node, doubts) for name in GOODS for node in list_nodes(house, name)]
        fields: Fields = {
            **self.constants,
            "nature": get_first(items, "nature") or _decode("natures", read_text(house, "typeofgoods")),
            **read_parties(house, self.message),
            "declarant": self._read_declarant(),
            "carrier": self._read_carrier(house),
            "office": self._read_office(),
            **self._read_journey(house),
            **_read_goods(house, items, doubts),
            "payment": self._read_payment(house),
        }
        fields["departure_country"] = fields["departure_country"] or fields.get("sender_country")
        fields["destination_country"] = (
            fields["destination_country"] or fields.get("consignee_country") or self._read_member_state()
        )
        return fields

    def _read_declarant(self) -> str | None:
        return read_text(
            self.message,
            "declarant/name",
            "declarant/identificationnumber",
            "representative/identificationnumber",
        )

    def _read_carrier(self, house: Node) -> str | None:
        paths = ("carrier/name", "carrier/identificationnumber")
        return read_text(house, *paths) or read_text(self.master, *paths) or read_text(self.message, *paths)

    def _read_office(self) -> str | None:
        return read_text(
            self.message, "customsofficeoffirstentry/referencenumber", "customsofficeoffirstentry"
        )

    def _read_member_state(self) -> str | None:
        return parse_country(
            read_text(self.message, "addressedmemberstate/country", "responsiblememberstate/country")
        )

    def _read_payment(self, house: Node) -> str | None:
        code = read_text(house, "transportcharges/methodofpayment") or read_text(
            self.master, "transportcharges/methodofpayment"
        )
        return _decode("payments", code)

    def _read_journey(self, house: Node) -> Fields:
        """Read the route from UN/LOCODEs: their last three letters are the airport's code in air transport."""
        ends = [
            _read_place(house, name) or _read_place(self.master, name) or _read_place(self.message, name)
            for name in ("placeofloading", "placeofunloading")
        ]
        countries = [
            parse_country(text)
            for text in read_texts(
                self.message,
                "countriesofroutingofconsignments/countryofroutingofconsignment/country",
                "countriesofroutingofconsignment/country",
                "countryofroutingofconsignment/country",
            )
        ]
        route = [end[2:] for end in ends if end and len(end) == 5]
        return {
            "route": ">".join(dict.fromkeys(route)) or None,
            "departure_country": ends[0][:2] if ends[0] else (countries[0] if countries else None),
            "destination_country": ends[1][:2] if ends[1] else None,
        }


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
    names = ("documentissuedate", "notificationdate", "completiondate", "registrationdate")
    paths = [path for name in names for path in (f"{name}/datetime", name)]
    return parse_time(read_text(message, *paths))


def _read_number_of(node: Node, documents: tuple[str, ...]) -> str | None:
    return read_text(node, *(f"{document}/{name}" for document in documents for name in NUMBER_NAMES))


def read_parties(house: Node, message: Node) -> Fields:
    """Read sender and consignee of a house; what the house lacks stands at the level of the message."""
    fields: Fields = {}
    for prefix, names in PARTY_ELEMENTS.items():
        found = (party for node in (house, message) for name in names for party in list_nodes(node, name))
        party = next(found, {})
        address = next(iter(list_nodes(party, "address")), party)
        street = join_lines(
            read_text(address, "street", "line"), read_text(address, "number", "streetnumber"), separator=" "
        )
        box = read_text(address, "pobox")
        fields |= {
            f"{prefix}_name": read_text(party, "name"),
            f"{prefix}_address": join_lines(
                street,
                read_text(address, "streetadditionalline", "additionalline"),
                f"PO Box {box}" if box else None,
            ),
            f"{prefix}_city": read_text(address, "city", "cityname"),
            f"{prefix}_postcode": read_text(address, "postcode"),
            f"{prefix}_country": parse_country(read_text(address, "country")),
            **{f"{prefix}_{name}": text for name, text in _read_contacts(party).items()},
        }
    return fields


def _read_contacts(party: Node) -> dict[str, str]:
    types = load_table("ics2")["communications"]
    found: dict[str, str] = {}
    for node in list_nodes(party, "communication"):
        text = read_text(node, "identifier", "identification")
        code = (read_text(node, "type") or "").upper()
        if text and (kind := types.get(code) or ("" if code else "email" if "@" in text else "phone")):
            found.setdefault(kind, text)
    return found


def _read_place(node: Node, name: str) -> str | None:
    text = read_text(
        node, f"{name}/unlocode", f"{name}/locationcode", f"{name}/location", f"{name}/identification", name
    )
    return text.upper() if text and re.fullmatch(r"[A-Za-z]{2}[A-Za-z0-9]{3}", text) else None


def _read_item(node: Node, doubts: Doubts) -> Fields:
    commodity = next(iter(list_nodes(node, "commodity")), node)
    codes = next(iter(list_nodes(commodity, "commoditycode")), commodity)
    heading = read_text(codes, "harmonizedsystemsubheadingcode", "harmonisedsystemsubheadingcode")
    rest = read_text(codes, "combinednomenclaturecode")
    counts = [
        count
        for package in list_nodes(node, "packaging")
        if (count := read_number(package, "numberofpackages", doubts)) is not None
    ]
    return {
        "description": read_text(commodity, "descriptionofgoods"),
        "quantity": sum(counts) if counts else None,
        "net_weight_kg": read_number(next(iter(list_nodes(node, "weight")), {}), "netmass", doubts),
        "value": read_number(next(iter(list_nodes(node, "postalvalue")), {}), "value", doubts),
        "hs_code": heading + (rest or "") if heading else None,
        "origin_country": parse_country(read_text(node, "countryoforigin/country", "countryoforigin")),
        "currency": read_text(node, "postalvalue/currency"),
        "nature": _decode("natures", read_text(node, "typeofgoods")),
        "gross_weight_kg": read_number(next(iter(list_nodes(node, "weight")), {}), "grossmass", doubts),
    }


def _decode(table: str, code: str | None) -> str | None:
    codes: dict[str, str] = load_table("ics2")[table]
    return codes.get((code or "").upper())


def _read_goods(house: Node, items: list[Fields], doubts: Doubts) -> Fields:
    """Sum items of one currency; postage in another one is left out."""
    charge = next(iter(list_nodes(house, "postalcharges")), {})
    charge = next(iter(list_nodes(charge, "postalcharges")), charge)
    postage, postage_currency = read_number(charge, "value", doubts), read_text(charge, "currency")
    total = read_number(house, "totalgrossmass", doubts)
    if total is None and items and all(item["gross_weight_kg"] is not None for item in items):
        total = sum(item["gross_weight_kg"] for item in items)
    value, currency = sum_values(items, doubts)
    currency = currency or postage_currency
    if postage is not None and postage_currency not in (None, currency):
        doubts.add("currency_mixed")
        postage = None
    counts = [item["quantity"] for item in items]
    kept = ("description", "quantity", "net_weight_kg", "value", "hs_code", "origin_country")
    return {
        "description": get_first(items, "description") or read_text(house, "descriptionofgoods"),
        "hs_code": get_first(items, "hs_code"),
        "origin_country": get_first(items, "origin_country"),
        "items": [{name: item[name] for name in kept} for item in items] or None,
        "pieces": sum(counts) if counts and None not in counts else None,
        "gross_weight_kg": total,
        "declared_value": value,
        "currency": currency,
        "postage": postage,
    }
