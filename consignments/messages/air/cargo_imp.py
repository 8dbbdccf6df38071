"""Cargo-IMP: air waybills (FWB 9 to 17) and consolidation lists (FHL 1 to 5), whatever envelope, line ends and wraps they came with.

A direct waybill becomes a declaration, and so does each house of a list; a master adds to its houses. A line that begins with neither
a known segment code nor a slash is the rest of the line before it, which a network broke at 69 characters. A segment goes on over
lines that begin with a slash. Standard: IATA Cargo Interchange Message Procedures.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from itertools import filterfalse, pairwise
from typing import NamedTuple

from consignments.errors import MessageFault
from consignments.messages.air import waybills
from consignments.messages.air.waybills import CustomsNote, Journey
from consignments.messages.content import values
from consignments.messages.content.values import Doubts, Fields
from consignments.messages.parsed import (
    Declaration,
    MessageContext,
    Parsed,
    build_count_fault,
    build_goods_fault,
)
from consignments.messages.xml_parsing import UTF_16_MARKS

LINE_WIDTH = 69
PARTY_CODES, PARTY_PARTS = ("SHP", "CNE", "NFY", "AGT"), ("NAM", "ADR", "LOC")
_SEGMENT_CODES_NAMES = (
    "ACC ADR AGT ARD CDC CER CNE COI COL COR CVD DES DIM FLT HBS HTS ISU LOC MBI NAM NFY NOM OCI OPI OSI OTH PPD RCP REF RTD RTE RTG "
    "SCI SHP SII SPH SRI SSR TXT UCR ULD"
)
SEGMENT_CODES = frozenset(_SEGMENT_CODES_NAMES.split())
OF_A_HOUSE = frozenset(("TXT", "HTS", "SHP", "CNE", "CVD"))
OF_GOODS = OF_A_HOUSE | {"HBS", "MBI", "RTD"}
"""Segments of goods and parties, which may not stand before the first line."""
HEAD = re.compile(r"\s*(FWB|FHL)\s*/\s*(\d{1,2})(?:\s+(?=\S)|\s*$)(.*)", re.DOTALL)
SEGMENT = re.compile(r"([A-Z]{3})(?:/(.*)|\s*$)", re.DOTALL)
ENVELOPE_LINE = re.compile(r"\s*(?:Q[A-Z](?:\s+[A-Z0-9]{7})+|\.[A-Z0-9]{7}\s+\d{6}.*)\s*")
ENVELOPE_TIME = re.compile(r"\.[A-Z0-9]{7}\s+(\d{2})(\d{4})\b")
LINE_END = re.compile(r"\r\n|\n|\r")
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff]")
INTERCHANGE_START = re.compile(r"\s*UN[AB][^\n]{0,400}")
INTERCHANGE_SEGMENT = re.compile(r"(?:'\s*)?UN[ABHTZ][^'\n]{0,400}'")
END_MARKS = frozenset(("NNNN", "=", "CONT", "LAST", "END"))
UNITS = {"K": "KGM", "L": "LBR"}
PHONE_CODES = frozenset(("TE", "TEL", "PHO", "PH"))
COUNTRY_LINE = re.compile(r"[A-Z]{2}(?:/.*)?")
is_contact = re.compile("(?:TE|TEL|PHO|PH|FX|FAX|TL|TX)/").match
"""A line of contacts; a fax or telex is no telephone."""
WAYBILL = re.compile(r"\s*(\d{3})[- ]?(\d{8})\s*/?([A-Z]{3})?([A-Z]{3})?\s*(?:/?(.*))?", re.ASCII | re.DOTALL)
TOTALS = re.compile(
    r"[A-Z]?\s*(\d*)\s*(?:/?([KL])\s*([-\d.,eE+]*))?\s*(?:(?:MC|CF|CC|CI)[\d.,]*)?.*", re.ASCII | re.DOTALL
)


class Segment(NamedTuple):
    """One segment: its code and its lines."""

    code: str
    lines: list[str]


class ImpMessage(NamedTuple):
    """One message; what stands before its first segment is its head."""

    head: str
    segments: list[Segment]
    envelope_time: tuple[str, str] | None

    def find_issue_time(self, reference: datetime | None, day: date | None = None) -> datetime | None:
        """Return the time of its envelope, completed with the day on which it was made out, if it says so; else that day."""
        number, clock = self.envelope_time or ("", "")
        if day is None:
            return values.complete_moment(int(number), None, clock, reference) if number else None
        moment = values.find_moment_from(day, int(number), clock) if number else None
        return moment or datetime(day.year, day.month, day.day, tzinfo=UTC)


def read_lines(content: bytes) -> list[str]:
    """Return the lines of a message without control characters; bytes that are no UTF-8 are Windows-1252."""
    is_utf_16 = content.startswith(UTF_16_MARKS)
    try:
        text = content.decode("utf-16", "replace") if is_utf_16 else content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", "replace")
    return [CONTROL.sub("", line).rstrip() for line in LINE_END.split(unwrap_interchange(text))]


def unwrap_interchange(text: str) -> str:
    """Remove the EDIFACT segments in which some networks wrap a Cargo-IMP message, whose characters have no apostrophe."""
    return INTERCHANGE_SEGMENT.sub("\n", text) if INTERCHANGE_START.match(text) else text


def parse_imp(content: bytes, context: MessageContext) -> ImpMessage:
    """Split a message into its segments, and note its version."""
    lines, envelope_time = read_lines(content), None
    for place, line in enumerate(lines):
        if found := HEAD.fullmatch(line):
            context.note_version(f"{found[1]} {int(found[2])}", int(found[2]))
            head: list[str] = []
            segments: list[Segment] = []
            for whole in _join_wraps([found[3], *lines[place + 1 :]]):
                if segment := match_segment(whole):
                    segments.append(Segment(segment[1], [segment[2] or ""]))
                elif segments:
                    segments[-1].lines.append(whole.removeprefix("/"))
                else:
                    head.append(whole)
            return ImpMessage("".join(head), segments, envelope_time)
        if (segment := match_segment(line)) and segment[2] and segment[1] in OF_GOODS:
            where, expected = segment[1], "FWB/ or FHL/"
            raise MessageFault("a segment stands before the first line", where=where, expected=expected)
        if time := ENVELOPE_TIME.match(line):
            envelope_time = (time[1], time[2])
    raise MessageFault("no Cargo-IMP message", expected="a line FWB/16, FHL/4 or of another version")


def _join_wraps(lines: Iterable[str]) -> list[str]:
    """Join lines that a network broke with the line before."""
    joined: list[str] = []
    width = 0
    for line in lines:
        if not line.strip() or line.strip() in END_MARKS or ENVELOPE_LINE.fullmatch(line):
            continue
        if not joined or match_segment(line) or line.startswith("/"):
            joined.append(line)
        else:
            is_inside = joined[-1].endswith("/") or width >= LINE_WIDTH or WAYBILL.match(line)
            joined[-1] += ("" if is_inside else " ") + line.lstrip()
        width = len(line)
    return joined


def match_segment(line: str) -> re.Match[str] | None:
    """Match a line that begins a segment: its code, and what stands behind it."""
    found = SEGMENT.fullmatch(line)
    if found is None or found[1] not in SEGMENT_CODES:
        return None
    return found if found[2] is not None or found[1] in PARTY_CODES else None


def list_lines(segments: Iterable[Segment], *codes: str) -> list[str]:
    """List the lines of the segments of some codes."""
    return [line for code in codes for each in segments if each.code == code for line in each.lines]


def list_parts(segments: Iterable[Segment], *codes: str) -> list[str]:
    """List the parts between the slashes of the segments of some codes."""
    return [part for line in list_lines(segments, *codes) for part in line.split("/")]


class WaybillLine(NamedTuple):
    """The line that names a waybill: `057-51987552PVGCDG/T12K174.5MC1.2`."""

    number: str | None = None
    origin: str | None = None
    destination: str | None = None
    pieces: float | None = None
    weight_kg: float | None = None


def read_waybill_line(text: str, doubts: Doubts) -> WaybillLine:
    """Read number, airports, pieces and weight of a waybill; what cannot be read is None."""
    found = WAYBILL.fullmatch(text.strip())
    if found is None:
        doubts.add("identifier_malformed" if text.strip() else "identifier_missing")
        return WaybillLine()
    return WaybillLine(f"{found[1]}-{found[2]}", found[3], found[4], *_read_totals(found[5] or "", doubts))


def _read_totals(text: str, doubts: Doubts) -> tuple[float | None, float | None]:
    """Read pieces and weight of `T12K174.5MC1.2`."""
    found = TOTALS.fullmatch(text)
    if found is None or not text.strip():
        return None, None
    if not found[1] and not found[2]:
        doubts.note("number_malformed", "pieces")
    pieces = values.parse_number(found[1] or None, doubts, "pieces")
    return pieces, _read_weight(f"{found[2]}{found[3]}", doubts) if found[2] else None


def _read_weight(text: str, doubts: Doubts) -> float | None:
    """Read a weight such as K174.5 or L385 in kilograms."""
    unit, number = (text[:1], text[1:]) if text[:1].isalpha() else ("", text)
    return values.parse_kilograms(number or None, UNITS.get(unit, unit), doubts, "gross_weight_kg")


def _refuse_joined(segments: Sequence[Segment], where: str) -> None:
    """Refuse a second sender or consignee, and goods on both sides of the parties: the first line of another waybill is missing."""
    seen, parties_after_goods = set[str](), False
    for code in (segment.code for segment in segments):
        is_party = code in ("SHP", "CNE")
        if (is_party and code in seen) or (code == "TXT" and parties_after_goods):
            raise MessageFault(
                "parts of two waybills",
                where=where,
                got=f"{code} twice",
                expected="a line HBS, FHL or FWB before the second",
                todo="send each waybill with its first line",
            )
        parties_after_goods |= is_party and "TXT" in seen
        seen.add(code)


def group_parties(segments: Sequence[Segment]) -> dict[str, tuple[list[str], dict[str, list[str]]]]:
    """Return the lines of each party's segment, and those of the name, address and place that follow it."""
    groups: dict[str, tuple[list[str], dict[str, list[str]]]] = {}
    named: dict[str, list[str]] | None = None
    for code, lines in segments:
        if code in PARTY_CODES:
            named = {}
            groups.setdefault(code, (lines, named))
        elif code in PARTY_PARTS and named is not None:
            named[code] = lines
        else:
            named = None
    return groups


