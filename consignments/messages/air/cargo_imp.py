"""Cargo-IMP: air waybills (FWB 9 to 17) and consolidation lists (FHL 1 to 5), whatever envelope, line ends and wraps they came with.

A direct waybill becomes a declaration, and so does each house of a list; a master adds to its houses. A line that begins with neither
a known segment code nor a slash is the rest of the line before it, which a network broke at 69 characters. A segment goes on over
lines that begin with a slash. Standard: IATA Cargo Interchange Message Procedures.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import NamedTuple

from consignments.errors import MessageFault
from consignments.messages.air.waybills import (
    CustomsNote,
    add_notes,
    build_journey,
    find_airline,
    finish_waybill,
    flag_piece_counts,
    identify_by_content,
    identify_house,
    join_places,
    looks_consolidated,
)
from consignments.messages.content.values import (
    IMP_KILOGRAMS,
    Doubts,
    Fields,
    complete_moment,
    find_moment_from,
    get_first,
    parse_number,
    parse_short_date,
    read_country,
)
from consignments.messages.parsed import Declaration, Level, MessageContext, Parsed, build_goods_fault

MAX_BYTES = 1_000_000
"""A message has at most 3,500 characters; some hundred houses may stand in one that a computer sent."""
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
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff]")
INTERCHANGE_START = re.compile(r"\s*UN[AB][^\n]{0,400}")
INTERCHANGE_SEGMENT = re.compile(r"(?:'\s*)?UN[ABHTZ][^'\n]{0,400}'")
END_MARKS = frozenset(("NNNN", "=", "CONT", "LAST", "END"))
PHONE_CODES = frozenset(("TE", "TEL", "PHO", "PH"))
COUNTRY_LINE = re.compile(r"[A-Z]{2}(?:/.*)?")
CONTACT_CODES = frozenset(("TE", "TEL", "PHO", "PH", "FX", "FAX", "TL", "TX"))
"""Codes of contacts; a fax or telex is no telephone."""
WAYBILL = re.compile(r"\s*(\d{3})[- ]?(\d{8})\s*/?([A-Z]{3})?([A-Z]{3})?\s*(?:/?(.*))?", re.ASCII | re.DOTALL)
TOTALS = re.compile(
    r"[A-Z]?\s*(\d*)\s*(?:/?([KL])\s*([-\d.,eE+]*))?\s*(?:(?:MC|CF|CC|CI)[\d.,]*)?.*", re.ASCII | re.DOTALL
)


class Segment(NamedTuple):
    """One segment: its code and its lines."""

    code: str
    lines: list[str]

    @property
    def parts(self) -> list[str]:
        """The parts of all lines."""
        return [part for line in self.lines for part in line.split("/")]


class ImpMessage(NamedTuple):
    """One message; what stands before its first segment is its head."""

    version: int
    head: str
    segments: list[Segment]
    envelope_time: tuple[str, str] | None

    def complete_issue_time(
        self, reference: datetime | None, made_out: date | None = None
    ) -> datetime | None:
        """Return the time of its envelope, completed with the month and year of the day on which it was made out, if it says so."""
        if self.envelope_time is None:
            return None
        day, clock = self.envelope_time
        if made_out is not None:
            return find_moment_from(made_out, int(day), clock)
        return complete_moment(int(day), None, clock, reference)


def decode_text(content: bytes) -> str:
    """Decode a message of characters; bytes that are no UTF-8 are Windows-1252."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def split_lines(text: str) -> list[str]:
    """Return the lines of a message without control characters."""
    return [CONTROL.sub("", line).rstrip() for line in re.split(r"\r\n|\n|\r", text)]


def unwrap_interchange(text: str) -> str:
    """Remove the EDIFACT segments in which some networks wrap a Cargo-IMP message, whose characters have no apostrophe."""
    return INTERCHANGE_SEGMENT.sub("\n", text) if INTERCHANGE_START.match(text) else text


def parse_imp(content: bytes) -> ImpMessage:
    """Split a message into its segments."""
    if len(content) > MAX_BYTES:
        raise MessageFault("too large", got=f"{len(content):,} bytes", expected=f"at most {MAX_BYTES:,}")
    lines = split_lines(unwrap_interchange(decode_text(content)))
    envelope_time = None
    for place, line in enumerate(lines):
        if found := HEAD.fullmatch(line):
            head: list[str] = []
            segments: list[Segment] = []
            for whole in _join_wraps([found[3], *lines[place + 1 :]]):
                if segment := match_segment(whole):
                    segments.append(Segment(segment[1], [segment[2] or ""]))
                elif segments:
                    segments[-1].lines.append(whole.removeprefix("/"))
                else:
                    head.append(whole)
            return ImpMessage(int(found[2]), "".join(head), segments, envelope_time)
        if (segment := match_segment(line)) and segment[2] and segment[1] in OF_GOODS:
            raise MessageFault(
                "a segment stands before the first line", where=segment[1], expected="FWB/ or FHL/"
            )
        if time := ENVELOPE_TIME.match(line):
            envelope_time = (time[1], time[2])
    raise MessageFault("no Cargo-IMP message", expected="a line FWB/16, FHL/4 or of another version")


