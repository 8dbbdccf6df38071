"""Cargo-IMP air waybills (FWB 9 to 17): a direct one becomes a declaration, a master adds to its houses."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from consignments.errors import MessageFault
from consignments.messages.air.cargo_imp import (
    ImpMessage,
    Segment,
    WaybillLine,
    group_parties,
    index_segments,
    parse_imp,
    read_declared_values,
    read_imp_notes,
    read_imp_party,
    read_waybill_line,
)
from consignments.messages.air.journeys import build_journey, find_airline, join_places, looks_consolidated
from consignments.messages.air.waybill_numbers import identify_by_content
from consignments.messages.air.waybills import add_notes, finish_waybill
from consignments.messages.content.values import (
    Doubts,
    Fields,
    get_first,
    parse_number,
    parse_short_date,
    read_country,
)
from consignments.messages.parsed import Declaration, Level, MessageContext, Parsed

ACCOUNT_CHARACTERS = 14
DIRECT_GOODS, CONSOLIDATED_GOODS = "NG", "NC"


def read_fwb(content: bytes, context: MessageContext) -> Iterator[Parsed]:
    """Read an FWB."""
    message = parse_imp(content)
    context.note_version(f"FWB {message.version}", message.version)
    if not message.segments and not message.head:
        raise MessageFault("no waybill", where="FWB", expected="its number and at least one segment")
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