def _read_party(lines: list[str], named: dict[str, list[str]], side: str, doubts: Doubts) -> Fields:
    """Read the name, address and telephone of a party, whose first line is no account."""
    bare = [line for place, line in enumerate(lines) if line.strip() and (place or "NAM" not in named)]
    bare += named.get("LOC", [])[1:]
    contacts, others = list(filter(is_contact, bare)), list(filterfalse(is_contact, bare))
    ends = [at for at, line in enumerate(others) if COUNTRY_LINE.fullmatch(line)]
    country, *behind = others[ends[-1]].split("/") if ends else [None]
    name, *streets = others[: ends[-1] if ends else None] or [""]
    city = streets.pop() if "LOC" not in named and len(streets) >= 2 else ""
    street = ", ".join(filter(None, map(str.strip, named.get("ADR", streets))))
    parts = [*behind[1:], *(part for line in contacts for part in line.split("/"))]
    phones = (number for code, number in pairwise(parts) if code in PHONE_CODES and number)
    party = {
        "name": " ".join(named.get("NAM", [name])),
        "street": street,
        "city": named.get("LOC", [city])[0].split("/")[0],
        "country": country,
        "postcode": behind[0] if behind else None,
        "phone": next(phones, None),
    }
    given: Fields = {part: " ".join(text.split()) or None for part, text in party.items() if text}
    return values.build_party(side, given | {"lines": [given.get("street")]}, doubts)


