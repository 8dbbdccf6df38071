"""Cargo-IMP consolidation lists (FHL 1 to 5): each house of a list becomes one declaration."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise

from consignments.errors import MessageFault
from consignments.messages.air.cargo_imp import (
    Segment,
    WaybillLine,
    decode_text,
    group_parties,
    index_segments,
    match_segment,
    parse_imp,
    read_declared_values,
    read_imp_notes,
    read_imp_party,
    read_imp_weight,
    read_totals,
    read_waybill_line,
    split_lines,
    unwrap_interchange,
)
from consignments.messages.air.journeys import build_journey, join_places
from consignments.messages.air.waybill_numbers import identify_house
from consignments.messages.air.waybills import add_notes, finish_waybill, flag_piece_counts
from consignments.messages.content.values import Doubts, Fields, parse_number
from consignments.messages.parsed import Declaration, MessageContext, Parsed

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