def _join_wraps(lines: Sequence[str]) -> Iterator[str]:
    """Join lines that a network broke with the line before."""
    parts: list[str] = []
    width = 0
    for line in lines:
        if not line.strip() or line.strip() in END_MARKS or ENVELOPE_LINE.fullmatch(line):
            continue
        if match_segment(line) or line.startswith("/"):
            if parts:
                yield "".join(parts)
            parts = [line]
        else:
            if parts and not (parts[-1].endswith("/") or width >= LINE_WIDTH or WAYBILL.match(line)):
                parts.append(" ")
            parts.append(line.lstrip() if parts else line)
        width = len(line)
    if parts:
        yield "".join(parts)


def match_segment(line: str) -> re.Match[str] | None:
    """Match a line that begins a segment: its code, and what stands behind it."""
    found = SEGMENT.fullmatch(line)
    if found is None or found[1] not in SEGMENT_CODES:
        return None
    return found if found[2] is not None or found[1] in PARTY_CODES else None


def index_segments(segments: Sequence[Segment]) -> dict[str, list[Segment]]:
    """Index segments by their code."""
    found: dict[str, list[Segment]] = {}
    for segment in segments:
        found.setdefault(segment.code, []).append(segment)
    return found


# --- parts that both messages have ------------------------------------------------------------------------------------


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
    pieces, weight = read_totals(found[5] or "", doubts)
    return WaybillLine(f"{found[1]}-{found[2]}", found[3], found[4], pieces, weight)


def read_totals(text: str, doubts: Doubts) -> tuple[float | None, float | None]:
    """Read pieces and weight of `T12K174.5MC1.2`."""
    found = TOTALS.fullmatch(text)
    if found is None or not text.strip():
        return None, None
    if not found[1] and not found[2]:
        doubts.note("number_malformed", "pieces")
    pieces = parse_number(found[1] or None, doubts, "pieces")
    return pieces, read_imp_weight(f"{found[2]}{found[3]}", doubts) if found[2] else None


def read_imp_weight(text: str, doubts: Doubts) -> float | None:
    """Read a weight such as K174.5 or L385 in kilograms."""
    unit, number = (text[:1], text[1:]) if text[:1].isalpha() else ("", text)
    if not number:
        return None
    weight = parse_number(number, doubts, "gross_weight_kg")
    if weight is None:
        return None
    if unit not in IMP_KILOGRAMS:
        doubts.note("unit_doubtful", "gross_weight_kg")
        return weight if not unit else None
    return weight * IMP_KILOGRAMS[unit]


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


def group_parties(segments: Sequence[Segment]) -> dict[str, list[Segment]]:
    """Return each party's segment with the name, address and place that follow it."""
    groups: dict[str, list[Segment]] = {}
    current: list[Segment] | None = None
    for segment in segments:
        if segment.code in PARTY_CODES:
            current = [segment]
            groups.setdefault(segment.code, current)
        elif segment.code in PARTY_PARTS and current is not None:
            current.append(segment)
        else:
            current = None
    return groups


def read_imp_party(segments: Sequence[Segment], prefix: str, doubts: Doubts) -> Fields:
    """Read the name, address and telephone of a party, whose first line is no account."""
    named = {segment.code: segment.lines for segment in segments[1:]}
    bare = [line for line in segments[0].lines[1:] if line.strip()]
    if segments[0].lines[0].strip() and "NAM" not in named:
        bare = [segments[0].lines[0], *bare]
    bare += named.get("LOC", [])[1:]
    contacts = [line for line in bare if _is_contact(line)]
    ends = [
        place for place, line in enumerate(bare) if COUNTRY_LINE.fullmatch(line) and not _is_contact(line)
    ]
    country = bare[ends[-1]].split("/") if ends else []
    name, *streets = [line for line in bare[: ends[-1] if ends else None] if not _is_contact(line)] or [""]
    city = streets.pop() if "LOC" not in named and len(streets) >= 2 else ""
    if "NAM" in named:
        name = _join_lines(named["NAM"], " ")
    if "ADR" in named:
        streets = named["ADR"]
    if "LOC" in named:
        city = named["LOC"][0]
    values = {
        "name": name,
        "address": _join_lines(streets, ", "),
        "city": city.split("/")[0],
        "country": read_country(country[0], f"{prefix}_country", doubts) if country else None,
        "postcode": country[1] if len(country) > 1 else None,
        "phone": _find_phone([*country[2:], *(part for line in contacts for part in line.split("/"))]),
    }
    return {f"{prefix}_{key}": " ".join(value.split()) or None for key, value in values.items() if value}