def _read_notes(segments: Sequence[Segment]) -> list[CustomsNote]:
    """Read the customs notes of OCI segments."""
    notes = [[part.strip() for part in line.split("/", 3)] for line in list_lines(segments, "OCI")]
    return [CustomsNote(*(parts + [""] * (4 - len(parts)))) for parts in notes if any(parts)]


def _read_declared_values(segments: Sequence[Segment], doubts: Doubts) -> Fields:
    """Read the first CVD segment: currency, how carriage is paid, and the value for customs."""
    first = next((segment for segment in segments if segment.code == "CVD"), None)
    if first is None:
        return {}
    parts = [part.strip() for part in "".join(first.lines).split("/")]
    terms = [place for place, part in enumerate(parts) if place > 0 and re.fullmatch("[PC]{1,2}", part)]
    start = terms[-1] + 1 if terms else max(len(parts) - 3, 1)
    customs = parts[start + 1] if len(parts) > start + 1 else ""
    is_amount = customs and not re.fullmatch("N[CV][VD]|XXX", customs)
    return {
        "currency": parts[0].upper() or None,
        "payment": ("prepaid" if parts[terms[-1]][0] == "P" else "collect") if terms else None,
        "declared_value": values.parse_number(customs, doubts, "declared_value") if is_amount else None,
    }


