"""Common parts of IATA Cargo-XML messages: header, parties, customs notes, goods, charges and journey."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from consignments.errors import MessageFault
from consignments.messages.air.customs_notes import CustomsNote, DecodedNotes, decode_notes
from consignments.messages.air.journeys import find_airline
from consignments.messages.parsed import MessageContext, Purpose
from consignments.messages.quantities import (
    Doubts,
    is_weight_unit,
    parse_kilograms,
    parse_moment,
    parse_number,
)
from consignments.messages.xml_nodes import (
    LOCAL_NAMES,
    Element,
    XmlNode,
    index_children,
    join_text,
    join_words,
    read_child,
    read_texts,
)

Fields = dict[str, Any]

PARTIES = {"sender": "ConsignorParty", "consignee": "ConsigneeParty"}
CONTACTS = {
    "DirectTelephoneCommunication": ("phone", "CompleteNumber"),
    "URIEmailCommunication": ("email", "URIID"),
}
"""Part of a contact: what it is, and the element that has it."""
CUSTOMS_NOTE_PARTS = ("CountryID", "SubjectCode", "ContentCode", "Content")
STOPS = ("DepartureEvent/OccurrenceDepartureLocation/ID", "ArrivalEvent/OccurrenceArrivalLocation/ID")
PURPOSES: dict[str, Purpose] = {
    "creation": "create",
    "create": "create",
    "original": "create",
    "9": "create",
    "update": "update",
    "change": "update",
    "replace": "update",
    "4": "update",
    "5": "update",
    "deletion": "delete",
    "delete": "delete",
    "cancellation": "delete",
    "1": "delete",
    "3": "delete",
}
"""By what stands in PurposeCode, in any case; the digits are those of UN/EDIFACT 1225."""
NEWEST_VERSIONS = {"Waybill": 5, "HouseWaybill": 4, "HouseManifest": 3, "CustomsStatusNotification": 1}
"""Newest version of each message that the element tables describe."""


class Header(NamedTuple):
    """Header of a message.

    Attributes
    ----------
    type_code : str or None
        UN/EDIFACT 1001: 740 direct waybill, 741 master, 703 house, 785 house manifest, 962 status.
    issued_at : datetime or None
    purpose : str
    sender : str or None
        First identifier of the sender.
    """

    type_code: str | None
    issued_at: datetime | None
    purpose: Purpose
    sender: str | None


def read_header(root: XmlNode, context: MessageContext) -> Header:
    """Read the head; a fault in it is noted and never refuses the message."""
    element = root.find_element("MessageHeaderDocument")
    if element is None:
        context.notes.append("the message has no header")
        return Header(None, None, "create", None)
    head = index_children(element)
    issued = _read_text(head, "IssueDateTime")
    issued_at = parse_moment(issued)
    if issued_at is None:
        context.notes.append("no time of issue" if issued is None else "the time of issue is malformed")
    purpose = _read_text(head, "PurposeCode")
    known = PURPOSES.get((purpose or "creation").lower())
    if known is None:
        context.notes.append("an unknown purpose, read as a creation")
    _note_version(root.name, _read_text(head, "VersionID"), context)
    sender = _read_below(head, "SenderParty", "PrimaryID")
    return Header(_read_text(head, "TypeCode"), issued_at, known or "create", sender)


def _note_version(kind: str, version: str | None, context: MessageContext) -> None:
    major = (version or "").split(".")[0]
    if major.isascii() and major.isdigit() and len(major) < 4 and int(major) > NEWEST_VERSIONS.get(kind, 99):
        context.notes.append(f"version {int(major)} is newer than the element tables: read as far as known")


def find_houses(root: XmlNode, waybill: XmlNode) -> list[XmlNode]:
    """Find the houses of a message's consignment.

    Raises
    ------
    MessageFault
        If there is none.
    """
    houses = waybill.find_all("IncludedHouseConsignment")
    if not houses:
        raise MessageFault(
            "an element is missing",
            where=root.name,
            got="no IncludedHouseConsignment",
            expected="one or more",
        )
    return houses


def read_waybill(root: XmlNode) -> XmlNode:
    """Find the one consignment of a message.

    Raises
    ------
    MessageFault
        If there is none.
    """
    found = root.find("MasterConsignment")
    if found is None:
        raise MessageFault(
            "an element is missing", where=root.name, got="no MasterConsignment", expected="one"
        )
    return found


# --- parties and notes ------------------------------------------------------------------------------------------------


def read_parties(node: XmlNode) -> Fields:
    """Read sender, consignee, forwarder and account, as the parties themselves say."""
    fields: Fields = {}
    for prefix, name in PARTIES.items():
        party = node.find_element(name)
        if party is not None:
            _read_party(prefix, party, fields)
    fields["declarant"] = node.read("FreightForwarderParty/Name")
    return fields


def _read_party(prefix: str, party: Element, fields: Fields) -> None:
    first = index_children(party)
    fields[f"{prefix}_name"] = _read_text(first, "Name")
    if "PostalStructuredAddress" in first:
        _read_address(prefix, first["PostalStructuredAddress"], fields)
    if "DefinedTradeContact" in first:
        for child in party:
            if LOCAL_NAMES[child.tag] == "DefinedTradeContact":
                _read_contact(prefix, child, fields)
    if prefix == "sender":
        fields["account_id"] = _read_text(first, "AccountID")


def _read_text(elements: Mapping[str, Element], name: str) -> str | None:
    element = elements.get(name)
    return None if element is None else join_words(element.text)


def _read_contact(prefix: str, contact: Element, fields: Fields) -> None:
    """Add the first telephone and the first e-mail address of a contact, if an earlier contact gave none."""
    for name, child in index_children(contact).items():
        if name in CONTACTS:
            part, leaf = CONTACTS[name]
            value = read_child(child, leaf)
            if value and not fields.get(f"{prefix}_{part}"):
                fields[f"{prefix}_{part}"] = value


def _read_address(prefix: str, address: Element, fields: Fields) -> None:
    first: dict[str, str] = {}
    lines: list[str] = []
    for child in address:
        name, text = LOCAL_NAMES[child.tag], child.text
        line = " ".join(text.split()) if text else ""
        if name != "StreetName":
            first.setdefault(name, line)
        elif line:
            lines.append(line)
    box = first.get("PostOfficeBox")
    if box:
        lines.append(f"PO Box {box}")
    fields[f"{prefix}_address"] = ", ".join(lines) or None
    fields[f"{prefix}_city"] = first.get("CityName") or None
    fields[f"{prefix}_postcode"] = first.get("PostcodeCode") or None
    fields[f"{prefix}_country"] = first.get("CountryID", "").upper() or None


def read_notes(node: XmlNode, doubts: Doubts) -> DecodedNotes:
    """Decode the customs notes of one waybill."""
    notes = [_read_note(note) for note in node.list_elements("IncludedCustomsNote")]
    return decode_notes([note for note in notes if any(note)], doubts)


def _read_note(note: Element) -> CustomsNote:
    texts = read_texts(note)
    parts = [texts.get(part) for part in CUSTOMS_NOTE_PARTS]
    return CustomsNote(*[" ".join(part.split()) if part else "" for part in parts])


def merge_notes(fields: Fields, notes: DecodedNotes) -> None:
    """Add what the notes say: the account's number goes before the party's, contacts of the party before those of notes."""
    for name, value in notes.fields.items():
        if name == "account_id" or not fields.get(name):
            fields[name] = value
    if not fields.get("account_id"):
        fields["account_id"] = notes.extras.get("account_name")


# --- goods ------------------------------------------------------------------------------------------------------------


def read_goods(node: XmlNode, items_path: str, doubts: Doubts) -> Fields:
    """Read description, items, pieces and weight of a waybill."""
    items: list[Fields] = []
    counts: list[float | None] = []
    for line in _list_lines(node, items_path):
        parts = index_children(line)
        pieces = parse_number(_read_text(parts, "PieceQuantity"), doubts)
        item = _read_item(parts, pieces, doubts)
        if item:
            items.append(item)
            counts.append(pieces)
    _check_volume(node.find_element("GrossVolumeMeasure"), doubts)
    total = parse_number(node.read("TotalPieceQuantity"), doubts)
    _check_piece_counts(counts, total, doubts)
    return {
        "description": node.read("SummaryDescription") or find_first(items, "description"),
        "hs_code": find_first(items, "hs_code"),
        "origin_country": find_first(items, "origin_country"),
        "items": items or None,
        "pieces": total,
        "gross_weight_kg": read_kilograms(node, "IncludedTareGrossWeightMeasure", doubts),
    }


def _list_lines(node: XmlNode, path: str) -> list[Element]:
    above, _, name = path.rpartition("/")
    nodes = node.find_all(above) if above else [node]
    return [line for each in nodes for line in each.list_elements(name)]


def _check_piece_counts(counts: Sequence[float | None], total: float | None, doubts: Doubts) -> None:
    """Flag lines whose pieces do not add up to the total; packages inside pieces are no pieces."""
    known = [count for count in counts if count is not None]
    if known and len(known) == len(counts) and total is not None and sum(known) != total:
        doubts.add("piece_count_mismatch")


def _read_item(parts: Mapping[str, Element], pieces: float | None, doubts: Doubts) -> Fields:
    """Read one line; a line that only carries dimensions gives nothing.

    The message has gross weights of lines only: a net weight is never made of them.
    """
    _check_volume(parts.get("GrossVolumeMeasure"), doubts)
    origin = _read_below(parts, "OriginCountry", "ID")
    item: Fields = {
        "description": _read_below(parts, "NatureIdentificationTransportCargo", "Identification"),
        "hs_code": _read_text(parts, "TypeCode"),
        "origin_country": origin.upper() if origin else None,
    }
    weight = _parse_weight(parts.get("GrossWeightMeasure"), doubts)
    if weight is None and not any(item.values()):
        return {}
    item["quantity"] = (
        pieces if pieces is not None else parse_number(_read_text(parts, "PackageQuantity"), doubts)
    )
    return item


def _read_below(parts: Mapping[str, Element], name: str, leaf: str) -> str | None:
    element = parts.get(name)
    return None if element is None else read_child(element, leaf)


def read_kilograms(node: XmlNode, name: str, doubts: Doubts) -> float | None:
    """Read a weight in kilograms."""
    return _parse_weight(node.find_element(name), doubts)


def _parse_weight(measure: Element | None, doubts: Doubts) -> float | None:
    if measure is None:
        return None
    return parse_kilograms(join_text(measure), measure.get("unitCode"), doubts)


def _check_volume(volume: Element | None, doubts: Doubts) -> None:
    """Flag a volume that is given in a unit of weight."""
    if volume is not None and is_weight_unit(volume.get("unitCode")):
        doubts.add("volume_in_weight_unit")


def find_first(items: Sequence[Fields], name: str) -> Any:
    """Return the first value of a field of items."""
    return next((item[name] for item in items if item.get(name) is not None), None)


# --- charges ----------------------------------------------------------------------------------------------------------


class Money(NamedTuple):
    """An amount and its currency, where one is given."""

    amount: float
    currency: str | None


def read_money(node: XmlNode, name: str, doubts: Doubts) -> Money | None:
    """Read an amount."""
    found = node.find_element(name)
    if found is None:
        return None
    amount = parse_number(join_text(found), doubts)
    currency = (found.get("currencyID") or "").strip().upper()
    return None if amount is None else Money(amount, currency or None)


def sum_amounts(amounts: Iterable[Money | None], doubts: Doubts) -> Money | None:
    """Add up amounts of one currency; those of another than the first are left out, with a code."""
    given = [money for money in amounts if money is not None]
    if len(given) < 2:
        return given[0] if given else None
    alike = [money.amount for money in given if money.currency == given[0].currency]
    if any(money.amount for money in given if money.currency != given[0].currency):
        doubts.add("currency_mixed")
    return Money(sum(alike), given[0].currency)


def read_charges(node: XmlNode, freight: Money | None, doubts: Doubts) -> Fields:
    """Read the declared value, the freight in the one currency that the record has, and how carriage is paid."""
    nil = is_true(node.read("NilCustomsValueIndicator"))
    declared = None if nil else read_money(node, "DeclaredValueForCustomsAmount", doubts)
    source = node.read("ApplicableOriginCurrencyExchange/SourceCurrencyCode")
    currency = (declared and declared.currency) or (freight and freight.currency) or source
    comparable = freight is not None and freight.currency in (None, currency)
    if freight is not None and not comparable:
        doubts.add("currency_mixed")
    flag = node.read("TotalChargePrepaidIndicator")
    return {
        "declared_value": declared.amount if declared else None,
        "currency": currency,
        "postage": freight.amount if freight and comparable else None,
        "payment": None if flag is None else "prepaid" if is_true(flag) else "collect",
    }


def is_true(text: str | None) -> bool:
    """Check whether the text of an indicator says yes."""
    return (text or "").lower() in ("true", "1")


def read_body(
    node: XmlNode, items_path: str, freight: Money | None, doubts: Doubts
) -> tuple[Fields, DecodedNotes]:
    """Read what house and air waybills share: parties, customs notes, goods and charges.

    Parameters
    ----------
    node : XmlNode
        The consignment.
    items_path : str
        Path of its lines of goods.
    freight : Money or None
    doubts : set of str
    """
    fields = read_parties(node)
    notes = read_notes(node, doubts)
    fields |= read_goods(node, items_path, doubts)
    merge_notes(fields, notes)
    paid = notes.fields.get("payment")
    fields |= read_charges(node, freight, doubts)
    if paid is not None:
        fields["payment"] = paid
    return fields, notes


# --- the journey ------------------------------------------------------------------------------------------------------


def read_ends(node: XmlNode) -> tuple[str | None, str | None]:
    """Read where a waybill begins and ends."""
    return node.read("OriginLocation/ID"), node.read("FinalDestinationLocation/ID")


def read_movements(node: XmlNode) -> list[XmlNode]:
    """Find the flights in their order."""
    movements = node.find_all("SpecifiedLogisticsTransportMovement")
    return movements if len(movements) < 2 else sorted(movements, key=_read_place_in_order)


def _read_place_in_order(movement: XmlNode) -> float:
    return parse_number(movement.read("SequenceNumeric"), set()) or 0.0


def read_stops(movements: Sequence[XmlNode]) -> list[str | None]:
    """Read the airports of flights in order."""
    return [movement.read(stop) for movement in movements for stop in STOPS]


def find_carrier(movements: Sequence[XmlNode]) -> str | None:
    """Name the airline of the first flight."""
    return find_airline(
        (movement.read("ID"), movement.read("UsedLogisticsTransportMeans/Name")) for movement in movements
    )
