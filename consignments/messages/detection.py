"""What a message is, by its content: never by the name of its file.

A kind has a reader, or it is known and holds no goods that could be scored, such as a flight manifest; or nobody knows it.
"""

import importlib
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from consignments.errors import MessageFault
from consignments.messages.parsed import Ignored, MessageContext, MessageReader, Parsed
from consignments.messages.post.edifact import find_message_type, looks_like_edifact
from consignments.messages.post.ics2 import looks_like_ics2
from consignments.messages.post.ics2_responses import looks_like_ics2_response
from consignments.messages.post.mapped import read_mapped
from consignments.messages.post.mapping import MessageMapping
from consignments.messages.post.postal import looks_like_postal

MAX_MESSAGE_BYTES = 10_000_000
MAX_STREAM_BYTES = 300_000_000
"""Bound of the kinds that are read as a stream: 99,999 postal items in one declaration."""
HEAD_BYTES = 65_536
"""How much of a message says what it is."""


class MessageKind(NamedTuple):
    """One kind of message.

    Attributes
    ----------
    name : str
        As reports call it.
    reader : str
        `module:function`, loaded when the first such message comes; empty if it holds no goods.
    reason : str
        Why it is ignored; empty if it is read.
    max_bytes : int
    by_mapping : bool
        It is read by the mapping file of the run.
    """

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
    "CC315A": MessageKind("IE315", reason="an entry summary of the EU's first import control system"),
    "IE315": MessageKind("IE315", reason="an entry summary of the EU's first import control system"),
    "MetaData": MessageKind(
        "WCO DM", reason="a declaration of the WCO data model is read by a mapping only (--mapping)"
    ),
}
"""By the local name of the root."""
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
POST = "consignments.messages.post"
OTHER_KINDS: tuple[tuple[Callable[[bytes], bool], MessageKind], ...] = (
    (looks_like_ics2_response, MessageKind("ICS2 response", f"{POST}.ics2_responses:read_ics2_response")),
    (looks_like_ics2, MessageKind("ICS2", f"{POST}.ics2:read_ics2", max_bytes=MAX_STREAM_BYTES)),
    (looks_like_postal, MessageKind("postal", f"{POST}.postal:read_postal", max_bytes=MAX_STREAM_BYTES)),
)
"""XML and JSON of other roots, by what their first bytes look like; the first that fits."""
MAPPED = "mapped"
MAPPED_FIRST = frozenset(("postal", "WCO DM", "EDIFACT"))
"""Kinds that a mapping file goes before, whatever it says of how to tell its messages."""
BY_MAPPING_ONLY = "it is read by a mapping only (--mapping)"
CODED_TEXT = re.compile(r"(F[A-Z]{2}|UCM)\s*/\s*\d{1,2}\b|(PSN|PER|FSN|FER|FMA|FNA)\s*$", re.ASCII)
ROOT = re.compile(r"<(?![?!])(?:[^\s<>/:]+:)?([^\s<>/:]+)")
SKIPPED_XML = re.compile(r"<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*(\[.*?\])?\s*>", re.DOTALL)
BLANK = b" \t\r\n\0\x01\x02\x03"


def detect_kind(content: bytes, mapping: MessageMapping | None = None) -> MessageKind:
    """Tell what a message is.

    Parameters
    ----------
    content : bytes
    mapping : MessageMapping, optional
        That of the run: it reads what its `detect` names, what nobody else reads, and postal messages.

    Raises
    ------
    MessageFault
        If nobody knows it.

    Examples
    --------
    >>> detect_kind(b"QK FRAXXYY\\r\\n.ICNXXZZ 101200\\r\\nFWB/16\\r\\n057-51987552PVGICN/T1K2").name
    'FWB'
    >>> detect_kind(b"<a:FlightManifest xmlns:a='iata:flightmanifest:1'/>").name
    'XFFM'
    """
    if mapping is None:
        return _detect(content)
    mapped = MessageKind(
        f"{MAPPED} by {mapping.name}", "mapping", max_bytes=MAX_STREAM_BYTES, by_mapping=True
    )
    if mapping.detect:
        text = decode_head(content).lower()
        return mapped if all(name in text for name in mapping.detect) else _detect(content)
    try:
        kind = _detect(content)
    except MessageFault:
        if not content.strip(BLANK):
            raise
        return mapped
    return mapped if kind.name.split()[0] in MAPPED_FIRST or kind.name in MAPPED_FIRST else kind


def _detect(content: bytes) -> MessageKind:
    head = decode_head(content)
    start = head.lstrip("\ufeff \t\r\n\0\x01\x02\x03")
    if not start:
        raise MessageFault("empty")
    if start[0] == "<":
        return _detect_xml(start, content[:HEAD_BYTES])
    if start[0] in "{[":
        return _find_other(content[:HEAD_BYTES], "JSON without a known key")
    if start[:3] in ("UNA", "UNB", "UNH") and looks_like_edifact(content[:HEAD_BYTES]):
        kind = find_message_type(content[:HEAD_BYTES])
        return MessageKind(f"EDIFACT {kind}" if kind else "EDIFACT", reason=BY_MAPPING_ONLY)
    return _detect_text(head)


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


def _detect_xml(text: str, head: bytes) -> MessageKind:
    root = ROOT.search(SKIPPED_XML.sub("", text))
    name = root[1] if root else ""
    kind = XML_KINDS.get(name)
    if kind is not None:
        return kind
    if not name:
        return MessageKind("XML", f"{AIR}.readers:read_cargo_xml")  # its parser says what is wrong with it
    return _find_other(head, f"root element {name[:60]!r}")


def _find_other(head: bytes, got: str) -> MessageKind:
    for looks_like, kind in OTHER_KINDS:
        if looks_like(head):
            return kind
    raise MessageFault(
        "unknown kind of message",
        got=got,
        expected="Cargo-XML, Cargo-IMP, ONE Record, ICS2 or a postal declaration",
        todo="leave it out, or describe it with a mapping (--mapping)",
    )


def _detect_text(text: str) -> MessageKind:
    for line in text.splitlines():
        found = CODED_TEXT.match(line.strip("\0\x01\x02\x03 \t\ufeff"))
        if found:
            code = found[1] or found[2]
            return TEXT_KINDS.get(code) or MessageKind(code, reason="a message of cargo that holds no goods")
    raise MessageFault(
        "unknown kind of message", got="a text without a known first line", expected="a line such as FWB/16"
    )


def read_message_parts(
    content: bytes, context: MessageContext, kind: MessageKind, mapping: MessageMapping | None = None
) -> Iterator[Parsed]:
    """Yield what a message of a kind holds.

    Raises
    ------
    MessageFault
        If nothing can be read.
    """
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