def _is_contact(line: str) -> bool:
    return line.split("/")[0] in CONTACT_CODES and "/" in line


def _join_lines(lines: Sequence[str], glue: str) -> str:
    return glue.join(line.strip() for line in lines if line.strip())


def _find_phone(parts: Sequence[str]) -> str | None:
    return next((number for code, number in pairwise(parts) if code in PHONE_CODES and number), None)


def read_imp_notes(by_code: Mapping[str, Sequence[Segment]]) -> list[CustomsNote]:
    """Read the customs notes of OCI segments."""
    lines = [line for segment in by_code.get("OCI", ()) for line in segment.lines]
    notes = [[part.strip() for part in line.split("/", 3)] for line in lines]
    return [CustomsNote(*(parts + [""] * (4 - len(parts)))) for parts in notes if any(parts)]


def read_declared_values(by_code: Mapping[str, Sequence[Segment]], doubts: Doubts) -> Fields:
    """Read the first CVD segment: currency, how carriage is paid, and the value for customs."""
    if "CVD" not in by_code:
        return {}
    parts = [part.strip() for part in "".join(by_code["CVD"][0].lines).split("/")]
    terms = [place for place, part in enumerate(parts) if place > 0 and re.fullmatch("[PC]{1,2}", part)]
    start = terms[-1] + 1 if terms else max(len(parts) - 3, 1)
    customs = parts[start + 1] if len(parts) > start + 1 else ""
    is_amount = customs and not re.fullmatch("N[CV][VD]|XXX", customs)
    return {
        "currency": parts[0].upper() or None,
        "payment": ("prepaid" if parts[terms[-1]][0] == "P" else "collect") if terms else None,
        "declared_value": parse_number(customs, doubts, "declared_value") if is_amount else None,
    }


# --- air waybills (FWB) -----------------------------------------------------------------------------------------------

ACCOUNT_CHARACTERS = 14
DIRECT_GOODS, CONSOLIDATED_GOODS = "NG", "NC"


