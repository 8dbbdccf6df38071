"""Detection of the kind of a message, by its content and never by its file name.

A kind has a reader, or it is known and holds no goods that could be scored, such as a flight manifest; or nobody knows it.
"""

import importlib
import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from consignments.errors import MessageFault
from consignments.messages.air.cargo_imp import unwrap_interchange
from consignments.messages.content.trees import HEAD_BYTES
from consignments.messages.parsed import Ignored, MessageContext, MessageReader, Parsed
from consignments.messages.post.formats import find_post_format, matches_mapping
from consignments.messages.post.mapped import read_mapped
from consignments.messages.post.mapping import MessageMapping

MAX_MESSAGE_BYTES = 10_000_000
MAX_STREAM_BYTES = 300_000_000
"""Bound of the kinds that are read as a stream: 99,999 postal items in one declaration."""
ROOT_BYTES = 1_024
"""The root element of most XML messages ends within so many bytes."""

COMPRESSIONS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
"""First bytes of compressed files. Zip archives are opened by `consignments.messages.sources`."""


class MessageKind(NamedTuple):
    """One kind of message."""

    name: str
    reader: str = ""
    reason: str = ""
    max_bytes: int = MAX_MESSAGE_BYTES
    by_mapping: bool = False


AIR = "consignments.messages.air"
NO_GOODS = "it holds no goods of its own"
STATUS = "it reports on transport"
XML_KINDS = {
    "HouseWaybill": MessageKind("XFZB", f"{AIR}.readers:read_cargo_xml"),
    "Waybill": MessageKind("XFWB", f"{AIR}.readers:read_cargo_xml"),
    "HouseManifest": MessageKind("XFHL", f"{AIR}.readers:read_cargo_xml"),
    "CustomsStatusNotification": MessageKind("XCSN", f"{AIR}.readers:read_cargo_xml"),
    "Response": MessageKind("XFNM", f"{AIR}.readers:read_cargo_xml"),
    "FlightManifest": MessageKind("XFFM", reason=NO_GOODS),
    "StatusMessage": MessageKind("XFSU", reason=STATUS),
    "FreightBookedList": MessageKind("XFBL", reason=NO_GOODS),
    "MetaData": MessageKind("WCO DM", "consignments.messages.post.formats:read_wco"),
}
"""By the local name of the root."""
SHARED_ROOTS = frozenset(("XFNM", "WCO DM"))
"""Kinds whose root has a name that other formats use too; those are tried first."""
TEXT_KINDS = {
    **dict.fromkeys(("FWB",), MessageKind("FWB", f"{AIR}.fwb:read_fwb")),
    **dict.fromkeys(("FHL",), MessageKind("FHL", f"{AIR}.fhl:read_fhl")),
    **{
        code: MessageKind(code, f"{AIR}.customs_status:read_camir_status")
        for code in ("PSN", "PER", "FSN", "FER")
    },
    **{
        code: MessageKind(code, reason=NO_GOODS) for code in ("FFM", "FBL", "FFR", "FFA", "FHR", "FRI", "FRX")
    },
    **{code: MessageKind(code, reason=STATUS) for code in ("FSU", "FSA", "FSR", "UCM", "FRH")},
    **{code: MessageKind(code, reason="an answer without a state") for code in ("FMA", "FNA")},
}
"""By the three letters that lead a message of lines."""
LINKED = "ONE Record"
"""The kind whose documents are read together, because their objects link to each other."""
WRAPPED_IMP = re.compile(r"UN[AB].{0,600}?(?:CIMF[A-Z]{2}|^[^\S\n]*F(?:WB|HL)/\d)", re.DOTALL | re.MULTILINE)
"""A Cargo-IMP message in an EDIFACT interchange."""
CODED_TEXT = re.compile(r"(F[A-Z]{2}|UCM)\s*/\s*\d{1,2}\b|(PSN|PER|FSN|FER|FMA|FNA)\s*$", re.ASCII)
ROOT = re.compile(r"<(?![?!])(?:[^\s<>/:]+:)?([^\s<>/:]+)")
DOCUMENT_TYPE = re.compile(r"<!DOCTYPE[^>\[]*(\[.*?\])?\s*>", re.DOTALL)
LEADING_XML = re.compile(
    r"(?>(?:<\?.*?\?>|<!--.*?-->|\s+)*)<(?:[^\s<>/:?!]+:)?([^\s<>/:?!]+)(?=[\s>/])", re.DOTALL
)
"""The root element, if only a declaration and comments come before it."""


