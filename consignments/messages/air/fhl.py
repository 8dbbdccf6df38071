"""Cargo-IMP consolidation lists (FHL 1 to 5): each house of a list becomes one declaration."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise

from consignments.errors import MessageFault
from consignments.messages.air.cargo_imp import (
    Fields,
    Segment,
    WaybillLine,
    parse_imp,
    read_declared_values,
    read_imp_notes,
    read_imp_party,
    read_imp_weight,
    read_totals,
    read_waybill_line,
)
from consignments.messages.air.cargo_xml import flag_piece_counts, merge_notes
from consignments.messages.air.customs_notes import decode_notes
from consignments.messages.air.fwb import group_parties
from consignments.messages.air.journeys import build_journey, join_places
from consignments.messages.air.waybill_numbers import identify_house
from consignments.messages.parsed import Declaration, MessageContext, Parsed
from consignments.messages.quantities import Doubts, parse_number

TEXT_WIDTH = 65
"""Characters of a full line of free text, which goes on without a space."""


def read_fhl(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read an FHL."""
    message = parse_imp(content)
    context.note_version(f"FHL {message.version}", message.version)
    issued_at = message.complete_issue_time(context.received_at)
    masters = [place for place, segment in enumerate(message.segments) if segment.code == "MBI"]
    found = 0
    for start, end in pairwise([0, *masters[1:], len(message.segments)]):
        houses = _read_list(message.segments[start:end], message.head, issued_at, found)
        found += len(houses)
        yield from houses
    if not found:
        raise MessageFault("no house waybill", where="FHL", got="no HBS segment", expected="one or more")


def _read_list(
    segments: Sequence[Segment], head: str, issued_at: datetime | None, before: int
) -> list[Declaration]:
    """Read the houses of one master."""
    starts = [place for place, segment in enumerate(segments) if segment.code == "HBS"]
    if not starts:
        return []
    doubts = Doubts()
    line = read_waybill_line(
        next((each.first for each in segments[: starts[0]] if each.code == "MBI"), head), doubts
    )
    houses = [
        _read_house(segments[start:end], line, doubts, issued_at, f"house {place}")
        for place, (start, end) in enumerate(pairwise([*starts, len(segments)]), start=before + 1)
    ]
    return list(flag_piece_counts(houses, line.pieces, complete=False))


def _read_house(
    segments: Sequence[Segment], master: WaybillLine, shared: Doubts, issued_at: datetime | None, place: str
) -> Declaration:
    doubts = Doubts(shared)
    parts = [part.strip() for part in segments[0].first.split("/")]
    number = parts[0] or None
    fields, ends = _read_house_line(parts[1:], doubts)
    groups = group_parties(segments)
    for code, prefix in (("SHP", "sender"), ("CNE", "consignee")):
        if code in groups:
            fields |= read_imp_party(groups[code], prefix, doubts, named_first=True)
    by_code: dict[str, list[Segment]] = {}
    for segment in segments[1:]:
        by_code.setdefault(segment.code, []).append(segment)
    text = _join_text([line for segment in by_code.get("TXT", []) for line in segment.lines])
    fields["description"] = text or fields["description"]
    fields |= _read_tariff_codes(by_code.get("HTS", []))
    notes = decode_notes(
        [note for segment in by_code.get("OCI", []) for note in read_imp_notes(segment)], doubts
    )
    for segment in by_code.get("CVD", [])[:1]:
        fields |= read_declared_values(segment, doubts)
    if "payment" in notes.fields:
        fields["payment"] = notes.fields["payment"]
    merge_notes(fields, notes)
    places = join_places(ends[0], master.origin, master.destination, ends[1])
    fields |= build_journey(places, fields)
    fields |= {"channel": "air_cargo", "master_id": master.number}
    fields["consignment_id"] = identify_house(master.number, number, fields, doubts)
    return Declaration(
        fields=fields,
        issued_at=issued_at,
        level="house",
        doubts=doubts,
        place=place,
        partial=not groups.keys() & {"SHP", "CNE"},
        extras=notes.extras,
    )


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
    codes = [
        part.strip()
        for segment in segments
        for line in segment.lines
        for part in line.split("/")
        if part.strip()
    ]
    if not codes:
        return {}
    return {"hs_code": codes[0], "items": [{"hs_code": code} for code in codes] if len(codes) > 1 else None}