def read_fwb(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read an FWB."""
    message = parse_imp(content)
    context.note_version(f"FWB {message.version}", message.version)
    if not message.segments and not message.head:
        raise MessageFault("no waybill", where="FWB", expected="its number and at least one segment")
    _refuse_joined(message.segments, "FWB")
    by_code = index_segments(message.segments)
    partial = not ({"SHP", "CNE", "RTD"} & by_code.keys())
    waybill = Declaration(issued_at=_read_issue_time(message, by_code, context), partial=partial)
    fields, doubts = waybill.fields, waybill.doubts
    line = read_waybill_line(message.head, doubts)
    fields |= _read_parties(message.segments, doubts)
    goods, goods_codes = _read_goods(by_code.get("RTD", []), doubts)
    fields |= goods | {"pieces": line.pieces, "gross_weight_kg": line.weight_kg}
    fields |= _read_charges(by_code, doubts)
    add_notes(waybill, read_imp_notes(by_code))
    fields |= _read_journey(line, by_code, fields)
    fields["channel"] = "air_cargo"
    fields["consignment_id"] = line.number or identify_by_content(fields)
    waybill.level = _find_level(goods_codes, fields.get("description"))
    yield finish_waybill(waybill)


def _read_parties(segments: Sequence[Segment], doubts: Doubts) -> Fields:
    groups = group_parties(segments)
    fields: Fields = {}
    for code, side in (("CNE", "consignee"), ("SHP", "sender")):
        if code in groups:
            (_, (first, *others)), *named = groups[code]
            account = first.strip()
            if not account or len(first) > ACCOUNT_CHARACTERS or " " in account:
                account = ""
            lines = ["" if account else first, *others]
            fields |= read_imp_party([Segment(code, lines), *named], side, doubts)
            if side == "sender":
                fields["account_id"] = account or None
    if "AGT" in groups:
        named_as = next((part.lines[0] for part in groups["AGT"] if part.code == "NAM"), None)
        first, *others = groups["AGT"][0].lines
        lines = [line for line in others if line.strip()]
        on_one_line = [part for part in first.split("/") if not part[:1].isdigit()]
        fields["declarant"] = (named_as or next(iter(lines), "") or "".join(on_one_line[1:2])).strip() or None
    return fields


def _read_goods(segments: Sequence[Segment], doubts: Doubts) -> tuple[Fields, set[str]]:
    """Read the lines of the rate description; give the goods, and the identifiers met."""
    items: list[Fields] = []
    texts: list[list[str]] = []
    met: set[str] = set()
    for line in (line for segment in segments for line in segment.lines):
        parts = line.split("/")
        if parts and parts[0].strip().isdigit():
            parts = parts[1:]
        if not parts or not parts[0].strip():
            continue
        identifier, content = parts[0].strip(), "/".join(parts[1:]).strip()
        if identifier[:1] == "P" and identifier[1:2].isdigit():
            items.append({"quantity": parse_number(identifier[1:], doubts, "items.quantity")})
            texts.append([])
            continue
        if not items:
            items.append({})
            texts.append([])
        met.add(identifier)
        _read_goods_line(identifier, content, items, texts, doubts)
    for item, text in zip(items, texts, strict=True):
        item["description"] = " ".join(text) or None
    items = [item for item in items if any(value is not None for value in item.values())]
    goods: Fields = {name: get_first(items, name) for name in ("description", "hs_code", "origin_country")}
    return goods | {"items": items or None}, met


def _read_goods_line(
    identifier: str, content: str, items: list[Fields], texts: list[list[str]], doubts: Doubts
) -> None:
    """Read one line of goods into the last item; a second code of the tariff begins an item of its own."""
    if identifier in (DIRECT_GOODS, CONSOLIDATED_GOODS):
        if content:
            texts[-1].append(content)
    elif identifier == "NH" and content:
        if items[-1].get("hs_code"):
            items.append({})
            texts.append([])
        items[-1]["hs_code"] = content
    elif identifier == "NO" and content:
        items[-1]["origin_country"] = read_country(content[:2], "items.origin_country", doubts)
    elif identifier == "NV" and content[:1] in ("K", "L"):
        doubts.add("volume_in_weight_unit")


def _read_charges(by_code: dict[str, list[Segment]], doubts: Doubts) -> Fields:
    fields = read_declared_values(by_code, doubts)
    totals = [
        parse_number(part[2:], doubts, "postage")
        for part in _list_parts(by_code, "PPD", "COL")
        if part.startswith("CT") and part[2:]
    ]
    given = [total for total in totals if total is not None]
    return fields | {"postage": sum(given) if given else None}


def _read_journey(line: WaybillLine, by_code: dict[str, list[Segment]], fields: Fields) -> Fields:
    routes = [part.strip() for part in _list_parts(by_code, "RTG") if len(part.strip()) >= 3]
    flights = _list_parts(by_code, "FLT")[::2]
    named = [(flight, None) for flight in flights] + [(None, route[3:5]) for route in routes]
    places = join_places(line.origin, *(route[:3] for route in routes), line.destination)
    return build_journey(places, fields) | {"carrier": find_airline(named)}


def _list_parts(by_code: dict[str, list[Segment]], *codes: str) -> list[str]:
    return [part for code in codes for segment in by_code.get(code, ()) for part in segment.parts]


def _find_level(met: set[str], description: str | None) -> Level:
    if CONSOLIDATED_GOODS in met:
        return "master"
    if DIRECT_GOODS in met:
        return "direct"
    return "master" if looks_consolidated(description) else "direct"


def _read_issue_time(
    message: ImpMessage, by_code: dict[str, list[Segment]], context: MessageContext
) -> datetime | None:
    """Return the time of the envelope, else the day on which the waybill was issued."""
    days = [parse_short_date(segment.parts[0]) for segment in by_code.get("ISU", [])]
    day = next((day for day in days if day is not None), None)
    made_out = None if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC)
    return message.complete_issue_time(context.received_at, day) or made_out


# --- consolidation lists (FHL) ----------------------------------------------------------------------------------------

LEADING_CODES = ("HBS", "MBI")
TEXT_WIDTH = 65
"""Characters of a full line of free text, which goes on without a space."""


def read_fhl(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read an FHL."""
    _refuse_damaged(content)
    message = parse_imp(content)
    context.note_version(f"FHL {message.version}", message.version)
    issued_at = message.complete_issue_time(context.received_at)
    masters = [place for place, segment in enumerate(message.segments) if segment.code == "MBI"]
    found = 0
    for start, end in pairwise([0, *masters[1:], len(message.segments)]):
        houses = _read_list(message.segments[start:end], message.head, issued_at, context.notes)
        found += len(houses)
        yield from map(finish_waybill, houses)
    if not found:
        raise MessageFault("no house waybill", where="FHL", got="no HBS segment", expected="one or more")


def _refuse_damaged(content: bytes) -> None:
    """Refuse a list with a line that seems to begin a house or a master with a damaged code: its goods would go to another."""
    for number, line in enumerate(split_lines(unwrap_interchange(decode_text(content))), start=1):
        start = line.lstrip()[:4]
        near = any(sum(map(str.__ne__, start[:3], code)) < 2 for code in LEADING_CODES)
        if (
            near
            and start not in ("HBS/", "MBI/")
            and start[3:] in ("/", " ")
            and line.count("/") > 1
            and match_segment(line) is None
        ):
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
    doubts = Doubts()
    if not OF_A_HOUSE.isdisjoint(each.code for each in segments[: starts[0]]):
        raise build_goods_fault()
    named = (each.lines[0] for each in segments[: starts[0]] if each.code == "MBI")
    line = read_waybill_line(next(named, head), doubts)
    houses = [
        _read_house(segments[start:end], line, Declaration(issued_at=issued_at, doubts=Doubts(doubts)))
        for start, end in pairwise([*starts, len(segments)])
    ]
    flag_piece_counts(houses, line.pieces, complete=False)
    counts = [house.fields["pieces"] or 0 for house in houses]
    if len(houses) > 1 and sum(counts) < (line.pieces or 0):
        notes.append("the houses of an FHL have fewer pieces than its master: others may be missing")
    return houses


def _read_house(segments: Sequence[Segment], master: WaybillLine, house: Declaration) -> Declaration:
    fields, doubts = house.fields, house.doubts
    number, *parts = (part.strip() for part in segments[0].lines[0].split("/"))
    _refuse_joined(segments, f"HBS/{number[:40]}")
    found, ends = _read_house_line(parts, doubts)
    fields |= found
    groups, by_code = group_parties(segments), index_segments(segments[1:])
    for code, side in (("SHP", "sender"), ("CNE", "consignee")):
        if code in groups:
            fields |= read_imp_party(groups[code], side, doubts)
    house.partial = not groups.keys() & {"SHP", "CNE"}
    text = _join_text([line for segment in by_code.get("TXT", []) for line in segment.lines])
    fields["description"] = text or fields["description"]
    fields |= _read_tariff_codes(by_code.get("HTS", [])) | read_declared_values(by_code, doubts)
    add_notes(house, read_imp_notes(by_code))
    fields |= build_journey(join_places(ends[0], master.origin, master.destination, ends[1]), fields)
    fields |= {"channel": "air_cargo", "master_id": master.number}
    fields["consignment_id"] = identify_house(master.number, number or None, fields, doubts)
    return house


def _read_house_line(parts: Sequence[str], doubts: Doubts) -> tuple[Fields, tuple[str | None, str | None]]:
    """Read what follows the number in `HBS/HAWB123/PVGCDG/2/K10.5/4/TOYS`."""
    ends: tuple[str | None, str | None] = (None, None)
    rest = list(parts)
    if rest and len(rest[0]) == 6 and rest[0].isalpha():
        ends = (rest[0][:3], rest[0][3:])
        rest = rest[1:]
    elif rest and not rest[0]:
        rest = rest[1:]
    pieces = weight = None
    count = rest[0] if rest else ""
    if count[:1].isalpha():
        pieces, weight = read_totals(count, doubts)
        rest = rest[1:]
        if weight is not None or not rest or rest[0][:1] not in ("K", "L"):
            rest = ["", *rest]
    else:
        pieces = parse_number(count or None, doubts, "pieces")
        rest = rest[1:]
    if weight is None and rest and rest[0]:
        weight = read_imp_weight(rest[0], doubts)
    description = "/".join(rest[2:]).strip() if len(rest) > 2 else ""
    return {"pieces": pieces, "gross_weight_kg": weight, "description": description or None}, ends


def _join_text(lines: Sequence[str]) -> str | None:
    """Join lines of free text; a full line goes on in the middle of a word."""
    text = ""
    width = TEXT_WIDTH
    for line in lines:
        text += ("" if not text or width >= TEXT_WIDTH else " ") + line
        width = len(line)
    return " ".join(text.split()) or None


def _read_tariff_codes(segments: Sequence[Segment]) -> Fields:
    codes = [part.strip() for segment in segments for part in segment.parts if part.strip()]
    if not codes:
        return {}
    return {"hs_code": codes[0], "items": [{"hs_code": code} for code in codes] if len(codes) > 1 else None}