ACCOUNT_CHARACTERS = 14
DIRECT_GOODS, CONSOLIDATED_GOODS = "NG", "NC"


def read_fwb(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read an FWB."""
    message = parse_imp(content, context)
    segments = message.segments
    if not segments and not message.head:
        raise MessageFault("no waybill", where="FWB", expected="its number and at least one segment")
    _refuse_joined(segments, "FWB")
    days = [values.parse_short_date(each.lines[0].split("/")[0]) for each in segments if each.code == "ISU"]
    issued_at = message.find_issue_time(context.received_at, next(filter(None, days), None))
    partial = {segment.code for segment in segments}.isdisjoint(("SHP", "CNE", "RTD"))
    waybill = Declaration(issued_at=issued_at, partial=partial)
    fields, doubts = waybill.fields, waybill.doubts
    line = read_waybill_line(message.head, doubts)
    fields |= _read_parties(segments, doubts)
    goods, met = _read_goods(list_lines(segments, "RTD"), doubts)
    fields |= goods | {"pieces": line.pieces, "gross_weight_kg": line.weight_kg, "channel": "air_cargo"}
    fields |= _read_declared_values(segments, doubts)
    charges = [
        values.parse_number(part[2:], doubts, "postage")
        for part in list_parts(segments, "PPD", "COL")
        if part.startswith("CT") and part[2:]
    ]
    known = [charge for charge in charges if charge is not None]
    fields["postage"] = round(sum(known), 6) if known else None
    is_direct = DIRECT_GOODS in met or not waybills.looks_consolidated(fields.get("description"))
    waybill.level = "master" if CONSOLIDATED_GOODS in met or not is_direct else "direct"
    routes = [part.strip() for part in list_parts(segments, "RTG") if len(part.strip()) >= 3]
    flights = [(flight, None) for flight in list_parts(segments, "FLT")[::2]]
    airlines = [(None, route[3:5].strip()) for route in routes]
    stops = [route[:3] for route in routes]
    journey = Journey(line.origin, line.destination, stops, [*flights, *airlines])
    yield waybills.finish_waybill(waybill, journey, _read_notes(segments), line.number)


def _read_parties(segments: Sequence[Segment], doubts: Doubts) -> Fields:
    groups = group_parties(segments)
    fields: Fields = {}
    for code, side in (("CNE", "consignee"), ("SHP", "sender")):
        if code in groups:
            (first, *others), named = groups[code]
            account = first.strip()
            if len(first) > ACCOUNT_CHARACTERS or " " in account:
                account = ""
            fields |= _read_party(["" if account else first, *others], named, side, doubts)
            if side == "sender":
                fields["account_id"] = account or None
    if "AGT" in groups:
        (first, *others), named = groups["AGT"]
        lines = [line for line in others if line.strip()]
        on_one_line = [part for part in first.split("/") if not part[:1].isdigit()]
        name = named["NAM"][0] if "NAM" in named else ""
        fields["declarant"] = (name or next(iter(lines), "") or "".join(on_one_line[1:2])).strip() or None
    return fields


def _read_goods(lines: Sequence[str], doubts: Doubts) -> tuple[Fields, set[str]]:
    """Read the lines of the rate description; give the goods, and the identifiers met."""
    items: list[Fields] = []
    met: set[str] = set()
    for line in lines:
        parts = line.split("/")
        identifier, *rest = parts[1:] or [""] if parts[0].strip().isdigit() else parts
        identifier, content = identifier.strip(), "/".join(rest).strip()
        is_rate = identifier[:1] == "P" and identifier[1:2].isdigit()
        if is_rate or (identifier and not items):
            items.append({"texts": []})
        if is_rate:
            items[-1]["quantity"] = values.parse_number(identifier[1:], doubts, "items.quantity")
        elif identifier:
            met.add(identifier)
        if identifier in (DIRECT_GOODS, CONSOLIDATED_GOODS) and content:
            items[-1]["texts"].append(content)
        elif identifier == "NH" and content:
            if items[-1].get("hs_code"):  # a second code of the tariff begins an item of its own
                items.append({"texts": []})
            items[-1]["hs_code"] = content
        elif identifier == "NO" and content:
            items[-1]["origin_country"] = values.read_country(content[:2], "items.origin_country", doubts)
        elif identifier == "NV" and content[:1] in ("K", "L"):
            doubts.add("volume_in_weight_unit")
    for item in items:
        item["description"] = " ".join(item.pop("texts")) or None
    items = [item for item in items if any(value is not None for value in item.values())]
    return values.summarize_items(items) | {"items": items or None}, met


LEADING_CODES = ("HBS", "MBI")
TEXT_WIDTH = 65
"""Characters of a full line of free text, which goes on without a space."""


def read_fhl(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read an FHL."""
    _refuse_damaged(content)
    message = parse_imp(content, context)
    issued_at = message.find_issue_time(context.received_at)
    segments: list[Segment] = []
    found = 0
    codes_behind = [*(each.code for each in message.segments[1:]), "MBI"]
    for segment, behind in zip(message.segments, codes_behind, strict=False):
        if behind in ("HBS", "MBI") and _is_number_alone(segment):
            found += 1
            yield build_count_fault(1, 0, segment.lines)
        else:
            segments.append(segment)
    masters = [place for place, segment in enumerate(segments) if segment.code == "MBI"]
    for start, end in pairwise([0, *masters[1:], len(segments)]):
        houses = _read_list(segments[start:end], message.head, issued_at, context.notes)
        found += len(houses)
        yield from houses
    if not found:
        raise MessageFault("no house waybill", where="FHL", got="no HBS segment", expected="one or more")


def _is_number_alone(segment: Segment) -> bool:
    """Check whether a segment of a house has no more than a number, which may be cut too."""
    return segment.code == "HBS" and len(segment.lines) == 1 and "/" not in segment.lines[0]


def _refuse_damaged(content: bytes) -> None:
    """Refuse a list with a line that seems to begin a house or a master with a damaged code: its goods would go to another."""
    for number, line in enumerate(read_lines(content), start=1):
        start = line.lstrip()[:4]
        near = any(sum(map(str.__ne__, start[:3], code)) < 2 for code in LEADING_CODES)
        is_lead = near and start not in ("HBS/", "MBI/") and start[3:] in ("/", " ") and line.count("/") > 1
        if is_lead and match_segment(line) is None:
            raise MessageFault(
                "a damaged segment", where=f"FHL, line {number}", got=start.strip(), expected="HBS/ or MBI/",
                todo="correct the line: the goods behind it are of another house",
            )  # fmt: skip


def _read_list(
    segments: Sequence[Segment], head: str, issued_at: datetime | None, notes: list[str]
) -> list[Declaration]:
    """Read the houses of one master."""
    starts = [place for place, segment in enumerate(segments) if segment.code == "HBS"]
    if not starts:
        return []
    before = segments[: starts[0]]
    if not OF_A_HOUSE.isdisjoint(each.code for each in before):
        raise build_goods_fault()
    doubts = Doubts()
    line = read_waybill_line(next(iter(list_lines(before, "MBI")), head), doubts)
    houses = [
        _read_house(segments[start:end], line, Declaration(issued_at=issued_at, doubts=Doubts(doubts)))
        for start, end in pairwise([*starts, len(segments)])
    ]
    waybills.flag_piece_counts(houses, line.pieces, complete=False)
    counts = [house.fields.get("pieces") or 0 for house in houses]
    if len(houses) > 1 and sum(counts) < (line.pieces or 0):
        notes.append("the houses of an FHL have fewer pieces than its master: others may be missing")
    return houses


def _read_house(segments: Sequence[Segment], master: WaybillLine, house: Declaration) -> Declaration:
    fields, doubts = house.fields, house.doubts
    number, *parts = (part.strip() for part in segments[0].lines[0].split("/"))
    _refuse_joined(segments, f"HBS/{number[:40]}")
    found, ends = _read_house_line(parts, doubts)
    fields |= found | {"channel": "air_cargo"}
    groups, others = group_parties(segments), segments[1:]
    for code, side in (("SHP", "sender"), ("CNE", "consignee")):
        if code in groups:
            fields |= _read_party(*groups[code], side, doubts)
    house.partial = not groups.keys() & {"SHP", "CNE"}
    text, width = "", TEXT_WIDTH
    for line in list_lines(others, "TXT"):
        text += ("" if width >= TEXT_WIDTH else " ") + line
        width = len(line)
    fields["description"] = " ".join(text.split()) or fields["description"]
    if codes := list(filter(None, map(str.strip, list_parts(others, "HTS")))):
        items = [{"hs_code": code} for code in codes] if len(codes) > 1 else None
        fields |= {"hs_code": codes[0], "items": items}
    fields |= _read_declared_values(others, doubts)
    stops = (master.origin, master.destination)
    journey = Journey(ends[0] or stops[0], ends[1] or stops[1], stops)
    waybills.finish_waybill(house, journey, _read_notes(others), number, master.number)
    return house


def _read_house_line(parts: Sequence[str], doubts: Doubts) -> tuple[Fields, tuple[str | None, str | None]]:
    """Read what follows the number in `HBS/HAWB123/PVGCDG/2/K10.5/4/TOYS`."""
    route, *rest = parts or [""]
    if route and not (len(route) == 6 and route.isalpha()):
        route, rest = "", [route, *rest]
    ends = (route[:3] or None, route[3:] or None)
    weight: float | None = None
    count, *rest = rest or [""]
    if count[:1].isalpha():
        pieces, weight = _read_totals(count, doubts)
        if weight is not None or not rest or rest[0][:1] not in ("K", "L"):
            rest = ["", *rest]
    else:
        pieces = values.parse_number(count or None, doubts, "pieces")
    if weight is None and rest and rest[0]:
        weight = _read_weight(rest[0], doubts)
    description = "/".join(rest[2:]).strip()
    return {"pieces": pieces, "gross_weight_kg": weight, "description": description or None}, ends
