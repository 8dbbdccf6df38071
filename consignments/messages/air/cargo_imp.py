"""Cargo-IMP: lines of a message gathered into segments, whatever envelope, line ends and wraps it came with.

A line that begins with neither a known segment code nor a slash is the rest of the line before it, which a network broke at
69 characters. A segment goes on over lines that begin with a slash. Standard: IATA Cargo Interchange Message Procedures.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import pairwise
from typing import NamedTuple

from consignments.errors import MessageFault
from consignments.messages.air.customs_notes import CustomsNote
from consignments.messages.content.values import (
    IMP_KILOGRAMS,
    Doubts,
    Fields,
    complete_moment,
    find_moment_from,
    parse_number,
    read_country,
)

MAX_BYTES = 1_000_000
"""A message has at most 3,500 characters; some hundred houses may stand in one that a computer sent."""
LINE_WIDTH = 69
PARTY_CODES, PARTY_PARTS = ("SHP", "CNE", "NFY", "AGT"), ("NAM", "ADR", "LOC")
_SEGMENT_CODES_NAMES = (
    "ACC ADR AGT ARD CDC CER CNE COI COL COR CVD DES DIM FLT HBS HTS ISU LOC MBI NAM NFY NOM OCI OPI OSI OTH PPD RCP REF RTD RTE RTG "
    "SCI SHP SII SPH SRI SSR TXT UCR ULD"
)
SEGMENT_CODES = frozenset(_SEGMENT_CODES_NAMES.split())
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