def detect_kind(content: bytes, mapping: MessageMapping | None = None) -> MessageKind:
    """Determine the kind of a message.

    Examples
    --------
    >>> detect_kind(b"QK FRAXXYY\\r\\n.ICNXXZZ 101200\\r\\nFWB/16\\r\\n057-51987552PVGICN/T1K2").name
    'FWB'
    >>> detect_kind(b"<a:FlightManifest xmlns:a='iata:flightmanifest:1'/>").name
    'XFFM'
    """
    head = content[:HEAD_BYTES]
    if mapping is not None and matches_mapping(head, mapping):
        return MessageKind(f"mapped by {mapping.name}", max_bytes=MAX_STREAM_BYTES, by_mapping=True)
    near = LEADING_XML.match(head[:ROOT_BYTES].decode("utf-8", "replace"))
    kind = XML_KINDS.get(near[1]) if near else None
    if kind is not None and _is_decided(kind):
        return kind
    _refuse_compressed(head)
    text = decode_head(head)
    start = text.lstrip("\ufeff \t\r\n\0\x01\x02\x03")
    if not start:
        raise MessageFault("empty")
    if WRAPPED_IMP.match(start):
        return _detect_text(unwrap_interchange(start))
    found = _detect_xml(start) if start[0] == "<" else None
    if found is not None and _is_decided(found):
        return found
    other = find_post_format(head)
    if other is not None:
        limit = MAX_STREAM_BYTES if other.is_streamed else MAX_MESSAGE_BYTES
        return MessageKind(other.name, other.reader, max_bytes=limit)
    if found is not None:
        return found
    if start[0] in "<{[":
        raise _build_unknown_fault(_name_start(start))
    return _detect_text(text)


def _is_decided(kind: MessageKind) -> bool:
    """Check whether the root alone decides the kind."""
    return bool(kind.reader) and kind.name not in SHARED_ROOTS


def _refuse_compressed(head: bytes) -> None:
    for mark, name in COMPRESSIONS.items():
        if head.startswith(mark):
            raise MessageFault(
                "compressed", got=name, expected="a message as it is, or a zip archive", todo="decompress it"
            )


def decode_head(content: bytes) -> str:
    """Decode the first characters of a message, whatever its encoding."""
    head = content[:HEAD_BYTES]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", "replace")
    if head[:4] == b"<\0?\0":
        return head.decode("utf-16-le", "replace")
    if head[:4] == b"\0<\0?":
        return head.decode("utf-16-be", "replace")
    return head.decode("utf-8", "replace")


def _detect_xml(text: str) -> MessageKind | None:
    root = LEADING_XML.match(text) or find_root(text)
    if root is None:
        return MessageKind("XML", f"{AIR}.readers:read_cargo_xml")  # its parser says what is wrong with it
    return XML_KINDS.get(root[1])


def find_root(text: str) -> re.Match[str] | None:
    """Find the root element behind instructions, comments and a document type, each of which is passed once.

    Examples
    --------
    >>> find_root("<?xml version='1.0'?><!-- <a> --><b:Feed/>")[1], find_root("<?xml version='1.0'><Feed/>")[1]
    ('Feed', 'Feed')
    """
    place = text.find("<")
    while place >= 0:
        root = ROOT.match(text, place)
        if root is not None:
            return root
        end = _find_markup_end(text, place)
        if end < 0:
            return ROOT.search(text, place)
        place = text.find("<", end)
    return None


def _find_markup_end(text: str, place: int) -> int:
    """Find where an instruction, a comment or a document type ends; -1 if it does not."""
    for start, mark in (("<?", "?>"), ("<!--", "-->")):
        if text.startswith(start, place):
            end = text.find(mark, place + len(start))
            return end if end < 0 else end + len(mark)
    if text.startswith("<!DOCTYPE", place):
        found = DOCUMENT_TYPE.match(text, place)
        return found.end() if found else -1
    return place + 1


def _name_start(text: str) -> str:
    root = find_root(text)
    return f"root element {root[1][:60] if root else ''!r}" if text[0] == "<" else "JSON without a known key"


def _build_unknown_fault(got: str) -> MessageFault:
    return MessageFault(
        "unknown kind of message",
        got=got,
        expected="Cargo-XML, Cargo-IMP, ONE Record, ICS2 or a postal declaration",
        todo="leave it out, or describe it with a mapping (npsrisk read --mapping)",
    )


def _detect_text(text: str) -> MessageKind:
    for line in text.splitlines():
        found = CODED_TEXT.match(line.strip("\0\x01\x02\x03 \t\ufeff"))
        if found:
            code = found[1] or found[2]
            return TEXT_KINDS.get(code) or MessageKind(code, reason="a message of cargo that holds no goods")
    raise _build_unknown_fault("a text without a known first line")


def read_message_parts(
    content: bytes, context: MessageContext, kind: MessageKind, mapping: MessageMapping | None = None
) -> Iterator[Parsed]:
    """Yield what a message of a kind holds."""
    if len(content) > kind.max_bytes:
        raise MessageFault("too large", got=f"{len(content):,} bytes", expected=f"at most {kind.max_bytes:,}")
    if kind.by_mapping and mapping is not None:
        yield from read_mapped(content, context, mapping)
        return
    if not kind.reader:
        yield Ignored(kind.name, kind.reason)
        return
    yield from _load_reader(kind.reader)(content, context)


@cache
def _load_reader(name: str) -> MessageReader:
    module, _, function = name.partition(":")
    reader: MessageReader = getattr(importlib.import_module(module), function)
    return reader
